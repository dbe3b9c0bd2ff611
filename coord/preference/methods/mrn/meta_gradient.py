"""The gradient of `coord.preference.methods.mrn.mrn`'s outer loss by the rewards of its trial step, by hand.

There, theta_hat = theta - lr grad_theta L_in with L_in = sum_h mean_i (Q_h(x_i; theta) - r_i - b_i)^2. Because L_in is
quadratic in r, its mixed derivative needs no second-order graph:

    dL_out/dpsi = (2 lr / B) sum_i c_i grad_psi r_i,    c_i = sum_h <grad_h L_out(theta_hat), grad_h Q_h(x_i; theta)>.

c_i is a tangent kernel summed over the R rows of the outer batch. In a network of dense layers with inputs h and
backward signals d, the gradient of layer l is the outer product d h', so that

    c_i = sum_h sum_l sum_j (h_li . h_lj + 1) (d_li . d_lj),

h_li, d_li at theta, h_lj, d_lj at theta_hat; the 1 is the bias. theta_hat itself is theta plus B such products, so it
is never formed either: everything is [R, B] products, cheaper than a weight gradient while R is below the width.

Shapes: M members, B inner batch, R outer rows, K labelled pairs, F inputs, C outputs (1 for a critic that reads the
action, the number of actions for one that lists them). A critic is a network of `coord.nets.mlps` with leading axes
[M, H], its H heads together: two of SAC, one of a value function. The formula is for one step of dense layers: several
steps and layer normalisation take the second-order graph (`second_order_gradient`, to which tests hold this).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from coord.nets import mlps

Layers = list[tuple[Tensor, Tensor]]  # weight [G, out, in], bias [G, 1, out]


class CriticInnerStep(NamedTuple):
    """The batch of the critic's step."""

    rows: Tensor  # [M, B, F] network inputs
    pick: Tensor  # [M, B, C] value = (outputs * pick).sum(-1): ones, or the one-hot of the action
    target: Tensor  # [M, B] predicted reward plus bootstrapped rest
    lr: float | Tensor  # step size of the descent; `alignment` also takes one per member, [M, 1, 1]


# ---------------------------------------------------------------------------------------- the inner network
# G = M H: the heads of all members side by side.


def _layers(critic: mlps.Params) -> Layers:
    names = [f"dense{layer}" for layer in range(mlps.depth(critic))] + ["head"]
    return [(critic[f"{n}.weight"].flatten(0, 1), critic[f"{n}.bias"].flatten(0, 1)[:, None]) for n in names]


def _forward(layers: Layers, rows: Tensor) -> tuple[list[Tensor], Tensor]:
    """Inputs of every layer [G, B, in] and outputs [G, B, C] of critics on rows [G, B, F]."""
    inputs = [rows]
    for weight, bias in layers[:-1]:
        inputs.append(torch.baddbmm(bias, inputs[-1], weight.mT).relu_())
    weight, bias = layers[-1]
    return inputs, torch.baddbmm(bias, inputs[-1], weight.mT)


def _below(signal: Tensor, weight: Tensor) -> Tensor:
    """signal [G, B, out] times weight [G, out, in]; the product of matrices is slow for a single output."""
    return signal * weight if weight.shape[1] == 1 else signal @ weight


def _through_relu(grad: Tensor, after: Tensor) -> Tensor:
    """grad where the ReLU that gave `after` was open, in place."""
    return torch.ops.aten.threshold_backward.grad_input(grad, after, 0, grad_input=grad)


def _backward_signals(layers: Layers, inputs: list[Tensor], cotangent: Tensor) -> list[Tensor]:
    """Derivative of sum(cotangent * outputs) by the pre-activations of every layer, [G, B, out] each."""
    signals = [cotangent]
    for (weight, _), after in zip(layers[:0:-1], inputs[:0:-1], strict=True):
        signals.insert(0, _through_relu(_below(signals[0], weight), after))
    return signals


class _Step(NamedTuple):
    """A step of all critics, theta_l - sum_i scale_i signals_li inputs_li', never formed."""

    layers: Layers
    inputs: list[Tensor]  # per layer [G, B, in]
    signals: list[Tensor]  # per layer [G, B, out]
    scale: Tensor  # [G, 1, B]


class _Stepped(NamedTuple):
    """The outer rows in the critics after their step, layer by layer."""

    grams: list[Tensor]  # [G, R, B] h_j . h_i + 1
    inputs: list[Tensor]  # [G, R, in]
    outputs: Tensor  # [G, R, C]


def _forward_stepped(step: _Step, rows: Tensor) -> _Stepped:
    """The rows [G, R, F] through the critics after the step."""
    x, grams, hidden = rows, [], []
    for number, (weight, bias) in enumerate(step.layers):
        x = x.relu_() if number else x
        hidden.append(x)
        grams.append(x @ step.inputs[number].mT + 1.0)
        before = torch.baddbmm(bias, x, weight.mT)
        x = torch.baddbmm(before, grams[-1] * step.scale, step.signals[number], alpha=-1.0)
    return _Stepped(grams, hidden, x)


def _kernel_sum(step: _Step, stepped: _Stepped, cotangent: Tensor) -> Tensor:
    """sum_l sum_j (h_li . h_lj + 1) (d_li . d_lj), [G, B]: the rows' way back, meeting the batch at every layer.

    cotangent [G, R, C]: derivative of the loss by `stepped.outputs`.
    """
    signal, total = cotangent, torch.zeros_like(step.scale[:, 0])
    for number in range(len(step.layers) - 1, -1, -1):
        products = signal @ step.signals[number].mT  # [G, R, B] d_j . d_i
        total += (products * stepped.grams[number]).sum(1)
        if number:
            signal = _below(signal, step.layers[number][0])
            signal = torch.baddbmm(signal, products * step.scale, step.inputs[number], alpha=-1.0)
            signal = _through_relu(signal, stepped.inputs[number])
    return total


# ------------------------------------------------------------------------------------------ the meta gradient


@torch.no_grad()
def alignment(
    critic: mlps.Params, inner: CriticInnerStep, rows: Tensor, pick: Tensor, loss: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor]:
    """c [M, B] of the formula above, and the outer loss [M] at theta_hat; the critic has no layer normalisation.

    rows [M, R, F], pick [M, R, C]: what the outer loss asks the critic for; loss: of the values [M, H, R], [M].
    c_i is positive where a higher reward of row i would raise the loss.
    """
    layers, heads = _layers(critic), critic["head.bias"].shape[:2]
    inner_rows, inner_pick, outer_rows, outer_pick = (
        part.repeat_interleave(heads[1], 0) for part in (inner.rows, inner.pick, rows, pick)
    )
    inputs, outputs = _forward(layers, inner_rows)
    error = (outputs * inner_pick).sum(-1) - inner.target.repeat_interleave(heads[1], 0)  # [G, B]
    scale = error.unflatten(0, heads) * (2.0 * inner.lr / error.shape[-1])
    step = _Step(layers, inputs, _backward_signals(layers, inputs, inner_pick), scale.flatten(0, 1).unsqueeze(1))
    stepped = _forward_stepped(step, outer_rows)
    values = (stepped.outputs * outer_pick).sum(-1).unflatten(0, heads)  # [M, H, R]
    with torch.enable_grad():
        outer_loss = loss(values.requires_grad_())
        (slope,) = torch.autograd.grad(outer_loss.sum(), values)
    cotangent = slope.flatten(0, 1).unsqueeze(-1) * outer_pick
    return _kernel_sum(step, stepped, cotangent).unflatten(0, heads).sum(1), outer_loss.detach()
