"""What games between two agents say about coordination: pure functions of returns and event counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from coord.overcooked import EVENTS
from coord.stats import bootstrap_ci, mean

WORK = ("placement_in_pot", "soup_pickup", "delivery")  # what brings a soup to the hatch


class CrossPlayGap(NamedTuple):
    """Self-play minus cross-play: how much of what a member can do depends on knowing its partner.

    Each figure is a mean return per game with its 95 % interval.
    """

    sp_mean: float
    sp_ci95: tuple[float, float]
    xp_mean: float
    xp_ci95: tuple[float, float]
    gap_mean: float
    gap_ci95: tuple[float, float]


def idle_share(events: NDArray[np.int32], horizon: int) -> NDArray[np.float64]:
    """[P] share of the ticks at whose end a seat stood as before, without an effective interaction."""
    return events[..., EVENTS.index("idle")].mean(axis=0) / horizon


def collision_rate(events: NDArray[np.int32], horizon: int) -> float:
    """Collisions per 100 ticks: how often a seat's step was refused because of another chef, mean over the seats."""
    return float(events[..., EVENTS.index("collision")].mean() / horizon * 100.0)


def work_balance(events: NDArray[np.int32]) -> float | None:
    """0: one seat does all the work; 1: every seat does the same share. None if nobody worked.

    Work is what is counted in `WORK`; with shares s_i of P seats the balance is P * min(s_i).
    """
    work = events[..., [EVENTS.index(name) for name in WORK]].sum(axis=(0, 2))  # [P]
    total = work.sum()
    return None if total == 0 else float(len(work) * work.min() / total)


def sp_xp_gap(returns: ArrayLike, lineages: Sequence[str], *, seed: int = 0) -> CrossPlayGap | None:
    """Self-play mean, cross-play mean and their difference with a 95 % interval.

    Args:
        returns: [M, M, E] games of member i in seat 0 with member j in seat 1.
        lineages: the training run of each member; cross-play counts pairs of different runs only, as checkpoints
            of one run share its conventions.
    Returns: None if all members are of one run. The interval (games resampled within each pair) is about these
        members, not about others that could have been trained.
    """
    returns = np.asarray(returns, np.float64)
    alone = np.array([[a != b for b in lineages] for a in lineages])
    sp, xp = returns[np.eye(len(lineages), dtype=bool)], returns[alone]  # [pairs, E] each
    if not len(xp):
        return None

    def difference(values: NDArray[np.float64], axis: int = -1) -> NDArray[np.float64]:
        own, other = np.split(values, [sp.size], axis=axis)
        return mean(own, axis) - mean(other, axis)

    return CrossPlayGap(
        sp_mean=float(sp.mean()),
        sp_ci95=bootstrap_ci(list(sp), seed=seed),
        xp_mean=float(xp.mean()),
        xp_ci95=bootstrap_ci(list(xp), seed=seed),
        gap_mean=float(sp.mean() - xp.mean()),
        gap_ci95=bootstrap_ci([*sp, *xp], difference, seed=seed),
    )
