"""A gated recurrent unit over the population axis, for whole sequences: compiled forward and backward in time.

    r = sigmoid(gx_r + gh_r)    z = sigmoid(gx_z + gh_z)    n = tanh(gx_n + r gh_n)    h' = (1 - z) n + z h

with gx = W_x x + b_x, which a dense layer computes for all ticks at once, and gh = W_h h + b_h, which has to wait for
the tick before (Cho et al. 2014, in the variant of cuDNN and PyTorch). One task of the parallel region takes ROWS
sequences through all their ticks, so that their states stay in the cache; blocks do not depend on the number of
threads, so neither do the bits.
"""

from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np
import torch
from torch import Tensor

from coord.compile_cache import EXACT, FAST
from coord.forks import one_thread_after_fork

ROWS = 64  # sequences per task: 64 x 64 x 64 is the largest product that OpenBLAS keeps on the calling thread


@nb.njit(**EXACT)
def _recur(hidden, weight, bias, gates):  # type: ignore[no-untyped-def]
    """gates [3, n, H] = W_h h + b_h of the three gates; weight [3, H, H], bias [3, H]."""
    for gate in range(3):
        np.dot(hidden, weight[gate].T, gates[gate])
        gates[gate] += bias[gate]


@nb.njit(inline="always", **FAST)
def tanh(x):  # type: ignore[no-untyped-def]
    """tanh within 5e-8 as a ratio of polynomials (least squares on [-9, 9]): loops over it become vector code."""
    kind = type(x)
    x = min(max(x, kind(-9)), kind(9))
    s = x * x
    above = kind(1.3096765032e-08)
    above = above * s + kind(2.0404396027e-05)
    above = above * s + kind(3.4823027491e-03)
    above = above * s + kind(1.3369535698e-01)
    above = above * s + kind(9.9999989627e-01)
    below = kind(7.6655829328e-07)
    below = below * s + kind(3.2645135919e-04)
    below = below * s + kind(2.5825516618e-02)
    below = below * s + kind(4.6702829114e-01)
    below = below * s + kind(1)
    return x * above / below


@nb.njit(**FAST)
def _gate_row(gx, gh, hidden, kept, out):  # type: ignore[no-untyped-def]
    """One tick of one sequence: r, z, n and gh_n into kept [4, H], the new state into out [H]."""
    width = len(hidden)
    half = hidden.dtype.type(0.5)
    for j in range(width):
        r = half + half * tanh(half * (gx[j] + gh[0, j]))
        z = half + half * tanh(half * (gx[width + j] + gh[1, j]))
        n = tanh(gx[2 * width + j] + r * gh[2, j])
        kept[0, j], kept[1, j], kept[2, j], kept[3, j] = r, z, n, gh[2, j]
        out[j] = n + z * (hidden[j] - n)


@nb.njit(**EXACT)
def _forward_block(gx, weight, bias, start, keep, kept, states):  # type: ignore[no-untyped-def]
    """n sequences: gx [T, n, 3H], start [n, H], keep [T, n] -> kept [T, n, 4, H], states [T, n, H]."""
    ticks, rows, width = states.shape
    hidden = start.copy()
    gates = np.empty((3, rows, width), start.dtype)
    for t in range(ticks):
        for i in range(rows):
            if not keep[t, i]:
                hidden[i] = 0
        _recur(hidden, weight, bias, gates)
        for i in range(rows):
            _gate_row(gx[t, i], gates[:, i], hidden[i], kept[t, i], states[t, i])
        hidden[:] = states[t]


@one_thread_after_fork
@nb.njit(parallel=True, **EXACT)
def _forward(gx, weight, bias, start, keep, kept, states):  # type: ignore[no-untyped-def]
    members, _, rows, _ = states.shape
    blocks = (rows + ROWS - 1) // ROWS
    for task in nb.prange(members * blocks):
        m, low = task // blocks, task % blocks * ROWS
        high = min(low + ROWS, rows)
        _forward_block(
            gx[m, :, low:high], weight[m], bias[m], start[m, low:high], keep[m, :, low:high],
            kept[m, :, low:high], states[m, :, low:high],
        )  # fmt: skip


@nb.njit(**FAST)
def _grad_row(grad, before, kept, grad_gx, grad_gh, carry):  # type: ignore[no-untyped-def]
    """One tick of one sequence back: gradient by the new state -> by gx [3H], by gh [3, H], and by h past the gates."""
    width = len(grad)
    one = grad.dtype.type(1)
    for j in range(width):
        r, z, n, gh_n = kept[0, j], kept[1, j], kept[2, j], kept[3, j]
        by_n = grad[j] * (one - z) * (one - n * n)
        by_z = grad[j] * (before[j] - n) * z * (one - z)
        by_r = by_n * gh_n * r * (one - r)
        grad_gx[j], grad_gx[width + j], grad_gx[2 * width + j] = by_r, by_z, by_n
        grad_gh[0, j], grad_gh[1, j], grad_gh[2, j] = by_r, by_z, by_n * r
        carry[j] = grad[j] * z


@nb.njit(**EXACT)
def _backward_block(weight, start, keep, kept, states, grad_states, grad_gx, grad_gh, grad_start):  # type: ignore[no-untyped-def]
    """n sequences from the last tick to the first; grad_gh [T, 3, n, H]."""
    ticks, rows, width = states.shape
    carry, grad = np.zeros((rows, width), start.dtype), np.empty((rows, width), start.dtype)
    product, zeros = np.empty((rows, width), start.dtype), np.zeros(width, start.dtype)
    by_gates = np.empty((3, rows, width), start.dtype)
    for t in range(ticks - 1, -1, -1):
        before = states[t - 1] if t > 0 else start
        grad[:] = grad_states[t] + carry
        for i in range(rows):
            known = before[i] if keep[t, i] else zeros
            _grad_row(grad[i], known, kept[t, i], grad_gx[t, i], by_gates[:, i], carry[i])
        for gate in range(3):
            np.dot(by_gates[gate], weight[gate], product)
            carry += product
        for i in range(rows):
            if not keep[t, i]:
                carry[i] = 0
        for gate in range(3):
            grad_gh[gate, t] = by_gates[gate]
    grad_start[:] = carry


@one_thread_after_fork
@nb.njit(parallel=True, **EXACT)
def _backward(weight, start, keep, kept, states, grad_states, grad_gx, grad_gh, grad_start):  # type: ignore[no-untyped-def]
    members, _, rows, _ = states.shape
    blocks = (rows + ROWS - 1) // ROWS
    for task in nb.prange(members * blocks):
        m, low = task // blocks, task % blocks * ROWS
        high = min(low + ROWS, rows)
        _backward_block(
            weight[m], start[m, low:high], keep[m, :, low:high], kept[m, :, low:high], states[m, :, low:high],
            grad_states[m, :, low:high], grad_gx[m, :, low:high], grad_gh[m, :, :, low:high], grad_start[m, low:high],
        )  # fmt: skip


def _three(tensor: Tensor) -> np.ndarray:
    """[M, 3H, ...] by gate: [M, 3, H, ...]."""
    return tensor.detach().unflatten(1, (3, -1)).numpy()


class _GRU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gx: Tensor, weight: Tensor, bias: Tensor, start: Tensor, keep: Tensor) -> Tensor:
        states = gx.new_empty(*gx.shape[:3], start.shape[-1])
        kept = gx.new_empty(*gx.shape[:3], 4, start.shape[-1])
        arrays = (t.numpy() for t in (start, keep, kept, states))
        _forward(gx.numpy(), _three(weight), _three(bias), *arrays)
        ctx.save_for_backward(weight, start, keep, kept, states)
        return states

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, None]:
        weight, start, keep, kept, states = ctx.saved_tensors
        members, ticks, rows, width = states.shape
        grad_gx, grad_start = states.new_empty(members, ticks, rows, 3 * width), torch.empty_like(start)
        grad_gh = states.new_empty(members, 3, ticks, rows, width)
        saved = (t.numpy() for t in (start, keep, kept, states, grads[0].contiguous(), grad_gx, grad_gh, grad_start))
        _backward(_three(weight), *saved)
        before = torch.cat([start[:, None], states[:, :-1]], 1) * keep[..., None]
        by_gate = grad_gh.view(members * 3, ticks * rows, width)
        repeated = before.reshape(members, 1, ticks * rows, width).expand(-1, 3, -1, -1).flatten(0, 1)
        grad_weight = torch.bmm(by_gate.transpose(1, 2), repeated).view(members, 3 * width, width)
        return grad_gx, grad_weight, by_gate.sum(1).view(members, 3 * width), grad_start, None


def gru(gx: Tensor, weight: Tensor, bias: Tensor, start: Tensor, keep: Tensor) -> Tensor:
    """States [M, T, B, H] of B sequences of T ticks.

    gx [M, T, B, 3H]: input's share of the gates r, z, n; weight [M, 3H, H], bias [M, 3H]; start [M, B, H]: state
    before the first tick; keep [M, T, B] bool: False where the state is forgotten before tick t.
    """
    return _GRU.apply(gx.contiguous(), weight.contiguous(), bias.contiguous(), start.contiguous(), keep.contiguous())
