"""Advantages and returns; the one place where time limits are handled.

A time limit cuts an episode without ending the task. With ``bootstrap`` (default) the value of the last observation
stands in for what would have followed; with ``terminate`` (what most published Overcooked code does) it counts as
zero. Both are decided by `next_values`; everything after it is the same arithmetic.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

TIME_LIMITS = ("bootstrap", "terminate")


def next_values(
    *, val: Tensor, last_val: Tensor, final_val: Tensor, terminated: Tensor, truncated: Tensor, time_limit: str
) -> Tensor:
    """Value of what follows each step, [T, ...].

    val [T, ...]: V(obs_t); last_val [...]: V of the observation after the rollout; final_val [T, ...]: V of the last
    observation of an episode where it ended (anything elsewhere); terminated, truncated [T, ...] bool.
    """
    following = torch.cat([val[1:], last_val[None]])
    following = torch.where(truncated, final_val if time_limit == "bootstrap" else torch.zeros_like(val), following)
    return following.masked_fill(terminated, 0.0)


def gae(
    *, rew: Tensor, val: Tensor, next_val: Tensor, ended: Tensor, gamma: float | Tensor, gae_lambda: float | Tensor
) -> Tensor:
    """Generalised advantage estimation (Schulman et al. 2016, eq. 16), [T, ...].

    delta_t = rew_t + gamma next_val_t - val_t;  adv_t = delta_t + gamma lambda (1 - ended_t) adv_{t+1}.
    ended: the episode ended at t (by rules or clock), so nothing flows back across it. gamma, gae_lambda: numbers or
    tensors that broadcast against one time step (one per member).
    """
    delta = rew + gamma * next_val - val
    decay = gamma * gae_lambda * (~ended).to(val.dtype)
    adv = torch.empty_like(delta)
    running = torch.zeros_like(delta[0])
    for t in range(delta.shape[0] - 1, -1, -1):
        running = torch.addcmul(delta[t], decay[t], running)
        adv[t] = running
    return adv


def deviation(x: Tensor, dim: tuple[int, ...]) -> Tensor:
    """Standard deviation of `x` over `dim`, which stay with length 1; 1 where a single number has none to be scaled by.

    It is the estimate that divides by n - 1, as in the published code; of one number that is 0 / 0.
    """
    if math.prod(x.shape[axis] for axis in dim) == 1:
        return torch.ones_like(x)
    return x.std(dim, keepdim=True)
