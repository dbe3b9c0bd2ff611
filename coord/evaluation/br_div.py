"""Behaviour-preferring partners as an evaluation set: which to keep (BR-Div), and how near an ego comes (BR-Prox).

ZSC-Eval (Wang et al. 2024) trains candidates that prefer some behaviour, each with an approximate best response (BR).
Two partners differ if their best responses do, so the feature of a candidate is the mean event counts of its *BR's*
play, every event divided by its largest count: theta_i. With K = Theta Theta^T,

    BR-Div(S) = det K_S   (the squared volume that the features of S span),

the set of size k with the largest BR-Div is kept. The score of an ego with the kept partners is

    BR-Prox = IQM over partners, seats and ego seeds of min(1, J(ego, p) / J(BR_p, p)),

1 where the best response itself earns nothing.

Deviations: sets that are too many to enumerate are drawn from the exact k-DPP of K and the best draw is improved by
exchanging members while that raises the determinant; the reference keeps the best draw as it is. A feature whose
largest count is 0 is dropped; the reference divides by the maximum plus 0.001. Each partner is divided by the return
of *its own* best response; the reference's extraction reads that of another candidate.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from coord.stats import bootstrap_ci, iqm

MAX_ENUMERATED = 50_000  # sets that are compared one by one
DRAWS = 2_000  # from the k-DPP where there are more
_BATCH = 256  # draws at a time: bounds the memory

Floats = NDArray[np.float64]


def features(event_counts: ArrayLike) -> Floats:
    """[n, F] mean event counts of n best responses -> [n, F'] in [0, 1], events that nobody caused left out.

    Raises: ValueError for a negative count or another shape.
    """
    counts = np.asarray(event_counts, np.float64)
    if counts.ndim != 2 or (counts < 0).any():
        raise ValueError(f"event counts must be [candidates, events] and not negative, got shape {counts.shape}")
    largest = counts.max(axis=0, initial=0.0)
    return counts[:, largest > 0] / largest[largest > 0]


def br_div(theta: Floats, subset: Sequence[int]) -> float:
    """det(K_S) of the rows `subset` of features [n, F]; 0 for linearly dependent ones."""
    rows = theta[list(subset)]
    return max(float(np.linalg.det(rows @ rows.T)), 0.0)


def select(theta: Floats, size: int, rng: np.random.Generator, *, draws: int = DRAWS) -> tuple[int, ...]:
    """The `size` candidates with the largest BR-Div, in ascending order.

    All sets are compared if there are at most `MAX_ENUMERATED`; otherwise `draws` samples of the k-DPP are, and the
    best is improved by exchanges.
    Raises: ValueError if the features of no `size` candidates are independent.
    """
    count = len(theta)
    if not 1 <= size <= count:
        raise ValueError(f"cannot choose {size} of {count} candidates")
    rank = int(np.linalg.matrix_rank(theta))
    if size > rank:
        raise ValueError(f"{size} candidates cannot differ from each other: their features span {rank} dimensions only")
    if math.comb(count, size) <= MAX_ENUMERATED:
        return best_of(theta, np.array(list(itertools.combinations(range(count), size))))
    return _exchange(theta, best_of(theta, k_dpp(theta, size, draws, rng)))


def best_of(theta: Floats, subsets: NDArray[np.int64]) -> tuple[int, ...]:
    """Of `subsets` [s, k] the one with the largest BR-Div; the first of equals."""
    kernel = theta @ theta.T
    chunks = [kernel[part[:, :, None], part[:, None, :]] for part in np.array_split(subsets, 1 + len(subsets) // 4096)]
    volumes = np.concatenate([np.linalg.det(chunk) for chunk in chunks])
    return tuple(sorted(int(i) for i in subsets[volumes.argmax()]))


def _exchange(theta: Floats, subset: tuple[int, ...]) -> tuple[int, ...]:
    """Replaces one member at a time by an outsider while that raises BR-Div."""
    best, volume = subset, br_div(theta, subset)
    while True:
        outside = [i for i in range(len(theta)) if i not in best]
        swaps = [tuple(sorted({*best} - {out} | {new})) for out in best for new in outside]
        found = best_of(theta, np.array(swaps))
        raised = br_div(theta, found)
        if raised <= volume * (1 + 1e-9):
            return best
        best, volume = found, raised


# ---------------------------------------------------------------------------------------------------- k-DPP


def k_dpp(theta: Floats, size: int, draws: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """[draws, size] exact samples: P(S) is proportional to det(K_S) among the sets of `size` rows.

    Kulesza and Taskar 2011: first eigenvectors of K, chosen with elementary symmetric polynomials of the eigenvalues,
    then one row after the other from the projection that they span.
    """
    vectors, singular, _ = np.linalg.svd(theta, full_matrices=False)
    keep = singular > singular[0] * 1e-10
    values, vectors = singular[keep] ** 2, vectors[:, keep]
    chosen = _choose_eigenvectors(values, size, draws, rng)
    parts = [_project(vectors[:, part].transpose(1, 0, 2), rng) for part in np.array_split(chosen, 1 + draws // _BATCH)]
    return np.concatenate(parts)


def symmetric_polynomials(values: Floats, size: int) -> Floats:
    """e[k, n] = sum over the k-subsets of the first n values of their product; [size + 1, len(values) + 1]."""
    e = np.zeros((size + 1, len(values) + 1))
    e[0] = 1
    for n, value in enumerate(values, start=1):
        e[1:, n] = e[1:, n - 1] + value * e[:-1, n - 1]
    return e


def _choose_eigenvectors(values: Floats, size: int, draws: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """[draws, size] which eigenvectors, from the last to the first."""
    values = values / values.max()  # the scale cancels, overflow does not
    e = symmetric_polynomials(values, size)
    left = np.full(draws, size)
    chosen = np.zeros((draws, size), np.int64)
    for n in range(len(values), 0, -1):
        with np.errstate(divide="ignore", invalid="ignore"):
            take = values[n - 1] * e[left - 1, n - 1] / e[left, n]
        hit = (left > 0) & (rng.random(draws) < np.where(left > 0, take, 0.0))
        chosen[hit, left[hit] - 1] = n - 1
        left = left - hit
    return chosen


def _project(basis: Floats, rng: np.random.Generator) -> NDArray[np.int64]:
    """Samples of the projection DPPs with orthonormal bases [S, n, k] -> rows [S, k]."""
    samples, _, size = basis.shape
    at = np.arange(samples)
    rows = np.empty((samples, size), np.int64)
    for left in range(size, 0, -1):
        share = np.cumsum((basis**2).sum(axis=2) / left, axis=1)
        rows[:, left - 1] = (share < rng.random((samples, 1)) * share[:, -1:]).sum(axis=1)
        # The bases that remain must vanish on the chosen row: rotate it into the last vector and drop that.
        pick = basis[at, rows[:, left - 1]]  # [S, left]
        rotation, _ = np.linalg.qr(pick[:, :, None], mode="complete")
        basis = basis @ rotation[:, :, 1:]
    return rows


# -------------------------------------------------------------------------------------------------- BR-Prox


def proximity(returns: ArrayLike, best: ArrayLike) -> Floats:
    """min(1, J(ego, p) / J(BR_p, p)), 1 where the best response earns nothing; shapes broadcast."""
    ego, br = np.broadcast_arrays(np.asarray(returns, np.float64), np.asarray(best, np.float64))
    ratio = np.divide(ego, br, out=np.ones(ego.shape), where=br > 0)
    return np.minimum(ratio, 1.0)


def br_prox(
    returns: Mapping[str, ArrayLike], best: Mapping[str, ArrayLike], *, seed: int = 0
) -> tuple[float, tuple[float, float]]:
    """BR-Prox and its 95 % interval.

    returns: partner -> mean returns [ego seeds, seats]; best: partner -> return of its own best response, one figure
    or one per seat [seats]. The interval resamples ego seeds within each partner and seat (stratified bootstrap of
    the IQM).
    Raises: KeyError for a partner without a best response.
    """
    ratios = [proximity(np.atleast_2d(np.asarray(mine)), best[partner]) for partner, mine in returns.items()]
    strata = [column for ratio in ratios for column in ratio.T]
    return float(iqm(np.concatenate(strata))), bootstrap_ci(strata, iqm, seed=seed)
