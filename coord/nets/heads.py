"""What the outputs of actors and critics mean: actions and log-densities, values of both heads. Pure, for autograd.

M members, B rows of each, A numbers per action (discrete: actions). `coord.kernels.sac_gradients` has the derivatives
by hand.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from coord.nets import mlps

LOG_STD_BOUNDS = (-5.0, 2.0)
_MIDDLE, _HALF_WIDTH = sum(LOG_STD_BOUNDS) / 2, (LOG_STD_BOUNDS[1] - LOG_STD_BOUNDS[0]) / 2


def gaussian(out: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and log standard deviation [..., A] before the tanh, from outputs [..., 2A].

    The log standard deviation is squashed smoothly into `LOG_STD_BOUNDS`, not clamped.
    """
    mean, raw = out.chunk(2, -1)
    return mean, torch.tanh(raw).mul(_HALF_WIDTH).add(_MIDDLE)


def tanh_gaussian(out: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Action tanh(mean + std noise) [..., A] and its log-density [...]; out [..., 2A], noise [..., A] standard normal.

    log(1 - tanh(x)^2) = 2 (log 2 - x - softplus(-2x)) keeps its precision where tanh saturates.
    """
    mean, log_std = gaussian(out)
    x = torch.addcmul(mean, log_std.exp(), noise)
    # Half of the log-density, without its constant: of the normal, less that of the determinant.
    half = torch.addcmul((x + F.softplus(x.mul(-2))).sub(log_std, alpha=0.5), noise, noise, value=-0.25)
    constant = noise.shape[-1] * (2 * math.log(2) + 0.5 * math.log(2 * math.pi))
    return torch.tanh(x), half.sum(-1).mul(2).sub(constant)


def draw_normal(noise: Tensor, gens: Sequence[torch.Generator]) -> Tensor:
    """Standard normal numbers written into `noise` [M, ...], each member's by its own generator."""
    for own, gen in zip(noise, gens, strict=True):
        own.normal_(generator=gen)
    return noise


def draw_index(logits: Tensor, gens: Sequence[torch.Generator]) -> Tensor:
    """Drawn actions [M, B] int64 of logits [M, B, A], which are overwritten; each member's by its own generator."""
    for own, gen in zip(
        logits, gens, strict=True
    ):  # the largest of logits plus Gumbel noise is a draw from their softmax
        own -= torch.empty_like(own).exponential_(generator=gen).log_()
    return logits.argmax(-1)


def policy(actor: Mapping[str, Tensor], obs: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Continuous head: actions [M, B, A] in (-1, 1) and log-densities [M, B] for obs [M, B, O], noise [M, B, A]."""
    return tanh_gaussian(mlps.apply(actor, obs), noise)


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
