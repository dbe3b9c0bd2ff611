"""The rule book, against games worked out by hand and against what must hold in every game."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coord.overcooked import ACTIONS, EVENTS, OvercookedVectorEnv
from coord.types import StepResult

N, S, E, W, STAY, USE = range(6)
ROOM = "cramped_room"
SOLO = "cramped_room_single"
# From the start of cramped_room_single: an onion into the pot, standing at the end before the pot, facing it.
FIRST_ONION = [N, W, USE, E, N, USE]
NEXT_ONION = [W, W, USE, E, N, USE]


def play(env: OvercookedVectorEnv, acts: Sequence[int | tuple[int, ...]]) -> list[StepResult]:
    """Steps one kitchen; a single number is a move of its only chef."""
    return [env.step(np.array([act if isinstance(act, tuple) else (act,)])) for act in acts]


def counts(env: OvercookedVectorEnv, seat: int = 0) -> dict[str, int]:
    """Events that occurred."""
    pairs = zip(EVENTS, env.event_counts()[0, seat].tolist(), strict=True)
    return {name: count for name, count in pairs if count}


def pot(env: OvercookedVectorEnv) -> dict[str, Any]:
    """The soup in the pot."""
    return next(obj for obj in env.state_dict(0)["objects"] if obj["name"] == "soup")


def test_action_names() -> None:
    assert ACTIONS == ("north", "south", "east", "west", "stay", "interact")


def test_classic_pot_starts_by_itself_and_pays_twenty() -> None:
    env = OvercookedVectorEnv(SOLO, 1)
    shaped = [r.shaped_rew[0, 0] for r in play(env, FIRST_ONION + NEXT_ONION)]
    assert shaped == [0, 0, 0, 0, 0, 3] * 2
    play(env, [USE])  # an empty hand at the pot
    assert pot(env)["is_idle"]
    assert pot(env)["cooking_tick"] == -1
    play(env, NEXT_ONION)
    assert pot(env)["cooking_tick"] == 1
    assert pot(env)["cook_time"] == 20
    fetch_dish = [S, W, S, USE]
    play(env, fetch_dish + [N, E, N] + [STAY] * 11)
    assert pot(env)["cooking_tick"] == 19
    assert not pot(env)["is_ready"]
    play(env, [USE])  # one tick early; the soup is done at the end of this tick
    assert pot(env)["is_ready"]
    assert env.state_dict(0)["players"][0]["held_object"]["name"] == "dish"
    assert play(env, [USE])[0].shaped_rew[0, 0] == 5
    results = play(env, [S, E, S, USE])
    assert [r.rew[0] for r in results] == [0, 0, 0, 20]
    assert env.episode_return()[0] == 20
    assert env.state_dict(0)["objects"] == []
    assert env.state_dict(0)["players"][0]["held_object"] is None
    expected = {"onion_from_dispenser": 3, "potting_onion": 3, "placement_in_pot": 3, "pot_started": 1}
    expected |= {"dish_from_dispenser": 1, "useful_dish_pickup": 1, "soup_pickup": 1, "delivery": 1}
    expected |= {"delivery_three_items": 1}
    found = counts(env)
    assert {name: found[name] for name in expected} == expected
    assert "delivery_unpaid" not in found


def test_overcooked_ai_pot_starts_by_hand_and_pays_only_orders() -> None:
    env = OvercookedVectorEnv(SOLO, 1, rules="overcooked-ai")
    play(env, [*FIRST_ONION, USE])
    assert pot(env)["cooking_tick"] == 1
    assert counts(env)["pot_started"] == 1
    assert [r.shaped_rew[0, 0] for r in play(env, NEXT_ONION)] == [0] * 6  # a pot that cooks takes no more
    assert len(pot(env)["_ingredients"]) == 1
    assert counts(env)["potting_onion"] == 1
    play(env, [W, N, USE, S, S, USE, N, E, N])  # the onion aside, a dish, back to the pot
    assert counts(env)["put_onion_on_counter"] == 1
    assert pot(env)["cooking_tick"] == 16
    play(env, [STAY] * 4 + [USE])
    results = play(env, [S, E, S, USE])
    assert [r.rew[0] for r in results] == [0] * 4  # one onion is not on the order list
    assert counts(env)["delivery"] == counts(env)["delivery_unpaid"] == 1
    assert "delivery_two_items" not in counts(env)


def test_overcooked_ai_recipes_bonus_and_unordered_soups() -> None:
    env = OvercookedVectorEnv("mdp_test", 1, rules="overcooked-ai")
    chef = {"position": (3, 2), "orientation": (0, 1)}
    other = {"position": (1, 1), "orientation": (0, -1), "held_object": None}
    orders = env.state_dict(0)

    def serve(*ingredients: str) -> float:
        soup = {"name": "soup", "position": (3, 2), "cooking_tick": 6}
        soup["_ingredients"] = [{"name": name, "position": (3, 2)} for name in ingredients]
        env.load_state_dict(0, {**orders, "players": [{**chef, "held_object": soup}, other]})
        return float(env.step(np.array([[USE, STAY]])).rew[0])

    assert serve("onion") == 10
    assert serve("onion", "onion", "onion") == 30
    assert serve("onion", "tomato", "onion") == 50  # bonus order: twice 25
    assert serve("tomato") == 0
    assert counts(env)["delivery_unpaid"] == 1
    assert counts(env)["delivery"] == 4
    assert counts(env)["delivery_three_items"] == 2


def test_classic_pays_three_of_a_kind_whatever_is_ordered() -> None:
    env = OvercookedVectorEnv("mdp_test", 1)
    assert set(env.tables.cook_time[0, 2:].tolist()) == {20}
    assert env.tables.value[0, 8:].tolist() == [20.0, 0, 0, 0, 0, 0, 0, 20.0]
    assert not env.tables.value[0, :8].any()


@pytest.mark.parametrize(
    ("acts", "positions", "collided"),
    [
        ((E, W), [(1, 1), (2, 1)], (1, 1)),  # trade places
        ((E, STAY), [(1, 1), (2, 1)], (1, 0)),  # into a chef who stays
        ((E, E), [(2, 1), (3, 1)], (0, 0)),  # one follows the other
        ((E, S), [(2, 1), (2, 2)], (0, 0)),  # into a tile that is being left
        ((E, N), [(1, 1), (2, 1)], (1, 0)),  # the other faces the counter and stays
    ],
)
def test_collisions_of_two(acts: tuple[int, int], positions: list, collided: tuple[int, int]) -> None:
    env = OvercookedVectorEnv("XXPXX\nO12 O\nX   X\nXDXSX", 1)
    env.step(np.array([acts]))
    players = env.state_dict(0)["players"]
    assert [p["position"] for p in players] == positions
    assert [counts(env, seat).get("collision", 0) for seat in (0, 1)] == list(collided)
    turned = {N: (0, -1), S: (0, 1), E: (1, 0), W: (-1, 0), STAY: (0, -1)}
    assert [p["orientation"] for p in players] == [turned[act] for act in acts]  # chefs turn even if they collide


def test_any_collision_holds_everybody_back() -> None:
    env = OvercookedVectorEnv("XXPXXX\nO12 3O\nX   4X\nXDXSXX", 1)
    env.step(np.array([[E, STAY, W, STAY]]))
    assert [p["position"] for p in env.state_dict(0)["players"]] == [(1, 1), (2, 1), (4, 1), (4, 2)]
    assert [counts(env, seat).get("collision", 0) for seat in range(4)] == [1, 0, 1, 0]
    env.step(np.array([[S, E, S, S]]))  # 3 moves onto 4, who faces a counter
    assert [p["position"] for p in env.state_dict(0)["players"]] == [(1, 1), (2, 1), (4, 1), (4, 2)]
    env.step(np.array([[S, E, W, N]]))  # 2 and 3 meet on one tile
    assert [p["position"] for p in env.state_dict(0)["players"]] == [(1, 1), (2, 1), (4, 1), (4, 2)]
    env.step(np.array([[S, S, W, N]]))
    assert [p["position"] for p in env.state_dict(0)["players"]] == [(1, 2), (2, 2), (3, 1), (4, 1)]


def test_dish_reward_uses_the_pots_of_the_tick_start_and_the_hands_of_the_moment() -> None:
    env = OvercookedVectorEnv("XPXX\nO12D\nXDSX", 1, rules="overcooked-ai")
    at_pot = {"position": (1, 1), "orientation": (0, -1), "held_object": {"name": "onion", "position": (1, 1)}}
    at_dishes = {"position": (2, 1), "orientation": (1, 0), "held_object": None}
    state = {"players": [at_pot, at_dishes], "objects": []}
    env.load_state_dict(0, state)
    assert env.step(np.array([[USE, USE]])).shaped_rew.tolist() == [[3, 0]]  # the pot was empty as the tick began
    soup = {"name": "soup", "position": (1, 0), "_ingredients": [{"name": "onion", "position": (1, 0)}]}
    env.load_state_dict(0, {**state, "objects": [soup]})
    assert env.step(np.array([[STAY, USE]])).shaped_rew.tolist() == [[0, 3]]
    both = [{**at_pot, "orientation": (0, 1), "held_object": None}, at_dishes]
    env.load_state_dict(0, {"players": both, "objects": [soup]})
    assert env.step(np.array([[USE, USE]])).shaped_rew.tolist() == [[3, 0]]  # the first dish was enough
    full = {**soup, "_ingredients": soup["_ingredients"] * 3}
    env.load_state_dict(0, {**state, "objects": [full]})
    assert env.step(np.array([[STAY, USE]])).shaped_rew.tolist() == [[0, 0]]  # full but idle does not count
    left = {"name": "dish", "position": (0, 0)}
    env.load_state_dict(0, {**state, "objects": [soup, left]})
    assert env.step(np.array([[STAY, USE]])).shaped_rew.tolist() == [[0, 0]]  # a dish lies about


def test_loose_objects_keep_the_order_in_which_they_were_put_down() -> None:
    env = OvercookedVectorEnv("XXXXX\nO1  D\nXTPSX", 1, rules="overcooked-ai")
    put = [W, USE, N, USE]  # an onion from the left, on the counter above
    play(env, [*put, E, W, USE, E, N, USE])  # above (1, 1), then above (2, 1)
    at = [obj["position"] for obj in env.state_dict(0)["objects"]]
    assert at == [(1, 0), (2, 0)]
    play(env, [W, N, USE, E, S, USE])  # the first one goes into the pot: a soup, last in the list
    assert [(o["name"], o["position"]) for o in env.state_dict(0)["objects"]] == [("onion", (2, 0)), ("soup", (2, 2))]


def test_events_of_moving_and_idling() -> None:
    env = OvercookedVectorEnv(SOLO, 1)
    play(env, [N, N, N, USE, S, STAY, USE, S, S, W, W, USE, E, USE])
    assert counts(env) == {
        "movement": 9,
        "stay": 1,
        "idle_movement": 5,  # twice against the counter above, twice against the dishes, once against the left counter
        "idle_interact_counter": 1,  # empty hand at an empty counter
        "idle_interact_empty": 1,  # the tile to the east
        "dish_from_dispenser": 1,
        "put_dish_on_counter": 1,
        "idle": 5 + 1 + 2,
    }


LAYOUTS = ["cramped_room", "mdp_test", "forced_coordination", "multiplayer_schelling", "cramped_room_single"]


@settings(max_examples=25, deadline=None)
@given(
    layout=st.sampled_from(LAYOUTS),
    rules=st.sampled_from(["classic", "overcooked-ai"]),
    seed=st.integers(0, 2**32 - 1),
    lazy=st.booleans(),
)
def test_what_holds_in_every_game(layout: str, rules: str, seed: int, lazy: bool) -> None:
    env = OvercookedVectorEnv(layout, 1, horizon=300, rules=rules)
    rng = np.random.default_rng(seed)
    chances = [0.14, 0.14, 0.14, 0.14, 0.04, 0.4] if lazy else [1 / 6] * 6
    floor, pots = set(env.layouts[0].cells(" ")), set(env.layouts[0].cells("P"))
    delivered = 0
    for _ in range(299):
        result = env.step(rng.choice(6, (1, env.num_players), p=chances))
        state, total = env.state_dict(0), env.event_counts()[0].sum(0)
        tiles = [p["position"] for p in state["players"]]
        assert len(set(tiles)) == env.num_players
        assert {y * env.width + x for x, y in tiles} <= floor
        event = dict(zip(EVENTS, total.tolist(), strict=True))
        assert result.rew[0] == 0 or event["delivery"] > delivered
        delivered = event["delivery"]
        _check_conservation(state, event, pots, env.width)
        for obj in state["objects"]:
            if obj["name"] == "soup":
                assert 1 <= len(obj["_ingredients"]) <= 3
                assert obj["cooking_tick"] <= max(obj["cook_time"], -1)


def _check_conservation(state: dict[str, Any], event: dict[str, int], pots: set[int], width: int) -> None:
    """What came out of dispensers is somewhere in the kitchen or was served."""
    held = [p["held_object"] for p in state["players"] if p["held_object"]]
    things = state["objects"] + held
    ingredients = sum(len(obj["_ingredients"]) if obj["name"] == "soup" else obj["name"] != "dish" for obj in things)
    two, three = event["delivery_two_items"], event["delivery_three_items"]
    served = (event["delivery"] - two - three) + 2 * two + 3 * three
    assert ingredients + served == event["onion_from_dispenser"] + event["tomato_from_dispenser"]
    in_pots = [obj for obj in state["objects"] if obj["position"][1] * width + obj["position"][0] in pots]
    dishes = sum(obj["name"] in ("dish", "soup") for obj in things) - len(in_pots)
    assert dishes + event["delivery"] == event["dish_from_dispenser"]
    assert event["potting_onion"] + event["potting_tomato"] == event["placement_in_pot"]


CUDA_PROGRAM = """
import numpy as np
from numba import cuda
from coord.overcooked import OvercookedVectorEnv
from coord.overcooked.events import NUM_EVENTS
from coord.overcooked.rules import step_kitchen

env = OvercookedVectorEnv("mdp_test", 3, rules="overcooked-ai")
tables = env.tables

@cuda.jit
def kernel(state, acts, shaped, counts, rew):
    n = cuda.grid(1)
    if n < state.shape[0]:
        rew[n] = step_kitchen(state[n], acts[n], tables, 0, 2, False, shaped[n], counts[n])

rng = np.random.default_rng(0)
state = env.get_state()["state"]
counts = np.zeros((3, 2, NUM_EVENTS), np.int16)
for _ in range(60):
    acts = rng.choice(6, (3, 2), p=[.14, .14, .14, .14, .04, .4])
    shaped, rew = np.zeros((3, 2), np.float32), np.zeros(3, np.float32)
    kernel[1, 4](state, acts, shaped, counts, rew)
    result = env.step(acts)
    assert (state == env.state).all() and (shaped == result.shaped_rew).all() and (rew == result.rew).all()
assert (counts == env.event_counts()).all() and counts.sum() > 200
"""


def test_one_thread_per_kitchen_gives_the_same_games_as_the_batch() -> None:
    """numba's CUDA simulator, everything interpreted: the same code works as plain Python, one kitchen per thread."""
    settings = {"NUMBA_ENABLE_CUDASIM": "1", "NUMBA_DISABLE_JIT": "1"}
    subprocess.run([sys.executable, "-c", CUDA_PROGRAM], env={**os.environ, **settings}, check=True)
