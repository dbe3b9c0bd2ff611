"""Who plays a game with whom, and the session of it: people's keys and partners' workers in their seats."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from coord.overcooked import load_layout
from play.game import worker
from play.game.inputs import Bindings
from play.game.seats import AgentSeat, HumanSeat
from play.game.session import Recorder, Session
from play.game.settings import GameChoice


@dataclass(frozen=True)
class Cast:
    """One game to be played: what, with whom, and what the person is told about the partner."""

    choice: GameChoice
    label: str  # the partner's name on the screen
    seed: int
    people: tuple[int, ...]  # seats held by people; the first is player 1
    participant: str = ""
    study_round: int | None = None
    is_recorded: bool = True


def cast_of(choice: GameChoice, label: str) -> Cast:
    """The game of a choice made in the menu, its seed drawn by lot. UserError if the kitchen is not there."""
    count = load_layout(choice.layout).num_players
    seat = min(choice.seat, count - 1)
    people: tuple[int, ...] = (seat,)
    if choice.second_human and count > 1:
        people = (seat, next(other for other in range(count) if other != seat))
    return Cast(choice, label, secrets.randbits(31), people)


def make_session(
    cast: Cast, bindings: Sequence[Bindings], hold: bool, recorder: Recorder | None, spare: worker.Spare, now_s: float
) -> Session:
    """The game of `cast`, its partners' workers already loading. UserError if it cannot be played."""
    choice = cast.choice
    layout = load_layout(choice.layout)
    seats: list[Any] = []
    for seat in range(layout.num_players):
        if seat in cast.people:
            player = cast.people.index(seat)
            name = cast.participant or ("human" if player == 0 else f"human{player + 1}")
            seats.append(HumanSeat(bindings[player], hold_to_repeat=hold, name=name))
            continue
        partner = worker.PartnerSpec(choice.partner, choice.stochastic, cast.seed + seat)
        game = worker.GameSpec(layout, choice.rules, choice.ticks, seat)
        seats.append(AgentSeat(worker.PartnerWorker(partner, game, now_s, spare=spare), label=cast.label))
    return Session(
        layout, seats, rules=choice.rules, ticks=choice.ticks, tick_hz=choice.tick_hz, seed=cast.seed, recorder=recorder
    )
