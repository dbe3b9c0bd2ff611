"""One game: a kitchen, its seats, a fixed tick, and a record of all of it. Headless and driven by an outer clock."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from coord.errors import UserError
from coord.overcooked import EVENTS, Layout, OvercookedVectorEnv, load_layout
from coord.overcooked.recorded import state_hash
from play.game.clock import TickClock
from play.game.inputs import STAY
from play.game.seats import MISS, ChosenAction, SeatSource

# Counted every tick or two and found again by any replay: not worth telling the screen or the record.
ROUTINE = frozenset({"stay", "movement", "idle_movement", "idle_interact_counter", "idle_interact_empty", "idle"})


def occurred(before: NDArray[np.int32], after: NDArray[np.int32]) -> list[tuple[int, str]]:
    """(seat, event) of what event counts [P, len(EVENTS)] say happened between two moments, without ROUTINE."""
    pairs = ((int(seat), EVENTS[kind]) for seat, kind in zip(*np.nonzero(after > before), strict=True))
    return [(seat, name) for seat, name in pairs if name not in ROUTINE]


class GameEvent(NamedTuple):
    """Something that happened after `tick` ticks. `seat` None: the game itself.

    name: one of coord.overcooked.EVENTS (without ROUTINE), or pause, resume, partner_hung, partner_crashed,
    partner_loading (restarted), partner_ready.
    """

    tick: int
    seat: int | None
    name: str
    detail: str = ""


@dataclass(frozen=True)
class TickEvent:
    """One tick that was played."""

    tick: int  # number of this tick, from 0
    at_s: float  # monotonic time at which it was applied
    choices: tuple[ChosenAction, ...]  # [P]
    reward: float  # task reward of the team
    events: tuple[GameEvent, ...]
    state: Mapping[str, Any]  # after the tick, in the form of OvercookedState.to_dict
    state_hash: str
    done: bool  # the last tick of the game

    @property
    def joint_action(self) -> tuple[int, ...]:
        """[P] action numbers."""
        return tuple(choice.action for choice in self.choices)


class Recorder(Protocol):
    """Keeps a game as it is played. UserError when that is not possible (any more): the game goes on without it."""

    @property
    def game_id(self) -> int | None:
        """Number of the game in the recordings; None before `begin`."""

    def begin(self, session: Session, now_s: float) -> None:
        """The game is about to start."""

    def tick(self, event: TickEvent) -> None:
        """One tick was played."""

    def note(self, event: GameEvent, now_s: float) -> None:
        """Something happened outside of ticks."""

    def flush(self, now_s: float) -> None:
        """Called every frame: write what has waited for long enough."""

    def finish(self, outcome: str, now_s: float) -> None:
        """The game is over."""


class Session:
    """Plays one game of `ticks` ticks on `layout` with one source per seat.

    Call `ready(now_s)` each frame until it is True, then `start(now_s)`, then `advance(now_s)` each frame. At most
    one tick is played per call, so that a partner always has at least a frame to think; a backlog over `max_backlog`
    ticks is forgiven (see `TickClock`).

    Attributes (read only): layout, rules, ticks, seed, seats, clock, score, state and previous (states after and
    before the last tick), events (all so far), misses [P], started, paused, done, closed, recording_error (one line
    if recording had to stop; the game goes on).
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
        """UserError for an unknown layout, or a number of seats that the layout does not have."""
        self.layout = load_layout(layout)
        if len(seats) != self.layout.num_players:
            wanted = self.layout.num_players
            raise UserError(f"layout '{self.layout.name}' has {wanted} seats, got {len(seats)} players")
        self._env = OvercookedVectorEnv(self.layout, 1, horizon=ticks, rules=rules, seed=seed)
        self._env.step(np.full((1, len(seats)), STAY))  # compile (or load) the rules now, not in the first tick
        self._env.reset()
        self._counts = self._env.event_counts()[0]  # [P, E] before the next tick
        self.seats, self.rules, self.ticks, self.seed = tuple(seats), rules, ticks, seed
        self.clock = TickClock(tick_hz, max_backlog)
        self.state = self.previous = self._env.state_dict(0)
        self.score = 0.0
        self.events: list[GameEvent] = []
        self.misses = [0] * len(seats)
        self.started = self.paused = self.done = self.closed = False
        self.recording_error = ""
        self._recorder = recorder
        self._statuses = [seat.status for seat in self.seats]

    @property
    def tick(self) -> int:
        """Ticks played."""
        return self.clock.tick

    @property
    def ticks_left(self) -> int:
        """Ticks still to play."""
        return self.ticks - self.clock.tick

    @property
    def seconds_left(self) -> float:
        """Ticks still to play, as time at the nominal rate."""
        return self.ticks_left * self.clock.period_s

    @property
    def game_id(self) -> int | None:
        """Number of the game in the recordings, once started; None if it is not recorded."""
        return None if self._recorder is None else self._recorder.game_id

    def ready(self, now_s: float) -> bool:
        """Whether every seat is ready. Call each frame while waiting."""
        for seat in self.seats:
            seat.poll(now_s)
        return all(seat.status != "loading" for seat in self.seats)

    def start(self, now_s: float) -> None:
        """Begin the record and the clock."""
        self.started = True
        self._statuses = ["ready"] * len(self.seats)  # so that a partner that failed to load is told about
        self._record(lambda recorder: recorder.begin(self, now_s))
        self._offer_state(None, now_s)
        self.clock.resume(now_s)

    def advance(self, now_s: float) -> list[TickEvent]:
        """Play the tick that is due, if any; [] otherwise. Never blocks."""
        if not self.started or self.done or self.closed:
            return []
        for seat in self.seats:
            seat.poll(now_s)
        self._watch_partners(now_s)
        if not self.clock.due(now_s):
            self._record(lambda recorder: recorder.flush(now_s))
            return []
        return [self._play_tick(now_s)]

    def alpha(self, now_s: float) -> float:
        """How far to draw from `previous` to `state`, in [0, 1]."""
        return 1.0 if self.done or not self.started else self.clock.alpha(now_s)

    def pause(self, now_s: float, reason: str = "") -> None:
        """Freeze the game; pressed keys are forgotten. No effect if paused, done or not started."""
        if not self.started or self.paused or self.done:
            return
        self.paused = True
        self.clock.pause(now_s)
        for seat in self.seats:
            seat.interrupt()
        self._note(GameEvent(self.tick, None, "pause", reason), now_s)

    def resume(self, now_s: float) -> None:
        """Go on after a pause."""
        if self.paused:
            self.paused = False
            self.clock.resume(now_s)
            self._note(GameEvent(self.tick, None, "resume"), now_s)

    def close(self, now_s: float, outcome: str = "quit") -> None:
        """End the game, finish the record (a game played to its end is already finished) and stop the workers."""
        if self.closed:
            return
        self.closed = True
        if self.started and not self.done:
            self._record(lambda recorder: recorder.finish(outcome, now_s))
        for seat in self.seats:
            seat.close()

    def _play_tick(self, now_s: float) -> TickEvent:
        tick = self.tick
        choices = tuple(seat.choose(tick, now_s) for seat in self.seats)
        for seat, choice in enumerate(choices):
            self.misses[seat] += choice.source == MISS
        rew = float(self._env.step(np.array([[choice.action for choice in choices]])).rew[0])
        self.clock.advance()
        self.previous, self.state = self.state, self._env.state_dict(0, final=True)
        self.score += rew
        self.done = self.ticks_left == 0
        happened = self._new_events()
        self.events += happened
        event = TickEvent(tick, now_s, choices, rew, happened, self.state, state_hash(self.state), self.done)
        self._record(lambda recorder: recorder.tick(event))
        if self.done:
            self._record(lambda recorder: recorder.finish("finished", now_s))
        else:
            self._offer_state(event.joint_action, now_s)
        return event

    def _offer_state(self, joint_act: tuple[int, ...] | None, now_s: float) -> None:
        for seat in self.seats:
            seat.observe(self.tick, self.state, joint_act, now_s)

    def _new_events(self) -> tuple[GameEvent, ...]:
        """What the counters say happened in the last tick."""
        counts = self._env.event_counts(final=True)[0]
        pairs = occurred(self._counts, counts)
        self._counts = counts
        return tuple(GameEvent(self.tick, seat, name) for seat, name in pairs)

    def _watch_partners(self, now_s: float) -> None:
        """Turn a change of a seat's status into an event."""
        for i, seat in enumerate(self.seats):
            if seat.status != self._statuses[i]:
                self._statuses[i] = seat.status
                self._note(GameEvent(self.tick, i, f"partner_{seat.status}", seat.message), now_s)

    def _note(self, event: GameEvent, now_s: float) -> None:
        self.events.append(event)
        self._record(lambda recorder: recorder.note(event, now_s))

    def _record(self, write: Callable[[Recorder], None]) -> None:
        """Let the recorder write; if the disk refuses, say so and play on without it."""
        if self._recorder is None or self.recording_error:
            return
        try:
            write(self._recorder)
        except UserError as error:
            self.recording_error = str(error)
