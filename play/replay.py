"""Watching, checking and exporting recorded games."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from coord.overcooked.recorded import RecordedGame

SPEEDS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)


class Replay:
    """A tape deck for one game: play, pause, step, seek, speed; driven by an outer monotonic clock.

    Attributes: game, states [T+1 mappings], rewards [T], events, tick (position 0..T), playing, speed.
    """

    def __init__(self, game: RecordedGame) -> None: ...

    def play(self, now_s: float) -> None:
        """Run from the current position (from the start if at the end)."""

    def pause(self, now_s: float) -> None:
        """Stop at the current tick."""

    def step(self, ticks: int) -> None:
        """Move by `ticks` (negative: back) and pause."""

    def seek(self, tick: int, now_s: float) -> None:
        """Jump to a tick; goes on playing if it was playing."""

    def seek_event(self, direction: int, now_s: float, name: str = "soup_delivery") -> None:
        """Jump to the next (+1) or previous (-1) event of that name."""

    def set_speed(self, speed: float, now_s: float) -> None:
        """Ticks per recorded tick, one of SPEEDS."""

    def update(self, now_s: float) -> None:
        """Move on with the clock; pauses at the end."""

    def alpha(self, now_s: float) -> float:
        """How far to draw from `previous` to `state`, in [0, 1]."""
        raise NotImplementedError

    @property
    def state(self) -> Mapping[str, object]:
        """State at `tick`."""
        raise NotImplementedError

    @property
    def previous(self) -> Mapping[str, object]:
        """State one tick before (the same at tick 0)."""
        raise NotImplementedError

    @property
    def score(self) -> float:
        """Score at `tick`."""
        raise NotImplementedError


class Verdict(NamedTuple):
    """Outcome of `verify`. `first_bad_tick` None if all `checked` states agree."""

    ok: bool
    checked: int
    first_bad_tick: int | None
    message: str


def verify(game: RecordedGame) -> Verdict:
    """Replay the game from its actions and compare every tick's state hash."""
    raise NotImplementedError


def export_overcooked_json(games: list[RecordedGame], out: Path) -> None:
    """JSON that overcooked-ai's AgentEvaluator.load_traj_from_json reads."""
    raise NotImplementedError


def export_csv(games: list[RecordedGame], out: Path) -> None:
    """One row per (game, tick, seat)."""
    raise NotImplementedError


def export_parquet(games: list[RecordedGame], out: Path) -> None:
    """The same table as `export_csv`, as Parquet. UserError without pyarrow."""
    raise NotImplementedError
