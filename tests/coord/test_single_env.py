"""One seat as a Gymnasium environment: its registered id, its partners, and other people's checkers and learners."""

from __future__ import annotations

import copy
import json
import subprocess
import sys

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from stable_baselines3 import PPO
from stable_baselines3.common.env_checker import check_env as sb3_check_env

from coord.agents.players import RandomAgent, StayAgent
from coord.errors import UserError
from coord.overcooked import OvercookedVectorEnv, single_env

ID = "coord/Overcooked-v0"
FRESH = """
import json, sys, gymnasium, coord.overcooked
before = "torch" in sys.modules
env = gymnasium.make("coord/Overcooked-v0", layout="cramped_room", partner="stay", seat=1)
print(json.dumps([before, env.reset(seed=0)[0].shape, env.spec.kwargs]))
"""


def test_importing_the_kitchens_registers_the_id_and_loads_no_agents():
    done = subprocess.run([sys.executable, "-c", FRESH], capture_output=True, text=True, check=True, timeout=120)
    assert json.loads(done.stdout) == [False, [5, 4, 26], {"layout": "cramped_room", "partner": "stay", "seat": 1}]


@pytest.mark.parametrize("choice", [{}, {"obs": "features", "seat": 1, "shaping": 1.0}, {"mask_useless_actions": True}])
def test_checkers_of_gymnasium_and_stable_baselines(choice):
    env = gymnasium.make(ID, layout="cramped_room", partner="greedy", horizon=40, render_mode="rgb_array", **choice)
    check_env(env.unwrapped, skip_render_check=True)
    sb3_check_env(env)


@pytest.mark.parametrize("seat", [0, 1])
def test_a_game_is_the_vector_envs_game(seat):
    """Beside a cook that stays, and to the last observation."""
    env = single_env("coordination_ring", partner="stay", seat=seat, horizon=40, shaping=2.0)
    kitchen = OvercookedVectorEnv("coordination_ring", 1, horizon=40)
    rng = np.random.default_rng(5)
    env.reset(seed=1)
    for tick in range(40):
        joint_act = np.full((1, 2), 4)
        joint_act[0, seat] = rng.integers(6)
        result = kitchen.step(joint_act)
        obs, rew, terminated, truncated, info = env.step(joint_act[0, seat])
        assert (obs == kitchen.lossless_obs(final=True)[0, seat]).all()
        assert rew == result.rew[0] + 2 * result.shaped_rew[0, seat]
        assert info["shaped_rew"] == result.shaped_rew[0, seat]
        assert info["action_mask"].tolist() == env.action_masks().tolist() == [1] * 6
        assert (terminated, truncated) == (False, tick == 39)
    with pytest.raises(ValueError, match="call reset"):
        env.step(0)


def play(env, ticks=30, **reset):
    env.reset(**reset)
    return np.array([env.step(4)[0] for _ in range(ticks)])


def test_a_seed_fixes_all_that_follows():
    env = single_env(partner="random")
    first = [play(env, seed=3), play(env)]
    assert (first[0] != first[1]).any()
    assert (np.array([play(env, seed=3), play(env)]) == first).all()
    assert (play(env, seed=4) != first[0]).any()


def test_a_copy_plays_the_same_game():
    env = single_env(partner="random")
    env.reset(seed=0)
    env.step(1)
    other = copy.deepcopy(env)
    for _ in range(30):
        assert (env.step(4)[0] == other.step(4)[0]).all()


def test_partners_are_names_or_agents_and_one_for_each_seat():
    env = single_env("multiplayer_schelling", partner=["greedy", StayAgent(), "greedy"], seat=1, obs="features")
    env.reset(seed=0)
    start = env.unwrapped._kitchen.state_dict(0)["players"]
    for _ in range(5):
        env.step(4)
    after = env.unwrapped._kitchen.state_dict(0)["players"]
    assert [a != b for a, b in zip(start, after, strict=True)] == [True, False, False, True]
    single_env(partner=RandomAgent()).reset()
    single_env("cramped_room_single", obs="features").reset()  # nobody else is there


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"partner": "gredy"}, "did you mean 'greedy'"),
        ({"seat": 2}, "seat=2: this kitchen has the seats 0 to 1"),
        ({"seat": True}, "seat=True"),
        ({"partner": ["stay", "stay"]}, "2 partners were given for 1 other seats"),
        ({"layout": "cramped_rom"}, "did you mean 'cramped_room'"),
    ],
)
def test_wrong_arguments_are_refused_when_the_env_is_made(arguments, message):
    with pytest.raises(UserError, match=message):
        gymnasium.make(ID, **arguments)


FORK = """
import os, torch
from coord.agents.policy import FrozenPolicy
from coord.nets.population import Arch, PopulationNet
from coord.overcooked import OvercookedVectorEnv, single_env

spec = OvercookedVectorEnv("cramped_room", 1).spec
net = PopulationNet.create(Arch(inputs=spec.vocab_size, hidden=(64, 64, 64)), [torch.Generator().manual_seed(0)])
env = single_env(partner=FrozenPolicy(net, spec, agent_id="mine"))

def play():
    env.reset(seed=0)
    return [env.step(4)[0].tolist() for _ in range(20)]

mine = play()
child = os.fork()
if not child:
    os._exit(0 if play() == mine else 9)
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_network_plays_on_in_a_forked_child():
    """The first layer of its parent ran on several threads, which a child does not inherit."""
    done = subprocess.run([sys.executable, "-c", FORK], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
def test_ppo_of_stable_baselines_trains_beside_the_human_proxy():
    env = gymnasium.make(ID, layout="cramped_room", shaping=1.0)
    model = PPO("MlpPolicy", env, n_steps=512, n_epochs=2, seed=0, device="cpu")
    model.learn(1024)
    assert model.num_timesteps >= 1024
    assert all(np.isfinite(weights.detach().numpy()).all() for weights in model.policy.parameters())


@pytest.mark.parametrize("partner", [3, None, [None]])
def test_what_is_no_agent_is_no_partner(partner: object) -> None:
    with pytest.raises(UserError, match="a partner is an agent"):
        single_env("cramped_room", partner=partner)
