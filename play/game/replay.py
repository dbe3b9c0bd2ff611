"""Watching a recorded game like a tape, and proving that its record is the game that was played."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from coord.errors import UserError
from coord.overcooked.recorded import RecordedGame, state_hash
from coord.overcooked.rules import INTERACT
from play.game.clock import TickClock

OLD_RULE = (
    "here a soup was mixed, which classic pots took until coord 0.1.0 mended it (as overcooked-ai 1.1.0's still do); "
    "those of 2019 refuse it: what follows cannot be replayed; the record itself is whole"
)
SPEEDS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)


class Replay:
    """A tape deck for one game: play, pause, step, seek, speed; driven by an outer monotonic clock.

    Attributes (read only): game, states [T + 1], scores [T + 1], tick (position 0..T), playing, speed.
    """

    def __init__(self, game: RecordedGame) -> None:
        self.game = game
        self.states = game.states()
        self.scores = np.concatenate([[0.0], np.cumsum(game.rew)])
        self.tick = 0
        self.speed = 1.0
        self.playing = False
        self._clock = TickClock(game.header.tick_hz)

    @property
    def length(self) -> int:
        """Ticks of the game."""
        return len(self.states) - 1

    @property
    def state(self) -> Mapping[str, Any]:
        """State at `tick`."""
        return self.states[self.tick]

    @property
    def previous(self) -> Mapping[str, Any]:
        """State one tick before (the same at tick 0)."""
        return self.states[max(0, self.tick - 1)]

    @property
    def score(self) -> float:
        """Score at `tick`."""
        return float(self.scores[self.tick])

    def play(self, now_s: float) -> None:
        """Run from the current position (from the start if at the end)."""
        if self.tick == self.length:
            self.tick = 0
        self.playing = True
        self._restart_clock(now_s)

    def pause(self) -> None:
        """Stop at the current tick."""
        self.playing = False

    def step(self, ticks: int) -> None:
        """Move by `ticks` (negative: back) and pause."""
        self.pause()
        self._go_to(self.tick + ticks)

    def seek(self, tick: int, now_s: float) -> None:
        """Jump to a tick (clipped to the game); goes on playing if it was playing."""
        self._go_to(tick)
        self._restart_clock(now_s)

    def seek_event(self, direction: int, now_s: float, name: str = "delivery") -> bool:
        """Jump to the next (+1) or previous (-1) event of that name; False if there is none."""
        ticks = {event.tick for event in self.game.events if event.name == name}
        ahead = [tick for tick in ticks if (tick - self.tick) * direction > 0]
        if ahead:
            self.seek(min(ahead, key=lambda tick: abs(tick - self.tick)), now_s)
        return bool(ahead)

    def set_speed(self, speed: float, now_s: float) -> None:
        """How many times faster than it was played; one of SPEEDS."""
        if speed not in SPEEDS:
            raise ValueError(f"speed must be one of {SPEEDS}, got {speed}")
        self.speed = speed
        self._restart_clock(now_s)

    def update(self, now_s: float) -> None:
        """Move on with the clock; pauses at the end."""
        while self.playing and self._clock.due(now_s):
            self._clock.advance()
            self._go_to(self.tick + 1)
            self.playing = self.tick < self.length

    def alpha(self, now_s: float) -> float:
        """How far to draw from `previous` to `state`, in [0, 1]; 1 while paused."""
        return self._clock.alpha(now_s) if self.playing else 1.0

    def _go_to(self, tick: int) -> None:
        self.tick = min(max(tick, 0), self.length)

    def _restart_clock(self, now_s: float) -> None:
        self._clock = TickClock(self.game.header.tick_hz * self.speed, max_backlog=16)
        self._clock.resume(now_s)


class Verification(NamedTuple):
    """Outcome of `verify`. `first_bad_tick` is None if all `checked` states agree; -1 stands for the start."""

    ok: bool
    checked: int
    first_bad_tick: int | None
    message: str


def verify(game: RecordedGame) -> Verification:
    """Replay the game from its actions and compare every tick's state hash, the start and the score."""
    name = f"game {game.header.id}"
    try:
        states = game.states()
    except (UserError, ValueError, KeyError, TypeError) as error:
        return Verification(False, 0, -1, f"{name}: cannot be replayed: {error}")
    found = [state_hash(state) for state in states]
    expected = [game.header.start_hash, *game.hashes]
    bad = next((i for i in range(len(found)) if found[i] != expected[i]), None)
    if bad is not None:
        where = "the start state" if bad == 0 else f"tick {bad - 1}"
        why = f"replay {found[bad]}, record {expected[bad]}"
        if bad > 0 and _mixed_a_soup(game, states[bad - 1], game.joint_act[bad - 1]):
            why = OLD_RULE
        return Verification(False, bad, bad - 1, f"{name}: {where} differs: {why}")
    if abs(float(game.rew.sum()) - game.header.score) > 1e-6 or len(game.hashes) != game.header.ticks_played:
        return Verification(False, len(found), None, f"{name}: its header does not fit its ticks")
    return Verification(True, len(found), None, f"{name}: {len(game.hashes)} ticks verified")


def _mixed_a_soup(game: RecordedGame, state: Mapping[str, Any], joint_act: NDArray[np.int8]) -> bool:
    """Whether a classic chef now puts an ingredient to one of the other kind, which the rules once let happen."""
    if game.header.rules != "classic":
        return False
    kinds = {tuple(thing["position"]): _kinds(thing) for thing in state["objects"] if thing["name"] == "soup"}
    for chef, act in zip(state["players"], joint_act, strict=True):
        held = (chef["held_object"] or {}).get("name")
        (x, y), (east, south) = chef["position"], chef["orientation"]
        inside = kinds.get((x + east, y + south), set())
        if act == INTERACT and held in ("onion", "tomato") and inside and inside != {held}:
            return True
    return False


def _kinds(soup: Mapping[str, Any]) -> set[str]:
    return {ingredient["name"] for ingredient in soup["_ingredients"]}
