"""Multilayer perceptrons with leading population axes: pure functions of a dict of tensors.

A network is a dict: ``dense<i>.weight`` [..., H, I] and ``dense<i>.bias`` [..., H] per hidden layer, optionally
``norm<i>.weight`` and ``norm<i>.bias`` [..., H] (layer normalisation before the ReLU; its presence in the dict is what
switches it on), and ``head.weight`` [..., O, H], ``head.bias`` [..., O]. The leading axes are [M] (members) or [M, E]
(members, heads of one ensemble); all of them go through one batched matrix product.

`apply` is the definition, differentiable in every way that torch offers. `Net` and `Tape` compute the same and its
gradients without autograd, for updates that are called a million times: no graph, no gradient that nobody asked for,
no allocation. Tests compare the two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

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


# ------------------------------------------------------------------------------------- gradients without autograd


@dataclass(frozen=True)
class Layer:
    """One layer of all networks as batched products take it, G = product of the leading axes; views, not copies."""

    weight: Tensor  # [G, O, I]
    weight_t: Tensor  # [G, I, O]
    bias: Tensor  # [G, 1, O]
    gain: Tensor | None  # [G, 1, O], layer normalisation
    shift: Tensor | None


@dataclass(frozen=True)
class Net:
    """Views of a network's parameters; they follow changes in place, not replaced tensors."""

    lead: torch.Size  # leading axes
    layers: list[Layer]

    @staticmethod
    def of(params: Mapping[str, Tensor]) -> Net:
        """The network of these parameters."""

        def row(name: str) -> Tensor | None:
            return params[name].flatten(0, -2)[:, None] if name in params else None

        names = [(f"dense{i}", f"norm{i}") for i in range(depth(params))] + [("head", "")]
        weights = [params[f"{dense}.weight"].flatten(0, -3) for dense, _ in names]
        layers = [
            Layer(weight, weight.transpose(1, 2), row(f"{dense}.bias"), row(f"{norm}.weight"), row(f"{norm}.bias"))
            for weight, (dense, norm) in zip(weights, names, strict=True)
        ]
        return Net(params["head.weight"].shape[:-2], layers)


class Tape:
    """What a forward pass leaves for the backward pass, in buffers that are kept between calls.

    One tape serves all networks of one shape in turn; a forward pass overwrites the one before.
    """

    def __init__(self, net: Net, batch: int) -> None:
        """batch: rows per network."""
        self.batch = batch
        first = net.layers[0].weight
        self._x = first.new_empty(first.shape[0], batch, first.shape[2])
        self._outs = [first.new_empty(first.shape[0], batch, layer.weight.shape[1]) for layer in net.layers]
        self._grads = [torch.empty_like(out) for out in self._outs[:-1]]
        self._norms: list[tuple[Tensor, ...]] = [() for _ in self._grads]
        self.x = self._x.unflatten(0, net.lead)  # [..., B, I], for the caller to fill
        self.out = self._outs[-1].unflatten(0, net.lead)  # [..., B, O]

    def forward(self, net: Net) -> Tensor:
        """`out` [..., B, O] for the inputs in `x`; the next call overwrites it."""
        x = self._x
        for i, (layer, out) in enumerate(zip(net.layers, self._outs, strict=True)):
            torch.baddbmm(layer.bias, x, layer.weight_t, out=out)
            if layer.gain is not None:
                before = out.clone()
                normed, mean, rstd = torch.native_layer_norm(before, out.shape[-1:], None, None, LAYER_NORM_EPS)
                self._norms[i] = (before, normed, mean, rstd)
                torch.addcmul(layer.shift, layer.gain, normed, out=out)
            if i < len(self._grads):
                out.relu_()
            x = out
        return self.out

    def backward(self, net: Net, grad: Tensor, into: Net) -> None:
        """Writes the gradient of every parameter into `into`, given the gradient [..., B, O] by the outputs."""
        grad = grad.flatten(0, -3)
        for i in range(len(net.layers) - 1, -1, -1):
            x, weight = (self._outs[i - 1] if i else self._x), into.layers[i].weight
            torch.sum(grad, 1, keepdim=True, out=into.layers[i].bias)
            if weight.shape[2] < weight.shape[1]:  # BLAS is slow at few columns, not at few rows
                into.layers[i].weight_t.copy_(torch.bmm(x.transpose(1, 2), grad))
            else:
                torch.bmm(grad.transpose(1, 2), x, out=weight)
            if i:
                grad = self._below(net, i, grad, into)

    def input_gradient(self, net: Net, grad: Tensor, first: int) -> Tensor:
        """Gradient by the inputs from column `first` on, transposed [..., I - first, B]; no parameter's."""
        grad = grad.flatten(0, -3)
        for i in range(len(net.layers) - 1, 0, -1):
            grad = self._below(net, i, grad, None)
        return torch.bmm(net.layers[0].weight_t[:, first:], grad.transpose(1, 2)).unflatten(0, net.lead)

    def _below(self, net: Net, i: int, grad: Tensor, into: Net | None) -> Tensor:
        """Gradient by what layer i - 1 adds up, before its normalisation, given the one by what layer i adds up."""
        weight, below, layer = net.layers[i].weight, self._grads[i - 1], net.layers[i - 1]
        if weight.shape[1] == 1:
            torch.mul(grad, weight, out=below)
        else:
            torch.bmm(grad, weight, out=below)
        torch.ops.aten.threshold_backward.grad_input(below, self._outs[i - 1], 0, grad_input=below)
        if layer.gain is None:
            return below
        before, normed, mean, rstd = self._norms[i - 1]
        if into is not None:
            torch.sum(below, 1, keepdim=True, out=into.layers[i - 1].shift)
            torch.sum(below * normed, 1, keepdim=True, out=into.layers[i - 1].gain)
        below *= layer.gain
        width, wanted = below.shape[-1:], [True, False, False]
        return torch.ops.aten.native_layer_norm_backward(below, before, width, mean, rstd, None, None, wanted)[0]
