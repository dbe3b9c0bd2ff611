"""PPO's loss and its derivative by hand, row by row: the fast path of `coord.algos.ppo.loss`, which is the definition.

One pass over the rows, without the dozen tensors that autograd keeps of the ratio, the clipped ratio, the clipped value
and so on. A test holds values and gradients to the definition.
"""

from __future__ import annotations

import math
from typing import Any

import numba as nb
import numpy as np
import torch
from torch import Tensor

from coord.compile_cache import EXACT, FAST
from coord.types import NUM_ACTIONS

LOSS_PARTS = ("policy_loss", "value_loss", "entropy", "approx_kl", "clip_share")


# --------------------------------------------------------------------------------- formulas and derivatives


@nb.njit(**FAST)
def surrogate(logp, old_logp, adv, clip_coef):  # type: ignore[no-untyped-def]
    """-min(r A, clip(r, 1-c, 1+c) A) with r = exp(logp - old_logp), and its derivative by logp."""
    # Branches on the ratio, not on the products: rounding must not decide which side of the minimum is active.
    ratio = math.exp(logp - old_logp)
    if adv >= 0 and ratio > 1 + clip_coef:
        return -(1 + clip_coef) * adv, 0.0
    if adv < 0 and ratio < 1 - clip_coef:
        return -(1 - clip_coef) * adv, 0.0
    return -ratio * adv, -ratio * adv


@nb.njit(**FAST)
def value_error(val, old_val, ret, clip_coef):  # type: ignore[no-untyped-def]
    """0.5 max((V-R)^2, (V_clipped-R)^2), V_clipped within clip_coef of the old value, and its derivative by V."""
    plain = val - ret
    if abs(val - old_val) <= clip_coef:
        return 0.5 * plain * plain, plain
    moved = old_val + math.copysign(clip_coef, val - old_val) - ret
    if plain * plain >= moved * moved:
        return 0.5 * plain * plain, plain
    return 0.5 * moved * moved, 0.0


@nb.njit(**FAST)
def log_softmax(logits, logp, prob):  # type: ignore[no-untyped-def]
    """log softmax and softmax of the first six entries of a row; returns the entropy in nats."""
    top = logits[0]
    for a in range(1, NUM_ACTIONS):
        top = max(top, logits[a])
    total = logits.dtype.type(0)
    for a in range(NUM_ACTIONS):
        logp[a] = logits[a] - top
        prob[a] = math.exp(logp[a])
        total += prob[a]
    norm = math.log(total)
    ent = logits.dtype.type(0)
    for a in range(NUM_ACTIONS):
        logp[a] -= norm
        prob[a] /= total
        ent -= prob[a] * logp[a]
    return ent


@nb.njit(**FAST)
def loss_row(out, act, scalars, coefs, scale, grad, work, parts):  # type: ignore[no-untyped-def]
    """Loss of one row: adds its parts (times scale) to `parts` and writes the gradient by `out` [7] to `grad`.

    scalars: old_logp, old_val, adv, ret; coefs: clip_coef, vf_coef, ent_coef; work [2, 6]: scratch.
    """
    logp, prob = work[0], work[1]
    ent = log_softmax(out, logp, prob)
    old_logp, old_val, adv, ret = scalars[0], scalars[1], scalars[2], scalars[3]
    clip_coef, vf_coef, ent_coef = coefs[0], coefs[1], coefs[2]
    loss, by_logp = surrogate(logp[act], old_logp, adv, clip_coef)
    error, by_val = value_error(out[NUM_ACTIONS], old_val, ret, clip_coef)
    for a in range(NUM_ACTIONS):
        grad[a] = scale * prob[a] * (ent_coef * (logp[a] + ent) - by_logp)
    grad[act] += scale * by_logp
    grad[NUM_ACTIONS] = scale * vf_coef * by_val
    parts[0] += scale * loss
    parts[1] += scale * error
    parts[2] += scale * ent
    parts[3] += scale * (old_logp - logp[act])
    parts[4] += scale if by_logp == 0 and adv != 0 else 0


def total_loss(parts: Tensor, coefs: Tensor) -> Tensor:
    """policy_loss + vf_coef value_loss - ent_coef entropy, [M], of parts [M, 5] (`LOSS_PARTS`)."""
    return parts[:, 0] + coefs[:, 1] * parts[:, 1] - coefs[:, 2] * parts[:, 2]


# ------------------------------------------------------------------------ the loss of any network's outputs


@nb.njit(**EXACT)
def _loss_rows(out, act, scalars, coefs, grad, parts):  # type: ignore[no-untyped-def]
    """Losses of a minibatch and their gradient by the network's outputs."""
    members, batch, _ = out.shape
    work = np.empty((2, NUM_ACTIONS), out.dtype)
    scale = out.dtype.type(1.0 / batch)
    for m in range(members):
        for b in range(batch):
            loss_row(out[m, b], act[m, b], scalars[m, b], coefs[m], scale, grad[m, b], work, parts[m])


class _PPOLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, out: Tensor, act: Tensor, scalars: Tensor, coefs: Tensor) -> tuple[Tensor, Tensor]:
        grad = torch.empty_like(out)
        parts = torch.zeros(out.shape[0], len(LOSS_PARTS), dtype=out.dtype)
        _loss_rows(*(t.detach().numpy() for t in (out, act, scalars, coefs, grad, parts)))
        ctx.save_for_backward(grad)
        ctx.mark_non_differentiable(parts)
        return total_loss(parts, coefs), parts

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        (grad,) = ctx.saved_tensors
        return grad * grads[0][:, None, None], None, None, None


def fast_loss(out: Tensor, act: Tensor, scalars: Tensor, coefs: Tensor) -> tuple[Tensor, Tensor]:
    """What `coord.algos.ppo.loss` defines, differentiable by `out` only: loss [M] and its parts [M, 5] (`LOSS_PARTS`).

    out [M, B, 7]: logits and value; act [M, B] int64; scalars [M, B, 4]: old_logp, old_val, adv, ret;
    coefs [M, 3]: clip_coef, vf_coef, ent_coef.
    """
    return _PPOLoss.apply(out, act, scalars, coefs)
