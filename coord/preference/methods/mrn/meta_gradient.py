"""The gradient of a preference loss on an updated critic, with respect to the reward that the update learnt from.

Inner problem: one step of gradient descent on the critic's loss, theta_hat = theta - lr grad_theta L_in, with
L_in = sum_h mean_i (Q_h(x_i; theta) - r_i - b_i)^2, where r_i is the predicted reward and b_i the rest of the target.
Outer problem: the cross-entropy L_out of preference labels under scores made of Q(.; theta_hat) (Liu et al. 2022,
equations 6, 10 and 12). Because L_in is quadratic in r, its mixed derivative needs no second-order graph:

    dL_out/dpsi = (2 lr / B) sum_i c_i grad_psi r_i,    c_i = sum_h <grad_h L_out(theta_hat), grad_h Q_h(x_i; theta)>.

c_i is a tangent kernel summed over the R rows of the outer batch. In a network of dense layers with inputs h and
backward signals d, the gradient of layer l is the outer product d h', so that

    c_i = sum_h sum_l sum_j (h_li . h_lj + 1) (d_li . d_lj),

h_li, d_li at theta, h_lj, d_lj at theta_hat; the 1 is the bias. theta_hat itself is theta plus B such products, so it
is never formed either: everything is [R, B] products, cheaper than a weight gradient while R is below the width.

Shapes: M members, B inner batch, R outer rows, K labelled pairs, F inputs, C outputs (1 for a critic that reads the
action, the number of actions for one that lists them). A critic is a network of `coord.nets.mlps` with leading axes
[M, H],
its H heads together: two of SAC, one of a value function. A critic with layer normalisation takes the second-order
graph: the formula is for dense layers.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from coord.nets import mlps
from coord.returns import deviation

Layers = list[tuple[Tensor, Tensor]]  # weight [G, out, in], bias [G, 1, out]


class CriticInnerStep(NamedTuple):
    """The batch of the critic's step."""

    rows: Tensor  # [M, B, F] network inputs
    pick: Tensor  # [M, B, C] value = (outputs * pick).sum(-1): ones, or the one-hot of the action
    target: Tensor  # [M, B] predicted reward plus bootstrapped rest
    lr: float | Tensor  # step size of the descent; `alignment` also takes one per member, [M, 1, 1]


class Outer(NamedTuple):
    """Labelled pairs as the critic sees them; the rows are s_0 of both sides, then s_H where the score reads it."""

    rows: Tensor  # [M, R, F], R = 2K or 4K, in the order (end, pair, side)
    # [M, R, C] as in `CriticInnerStep`; for s_H of a critic that lists actions, the policy's probabilities
    pick: Tensor
    entropy: Tensor  # [M, K, 2] entropy bonus within V(s_H); not read where R = 2K
    discount: float  # gamma^H, what V(s_H) is multiplied by; not read where R = 2K
    target: Tensor  # [M, K] probability that the second side is preferred


class Rule(NamedTuple):
    """How values become a loss."""

    heads: str = "both"  # both (one loss per head, summed), min or mean (one loss of the joined heads)
    temperature: float = 1.0  # the scores are divided by it; 0: by their own standard deviation, a constant


# ------------------------------------------------------------------------------------------- the outer loss


def scores(values: Tensor, outer: Outer, heads: str = "both") -> Tensor:
    """Scores [M, H, K, 2] of segments: Q(s_0, a_0), less gamma^H V(s_H) where there are rows for it.

    values [M, heads, R]: what each head says of each row. H is all of them for heads=both, else 1.
    """
    if heads != "both":
        values = (values.amin(1) if heads == "min" else values.mean(1)).unsqueeze(1)
    pairs = outer.target.shape[-1]
    ends = values.unflatten(-1, (-1, pairs, 2))  # [M, H, 1 or 2, K, 2]
    if ends.shape[2] == 1:
        return ends[:, :, 0]
    return ends[:, :, 0] - outer.discount * (ends[:, :, 1] + outer.entropy.unsqueeze(1))


def outer_loss(values: Tensor, outer: Outer, rule: Rule) -> Tensor:
    """Cross-entropy [M] of the labels under a Bradley-Terry model of the scores, summed over heads."""
    margin = scores(values, outer, rule.heads).diff(dim=-1).squeeze(-1)  # [M, H, K] second minus first
    if rule.temperature:
        margin = margin / rule.temperature
    else:
        margin = margin / deviation(margin.detach(), (-1,)).clamp_min(1e-8)
    cross_entropy = F.softplus(margin) - outer.target.unsqueeze(1) * margin
    return cross_entropy.mean(-1).sum(-1)


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


def reward_gradient(
    critic: mlps.Params, inner: CriticInnerStep, outer: Outer, rule: Rule, steps: int = 1
) -> tuple[Tensor, Tensor]:
    """dL_out/dr [M, B], to be pulled back through the reward model; and the outer loss [M] at theta_hat.

    By the formula above for one step of a critic of dense layers, else by the second-order graph.
    """
    if steps == 1 and "norm0.weight" not in critic:
        credit, loss = alignment(critic, inner, outer, rule)
        return credit * (2.0 * inner.lr / credit.shape[-1]), loss
    return by_second_order_graph(critic, inner, outer, rule, steps)


@torch.no_grad()
def alignment(critic: mlps.Params, inner: CriticInnerStep, outer: Outer, rule: Rule) -> tuple[Tensor, Tensor]:
    """c [M, B] of the formula above, and the outer loss [M] at theta_hat; the critic has no layer normalisation.

    c_i is positive where a higher reward of row i would raise the loss.
    """
    layers, heads = _layers(critic), critic["head.bias"].shape[:2]
    rows, pick, outer_rows, outer_pick = (
        part.repeat_interleave(heads[1], 0) for part in (inner.rows, inner.pick, outer.rows, outer.pick)
    )
    inputs, outputs = _forward(layers, rows)
    error = (outputs * pick).sum(-1) - inner.target.repeat_interleave(heads[1], 0)  # [G, B]
    scale = error.unflatten(0, heads) * (2.0 * inner.lr / error.shape[-1])
    step = _Step(layers, inputs, _backward_signals(layers, inputs, pick), scale.flatten(0, 1).unsqueeze(1))
    stepped = _forward_stepped(step, outer_rows)
    values = (stepped.outputs * outer_pick).sum(-1).unflatten(0, heads)  # [M, H, R]
    with torch.enable_grad():
        loss = outer_loss(values.requires_grad_(), outer, rule)
        (slope,) = torch.autograd.grad(loss.sum(), values)
    cotangent = slope.flatten(0, 1).unsqueeze(-1) * outer_pick
    return _kernel_sum(step, stepped, cotangent).unflatten(0, heads).sum(1), loss.detach()


def by_second_order_graph(
    critic: mlps.Params, inner: CriticInnerStep, outer: Outer, rule: Rule, steps: int = 1
) -> tuple[Tensor, Tensor]:
    """As `reward_gradient`, by differentiating through `steps` steps of any critic."""
    target = inner.target.detach().requires_grad_()
    theta = {name: tensor.detach().requires_grad_() for name, tensor in critic.items()}
    for _ in range(steps):
        error = _values(theta, inner.rows, inner.pick) - target.unsqueeze(1)
        slopes = torch.autograd.grad(error.square().mean(-1).sum(), list(theta.values()), create_graph=True)
        theta = {name: theta[name] - inner.lr * slope for name, slope in zip(theta, slopes, strict=True)}
    loss = outer_loss(_values(theta, outer.rows, outer.pick), outer, rule)
    return torch.autograd.grad(loss.sum(), target)[0], loss.detach()


def _values(critic: mlps.Params, rows: Tensor, pick: Tensor) -> Tensor:
    """Values [M, H, B] of rows [M, B, F]."""
    return (mlps.apply(critic, rows.unsqueeze(1)) * pick.unsqueeze(1)).sum(-1)
