"""What each learner earns with each partner: a running mean, for methods that choose partners by it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from coord.partner_env import Episodes


class PartnerReturns:
    """Running mean and variance of the task return of every (learner, row of the pool), from training play.

    The n-th episode of a pair has weight max(1 / n, memory): a plain mean at first, then one that forgets.
    """

    def __init__(self, members: int, size: int, memory: float = 0.05) -> None:
        """size: rows of the pool; memory: weight of a new episode once there are many."""
        self.memory = memory
        self.count = np.zeros((members, size), np.int64)
        self.mean = np.zeros((members, size))
        self.var = np.zeros((members, size))  # of single episodes

    def observe(self, episodes: Episodes) -> None:
        """Adds finished episodes; those in self-play (partner -1) do not count."""
        for member, partner, ret in zip(episodes.member, episodes.partner, episodes.ret, strict=True):
            if partner >= 0:
                at = member, partner
                self.count[at] += 1
                weight = max(1 / self.count[at], self.memory)
                change = float(ret) - self.mean[at]
                self.mean[at] += weight * change
                self.var[at] = (1 - weight) * (self.var[at] + weight * change * change)

    def forget(self, which: np.ndarray) -> None:
        """Starts anew for pairs [M, size] whose partner is another one now."""
        for values in (self.count, self.mean, self.var):
            values[which] = 0

    def known(self) -> np.ndarray:
        """[M, size] mean return, -inf where there was no episode yet."""
        return np.where(self.count > 0, self.mean, -np.inf)

    def state_dict(self) -> dict[str, Tensor]:
        """Flat mapping of tensors."""
        return {name: torch.from_numpy(getattr(self, name).copy()) for name in ("count", "mean", "var")}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Inverse of `state_dict`."""
        for name in ("count", "mean", "var"):
            getattr(self, name)[:] = state[name].numpy()
