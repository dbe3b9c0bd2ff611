"""Multilayer perceptrons with leading population axes: pure functions of a dict of tensors.

A network is a dict: ``dense<i>.weight`` [..., H, I] and ``dense<i>.bias`` [..., H] per hidden layer, optionally
``norm<i>.weight`` and ``norm<i>.bias`` [..., H] (layer normalisation before the ReLU; its presence in the dict is what
switches it on), and ``head.weight`` [..., O, H], ``head.bias`` [..., O]. The leading axes are [M] (members) or [M, E]
(members, heads of one ensemble); all of them go through one batched matrix product.

`apply` is differentiable in every way that torch offers; `coord.kernels.backprop` computes the same faster.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Params = dict[str, Tensor]
LAYER_NORM_EPS = 1e-5


def shapes(inputs: int, hidden: Sequence[int], outputs: int, *, layer_norm: bool = False) -> dict[str, tuple[int, ...]]:
    """Name -> shape of one network's parameters."""
    found: dict[str, tuple[int, ...]] = {}
    for layer, width in enumerate(hidden):
        found |= {f"dense{layer}.weight": (width, inputs), f"dense{layer}.bias": (width,)}
        if layer_norm:
            found |= {f"norm{layer}.weight": (width,), f"norm{layer}.bias": (width,)}
        inputs = width
    return found | {"head.weight": (outputs, inputs), "head.bias": (outputs,)}


def depth(params: Mapping[str, Tensor]) -> int:
    """Number of hidden layers."""
    return sum(name.startswith("dense") for name in params) // 2


def init(table: Mapping[str, tuple[int, ...]], gen: torch.Generator, *, dtype: torch.dtype = torch.float32) -> Params:
    """One network: orthogonal weights of gain 1, zero biases, unit norms; `table` as `shapes` gives it."""
    params = {}
    for name, shape in table.items():
        if name.startswith("norm") and name.endswith("weight"):
            params[name] = torch.ones(shape, dtype=dtype)
        elif name.endswith("bias"):
            params[name] = torch.zeros(shape, dtype=dtype)
        else:
            params[name] = nn.init.orthogonal_(torch.empty(shape), generator=gen).to(dtype)
    return params


def stack(nets: Sequence[Params]) -> Params:
    """Several networks as one with a new leading axis."""
    return {name: torch.stack([net[name] for net in nets]) for name in nets[0]}


def apply(params: Mapping[str, Tensor], x: Tensor) -> Tensor:
    """Outputs [..., B, O] for inputs [..., B, I]; leading axes as those of the parameters. Differentiable."""
    lead = params["head.weight"].shape[:-2]
    x = x.expand(*lead, *x.shape[-2:]).reshape(-1, *x.shape[-2:])
    for layer in range(depth(params)):
        x = _linear(params, f"dense{layer}", x)
        if f"norm{layer}.weight" in params:
            x = F.layer_norm(x, x.shape[-1:], eps=LAYER_NORM_EPS)
            gain, shift = (params[f"norm{layer}.{part}"].flatten(0, -2)[:, None] for part in ("weight", "bias"))
            x = torch.addcmul(shift, gain, x)
        x = F.relu(x)
    return _linear(params, "head", x).unflatten(0, lead)


def _linear(params: Mapping[str, Tensor], name: str, x: Tensor) -> Tensor:
    weight, bias = params[f"{name}.weight"].flatten(0, -3), params[f"{name}.bias"].flatten(0, -2)
    return torch.baddbmm(bias[:, None], x, weight.transpose(1, 2))
