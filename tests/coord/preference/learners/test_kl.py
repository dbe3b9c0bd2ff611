"""The KL penalty: values by hand, its gradient against the formula and against autograd, the controller by hand."""

from __future__ import annotations

import math

import pytest
import torch

from coord.errors import UserError
from coord.preference.learners.kl import Coefficient, KLConfig, divergence, log_ratio
from coord.run import config


def logits(seed: int, *shape: int) -> torch.Tensor:
    return 2 * torch.randn(*shape, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_divergence_by_hand() -> None:
    ours = torch.tensor([[0.75, 0.25], [0.5, 0.5]], dtype=torch.float64).log()
    theirs = torch.tensor([[0.5, 0.5], [0.5, 0.5]], dtype=torch.float64).log()
    expected = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    assert divergence(ours, theirs).tolist() == pytest.approx([expected, 0.0])
    assert divergence(ours + 3, theirs - 1).tolist() == pytest.approx([expected, 0.0])  # logits are up to a constant
    assert bool((divergence(logits(0, 50), logits(1, 50)) > 0).all())


def test_gradient_is_that_of_the_formula() -> None:
    ours, theirs = logits(0, 4).requires_grad_(), logits(1, 4)
    value = divergence(ours, theirs)
    (gradient,) = torch.autograd.grad(value.sum(), ours)
    p, q = ours.detach().softmax(-1), theirs.softmax(-1)
    torch.testing.assert_close(gradient, p * ((p / q).log() - value.detach()[:, None]))
    assert torch.autograd.gradcheck(lambda x: divergence(x, theirs), (ours,))


def test_the_penalty_has_the_divergence_as_its_mean_and_gradient() -> None:
    """Summed over all actions instead of drawn ones: E[ratio] = KL, and E[ratio grad log pi] = grad KL."""
    ours, theirs = logits(2, 3).requires_grad_(), logits(3, 3)
    logp = ours.log_softmax(-1)  # [3, 6]
    act = torch.arange(6).expand(3, 6)
    ratio = log_ratio(logp, theirs[:, None].expand(3, 6, 6), act).detach()  # [3, 6], one per action
    probs = logp.exp().detach()
    torch.testing.assert_close((probs * ratio).sum(-1), divergence(ours, theirs).detach())
    (by_score,) = torch.autograd.grad((probs * ratio * logp).sum(), ours)
    (exact,) = torch.autograd.grad(divergence(ours, theirs).sum(), ours)
    torch.testing.assert_close(by_score, exact)


def test_controller_by_hand() -> None:
    coef = Coefficient(KLConfig(coef=0.1, target=0.2, gain=0.1, bound=0.2), members=3)
    coef.update(torch.tensor([0.4, 0.19, 0.0]))  # errors 1 -> 0.2, -0.05, -1 -> -0.2
    assert coef.value.tolist() == pytest.approx([0.102, 0.0995, 0.098])
    again = Coefficient(coef.cfg, members=3)
    again.load_state_dict(coef.state_dict())
    for one in (coef, again):
        one.update(torch.tensor([0.2, 0.2, 0.2]))
    assert torch.equal(again.value, coef.value)
    assert coef.value.tolist() == pytest.approx([0.102, 0.0995, 0.098])


def test_beta_steers_the_divergence_to_its_target() -> None:
    """A policy whose divergence is 1 / (1 + 20 beta): beta settles at 0.2 for a target of 0.2."""
    coef = Coefficient(KLConfig(coef=0.05, target=0.2), members=1)
    for _ in range(400):
        coef.update(1 / (1 + 20 * coef.value))
    assert coef.value.item() == pytest.approx(0.2, rel=0.02)


def test_fixed_and_absent_penalties_stay() -> None:
    for cfg in (KLConfig(coef=0.3, adaptive=False), KLConfig(coef=0.0)):
        coef = Coefficient(cfg, members=2)
        coef.update(torch.tensor([5.0, 0.0]))
        assert coef.value.tolist() == pytest.approx([cfg.coef, cfg.coef])


@pytest.mark.parametrize("bad", [{"coef": -1.0}, {"target": 0.0}, {"gain": 10.0, "bound": 0.2}, {"bound": -0.1}])
def test_bad_values_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(UserError, match=next(iter(bad))):
        config.from_dict(KLConfig, bad)
