"""SAC: losses by hand, gradients against autograd, one update against a plain reference, resume, learning."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, TanhTransform, TransformedDistribution
from torch.nn import functional as F

from coord import checkpoint
from coord.algos import sac
from coord.bench.sac import ReferenceSAC
from coord.buffers import ReplayBatch, ReplayBuffer
from coord.errors import Diverged, UserError
from coord.kernels import backprop, sac_gradients
from coord.nets import heads, mlps
from coord.run import config

OBS, ACT, ROWS = 5, 3, 7
F64 = torch.float64
TINY = {"hidden": (8, 6), "batch_size": ROWS}


def make_state(
    members: int = 2, *, discrete: bool = False, dtype: torch.dtype = F64, first_seed: int = 0, **cfg: object
) -> sac.SACState:
    seeds = list(range(first_seed, first_seed + members))
    return sac.create(sac.SACConfig(**{**TINY, **cfg}), OBS, ACT, seeds, discrete=discrete, dtype=dtype)


def make_batch(state: sac.SACState, seed: int = 0, rows: int = ROWS) -> ReplayBatch:
    gen = torch.Generator().manual_seed(seed)
    members, dtype = len(state.seeds), state.log_alpha.dtype

    def normal(*shape: int) -> Tensor:
        return torch.randn(members, rows, *shape, generator=gen, dtype=dtype)

    act = torch.randint(ACT, (members, rows), generator=gen) if state.discrete else normal(ACT).tanh()
    discount = (torch.rand(members, rows, generator=gen) > 0.3).to(dtype)
    return ReplayBatch(normal(OBS), act, normal(), normal(OBS), discount)


def leaves(params: mlps.Params) -> mlps.Params:
    return {name: tensor.detach().clone().requires_grad_() for name, tensor in params.items()}


# ------------------------------------------------------------------------------------------------- by hand


def test_target_by_hand() -> None:
    q = torch.tensor([[[1.0, 4.0], [3.0, 2.0]]], dtype=F64)  # minimum over heads: 1, 2
    value = sac.soft_value(q, torch.tensor([[-1.0, 2.0]], dtype=F64), torch.tensor([0.5], dtype=F64))
    assert value.tolist() == [[1.5, 1.0]]
    y = sac.critic_target(torch.tensor([[10.0, 20.0]]), torch.tensor([[1.0, 0.0]]), 0.9, value)
    assert y.tolist() == [[pytest.approx(11.35), 20.0]]


def test_expected_value_by_hand() -> None:
    q = torch.tensor([[[[1.0, 4.0]], [[3.0, 2.0]]]], dtype=F64)  # one row, two actions: minimum 1, 2
    logp = torch.tensor([[[0.25, 0.75]]], dtype=F64).log()
    value = sac.expected_soft_value(q, logp, torch.tensor([2.0], dtype=F64))
    entropy = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
    assert value.item() == pytest.approx(0.25 * 1 + 0.75 * 2 + 2 * entropy)


def test_losses_by_hand() -> None:
    q = torch.tensor([[[1.0, 4.0], [3.0, 2.0]]], dtype=F64)
    assert sac.critic_loss(q, torch.tensor([[2.0, 2.0]], dtype=F64)).tolist() == [(1 + 4) / 2 + (1 + 0) / 2]
    assert sac.actor_loss(torch.tensor([[1.0, 4.0]], dtype=F64)).tolist() == [-2.5]
    log_alpha = torch.tensor([math.log(0.5)], dtype=F64, requires_grad=True)
    loss = sac.alpha_loss(log_alpha, torch.tensor([[1.0, 2.0]], dtype=F64), -3.0)
    assert loss.item() == pytest.approx(0.5 * (-1.5 + 3.0))
    (grad,) = torch.autograd.grad(loss.sum(), log_alpha)
    assert grad.item() == pytest.approx(loss.item())  # exp is its own derivative


def test_target_entropy() -> None:
    assert make_state().target_entropy == -ACT
    assert make_state(discrete=True).target_entropy == pytest.approx(0.89 * math.log(ACT))


# --------------------------------------------------------------------------------------------------- heads


def test_log_density_equals_torch_distributions() -> None:
    gen = torch.Generator().manual_seed(0)
    out = 2 * torch.randn(50, 2 * ACT, generator=gen, dtype=F64)
    noise = torch.randn(50, ACT, generator=gen, dtype=F64)
    act, logp = heads.tanh_gaussian(out, noise)
    mean, log_std = heads.gaussian(out)
    theirs = TransformedDistribution(Normal(mean, log_std.exp()), TanhTransform(cache_size=0))
    expected = theirs.log_prob(act).sum(-1)
    inside = (act.abs() < 0.9999).all(-1)  # beyond, inverting the tanh loses the digits
    assert int(inside.sum()) > 20
    torch.testing.assert_close(logp[inside], expected[inside], rtol=1e-8, atol=1e-8)


def test_log_std_is_squashed_into_its_bounds() -> None:
    raw = torch.tensor([-50.0, 0.0, 50.0], dtype=F64)
    _, log_std = heads.gaussian(torch.cat([torch.zeros(3, dtype=F64), raw]))
    assert log_std.tolist() == pytest.approx([-5.0, -1.5, 2.0])


def test_log_density_stays_finite_where_tanh_saturates() -> None:
    act, logp = heads.tanh_gaussian(torch.tensor([[40.0, 0.0]]), torch.zeros(1, 1))
    # Normal(40, exp(-1.5)) at its mean; log(1 - tanh(40)^2) = 2 (log 2 - 40) to all digits
    expected = 1.5 - 0.5 * math.log(2 * math.pi) - 2 * (math.log(2) - 40)
    assert act.item() == 1.0
    assert logp.item() == pytest.approx(expected, rel=1e-6)


def test_head_gradients_equal_autograd() -> None:
    gen = torch.Generator().manual_seed(1)
    out = torch.randn(2, ROWS, 2 * ACT, generator=gen, dtype=F64, requires_grad=True)
    noise, by_act = torch.randn(2, 2, ROWS, ACT, generator=gen, dtype=F64)
    by_logp = torch.rand(2, 1, 1, generator=gen, dtype=F64)
    act, logp = heads.tanh_gaussian(out, noise)
    (expected,) = torch.autograd.grad((act * by_act).sum() + (logp * by_logp[..., 0]).sum(), out)
    ours = sac_gradients.tanh_gaussian_gradient(out.detach(), noise, act.detach(), by_act, by_logp)
    torch.testing.assert_close(ours, expected, rtol=1e-10, atol=1e-12)


def test_categorical_gradient_equals_autograd() -> None:
    gen = torch.Generator().manual_seed(1)
    logits = torch.randn(2, ROWS, ACT, generator=gen, dtype=F64, requires_grad=True)
    q = torch.randn(2, ROWS, ACT, generator=gen, dtype=F64)
    logp = F.log_softmax(logits, -1)
    (expected,) = torch.autograd.grad((logp.exp() * (q - 0.3 * logp)).sum(), logits)
    ours = sac_gradients.categorical_gradient(logp.detach(), q - 0.3 * logp.detach())
    torch.testing.assert_close(ours, expected, rtol=1e-10, atol=1e-12)


# -------------------------------------------------------------------------- hand-made gradients against autograd


@pytest.mark.parametrize("discrete", [False, True])
@pytest.mark.parametrize("layer_norm", [False, True])
def test_critic_gradient_equals_autograd_of_the_pure_loss(discrete: bool, layer_norm: bool) -> None:
    state = make_state(discrete=discrete, critic_layer_norm=layer_norm)
    batch, noise = make_batch(state), sac.draw_noise(state, ROWS)
    critic = leaves(state.critic)
    y = sac.critic_target(batch.rew, batch.discount, 0.99, plain_bootstrap(state, batch.next_obs, noise))
    loss = sac.critic_loss(heads.q_values(critic, batch.obs, batch.act), y)
    expected = torch.autograd.grad(loss.sum(), list(critic.values()))
    metrics = sac.critic_step(state, batch, sac.bootstrap(state, batch.next_obs, noise))
    torch.testing.assert_close(metrics["train/critic_loss"], loss.detach())
    compare_gradients(state.learners["critic"].grads, dict(zip(critic, expected, strict=True)))


@pytest.mark.parametrize("discrete", [False, True])
@pytest.mark.parametrize("layer_norm", [False, True])
@pytest.mark.parametrize("wide", [1, 999])  # with rows routed to the smaller critic, and without
def test_actor_gradient_equals_autograd_of_the_pure_loss(
    discrete: bool, layer_norm: bool, wide: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backprop, "WIDE", wide)
    state = make_state(discrete=discrete, critic_layer_norm=layer_norm)
    obs, noise = make_batch(state).obs, sac.draw_noise(state, ROWS)
    actor = leaves(state.actor)
    value, _ = plain_value(actor, state.critic, obs, noise, state.alpha)
    loss = sac.actor_loss(value)
    expected = torch.autograd.grad(loss.sum(), list(actor.values()))
    metrics = sac.actor_step(state, obs, noise)
    torch.testing.assert_close(metrics["train/actor_loss"], loss.detach())
    compare_gradients(state.learners["actor"].grads, dict(zip(actor, expected, strict=True)))


def compare_gradients(ours: mlps.Params, expected: mlps.Params) -> None:
    for name, grad in expected.items():
        assert grad.abs().max() > 0, f"{name} receives no gradient"
        torch.testing.assert_close(ours[name], grad, rtol=1e-10, atol=1e-12)
    assert len(ours) == len(expected) >= 6


def plain_value(
    actor: mlps.Params, critic: mlps.Params, obs: Tensor, noise: Tensor | None, alpha: Tensor
) -> tuple[Tensor, Tensor]:
    """Soft value and log-density (discrete: minus the entropy) by the pure functions."""
    if noise is None:
        logp = heads.log_policy(actor, obs)
        return sac.expected_soft_value(heads.q_all(critic, obs), logp, alpha), (logp.exp() * logp).sum(-1)
    act, logp = heads.policy(actor, obs, noise)
    return sac.soft_value(heads.q_values(critic, obs, act), logp, alpha), logp


def plain_bootstrap(state: sac.SACState, obs: Tensor, noise: Tensor | None) -> Tensor:
    return plain_value(state.actor, state.target, obs, noise, state.alpha)[0]


@pytest.mark.parametrize("discrete", [False, True])
def test_bootstrap_equals_the_pure_functions(discrete: bool) -> None:
    state = make_state(discrete=discrete)
    obs, noise = make_batch(state).next_obs, sac.draw_noise(state, ROWS)
    torch.testing.assert_close(
        sac.bootstrap(state, obs, noise), plain_bootstrap(state, obs, noise), rtol=1e-12, atol=1e-12
    )


# ---------------------------------------------------------------------------- whole updates against a reference


def noises_of_next_update(state: sac.SACState, rows: int) -> tuple[Tensor, Tensor]:
    """What `update` will draw next; the generators are put back."""
    saved = [gen.get_state() for gen in state.gens]
    drawn = sac.draw_noise(state, rows), sac.draw_noise(state, rows)
    for gen, old in zip(state.gens, saved, strict=True):
        gen.set_state(old)
    assert drawn[0] is not None
    assert drawn[1] is not None
    return drawn[0], drawn[1]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 2e-5)])
def test_updates_equal_the_official_structure(dtype: torch.dtype, tolerance: float) -> None:
    state = make_state(3, dtype=dtype, lr=1e-2, alpha_lr=1e-2, tau=0.1)
    references = [ReferenceSAC(state, member) for member in range(3)]
    for step in range(4):  # the target moves twice
        batch, noises = make_batch(state, step), noises_of_next_update(state, ROWS)
        for m, reference in enumerate(references):
            reference.update(ReplayBatch(*(part[m] for part in batch)), (noises[0][m], noises[1][m]))
        sac.update(state, batch)
    compared = 0
    for m, reference in enumerate(references):
        pairs = [(state.actor, (m,), reference.actor)]
        pairs += [(state.critic, (m, head), reference.critic[head]) for head in range(2)]
        pairs += [(state.target, (m, head), reference.target[head]) for head in range(2)]
        for params, index, module in pairs:
            for ours, theirs in zip(params.values(), module.parameters(), strict=True):
                torch.testing.assert_close(ours[index], theirs.detach(), rtol=tolerance, atol=tolerance)
                compared += 1
        torch.testing.assert_close(state.log_alpha[m], reference.log_alpha.detach(), rtol=tolerance, atol=tolerance)
    assert compared == 3 * 5 * 6
    assert all(not torch.equal(a, b) for a, b in zip(state.critic.values(), state.target.values(), strict=True))


def test_layer_norm_equals_torch_modules() -> None:
    table = mlps.shapes(OBS, (8, 6), 2, layer_norm=True)
    params = mlps.init(table, torch.Generator().manual_seed(0), dtype=F64)
    for name in ("norm0", "norm1"):
        for part in ("weight", "bias"):
            params[f"{name}.{part}"] = torch.randn(params[f"{name}.{part}"].shape, dtype=F64)
    x = torch.randn(ROWS, OBS, dtype=F64)
    expected = x
    for layer in range(2):
        expected = F.linear(expected, params[f"dense{layer}.weight"], params[f"dense{layer}.bias"])
        norm = params[f"norm{layer}.weight"], params[f"norm{layer}.bias"]
        expected = F.relu(F.layer_norm(expected, expected.shape[-1:], *norm))
    expected = F.linear(expected, params["head.weight"], params["head.bias"])
    torch.testing.assert_close(mlps.apply({k: v[None] for k, v in params.items()}, x[None])[0], expected)


def test_weight_decay_is_decoupled_and_the_critics_alone() -> None:
    state, plain = (make_state(critic_weight_decay=decay) for decay in (0.1, 0.0))
    before = {k: v.clone() for k, v in state.critic.items()}
    for each in (state, plain):
        sac.update(each, make_batch(each))
    for name, start in before.items():
        shrink = state.cfg.lr * 0.1 * start
        torch.testing.assert_close(state.critic[name], plain.critic[name] - shrink, rtol=1e-10, atol=1e-12)


# ---------------------------------------------------------------------------------------------------- cadence


def test_target_moves_by_tau_every_second_update() -> None:
    state = make_state(target_every=2, tau=0.25)
    start = {k: v.clone() for k, v in state.target.items()}
    sac.update(state, make_batch(state, 0))
    assert all(torch.equal(state.target[k], v) for k, v in start.items())
    sac.update(state, make_batch(state, 1))
    for name, old in start.items():
        torch.testing.assert_close(state.target[name], old + 0.25 * (state.critic[name] - old))


def test_actor_and_temperature_move_every_third_update() -> None:
    state = make_state(actor_every=3)
    for step in range(1, 7):
        before = state.actor["head.weight"].clone(), state.log_alpha.clone()
        metrics = sac.update(state, make_batch(state, step))
        moved = [
            not torch.equal(a, b) for a, b in zip(before, (state.actor["head.weight"], state.log_alpha), strict=True)
        ]
        assert moved == [step % 3 == 0] * 2
        assert ("train/actor_loss" in metrics) == (step % 3 == 0)


def test_reset_critic_leaves_actor_temperature_and_their_moments() -> None:
    state = make_state()
    for step in range(3):
        sac.update(state, make_batch(state, step))
    before = {k: v.clone() for k, v in state.tensors().items()}
    sac.reset_critic(state)
    after = state.tensors()
    kept = [k for k in before if k.startswith(("actor", "alpha", "optim.actor", "optim.alpha"))]
    assert all(torch.equal(before[k], after[k]) for k in kept)
    assert all(not after[k].any() for k in after if k.startswith("optim.critic"))
    assert not torch.equal(before["critic.head.weight"], after["critic.head.weight"])
    for name, tensor in state.critic.items():
        assert torch.equal(tensor, state.target[name])
    first = after["critic.head.weight"].clone()
    sac.reset_critic(state)
    assert not torch.equal(first, state.critic["head.weight"]), "two resets must not give the same critic"


# ------------------------------------------------------------------------------------- bits, members, resume


@pytest.mark.parametrize("discrete", [False, True])
def test_resume_is_exact(discrete: bool) -> None:
    whole = make_state(dtype=torch.float32, discrete=discrete)
    for step in range(3):
        sac.update(whole, make_batch(whole, step))
    sac.reset_critic(whole)
    saved = {k: v.clone() for k, v in whole.state_dict().items()}
    resumed = make_state(dtype=torch.float32, discrete=discrete)
    resumed.load_state_dict(saved)
    for step in range(3, 6):
        batch = make_batch(whole, step)
        for state in (whole, resumed):
            sac.update(state, batch)
            sac.act(state, batch.obs)
    sac.reset_critic(whole)
    sac.reset_critic(resumed)
    ours, theirs = whole.state_dict(), resumed.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[k], theirs[k]) for k in ours)


def test_a_checkpoint_holds_the_state(tmp_path) -> None:  # type: ignore[no-untyped-def]
    state, other = make_state(), make_state()
    sac.update(state, make_batch(state))
    checkpoint.save(tmp_path / "sac.safetensors", state.state_dict(), {})
    other.load_state_dict(checkpoint.load(tmp_path / "sac.safetensors")[0])
    assert all(torch.equal(v, other.state_dict()[k]) for k, v in state.state_dict().items())


@pytest.mark.parametrize("discrete", [False, True])
def test_same_seed_same_bits(discrete: bool) -> None:
    runs = [make_state(3, dtype=torch.float32, discrete=discrete) for _ in range(2)]
    for state in runs:
        for step in range(5):
            sac.update(state, make_batch(state, step))
            sac.act(state, make_batch(state, step).obs)
    a, b = (state.state_dict() for state in runs)
    assert all(torch.equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize("discrete", [False, True])
def test_a_member_does_not_depend_on_its_neighbours(discrete: bool) -> None:
    together = make_state(3, discrete=discrete)
    alone = make_state(1, discrete=discrete, first_seed=1)
    for step in range(5):
        batch = make_batch(together, step)
        sac.update(together, batch)
        sac.update(alone, ReplayBatch(*(part[1:2] for part in batch)))
        act = sac.act(together, batch.obs)
        torch.testing.assert_close(act[1:2], sac.act(alone, batch.obs[1:2]), rtol=1e-9, atol=1e-9)
    mine = {k: v for k, v in together.tensors().items() if "count" not in k}
    for name, tensor in mine.items():  # rounding of products may differ with their number
        torch.testing.assert_close(tensor[1:2], alone.tensors()[name], rtol=1e-9, atol=1e-9)
    assert not torch.equal(mine["actor.head.weight"][0], mine["actor.head.weight"][1])


def test_a_tape_is_dropped_when_batch_sizes_change() -> None:
    state = make_state()
    for rows in range(1, 12):
        sac.update(state, make_batch(state, rows, rows=rows))
    expected = heads.policy(state.actor, make_batch(state).obs, torch.zeros(2, ROWS, ACT, dtype=F64))[0]
    torch.testing.assert_close(sac.act(state, make_batch(state).obs, deterministic=True), expected)


# ----------------------------------------------------------------------------------------------------- acting


def test_actions_follow_the_policy() -> None:
    state = make_state(dtype=torch.float32)
    obs = make_batch(state).obs[:, :1].expand(-1, 20_000, -1).contiguous()
    act = sac.act(state, obs)
    assert act.shape == (2, 20_000, ACT)
    assert act.abs().max() <= 1
    mean, log_std = heads.gaussian(mlps.apply(state.actor, obs[:, :1]))
    torch.testing.assert_close(act.atanh().mean(1), mean[:, 0], atol=0.03, rtol=0)
    torch.testing.assert_close(act.atanh().std(1), log_std[:, 0].exp(), atol=0.03, rtol=0)
    torch.testing.assert_close(sac.act(state, obs[:, :1], deterministic=True), mean.tanh())


def test_discrete_actions_follow_the_policy() -> None:
    state = make_state(discrete=True, dtype=torch.float32)
    obs = make_batch(state).obs[:, :1].expand(-1, 8000, -1).contiguous()
    act = sac.act(state, obs)
    prob = heads.log_policy(state.actor, obs[:, :1]).exp()[:, 0]
    share = F.one_hot(act, ACT).float().mean(1)
    torch.testing.assert_close(share, prob, atol=0.025, rtol=0)
    assert torch.equal(sac.act(state, obs[:, :1], deterministic=True)[:, 0], prob.argmax(-1))


# ----------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("field", "value"),
    [("batch_size", 0), ("gamma", 1.5), ("tau", -0.1), ("hidden", ()), ("init_alpha", 0.0), ("time_limit", "never")],
)
def test_impossible_settings_are_refused(field: str, value: object) -> None:
    with pytest.raises(UserError, match=field):
        config.from_dict(sac.SACConfig, {field: value})


def test_divergence_is_noticed() -> None:
    state = make_state(dtype=torch.float32)
    state.update_step = sac.CHECK_EVERY - 1
    batch = make_batch(state)
    with pytest.raises(Diverged, match=f"update {sac.CHECK_EVERY}"):
        sac.update(state, batch._replace(rew=batch.rew * math.inf))


# --------------------------------------------------------------------------------------------------- learning


QUICK = {"batch_size": 64, "lr": 3e-3, "alpha_lr": 3e-3, "gamma": 0.9, "tau": 0.02, "target_every": 1}


def run_env(state: sac.SACState, buffer: ReplayBuffer, step, steps: int, *, updates_from: int = 64) -> None:
    """`step(obs [M, 1, O], act) -> (rew, next_obs, ended, first_obs)` of a task without terminal states."""
    obs = step.reset()
    for t in range(steps):
        act = sac.act(state, obs)
        rew, next_obs, ended, first_obs = step(obs, act)
        buffer.add(obs, act, rew, next_obs, torch.zeros_like(ended), ended)
        obs = first_obs
        if t >= updates_from:
            sac.update(state, buffer.sample(state.cfg.batch_size, state.gens))


class PointReaching:
    """A point on a line is moved by the action towards a goal that the observation names; 10 steps per episode."""

    def __init__(self, members: int, seed: int) -> None:
        self.rng, self.members, self.clock = np.random.default_rng(seed), members, 0

    def reset(self) -> Tensor:
        self.clock = 0
        return torch.from_numpy(self.rng.uniform(-1, 1, (self.members, 1, 2)).astype(np.float32))

    def __call__(self, obs: Tensor, act: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        place = (obs[..., :1] + 0.3 * act).clamp(-1, 1)
        next_obs = torch.cat([place, obs[..., 1:]], -1)
        self.clock += 1
        ended = torch.full(act.shape[:2], self.clock == 10)
        rew = -(place - obs[..., 1:]).abs().squeeze(-1)
        return rew, next_obs, ended, self.reset() if self.clock == 10 else next_obs


@pytest.mark.learn
def test_learns_to_reach_a_point() -> None:
    cfg = sac.SACConfig(hidden=(32, 32), **QUICK)
    state = sac.create(cfg, 2, 1, [0, 1, 2])
    run_env(state, ReplayBuffer(3, 5000, 2, 1), PointReaching(3, seed=0), 600)
    gen = torch.Generator().manual_seed(1)
    obs = torch.rand(1, 200, 2, generator=gen).expand(3, -1, -1) * 2 - 1
    start = (obs[..., 0] - obs[..., 1]).abs().mean(1)
    task = PointReaching(3, seed=1)
    for _ in range(8):
        _, obs, _, _ = task(obs, sac.act(state, obs, deterministic=True))
        task.clock = 0
    left = (obs[..., 0] - obs[..., 1]).abs().mean(1)
    assert (start > 0.5).all()
    assert (left < 0.12).all(), left


class Corridor:
    """Five cells; right or left; 1 for entering the last cell, which starts anew; episodes of 20 steps."""

    def __init__(self, members: int) -> None:
        self.members, self.clock = members, 0

    def reset(self) -> Tensor:
        self.clock = 0
        return F.one_hot(torch.zeros(self.members, 1, dtype=torch.int64), 5).float()

    def __call__(self, obs: Tensor, act: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        cell = (obs.argmax(-1) + 2 * (act == 1) - 1).clamp(min=0)
        rew = (cell == 4).float()
        next_obs = F.one_hot(torch.where(cell == 4, 0, cell), 5).float()
        self.clock += 1
        ended = torch.full(act.shape, self.clock == 20)
        return rew, next_obs, ended, self.reset() if self.clock == 20 else next_obs


@pytest.mark.learn
def test_learns_a_corridor_with_discrete_actions() -> None:
    cfg = sac.SACConfig(hidden=(32,), target_entropy_share=0.3, **QUICK)
    state = sac.create(cfg, 5, 2, [0, 1, 2], discrete=True)
    run_env(state, ReplayBuffer(3, 5000, 5, 1, discrete=True), Corridor(3), 1200)
    cells = torch.eye(5)[None, :4].expand(3, -1, -1)
    assert torch.equal(sac.act(state, cells, deterministic=True), torch.ones(3, 4, dtype=torch.int64))
    # One reward every four steps, worth 1 / (1 - 0.9^4) = 2.9 just before it (entropy aside).
    q = heads.q_all(state.critic, cells)[:, :, 3, 1]
    assert ((q > 2.2) & (q < 4.0)).all(), q
