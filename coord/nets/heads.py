"""Action heads: what an actor's outputs mean, how actions come out of them, and the gradients on the way back.

The pure functions are the definition, for autograd; the two ``*_gradient`` functions are the same derivatives by hand,
and tests compare them.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

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


def tanh_gaussian_gradient(out: Tensor, noise: Tensor, act: Tensor, by_act: Tensor, by_logp: Tensor) -> Tensor:
    """Gradient by the outputs [..., 2A] from those by action [..., A] and by log-density (broadcast to [..., A]).

    With x = mean + std noise and a = tanh(x): da/dx = 1 - a^2, dlogp/dx = 2a, and logp also holds -log_std.
    """
    squash = torch.tanh(out.chunk(2, -1)[1])
    std = squash.mul(_HALF_WIDTH).add(_MIDDLE).exp()
    by_x = torch.addcmul(by_act, act, by_act.mul(act).sub(2 * by_logp), value=-1)
    by_log_std = by_x.mul(noise).mul(std).sub(by_logp).mul(_HALF_WIDTH)
    return torch.cat([by_x, torch.addcmul(by_log_std, by_log_std * squash, squash, value=-1)], -1)


def categorical_gradient(logp: Tensor, value: Tensor) -> Tensor:
    """Gradient by the logits [..., A] of sum_a exp(logp_a) value_a, when what `value` owes to logp sums to zero.

    So it is for value = q - alpha logp: sum_a p_a d(logp_a) = 0.
    """
    prob = logp.exp()
    return prob * (value - (prob * value).sum(-1, keepdim=True))
