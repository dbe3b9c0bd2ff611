"""The derivatives of SAC's losses by the outputs of its networks, by hand; `coord.algos.sac` has the definitions.

Tests compare every one with autograd through the pure functions. M members, B rows of each, A numbers per action
(discrete: actions), two critics; losses are means over a member's own rows.
"""

from __future__ import annotations

import torch
from torch import Tensor

from coord.kernels.backprop import Tape, TrainedNetwork
from coord.nets import heads

_MIDDLE = sum(heads.LOG_STD_BOUNDS) / 2
_HALF_WIDTH = (heads.LOG_STD_BOUNDS[1] - heads.LOG_STD_BOUNDS[0]) / 2


def of_critic(values: Tensor, index: Tensor | None, q: Tensor, y: Tensor) -> Tensor:
    """Of the critic loss by the critics' outputs `values` [M, 2, B, C], of which `index` [M, 2, B, 1] picked q.

    index: None for a single output; q [M, 2, B], targets y [M, B].
    """
    grad = ((q - y[:, None]) * (2 / q.shape[-1]))[..., None]
    return grad if index is None else torch.zeros_like(values).scatter_(-1, index, grad)


def of_gaussian_actor(
    out: Tensor, noise: Tensor, act: Tensor, q: Tensor, critic: TrainedNetwork, tape: Tape, alpha: Tensor
) -> Tensor:
    """Of the actor loss by the actor's outputs `out` [M, B, 2A], which with noise [M, B, A] gave act.

    q [M, 2, B]: what the critic made of act, whose tape knows the way back; alpha [M].
    """
    batch = q.shape[-1]
    first = (q[:, :1] <= q[:, 1:]).to(q.dtype)  # whether the minimum is the first head's
    by_q = torch.cat([first, 1 - first], 1)[..., None] / -batch
    columns = critic.net.layers[0].weight.shape[-1] - act.shape[-1]  # before those of the action
    by_act = tape.input_gradient(critic.net, by_q, columns).sum(1).transpose(1, 2)
    return tanh_gaussian_gradient(out, noise, act, by_act, alpha[:, None, None] / batch)


def of_discrete_actor(q: Tensor, logp: Tensor, alpha: Tensor) -> Tensor:
    """Of the actor loss by the logits [M, B, A]; q [M, 2, B, A] and logp [M, B, A] of all actions, alpha [M]."""
    soft = q.amin(1) - alpha[:, None, None] * logp
    return categorical_gradient(logp, soft / -logp.shape[1])


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
