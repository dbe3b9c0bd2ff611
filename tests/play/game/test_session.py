"""A game ticks when it is due, ends on the tick, freezes in a pause, and tells what happened."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from coord.errors import UserError
from coord.overcooked import EVENTS, OvercookedVectorEnv
from coord.overcooked.recorded import state_hash
from play.game.inputs import PRESETS, STAY
from play.game.seats import HUMAN, MISS, ChosenAction, HumanSeat
from play.game.session import ROUTINE, Session
from tests.play.helpers import ScriptSeat, play_cook, run_session


class SilentSeat(ScriptSeat):
    """An agent that never answers, and then hangs."""

    status = "ready"

    def choose(self, tick, now_s):
        return ChosenAction(STAY, MISS)


class BrokenRecorder:
    """A disk that refuses after `good` calls."""

    game_id = 1

    def __init__(self, good: int) -> None:
        self.good, self.calls = good, 0

    def begin(self, *args):
        self.calls += 1
        if self.calls > self.good:
            raise UserError("cannot write games.sqlite: the disk is full")

    tick = note = flush = finish = begin


def two(first=(), second=()) -> list[ScriptSeat]:
    return [ScriptSeat(first), ScriptSeat(second, kind="agent", name="script")]


def test_one_tick_per_call_and_only_when_due():
    session = Session("cramped_room", two(), ticks=50, tick_hz=10)
    assert session.advance(5.0) == []  # not started
    session.start(10.0)
    assert session.advance(10.09) == []
    (event,) = session.advance(10.1)
    assert (event.tick, event.at_s, session.tick, session.ticks_left) == (0, 10.1, 1, 49)
    assert session.seconds_left == pytest.approx(4.9)
    assert [len(session.advance(10.45)) for _ in range(5)] == [1, 1, 1, 0, 0]


def test_everyone_is_told_what_was_played_before():
    seats = two([0, 3], [5])
    run_session(Session("cramped_room", seats, ticks=4, tick_hz=10))
    for seat in seats:
        assert seat.observed == [0, 1, 2, 3]
        assert seat.played == [None, (0, 5), (3, STAY), (STAY, STAY)]


def test_the_game_ends_on_its_last_tick_with_its_last_state():
    session = Session("cramped_room", two(), ticks=7, tick_hz=10)
    now_s = run_session(session)
    assert session.done
    assert (session.tick, session.ticks_left) == (7, 0)
    assert session.state["timestep"] == 7
    assert session.advance(now_s + 10) == []
    assert session.alpha(now_s) == 1.0


def test_the_session_is_the_kitchen():
    rng = np.random.default_rng(3)
    joint = rng.integers(0, 6, size=(300, 2))
    session = Session("coordination_ring", two(joint[:, 0], joint[:, 1]), ticks=300, tick_hz=50)
    env = OvercookedVectorEnv("coordination_ring", 1, horizon=400)
    session.start(0.0)
    compared = 0
    for tick, joint_act in enumerate(joint):
        (event,) = session.advance((tick + 1) / 50)
        rew = env.step(joint_act[None]).rew[0]
        assert event.joint_action == tuple(joint_act)
        assert (event.reward, event.state) == (rew, env.state_dict(0))
        assert event.state_hash == state_hash(env.state_dict(0))
        compared += 1
    assert compared == 300
    counts = {(e.seat, e.name): 0 for e in session.events}
    for e in session.events:
        counts[e.seat, e.name] += 1
    expected = {
        (seat, name): int(count)
        for seat, row in enumerate(env.event_counts()[0])
        for name, count in zip(EVENTS, row, strict=True)
        if count and name not in ROUTINE
    }
    assert counts == expected
    assert len(counts) > 3


def test_soups_score():
    session = play_cook(ticks=200)
    assert session.score == 80
    assert session.score == 20 * sum(event.name == "delivery" for event in session.events)


def test_pause_freezes_and_forgets_keys():
    seat = HumanSeat(PRESETS["arrows"])
    session = Session("cramped_room", [seat, ScriptSeat()], ticks=50, tick_hz=10)
    session.start(0.0)
    seat.input.press("up", 0.04)
    session.pause(0.05, "focus lost")
    assert session.advance(60.0) == []
    session.resume(60.0)
    assert session.advance(60.04) == []
    (event,) = session.advance(60.05)
    assert event.choices[0] == ChosenAction(STAY, HUMAN)
    assert [(e.name, e.detail) for e in session.events] == [("pause", "focus lost"), ("resume", "")]


def test_a_key_is_played_once_with_its_time():
    seat = HumanSeat(PRESETS["arrows"], hold_to_repeat=False, name="p-1")
    session = Session("cramped_room", [seat, ScriptSeat()], ticks=50, tick_hz=10)
    session.start(0.0)
    seat.input.press("left", 0.03)
    (first,) = session.advance(0.1)
    (second,) = session.advance(0.2)
    assert first.choices[0] == ChosenAction(3, HUMAN, key_s=0.03)
    assert second.choices[0] == ChosenAction(STAY, HUMAN)
    assert (seat.info.name, seat.info.bindings) == ("p-1", "arrows")


def test_misses_are_counted_and_trouble_is_told_once():
    silent = SilentSeat(kind="agent", name="mute")
    session = Session("cramped_room", [ScriptSeat(), silent], ticks=20, tick_hz=10)
    session.start(0.0)
    session.advance(0.1)
    silent.status, silent.message = "hung", "partner 'mute' hung: no answer for 3 s"
    for step in range(2, 6):
        session.advance(step / 10)
    assert session.misses == [0, 5]
    told = [(e.seat, e.name, e.detail) for e in session.events if e.name.startswith("partner")]
    assert told == [(1, "partner_hung", "partner 'mute' hung: no answer for 3 s")]


def test_a_session_waits_for_seats_that_load():
    slow = ScriptSeat(kind="agent")
    slow.status = "loading"
    session = Session("cramped_room", [ScriptSeat(), slow], ticks=5)
    assert not session.ready(0.0)
    slow.status = "ready"
    assert session.ready(1.0)


@pytest.mark.parametrize("good", [0, 1, 6])
def test_a_refusing_disk_is_told_and_the_game_goes_on(good):
    session = Session("cramped_room", two(), ticks=30, tick_hz=10, recorder=BrokenRecorder(good))
    now_s = run_session(session)
    session.close(now_s)
    assert session.done
    assert session.recording_error == "cannot write games.sqlite: the disk is full"


def test_closing_ends_the_seats_and_says_how_it_ended():
    seats = two()
    session = Session("cramped_room", seats, ticks=30, tick_hz=10)
    now_s = run_session(session, ticks=4)
    session.close(now_s)
    assert all(seat.closed for seat in seats)
    assert session.advance(now_s + 1) == []


def test_seats_must_fit_the_layout():
    with pytest.raises(UserError, match="has 2 seats, got 1 players"):
        Session("cramped_room", [ScriptSeat()])
    with pytest.raises(UserError, match="did you mean 'cramped_room'"):
        Session("cramped_rom", two())


def test_layouts_may_be_grids_and_have_one_seat():
    session = Session("XXPXX\nO 1 O\nX   X\nXDXSX\n", [ScriptSeat([3, 3, 5])], ticks=3, tick_hz=10)
    run_session(session)
    assert session.state["players"][0]["held_object"]["name"] == "onion"
    assert [event.name for event in session.events] == ["onion_from_dispenser"]
    assert dataclasses.asdict(session.layout)["grid"][0] == "XXPXX"
