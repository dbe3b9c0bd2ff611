"""The index observation against the lossless planes, and its vocabulary. (The planes: see tests/differential.)"""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coord.errors import UserError
from coord.overcooked import IndexSpec, OvercookedVectorEnv, layout_names, load_layout
from coord.overcooked.lossless import TERRAIN_PLANES

BUSY = [0.14, 0.14, 0.14, 0.14, 0.04, 0.4]
TWO_SEATS = [name for name in layout_names() if load_layout(name).num_players == 2]


def played(layout: str | list[str], num_envs: int, steps: int, seed: int, **options) -> OvercookedVectorEnv:
    """Kitchens after random play, each somewhere else in its episode."""
    env = OvercookedVectorEnv(layout, num_envs, **options)
    rng = np.random.default_rng(seed)
    for _ in range(steps):
        env.step(rng.choice(6, (num_envs, env.num_players), p=BUSY))
    return env


def facts(env: OvercookedVectorEnv, n: int, seat: int) -> dict[str, list[int]]:
    """Rows of each block that hold, counted from the block's start."""
    listed = env.index_obs()[n, seat]
    found = {}
    for name, first in env.spec.offsets.items():
        rows = listed[(listed >= first) & (listed < first + env.spec.blocks[name])]
        found[name] = sorted((rows - first).tolist())
    return found


@pytest.mark.parametrize("rules", ["classic", "overcooked-ai"])
@pytest.mark.parametrize("layout", TWO_SEATS)
def test_the_bag_equals_a_linear_layer_on_the_planes(layout: str, rules: str) -> None:
    env = played(layout, 8, 0, 0, horizon=130, rules=rules)
    weight = np.random.default_rng(1).integers(-99, 100, (5, env.width * env.height * 26)).astype(np.float64)
    table = env.spec.table_from_dense(weight, env.layouts[0])
    rng = np.random.default_rng(2)
    for _ in range(120):
        env.step(rng.choice(6, (8, 2), p=BUSY))
        bag = table[env.index_obs()].sum(2)  # [N, P, H]
        assert (bag == env.lossless_obs().reshape(8, 2, -1) @ weight.T).all()


def test_the_bag_equals_a_linear_layer_for_each_layout_of_a_mixture() -> None:
    names = ["cramped_room", "counter_circuit", "mdp_test", "corridor", "tutorial_1", "long_cook_time"]
    env = played(names * 2, 12, 90, 4, rules="overcooked-ai", horizon=110)
    weight = np.random.default_rng(1).integers(-99, 100, (5, env.width * env.height * 26)).astype(np.float64)
    for n, number in enumerate(env.layout_index):
        table = env.spec.table_from_dense(weight, env.layouts[number])
        bag = table[env.index_obs()[n]].sum(1)
        assert (bag == env.lossless_obs()[n].reshape(2, -1) @ weight.T).all()


def test_every_fact_of_a_known_state() -> None:
    """cramped_room, counted by hand: 5 x 4, cell = x * 4 + y."""
    env = OvercookedVectorEnv("cramped_room", 1, horizon=400)
    held = {"name": "dish", "position": (1, 2)}
    loose = [{"name": "tomato", "position": (0, 2)}]
    loose.append({"name": "soup", "position": (2, 0), "state": ["onion", 3, 13]})
    chefs = [{"position": (1, 2), "orientation": (0, 1), "held_object": held}]
    chefs.append({"position": (2, 1), "orientation": (0, -1)})
    env.load_state_dict(0, {"players": chefs, "objects": loose, "timestep": 361})
    expected = {
        "pose": [6 * 4 + 1, (20 + 9) * 4 + 0],
        "object": [20 + 2, 2 * 20 + 6],  # a tomato at (0, 2), a dish where the first chef stands
        "pot_idle": [],
        "pot_soup": [2],
        "pot_time": [20 - 13],
        "urgency": [0],
        "layout": [0],
        "holds": [3, 13 + 0],
        "faces": [9],  # the dishes
    }
    assert facts(env, 0, 0) == expected
    other = {"pose": [9 * 4 + 0, (20 + 6) * 4 + 1], "holds": [0, 13 + 3], "faces": [14]}  # faces the pot, which cooks
    assert facts(env, 0, 1) == {**expected, **other}


@pytest.mark.parametrize(
    ("chef", "objects", "kind"),
    [
        (((2, 2), (0, -1)), [], 0),  # floor
        (((1, 1), (1, 0)), [], 1),  # the other chef
        (((1, 1), (0, -1)), [], 2),  # empty counter
        (((1, 1), (0, -1)), [{"name": "onion", "position": (1, 0)}], 3),
        (((1, 1), (0, -1)), [{"name": "tomato", "position": (1, 0)}], 4),
        (((1, 1), (0, -1)), [{"name": "dish", "position": (1, 0)}], 5),
        (((1, 1), (0, -1)), [{"name": "soup", "position": (1, 0), "state": ["onion", 3, 20]}], 6),
        (((1, 1), (-1, 0)), [], 7),  # onions
        (((1, 2), (-1, 0)), [], 8),  # tomatoes
        (((1, 2), (0, 1)), [], 9),  # dishes
        (((3, 2), (0, 1)), [], 10),  # hatch
        (((2, 2), (0, 1)), [], 11),  # empty pot
        (((2, 2), (0, 1)), [{"name": "soup", "position": (2, 3), "state": ["onion", 2, 0]}], 12),
        (((2, 2), (0, 1)), [{"name": "soup", "position": (2, 3), "state": ["onion", 3, 0]}], 13),
        (((2, 2), (0, 1)), [{"name": "soup", "position": (2, 3), "state": ["onion", 3, 1]}], 14),
        (((2, 2), (0, 1)), [{"name": "soup", "position": (2, 3), "state": ["onion", 3, 20]}], 15),
    ],
)
def test_what_a_chef_faces(chef: tuple, objects: list, kind: int) -> None:
    env = OvercookedVectorEnv("mdp_test", 1, rules="overcooked-ai")
    other = (2, 1) if kind else (3, 1)
    players = [{"position": chef[0], "orientation": chef[1]}, {"position": other, "orientation": (0, -1)}]
    env.load_state_dict(0, {"players": players, "objects": objects})
    if kind == 0:
        env.load_state_dict(0, {"players": [players[0], {**players[1], "position": (1, 1)}], "objects": objects})
    assert facts(env, 0, 0)["faces"] == [kind]


@settings(max_examples=20, deadline=None)
@given(
    layout=st.sampled_from(["cramped_room", "mdp_test", "forced_coordination", "counter_circuit"]),
    rules=st.sampled_from(["classic", "overcooked-ai"]),
    seed=st.integers(0, 2**32 - 1),
)
def test_trading_seats_trades_the_observations(layout: str, rules: str, seed: int) -> None:
    env = played(layout, 4, 80, seed, rules=rules)
    traded = OvercookedVectorEnv(layout, 4, rules=rules)
    for n in range(4):
        state = env.state_dict(n)
        traded.load_state_dict(n, {**state, "players": state["players"][::-1]})
    assert (np.sort(env.index_obs()[:, ::-1], axis=2) == np.sort(traded.index_obs(), axis=2)).all()
    assert (env.lossless_obs()[:, ::-1] == traded.lossless_obs()).all()


def test_others_are_listed_in_seat_order_for_four_seats() -> None:
    env = OvercookedVectorEnv("multiplayer_schelling", 1)
    cells = env.spec.cells
    tiles = [p["position"][0] * env.height + p["position"][1] for p in env.state_dict(0)["players"]]
    for seat, order in enumerate([(0, 1, 2, 3), (1, 0, 2, 3), (2, 0, 1, 3), (3, 0, 1, 2)]):
        assert facts(env, 0, seat)["pose"] == [(r * cells + tiles[other]) * 4 for r, other in enumerate(order)]


@pytest.mark.parametrize("rules", ["classic", "overcooked-ai"])
def test_lists_are_as_long_as_promised_and_padded_at_the_end(rules: str) -> None:
    for name in layout_names():
        env = played(name, 4, 60, 1, rules=rules)
        listed = env.index_obs()
        assert listed.dtype == np.int16
        assert listed.min() >= 0
        assert listed.max() <= env.spec.pad == env.spec.vocab_size
        padded = listed == env.spec.pad
        assert (np.diff(padded.astype(int), axis=2) >= 0).all()


def test_a_kitchen_full_of_things_fits_the_list() -> None:
    env = OvercookedVectorEnv("mdp_test", 1, horizon=400, rules="overcooked-ai")
    layout = env.layouts[0]
    at = [(cell % layout.width, cell // layout.width) for cell in layout.cells("X")]
    objects = [{"name": "dish", "position": position} for position in at]
    for cell in layout.cells("P"):
        position = (cell % layout.width, cell // layout.width)
        objects.append({"name": "soup", "position": position, "state": ["onion", 3, 1]})
    players = [{**p, "held_object": {"name": "onion", "position": p["position"]}} for p in env.state_dict(0)["players"]]
    env.load_state_dict(0, {"players": players, "objects": objects, "timestep": 399})
    assert (env.index_obs() < env.spec.pad).all()  # not one entry is left over


def test_a_spec_of_several_layouts_serves_each_of_them() -> None:
    """Rows of a joint vocabulary: the kitchen alone, read with the joint spec, says what it says in the mixture."""
    names = ["cramped_room", "mdp_test", "corridor"]
    spec = IndexSpec.for_layouts(names, "classic", 2)
    mixed = played(names, 3, 50, 9)
    assert mixed.spec == spec
    for n, name in enumerate(names):
        alone = OvercookedVectorEnv(name, 1)
        alone.load_state_dict(0, mixed.state_dict(n))
        assert (alone.index_obs(spec)[0] == mixed.index_obs()[n]).all()
        assert spec.number_of(load_layout(name)) == n
    with pytest.raises(UserError, match="'bottleneck' is not among those of this index observation: cramped_room"):
        OvercookedVectorEnv("bottleneck", 1).index_obs(spec)
    with pytest.raises(UserError, match="is for rules 'classic'"):
        OvercookedVectorEnv("cramped_room", 1, rules="overcooked-ai").index_obs(spec)
    with pytest.raises(UserError, match="is for 2 seats"):
        OvercookedVectorEnv("cramped_room_single", 1).index_obs(spec)
    with pytest.raises(UserError, match="has 1 seats, not 2"):
        IndexSpec.for_layouts(["cramped_room_single"], "classic", 2)


def test_specs_survive_json() -> None:
    spec = IndexSpec.for_layouts(["cramped_room", "corridor"], "overcooked-ai", 2)
    assert IndexSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


def test_given_buffers_are_filled() -> None:
    env = played("cramped_room", 5, 20, 0)
    indices = np.full((5, 2, env.spec.max_facts), -1, np.int16)
    planes = np.full((5, 2, 5, 4, 26), 77, np.uint8)
    assert env.index_obs(out=indices) is indices
    assert env.lossless_obs(out=planes) is planes
    assert (indices == env.index_obs()).all()
    assert (planes == env.lossless_obs()).all()


def test_terrain_planes_cover_every_tile_but_floor() -> None:
    assert set(TERRAIN_PLANES) == set("XPOTDS")
    env = OvercookedVectorEnv("cramped_room", 1)
    assert env.lossless_obs()[0, 0, :, :, 10:16].sum() == 20 - 6
