"""Do the two convergence theorems of Meta-Reward-Net say something about learning? An experiment on a small problem.

Claims (Liu et al. 2022, theorems 1 and 2; the analysis follows Shu et al. 2019). Let the outer loss be Lipschitz smooth
with constant L, let its gradient and those of reward and critic be bounded, and let the inner and outer step sizes be
alpha = min(1, k / T) and beta = min(1 / L, c / sqrt(T)) over T iterations. Then

1. min over t <= T of E|grad_psi L_outer(theta_hat)|^2 is O(1 / sqrt(T));
2. E|grad_theta J_Q(theta; psi)|^2 goes to 0.

The problem meets the assumptions: critic and reward are a linear and a tanh-linear function of bounded features of 24
state-action pairs, the inner loss regresses both critic heads on reward plus a fixed bootstrap, the outer loss is the
cross-entropy of noisy labels of the values of pairs. Every iteration draws its own batches. The gradients
that the theorems speak of are those of the full losses, measured exactly.

Arms (`ARMS`): the step sizes as stated; the same with a reward that never moves (beta = 0), which tells what of claim 1
is owed to learning, since grad_psi L_outer carries the factor alpha and k / T makes its square vanish like 1 / T^2 by
itself; a constant alpha, as the released code has it, with and without reward learning; and alpha_t = min(1, k / t),
whose sum diverges while that of its squares does not, which is what claim 2 needs: T steps of k / T add up to k.

Deviations: both claims bound a rate from above, so an experiment can refute but not prove them; the minimum is taken
over `CHECKS` evenly spaced iterations, which can only overstate it.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from coord import seeding
from coord.errors import UserError
from coord.files import atomic_write_figure
from coord.preference.methods.mrn.meta_gradient import CriticInnerStep, alignment
from coord.preference.methods.mrn.mrn import Rule, outer_loss
from coord.preference.methods.mrn.pairs import Outer

STATE_ACTIONS, FEATURES, PAIRS = 24, 6, 40
BATCH = 8  # state-action pairs and labelled pairs that an iteration draws
INNER_K = 4.0  # k of alpha
CONSTANT_ALPHA = 0.1
CHECKS = 64  # iterations at which the exact gradients are measured
CLAIMED_EXPONENT = -0.5
SLOWEST_FALL = -0.25  # a gradient that falls more slowly with T than this power is said to have reached a floor
RESAMPLES = 1000

# name -> (alpha, whether the reward learns)
ARMS: dict[str, tuple[str, bool]] = {
    "stated": ("k/T", True),
    "stated_frozen_reward": ("k/T", False),
    "constant_alpha": ("constant", True),
    "constant_alpha_frozen_reward": ("constant", False),
    "decreasing_alpha": ("k/t", True),
}


class Problem(NamedTuple):
    """What all seeds share; float64. A = `STATE_ACTIONS`, K = `PAIRS`, F = `FEATURES`."""

    critic_features: Tensor  # [A, F], rows of length 1
    reward_features: Tensor  # [A, F], rows of length 1
    rest: Tensor  # [A] bootstrap
    pairs: Tensor  # [K, 2] indices of state-action pairs
    labels: Tensor  # [K] probability that the second is better
    smoothness: float  # L of the outer loss by the parameters of the critic, summed over heads


class Gradients(NamedTuple):
    """Squared norms of the exact gradients, [arms, seeds, checks]."""

    outer: NDArray[np.float64]
    inner: NDArray[np.float64]


def make_problem(seed: int) -> Problem:
    """Random features and a random true value; some labels contradict it, so that no reward fits them all."""
    gen = seeding.torch_generator(seed, "theory", "problem")

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=gen, dtype=torch.float64)

    critic = torch.nn.functional.normalize(draw(STATE_ACTIONS, FEATURES), dim=-1)
    reward = torch.nn.functional.normalize(draw(STATE_ACTIONS, FEATURES), dim=-1)
    pairs = torch.stack([torch.randperm(STATE_ACTIONS, generator=gen)[:2] for _ in range(PAIRS)])
    value = critic @ draw(FEATURES)
    labels = torch.sigmoid(value[pairs[:, 1]] - value[pairs[:, 0]])
    labels = (torch.rand(PAIRS, generator=gen, dtype=torch.float64) < labels).to(torch.float64)
    gap = critic[pairs[:, 1]] - critic[pairs[:, 0]]
    smoothness = 0.25 * float(torch.linalg.eigvalsh(gap.T @ gap / PAIRS)[-1])
    return Problem(critic, reward, 0.3 * draw(STATE_ACTIONS), pairs, labels, smoothness)


# ---------------------------------------------------------------------------------------------- the iteration


class _Draw(NamedTuple):
    """What one iteration looks at, per member."""

    rows: Tensor  # [M, B] state-action pairs
    pairs: Tensor  # [M, J] labelled pairs


class _State(NamedTuple):
    """Parameters of all arms and seeds, arm by arm along the first axis, M = arms * seeds."""

    critic: dict[str, Tensor]
    psi: Tensor  # [M, F]


def _initial(problem: Problem, gens: Sequence[torch.Generator], arms: int) -> _State:
    """Small random parameters; a seed starts every arm from the same place."""

    def draw(*shape: int) -> Tensor:
        each = [0.3 * torch.randn(*shape, generator=gen, dtype=torch.float64) for gen in gens]
        return torch.stack(each).repeat(arms, *[1] * len(shape))

    critic = {"head.weight": draw(2, 1, FEATURES), "head.bias": draw(2, 1)}
    return _State(critic, draw(FEATURES))


def _inner(problem: Problem, state: _State, draw: _Draw, alpha: Tensor) -> CriticInnerStep:
    features = problem.critic_features[draw.rows]
    reward = torch.tanh((problem.reward_features[draw.rows] * state.psi[:, None]).sum(-1))
    return CriticInnerStep(features, torch.ones_like(features[..., :1]), reward + problem.rest[draw.rows], alpha)


def outer_gradient(problem: Problem, state: _State, draw: _Draw, alpha: Tensor) -> Tensor:
    """grad_psi L_outer(theta_hat) [M, F] on what was drawn; alpha [M, 1, 1]."""
    inner = _inner(problem, state, draw, alpha)
    rows = problem.critic_features[problem.pairs[draw.pairs].flatten(1)]
    labels = problem.labels[draw.pairs]
    outer = Outer(rows, torch.ones_like(rows[..., :1]), torch.zeros(()), 1.0, labels)
    loss = partial(outer_loss, outer=outer, rule=Rule())
    credit, _ = alignment(state.critic, inner, outer.rows, outer.pick, loss)
    slope = 1 - (inner.target - problem.rest[draw.rows]).square()  # of tanh
    weighted = (credit * (2.0 / credit.shape[1] * alpha[..., 0]) * slope).unsqueeze(-1)
    return (weighted * problem.reward_features[draw.rows]).sum(1)


def inner_gradient(problem: Problem, state: _State, draw: _Draw) -> dict[str, Tensor]:
    """grad_theta J_Q, name -> [M, 2, ...], on what was drawn."""
    inner = _inner(problem, state, draw, torch.ones(()))
    values = (inner.rows[:, None] @ state.critic["head.weight"].mT)[..., 0] + state.critic["head.bias"]
    error = 2.0 * (values - inner.target[:, None]) / values.shape[-1]  # [M, 2, B]
    return {"head.weight": error[:, :, None] @ inner.rows[:, None], "head.bias": error.sum(-1, keepdim=True)}


def _alphas(kinds: Sequence[str], iteration: int, horizon: int) -> list[float]:
    rules = {
        "k/T": min(1.0, INNER_K / horizon),
        "k/t": min(1.0, INNER_K / (iteration + 1)),
        "constant": CONSTANT_ALPHA,
    }
    return [rules[kind] for kind in kinds]


@torch.no_grad()
def simulate(problem: Problem, horizon: int, seeds: Sequence[int], beta: float) -> Gradients:
    """All arms and seeds for `horizon` iterations; exact squared gradients at evenly spaced ones, the last included."""
    gens = [seeding.torch_generator(seed, "theory", horizon) for seed in seeds]
    kinds, learns = zip(*ARMS.values(), strict=True)
    state = _initial(problem, gens, len(ARMS))
    rows = torch.stack([torch.randint(STATE_ACTIONS, (horizon, BATCH), generator=gen) for gen in gens])
    pairs = torch.stack([torch.randint(PAIRS, (horizon, BATCH), generator=gen) for gen in gens])
    betas = (beta * torch.tensor(learns, dtype=torch.float64)).repeat_interleave(len(seeds))[:, None]
    checks = set(np.linspace(0, horizon - 1, min(CHECKS, horizon)).astype(int).tolist())
    outer: list[Tensor] = []
    inner: list[Tensor] = []
    for t in range(horizon):
        alpha = torch.tensor(_alphas(kinds, t, horizon), dtype=torch.float64)
        alpha = alpha.repeat_interleave(len(seeds))[:, None, None]
        if t in checks:
            for found, norm in zip((outer, inner), _exact_norms(problem, state, alpha), strict=True):
                found.append(norm.unflatten(0, (len(ARMS), -1)))
        draw = _Draw(rows[:, t].repeat(len(ARMS), 1), pairs[:, t].repeat(len(ARMS), 1))
        state = state._replace(psi=state.psi - betas * outer_gradient(problem, state, draw, alpha))
        slopes = inner_gradient(problem, state, draw)
        steps = {"head.weight": alpha[..., None], "head.bias": alpha}
        state = state._replace(critic={k: v - steps[k] * slopes[k] for k, v in state.critic.items()})
    return Gradients(torch.stack(outer, -1).numpy(), torch.stack(inner, -1).numpy())


def _exact_norms(problem: Problem, state: _State, alpha: Tensor) -> tuple[Tensor, Tensor]:
    """|grad L_outer|^2 and |grad J_Q|^2 of the full losses, [M] each."""
    members = len(state.psi)
    everything = _Draw(torch.arange(STATE_ACTIONS).expand(members, -1), torch.arange(PAIRS).expand(members, -1))
    slopes = inner_gradient(problem, state, everything).values()
    outer = outer_gradient(problem, state, everything, alpha).square().sum(-1)
    return outer, torch.stack([slope.square().flatten(1).sum(-1) for slope in slopes]).sum(0)


# ------------------------------------------------------------------------------------------------- the result


def exponent(horizons: Sequence[int], values: NDArray[np.float64]) -> float:
    """Slope of log(values) against log(horizons), least squares."""
    return float(np.polyfit(np.log(horizons), np.log(values), 1)[0])


def fit(horizons: Sequence[int], curves: Sequence[NDArray[np.float64]], seed: int = 0) -> dict[str, Any]:
    """Minimum over time of the mean over seeds, its exponent in T, and a 95 % bootstrap interval over seeds.

    curves: one [seeds, checks] per horizon.
    """
    rng = seeding.rng(seed, "theory", "bootstrap")
    count = len(curves[0])
    samples = []
    for _ in range(RESAMPLES):
        picked = rng.integers(count, size=count)
        samples.append(exponent(horizons, np.array([curve[picked].mean(0).min() for curve in curves])))
    smallest = np.array([curve.mean(0).min() for curve in curves])
    low, high = np.quantile(samples, [0.025, 0.975])
    return {
        "T": list(horizons),
        "value": smallest.tolist(),
        "exponent": exponent(horizons, smallest),
        "interval95": [float(low), float(high)],
    }


def verdict(arms: dict[str, Any]) -> dict[str, bool]:
    """What the intervals say. A claim about a rate is refuted where even the low end of the interval is above it."""
    low = {name: arm["outer"]["interval95"][0] for name, arm in arms.items()}
    high = {name: arm["outer"]["interval95"][1] for name, arm in arms.items()}
    return {
        "claim_1_holds": low["stated"] <= CLAIMED_EXPONENT,
        "claim_1_holds_without_learning": low["stated_frozen_reward"] <= CLAIMED_EXPONENT,
        "rate_with_constant_alpha_holds": low["constant_alpha"] <= CLAIMED_EXPONENT,
        "rate_with_constant_alpha_is_due_to_learning": high["constant_alpha"] < low["constant_alpha_frozen_reward"],
        "claim_2_holds_with_stated_steps": _vanishes(arms["stated"]["inner"]),
        "claim_2_holds_with_decreasing_steps": _vanishes(arms["decreasing_alpha"]["inner"]),
    }


def _vanishes(fitted: dict[str, Any]) -> bool:
    """Whether the values still fall over the larger half of the horizons, where a floor would show."""
    half = (len(fitted["T"]) - 1) // 2
    return exponent(fitted["T"][half:], np.array(fitted["value"][half:])) < SLOWEST_FALL


def run_theory(seeds: int, horizons: Sequence[int], seed: int = 0) -> dict[str, Any]:
    """The experiment as plain JSON: per arm, both gradients against T; and in words what follows for the claims.

    seeds: independent repetitions, run together. horizons: increasing T, each above k.

    Raises:
        UserError: fewer than two seeds or than three horizons, or horizons that do not increase from above k.
    """
    if seeds < 2:
        raise UserError(f"seeds={seeds}: an interval over seeds needs at least 2")
    if len(horizons) < 3 or horizons[0] <= INNER_K or any(b <= a for a, b in itertools.pairwise(horizons)):
        raise UserError(f"horizons={list(horizons)}: needs at least 3 that increase, all above {INNER_K:.0f}")
    problem = make_problem(seed)
    c = float(np.sqrt(horizons[0])) / problem.smoothness  # the largest c that the theorem allows for every T
    roots = [seeding.derive(seed, "theory", "repetition", i) for i in range(seeds)]
    found = [simulate(problem, T, roots, min(1 / problem.smoothness, c / T**0.5)) for T in horizons]
    arms = {
        name: {
            "outer": fit(horizons, [g.outer[i] for g in found], seed),
            "inner": fit(horizons, [g.inner[i][:, -1:] for g in found], seed),
        }
        for i, name in enumerate(ARMS)
    }
    constants = {"L": problem.smoothness, "c": c, "k": INNER_K, "constant_alpha": CONSTANT_ALPHA}
    return {"seeds": seeds, "constants": constants, "arms": arms, "verdict": verdict(arms)}


def summary(result: dict[str, Any]) -> str:
    """The outcome in one line."""
    exponents = {name: f"T^{arm['outer']['exponent']:.2f}" for name, arm in result["arms"].items()}
    inner = {name: result["arms"][name]["inner"]["value"] for name in ("stated", "decreasing_alpha")}
    return (
        f"min |grad L_outer|^2 with the stated steps: {exponents['stated']} (claim: T^-0.5 or faster), "
        f"but {exponents['stated_frozen_reward']} when the reward never learns; "
        f"constant alpha: {exponents['constant_alpha']}, without learning "
        f"{exponents['constant_alpha_frozen_reward']}; "
        f"|grad J_Q|^2 at the end: {inner['stated'][0]:.1e} -> {inner['stated'][-1]:.1e} with alpha = k/T, "
        f"{inner['decreasing_alpha'][0]:.1e} -> {inner['decreasing_alpha'][-1]:.1e} with k/t"
    )


def draw_figure(result: dict[str, Any], path: str | Path) -> None:
    """Write both gradients against T as a PNG, log-log, with the claimed slope.

    Raises:
        UserError: the file cannot be written.
    """
    import matplotlib.figure as figures

    figure = figures.Figure(figsize=(10, 4.2), layout="constrained")
    titles = {"outer": r"$\min_t\ E|\nabla_\psi L_{outer}|^2$", "inner": r"$E|\nabla_\theta J_Q|^2$ at $t = T$"}
    for axes, (which, title) in zip(figure.subplots(1, 2), titles.items(), strict=True):
        for (name, arm), marker in zip(result["arms"].items(), "os^vD", strict=True):
            fitted = arm[which]
            label = f"{name.replace('_', ' ')}: {fitted['exponent']:.2f}"
            axes.loglog(fitted["T"], fitted["value"], marker=marker, label=label)
        if which == "outer":
            horizons = np.array(fitted["T"], float)
            top = result["arms"]["stated"]["outer"]["value"][0]
            axes.loglog(horizons, top * (horizons / horizons[0]) ** CLAIMED_EXPONENT, "k--", label="claimed: -0.5")
        axes.set(title=title, xlabel="iterations T")
        axes.legend(fontsize=7)
    atomic_write_figure(path, figure)
