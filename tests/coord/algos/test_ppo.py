"""PPO: its formulas against slow ones, its gradients against autograd, members against lone runs, bits against bits."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numba
import numpy as np
import pytest
import torch
from torch import Tensor

from coord.algos import ppo
from coord.algos.ppo import PPOConfig, PPOState
from coord.errors import Diverged, UserError
from coord.kernels import fused
from coord.nets.population import HEADS, NUM_ACTIONS, Arch, PopulationNet, append_dense
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


# -------------------------------------------------------------------------------------------- formulas


def slow_surrogate(logp: float, old_logp: float, adv: float, clip: float) -> float:
    ratio = np.exp(logp - old_logp)
    return -min(ratio * adv, np.clip(ratio, 1 - clip, 1 + clip) * adv)


def slow_value_error(val: float, old_val: float, ret: float, clip: float) -> float:
    clipped = old_val + np.clip(val - old_val, -clip, clip)
    return 0.5 * max((val - ret) ** 2, (clipped - ret) ** 2)


# Ratio 1, 1.1 and 1.5 and their inverses with clip range 0.2, worked on paper.
@pytest.mark.parametrize(
    ("ratio", "adv", "loss", "slope"),
    [
        (1.0, 2.0, -2.0, -2.0),
        (1.1, 2.0, -2.2, -2.2),
        (1.5, 2.0, -2.4, 0.0),  # already likelier than allowed: no more reason to go on
        (1.5, -2.0, 3.0, 3.0),  # a bad action that became likelier is always pushed back
        (0.5, 2.0, -1.0, -1.0),
        (0.5, -2.0, 1.6, 0.0),
        (1.5, 0.0, 0.0, 0.0),
    ],
)
def test_surrogate_by_hand(ratio: float, adv: float, loss: float, slope: float) -> None:
    assert fused.surrogate(math.log(ratio), 0.0, adv, 0.2) == pytest.approx((loss, slope))


@pytest.mark.parametrize(
    ("val", "ret", "error", "slope"),
    [
        (1.1, 3.0, 0.5 * 1.9**2, -1.9),  # within the range of the old value 1
        (2.0, 3.0, 0.5 * 1.8**2, 0.0),  # towards the return, but further than allowed: the clipped 1.2 is worse
        (2.0, -1.0, 0.5 * 3.0**2, 3.0),  # away from the return: the plain error is worse
        (0.0, 3.0, 0.5 * 3.0**2, -3.0),
        (0.0, -1.0, 0.5 * 1.8**2, 0.0),
    ],
)
def test_value_error_by_hand(val: float, ret: float, error: float, slope: float) -> None:
    assert fused.value_error(val, 1.0, ret, 0.2) == pytest.approx((error, slope))


@pytest.mark.parametrize(
    ("function", "slow"), [(fused.surrogate, slow_surrogate), (fused.value_error, slow_value_error)]
)
def test_formulas_equal_slow_numpy_and_finite_differences(function, slow) -> None:
    rng = np.random.default_rng(0)
    step, compared, flat = 1e-6, 0, 0
    for x, old, other in rng.normal(scale=0.5, size=(500, 3)):
        value, slope = function(x, old, other, 0.2)
        assert value == pytest.approx(slow(x, old, other, 0.2), abs=1e-12)
        below, above = slow(x - step, old, other, 0.2), slow(x + step, old, other, 0.2)
        left, right = (slow(x, old, other, 0.2) - below) / step, (above - slow(x, old, other, 0.2)) / step
        if abs(left - right) < 1e-4:  # not at a kink
            assert slope == pytest.approx((above - below) / (2 * step), abs=1e-5)
            compared += 1
            flat += slope == 0
    assert compared > 490
    assert 20 < flat < 400  # both sides of the clip were seen


def test_log_softmax_and_entropy() -> None:
    rng = np.random.default_rng(1)
    rows = [*rng.normal(scale=5, size=(50, HEADS)), np.array([900.0, 1.0, -900.0, 2.0, 3.0, 4.0, 5.0]), np.zeros(HEADS)]
    for row in rows:
        logp, prob = np.empty(NUM_ACTIONS), np.empty(NUM_ACTIONS)
        ent = fused.log_softmax(row, logp, prob)
        expected = torch.from_numpy(row[:NUM_ACTIONS]).log_softmax(0)
        np.testing.assert_allclose(logp, expected.numpy(), atol=1e-12)
        np.testing.assert_allclose(prob, expected.exp().numpy(), atol=1e-12)
        assert ent == pytest.approx(-(expected * expected.exp()).sum().item(), abs=1e-12)
    assert ent == pytest.approx(math.log(6))  # the last row is uniform


# -------------------------------------------------------------------------------------------- losses


def reference_loss(out: Tensor, act: Tensor, scalars: Tensor, coefs: Tensor) -> tuple[Tensor, Tensor]:
    """Schulman et al. (2017), equations 7 and 9, with the clipped value loss, in torch operations."""
    clip, vf_coef, ent_coef = (c[:, None] for c in coefs.unbind(1))
    old_logp, old_val, adv, ret = scalars.unbind(-1)
    logp_all = out[..., :NUM_ACTIONS].log_softmax(-1)
    logp = logp_all.gather(-1, act[..., None])[..., 0]
    ratio = (logp - old_logp).exp()
    moved = ratio.clamp(1 - clip, 1 + clip)
    policy = -torch.minimum(ratio * adv, moved * adv)
    val = out[..., NUM_ACTIONS]
    near = old_val + (val - old_val).clamp(-clip, clip)
    value = 0.5 * torch.maximum((val - ret) ** 2, (near - ret) ** 2)
    ent = -(logp_all.exp() * logp_all).sum(-1)
    clipped = ((ratio * adv > moved * adv) & (moved != ratio)).to(out.dtype)
    parts = torch.stack([policy, value, ent, old_logp - logp, clipped], -1)
    return (policy + vf_coef * value - ent_coef * ent).mean(1), parts.mean(1)


def minibatch(shape: tuple[int, int], dtype: torch.dtype = torch.float64) -> tuple[Tensor, ...]:
    """act and scalars [M, B, ...] and coefs [M, 3] such that a good part of the rows is clipped on either side."""
    gen = torch.Generator().manual_seed(7)
    act = torch.randint(NUM_ACTIONS, shape, generator=gen)
    scalars = torch.randn(*shape, 4, generator=gen, dtype=dtype)
    scalars[..., 0] = math.log(1 / 6) + 0.4 * scalars[..., 0]
    coefs = torch.tensor([[0.2, 0.5, 0.02], [0.1, 1.0, 0.1], [0.3, 0.25, 0.0]], dtype=dtype)[: shape[0]]
    return act, scalars, coefs


def test_loss_equals_the_reference_in_value_and_gradient() -> None:
    act, scalars, coefs = minibatch((3, 200))
    gen = torch.Generator().manual_seed(8)
    start = 0.5 * torch.randn(3, 200, HEADS, generator=gen, dtype=torch.float64)
    weights = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    results = []
    for function in (ppo.ppo_loss, reference_loss):
        out = start.clone().requires_grad_()
        loss, parts = function(out, act, scalars, coefs)
        (loss * weights).sum().backward()
        results.append((loss.detach(), parts.detach(), out.grad))
    for ours, expected in zip(*results, strict=True):
        torch.testing.assert_close(ours, expected, rtol=0, atol=1e-12)
    assert 0.1 < results[0][1][:, 4].mean() < 0.6
    assert torch.equal(fused.total_loss(results[0][1], coefs), results[0][0])


# --------------------------------------------------------------------------------------- fused kernels


def fused_net(members: int, inputs: int = 90, extra: int = 0) -> PopulationNet:
    """Members with biases and a policy head that are no longer zero."""
    gens = [torch.Generator().manual_seed(m) for m in range(members)]
    net = PopulationNet.create(Arch(inputs=inputs, hidden=(64, 64), extra=extra), gens)
    with torch.no_grad():
        for name, tensor in net.tensors().items():
            tensor += 0.1 * torch.randn(tensor.shape, generator=gens[0]) if name != "table" else 0.0
    return net


def index_rows(rows: int, inputs: int = 90, facts: int = 9, extra: int = 0) -> Tensor:
    """[R, K + E] with padding after a random number of facts, none and all included."""
    gen = torch.Generator().manual_seed(3)
    length = torch.randint(facts + 1, (rows, 1), generator=gen)
    idx = torch.randint(inputs, (rows, facts), generator=gen)
    facts_only = torch.where(torch.arange(facts) < length, idx, inputs).to(torch.int16)
    values = torch.rand(rows, extra, generator=gen) * 2 - 1
    return torch.from_numpy(append_dense(facts_only.numpy(), values.numpy()))


# 512 rows in all decide between the serial and the parallel kernel; blocks hold 64, the last one fewer.
@pytest.mark.parametrize(
    ("members", "batch", "extra"), [(1, 1, 0), (3, 63, 2), (2, 255, 0), (2, 256, 0), (2, 256, 5), (3, 333, 8)]
)
def test_fused_forward_equals_the_network(members: int, batch: int, extra: int) -> None:
    net = fused_net(members, extra=extra)
    idx = index_rows(members * batch, extra=extra).view(members, batch, -1)
    assert net.is_fused
    slow = net.outputs(idx)
    with torch.no_grad():
        quick = net.outputs(idx)
    assert slow.requires_grad
    assert not quick.requires_grad
    torch.testing.assert_close(quick, slow, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("members", "batch", "extra"), [(1, 3, 0), (3, 170, 0), (2, 530, 0), (2, 170, 1), (1, 530, 8)])
def test_fused_gradients_equal_autograd(members: int, batch: int, extra: int) -> None:
    net, total = fused_net(members, extra=extra), 600
    idx = index_rows(members * total, extra=extra)
    act, scalars, coefs = minibatch((members, total), torch.float32)
    gen = torch.Generator().manual_seed(5)
    rows = torch.stack([torch.randperm(total, generator=gen)[:batch] + m * total for m in range(members)])

    flat_act, flat_scalars = act.flatten(), scalars.flatten(0, 1)
    out = net.outputs(idx[rows])
    expected_parts = ppo_gradients(net, out, flat_act[rows], flat_scalars[rows], coefs)
    expected = {name: param.grad for name, param in net.named_parameters()}
    parts = fused.FusedGradients(net.tensors(), net.parameters()).gradients(idx, rows, flat_act, flat_scalars, coefs)

    torch.testing.assert_close(parts, expected_parts, rtol=1e-4, atol=1e-6)
    for name, param in net.named_parameters():
        size = expected[name].abs().max().item()
        assert size > 0, name
        torch.testing.assert_close(param.grad, expected[name], rtol=1e-4, atol=2e-6 * max(size, 1), msg=name)


def ppo_gradients(net: PopulationNet, out: Tensor, act: Tensor, scalars: Tensor, coefs: Tensor) -> Tensor:
    """Autograd through the reference loss; the parts."""
    net.zero_grad()
    loss, parts = reference_loss(out, act, scalars, coefs)
    loss.sum().backward()
    return parts.detach()


def test_fused_gradients_do_not_depend_on_threads_or_on_what_was_in_the_buffers() -> None:
    net, idx = fused_net(2), index_rows(800)
    act, scalars, coefs = minibatch((2, 400), torch.float32)
    rows = torch.arange(800).view(2, 400)
    used = fused.FusedGradients(net.tensors(), net.parameters())
    found = []
    for count in (1, min(2, numba.config.NUMBA_NUM_THREADS), 1):
        numba.set_num_threads(count)
        used.gradients(idx, rows, act.flatten(), scalars.flatten(0, 1), coefs)
        found.append([param.grad.clone() for param in net.parameters()])
    for one, two, again in zip(*found, strict=True):
        assert torch.equal(one, two)
        assert torch.equal(one, again)


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
