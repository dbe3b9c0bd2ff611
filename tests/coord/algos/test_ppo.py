"""PPO: members against lone runs, bits against bits, what is refused, learning (its loss: tests/coord/kernels)."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numba
import pytest
import torch

from coord.algos import ppo
from coord.algos.ppo import PPOConfig, PPOState
from coord.errors import Diverged, UserError
from coord.nets.population import NUM_ACTIONS, Arch
from coord.overcooked import OvercookedVectorEnv
from coord.partner_env import SelfPlayEnv
from coord.rollout import allocate, collect
from coord.run import config
from tests.row_envs import ToyEnv, always_one, one_good_arm, repeat_the_cue

pytestmark = pytest.mark.usefixtures("one_thread")

# Two updates: episodes end in mid-rollout, minibatches are of unequal size, all schedules move.
TINY = PPOConfig(
    total_steps=400,
    num_envs=5,
    rollout_len=37,
    num_epochs=2,
    num_minibatches=3,
    ent_horizon=300,
    shaping_horizon=300,
)
NETWORKS = {"mlp_index": (64, 64), "mlp_features": (16,), "cnn": (8,)}


def kitchen_env(members: int, obs_kind: str, num_envs: int = TINY.num_envs) -> SelfPlayEnv:
    return SelfPlayEnv(OvercookedVectorEnv("cramped_room", num_envs * members, horizon=25), members, obs_kind)


def learner(network: str, seeds: list[int], **changes: object) -> tuple[PPOState, SelfPlayEnv]:
    cfg = replace(TINY, network=network, hidden=NETWORKS[network], **changes)
    obs_kind = {"mlp_index": "index", "mlp_features": "features", "cnn": "lossless"}[network]
    env = kitchen_env(len(seeds), obs_kind, cfg.num_envs)
    return ppo.create(cfg, ppo.make_arch(cfg, env.env), seeds), env


# ------------------------------------------------------------------------------------------ updates


@pytest.mark.parametrize("network", NETWORKS)
def test_a_population_learns_as_its_members_do_alone(network: str) -> None:
    together, env = learner(network, [11, 12, 13])
    ppo.train(together, env)
    assert together.update_step == 3
    compared = 0
    for m, seed in enumerate((11, 12, 13)):
        alone, env = learner(network, [seed])
        start = {k: v.clone() for k, v in alone.net.tensors().items()}
        ppo.train(alone, env)
        assert list(alone.returns[0]) == list(together.returns[m])
        for name, tensor in alone.net.tensors().items():
            moved = (tensor - start[name]).abs().max()
            torch.testing.assert_close(tensor[0], together.net.tensors()[name][m], rtol=0, atol=1e-2 * moved.item())
            compared += 1
    assert compared == 3 * len(start)


@pytest.mark.parametrize("network", NETWORKS)
def test_the_same_seed_gives_the_same_bits_and_another_seed_does_not(network: str) -> None:
    runs = []
    for seed in (1, 1, 2):
        state, env = learner(network, [seed])
        runs.append(ppo.train(state, env).net.tensors())
    for name, tensor in runs[0].items():
        assert torch.equal(tensor, runs[1][name]), name
        assert not torch.equal(tensor, runs[2][name]), name


def test_the_number_of_threads_of_the_kernels_does_not_change_the_bits() -> None:
    """The threads of torch may: its sums over large tensors are cut by their number."""
    runs = []
    for count in (1, min(2, numba.config.NUMBA_NUM_THREADS)):
        numba.set_num_threads(count)
        state, env = learner("mlp_index", [1, 2], num_envs=128)  # 512 rows: the parallel kernels
        runs.append(ppo.train(replace_budget(state, 37 * 128), env).net.tensors())
    for name, tensor in runs[0].items():
        assert torch.equal(tensor, runs[1][name]), name


def replace_budget(state: PPOState, total_steps: int) -> PPOState:
    state.cfg = replace(state.cfg, total_steps=total_steps)
    return state


@pytest.mark.parametrize("network", NETWORKS)
def test_state_round_trip_goes_on_with_the_same_bits(network: str) -> None:
    whole, env = learner(network, [5, 6], total_steps=740)
    after_two = ppo.Hooks(should_stop=lambda state: state.update_step == 2)
    ppo.train(whole, env, after_two)
    saved = {k: v.clone() for k, v in whole.state_dict().items()}
    kitchens = {k: v.copy() for k, v in env.get_state().items()}
    ppo.train(whole, env)

    resumed, env = learner(network, [8, 9], total_steps=740)
    resumed.load_state_dict(saved)
    env.set_state(kitchens)
    assert (resumed.update_step, resumed.env_step) == (2, 370)
    ppo.train(resumed, env)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name


def test_each_member_has_its_own_hyper_parameters() -> None:
    state, env = learner("mlp_index", [4, 4])
    state.hyper["lr"][1] = 0.0
    before = {k: v.clone() for k, v in state.net.tensors().items()}
    ppo.train(state, env)
    for name, tensor in state.net.tensors().items():
        assert torch.equal(before[name][0], before[name][1])
        assert not torch.equal(tensor[0], before[name][0])
        assert torch.equal(tensor[1], before[name][1])


def test_schedules_fall_linearly_to_their_ends() -> None:
    cfg = PPOConfig(shaping_horizon=200, ent_coef=0.1, ent_coef_final=0.02)
    assert [ppo.shaping_coef(cfg, step) for step in (0, 50, 200, 900)] == [1.0, 0.75, 0.0, 0.0]
    assert ppo.shaping_coef(replace(cfg, shaping_horizon=0), 0) == 0.0
    state, env = learner("mlp_index", [1], total_steps=4 * 185, lr_final=0.2, ent_horizon=2 * 185)
    seen = []
    ppo.train(state, env, ppo.Hooks(lambda _, m: seen.append((m["train/lr"].item(), m["train/ent_coef"].item()))))
    lr, ent = TINY.lr, (TINY.ent_coef, TINY.ent_coef_final)
    assert [s[0] for s in seen] == pytest.approx([lr * share for share in (0.8, 0.6, 0.4, 0.2)])
    assert [s[1] for s in seen] == pytest.approx([sum(ent) / 2, ent[1], ent[1], ent[1]])


def test_prepare_weighs_shaping_scales_rewards_and_normalises_each_member() -> None:
    state, env = learner("mlp_index", [1, 2], rew_scale=0.5)
    roll = allocate(env, 37)
    collect(state.net, env, state.gens, roll, state.log_episodes)
    roll.rew[:, 1] += 3.0  # the two members now live on different scales
    roll.val.zero_()
    roll.final_val.zero_()
    roll.last_val = torch.zeros_like(roll.last_val)
    roll.shaped_rew.normal_(generator=torch.Generator().manual_seed(0))
    state.cfg = replace(state.cfg, gamma=0.0)
    state.env_step = 75  # a quarter of the shaping horizon
    batch = ppo.prepare(state, roll)
    old_logp, old_val, adv, ret = batch.scalars.view(2, -1, 4).unbind(-1)
    expected = 0.5 * (roll.rew + 0.75 * roll.shaped_rew).transpose(0, 1).flatten(1)
    torch.testing.assert_close(ret, expected)  # without discount and values the return is the reward
    torch.testing.assert_close(adv, (expected - expected.mean(1, True)) / expected.std(1, keepdim=True))
    assert torch.equal(old_logp, roll.logp.transpose(0, 1).flatten(1))
    assert torch.equal(old_val, torch.zeros_like(old_val))
    for m, t, b in itertools.product(range(2), (0, 17, 36), (0, 9)):
        row = (m * 37 + t) * 10 + b
        assert torch.equal(batch.obs[row], roll.obs[t, m, b])
        assert batch.act[row] == roll.act[t, m, b]


# ------------------------------------------------------------------------------------------ refusals


@pytest.mark.parametrize("name", ["head.weight", "dense0.bias"])
def test_nan_raises_diverged_and_says_where(name: str) -> None:
    state, env = learner("mlp_index", [1, 2])
    with torch.no_grad():
        state.net.tensors()[name][1] = torch.nan
    with pytest.raises(Diverged, match="not finite at update 1, env step 185"):
        ppo.train(state, env)


def test_infinite_rewards_raise_diverged() -> None:
    state = ppo.create(replace(TINY, network="mlp_features", hidden=(8,)), Arch(kind="mlp_features", inputs=1), [0])
    env = ToyEnv(lambda cue, act: torch.full(act.shape, torch.inf), horizon=9)
    with pytest.raises(Diverged, match="not finite"):
        ppo.train(state, env)


@pytest.mark.parametrize(
    "fields", [{"num_envs": 0}, {"gamma": 1.5}, {"lr": -1.0}, {"total_steps": 0}, {"time_limit": "stop"}]
)
def test_impossible_hyper_parameters_are_refused(fields: dict) -> None:
    with pytest.raises(UserError, match=next(iter(fields))):
        config.from_dict(PPOConfig, fields)


# ------------------------------------------------------------------------------------------ learning


def toy_state(cfg: PPOConfig, env: ToyEnv) -> PPOState:
    return ppo.create(cfg, Arch(kind="mlp_features", inputs=env.cues, hidden=cfg.hidden), list(range(env.members)))


def toy_config(updates: int, **changes: object) -> PPOConfig:
    """8 rows x 16 ticks per update; task reward only."""
    values = {"rollout_len": 16, "num_minibatches": 2, "lr": 0.01, "network": "mlp_features", "hidden": (16,)}
    values |= {"rew_scale": 1.0, "shaping_horizon": 0, "total_steps": updates * 128, "num_envs": 8}
    return PPOConfig(**(values | changes))


# Terminated, the state is worth the mean over the 1..4 ticks left of 1 + gamma + ...: (1 + 1.8 + 2.44 + 2.952) / 4.
@pytest.mark.parametrize(("time_limit", "value"), [("bootstrap", 5.0), ("terminate", 2.048)])
def test_the_value_of_one_state(time_limit: str, value: float) -> None:
    cfg = toy_config(80, gamma=0.8, gae_lambda=1.0, time_limit=time_limit)
    env = ToyEnv(always_one, horizon=4)
    state = ppo.train(toy_state(cfg, env), env)
    assert state.net(env.observe())[1].mean().item() == pytest.approx(value, rel=0.03)
    assert state.mean_returns().tolist() == [4.0]


@pytest.mark.parametrize(("pay", "cues"), [(one_good_arm, 1), (repeat_the_cue, NUM_ACTIONS)])
def test_bandit_and_identity_are_learned_by_every_member(pay, cues: int) -> None:
    env = ToyEnv(pay, members=2, cues=cues, horizon=10)
    state = ppo.train(toy_state(toy_config(60, gamma=0.5), env), env)
    assert (state.mean_returns() >= 8.5).all()  # of 10; chance is 1.67


@pytest.mark.learn
def test_self_play_learns_to_cook() -> None:
    """The default network and hyper-parameters on cramped_room; 20 points per soup, chance is 0, usual is 180."""
    cfg = PPOConfig(total_steps=240_000, lr_final=0.5)
    kitchens = OvercookedVectorEnv("cramped_room", cfg.num_envs)
    state, env = ppo.create(cfg, ppo.make_arch(cfg, kitchens), [0]), SelfPlayEnv(kitchens)
    ppo.train(state, env)
    assert state.mean_returns()[0] >= 60
