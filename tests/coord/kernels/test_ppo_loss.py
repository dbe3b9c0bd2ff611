"""PPO's loss by hand: its formulas against slow ones and finite differences, all of it against its definition."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from coord.algos import ppo
from coord.kernels import ppo_loss
from coord.kernels.ppo_loss import fast_loss, total_loss
from coord.types import HEADS, NUM_ACTIONS
from tests.minibatches import minibatch

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
    assert ppo_loss.surrogate(math.log(ratio), 0.0, adv, 0.2) == pytest.approx((loss, slope))


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
    assert ppo_loss.value_error(val, 1.0, ret, 0.2) == pytest.approx((error, slope))


@pytest.mark.parametrize(
    ("function", "slow"), [(ppo_loss.surrogate, slow_surrogate), (ppo_loss.value_error, slow_value_error)]
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
        ent = ppo_loss.log_softmax(row, logp, prob)
        expected = torch.from_numpy(row[:NUM_ACTIONS]).log_softmax(0)
        np.testing.assert_allclose(logp, expected.numpy(), atol=1e-12)
        np.testing.assert_allclose(prob, expected.exp().numpy(), atol=1e-12)
        assert ent == pytest.approx(-(expected * expected.exp()).sum().item(), abs=1e-12)
    assert ent == pytest.approx(math.log(6))  # the last row is uniform


# -------------------------------------------------------------------------------------------- the whole loss


def test_the_definition_by_hand() -> None:
    """Two rows: a good action already likelier than allowed, its value in the range; a bad one, its value beyond."""
    logits = torch.tensor([[0.0] * NUM_ACTIONS] * 2, dtype=torch.float64)
    out = torch.cat([logits, torch.tensor([[1.1], [2.0]], dtype=torch.float64)], 1)[None]
    old_logp = [math.log(1 / 6 / 1.5), math.log(1 / 6 / 1.5)]  # both ratios are 1.5
    scalars = torch.tensor([[old_logp[0], 1.0, 2.0, 3.0], [old_logp[1], 1.0, -2.0, 3.0]], dtype=torch.float64)[None]
    coefs = torch.tensor([[0.2, 0.5, 0.1]], dtype=torch.float64)
    total, parts = ppo.loss(out, torch.tensor([[1, 4]]), scalars, coefs)
    policy_loss, value_loss = (-2.4 + 3.0) / 2, (0.5 * 1.9**2 + 0.5 * 1.8**2) / 2
    expected = [policy_loss, value_loss, math.log(6), -math.log(1.5), 0.5]
    assert parts[0].tolist() == pytest.approx(expected)
    assert total.item() == pytest.approx(policy_loss + 0.5 * value_loss - 0.1 * math.log(6))


def test_values_and_gradients_are_those_of_the_definition() -> None:
    act, scalars, coefs = minibatch((3, 200))
    gen = torch.Generator().manual_seed(8)
    start = 0.5 * torch.randn(3, 200, HEADS, generator=gen, dtype=torch.float64)
    weights = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    results = []
    for function in (fast_loss, ppo.loss):
        out = start.clone().requires_grad_()
        loss, parts = function(out, act, scalars, coefs)
        (loss * weights).sum().backward()
        results.append((loss.detach(), parts.detach(), out.grad))
    for ours, expected in zip(*results, strict=True):
        torch.testing.assert_close(ours, expected, rtol=0, atol=1e-12)
    assert 0.1 < results[0][1][:, 4].mean() < 0.6
    assert torch.equal(total_loss(results[0][1], coefs), results[0][0])
