"""`coord theory` on few seeds and short horizons: its gradients, what it concludes, and that it repeats itself."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from coord.errors import UserError
from coord.run.cli import main
from coord.studies import theory

pytestmark = pytest.mark.usefixtures("one_thread")

HORIZONS = (32, 64, 128, 256)


@pytest.fixture(scope="module")
def result() -> dict:
    return theory.run_theory(6, HORIZONS, seed=0)


def test_the_outer_gradient_is_the_derivative_of_the_outer_loss() -> None:
    """Against autograd through a copy of the update, written out for both heads."""
    problem = theory.make_problem(3)
    gen = torch.Generator().manual_seed(4)
    state = theory._initial(problem, [gen, gen], arms=1)
    draw = theory._Draw(torch.randint(24, (2, 8), generator=gen), torch.randint(40, (2, 8), generator=gen))
    alpha = torch.tensor([[[0.3]], [[0.05]]], dtype=torch.float64)
    found = theory.outer_gradient(problem, state, draw, alpha)
    psi = state.psi.clone().requires_grad_()
    loss = torch.zeros((), dtype=torch.float64)
    for m in range(2):
        phi = problem.critic_features[draw.rows[m]]
        target = torch.tanh(problem.reward_features[draw.rows[m]] @ psi[m]) + problem.rest[draw.rows[m]]
        for head in range(2):
            w, b = state.critic["head.weight"][m, head, 0], state.critic["head.bias"][m, head, 0]
            error = 2 * (phi @ w + b - target) / 8
            w, b = w - alpha[m, 0, 0] * (error @ phi), b - alpha[m, 0, 0] * error.sum()
            values = problem.critic_features[problem.pairs[draw.pairs[m]]] @ w + b
            logp = torch.log_softmax(values, -1)
            label = problem.labels[draw.pairs[m]]
            loss = loss - (label * logp[:, 1] + (1 - label) * logp[:, 0]).mean()
    torch.testing.assert_close(found, torch.autograd.grad(loss, psi)[0], rtol=1e-10, atol=1e-15)
    assert found.norm() > 1e-4


def test_the_inner_gradient_is_the_derivative_of_the_regression() -> None:
    problem = theory.make_problem(5)
    gen = torch.Generator().manual_seed(6)
    state = theory._initial(problem, [gen], arms=1)
    draw = theory._Draw(torch.arange(24)[None], torch.arange(40)[None])
    critic = {k: v.clone().requires_grad_() for k, v in state.critic.items()}
    target = torch.tanh(problem.reward_features @ state.psi[0]) + problem.rest
    values = problem.critic_features @ critic["head.weight"][0, :, 0].T + critic["head.bias"][0, :, 0]
    (values - target[:, None]).square().mean(0).sum().backward()
    for name, slope in theory.inner_gradient(problem, state, draw).items():
        torch.testing.assert_close(slope, critic[name].grad, rtol=1e-10, atol=1e-15)


def test_stated_steps_meet_the_claimed_rate_and_would_do_so_without_learning(result: dict) -> None:
    arms = {name: arm["outer"]["exponent"] for name, arm in result["arms"].items()}
    assert arms["stated"] < -1.5
    assert -2.3 < arms["stated_frozen_reward"] < -1.7, "alpha = k / T alone gives T^-2"
    assert arms["constant_alpha"] < -0.3
    assert abs(arms["constant_alpha_frozen_reward"]) < 0.25, "without learning nothing shrinks the gradient"
    assert result["verdict"]["claim_1_holds_without_learning"]
    assert result["verdict"]["rate_with_constant_alpha_is_due_to_learning"]


def test_the_critic_converges_with_steps_whose_sum_diverges(result: dict) -> None:
    assert result["arms"]["decreasing_alpha"]["inner"]["exponent"] < -0.7
    assert result["verdict"]["claim_2_holds_with_decreasing_steps"]


def test_fit_finds_a_known_power_and_covers_it() -> None:
    gen = np.random.default_rng(0)
    horizons = (10, 100, 1000)
    curves = [3.0 * T**-0.7 * gen.lognormal(0, 0.2, size=(12, 1)) for T in horizons]
    found = theory.fit(horizons, curves)
    assert found["interval95"][0] < -0.7 < found["interval95"][1]
    exact = theory.fit(horizons, [np.full((4, 2), 3.0 * T**-0.7) for T in horizons])
    assert exact["exponent"] == pytest.approx(-0.7)
    assert exact["interval95"] == pytest.approx([-0.7, -0.7])


def test_the_same_seed_gives_the_same_figures_and_a_seed_does_not_depend_on_the_others() -> None:
    problem = theory.make_problem(0)
    first, again = (theory.simulate(problem, 16, [1, 2], 1.0) for _ in range(2))
    alone = theory.simulate(problem, 16, [2], 1.0)
    np.testing.assert_array_equal(first.outer, again.outer)
    np.testing.assert_allclose(first.inner[:, 1:], alone.inner, rtol=1e-12)


def test_the_command_writes_figures_and_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["theory", "seeds=2", "horizons=8,16,32", f"out={tmp_path}"]) == 0
    printed = capsys.readouterr().out
    written = json.loads((tmp_path / "theory.json").read_text())
    assert set(written["arms"]) == set(theory.ARMS)
    assert f"T^{written['arms']['stated']['outer']['exponent']:.2f}" in printed
    assert (tmp_path / "theory.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("seeds", "horizons", "named"), [(1, HORIZONS, "seeds=1"), (4, (8, 16), "horizons"), (4, (16, 8, 32), "horizons")]
)
def test_too_little_to_fit_is_one_line(seeds: int, horizons: tuple[int, ...], named: str) -> None:
    with pytest.raises(UserError, match=named):
        theory.run_theory(seeds, horizons)
