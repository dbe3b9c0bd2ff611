"""One game: a kitchen, its seats, a fixed tick, and a record of all of it. Headless and driven by an outer clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from coord.errors import UserError
from coord.overcooked import EVENTS, Layout, OvercookedVectorEnv, load_layout
from coord.overcooked.recorded import state_hash
from play.clock import TickClock
from play.seats import Choice, SeatSource

if TYPE_CHECKING:
    from play.record import Recorder


class GameEvent(NamedTuple):
    """Something that happened after `tick` ticks. `seat` None: the game itself (pause, resume, partner trouble)."""

    tick: int
    seat: int | None
    name: str  # one of coord.overcooked.EVENTS, or pause, resume, partner_hung, partner_crashed, partner_restarted
    detail: str = ""


@dataclass(frozen=True)
class TickEvent:
    """One tick that was played."""

    tick: int  # number of this tick, from 0
    at_s: float  # monotonic time at which it was applied
    choices: tuple[Choice, ...]  # [P]
    reward: float  # task reward of the team
    events: tuple[GameEvent, ...]
    state: Mapping[str, object]  # after the tick, in the form of OvercookedState.to_dict
    state_hash: str
    done: bool  # the last tick of the game

    @property
    def joint_action(self) -> tuple[int, ...]:
        """[P] action numbers."""
        return tuple(choice.action for choice in self.choices)


class Session:
    """Plays one game of `ticks` ticks on `layout` with one source per seat.

    Call `ready(now_s)` each frame until it is True, then `start(now_s)`, then `advance(now_s)` each frame. At most
    one tick is played per call, so that a partner always has at least a frame to think; a backlog over `max_backlog`
    ticks is forgiven (see `TickClock`).

    Attributes (read only): layout, rules, ticks, tick (ticks played), score, state, previous (states after and before
    the last tick), events (all so far), paused, started, done, misses [P], recording_error (one line if recording
    had to stop; the game goes on).
    """

    def __init__(
        self,
        layout: str | Layout,
        seats: Sequence[SeatSource],
        *,
        rules: str = "classic",
        ticks: int = 400,
        tick_hz: float = 6.67,
        seed: int = 0,
        recorder: Recorder | None = None,
        max_backlog: int = 3,
    ) -> None:
        """UserError for an unknown layout or a number of seats that the layout does not have."""

    def ready(self, now_s: float) -> bool:
        """Whether every seat is ready. Call each frame while waiting."""
        raise NotImplementedError

    def start(self, now_s: float) -> None:
        """Begin the record and the clock."""
        raise NotImplementedError

    def advance(self, now_s: float) -> list[TickEvent]:
        """Play the tick that is due, if any; [] otherwise. Never blocks."""
        raise NotImplementedError

    def alpha(self, now_s: float) -> float:
        """How far to draw from `previous` to `state`, in [0, 1]."""
        raise NotImplementedError

    def pause(self, now_s: float, reason: str = "") -> None:
        """Freeze the game; pressed keys are forgotten. No effect if paused or done."""
        raise NotImplementedError

    def resume(self, now_s: float) -> None:
        """Go on after a pause."""
        raise NotImplementedError

    def restart_partner(self, seat: int, now_s: float) -> None:
        """Give the agent at `seat` a fresh worker after a hang or crash."""
        raise NotImplementedError

    def close(self, now_s: float, outcome: str = "quit") -> None:
        """End the game (outcome "finished" if all ticks were played), finish the record, stop the workers."""
        raise NotImplementedError
