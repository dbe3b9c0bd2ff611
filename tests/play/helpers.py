"""Seats, agents and games for the tests of the headless play modules. Spawned workers import the loaders by name."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

import numpy as np

from coord.agents.players import RandomAgent
from coord.errors import UserError
from coord.overcooked import OvercookedVectorEnv, load_layout
from play.game.inputs import STAY
from play.game.seats import AGENT, HUMAN, ChosenAction, SeatInfo
from play.game.session import Session


class ScriptSeat:
    """Plays a list of actions, then stays."""

    status, message = "ready", ""

    def __init__(self, actions: Sequence[int] = (), *, kind: str = HUMAN, name: str = "human") -> None:
        self.info = SeatInfo(kind, name, name)
        self.actions = list(actions)
        self.observed: list[int] = []
        self.played: list[object] = []  # what was said to have been played before each observation
        self.closed = self.interrupted = False

    def poll(self, now_s: float) -> None:
        pass

    def observe(self, tick: int, state: object, joint_act: object, now_s: float) -> None:
        self.observed.append(tick)
        self.played.append(joint_act)

    def choose(self, tick: int, now_s: float) -> ChosenAction:
        action = self.actions[tick] if tick < len(self.actions) else STAY
        if self.info.kind == HUMAN:
            return ChosenAction(action, HUMAN, key_s=now_s - 0.05)
        return ChosenAction(action, AGENT, latency_ms=1.5)

    def interrupt(self) -> None:
        self.interrupted = True

    def close(self) -> None:
        self.closed = True


def run_session(session: Session, *, ticks: int | None = None, start_s: float = 100.0) -> float:
    """Start `session` and play it (or `ticks` ticks of it) by a clock of our own; the time then."""
    now_s = start_s
    session.start(now_s)
    while not session.done and (ticks is None or session.tick < ticks):
        now_s += session.clock.period_s / 4
        session.advance(now_s)
    return now_s


# One cook alone makes a soup in cramped_room, from any seat-0 start; the rules of either kind start the pot.
N, S, E, W, ACT = 0, 1, 2, 3, 5
_ONION = [W, W, ACT, E, N, ACT]
COOK = [N, *_ONION[1:], *_ONION, *_ONION, ACT, W, S, S, ACT, N, E, N, *[STAY] * 14, ACT, S, E, S, ACT, W, W]
HELPER = [E, ACT]  # takes an onion and keeps it


def play_cook(
    store=None, *, layout="cramped_room", ticks=120, rules="classic", participant="", study_round=None, seat=0, late=0
) -> Session:
    """A finished game of a person at `seat` with an agent called greedy; whoever sits at seat 0 does the cooking.

    The cook begins after `late` ticks: a soup is served every 47 ticks or so.
    """
    seats = [ScriptSeat([STAY] * late + COOK * 20), ScriptSeat(HELPER)]
    for number, one in enumerate(seats):
        kind, name = (HUMAN, participant or "human") if number == seat else (AGENT, "greedy")
        one.info = SeatInfo(kind, name, name)
    recorder = None if store is None else store.recorder(participant=participant, study_round=study_round)
    session = Session(layout, seats, rules=rules, ticks=ticks, tick_hz=10, recorder=recorder)
    session.close(run_session(session))
    return session


def play_still(store, *, layout: str, ticks: int, participant: str, study_round: int, seat: int) -> Session:
    """A finished game of a person who stays with an agent that stays: cheap."""
    seats = [ScriptSeat(kind=AGENT, name="script") for _ in range(2)]
    seats[seat] = ScriptSeat(name=participant)
    recorder = store.recorder(participant=participant, study_round=study_round)
    session = Session(layout, seats, ticks=ticks, tick_hz=10, recorder=recorder)
    session.close(run_session(session))
    return session


# -- agents for workers -------------------------------------------------------------------------------------------


class East(RandomAgent):
    """Always walks east."""

    agent_id = "east"

    def act(self, view, rows, seats):
        return np.full(len(rows), E)


class HangsAt(East):
    """Sleeps for a minute when it sees tick 3."""

    def act(self, view, rows, seats):
        if view.env.state_dict(0)["timestep"] == 3:
            time.sleep(60)
        return super().act(view, rows, seats)


class RaisesAt(East):
    """Raises when it sees tick 2."""

    def act(self, view, rows, seats):
        if view.env.state_dict(0)["timestep"] == 2:
            raise RuntimeError("out of onions")
        return super().act(view, rows, seats)


class DiesAt(East):
    """Takes its whole process down when it sees tick 2."""

    def act(self, view, rows, seats):
        if view.env.state_dict(0)["timestep"] == 2:
            os._exit(7)
        return super().act(view, rows, seats)


def load_east(spec, game):
    return East()


def load_hangs(spec, game):
    return HangsAt()


def load_raises(spec, game):
    return RaisesAt()


def load_dies(spec, game):
    return DiesAt()


def load_fails(spec, game):
    raise UserError("no agent at 'nowhere.safetensors'")


def state_at(tick: int, layout: str = "cramped_room") -> dict:
    """The start state with its clock at `tick`."""
    return {**OvercookedVectorEnv(load_layout(layout), 1).state_dict(0), "timestep": tick}
