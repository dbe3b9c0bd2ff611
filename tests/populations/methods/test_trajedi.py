"""TrajeDi's divergence against slow sums and its gradient against an enumeration; members come to differ."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from coord.algos import ppo
from populations.methods import trajedi
from populations.methods.trajedi import TrajeDiConfig
from populations.training import Setup, Training

TINY = {"num_envs": 8, "rollout_len": 25, "network": "mlp_features", "hidden": (16,), "num_minibatches": 2}


def training(alpha: float, updates: int = 4) -> Training:
    algo = ppo.PPOConfig(total_steps=updates * 200, **TINY)
    setup = Setup(algo=algo, layout="cramped_room", horizon=25, members=3, name="trajedi")
    return trajedi.make(TrajeDiConfig(alpha=alpha), setup)


def slow_jsd(taken: np.ndarray, gamma: float, ended: np.ndarray) -> float:
    """The definition, one trajectory and tick at a time; taken [M', T, M, R], ended [T, M, R]."""
    members, steps, _, rows = taken.shape
    values = []
    for i, r in itertools.product(range(members), range(rows)):
        episode = np.concatenate([[0], np.cumsum(ended[:-1, i, r])])
        for t in range(steps):
            near = [(s, gamma ** abs(t - s)) for s in range(steps) if episode[s] == episode[t]]
            delta = [sum(w * taken[j, s, i, r] for s, w in near) for j in range(members)]
            values.append(delta[i] - math.log(np.mean(np.exp(delta))))
    return float(np.mean(values))


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0])
def test_the_divergence_is_that_of_the_paper(gamma: float) -> None:
    gen = torch.Generator().manual_seed(0)
    taken = torch.randn(3, 7, 3, 2, generator=gen, dtype=torch.float64) - 2
    ended = torch.zeros(7, 3, 2, dtype=torch.bool)
    ended[3, 0, 1] = ended[6, 2, 0] = ended[0, 1, 1] = True
    found, _ = trajedi.divergence(taken, trajedi.kernel(ended, gamma).double())
    assert float(found) == pytest.approx(slow_jsd(taken.numpy(), gamma, ended.numpy()))


@pytest.mark.parametrize(("gamma", "steps"), [(0.0, 1), (0.0, 3), (0.5, 3), (1.0, 3)])
def test_the_gradient_is_that_of_the_expectation(gamma: float, steps: int) -> None:
    """Two members without memory, two actions: the divergence over all trajectories, differentiated by autograd."""
    logits = torch.tensor([[0.3, -0.4], [-0.2, 0.9]], dtype=torch.float64, requires_grad=True)
    logp = logits.log_softmax(-1)
    expected, sampled = torch.zeros(2, dtype=torch.float64)
    every = list(itertools.product((0, 1), repeat=steps))
    weight = trajedi.kernel(torch.zeros(steps, 2, 1, dtype=torch.bool), gamma).double()
    for first, second in itertools.product(every, every):
        act = torch.tensor([first, second]).T  # [T, M]
        taken = logp[:, act][..., None]  # [M', T, M, 1]
        chance = sum(logp[m, act[t, m]] for t in range(steps) for m in range(2)).exp()
        expected = expected + chance * jsd_with_graph(taken, weight)
        sampled = sampled + chance.detach() * trajedi.divergence(taken, weight)[1]
    (true,) = torch.autograd.grad(expected, logits, retain_graph=True)
    (ours,) = torch.autograd.grad(sampled, logits)
    assert true.abs().max() > 0.02
    torch.testing.assert_close(ours, true)


def test_the_baseline_of_other_rows_takes_nothing_from_the_gradient() -> None:
    """Two rows of a single action: the mean over all pairs of actions is what one row gives."""
    logits = torch.tensor([[0.3, -0.4], [-0.2, 0.9]], dtype=torch.float64, requires_grad=True)
    grads = []
    for rows in (1, 2):
        logp = logits.log_softmax(-1)
        weight = torch.ones(2, rows, 1, 1, dtype=torch.float64)
        total = torch.zeros((), dtype=torch.float64)
        for acts in itertools.product((0, 1), repeat=2 * rows):
            act = torch.tensor(acts).view(1, 2, rows)
            chance = sum(logp[m, act[0, m, r]] for m in range(2) for r in range(rows)).exp().detach()
            total = total + chance * trajedi.divergence(logp[:, act], weight)[1]
        grads.append(torch.autograd.grad(total, logits)[0])
    torch.testing.assert_close(grads[0], grads[1])


def jsd_with_graph(taken: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    delta = torch.einsum("mrts,jsmr->jtmr", weight, taken)
    own = torch.arange(taken.shape[0])
    return (delta[own, :, own].transpose(0, 1) - (delta.logsumexp(0) - math.log(taken.shape[0]))).mean()


def final_jsd(alpha: float) -> float:
    made = training(alpha, updates=25)
    seen: list[float] = []
    made.run(made.state, made.env, ppo.Hooks(on_update=lambda state, metrics: seen.append(metrics["method/jsd"])))
    assert np.isfinite(seen).all()
    return float(np.mean(seen[-3:]))


@pytest.mark.learn
def test_members_come_to_differ() -> None:
    plain, diverse = final_jsd(0.0), final_jsd(1.0)
    assert diverse > plain + 0.1, (plain, diverse)
    assert diverse < math.log(3) + 1e-6


def test_a_resume_is_exact() -> None:
    whole, first, second = (training(0.5) for _ in range(3))
    whole.run(whole.state, whole.env, ppo.Hooks())
    first.run(first.state, first.env, ppo.Hooks(should_stop=lambda state: state.update_step == 2))
    second.state.load_state_dict(first.state.state_dict())
    second.env.set_state(first.env.get_state())
    second.extra.load_state_dict(first.extra.state_dict())
    second.run(second.state, second.env, ppo.Hooks())
    ours, theirs = second.state.state_dict(), whole.state.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert {agent.card.checkpoint for agent in second.agents()} == {"init", "mid", "final"}
