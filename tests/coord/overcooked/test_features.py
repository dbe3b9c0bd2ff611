"""The hand-made features: worked by hand on cramped_room, and batched against one by one."""

from __future__ import annotations

import numpy as np
import pytest

from coord.overcooked import OvercookedVectorEnv, load_layout
from coord.overcooked.features import UNREACHABLE, num_features, steps_to_cells
from coord.overcooked.packed_row import FLOOR, build_tables

# cramped_room: seat 0 starts at (1, 2), seat 1 at (3, 1), both facing north.
#   XXPXX
#   O  2O
#   X1  X
#   XDXSX


def block(env: OvercookedVectorEnv, seat: int) -> list[float]:
    return env.feature_obs()[0, seat, :46].tolist()


def test_start_of_cramped_room_by_hand():
    env = OvercookedVectorEnv("cramped_room", 1)
    own = [1, 0, 0, 0, 0, 0, 0, 0]  # facing north, empty hands
    own += [-1, -1, 0, 0, 0, 1, 0, 0, 0, 0]  # onion, no tomato, dish below, no soup
    own += [2, 1, 0, 0]  # serving hatch, no counter
    own += [1, 1, 0, 0, 0, 0, 0, 0, 1, -2] + [0] * 10  # one empty pot
    own += [0, 1, 0, 1]  # counters to the south and to the west
    assert block(env, 0) == own
    vector = env.feature_obs()[0, 0]
    assert vector[92:].tolist() == [2, -1, 1, 2]  # the other chef relative to this one, own place
    np.testing.assert_array_equal(vector[46:92], env.feature_obs()[0, 1, :46])


def test_hands_and_pot_by_hand():
    env = OvercookedVectorEnv("cramped_room", 1)
    state = env.state_dict(0)
    state["players"][0]["held_object"] = {"name": "onion", "position": (1, 2)}
    state["objects"] = [{"name": "soup", "position": (2, 0), "state": ["onion", 3, 12]}]
    env.load_state_dict(0, state)
    own = block(env, 0)
    assert own[4:10] == [1, 0, 0, 0, 0, 0]  # an onion in hand is at (0, 0)
    assert own[22:32] == [1, 0, 1, 1, 0, 3, 0, 8, 1, -2]  # full, cooking, three onions, eight ticks left
    state["players"][0]["held_object"] = {"name": "soup", "position": (1, 2), "state": ["onion", 3, 20]}
    state["objects"][0]["state"] = ["onion", 2, 0]
    env.load_state_dict(0, state)
    own = block(env, 0)
    assert own[4:8] == [0, 1, 0, 0]
    assert own[14:18] == [0, 0, 3, 0]
    assert own[22:32] == [1, 0, 0, 0, 0, 2, 0, 0, 1, -2]


def test_steps_count_turns_and_walls():
    tab = build_tables([load_layout("forced_coordination")], "classic")
    steps = steps_to_cells(tab.facing[0], tab.terrain[0] == FLOOR)
    # XXXPX     cells are y * 5 + x; the middle counter column divides the room
    # O X1P
    # O2X X
    # D X X
    # XXXSX
    north, east, west = 0, 2, 3
    assert steps[8 * 4 + north, 3] == 0  # at (3, 1), already facing the pot above
    assert steps[8 * 4 + north, 9] == 1  # one turn to the pot on the right
    assert steps[18 * 4 + east, 3] == 2  # two steps north from (3, 3); arriving faces the pot
    assert steps[18 * 4 + west, 9] == 3  # two steps north and a turn
    assert steps[11 * 4 + north, 3] == UNREACHABLE


@pytest.mark.parametrize("rules", ["classic", "overcooked-ai"])
def test_many_kitchens_of_several_layouts_equal_single_ones(rules):
    names = ["cramped_room", "asymmetric_advantages_tomato", "forced_coordination"] * 60
    rng = np.random.default_rng(0)
    together = OvercookedVectorEnv(names, len(names), horizon=50, rules=rules)
    alone = [OvercookedVectorEnv(name, 1, horizon=50, rules=rules) for name in names]
    for tick in range(55):
        joint_act = rng.integers(6, size=(len(names), 2))
        result = together.step(joint_act)
        assert result.truncated.all() == (tick == 49)
        for env, act in zip(alone, joint_act, strict=True):
            env.step(act[None])
        for final in (False, True):
            expected = np.concatenate([env.feature_obs(final) for env in alone])
            np.testing.assert_array_equal(together.feature_obs(final), expected)


@pytest.mark.parametrize(("layout", "seats"), [("cramped_room_single", 1), ("multiplayer_schelling", 4)])
def test_other_numbers_of_seats(layout, seats):
    env = OvercookedVectorEnv(layout, 2)
    vectors = env.feature_obs()
    assert vectors.shape == (2, seats, num_features(seats)) == (2, seats, 48 * seats)
    places = np.array(load_layout(layout).start_positions)
    np.testing.assert_array_equal(vectors[0, :, -2:], places)
    np.testing.assert_array_equal(vectors[0, 0, 46 * seats : -2].reshape(-1, 2), places[1:] - places[0])
