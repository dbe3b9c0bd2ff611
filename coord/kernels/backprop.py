"""Training a population network (`coord.nets.mlps`) without autograd, for updates that are called a million times.

`mlps.apply` is the definition; here are the same outputs and their gradients by hand: no graph, no gradient that nobody
asked for (a parameter's in the actor loss, the inputs' in the critic loss), no allocation, all networks of a layer in
one batched product with the bias inside. What is left is close to the time that the matrix products take. Tests compare
every gradient with autograd.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from coord.nets import mlps
from coord.nets.mlps import Params
from coord.nets.optim import FusedAdam

TAPES = 4  # batch sizes for which a learner keeps buffers
WIDE = 256  # hidden units from which skipping rows saves more than gathering the others costs


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

        names = [(f"dense{i}", f"norm{i}") for i in range(mlps.depth(params))] + [("head", "")]
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
                normed, mean, rstd = torch.native_layer_norm(before, out.shape[-1:], None, None, mlps.LAYER_NORM_EPS)
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
        if net.layers[0].gain is None and net.layers[0].weight.shape[1] >= WIDE:
            return self._routed(net, grad, first).unflatten(0, net.lead)
        for i in range(len(net.layers) - 1, 0, -1):
            grad = self._below(net, i, grad, None)
        return torch.bmm(net.layers[0].weight_t[:, first:], grad.transpose(1, 2)).unflatten(0, net.lead)

    def _routed(self, net: Net, grad: Tensor, first: int) -> Tensor:
        """`input_gradient` [G, I - first, B], network by network, for the rows alone whose gradient is not zero.

        Where outputs compete (the smaller of two critics), half of all rows get none.
        """
        inputs = net.layers[0].weight_t[:, first:]
        out = grad.new_zeros(len(grad), inputs.shape[1], self.batch)
        for g, by_out in enumerate(grad):
            rows = by_out.any(1).nonzero()[:, 0]
            below = by_out[rows]
            for i in range(len(net.layers) - 1, 0, -1):
                below = below @ net.layers[i].weight[g]
                torch.ops.aten.threshold_backward.grad_input(below, self._outs[i - 1][g, rows], 0, grad_input=below)
            out[g].index_copy_(1, rows, inputs[g] @ below.T)
        return out

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


class TrainedNetwork:
    """A network that is trained: its parameters, their gradients, AdamW, and tapes for the batch sizes in use."""

    def __init__(self, params: Params, *, weight_decay: float = 0.0) -> None:
        self.params, self.net = params, Net.of(params)
        self.grads = {name: torch.empty_like(tensor) for name, tensor in params.items()}
        self.optim = FusedAdam(params, weight_decay=weight_decay)
        self._into = Net.of(self.grads)
        self._tapes: dict[int, Tape] = {}

    def forward(self, x: Tensor, net: Net | None = None) -> tuple[Tensor, Tape]:
        """Outputs [..., B, O] for x [..., B, I], which is broadcast, and the tape; `net`: another of the same shape.

        The outputs are a buffer, valid until the next pass over as many rows.
        """
        batch = x.shape[-2]
        if batch not in self._tapes:
            if len(self._tapes) == TAPES:
                self._tapes.pop(next(iter(self._tapes)))
            self._tapes[batch] = Tape(self.net, batch)
        tape = self._tapes[batch]
        tape.x.copy_(x)
        return tape.forward(net or self.net), tape

    def step(self, tape: Tape, grad: Tensor, lr: float) -> None:
        """One step of AdamW along the gradient that belongs to `grad` [..., B, O] by the outputs on the tape."""
        tape.backward(self.net, grad, self._into)
        self.optim.step(self.grads, lr)
