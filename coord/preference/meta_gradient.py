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
action, the number of actions for one that lists them). A critic is a network of `coord.mlps` with leading axes [M, 2],
its two heads together. A critic with layer normalisation takes the second-order graph: the formula is for dense layers.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from coord import mlps

Layers = list[tuple[Tensor, Tensor]]  # weight [M, 2, out, in], bias [M, 2, out]


class Inner(NamedTuple):
    """The batch of the critic's step."""

    rows: Tensor  # [M, B, F] network inputs
    pick: Tensor  # [M, B, C] value = (outputs * pick).sum(-1): ones, or the one-hot of the action
    target: Tensor  # [M, B] predicted reward plus bootstrapped rest
    lr: float | Tensor  # step size of the descent; `alignment` also takes one per member, [M, 1, 1]


class Outer(NamedTuple):
    """Labelled pairs as the critic sees them; the rows are s_0 of both sides, then s_H where the score reads it."""

    rows: Tensor  # [M, R, F], R = 2K or 4K, in the order (end, pair, side)
    pick: Tensor  # [M, R, C] as in `Inner`; for s_H of a critic that lists actions, the policy's probabilities
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

    values [M, 2, R]: what each head says of each row. H = 2 for heads=both, else 1.
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
        margin = margin / margin.detach().std(dim=-1, keepdim=True).clamp_min(1e-8)
    cross_entropy = F.softplus(margin) - outer.target.unsqueeze(1) * margin
    return cross_entropy.mean(-1).sum(-1)


# ---------------------------------------------------------------------------------------- the inner network


def _layers(critic: mlps.Params) -> Layers:
    names = [f"dense{layer}" for layer in range(mlps.depth(critic))] + ["head"]
    return [(critic[f"{name}.weight"], critic[f"{name}.bias"]) for name in names]


def _forward(layers: Layers, rows: Tensor) -> tuple[list[Tensor], Tensor]:
    """Inputs of every layer [M, 2, B, in] and outputs [M, 2, B, C] of a critic on rows [M, B, F]."""
    x = rows.unsqueeze(1).expand(-1, 2, -1, -1)
    inputs = []
    for number, (weight, bias) in enumerate(layers):
        x = F.relu(x) if number else x
        inputs.append(x)
        x = x @ weight.mT + bias.unsqueeze(-2)
    return inputs, x


def _backward_signals(layers: Layers, inputs: list[Tensor], cotangent: Tensor) -> list[Tensor]:
    """Derivative of sum(cotangent * outputs) by the pre-activations of every layer, [M, 2, B, out] each."""
    signals = [cotangent]
    for (weight, _), below in zip(layers[:0:-1], inputs[:0:-1], strict=True):
        signals.insert(0, (signals[0] @ weight) * (below > 0))
    return signals


class _Stepped(NamedTuple):
    """The outer rows in the critic after its step, layer by layer."""

    grams: list[Tensor]  # [M, 2, R, B] h_j . h_i + 1
    inputs: list[Tensor]  # [M, 2, R, in]
    outputs: Tensor  # [M, 2, R, C]


def _forward_stepped(layers: Layers, inputs: list[Tensor], steps: list[Tensor], rows: Tensor) -> _Stepped:
    """Outputs of `rows` [M, R, F] with parameters theta - sum_i steps_i h_i'."""
    x = rows.unsqueeze(1).expand(-1, 2, -1, -1)
    grams, hidden = [], []
    for number, ((weight, bias), at, step) in enumerate(zip(layers, inputs, steps, strict=True)):
        x = F.relu(x) if number else x
        hidden.append(x)
        grams.append(x @ at.mT + 1.0)
        x = x @ weight.mT + bias.unsqueeze(-2) - grams[-1] @ step
    return _Stepped(grams, hidden, x)


def _kernel_sum(
    layers: Layers, inputs: list[Tensor], signals: list[Tensor], scale: Tensor, stepped: _Stepped, cotangent: Tensor
) -> Tensor:
    """c [M, B]: the backward pass of the rows at theta_hat, meeting the batch's signals at every layer.

    cotangent [M, 2, R, C]: derivative of the loss by `stepped.outputs`; scale [M, 2, B]: steps = scale * signals.
    """
    signal, total = cotangent, torch.zeros_like(scale)
    for number in range(len(layers) - 1, -1, -1):
        products = signal @ signals[number].mT  # [M, 2, R, B] d_j . d_i
        total += (products * stepped.grams[number]).sum(-2)
        if number:
            below = signal @ layers[number][0] - (products * scale.unsqueeze(-2)) @ inputs[number]
            signal = below * (stepped.inputs[number] > 0)
    return total.sum(1)


# ------------------------------------------------------------------------------------------ the meta gradient


def reward_gradient(
    critic: mlps.Params, inner: Inner, outer: Outer, rule: Rule, steps: int = 1
) -> tuple[Tensor, Tensor]:
    """dL_out/dr [M, B], to be pulled back through the reward model; and the outer loss [M] at theta_hat.

    By the formula above for one step of a critic of dense layers, else by the second-order graph.
    """
    if steps == 1 and "norm0.weight" not in critic:
        credit, loss = alignment(critic, inner, outer, rule)
        return credit * (2.0 * inner.lr / credit.shape[-1]), loss
    return by_second_order_graph(critic, inner, outer, rule, steps)


@torch.no_grad()
def alignment(critic: mlps.Params, inner: Inner, outer: Outer, rule: Rule) -> tuple[Tensor, Tensor]:
    """c [M, B] of the formula above, and the outer loss [M] at theta_hat; the critic has no layer normalisation.

    c_i is positive where a higher reward of row i would raise the loss.
    """
    layers = _layers(critic)
    inputs, outputs = _forward(layers, inner.rows)
    pick = inner.pick.unsqueeze(1)
    signals = _backward_signals(layers, inputs, pick.expand_as(outputs).contiguous())
    error = (outputs * pick).sum(-1) - inner.target.unsqueeze(1)  # [M, 2, B]
    scale = error * (2.0 * inner.lr / error.shape[-1])
    stepped = _forward_stepped(layers, inputs, [scale.unsqueeze(-1) * d for d in signals], outer.rows)
    values = (stepped.outputs * outer.pick.unsqueeze(1)).sum(-1)  # [M, 2, R]
    with torch.enable_grad():
        loss = outer_loss(values.requires_grad_(), outer, rule)
        (slope,) = torch.autograd.grad(loss.sum(), values)
    cotangent = slope.unsqueeze(-1) * outer.pick.unsqueeze(1)
    return _kernel_sum(layers, inputs, signals, scale, stepped, cotangent), loss.detach()


def by_second_order_graph(
    critic: mlps.Params, inner: Inner, outer: Outer, rule: Rule, steps: int = 1
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
    """Values [M, 2, B] of rows [M, B, F]."""
    return (mlps.apply(critic, rows.unsqueeze(1)) * pick.unsqueeze(1)).sum(-1)
