"""The batch: one kitchen at a time or many at once, resets, states in and out, refusals."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from coord.bench import kitchen
from coord.errors import UserError
from coord.overcooked import EVENTS, OvercookedVectorEnv, layout_names, load_layout

BUSY = [0.14, 0.14, 0.14, 0.14, 0.04, 0.4]  # chances of the six actions
MIXED = ["cramped_room", "forced_coordination", "mdp_test", "corridor"]


def random_acts(steps: int, num_envs: int, num_players: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).choice(6, (steps, num_envs, num_players), p=BUSY)


def everything(env: OvercookedVectorEnv, final: bool) -> list[np.ndarray]:
    parts = [env.index_obs(final=final), env.lossless_obs(final=final), env.event_counts(final=final)]
    return [*parts, env.episode_return(final=final)]


@pytest.mark.parametrize("rules", ["classic", "overcooked-ai"])
def test_a_mixed_batch_equals_its_kitchens_one_by_one(rules: str) -> None:
    """700 kitchens of four sizes (several pieces of parallel work) against one single kitchen of each kind."""
    names = [MIXED[i % 4] for i in range(700)]
    acts = random_acts(130, 4, 2)
    batch = OvercookedVectorEnv(names, 700, horizon=50, rules=rules)
    singles = [OvercookedVectorEnv(name, 1, horizon=50, rules=rules) for name in MIXED]
    compared = 0
    for tick in range(130):
        many = batch.step(np.tile(acts[tick], (175, 1)))
        final = bool(many.truncated[0])
        assert final == (tick % 50 == 49)
        planes, counts = batch.lossless_obs(final=final), batch.event_counts(final=final)
        for k, env in enumerate(singles):
            one = env.step(acts[tick][k : k + 1])
            for n in (k, 340 + k, 696 + k):
                assert many.rew[n] == one.rew[0]
                assert (many.shaped_rew[n] == one.shaped_rew[0]).all()
                assert batch.state_dict(n, final=final) == env.state_dict(0, final=final)
                assert (planes[n, :, : env.width, : env.height] == env.lossless_obs(final=final)[0]).all()
                assert planes[n].sum() == env.lossless_obs(final=final).sum()  # nothing beyond the smaller layout
                assert (counts[n] == env.event_counts(final=final)[0]).all()
                compared += 1
    assert compared == 130 * 4 * 3


def test_a_finished_kitchen_starts_anew_and_its_last_state_stays_reachable() -> None:
    env, longer = OvercookedVectorEnv("mdp_test", 3, horizon=40), OvercookedVectorEnv("mdp_test", 3, horizon=400)
    start = env.state_dict(0)
    acts = random_acts(41, 3, 2)
    for tick in range(40):
        result = env.step(acts[tick])
        longer.step(acts[tick])
        assert result.truncated.all() == (tick == 39)
        assert not result.terminated.any()
    for n in range(3):
        assert env.state_dict(n, final=True) == longer.state_dict(n)
        assert env.state_dict(n) == start
    assert (env.event_counts(final=True) == longer.event_counts()).all()
    assert not env.event_counts().any()
    assert (env.episode_return(final=True) == longer.episode_return()).all()
    assert (env.feature_obs(final=True) == longer.feature_obs()).all()
    env.step(acts[40])  # from here on there is no final state: both views are the running one
    for now, last in zip(everything(env, False), everything(env, True), strict=True):
        assert (now == last).all()
    env.reset()
    assert env.state_dict(1) == start
    assert not env.event_counts().any()


def test_loaded_clocks_end_each_kitchen_in_its_own_time() -> None:
    env = OvercookedVectorEnv("cramped_room", 2, horizon=40)
    env.load_state_dict(1, {**env.state_dict(1), "timestep": 38})
    stay = np.full((2, 2), 4)
    assert [env.step(stay).truncated.tolist() for _ in range(3)] == [[False, False], [False, True], [False, False]]
    assert env.state_dict(0)["timestep"] == 3
    assert env.state_dict(1)["timestep"] == 1


def test_get_state_and_set_state_continue_exactly() -> None:
    acts = random_acts(90, 4, 2, seed=3)
    first = OvercookedVectorEnv(MIXED, 4, horizon=30)
    for joint_act in acts[:60]:
        first.step(joint_act)
    second = OvercookedVectorEnv(MIXED, 4, horizon=30)
    second.set_state(first.get_state())
    for joint_act in acts[60:]:
        for one, other in zip(first.step(joint_act), second.step(joint_act), strict=True):
            assert (one == other).all()
        for one, other in zip(everything(first, True), everything(second, True), strict=True):
            assert (one == other).all()
    with pytest.raises(ValueError, match="'state' is int16"):
        OvercookedVectorEnv("cramped_room", 4).set_state(first.get_state())


@pytest.mark.parametrize("layout", layout_names())
def test_state_mappings_survive_a_round_trip(layout: str) -> None:
    seats = load_layout(layout).num_players
    env = OvercookedVectorEnv(layout, 1, rules="overcooked-ai")
    copy = OvercookedVectorEnv(layout, 1, rules="overcooked-ai")
    for joint_act in random_acts(60, 1, seats, seed=7):
        env.step(joint_act)
        copy.load_state_dict(0, env.state_dict(0))
        assert copy.state_dict(0) == env.state_dict(0)
        assert (copy.state == env.state).all()


def test_legacy_soups() -> None:
    env = OvercookedVectorEnv("cramped_room", 1)
    chefs = [{"position": (1, 2), "orientation": (0, -1)}, {"position": (3, 1), "orientation": [0, -1]}]
    chefs[1]["held_object"] = {"name": "soup", "position": (3, 1), "state": ["onion", 3, 31]}
    soup = {"name": "soup", "position": (2, 0), "state": ["onion", 3, 12]}
    env.load_state_dict(0, {"players": chefs, "objects": [soup], "order_list": None})
    state = env.state_dict(0)
    assert state["objects"][0]["cooking_tick"] == 12
    assert state["players"][1]["held_object"]["cooking_tick"] == 20  # ready is ready
    assert len(state["all_orders"]) == 9  # without orders everything is allowed
    env.load_state_dict(0, {"players": chefs, "objects": [{**soup, "state": ["tomato", 2, 0]}]})
    assert env.state_dict(0)["objects"][0]["is_idle"]
    assert [i["name"] for i in env.state_dict(0)["objects"][0]["_ingredients"]] == ["tomato", "tomato"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"players": []}, "0 chefs"),
        ({"objects": [{"name": "onion", "position": (1, 1)}]}, "onion at"),
        ({"objects": [{"name": "onion", "position": (2, 0)}]}, "onion at"),  # into the pot as it is
        ({"objects": [{"name": "onion", "position": (9, 0)}]}, "outside"),
        ({"objects": [{"name": "carrot", "position": (0, 0)}]}, "carrot"),
        ({"objects": [{"name": "dish", "position": (0, 0)}] * 2}, "two objects"),
        ({"objects": [{"name": "soup", "position": (2, 0), "state": ["onion", 4, 0]}]}, "cannot consist"),
        ({"objects": [{"name": "soup", "position": (2, 0), "_ingredients": [], "cooking_tick": 3}]}, "cannot cook"),
        ({"timestep": -1}, "timestep"),
        ({"all_orders": [{"ingredients": ["onion"]}] * 2}, "listed twice"),
        ({"all_orders": [{"ingredients": ["carrot"]}]}, "no recipe"),
    ],
)
def test_states_that_do_not_fit_are_refused_and_change_nothing(change: dict, reason: str) -> None:
    env = OvercookedVectorEnv("cramped_room", 1)
    before = env.state_dict(0)
    with pytest.raises(ValueError, match=reason):
        env.load_state_dict(0, {**before, **change})
    assert env.state_dict(0) == before


def test_chefs_must_stand_on_floor_and_apart() -> None:
    env = OvercookedVectorEnv("cramped_room", 1)
    state = env.state_dict(0)
    one, two = state["players"]
    for players, reason in (
        ([one, {**two, "position": (0, 0)}], "no floor"),
        ([one, {**two, "position": one["position"]}], "two chefs"),
        ([one, {**two, "orientation": (1, 1)}], "orientation"),
    ):
        with pytest.raises(ValueError, match=reason):
            env.load_state_dict(0, {**state, "players": players})


@pytest.mark.parametrize(
    ("joint_act", "reason"),
    [
        (np.zeros((2, 3), int), r"shape \(3, 2\)"),
        (np.zeros(6, int), r"shape \(3, 2\)"),
        (np.zeros((3, 2)), "float64"),
        (np.zeros((3, 2), bool), "bool"),
        (np.array([[0, 1], [2, 6], [0, 0]]), r"joint_act\[1, 1\] is 6, allowed: 0 to 5"),
        (np.array([[0, 1], [2, 5], [-1, 0]]), r"joint_act\[2, 0\] is -1"),
    ],
)
def test_bad_actions_are_refused_and_change_nothing(joint_act: np.ndarray, reason: str) -> None:
    env = OvercookedVectorEnv("cramped_room", 3)
    before = env.state.copy()
    with pytest.raises(ValueError, match=reason):
        env.step(joint_act)
    assert (env.state == before).all()


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int32, np.int64])
def test_any_integer_type_will_do(kind: type) -> None:
    acts = random_acts(20, 5, 2)
    plain, other = OvercookedVectorEnv("mdp_test", 5), OvercookedVectorEnv("mdp_test", 5)
    for joint_act in acts:
        plain.step(joint_act)
        other.step(joint_act.astype(kind))
    assert (plain.state == other.state).all()


def test_results_belong_to_the_caller() -> None:
    env = OvercookedVectorEnv("cramped_room", 2)
    first = env.step(np.zeros((2, 2), int))
    kept = [part.copy() for part in first]
    first.truncated[:] = True
    env.step(np.full((2, 2), 5))
    assert (env.rows(final=True) == env.state).all()
    first.truncated[:] = False
    assert all((one == other).all() for one, other in zip(first, kept, strict=True))


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"rules": "clasic"}, "did you mean 'classic'"),
        ({"num_envs": 0}, "num_envs is 0"),
        ({"horizon": 0}, "horizon is 0"),
        ({"horizon": "x"}, "horizon is 'x'"),
        ({"num_envs": True}, "num_envs is True"),
        ({"horizon": 40_000}, "allowed: 1 to 32767"),
        ({"layout": ["cramped_room"]}, "1 layouts were given for 2 kitchens"),
        ({"layout": ["cramped_room", "cramped_room_single"]}, "same number of seats"),
    ],
)
def test_bad_arguments_are_refused(arguments: dict, reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        OvercookedVectorEnv(**{"layout": "cramped_room", "num_envs": 2, **arguments})


@pytest.mark.parametrize("rules", ["classic", "overcooked-ai"])
def test_masked_actions_are_exactly_those_without_effect(rules: str) -> None:
    """An action is masked if and only if, with everybody else waiting, it leaves the seat and its kitchen as they were.

    A chef in the way is no wall: walking into one may be masked only by what the tile is.
    """
    env = OvercookedVectorEnv("mdp_test", 1, rules=rules, mask_useless_actions=True)
    probe = OvercookedVectorEnv("mdp_test", 1, rules=rules)
    assert probe.available_actions().all()
    masked = 0
    for joint_act in random_acts(150, 1, 2, seed=5):
        env.step(joint_act)
        mask = env.available_actions()
        for seat in range(2):
            for act in (0, 1, 2, 3, 5):
                probe.set_state(env.get_state())
                before = probe.state_dict(0)
                joint = np.full((1, 2), 4)
                joint[0, seat] = act
                probe.step(joint)
                counts = dict(zip(EVENTS, (probe.event_counts() - env.event_counts())[0, seat].tolist(), strict=True))
                useless = bool(counts["idle"]) and not counts["collision"]
                assert mask[0, seat, act] == (not useless), (before, seat, act)
                masked += useless
    assert masked > 200


@pytest.mark.parametrize("seats", [1, 3, 4])
def test_other_numbers_of_seats(seats: int) -> None:
    digits = "".join("1234"[:seats]).ljust(4)
    env = OvercookedVectorEnv(f"XXPXXX\nO{digits}O\nX    X\nXDXSXX", 2)
    for joint_act in random_acts(50, 2, seats):
        result = env.step(joint_act)
        assert result.shaped_rew.shape == (2, seats)
    assert env.index_obs().shape == (2, seats, env.spec.max_facts)
    with pytest.raises(UserError, match="exist for 2 seats"):
        env.lossless_obs()


def test_threads_do_not_change_games() -> None:
    code = (
        "import numpy as np; from coord.overcooked import OvercookedVectorEnv;"
        "env = OvercookedVectorEnv('mdp_test', 2000, horizon=40); rng = np.random.default_rng(0);"
        "[env.step(rng.integers(0, 6, (2000, 2))) for _ in range(60)];"
        "print(hash(env.state.tobytes()), hash(env.event_counts(final=True).tobytes()))"
    )
    outputs = set()
    for threads in ("1", "2"):
        settings = {**os.environ, "NUMBA_NUM_THREADS": threads, "PYTHONHASHSEED": "0"}
        outputs.add(subprocess.run([sys.executable, "-c", code], env=settings, check=True, capture_output=True).stdout)
    assert len(outputs) == 1


def test_the_benchmark_reports_every_mode_beside_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kitchen, "_ROUNDS", 1)
    report = kitchen.bench_kitchen(num_envs=64, seconds=0.01, layouts=["cramped_room"])
    room = report["layouts"]["cramped_room"]
    assert report["num_envs"] == 64
    assert all(room[mode] > 0 and room["ratio"][mode] >= 0 for mode in ("step", "step_index", "step_lossless"))
    assert room["overcooked_ai"]["step"] > room["overcooked_ai"]["step_lossless"] > 0
