"""The PettingZoo environment: PettingZoo's own tests, and what they do not look at."""

from __future__ import annotations

import numpy as np
import pytest
from pettingzoo.test import parallel_api_test, parallel_seed_test

from coord.errors import UserError
from coord.overcooked import OvercookedVectorEnv, parallel_env


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
