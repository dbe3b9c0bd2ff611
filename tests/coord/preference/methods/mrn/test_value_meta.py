"""The bilevel gradient through PPO's value targets: second-order autograd, central differences, and whose it is."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from coord.errors import UserError
from coord.nets import mlps
from coord.nets.population import Arch, PopulationNet
from coord.preference.methods.mrn import value_meta as vm
from coord.preference.methods.mrn.mrn import Rule, outer_loss
from coord.preference.reward.model import RewardConfig, RewardModel
from coord.returns import gae

T, M, N, K, GAMMA, LAMBDA = 7, 2, 3, 5, 0.97, 0.9
DOUBLE = torch.float64
CASES = list(itertools.product(vm.SCORES, (1.0, 0.0)))


class Problem:
    """A value function, a rollout with episodes that end on the way, a reward model and labelled pairs, in float64."""

    def __init__(self, score: str, temperature: float = 1.0, *, seed: int = 0) -> None:
        self.gen = torch.Generator().manual_seed(seed)
        self.rule = Rule(temperature=temperature)
        nets = [[mlps.init(mlps.shapes(4, (6, 5), 1), self.gen, dtype=DOUBLE)] for _ in range(M)]
        self.value = mlps.stack([mlps.stack(heads) for heads in nets])
        self.value = {name: tensor + 0.2 * self.draw(*tensor.shape) for name, tensor in self.value.items()}
        self.model = RewardModel.create(RewardConfig(ensemble=2, hidden=(3,)), 4, 2, [1, 2], dtype=DOUBLE)
        self.obs, self.act = self.draw(T, M, N, 4), self.draw(T, M, N, 2)
        self.ended = torch.rand(T, M, N, generator=self.gen) < 0.25
        self.following = self.draw(T, M, N)
        ends = vm.Labelled(
            self.draw(M, K, 2, 4), self.draw(M, K, 2, 4), 9, torch.rand(M, K, generator=self.gen, dtype=DOUBLE)
        )
        self.pairs = vm.outer(ends, score, GAMMA)

    def draw(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self.gen, dtype=DOUBLE)

    def rewards(self) -> Tensor:
        """[T, M, N] as the model predicts them."""
        rows = (x.transpose(0, 1).flatten(1, 2) for x in (self.obs, self.act))
        return self.model.reward(*rows).unflatten(1, (T, N)).transpose(0, 1)

    def targets(self, rew: Tensor) -> Tensor:
        val = self._values(self.value, self.obs)
        return val + gae(rew=rew, val=val, next_val=self.following, ended=self.ended, gamma=GAMMA, gae_lambda=LAMBDA)

    def fast(self) -> tuple[Tensor, Tensor]:
        """Gradient by the rewards [T, M, N], and the loss [M]."""
        inner = vm.ValueInnerStep(self.obs, self.targets(self.rewards()), self.ended, 0.05, GAMMA * LAMBDA)
        return vm.reward_gradient(self.value, inner, self.pairs, self.rule)

    def loss(self, rew: Tensor, *, graph: bool) -> Tensor:
        """The outer loss [M] for rewards rew, all of it by autograd."""
        theta = {name: tensor.clone().requires_grad_() for name, tensor in self.value.items()}
        target = self.targets(rew)
        error = (self._values(theta, self.obs) - target).square().mean((0, 2)).sum()
        slopes = torch.autograd.grad(error, list(theta.values()), create_graph=graph)
        theta = {name: theta[name] - 0.05 * slope for name, slope in zip(theta, slopes, strict=True)}
        values = mlps.apply(theta, self.pairs.rows[:, None]).squeeze(-1)
        return outer_loss(values, self.pairs, self.rule)

    @staticmethod
    def _values(value: mlps.Params, obs: Tensor) -> Tensor:
        rows = obs.transpose(0, 1).flatten(1, 2)[:, None]
        return mlps.apply(value, rows)[:, 0, :, 0].unflatten(1, (T, N)).transpose(0, 1)


@pytest.mark.parametrize(("score", "temperature"), CASES)
def test_equals_second_order_autograd(score: str, temperature: float) -> None:
    problem = Problem(score, temperature)
    rew = problem.rewards().requires_grad_()
    expected = problem.loss(rew, graph=True)
    (slow,) = torch.autograd.grad(expected.sum(), rew)
    fast, loss = problem.fast()
    assert slow.abs().min() > 0
    assert (fast - slow).norm() <= 1e-9 * slow.norm()
    assert torch.allclose(loss, expected.detach(), rtol=1e-12)


@pytest.mark.parametrize("score", vm.SCORES)
def test_equals_central_differences_by_the_parameters_of_the_reward_model(score: str) -> None:
    problem = Problem(score)
    fast, _ = problem.fast()
    rows = [x.transpose(0, 1).flatten(1, 2) for x in (problem.obs, problem.act)]
    named = problem.model.vjp(*rows, fast.transpose(0, 1).flatten(1))
    found = {name: torch.zeros_like(tensor) for name, tensor in named.items()}
    width, compared = 1e-6, 0
    for name, param in problem.model.params.items():
        for place in np.ndindex(*param.shape):
            sides = []
            for sign in (1, -1):
                param[place] += sign * width
                sides.append(problem.loss(problem.rewards(), graph=False).sum().item())
                param[place] -= sign * width
            found[name][place] = (sides[0] - sides[1]) / (2 * width)
            compared += 1
    exact, near = (torch.cat([tensor.flatten() for tensor in part.values()]) for part in (named, found))
    assert compared == problem.model.flat.numel()
    assert (exact - near).norm() <= 1e-5 * exact.norm()
    assert all(bool((tensor != 0).any()) for tensor in named.values())


def test_every_parameter_of_the_reward_model_receives_gradient() -> None:
    problem = Problem("segment")
    rows = (x.transpose(0, 1).flatten(1, 2) for x in (problem.obs, problem.act))
    grads = problem.model.vjp(*rows, problem.fast()[0].transpose(0, 1).flatten(1))
    assert all(bool((grad != 0).all()) for grad in grads.values())


def test_members_do_not_mix() -> None:
    problem = Problem("segment")
    before, _ = problem.fast()
    problem.value = {name: tensor.clone() for name, tensor in problem.value.items()}
    for tensor in problem.value.values():
        tensor[1] += 0.1
    after, _ = problem.fast()
    assert torch.equal(before[:, 0], after[:, 0])
    assert not torch.equal(before[:, 1], after[:, 1])


def test_along_time_by_hand() -> None:
    grad = torch.tensor([1.0, 2.0, 4.0, 8.0])
    ended = torch.tensor([False, True, False, False])
    assert vm.along_time(grad, ended, 0.5).tolist() == [1.0, 2.5, 4.0, 10.0]


def test_along_time_is_the_transpose_of_gae() -> None:
    gen = torch.Generator().manual_seed(3)
    rew, cotangent = (torch.randn(9, 2, 4, generator=gen, dtype=DOUBLE) for _ in range(2))
    ended = torch.rand(9, 2, 4, generator=gen) < 0.3
    nothing = torch.zeros_like(rew)
    adv = gae(rew=rew, val=nothing, next_val=nothing, ended=ended, gamma=GAMMA, gae_lambda=LAMBDA)
    pulled = vm.along_time(cotangent, ended, GAMMA * LAMBDA)
    assert torch.allclose((adv * cotangent).sum(), (rew * pulled).sum(), rtol=1e-12)


def test_the_dense_layers_are_the_value_of_the_network() -> None:
    gen, facts = torch.Generator().manual_seed(0), torch.tensor([0, 2, 3, 5, 6, 8])
    compared = 0
    for hidden in ((64, 64), (128, 32, 16)):
        net = PopulationNet.create(Arch(inputs=9, hidden=hidden), [torch.Generator().manual_seed(m) for m in range(3)])
        holds = torch.rand(3, 40, 6, generator=gen) < 0.5
        index = torch.where(holds, facts, 9).sort(-1).values.to(torch.int16)  # padding last
        with torch.no_grad():
            expected = net(index)[1]
            found = mlps.apply(vm.value_network(net, facts), holds.float()[:, None])[:, 0, :, 0]
        assert expected.std() > 0.1
        assert torch.allclose(found, expected, atol=1e-5)
        compared += expected.numel()
    assert compared == 240


@pytest.mark.parametrize(
    "arch",
    [Arch(kind="cnn", board=(5, 4)), Arch(kind="mlp_features", inputs=9), Arch(inputs=9, memory=8)],
    ids=["cnn", "features", "memory"],
)
def test_other_networks_are_refused_in_one_line(arch: Any) -> None:
    with pytest.raises(UserError, match="mlp_index") as caught:
        vm.check(arch)
    assert "\n" not in str(caught.value)
