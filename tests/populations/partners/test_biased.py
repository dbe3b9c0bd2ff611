"""Biased partners: which errands there are, whom they go to, patience, and that no two are alike."""

from __future__ import annotations

import numpy as np
import pytest

from coord.agents.views import KitchenView
from coord.overcooked import EVENTS, OvercookedVectorEnv
from coord.overcooked.packed_row import (
    COUNTER,
    DISH,
    DISH_DISPENSER,
    INTERACT,
    NOTHING,
    ONION,
    ONION_DISPENSER,
    POT,
    SERVING,
    SOUP,
    TICK_SHIFT,
)
from populations.partners import biased
from populations.partners.biased import FETCH, FILL, PICK_UP, PLATE, PUT_DOWN, SERVE, BiasedPartners, errand

NO_ERRAND = (-1, 0)


@pytest.mark.parametrize(
    ("terrain", "inside", "held", "expected"),
    [
        (ONION_DISPENSER, NOTHING, NOTHING, (FETCH, 0)),
        (DISH_DISPENSER, NOTHING, NOTHING, (FETCH, 1)),
        (ONION_DISPENSER, NOTHING, ONION, NO_ERRAND),
        (POT, NOTHING, ONION, (FILL, 0)),
        (POT, SOUP + 2, ONION, (FILL, 0)),  # one onion is in it
        (POT, SOUP + 8, ONION, NO_ERRAND),  # three
        (POT, SOUP + 8, DISH, NO_ERRAND),  # that do not cook
        (POT, SOUP + 8 + (1 << TICK_SHIFT), DISH, (PLATE, 1)),
        (POT, SOUP + 8 + (1 << TICK_SHIFT), ONION, NO_ERRAND),
        (POT, NOTHING, DISH, NO_ERRAND),
        (SERVING, NOTHING, SOUP + 7, (SERVE, 1)),
        (SERVING, NOTHING, DISH, NO_ERRAND),
        (COUNTER, NOTHING, ONION, (PUT_DOWN, 0)),
        (COUNTER, NOTHING, SOUP + 7, (PUT_DOWN, 1)),
        (COUNTER, DISH, NOTHING, (PICK_UP, 1)),
        (COUNTER, ONION, NOTHING, (PICK_UP, 0)),
        (COUNTER, ONION, DISH, NO_ERRAND),
        (COUNTER, NOTHING, NOTHING, NO_ERRAND),
    ],
)
def test_what_can_be_done_where(terrain: int, inside: int, held: int, expected: tuple[int, int]) -> None:
    assert errand(terrain, inside, held) == expected


def play(
    partners: BiasedPartners, layout: str = "cramped_room", games: int = 32, ticks: int = 200, ego: int = 0
) -> tuple[OvercookedVectorEnv, np.ndarray]:
    """Games of an ego that walks north and stays there in seat 0 with partners in seat 1, who did [ticks, games]."""
    env = OvercookedVectorEnv(layout, games, horizon=ticks)
    env.reset()
    view, rows, seats, acts = KitchenView(env), np.arange(games), np.ones(games, np.int64), []
    for _ in range(ticks):
        acts.append(partners.act(view, rows, seats, np.zeros(games, np.int64)))
        joint = np.stack([np.full(games, ego), acts[-1]], 1)
        view.stepped(joint, env.step(joint).truncated)
    return env, np.array(acts)


def counts(env: OvercookedVectorEnv) -> dict[str, np.ndarray]:
    """Event -> [games] of the partners."""
    return dict(zip(EVENTS, env.event_counts(True)[:, 1].T, strict=True))


def only(*likes: tuple[int, int], patience: int = 20, games: int = 32) -> BiasedPartners:
    """Partners that like nothing but these (kind, purpose)."""
    made = BiasedPartners()
    made.start(games, 2, 0)
    made.biases.like[:] = 0
    for kind, purpose in likes:
        made.biases.like[:, :, kind, purpose] = 1
    made.biases.patience[:] = patience
    return made


def test_a_cook_who_likes_what_a_soup_needs_makes_soups() -> None:
    """Not as many as it might: it fetches onions and dishes alike, and the ego stands in its way."""
    env, _ = play(only((FETCH, 0), (FETCH, 1), (FILL, 0), (PLATE, 1), (SERVE, 1)), ticks=400)
    found = counts(env)
    assert (found["potting_onion"] >= 3).mean() > 0.8
    assert found["delivery"].sum() > 5


def test_a_hoarder_of_dishes_has_them_on_the_counters_and_does_nothing_else() -> None:
    env, _ = play(only((FETCH, 1), (PUT_DOWN, 1)))
    found = counts(env)
    assert found["dish_from_dispenser"].mean() > 1
    assert found["onion_from_dispenser"].sum() == found["delivery"].sum() == 0
    assert (found["dish_from_dispenser"] - found["put_dish_on_counter"] <= 1).all()


def test_it_pushes_on_as_long_as_it_is_patient() -> None:
    """The ego stands in the way (coordination_ring's corridors are one cell wide)."""
    blocked = {}
    for patience in (3, 150):
        _, acts = play(only((FETCH, 0), (FILL, 0), patience=patience), "coordination_ring", ticks=150)
        moved = np.diff(acts, axis=0) != 0
        blocked[patience] = moved.mean()
    assert blocked[150] < blocked[3]


def test_no_two_are_alike_and_each_stays_what_it_is_for_an_episode() -> None:
    made = BiasedPartners()
    made.start(500, 2, 3)
    like = made.biases.like.copy()
    assert (like == 0).mean() == pytest.approx(biased.REFUSES, abs=0.02)
    assert len(np.unique(made.biases.patience)) > 20
    made.begin_episode(np.arange(10))
    assert not (made.biases.like[:10] == like[:10]).all()
    np.testing.assert_array_equal(made.biases.like[10:], like[10:])
    made.start(500, 2, 4)
    assert not (made.biases.like == like).all()
    made.start(500, 2, 3)
    np.testing.assert_array_equal(made.biases.like, like)


def test_it_goes_on_where_it_was() -> None:
    one, two = BiasedPartners(), BiasedPartners()
    for made in (one, two):
        made.start(8, 2, 5)
    play(one, games=8, ticks=30)
    two.set_state(one.get_state())
    found = [play(made, games=8, ticks=30)[1] for made in (one, two)]
    np.testing.assert_array_equal(*found)
    assert (found[0] == INTERACT).any()
    assert (found[0] != INTERACT).any()
