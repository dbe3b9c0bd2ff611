"""The PettingZoo environment: PettingZoo's own tests, and what they do not look at."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys

import numpy as np
import pytest
import supersuit
from pettingzoo.test import api_test, parallel_api_test, parallel_seed_test
from pettingzoo.utils.conversions import parallel_to_aec

from coord.agents.greedy import GreedyAgent
from coord.agents.players import KitchenView
from coord.errors import UserError
from coord.overcooked import OvercookedVectorEnv, parallel_env
from coord.overcooked.packed_row import RULES


@pytest.mark.parametrize(
    ("layout", "obs"),
    [
        ("cramped_room", "lossless"),
        ("cramped_room", "features"),
        ("cramped_room_single", "features"),
        ("multiplayer_schelling", "features"),
    ],
)
def test_pettingzoo_api(layout, obs):
    parallel_api_test(parallel_env(layout, horizon=30, obs=obs), num_cycles=100)


def test_pettingzoo_seeds():
    parallel_seed_test(lambda: parallel_env(horizon=100), num_cycles=50)


def test_a_game_is_the_vector_envs_game_to_the_last_observation():
    env = parallel_env("coordination_ring", horizon=60, mask_useless_actions=True)
    kitchen = OvercookedVectorEnv("coordination_ring", 1, horizon=60, mask_useless_actions=True)
    rng = np.random.default_rng(3)
    observations, infos = env.reset(seed=1)
    for tick in range(60):
        lossless, masks = kitchen.lossless_obs(final=True)[0], kitchen.available_actions(final=True)[0]
        for seat, agent in enumerate(env.agents):
            np.testing.assert_array_equal(observations[agent], lossless[seat])
            np.testing.assert_array_equal(infos[agent]["action_mask"], masks[seat])
        act = rng.integers(6, size=2)
        result = kitchen.step(act[None])
        observations, rew, terminated, truncated, infos = env.step(dict(zip(env.agents, act, strict=True)))
        assert list(rew.values()) == [result.rew[0]] * 2
        assert [info["shaped_rew"] for info in infos.values()] == result.shaped_rew[0].tolist()
        assert not any(terminated.values())
        assert all(truncated.values()) == (tick == 59)
    assert env.agents == []
    np.testing.assert_array_equal(observations["player_1"], kitchen.lossless_obs(final=True)[0, 1])
    assert env.step({}) == ({}, {}, {}, {}, {})
    observations, _ = env.reset()
    assert env.agents == ["player_0", "player_1"]
    np.testing.assert_array_equal(observations["player_0"], kitchen.lossless_obs()[0, 0])


def test_pictures_follow_the_game():
    env = parallel_env(render_mode="rgb_array")
    env.reset()
    before = env.render()
    env.step({"player_0": 2, "player_1": 3})
    after = env.render()
    assert before.shape == after.shape
    assert before.dtype == np.uint8
    assert (before != after).any()
    assert parallel_env().render() is None


def test_window_opens_follows_and_closes(monkeypatch):
    import pygame

    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    env = parallel_env(render_mode="human")
    env.reset()
    screen = pygame.display.get_surface()
    first = pygame.surfarray.array3d(screen)
    env.step({"player_0": 2, "player_1": 3})
    assert (pygame.surfarray.array3d(screen) != first).any()
    env.close()
    assert not pygame.display.get_init()
    env.close()


def test_bad_arguments_name_the_choice():
    with pytest.raises(UserError, match=r"'lossles'.*did you mean 'lossless'"):
        parallel_env(obs="lossles")
    with pytest.raises(UserError, match=r"'rgb'.*did you mean 'rgb_array'"):
        parallel_env(render_mode="rgb")
    with pytest.raises(UserError, match="2 seats"):
        parallel_env("multiplayer_schelling", obs="lossless")
    with pytest.raises(UserError, match="unknown layout"):
        parallel_env("cramped_rom")


# ------------------------------------------------------------------------------------- spaces, actions, rewards


@pytest.mark.parametrize("obs", ["lossless", "features"])
def test_pettingzoo_turn_by_turn_api(obs):
    api_test(parallel_to_aec(parallel_env(horizon=30, obs=obs)), num_cycles=100)


@pytest.mark.parametrize("rules", RULES)
@pytest.mark.parametrize("obs", ["lossless", "features"])
def test_spaces_are_exact_and_bounded(obs, rules):
    """Two scripted cooks use a kitchen as far as it goes: nothing leaves the bounds, and amounts reach theirs."""
    env = parallel_env("counter_circuit", obs=obs, rules=rules)
    space, greedy, view, row = env.observation_space("player_0"), GreedyAgent(), KitchenView(env.kitchen), np.arange(1)
    greedy.start(1, 2, 0)
    observations, _ = env.reset()
    assert np.isfinite([space.low, space.high]).all()
    most = np.zeros(space.shape, space.dtype)
    while env.agents:
        assert all(seen in space and seen.dtype == space.dtype for seen in observations.values())
        assert env.state() in env.state_space
        most = np.maximum(most, observations["player_0"])
        observations, *_ = env.step({f"player_{p}": greedy.act(view, row, np.array([p]))[0] for p in range(2)})
        view.invalidate()
    if (obs, rules) == ("lossless", "classic"):
        assert most[..., 18].max() == space.high[..., 18].max() == 3  # onions in a soup
        assert most[..., 20].max() == space.high[..., 20].max() - 1 == 19  # ticks to cook, one of which has passed
    assert (env.state() == np.stack(list(observations.values()))).all()


@pytest.mark.parametrize("action", [1.0, True, np.float32(2), np.True_, "1", None, 6, -1, np.array([1])])
def test_what_is_no_action_is_refused(action):
    env = parallel_env()
    env.reset()
    before = env.kitchen.get_state()
    with pytest.raises(ValueError, match=r"player_1: .* is no action, allowed: the integers 0 to 5"):
        env.step({"player_0": 1, "player_1": action})
    assert all((env.kitchen.get_state()[name] == array).all() for name, array in before.items())


def test_every_agent_and_nobody_else_acts():
    env = parallel_env()
    env.reset()
    with pytest.raises(ValueError, match="no action for player_1"):
        env.step({"player_0": 1})
    with pytest.raises(ValueError, match="no agent 'player_2' to act; agents: player_0, player_1"):
        env.step({"player_0": 1, "player_1": 1, "player_2": 1})
    env.step({"player_0": np.int64(1), "player_1": np.array(1)})


def test_shaping_is_part_of_the_reward_when_asked():
    """The cook at the pot with an onion in hand: 3 points of shaping for itself, none for the other."""
    env = parallel_env("cramped_room", shaping=0.5)
    for factor in (0.5, 0.25):
        env.reset()
        env.shaping = factor
        state = env.kitchen.state_dict(0)
        state["players"][0] |= {"position": (2, 1), "orientation": (0, -1)}
        state["players"][0]["held_object"] = {"name": "onion", "position": (2, 1)}
        env.kitchen.load_state_dict(0, state)
        _, rew, _, _, infos = env.step({"player_0": 5, "player_1": 4})
        assert infos["player_0"]["shaped_rew"] == 3
        assert rew == {"player_0": 3 * factor, "player_1": 0}
    for wrong in (float("nan"), float("inf"), "much", True):
        with pytest.raises(UserError, match="shaping="):
            parallel_env(shaping=wrong)


def test_what_is_no_mapping_is_refused():
    env = parallel_env()
    env.reset()
    with pytest.raises(ValueError, match="takes the actions by agent"):
        env.step(None)
    state = env.kitchen.state_dict(0)
    for wrong in ({}, [], {**state, "players": 3}, {**state, "players": [{}, {}]}, {**state, "objects": [7]}):
        with pytest.raises(ValueError, match=r"the state has no|has not the form of a state"):
            env.kitchen.load_state_dict(0, wrong)


def test_masks_are_in_info():
    env = parallel_env()
    _, infos = env.reset()
    assert infos["player_0"]["action_mask"].tolist() == [1] * 6
    masked = parallel_env(mask_useless_actions=True)
    _, infos = masked.reset()
    assert 0 < infos["player_0"]["action_mask"].sum() < 6


# ------------------------------------------------------------------------------------- copies and processes


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
def test_a_copy_of_an_env_with_an_open_window_goes_on_by_itself(monkeypatch, copied):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    env = parallel_env(render_mode="human")
    env.reset()
    other = copied(env)
    moves = {"player_0": 2, "player_1": 3}
    other.step(moves)
    assert (other.state() != env.state()).any()
    env.step(moves)
    assert (other.state() == env.state()).all()
    other.close()
    env.step(moves)  # opens its window again
    env.close()


FORK = """
import os, numpy as np
from coord.overcooked import OvercookedVectorEnv
env = OvercookedVectorEnv("cramped_room", 1024, horizon=30)
acts = np.random.default_rng(0).integers(6, size=(20, 1024, 2))
def play():
    env.reset()
    for act in acts: env.step(act)
    return [env.state.copy(), env.index_obs(), env.lossless_obs(), env.feature_obs()]
mine = play()
child = os.fork()
if not child:
    os._exit(0 if all((a == b).all() for a, b in zip(mine, play(), strict=True)) else 9)
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_forked_child_steps_like_its_parent():
    """Its parent stepped on several threads, which a child does not inherit."""
    done = subprocess.run([sys.executable, "-c", FORK], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")


CACHE = """
import sys, numba
numba.config.CACHE_DIR = sys.argv[1]
import coord.overcooked.features, coord.agents.greedy
from coord.overcooked import vector_env
assert numba.config.CACHE_DIR == sys.argv[1]
print(vector_env._step_range.stats.cache_path)
print(coord.agents.greedy._decide.stats.cache_path)
"""


def test_numba_keeps_its_own_cache_folder_for_others(tmp_path):
    """Ours lies within it, in a folder named after our sources."""
    run = [sys.executable, "-c", CACHE, str(tmp_path)]
    done = subprocess.run(run, capture_output=True, text=True, check=True, timeout=120)
    paths = done.stdout.splitlines()
    assert len(paths) == 2
    assert all(path.startswith(f"{tmp_path}/numba-") for path in paths)


# ------------------------------------------------------------------------------------- other people's wrappers


def vectorised(num_envs):
    env = supersuit.pettingzoo_env_to_vec_env_v1(parallel_env("cramped_room", horizon=50, shaping=1.0))
    return supersuit.concat_vec_envs_v1(env, num_envs, num_cpus=0, base_class="stable_baselines3")


def test_supersuit_makes_a_vector_env_of_it():
    env = vectorised(3)
    assert env.num_envs == 6
    assert env.reset().shape == (6, 5, 4, 26)
    for _ in range(51):
        obs, _, done, _ = env.step(np.zeros(6, np.int64))
    assert obs.dtype == np.uint8
    assert not done.any()  # the 50th tick ended the episodes


@pytest.mark.slow
def test_ppo_of_stable_baselines_trains_on_it():
    stable_baselines3 = pytest.importorskip("stable_baselines3")
    env = vectorised(4)
    model = stable_baselines3.PPO("MlpPolicy", env, n_steps=256, n_epochs=2, device="cpu")
    model.learn(20_000)
    assert model.num_timesteps >= 20_000
    assert all(np.isfinite(weights.detach().numpy()).all() for weights in model.policy.parameters())
