"""Who answers queries. The scripted teachers are those of B-Pref (Lee et al. 2021, section 3.1); a person, or a file
of earlier answers, follows the same protocol.

A teacher looks at the true rewards r_t of both segments (H steps each) and acts in this order: it skips a pair when
the better return is at most the skip threshold; it calls a pair equal when the returns differ by less than the equal
threshold; else it prefers by the discounted sums of gamma^(H-1-t) r_t, noisily with P(second) = sigmoid(beta * their
difference) or, with beta = -1, always the larger; and it flips its answer with probability eps_mistake. Thresholds
are eps times the margin, the mean true return of recent episodes scaled to the length of a segment.

Deviations from B-Pref: thresholds are eps * margin in every session (the released code multiplies by eps twice after
the first one); a session in which everything is skipped is an answer like any other; exactly equal sums may be
called equal (`ties`) where B-Pref prefers the first segment.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from coord import seeding
from coord.errors import UserError, unknown
from coord.limits import NotNegative, Real, Share
from coord.preference.labels.segments import Queries

FIRST, SECOND, EQUAL, SKIPPED = 0.0, 1.0, 0.5, float("nan")
TIES = ("first", "equal")
WANTS = ("return", "shaped", "utility")


class Answers(NamedTuple):
    """Answers to n queries."""

    target: NDArray[np.float64]  # [n] probability that the second segment is better; 0.5 equal, nan skipped

    @property
    def labelled(self) -> int:
        """How many were answered, that is not skipped."""
        return int((~np.isnan(self.target)).sum())


class Answerer(Protocol):
    """Anything that can say which of two segments is better."""

    def answer(self, queries: Queries) -> Answers:
        """One answer per query, in their order."""
        ...


@dataclass(frozen=True)
class Traits:
    """What makes a teacher; the meaning is in the module's description."""

    beta: float = -1.0
    gamma: float = 1.0
    eps_mistake: float = 0.0
    eps_skip: float = 0.0
    eps_equal: float = 0.0


KINDS: dict[str, Traits] = {
    "oracle": Traits(),
    "stochastic": Traits(beta=1.0),
    "myopic": Traits(gamma=0.9),
    "mistake": Traits(eps_mistake=0.1),
    "skip": Traits(eps_skip=0.1),
    "equal": Traits(eps_equal=0.1),
}


@dataclass(frozen=True, kw_only=True)
class TeacherConfig:
    """Which scripted teacher; a trait left at None is that of the kind in B-Pref.

    `wants` and what follows say what it judges by in a kitchen, see `coord.preference.tasks.kitchen_teachers`.
    """

    kind: str = "oracle"  # oracle | stochastic | myopic | mistake | skip | equal; sets what is null below
    beta: Real | None = None  # inverse temperature of its choice, > 0; -1: always the better one
    gamma: Share | None = None  # how much it discounts earlier steps of a segment, 0..1
    eps_mistake: Share | None = None  # probability of a flipped answer, 0..1
    eps_skip: NotNegative | None = None  # skips pairs whose better return is at most this share of the mean, .1
    # calls pairs equal whose returns differ by less than this share of the mean, .1
    eps_equal: NotNegative | None = None
    ties: str = "first"  # exactly equal returns: first (B-Pref prefers the first segment) | equal
    # of the ego in a kitchen: return (of the team) | shaped (return and shaping reward) | utility
    wants: str = "return"
    shaped_weight: Real = 1.0  # wants=shaped: of the ego's shaping reward beside the return
    utility: str = "tidy_counters"  # wants=utility: tidy_counters | no_collisions | own_plating
    # wants=utility: own points per event of the ego instead, {collision: -5, delivery: 10}
    weights: Mapping[str, Real] = field(default_factory=dict)
    task_weight: Real = 1.0  # with own weights: of the return beside them

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise unknown("teacher (kind)", self.kind, KINDS)
        if self.ties not in TIES:
            raise unknown("ties", self.ties, TIES)
        if self.wants not in WANTS:
            raise unknown("wants", self.wants, WANTS)
        _check(self.traits)

    @property
    def traits(self) -> Traits:
        """The traits of the kind, with those replaced that were given."""
        named = ((trait.name, getattr(self, trait.name)) for trait in dataclasses.fields(Traits))
        return dataclasses.replace(KINDS[self.kind], **{name: value for name, value in named if value is not None})


def _check(traits: Traits) -> None:
    if traits.beta != -1.0 and traits.beta <= 0.0:
        raise UserError(f"beta={traits.beta}: allowed is beta > 0, or -1 for a teacher without noise")
    if not 0.0 < traits.gamma <= 1.0:
        raise UserError(f"gamma={traits.gamma}: allowed is 0 < gamma <= 1")
    if not 0.0 <= traits.eps_mistake <= 1.0:
        raise UserError(f"eps_mistake={traits.eps_mistake}: allowed is 0 <= eps_mistake <= 1")
    if min(traits.eps_skip, traits.eps_equal) < 0.0:
        raise UserError("a teacher needs eps_skip >= 0 and eps_equal >= 0")


def margin(mean_return: float, length: int, max_episode_steps: int) -> float:
    """Mean true return of whole episodes, scaled to a segment of `length` steps."""
    return mean_return * length / max_episode_steps


def recency_weights(length: int, gamma: float) -> NDArray[np.float64]:
    """gamma^(H-1-t) for t = 0..H-1: the last step counts fully."""
    return gamma ** np.arange(length - 1, -1, -1, dtype=np.float64)


class Teacher:
    """A scripted teacher for one member. Its margin is set once per session, before it is asked."""

    def __init__(self, config: TeacherConfig, rng: np.random.Generator) -> None:
        self.config, self.traits = config, config.traits
        self.margin = 0.0
        self._rng = rng

    def set_margin(self, mean_return: float, length: int, max_episode_steps: int) -> None:
        """Scale the thresholds; arguments as in `margin`, with the mean over the last episodes (B-Pref: ten)."""
        self.margin = margin(mean_return, length, max_episode_steps)

    def answer(self, queries: Queries) -> Answers:
        """One answer per query from the true rewards of its segments."""
        rew = queries.rew.astype(np.float64)  # [n, 2, H]
        ret = rew.sum(2)
        target = self._prefer(rew @ recency_weights(queries.length, self.traits.gamma))
        flip = self._rng.random(queries.size) < self.traits.eps_mistake
        target = np.where(flip & (target != EQUAL), 1.0 - target, target)
        target[np.abs(ret[:, 0] - ret[:, 1]) < self.traits.eps_equal * self.margin] = EQUAL
        skip = self.traits.eps_skip * self.margin
        if skip > 0:
            target[ret.max(1) <= skip] = SKIPPED
        return Answers(target)

    def state_dict(self) -> dict[str, Any]:
        """Margin and generator, as JSON can hold them."""
        return {"margin": self.margin, "rng": seeding.get_state(self._rng)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of `state_dict`."""
        self.margin = float(state["margin"])
        seeding.set_state(self._rng, state["rng"])

    def _prefer(self, score: NDArray[np.float64]) -> NDArray[np.float64]:
        """0 or 1 (or EQUAL for a tie, if so configured) for scores [n, 2]."""
        gap = score[:, 1] - score[:, 0]
        if self.traits.beta > 0:
            chance = 0.5 * (1.0 + np.tanh(0.5 * self.traits.beta * gap))  # sigmoid without overflow
            return (self._rng.random(len(gap)) < chance).astype(np.float64)
        target = np.where(gap > 0, SECOND, FIRST)
        return np.where(gap == 0, EQUAL, target) if self.config.ties == "equal" else target
