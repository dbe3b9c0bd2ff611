"""What people's warnings do to labels: strength, implied pairs, and which queries are still worth their time.

Kazantzidis, Norman, Du and Freeman (AAMAS 2022): a label is as strong as its reason. A pair with one side that was
called unsafe is certain (1), a preference between safe sides is not (.75), equal ones are .5; with the reasons of DROPJ
(2026) a reason may have a strength of its own. One warning says more than its own pair: everything known to be safe is
better than what was called unsafe, and two unsafe ones are equally bad. A query is asked with probability .95^f where f
counts the earlier queries about the same states.

n pairs of segments; `target` is the probability that the second one is better, `unsafe` [n, 2] what people said.

Deviations: the paper judges single actions in a gridworld; here the same rules hold for segments. f is the mean over
the states of a pair, states being the same when their rounded observations are; and the ensemble's disagreement is
added to the probability, because a familiar place may still be disputed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from coord.errors import UserError, unknown
from coord.limits import Count, CountOrNone, HalfToOne, NotNegative, Positive, Share, Widths
from coord.preference.labels.segments import AnsweredPairs

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
FLAGS = ("none", "strength", "implied")
# Names for what several events have in common; any event of the task is a hazard of its own as well.
HAZARDS: dict[str, tuple[str, ...]] = {"discarded_dish": ("put_soup_on_counter", "delivery_unpaid")}


@dataclass(frozen=True, kw_only=True)
class SafetyConfig:
    """What counts as a violation, and what people's warnings do."""

    # events that are violations, such as [drowned] or [collision,discarded_dish]; none: no safety at all
    hazards: tuple[str, ...] = ()
    # what warnings do to labels: none (only counted) | strength | implied (strength and implied pairs)
    flags: str = "implied"
    strong: HalfToOne = 1.0  # certainty of a label of which one side is unsafe, .5..1
    weak: HalfToOne = 0.75  # certainty of a preference between safe segments, .5..1
    reason_strengths: tuple[str, ...] = ()  # certainty by reason instead, such as [grass:0.95,chuckhole:1.0]
    implied_pairs: CountOrNone = 200  # implied pairs at most, per member and session
    # a query about states with f earlier ones is asked with probability gate^f; published .95; 1: always
    gate: Share = 1.0
    gate_cell: Positive = 1.0  # width of the cells of observations that count as one state
    constraint: bool = True  # learn a cost from the warnings and hold it under the limit
    limit: NotNegative = 0.1  # unsafe steps per episode that are tolerated
    multiplier: NotNegative = 1.0  # weight of the cost at the start, in rewards per unsafe step
    multiplier_lr: NotNegative = 0.05  # how far the multiplier moves per episode and unsafe step above the limit
    multiplier_max: NotNegative = 100.0  # its ceiling
    # b of sigmoid(sum c_hat - b): logit of "unsafe" for one unsafe step, and minus that for none
    offset: Positive = 4.0
    cost_hidden: Widths = (64, 64)  # widths of the cost network's layers
    cost_lr: Share = 1e-3  # its Adam step size
    cost_batch: Count = 64  # segments per step
    cost_steps: Count = 200  # Adam steps per session

    def __post_init__(self) -> None:
        for name in ("hazards", "reason_strengths", "cost_hidden"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if self.flags not in FLAGS:
            raise unknown("flags", self.flags, FLAGS)
        if not (self.gate_cell > 0 and self.offset > 0):
            raise UserError(f"gate_cell={self.gate_cell} and offset={self.offset}: must be above 0")
        parse_strengths(self.reason_strengths)


def parse_strengths(words: Sequence[str]) -> dict[str, float]:
    """`("grass:0.95",)` gives `{"grass": 0.95}`; UserError for another form or a strength outside .5..1."""
    found = {}
    for word in words:
        name, _, text = word.rpartition(":")
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not name or not 0.5 <= value <= 1.0:
            raise UserError(
                f"reason_strengths={word}: expected reason:strength with .5 <= strength <= 1, as grass:0.95"
            )
        found[name] = value
    return found


def columns(hazards: Sequence[str], events: Sequence[str]) -> list[list[int]]:
    """For every hazard the places of its events among those that a task counts.

    Raises:
        UserError: the task counts no such event.
    """
    known: dict[str, tuple[str, ...]] = {event: (event,) for event in events}
    known |= {name: parts for name, parts in HAZARDS.items() if set(parts) <= set(events)}
    for hazard in hazards:
        if hazard not in known:
            raise unknown("hazard", hazard, known)
    return [[list(events).index(event) for event in known[hazard]] for hazard in hazards]


# -------------------------------------------------------------------------------------------- label strength


def safe_first(target: Floats, unsafe: Flags) -> Floats:
    """What somebody answers who always prefers the safe one of two segments, and else as `target` [n] says."""
    only_one = unsafe[:, 0] ^ unsafe[:, 1]
    return np.where(only_one, unsafe[:, 0].astype(float), target)


def strengthen(
    target: Floats,
    unsafe: Flags,
    reasons: Sequence[Sequence[str]] = (),
    *,
    strong: float = 1.0,
    weak: float = 0.75,
    strengths: Mapping[str, float] | None = None,
) -> Floats:
    """Soft targets [n]: how sure a label is by its reason.

    Exactly one side unsafe: `strong` for the safe one, whatever was preferred; both unsafe: .5; both safe: `weak` for
    the preferred one, .5 where neither is. A reason with a strength of its own replaces strong and weak (the largest,
    where several are given). nan (skipped) stays.
    """
    target = np.asarray(target, float)
    only_one, both = unsafe[:, 0] ^ unsafe[:, 1], unsafe.all(1)
    sure = np.where(only_one, strong, weak)
    own = strengths or {}
    for i, tags in enumerate(reasons):
        known = [own[tag] for tag in tags if tag in own]
        sure[i] = max(known, default=sure[i])
    side = np.sign(safe_first(target, unsafe) - 0.5)  # -1 the first, 1 the second, 0 neither
    return np.where(both & ~np.isnan(target), 0.5, 0.5 + side * (sure - 0.5))


def implied(safe: Sequence[int], unsafe: Sequence[int], strong: float = 1.0) -> list[tuple[int, int, float]]:
    """All pairs (first, second, target) that follow from knowing which of some things are safe and which are not.

    Every safe one is better than every unsafe one (target 1 - strong: the first is better), unsafe ones are equal (.5).
    """
    over = [(good, bad, 1.0 - strong) for good in safe for bad in unsafe]
    return over + [(bad, other, 0.5) for i, bad in enumerate(unsafe) for other in unsafe[i + 1 :]]


def implied_labels(
    labels: AnsweredPairs, unsafe: Flags, count: int, rng: np.random.Generator, strong: float = 1.0
) -> AnsweredPairs:
    """Up to `count` implied pairs, drawn at random, of the segments that were judged; without those that were asked."""
    flat = unsafe.ravel()
    pairs = implied(np.flatnonzero(~flat).tolist(), np.flatnonzero(flat).tolist(), strong)
    pairs = [pair for pair in pairs if pair[0] // 2 != pair[1] // 2]
    taken = np.sort(rng.choice(len(pairs), min(count, len(pairs)), replace=False)) if pairs else np.zeros(0, int)
    rows = np.array([pairs[i][:2] for i in taken], np.int64).reshape(-1, 2)  # [count, 2] into the 2 n segments
    target = [pairs[i][2] for i in taken]
    obs, act = (array.reshape(-1, *array.shape[2:])[rows] for array in (labels.obs, labels.act))
    return AnsweredPairs(obs, act, np.array(target, np.float32))


# ---------------------------------------------------------------------------------------------------- gating


def ask_probability(gate: float, familiarity: float, disagreement: float = 0.0) -> float:
    """min(1, gate^f + disagreement)."""
    return min(1.0, gate**familiarity + disagreement)


class Familiarity:
    """How many queries have been about each state; states are the same when their rounded observations are."""

    def __init__(self, cell: float) -> None:
        """cell: the width of a cell in every dimension of the observation."""
        self.cell = cell
        self.counts: dict[int, int] = {}

    def keys(self, obs: NDArray[np.floating]) -> NDArray[np.int64]:
        """[R] of obs [R, O]: a number per cell, 64 bits of a hash."""
        rounded = np.rint(np.asarray(obs) / self.cell).astype(np.int32)
        digests = (hashlib.blake2b(row.tobytes(), digest_size=8).digest() for row in rounded)
        return np.array([int.from_bytes(digest, "little", signed=True) for digest in digests], np.int64)

    def of(self, obs: NDArray[np.floating]) -> float:
        """Mean number of earlier queries over the states obs [R, O]."""
        return float(np.mean([self.counts.get(key, 0) for key in self.keys(obs).tolist()]))

    def add(self, obs: NDArray[np.floating]) -> None:
        """A query about the states obs [R, O] was asked; a state counts once per query."""
        for key in set(self.keys(obs).tolist()):
            self.counts[key] = self.counts.get(key, 0) + 1

    def state_dict(self) -> dict[str, Tensor]:
        """Flat mapping of tensors."""
        parts = {"keys": list(self.counts), "counts": list(self.counts.values())}
        return {name: torch.tensor(values, dtype=torch.int64) for name, values in parts.items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Inverse of `state_dict`."""
        self.counts = dict(zip(state["keys"].tolist(), state["counts"].tolist(), strict=True))


def gate(
    obs: NDArray[np.floating],
    disagreement: NDArray[np.floating],
    familiarity: Familiarity,
    base: float,
    rng: np.random.Generator,
) -> Flags:
    """[n] which queries are asked; obs [n, 2, L, O], disagreement [n]. Those asked count for the ones after them."""
    asked = np.zeros(len(obs), bool)
    for i, pair in enumerate(obs):
        states = pair.reshape(-1, pair.shape[-1])
        asked[i] = rng.random() < ask_probability(base, familiarity.of(states), float(disagreement[i]))
        if asked[i]:
            familiarity.add(states)
    return asked
