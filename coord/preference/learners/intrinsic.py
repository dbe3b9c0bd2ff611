"""Novelty as reward for unsupervised pretraining: distance to the k-th nearest state (PEBBLE, Lee et al. 2021).

Deviations from the released code: the running standard deviation is the exact one of all values (the released mean
update is wrong). As released and unlike the paper, the reward is the distance itself, not its logarithm, and is divided
by the running deviation without subtracting the mean.
"""

from __future__ import annotations

import torch
from torch import Tensor

SPARE = 8  # candidates kept beyond the k-th, to be measured exactly
CHUNK_FLOATS = {"cpu": 1 << 21, "cuda": 1 << 28}  # of the distance matrix at a time; 8 MB fit a cache


@torch.no_grad()
def knn_reward(obs: Tensor, buffer: Tensor, k: int = 5) -> Tensor:
    """Euclidean distance of each state obs [M, B, O] to its k-th nearest other state in buffer [M, K, O], [M, B].

    The states of obs are in the buffer themselves (B-Pref): each one's nearest is itself, so this is the (k + 1)-th
    smallest distance. With K <= k states, the largest one. Squared distances come from one matrix product around the
    mean of the buffer; those of the nearest few are then measured again by differences, which makes the result exact.
    """
    return torch.stack([_one_member(rows, seen, k) for rows, seen in zip(obs, buffer, strict=True)])


def _one_member(obs: Tensor, buffer: Tensor, k: int) -> Tensor:
    centre = buffer.mean(0)
    shifted = buffer - centre
    columns = shifted.T.contiguous()  # [O, K]
    square = shifted.square().sum(1)
    rank = min(k + 1, len(buffer))
    keep = min(rank + SPARE, len(buffer))
    rows = max(1, CHUNK_FLOATS.get(obs.device.type, CHUNK_FLOATS["cuda"]) // len(buffer))
    parts = []
    for block in obs.split(rows):
        # The square of the row itself is the same for all columns and does not change which are nearest.
        near = torch.addmm(square, block - centre, columns, alpha=-2.0).topk(keep, largest=False, sorted=False).indices
        exact = (block[:, None] - buffer[near]).square().sum(2)
        parts.append(exact.kthvalue(rank).values.sqrt())
    return torch.cat(parts)


class RunningStd:
    """Standard deviation of all values seen, per member; population form, merged batch by batch (Chan et al. 1983).

    Starts as B-Pref's does, with a weight of 1e-4 on mean 0 and variance 1.
    """

    def __init__(self, members: int, device: str = "cpu") -> None:
        self.mean = torch.zeros(members, dtype=torch.float64, device=device)
        self.var = torch.ones(members, dtype=torch.float64, device=device)
        self.count = torch.full((members,), 1e-4, dtype=torch.float64, device=device)

    @property
    def std(self) -> Tensor:
        """[M]."""
        return self.var.sqrt()

    def update(self, x: Tensor) -> None:
        """Take in x [M, B]."""
        x = x.double()
        total = self.count + x.shape[1]
        delta = x.mean(1) - self.mean
        spread = self.var * self.count + x.var(1, unbiased=False) * x.shape[1]
        self.var = (spread + delta.square() * self.count * x.shape[1] / total) / total
        self.mean = self.mean + delta * x.shape[1] / total
        self.count = total

    def normalise(self, x: Tensor) -> Tensor:
        """x [M, B] divided by the deviation; the mean is not subtracted."""
        return x / self.std[:, None].to(x.dtype)

    def state_dict(self) -> dict[str, Tensor]:
        """Moments and count."""
        return {"mean": self.mean, "var": self.var, "count": self.count}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Inverse of `state_dict`; KeyError if a tensor is missing."""
        self.mean, self.var, self.count = (state[name].clone() for name in ("mean", "var", "count"))
