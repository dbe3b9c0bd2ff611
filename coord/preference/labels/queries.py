"""Which pairs to ask about: the selectors of B-Pref (Lee et al. 2021, section 4.3) and QPA (Hu et al. 2024).

A selector sees C candidate pairs, the probability P(second better) that each ensemble member gives them, and the
observations of the pairs that have been labelled; it returns the rows to ask. `choose` does the whole: it draws the
candidates from the pool, computes only what the selector needs, and takes the first session uniformly.

k-center distances are Euclidean over the flattened observations of both segments, actions left out, unscaled as
published; `standardise` divides every dimension by its spread over the candidates, because otherwise those of large
scale decide alone. All distances come from one matrix product, and the greedy choice only updates minima.

Deviations from B-Pref: without any labelled pair the k-center choice starts at the candidate farthest from their mean
(the released code fails); QPA takes the last complete episodes and never indexes before the first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from coord.errors import UserError, unknown
from coord.limits import Count, CountOrNone
from coord.preference.labels.segments import Queries, SegmentPool
from coord.preference.reward.model import RewardConfig

Floats = NDArray[np.floating]
Rows = NDArray[np.int64]


# ---------------------------------------------------------------------------------------------------- scores


def disagreement(prob: Floats) -> Floats:
    """Population standard deviation over the ensemble of prob [E, C], [C]."""
    return prob.std(axis=0)


def entropy(prob: Floats) -> Floats:
    """Mean over the ensemble of the entropy of each answer, in nats, [C]; prob [E, C]."""
    both = np.stack([prob, 1.0 - prob])
    return -(both * np.log(np.where(both > 0, both, 1.0))).sum(0).mean(0)


def top(score: Floats, count: int) -> Rows:
    """Rows of the `count` largest scores, largest first; of equal ones the first."""
    return np.argsort(-score, kind="stable")[:count]


def k_center(features: Floats, anchors: Floats, count: int) -> Rows:
    """Greedy k-center: `count` times the row of features [C, D] farthest from all anchors [N, D] and rows taken so far.

    Raises: ValueError if there are fewer than `count` rows.
    """
    if count > len(features):
        raise ValueError(f"cannot take {count} of {len(features)} candidates")
    rows = torch.from_numpy(np.concatenate([features, anchors]))
    rows = rows - rows[: len(features)].mean(0)  # near the origin, where products lose fewest digits
    square = rows.square().sum(1)
    candidates = rows[: len(features)]
    apart = torch.addmm(square[None], candidates, rows.T, alpha=-2.0) + square[: len(features), None]  # [C, C + N]
    nearest = apart[:, len(features) :].amin(1) if len(anchors) else square[: len(features)].clone()
    taken = []
    for _ in range(count):
        taken.append(int(nearest.argmax()))
        nearest = torch.minimum(nearest, apart[:, taken[-1]])
        nearest[taken] = -torch.inf  # twins of it may be taken later, itself not
    return np.array(taken, np.int64)


# ------------------------------------------------------------------------------------------------- selectors


@dataclass(frozen=True)
class QueryCandidates:
    """What selectors choose from."""

    obs: Floats  # [C, 2, L, O]
    prob: Callable[[], Floats]  # P(second better) by each ensemble member [E, C], computed when called
    anchors: Floats  # [N, 2, L, O] observations of the pairs labelled so far
    standardise: bool = False

    def features(self) -> tuple[Floats, Floats]:
        """Flattened observations of the candidates [C, D] and anchors [N, D], scaled as configured."""
        ours = self.obs.reshape(len(self.obs), -1)
        theirs = self.anchors.reshape(len(self.anchors), ours.shape[1])
        if not self.standardise:
            return ours, theirs
        spread = ours.std(axis=0)
        scale = np.where(spread > 0, spread, 1.0).astype(ours.dtype)
        return ours / scale, theirs / scale


def _uniform(candidates: QueryCandidates, count: int) -> Rows:
    return np.arange(count)


def _disagreement(candidates: QueryCandidates, count: int) -> Rows:
    return top(disagreement(candidates.prob()), count)


def _entropy(candidates: QueryCandidates, count: int) -> Rows:
    return top(entropy(candidates.prob()), count)


def _k_center(candidates: QueryCandidates, count: int) -> Rows:
    return k_center(*candidates.features(), count)


def _k_center_of(score: Callable[[Floats], Floats], candidates: QueryCandidates, count: int) -> Rows:
    """k-center among the better half by score."""
    half = top(score(candidates.prob()), max(count, len(candidates.obs) // 2))
    features, anchors = candidates.features()
    return half[k_center(features[half], anchors, count)]


def _k_center_disagreement(candidates: QueryCandidates, count: int) -> Rows:
    return _k_center_of(disagreement, candidates, count)


def _k_center_entropy(candidates: QueryCandidates, count: int) -> Rows:
    return _k_center_of(entropy, candidates, count)


Selector = Callable[[QueryCandidates, int], Rows]
SELECTORS: dict[str, Selector] = {
    "uniform": _uniform,
    "disagreement": _disagreement,
    "entropy": _entropy,
    "kcenter": _k_center,
    "kcenter_disagreement": _k_center_disagreement,
    "kcenter_entropy": _k_center_entropy,
    "onpolicy": _uniform,  # QPA: uniform, but from the last episodes only
}
DRAWS_AS_ASKED = ("uniform", "onpolicy")  # they need no spare candidates
NEEDS_ENSEMBLE = ("disagreement", "kcenter_disagreement")


@dataclass(frozen=True, kw_only=True)
class QueryConfig:
    """Which pairs of segments are asked about."""

    # uniform | disagreement | entropy | kcenter | kcenter_disagreement | kcenter_entropy | onpolicy
    selector: str = "disagreement"
    length: Count = 50  # steps of a segment that are judged, 25..200
    candidates: Count = 10  # pairs drawn per query asked, for the selectors that choose
    # only from that many newest complete episodes (QPA 10..60); 0: from all that are kept
    last_episodes: CountOrNone = 0
    standardise: bool = False  # k-center: divide every observation dimension by its spread (published: no)
    running: bool = False  # whether segments may come from episodes that have not ended
    same_partner: bool = False  # env=overcooked: both segments of a pair are from games with the same partner

    def __post_init__(self) -> None:
        if self.selector not in SELECTORS:
            raise unknown("query selector", self.selector, SELECTORS)
        if self.length < 1 or self.candidates < 1 or self.last_episodes < 0:
            raise UserError("queries need length >= 1, candidates >= 1 and last_episodes >= 0")
        if self.selector == "onpolicy" and not self.last_episodes:
            raise UserError("query selector 'onpolicy' needs last_episodes >= 1 (QPA: 10)")


def check(query: QueryConfig, reward: RewardConfig) -> None:
    """Raise UserError where the parts of a configuration cannot work together."""
    if query.selector in NEEDS_ENSEMBLE and reward.ensemble < 2:
        raise UserError(
            f"query selector '{query.selector}' compares the members of an ensemble, but reward.ensemble="
            f"{reward.ensemble}; use an ensemble of at least 2, or the selector uniform, entropy or kcenter"
        )
    stored = reward.stored_length(query.length)
    if reward.crops and reward.crop_max > stored:
        raise UserError(
            f"reward.crop_max={reward.crop_max} is longer than the stored segments: query.length={query.length} and "
            f"reward.crop_margin={reward.crop_margin} on either side make {stored}"
        )


@dataclass(frozen=True)
class Chooser:
    """Draws and selects queries of one member.

    prob: P(second better) of queries by each ensemble member, [E, C], as `RewardModel.prob` gives it.
    """

    config: QueryConfig
    pool: SegmentPool
    prob: Callable[[Queries], Floats]
    margin: int = 0  # extra steps on either side of the judged middle; see RewardConfig.crop_margin
    anchors: Floats = field(default_factory=lambda: np.zeros((0, 0), np.float32))  # [N, 2, L, O], middle only

    def draw(self, member: int, count: int, rng: np.random.Generator) -> Queries:
        """Uniform pairs of the stored length from the episodes that the configuration allows."""
        config = self.config
        length = config.length + 2 * self.margin
        last, same = config.last_episodes or None, config.same_partner
        return self.pool.sample_pairs(member, count, length, rng, last=last, running=config.running, same_group=same)

    def choose(self, member: int, count: int, rng: np.random.Generator, *, first: bool) -> Queries:
        """`count` queries of the stored length; first: the first session, which is uniform whatever the selector.

        Raises:
            UserError: no episode is long enough yet.
        """
        name = "uniform" if first else self.config.selector
        spare = 1 if name in DRAWS_AS_ASKED else self.config.candidates
        drawn = self.draw(member, count * spare, rng)
        middle = drawn.centre(self.config.length)
        seen = QueryCandidates(middle.obs, lambda: self.prob(middle), self.anchors, self.config.standardise)
        return drawn.select(SELECTORS[name](seen, count))
