"""The meta gradient against a hand table, second-order autograd, central differences and a plain slow version."""

from __future__ import annotations

import itertools
from functools import partial

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from coord.nets import mlps
from coord.preference.methods.mrn.meta_gradient import CriticInnerStep, alignment
from coord.preference.methods.mrn.mrn import Rule, outer_loss, reward_gradient, second_order_gradient
from coord.preference.methods.mrn.pairs import Outer

LR = 0.05
DOUBLE = torch.float64
CASES = list(itertools.product(("both", "min", "mean"), (1, 5), (1, 2), (1.0, 0.0, 3.0)))


def one_hot(rows: tuple[int, int], width: int, gen: torch.Generator) -> Tensor:
    return F.one_hot(torch.randint(width, rows, generator=gen), width).to(DOUBLE)


class Problem:
    """A random critic, batch and labelled pairs in float64; the reward is tanh(rows . psi), psi [M, F]."""

    def __init__(self, *, outputs: int, ends: int, members: int = 2, seed: int = 0, norm: bool = False) -> None:
        gen = torch.Generator().manual_seed(seed)
        batch, pairs, inputs = 12, 4, 3

        def draw(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=gen, dtype=DOUBLE)

        table = mlps.shapes(inputs, (7, 6), outputs, layer_norm=norm)
        nets = [[mlps.init(table, gen, dtype=DOUBLE) for _ in range(2)] for _ in range(members)]
        self.critic = mlps.stack([mlps.stack(heads) for heads in nets])
        self.critic = {name: tensor + 0.1 * draw(*tensor.shape) for name, tensor in self.critic.items()}
        self.psi, self.rest = draw(members, inputs), draw(members, batch)
        self.rows, self.pick = draw(members, batch, inputs), one_hot((members, batch), outputs, gen)
        rows = 2 * pairs * ends
        self.outer = Outer(
            rows=draw(members, rows, inputs),
            pick=torch.softmax(draw(members, rows, outputs), -1),
            entropy=draw(members, pairs, 2),
            discount=0.8,
            target=torch.rand(members, pairs, generator=gen, dtype=DOUBLE),
        )

    def reward(self, psi: Tensor) -> Tensor:
        return torch.tanh((self.rows * psi[:, None]).sum(-1))

    def inner(self, psi: Tensor) -> CriticInnerStep:
        return CriticInnerStep(self.rows, self.pick, self.reward(psi) + self.rest, LR)

    def fast(self, rule: Rule) -> tuple[Tensor, Tensor]:
        return self._pull_back(*reward_gradient(self.critic, self.inner(self.psi), self.outer, rule))

    def by_graph(self, rule: Rule, steps: int = 1) -> tuple[Tensor, Tensor]:
        return self._pull_back(*second_order_gradient(self.critic, self.inner(self.psi), self.outer, rule, steps))

    def _pull_back(self, cotangent: Tensor, loss: Tensor) -> tuple[Tensor, Tensor]:
        psi = self.psi.clone().requires_grad_()
        return torch.autograd.grad(self.reward(psi), psi, cotangent)[0], loss

    def slow_loss(self, psi: Tensor, rule: Rule, steps: int = 1) -> Tensor:
        """Outer loss [M] written out member by member and head by head; standardised temperatures are left out."""
        return torch.stack([self._slow_member(m, psi[m], rule, steps) for m in range(len(psi))])

    def _slow_member(self, m: int, psi: Tensor, rule: Rule, steps: int) -> Tensor:
        values = []
        target = torch.tanh(self.rows[m] @ psi) + self.rest[m]
        for head in range(2):
            critic = {name: tensor[m, head].clone() for name, tensor in self.critic.items()}
            for _ in range(steps):
                critic = {name: tensor.detach().requires_grad_() for name, tensor in critic.items()}
                chosen = (self._net(critic, self.rows[m]) * self.pick[m]).sum(-1)
                F.mse_loss(chosen, target).backward()
                critic = {name: tensor - LR * tensor.grad for name, tensor in critic.items()}
            values.append((self._net(critic, self.outer.rows[m]) * self.outer.pick[m]).sum(-1).detach())
        joined = {"both": values, "min": [torch.minimum(*values)], "mean": [sum(values) / 2]}[rule.heads]
        return sum((self._slow_cross_entropy(m, head, rule.temperature) for head in joined), torch.zeros(()))

    def _slow_cross_entropy(self, m: int, values: Tensor, temperature: float) -> Tensor:
        pairs, total = self.outer.target.shape[1], torch.zeros((), dtype=DOUBLE)
        for k in range(pairs):
            score = values[2 * k : 2 * k + 2]
            if len(values) == 4 * pairs:
                last = values[2 * pairs + 2 * k : 2 * pairs + 2 * k + 2]
                score = score - self.outer.discount * (last + self.outer.entropy[m, k])
            wanted = torch.stack([1 - self.outer.target[m, k], self.outer.target[m, k]])
            total = total + F.cross_entropy(score / temperature, wanted)
        return total / pairs

    @staticmethod
    def _net(critic: dict[str, Tensor], x: Tensor) -> Tensor:
        for layer in range(2):
            x = F.linear(x, critic[f"dense{layer}.weight"], critic[f"dense{layer}.bias"])
            if f"norm{layer}.weight" in critic:
                x = F.layer_norm(x, x.shape[-1:], critic[f"norm{layer}.weight"], critic[f"norm{layer}.bias"])
            x = F.relu(x)
        return F.linear(x, critic["head.weight"], critic["head.bias"])

    def central_differences(self, rule: Rule, steps: int = 1, width: float = 1e-5) -> Tensor:
        found = torch.zeros_like(self.psi)
        for m, i in itertools.product(*map(range, self.psi.shape)):
            sides = []
            for sign in (1, -1):
                psi = self.psi.clone()
                psi[m, i] += sign * width
                sides.append(self.slow_loss(psi, rule, steps).sum())
            found[m, i] = (sides[0] - sides[1]) / (2 * width)
        return found


@pytest.mark.parametrize(("heads", "outputs", "ends", "temperature"), CASES)
def test_equals_second_order_autograd(heads: str, outputs: int, ends: int, temperature: float) -> None:
    problem, rule = Problem(outputs=outputs, ends=ends), Rule(heads, temperature)
    fast, loss = problem.fast(rule)
    slow, expected = problem.by_graph(rule)
    assert (fast - slow).norm() <= 1e-9 * slow.norm()
    assert slow.norm(dim=1).min() > 1e-4, "nothing was compared"
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize(("heads", "outputs", "ends"), list(itertools.product(("both", "min", "mean"), (1, 5), (1, 2))))
def test_equals_central_differences_of_a_plain_version(heads: str, outputs: int, ends: int) -> None:
    problem, rule = Problem(outputs=outputs, ends=ends, seed=1), Rule(heads, 2.0)
    fast, loss = problem.fast(rule)
    torch.testing.assert_close(loss, problem.slow_loss(problem.psi, rule), rtol=1e-10, atol=0)
    torch.testing.assert_close(fast, problem.central_differences(rule), rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize(("steps", "norm"), [(2, False), (3, False), (1, True)])
def test_the_graph_takes_more_steps_and_normalised_critics(steps: int, norm: bool) -> None:
    problem, rule = Problem(outputs=1, ends=1, seed=2, norm=norm), Rule()
    assert ("norm0.weight" in problem.critic) is norm
    found, loss = problem.by_graph(rule, steps)
    torch.testing.assert_close(loss, problem.slow_loss(problem.psi, rule, steps), rtol=1e-10, atol=0)
    torch.testing.assert_close(found, problem.central_differences(rule, steps), rtol=1e-5, atol=1e-9)
    cotangent, _ = reward_gradient(problem.critic, problem.inner(problem.psi), problem.outer, rule, steps)
    torch.testing.assert_close(problem._pull_back(cotangent, loss)[0], found, rtol=1e-12, atol=0)


def test_a_standardised_temperature_ignores_the_scale_of_the_scores() -> None:
    outer = Problem(outputs=1, ends=1).outer
    values = torch.randn(2, 2, 8, dtype=DOUBLE, generator=torch.Generator().manual_seed(3))
    rule = Rule(temperature=0.0)
    torch.testing.assert_close(outer_loss(values, outer, rule), outer_loss(100 * values, outer, rule))
    assert not torch.allclose(outer_loss(values, outer, Rule()), outer_loss(100 * values, outer, Rule()))


def test_members_do_not_mix() -> None:
    both = Problem(outputs=1, ends=1, members=3)
    gradient, _ = both.fast(Rule())
    critic = {name: tensor[1:2] for name, tensor in both.critic.items()}
    inner = CriticInnerStep(*(part[1:2] for part in both.inner(both.psi)[:3]), LR)
    parts = {name: getattr(both.outer, name)[1:2] for name in ("rows", "pick", "entropy", "target")}
    cotangent, _ = reward_gradient(critic, inner, both.outer._replace(**parts), Rule())
    psi = both.psi.clone().requires_grad_()
    alone = torch.autograd.grad(both.reward(psi)[1], psi, cotangent[0])[0]
    torch.testing.assert_close(gradient[1], alone[1], rtol=1e-12, atol=0)


def test_by_hand() -> None:
    """A critic w.x with w = 0 and one row per batch, so that every number can be worked on paper.

    Row x = 2 with target 3, lr 0.1: error -3, so the step adds 0.1 * 2 * 3 * (2, 1) = (1.2, 0.6) to weight and bias of
    each head. The pair starts at 1 and 2: values 1.8 and 3.0, margin 1.2. With label 0 (the first is better) the slope
    of the loss by the margin is sigmoid(1.2) = 0.768525, and
    c = 2 heads * 0.768525 * ((2*2 + 1) - (2*1 + 1)) = 3.074100: a higher reward there would raise the loss.
    """
    critic = {"head.weight": torch.zeros(1, 2, 1, 1), "head.bias": torch.zeros(1, 2, 1)}
    inner = CriticInnerStep(torch.tensor([[[2.0]]]), torch.ones(1, 1, 1), torch.tensor([[3.0]]), 0.1)
    outer = Outer(
        rows=torch.tensor([[[1.0], [2.0]]]),
        pick=torch.ones(1, 2, 1),
        entropy=torch.zeros(1, 1, 2),
        discount=0.0,
        target=torch.tensor([[0.0]]),
    )
    credit, loss = alignment(critic, inner, outer.rows, outer.pick, partial(outer_loss, outer=outer, rule=Rule()))
    torch.testing.assert_close(credit, torch.tensor([[3.0741]]), rtol=1e-5, atol=0)
    torch.testing.assert_close(loss, torch.tensor([2 * 1.463282]), rtol=1e-5, atol=0)
    torch.testing.assert_close(reward_gradient(critic, inner, outer, Rule())[0], 0.2 * credit)
