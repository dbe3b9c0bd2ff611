"""Population Adam against torch's own Adam run on each member alone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from coord.nets.optim import FusedAdam, PopulationAdam

SHAPES = {"weight": (5, 4), "bias": (5,), "filter": (2, 3, 3, 3)}
MAX_NORM = 0.5


def population(members: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> nn.ParameterDict:
    gen = torch.Generator().manual_seed(seed)
    return nn.ParameterDict(
        {k: nn.Parameter(torch.randn(members, *shape, generator=gen, dtype=dtype)) for k, shape in SHAPES.items()}
    )


def gradients(module: nn.ParameterDict, step: int) -> dict[str, Tensor]:
    """Small for member 0, so that it is never clipped; large for the others."""
    gen = torch.Generator().manual_seed(100 + step)
    grads = {k: torch.randn(p.shape, generator=gen, dtype=p.dtype) for k, p in module.items()}
    for grad in grads.values():
        grad[0] *= 0.01
    return grads


def take_steps(module: nn.ParameterDict, optim: PopulationAdam, lr: Tensor, steps: range) -> list[Tensor]:
    norms = []
    for step in steps:
        for name, grad in gradients(module, step).items():
            module[name].grad = grad
        norms.append(optim.step(lr, MAX_NORM))
    return norms


def test_equals_adam_of_each_member_alone() -> None:
    members, steps = 3, 6
    lr = torch.tensor([1e-3, 5e-2, 1e-2], dtype=torch.float64)
    ours = population(members)
    optim = PopulationAdam(ours)
    norms = take_steps(ours, optim, lr, range(steps))
    compared = 0
    for m in range(members):
        alone = {k: nn.Parameter(p[m].detach().clone()) for k, p in population(members).items()}
        theirs = torch.optim.Adam(alone.values(), lr=lr[m].item(), eps=optim.eps, betas=optim.betas)
        for step in range(steps):
            for name, grad in gradients(ours, step).items():
                alone[name].grad = grad[m].clone()
            norm = nn.utils.clip_grad_norm_(alone.values(), MAX_NORM)
            torch.testing.assert_close(norms[step][m], norm)
            assert (norm < MAX_NORM) == (m == 0)
            theirs.step()
        for name, param in alone.items():
            # torch divides by norm + 1e-6 where we divide by norm + 1e-8
            torch.testing.assert_close(ours[name][m].detach(), param.detach(), rtol=1e-6, atol=1e-8)
            compared += 1
    assert compared == members * len(SHAPES)


def test_a_member_without_learning_rate_stays_and_takes_nothing_from_the_others() -> None:
    module = population(2)
    before = {k: p.detach().clone() for k, p in module.items()}
    take_steps(module, PopulationAdam(module), torch.tensor([0.0, 0.1], dtype=torch.float64), range(2))
    for name, param in module.items():
        assert torch.equal(param[0], before[name][0])
        assert not torch.equal(param[1], before[name][1])


def test_step_clears_gradients_and_leaves_parameters_without_any() -> None:
    module = population(2, torch.float32)
    optim = PopulationAdam(module)
    bias = module["bias"].detach().clone()
    module["weight"].grad = torch.ones_like(module["weight"])
    norm = optim.step(torch.tensor([0.1, 0.1]), MAX_NORM)
    assert norm.tolist() == pytest.approx([20**0.5] * 2)
    assert module["weight"].grad is None
    assert torch.equal(module["bias"], bias)


def test_state_round_trip_goes_on_with_the_same_bits() -> None:
    lr = torch.tensor([0.01, 0.02])
    whole, first = population(2, torch.float32), population(2, torch.float32)
    take_steps(whole, PopulationAdam(whole), lr, range(6))
    optim = PopulationAdam(first)
    take_steps(first, optim, lr, range(3))
    state = {k: v.clone() for k, v in optim.state_dict().items()}

    second = population(2, torch.float32, seed=9)
    second.load_state_dict(first.state_dict())
    resumed = PopulationAdam(second)
    resumed.load_state_dict(state)
    assert resumed.count == 3
    take_steps(second, resumed, lr, range(3, 6))
    for name, param in whole.items():
        assert torch.equal(param, second[name])


def test_a_state_that_lacks_a_tensor_is_refused() -> None:
    optim = PopulationAdam(population(2))
    state = optim.state_dict()
    del state["var.bias"]
    with pytest.raises(KeyError, match=r"var\.bias"):
        optim.load_state_dict(state)


def test_copy_member_takes_parameters_and_moments() -> None:
    module = population(3)
    optim = PopulationAdam(module)
    lr = torch.full((3,), 0.01, dtype=torch.float64)
    take_steps(module, optim, lr, range(2))
    third = {k: p[2].detach().clone() for k, p in module.items()}
    optim.copy_member(source=0, target=1)
    assert_members_equal(module, optim)
    for name, param in module.items():
        assert torch.equal(param[2], third[name])
    for name, grad in gradients(module, 7).items():
        grad[1] = grad[0]
        module[name].grad = grad
    optim.step(lr, MAX_NORM)
    assert_members_equal(module, optim)


def assert_members_equal(module: nn.ParameterDict, optim: PopulationAdam) -> None:
    """Members 0 and 1 have the same parameters and moments."""
    for name, param in module.items():
        for tensor in (param, optim.mean[name], optim.var[name]):
            assert torch.equal(tensor[0], tensor[1])
            assert not torch.equal(tensor[0], tensor[2])


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_fused_adam_equals_torch_and_forgets_on_reset(weight_decay: float) -> None:
    ours, theirs = (dict(population(2).items()) for _ in range(2))
    optim = FusedAdam({k: p.detach() for k, p in ours.items()}, weight_decay=weight_decay)
    for _ in range(2):  # the second time after a reset, against a fresh optimiser
        reference = torch.optim.AdamW(theirs.values(), lr=0.01, weight_decay=weight_decay)
        for step in range(4):
            grads = gradients(population(2), step)
            optim.step(grads, 0.01)
            for name, grad in grads.items():
                theirs[name].grad = grad
            reference.step()
        for name, param in theirs.items():
            torch.testing.assert_close(ours[name].detach(), param.detach(), rtol=1e-10, atol=1e-12)
        assert optim.tensors()["count"] == 4
        optim.reset()
    assert not any(tensor.any() for tensor in optim.tensors().values())
