"""The tutorial follows what the player does, one after the other, and can be skipped."""

from __future__ import annotations

from coord.overcooked import EVENTS, load_layout
from play.game.inputs import STAY
from play.game.session import Session
from play.game.tutorial import KITCHEN, PHASES, Tutorial
from tests.play.helpers import ACT, COOK, E, N, S, ScriptSeat, W

# Walks up and down; three onions into the pot; a dish; the soup; to the hatch.
ALONE = [W, W, E, E, W, W, E, E, *[E, E, ACT, W, N, ACT] * 3]
ALONE += [W, S, S, W, ACT, N, N, E, N, *[STAY] * 20, ACT, W, S, S, E, S, ACT]


def play(session: Session, tutorial: Tutorial, *, until: str) -> None:
    """Play until the tutorial reaches the phase named `until` ("" for its end)."""
    session.start(0.0)
    while (tutorial.phase.name if tutorial.phase else "") != until:
        for event in session.advance((session.tick + 1) / session.clock.hz):
            tutorial.update(event)
        assert not session.done, f"stuck in {tutorial.phase}"


def test_a_cook_goes_through_all_phases():
    tutorial = Tutorial()
    assert tutorial.new_kitchen
    play(Session(KITCHEN, [ScriptSeat(ALONE)], ticks=200, tick_hz=10), tutorial, until="partner")
    assert tutorial.new_kitchen
    phase = tutorial.phase
    together = [ScriptSeat(COOK * 3), ScriptSeat(kind="agent")]
    play(Session(phase.layout, together, ticks=200, tick_hz=10), tutorial, until="")
    assert tutorial.done
    assert not tutorial.new_kitchen


def test_standing_still_teaches_nothing():
    tutorial = Tutorial()
    session = Session(KITCHEN, [ScriptSeat()], ticks=50, tick_hz=10)
    session.start(0.0)
    for step in range(50):
        for event in session.advance((step + 1) / 10):
            assert not tutorial.update(event)
    assert (tutorial.phase.name, tutorial.count) == ("move", 0)


def test_walking_counts_tiles_not_key_presses():
    tutorial = Tutorial()
    back_and_forth = [3, 3, 2, 2] * 4 + [0] * 30  # west, west, east, east; then face the wall
    session = Session(KITCHEN, [ScriptSeat(back_and_forth)], ticks=46, tick_hz=10)
    session.start(0.0)
    counts = []
    for step in range(4):
        for event in session.advance((step + 1) / 10):
            tutorial.update(event)
            counts.append(tutorial.count)
    assert counts == [0, 1, 2, 3]  # the first state has nothing before it


def test_skipping():
    tutorial = Tutorial()
    tutorial.skip()
    assert tutorial.phase is PHASES[1]
    assert not tutorial.new_kitchen
    tutorial.skip_all()
    tutorial.skip()
    assert tutorial.done
    assert tutorial.phase is None


def test_phases_name_events_that_exist_and_kitchens_that_load():
    assert [phase.name for phase in PHASES] == ["move", "pick_up", "pot", "plate", "serve", "partner"]
    for phase in PHASES:
        assert set(phase.events) <= set(EVENTS)
        assert load_layout(phase.layout).num_players == (2 if phase.partner else 1)
        assert phase.hint.format(move="arrows", interact="space")
