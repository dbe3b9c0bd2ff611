"""Minibatches of PPO for tests of its loss and its kernels."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from coord.types import NUM_ACTIONS


def minibatch(shape: tuple[int, int], dtype: torch.dtype = torch.float64) -> tuple[Tensor, ...]:
    """act and scalars [M, B, ...] and coefs [M, 3] such that a good part of the rows is clipped on either side."""
    gen = torch.Generator().manual_seed(7)
    act = torch.randint(NUM_ACTIONS, shape, generator=gen)
    scalars = torch.randn(*shape, 4, generator=gen, dtype=dtype)
    scalars[..., 0] = math.log(1 / 6) + 0.4 * scalars[..., 0]
    coefs = torch.tensor([[0.2, 0.5, 0.02], [0.1, 1.0, 0.1], [0.3, 0.25, 0.0]], dtype=dtype)[: shape[0]]
    return act, scalars, coefs
