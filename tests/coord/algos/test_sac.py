"""SAC: losses by hand, gradients against autograd, one update against a plain reference, resume, learning."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from coord import heads, mlps
from coord.algos import sac
from coord.algos import sac_losses as losses
from coord.buffers import Batch

OBS, ACT, ROWS = 5, 3, 7
F64 = torch.float64
TINY = {"hidden": (8, 6), "batch_size": ROWS}


def make_state(
    members: int = 2, *, discrete: bool = False, dtype: torch.dtype = F64, first_seed: int = 0, **cfg: object
) -> sac.SACState:
    seeds = list(range(first_seed, first_seed + members))
    return sac.create(sac.SACConfig(**{**TINY, **cfg}), OBS, ACT, seeds, discrete=discrete, dtype=dtype)


def make_batch(state: sac.SACState, seed: int = 0, rows: int = ROWS) -> Batch:
    gen = torch.Generator().manual_seed(seed)
    members, dtype = len(state.seeds), state.log_alpha.dtype

    def normal(*shape: int) -> Tensor:
        return torch.randn(members, rows, *shape, generator=gen, dtype=dtype)

    act = torch.randint(ACT, (members, rows), generator=gen) if state.discrete else normal(ACT).tanh()
    discount = (torch.rand(members, rows, generator=gen) > 0.3).to(dtype)
    return Batch(normal(OBS), act, normal(), normal(OBS), discount)


def leaves(params: mlps.Params) -> mlps.Params:
    return {name: tensor.detach().clone().requires_grad_() for name, tensor in params.items()}


# ------------------------------------------------------------------------------------------------- by hand


def test_target_by_hand() -> None:
    q = torch.tensor([[[1.0, 4.0], [3.0, 2.0]]], dtype=F64)  # minimum over heads: 1, 2
    value = losses.soft_value(q, torch.tensor([[-1.0, 2.0]], dtype=F64), torch.tensor([0.5], dtype=F64))
    assert value.tolist() == [[1.5, 1.0]]
    y = losses.critic_target(torch.tensor([[10.0, 20.0]]), torch.tensor([[1.0, 0.0]]), 0.9, value)
    assert y.tolist() == [[pytest.approx(11.35), 20.0]]


def test_expected_value_by_hand() -> None:
    q = torch.tensor([[[[1.0, 4.0]], [[3.0, 2.0]]]], dtype=F64)  # one row, two actions: minimum 1, 2
    logp = torch.tensor([[[0.25, 0.75]]], dtype=F64).log()
    value = losses.expected_soft_value(q, logp, torch.tensor([2.0], dtype=F64))
    entropy = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
    assert value.item() == pytest.approx(0.25 * 1 + 0.75 * 2 + 2 * entropy)


def test_losses_by_hand() -> None:
    q = torch.tensor([[[1.0, 4.0], [3.0, 2.0]]], dtype=F64)
    assert losses.critic_loss(q, torch.tensor([[2.0, 2.0]], dtype=F64)).tolist() == [(1 + 4) / 2 + (1 + 0) / 2]
    assert losses.actor_loss(torch.tensor([[1.0, 4.0]], dtype=F64)).tolist() == [-2.5]
    log_alpha = torch.tensor([math.log(0.5)], dtype=F64, requires_grad=True)
    loss = losses.alpha_loss(log_alpha, torch.tensor([[1.0, 2.0]], dtype=F64), -3.0)
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
    from torch.distributions import Normal, TanhTransform, TransformedDistribution

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
    ours = heads.tanh_gaussian_gradient(out.detach(), noise, act.detach(), by_act, by_logp)
    torch.testing.assert_close(ours, expected, rtol=1e-10, atol=1e-12)


def test_categorical_gradient_equals_autograd() -> None:
    gen = torch.Generator().manual_seed(1)
    logits = torch.randn(2, ROWS, ACT, generator=gen, dtype=F64, requires_grad=True)
    q = torch.randn(2, ROWS, ACT, generator=gen, dtype=F64)
    logp = F.log_softmax(logits, -1)
    (expected,) = torch.autograd.grad((logp.exp() * (q - 0.3 * logp)).sum(), logits)
    ours = heads.categorical_gradient(logp.detach(), q - 0.3 * logp.detach())
    torch.testing.assert_close(ours, expected, rtol=1e-10, atol=1e-12)


# -------------------------------------------------------------------------- hand-made gradients against autograd


@pytest.mark.parametrize("discrete", [False, True])
@pytest.mark.parametrize("layer_norm", [False, True])
def test_critic_gradient_equals_autograd_of_the_pure_loss(discrete: bool, layer_norm: bool) -> None:
    state = make_state(discrete=discrete, critic_layer_norm=layer_norm)
    batch, noise = make_batch(state), sac.draw_noise(state, ROWS)
    critic = leaves(state.critic)
    y = losses.critic_target(batch.rew, batch.discount, 0.99, plain_bootstrap(state, batch.next_obs, noise))
    loss = losses.critic_loss(losses.q_values(critic, batch.obs, batch.act), y)
    expected = torch.autograd.grad(loss.sum(), list(critic.values()))
    metrics = sac.critic_step(state, batch, sac.bootstrap(state, batch.next_obs, noise))
    torch.testing.assert_close(metrics["train/critic_loss"], loss.detach())
    compare_gradients(state.learners["critic"].grads, dict(zip(critic, expected, strict=True)))


@pytest.mark.parametrize("discrete", [False, True])
@pytest.mark.parametrize("layer_norm", [False, True])
def test_actor_gradient_equals_autograd_of_the_pure_loss(discrete: bool, layer_norm: bool) -> None:
    state = make_state(discrete=discrete, critic_layer_norm=layer_norm)
    obs, noise = make_batch(state).obs, sac.draw_noise(state, ROWS)
    actor = leaves(state.actor)
    value, _ = plain_value(actor, state.critic, obs, noise, state.alpha)
    loss = losses.actor_loss(value)
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
        logp = losses.log_policy(actor, obs)
        return losses.expected_soft_value(losses.q_all(critic, obs), logp, alpha), (logp.exp() * logp).sum(-1)
    act, logp = losses.policy(actor, obs, noise)
    return losses.soft_value(losses.q_values(critic, obs, act), logp, alpha), logp


def plain_bootstrap(state: sac.SACState, obs: Tensor, noise: Tensor | None) -> Tensor:
    return plain_value(state.actor, state.target, obs, noise, state.alpha)[0]


@pytest.mark.parametrize("discrete", [False, True])
def test_bootstrap_equals_the_pure_functions(discrete: bool) -> None:
    state = make_state(discrete=discrete)
    obs, noise = make_batch(state).next_obs, sac.draw_noise(state, ROWS)
    torch.testing.assert_close(
        sac.bootstrap(state, obs, noise), plain_bootstrap(state, obs, noise), rtol=1e-12, atol=1e-12
    )
