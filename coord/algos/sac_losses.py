"""Policies, values, targets and losses of soft actor-critic as pure functions: the definition of what SAC computes.

M members, B rows of each, A numbers per action (discrete: actions), two critics. Haarnoja et al. (2018), equations 3
to 6 with the minimum of two critics, and equation 18 for the temperature, whose multiplier is exp(log_alpha) as in the
published code. Losses are means over a member's own rows.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from coord.nets import heads, mlps


def policy(actor: Mapping[str, Tensor], obs: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Continuous head: actions [M, B, A] in (-1, 1) and log-densities [M, B] for obs [M, B, O], noise [M, B, A]."""
    return heads.tanh_gaussian(mlps.apply(actor, obs), noise)


def log_policy(actor: Mapping[str, Tensor], obs: Tensor) -> Tensor:
    """Discrete head: log-probabilities of all actions [M, B, A]."""
    return F.log_softmax(mlps.apply(actor, obs), -1)


def q_values(critic: Mapping[str, Tensor], obs: Tensor, act: Tensor) -> Tensor:
    """Values of both heads [M, 2, B]; act [M, B, A], or [M, B] int64 for the discrete head."""
    if act.dtype == torch.int64:
        index = act[:, None, :, None].expand(-1, 2, -1, -1)
        return q_all(critic, obs).gather(-1, index).squeeze(-1)
    return mlps.apply(critic, torch.cat([obs, act], -1)[:, None]).squeeze(-1)


def q_all(critic: Mapping[str, Tensor], obs: Tensor) -> Tensor:
    """Discrete head: values of all actions [M, 2, B, A]."""
    return mlps.apply(critic, obs[:, None])


def soft_value(q: Tensor, logp: Tensor, alpha: Tensor) -> Tensor:
    """min over the heads - alpha logp, [M, B]: q [M, 2, B] of one action, logp [M, B], alpha [M]."""
    return q.amin(1) - alpha[:, None] * logp


def expected_soft_value(q: Tensor, logp: Tensor, alpha: Tensor) -> Tensor:
    """The same in expectation over discrete actions, [M, B]: q [M, 2, B, A], logp [M, B, A], alpha [M]."""
    return (logp.exp() * (q.amin(1) - alpha[:, None, None] * logp)).sum(-1)


def critic_target(rew: Tensor, discount: Tensor, gamma: float, next_value: Tensor) -> Tensor:
    """rew + gamma discount next_value, [M, B]."""
    return rew + gamma * discount * next_value


def critic_loss(q: Tensor, y: Tensor) -> Tensor:
    """MSE(Q1, y) + MSE(Q2, y) of each member [M]; q [M, 2, B], y [M, B] without gradient."""
    return (q - y[:, None]).square().mean(-1).sum(-1)


def actor_loss(value: Tensor) -> Tensor:
    """Minus the mean soft value of each member [M]; value [M, B], of the current critic, alpha without gradient."""
    return -value.mean(-1)


def alpha_loss(log_alpha: Tensor, logp: Tensor, target_entropy: float) -> Tensor:
    """Mean of alpha (-logp - target_entropy) [M]; logp [M, B] without gradient, the gradient is by log_alpha [M]."""
    return log_alpha.exp() * (-logp - target_entropy).mean(-1)
