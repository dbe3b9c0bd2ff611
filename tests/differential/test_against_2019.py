"""The classic rules against the rules of 2019 written down independently (`rules_of_2019`).

The patched overcooked-ai of `test_against_overcooked_ai` knows soups of several ingredients, 2019 does not; the
recorded games know no tomatoes. Here chefs play at random, with more than their share of interactions.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from coord.overcooked import Layout, OvercookedVectorEnv, layout_names, load_layout
from tests.differential.rules_of_2019 import Chef, Kitchen2019, picture_of

TICKS = 400
CHANCES = np.array([0.13, 0.13, 0.13, 0.13, 0.03, 0.45])
TELLING = [name for name in layout_names() if load_layout(name).cells("T") or load_layout(name).num_players != 2]


def kitchen_of(layout: Layout) -> Kitchen2019:
    chefs = [Chef(spot, (0, -1)) for spot in layout.start_positions]
    items, shaping = layout.classic_items, layout.shaping
    return Kitchen2019(layout.terrain, chefs, layout.classic_time, layout.classic_value, items, shaping)


def play_both(layout: Layout, games: int, seed: int) -> tuple[int, int, float]:
    """(transitions that differ, of how many, points) in games of random play."""
    bad, points = 0, 0.0
    env = OvercookedVectorEnv(layout, games, horizon=TICKS + 1)
    kitchens = [kitchen_of(layout) for _ in range(games)]
    rng = np.random.default_rng([seed, 2019])
    for _ in range(TICKS):
        acts = rng.choice(6, (games, env.num_players), p=CHANCES)
        result = env.step(acts)
        for game, kitchen in enumerate(kitchens):
            reward, shaped = kitchen.step(acts[game])
            points += reward
            same = picture_of(env.state_dict(game)) == kitchen.picture()
            bad += not (same and reward == result.rew[game] and shaped == result.shaped_rew[game].tolist())
    return bad, games * TICKS, points


def test_every_packaged_kitchen_with_tomatoes_or_other_than_two_seats() -> None:
    layouts = [dataclasses.replace(load_layout(name), start_state=None) for name in TELLING]
    found = [play_both(layout, 3, number) for number, layout in enumerate(layouts)]
    assert len(layouts) == 19
    assert sum(total for _, total, _ in found) == 22_800
    assert [name for name, (bad, *_) in zip(TELLING, found, strict=True) if bad] == []


SMALL = "XXPPX\nO12 T\nX34 X\nXDSDX"


@pytest.mark.parametrize("seats", [1, 2, 3, 4])
@pytest.mark.parametrize(("time", "value", "items"), [(20, 20.0, 3), (5, 7.0, 3), (0, 2.5, 2), (40, 0.0, 1)])
def test_any_number_of_seats_and_the_parameters_of_2019(seats: int, time: int, value: float, items: int) -> None:
    grid = "".join(" " if char.isdigit() and int(char) > seats else char for char in SMALL)
    layout = dataclasses.replace(load_layout(grid), classic_time=time, classic_value=value, classic_items=items)
    bad, total, points = play_both(layout, 6, seats)
    assert (bad, total) == (0, 6 * TICKS)
    assert points > 0 or value == 0


def test_a_pot_takes_only_what_is_already_in_it() -> None:
    env = OvercookedVectorEnv("cramped_room_tomato", 1, mask_useless_actions=True)
    state = env.state_dict(0)
    pot = (2, 0)
    tomato = {"name": "tomato", "position": pot}
    soup = {"name": "soup", "position": pot, "_ingredients": [tomato], "cooking_tick": -1}
    onion = {"name": "onion", "position": (2, 1)}
    at_pot = {"position": (2, 1), "orientation": (0, -1), "held_object": onion}
    before = {**state, "players": [at_pot, {**state["players"][1], "position": (3, 2)}], "objects": [soup]}
    env.load_state_dict(0, before)
    assert not env.available_actions()[0, 0, 5]
    result = env.step(np.array([[5, 4]]))
    assert (result.rew[0], result.shaped_rew[0].tolist()) == (0, [0, 0])
    assert picture_of(env.state_dict(0)) == picture_of(before)
    at_pot["held_object"] = {"name": "tomato", "position": (2, 1)}
    env.load_state_dict(0, before)
    assert env.available_actions()[0, 0, 5]
    assert env.step(np.array([[5, 4]])).shaped_rew[0].tolist() == [3, 0]


def test_a_mixed_soup_is_no_state_of_the_classic_rules() -> None:
    env = OvercookedVectorEnv("cramped_room_tomato", 1)
    items = [{"name": name, "position": (2, 0)} for name in ("onion", "tomato")]
    mixed = {**env.state_dict(0), "objects": [{"name": "soup", "position": (2, 0), "_ingredients": items}]}
    with pytest.raises(ValueError, match="one kind of ingredient"):
        env.load_state_dict(0, mixed)
    OvercookedVectorEnv("cramped_room_tomato", 1, rules="overcooked-ai").load_state_dict(0, mixed)
