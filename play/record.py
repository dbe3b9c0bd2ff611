"""Every game as it happens, in one SQLite file. Reading is in `coord.overcooked.recorded`; this is the writing half."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from coord.overcooked.recorded import RecordedGame

if TYPE_CHECKING:
    from play.session import GameEvent, Session, TickEvent


def default_path() -> Path:
    """`$COORD_DATA` if set, else `coord/games.sqlite` in the user's data folder."""
    raise NotImplementedError


class Store:
    """The recordings file: opens (and creates) it, closes games a crash left open, hands out recorders.

    `recovered` holds one line for each game that a crash had left open.
    UserError if the file is damaged, is no recordings file, is from a newer version, or cannot be written.
    """

    recovered: list[str]

    def __init__(self, path: str | Path | None = None) -> None: ...

    def recorder(self, *, participant: str = "", study_round: int | None = None) -> Recorder:
        """A recorder for one game to come."""
        raise NotImplementedError

    def games(self) -> list[RecordedGame]:
        """Headers of all games (ticks are read on demand), oldest first."""
        raise NotImplementedError

    def game(self, game_id: int | str) -> RecordedGame:
        """One game by number, or "last". UserError if there is none."""
        raise NotImplementedError

    def delete(self, game_id: int) -> None:
        """Remove one game for good."""
        raise NotImplementedError

    def close(self) -> None:
        """Close the file."""
        raise NotImplementedError


class Recorder:
    """Writes one game; at most half a second of it is in memory. Methods raise UserError when the disk refuses."""

    game_id: int | None

    def begin(self, session: Session, now_s: float) -> None:
        """Write the header."""
        raise NotImplementedError

    def tick(self, event: TickEvent) -> None:
        """Add one tick and its events."""
        raise NotImplementedError

    def note(self, event: GameEvent, now_s: float) -> None:
        """Add an event outside of ticks (pause, partner trouble)."""
        raise NotImplementedError

    def flush(self, now_s: float) -> None:
        """Commit if the last commit is half a second ago. Called every frame."""
        raise NotImplementedError

    def finish(self, outcome: str, now_s: float) -> None:
        """Write outcome and score; from here on the game is safe from power cuts too."""
        raise NotImplementedError
