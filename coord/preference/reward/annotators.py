"""Who answers how well: a reliability and a tie threshold per annotator, and groups that want different things.

The predicted returns of a pair differ by g (second minus first). Annotator a with reliability b (inverse temperature,
negative for one who answers the opposite) and tie threshold c >= 0 says, with s(x) = 1 / (1 + exp(-x)),

    second  with probability  s(b g - c)
    first   with probability  s(-b g - c)
    equal   with the rest     s(b g + c) s(c - b g) (1 - exp(-2 c))

the Bradley-Terry model with ties of Rao and Kupper (1967; their theta is exp(c)) and an inverse temperature per judge
(for teachers of known rationality: Barnett et al. 2023). With probability `lapse` an answer is instead one of the three
by chance, so that a slip of the finger on an easy pair does not cost a careful person their reputation. A soft target
t counts as t answers "second" and 1 - t answers "first"; only .5 is a tie.

Given the gaps, b and c have a strictly concave posterior, which damped Newton steps climb; lapses are latent indicators
of an EM around them, and so is the group of an annotator in the mixture (one reward per group; Chakraborty et al. 2024
fit such mixtures of rewards by EM): no iteration lowers the penalised likelihood. Priors: b ~ N(1, 1), in a mixture
Gamma(2, 1), which is positive, since who wants the opposite belongs to another group; c ~ Gamma(2, 4); shares of the
groups Dirichlet(2).

What cannot be told from answers is the scale, because b g is all that is seen, and the sign of everything at once.
Convention: the root mean square of the reliabilities over answers is 1 (`normalised`), and the prior's mean decides
the sign: most people mean what they say.

Shapes: n answers, A annotators, K groups (1 unless a mixture).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import numpy as np
from annotated_types import Ge, Le
from numpy.typing import NDArray

from coord.limits import Count, ShareBelowOne

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.int64]
EQUAL = 0.5
OUTCOMES = 3  # second, first, equal
THRESHOLD_SHAPE, THRESHOLD_RATE = 2.0, 4.0
NEWTON_STEPS, LAPSE_ROUNDS, GROUP_ROUNDS = 50, 20, 100
COMPONENTS = 32  # directions of the features that the linear mixture looks at
RIDGE = 1.0
NODES = 61  # of the quadrature in `soft_targets`


# ------------------------------------------------------------------------------------------ configuration


@dataclass(frozen=True, kw_only=True)
class PooledConfig:
    """Every answer counts the same, whoever gave it; no fields of its own."""


@dataclass(frozen=True, kw_only=True)
class ReliabilityConfig:
    """One reward, a reliability and a tie threshold per annotator."""

    rounds: Count = 3  # times that the reward model and then the annotators are fitted in a session, 2..5
    lapse: ShareBelowOne = 0.02  # share of answers that are slips and say nothing, 0...1


@dataclass(frozen=True, kw_only=True)
class MixtureConfig:
    """Groups of annotators that want different things, each with a reward; the policy learns from the largest."""

    groups: Annotated[int, Ge(2), Le(1000)] = 2  # rewards to find, 2..4
    rounds: Count = 3  # times that the reward models and then the annotators are fitted in a session, 2..5
    lapse: ShareBelowOne = 0.02  # share of answers that are slips and say nothing, 0...1
    restarts: Count = 10  # random starts of the linear mixture that finds the groups first


CrowdConfig = PooledConfig | ReliabilityConfig | MixtureConfig


# ---------------------------------------------------------------------------------------------- one answer


def _sigmoid(x: Floats) -> Floats:
    return 0.5 * (1.0 + np.tanh(0.5 * x))


def _softplus(x: Floats) -> Floats:
    return np.logaddexp(0.0, x)


def log_prob(gap: Floats, target: Floats, reliability: Floats | float, threshold: Floats | float) -> Floats:
    """Log-probability of answers, broadcast over all arguments; without lapses."""
    s, c = reliability * gap, threshold
    second, first = -_softplus(c - s), -_softplus(c + s)
    equal = -_softplus(-s - c) - _softplus(s - c) + np.log(-np.expm1(-2.0 * c))
    return np.where(target == EQUAL, equal, target * second + (1.0 - target) * first)


class Slopes(NamedTuple):
    """Derivatives of `log_prob` by x = reliability * gap and by the threshold c."""

    x: Floats
    c: Floats
    xx: Floats
    xc: Floats
    cc: Floats


def slopes(gap: Floats, target: Floats, reliability: Floats, threshold: Floats) -> Slopes:
    """First and second derivatives, broadcast like `log_prob`."""
    s, c = reliability * gap, threshold
    up, down = _sigmoid(c - s), _sigmoid(c + s)  # of "second" and "first": 1 minus what they would be with -c
    curve_up, curve_down = up * (1.0 - up), down * (1.0 - down)
    tie = target == EQUAL
    t, u = np.where(tie, 1.0, target), np.where(tie, 1.0, 1.0 - target)  # weights of the curvatures
    room = np.expm1(2.0 * c)
    return Slopes(
        np.where(tie, up - down, target * up - (1.0 - target) * down),
        np.where(tie, 2.0 - up - down + 2.0 / room, -target * up - (1.0 - target) * down),
        -t * curve_up - u * curve_down,
        t * curve_up - u * curve_down,
        -t * curve_up - u * curve_down - tie * 4.0 * (room + 1.0) / room**2,
    )


# ---------------------------------------------------------------------------------------------- annotators


class People(NamedTuple):
    """What is known of A annotators in each of K groups; `weight` of each answer [n, K]."""

    reliability: Floats  # [A, K]
    threshold: Floats  # [A, K]
    reliability_sd: Floats  # [A, K] standard deviation of the posterior (Laplace), given the gaps
    threshold_sd: Floats  # [A, K]
    group: Floats  # [A, K] probability of each group
    share: Floats  # [K] of the annotators
    objective: float  # penalised log-likelihood of all answers
    weight: Floats  # [n, K] probability that the answer was no lapse


def fit_annotators(
    gap: Floats,
    target: Floats,
    annotator: Ints,
    count: int,
    *,
    lapse: float = 0.0,
) -> People:
    """The most probable reliabilities and thresholds of `count` annotators, and their groups, given the gaps.

    gap [n, K], target [n], annotator [n] (< count); with K > 1 reliabilities are positive.
    """
    groups = gap.shape[1]
    shape = (count, groups)
    answers = _Answers(gap, target[:, None], annotator, np.arange(count)[:, None] == annotator, groups > 1)
    theta: Floats = np.stack([np.ones(shape), np.full(shape, (THRESHOLD_SHAPE - 1) / THRESHOLD_RATE)])
    weight: Floats = np.ones(gap.shape)
    for _ in range(LAPSE_ROUNDS if lapse else 1):
        theta = _climb(answers, theta, weight)
        before, weight = weight, answers.weight(theta, lapse)
        if np.abs(weight - before).max(initial=0.0) < 1e-4:
            break
    evidence = answers.evidence(theta, lapse)
    share, group, objective = fit_groups(evidence, np.full(groups, 1 / groups))
    sd = _deviations(answers.derivatives(theta, weight))
    return People(theta[0], theta[1], sd[0], sd[1], group, share, objective, weight)


def fit_groups(evidence: Floats, share: Floats) -> tuple[Floats, Floats, float]:
    """EM for the shares of the groups: shares [K], memberships [A, K], penalised log-likelihood.

    evidence [A, K]: log-probability of each annotator's answers in each group.
    """
    for _ in range(GROUP_ROUNDS):
        group = memberships(evidence, share)
        before, share = share, (group.sum(0) + 1.0) / (len(group) + len(share))
        if np.abs(share - before).max() < 1e-10:
            break
    objective = np.logaddexp.reduce(evidence + np.log(share), axis=1).sum() + np.log(share).sum()
    return share, memberships(evidence, share), float(objective)


def memberships(evidence: Floats, share: Floats) -> Floats:
    """[A, K] probability of each group given log-probabilities [A, K] and shares [K]."""
    joint = evidence + np.log(share)
    return np.exp(joint - np.logaddexp.reduce(joint, axis=1, keepdims=True))


def normalised(people: People, annotator: Ints) -> tuple[People, Floats]:
    """The same people in units in which the root mean square of the reliabilities over answers is 1; those units [K].

    The gaps in these units are the old ones times the second result.
    """
    mass = people.group[annotator]  # [n, K]
    square = (mass * people.reliability[annotator] ** 2).sum(0) / np.maximum(mass.sum(0), 1e-12)
    scale = np.sqrt(np.where(square > 0, square, 1.0))
    scaled = (values / scale for values in people[:4])
    return people._replace(**dict(zip(People._fields[:4], scaled, strict=True))), scale


class _Answers(NamedTuple):
    """The data of a fit and what is summed over it, [A, K] each."""

    gap: Floats  # [n, K]
    target: Floats  # [n, 1]
    annotator: Ints  # [n]
    own: NDArray[Any]  # [A, n] bool, whose answer it is
    positive: bool  # reliabilities must be

    def log_prob(self, theta: Floats) -> Floats:
        """[n, K] without lapses."""
        return log_prob(self.gap, self.target, theta[0][self.annotator], theta[1][self.annotator])

    def prior(self, theta: Floats) -> Floats:
        """Log-density of theta [2, A, K] up to a constant; -inf where not allowed."""
        b, c = theta
        with np.errstate(divide="ignore", invalid="ignore"):
            of_b = np.where(b > 0, np.log(b) - b, -np.inf) if self.positive else -0.5 * (b - 1.0) ** 2
            of_c = np.where(c > 0, (THRESHOLD_SHAPE - 1) * np.log(c) - THRESHOLD_RATE * c, -np.inf)
        return of_b + of_c

    def value(self, theta: Floats, weight: Floats) -> Floats:
        """What Newton's steps climb: the posterior of the answers that were no lapses."""
        prior = self.prior(theta)
        inside = np.where(np.isfinite(prior), theta, 1.0)
        return prior + self.own @ (weight * self.log_prob(inside))

    def weight(self, theta: Floats, lapse: float) -> Floats:
        """[n, K] probability that an answer was no lapse."""
        if not lapse:
            return np.ones(self.gap.shape)
        meant = (1.0 - lapse) * np.exp(self.log_prob(theta))
        return meant / (meant + lapse / OUTCOMES)

    def evidence(self, theta: Floats, lapse: float) -> Floats:
        """Log-probability of each annotator's answers, lapses included, and of their traits."""
        said = np.log((1.0 - lapse) * np.exp(self.log_prob(theta)) + lapse / OUTCOMES) if lapse else None
        return self.own @ (self.log_prob(theta) if said is None else said) + self.prior(theta)

    def derivatives(self, theta: Floats, weight: Floats) -> tuple[Floats, ...]:
        """d/db, d/dc, d2/db2, d2/dbdc, d2/dc2 of `value`."""
        b, c = theta
        at = slopes(self.gap, self.target, b[self.annotator], c[self.annotator])
        by = [at.x * self.gap, at.c, at.xx * self.gap**2, at.xc * self.gap, at.cc]
        sums = [self.own @ (weight * part) for part in by]
        sums[0] += 1.0 / b - 1.0 if self.positive else 1.0 - b
        sums[2] -= 1.0 / b**2 if self.positive else 1.0
        sums[1] += (THRESHOLD_SHAPE - 1) / c - THRESHOLD_RATE
        sums[4] -= (THRESHOLD_SHAPE - 1) / c**2
        return tuple(sums)


def _climb(answers: _Answers, theta: Floats, weight: Floats) -> Floats:
    """Newton's method for every annotator and group at once; a step is halved until it does not lead down."""
    value = answers.value(theta, weight)
    for _ in range(NEWTON_STEPS):
        by_b, by_c, bb, bc, cc = answers.derivatives(theta, weight)
        det = bb * cc - bc**2
        step = np.stack([bc * by_c - cc * by_b, bc * by_b - bb * by_c]) / det
        size = np.ones(value.shape)
        for _ in range(40):
            found = answers.value(theta + size * step, weight)
            worse = ~(found >= value)
            if not worse.any():
                break
            size = np.where(worse, 0.5 * size, size)
        size = np.where(worse, 0.0, size)  # rounding: no better place within reach
        theta, value = theta + size * step, np.where(worse, value, found)
        if np.abs(size * step).max() < 1e-9:
            break
    return theta


def _deviations(derivatives: tuple[Floats, ...]) -> Floats:
    """[2, A, K] standard deviations of reliability and threshold from the curvature."""
    _, _, bb, bc, cc = derivatives
    return np.sqrt(np.stack([-cc, -bb]) / (bb * cc - bc**2))


# ------------------------------------------------------------------------------------------ what they mean


def soft_targets(
    people: People, target: Floats, annotator: Ints, query: Ints, spread: float, *, others_only: bool = False
) -> Floats:
    """[n] probability that a perfect annotator (reliability 1, no ties) of the first group calls the second better.

    All that annotators said about a query is weighed by how reliable they are; gaps are N(0, spread^2) before
    anybody has spoken. query [n]: answers about the same one share a number; others_only: leaves out the answer
    itself, and gives nan where nobody else has spoken.
    """
    x, mass = np.polynomial.hermite_e.hermegauss(NODES)
    gaps = spread * x
    b, c = (part[annotator, 0][:, None] for part in (people.reliability, people.threshold))
    said = log_prob(gaps[None], target[:, None], b, c) * people.group[annotator, :1]  # [n, nodes]
    _, place, times = np.unique(query, return_inverse=True, return_counts=True)
    total = np.zeros((len(times), NODES))
    np.add.at(total, place, said)
    logs = total[place] - (said if others_only else 0.0) + np.log(mass)
    prob = np.exp(logs - logs.max(1, keepdims=True))
    found = prob @ _sigmoid(gaps) / prob.sum(1)
    return np.where(times[place] > 1, found, np.nan) if others_only else found


def majority(target: Floats, query: Ints) -> tuple[Floats, Ints]:
    """What most say about each query (1, 0, or .5 where as many say one as the other), and the queries in order."""
    queries, place = np.unique(query, return_inverse=True)
    votes = np.zeros(len(queries))
    np.add.at(votes, place, np.sign(target - EQUAL))
    return 0.5 + 0.5 * np.sign(votes), queries


# ----------------------------------------------------------------------------------------- a linear mixture


class LinearMixture(NamedTuple):
    """Groups of annotators by a linear reward each; the largest group first."""

    group: Floats  # [A, K] memberships
    weights: Floats  # [K, D] reward of the (reduced) features
    objective: float  # penalised log-likelihood


def linear_groups(
    features: Floats, target: Floats, annotator: Ints, count: int, groups: int, rng: np.random.Generator, restarts: int
) -> LinearMixture:
    """Finds groups by EM on linear Bradley-Terry rewards, the best of several random starts.

    features [n, F]: difference of the two segments. This is where the networks of a mixture start from: groups that
    start alike stay alike.
    """
    reduced = _components(features)
    own = np.arange(count)[:, None] == annotator
    starts = (rng.dirichlet(np.full(groups, 0.5), size=count) for _ in range(restarts))
    best = max((linear_em(reduced, target, own, start) for start in starts), key=lambda found: found.objective)
    order = np.argsort(-(own.sum(1) @ best.group), kind="stable")
    return LinearMixture(best.group[:, order], best.weights[order], best.objective)


def linear_em(features: Floats, target: Floats, own: NDArray[Any], group: Floats, rounds: int = 30) -> LinearMixture:
    """EM from memberships `group` [A, K]; features [n, D], target [n], own [A, n] whose answer each is."""
    weights = np.zeros((group.shape[1], features.shape[1]))
    objective = -np.inf
    for _ in range(rounds):
        mass = own.T @ group  # [n, K]
        weights = np.stack([_logistic(features, target, mass[:, k], w) for k, w in enumerate(weights)])
        gap = features @ weights.T
        said = own @ (target[:, None] * gap - _softplus(gap))
        _, group, likelihood = fit_groups(said, (group.sum(0) + 1.0) / (len(group) + group.shape[1]))
        before, objective = objective, likelihood - 0.5 * RIDGE * float((weights**2).sum())
        if objective - before < 1e-6:
            break
    return LinearMixture(group, weights, objective)


def _logistic(features: Floats, target: Floats, weight: Floats, start: Floats) -> Floats:
    """Ridge-penalised logistic regression by damped Newton steps, [D]."""

    def value(w: Floats) -> float:
        gap = features @ w
        return float(weight @ (target * gap - _softplus(gap)) - 0.5 * RIDGE * w @ w)

    w = start
    for _ in range(NEWTON_STEPS):
        prob = _sigmoid(features @ w)
        slope = features.T @ (weight * (target - prob)) - RIDGE * w
        curve = (features.T * (weight * prob * (1.0 - prob))) @ features + RIDGE * np.eye(len(w))
        step = np.linalg.solve(curve, slope)
        size = next((f for f in 0.5 ** np.arange(20) if value(w + f * step) >= value(w)), 0.0)
        w = w + size * step
        if np.abs(size * step).max(initial=0.0) < 1e-6:
            break
    return w


def _components(features: Floats) -> Floats:
    """The largest principal components of features [n, F], which are scaled to one first, [n, at most 32].

    Differences of two segments have no mean of their own, so none is taken away.
    """
    spread = np.sqrt((features**2).mean(0))
    scaled = features[:, spread > 1e-9] / spread[spread > 1e-9]
    left, size, _ = np.linalg.svd(scaled, full_matrices=False)
    parts = left[:, :COMPONENTS] * size[:COMPONENTS]
    return parts / np.sqrt(max(1e-12, float((parts**2).mean() * parts.shape[1]))) if parts.size else parts


def aligned(group: Floats, known: Floats) -> tuple[int, ...]:
    """The order of the columns of `group` [A, K] that agrees best with `known` [A, K]."""
    orders = itertools.permutations(range(group.shape[1]))
    return max(orders, key=lambda order: float((group[:, list(order)] * known).sum()))


def index(names: Sequence[str]) -> tuple[list[str], Ints]:
    """The different names in order of their first appearance, and each name's place among them."""
    places = {name: i for i, name in enumerate(dict.fromkeys(names))}
    return list(places), np.array([places[name] for name in names], np.int64)


# --------------------------------------------------------------------------------------------- in words


WEAK = 1 / 3  # |reliability| up to which somebody is careless, in units of the crowd's root mean square
SURE_SD = 0.4  # standard deviation up to which that can be said
Z95 = 1.96


def kind(reliability: float, sd: float) -> str:
    """What to call an annotator: reliable, careless, adversarial, or unclear (too few answers).

    Reliable and adversarial people are on one side of zero with their whole 95 % interval.
    """
    if abs(reliability) <= WEAK:
        return "careless" if sd <= SURE_SD else "unclear"
    if abs(reliability) <= Z95 * sd:
        return "unclear"
    return "reliable" if reliability > 0 else "adversarial"
