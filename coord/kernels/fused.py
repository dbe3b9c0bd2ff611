"""One pass over a minibatch for the default network: forward, PPO loss, backward, block by block inside the cache.

Run as separate tensor operations, a minibatch of the small default network (`mlp_index`, hidden (64, 64)) spends most
of its time on dispatch, on waking threads and on activations that fall out of the cache. Here one compiled parallel
region takes ROWS rows at a time through the whole network and back, three to five times faster on two cores. The
general network (`coord.nets.population`) and the loss in `coord.algos.ppo` stay the definition: tests compare every
output and every gradient with autograd through them.

A minibatch is cut into CHUNKS pieces per member, each with gradient buffers of its own that are added up in a fixed
order, so the bits do not depend on the number of threads.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numba as nb
import numpy as np
import torch
from torch import Tensor

from coord.compile_cache import EXACT, FAST
from coord.forks import one_thread_after_fork
from coord.kernels.ppo_loss import LOSS_PARTS, loss_row
from coord.types import FIXED_POINT, HEADS, NUM_ACTIONS

WIDTH = 64  # of both hidden layers
ROWS = 64  # rows per block: 64 x 64 x 64 is the largest product that OpenBLAS keeps on the calling thread
CHUNKS = 4  # pieces of a minibatch per member
NUM_PARAMS = 7  # with those of dense inputs
_SERIAL_ROWS = 512  # below this, waking a second thread costs more than it brings
_U = np.uint64


def fits(kind: str, hidden: tuple[int, ...]) -> bool:
    """Whether these kernels know the architecture."""
    return kind == "mlp_index" and hidden == (WIDTH, WIDTH)


# ------------------------------------------------------------------------------------------------- kernels
# Flat arrays, unsigned indices and constant trip counts: needed for straight vector code (see coord.nets.population).


@nb.njit(**FAST)
def bag_row(table, bias, extra, idx, at, facts, rows, acc, out, o):  # type: ignore[no-untyped-def]
    """out[o:o+64] = relu(bias + sum of the table rows idx[at:at+facts] + dense inputs behind them times `extra`)."""
    for j in range(WIDTH):
        acc[j] = bias[j]
    for k in range(facts):
        row = _U(idx[at + _U(k)])
        if row >= rows:
            break
        first = row * _U(WIDTH)
        for j in range(WIDTH):
            acc[j] += table[first + _U(j)]
    unit = out.dtype.type(1 / FIXED_POINT)
    for e in range(extra.shape[0]):
        x = unit * out.dtype.type(idx[at + facts + _U(e)])
        for j in range(WIDTH):
            acc[j] += x * extra[e, j]
    for j in range(WIDTH):
        out[o + _U(j)] = max(acc[j], out.dtype.type(0))


@nb.njit(**FAST)
def _bias_relu(x, bias):  # type: ignore[no-untyped-def]
    for r in range(x.shape[0]):
        for j in range(WIDTH):
            x[r, j] = max(x[r, j] + bias[j], x.dtype.type(0))


@nb.njit(**FAST)
def _forward_block(idx, rows, first, weights, x0, x1, out):  # type: ignore[no-untyped-def]
    """Layers of the rows `rows[first : first + len(x0)]` of idx [R, K + E]."""
    table, bias0, weight1, bias1, weight2, bias2, extra = weights
    flat_idx, flat_table, flat_x0 = idx.reshape(-1), table.reshape(-1), x0.reshape(-1)
    stride, vocab = _U(idx.shape[1]), _U(table.shape[0])
    facts = stride - _U(extra.shape[0])
    acc = np.empty(WIDTH, x0.dtype)
    for r in range(x0.shape[0]):
        at = _U(rows[first + r]) * stride
        bag_row(flat_table, bias0, extra, flat_idx, at, facts, vocab, acc, flat_x0, _U(r) * _U(WIDTH))
    np.dot(x0, weight1.T, x1)
    _bias_relu(x1, bias1)
    np.dot(x1, weight2.T, out)
    for r in range(x0.shape[0]):
        for a in range(HEADS):
            out[r, a] += bias2[a]


@nb.njit(**FAST)
def _mask_and_sum(grad, x, total):  # type: ignore[no-untyped-def]
    """grad where x > 0, else 0; adds the column sums to `total`."""
    for r in range(grad.shape[0]):
        for j in range(WIDTH):
            g = grad[r, j] if x[r, j] > 0 else x.dtype.type(0)
            grad[r, j] = g
            total[j] += g


@nb.njit(**FAST)
def _scatter_row(grad, g, idx, at, facts, rows, table, extra):  # type: ignore[no-untyped-def]
    """Adds grad[g:g+64] to the table rows idx[at:at+facts], and times the dense inputs behind them to `extra`."""
    for k in range(facts):
        row = _U(idx[at + _U(k)])
        if row >= rows:
            break
        first = row * _U(WIDTH)
        for j in range(WIDTH):
            table[first + _U(j)] += grad[g + _U(j)]
    unit = grad.dtype.type(1 / FIXED_POINT)
    for e in range(extra.shape[0]):
        x = unit * grad.dtype.type(idx[at + facts + _U(e)])
        for j in range(WIDTH):
            extra[e, j] += x * grad[g + _U(j)]


@nb.njit(**FAST)
def _backward_block(idx, rows, first, weights, x0, x1, grad_out, scratch, grads):  # type: ignore[no-untyped-def]
    """Adds the gradients of one block to `grads`."""
    weight1, weight2 = weights[2], weights[4]
    table, bias0, grad1, bias1, grad2, bias2, extra = grads
    g0, g1, w1, w2 = scratch
    n = x0.shape[0]
    np.dot(grad_out.T, x1, w2)
    grad2 += w2
    for r in range(n):
        for a in range(HEADS):
            bias2[a] += grad_out[r, a]
    np.dot(grad_out, weight2, g1[:n])
    _mask_and_sum(g1[:n], x1, bias1)
    np.dot(g1[:n].T, x0, w1)
    grad1 += w1
    np.dot(g1[:n], weight1, g0[:n])
    _mask_and_sum(g0[:n], x0, bias0)
    flat_idx, flat_g0, flat_table = idx.reshape(-1), g0.reshape(-1), table.reshape(-1)
    stride, vocab = _U(idx.shape[1]), _U(table.shape[0])
    facts = stride - _U(extra.shape[0])
    for r in range(n):
        at = _U(rows[first + r]) * stride
        _scatter_row(flat_g0, _U(r) * _U(WIDTH), flat_idx, at, facts, vocab, flat_table, extra)


@nb.njit(**FAST)
def _learn_chunk(idx, rows, first, last, act, scalars, weights, coefs, grads, parts):  # type: ignore[no-untyped-def]
    """Rows first..last-1 of a member's minibatch: losses into parts [5], gradients into `grads` (both added)."""
    kind = scalars.dtype
    x0, x1 = np.empty((ROWS, WIDTH), kind), np.empty((ROWS, WIDTH), kind)
    out, grad = np.empty((ROWS, HEADS), kind), np.empty((ROWS, HEADS), kind)
    scratch = (
        np.empty((ROWS, WIDTH), kind),
        np.empty((ROWS, WIDTH), kind),
        np.empty((WIDTH, WIDTH), kind),
        np.empty((HEADS, WIDTH), kind),
    )
    work = np.empty((2, NUM_ACTIONS), kind)
    scale = kind.type(1.0 / rows.shape[0])
    for block in range(first, last, ROWS):
        n = min(ROWS, last - block)
        _forward_block(idx, rows, block, weights, x0[:n], x1[:n], out[:n])
        for r in range(n):
            row = rows[block + r]
            loss_row(out[r], act[row], scalars[row], coefs, scale, grad[r], work, parts)
        _backward_block(idx, rows, block, weights, x0[:n], x1[:n], grad[:n], scratch, grads)


@one_thread_after_fork
@nb.njit(parallel=True, **EXACT)
def _learn(idx, rows, act, scalars, weights, coefs, grads, parts):  # type: ignore[no-untyped-def]
    """idx [M*R, K + E], rows [M, B], weights [M, ...] each, coefs [M, 3], grads [M, C, ...] each, parts [M, C, 5]."""
    members, batch = rows.shape
    table, bias0, weight1, bias1, weight2, bias2, extra = weights
    g_table, g_bias0, g_weight1, g_bias1, g_weight2, g_bias2, g_extra = grads
    for task in nb.prange(members * CHUNKS):
        m, c = task // CHUNKS, task % CHUNKS
        mine = (g_table[m, c], g_bias0[m, c], g_weight1[m, c], g_bias1[m, c], g_weight2[m, c], g_bias2[m, c])
        parts[m, c] = 0
        g_table[m, c], g_weight1[m, c], g_weight2[m, c], g_extra[m, c] = 0, 0, 0, 0
        g_bias0[m, c], g_bias1[m, c], g_bias2[m, c] = 0, 0, 0
        own = (table[m], bias0[m], weight1[m], bias1[m], weight2[m], bias2[m], extra[m])
        first, last = c * batch // CHUNKS, (c + 1) * batch // CHUNKS
        _learn_chunk(idx, rows[m], first, last, act, scalars, own, coefs[m], (*mine, g_extra[m, c]), parts[m, c])


@nb.njit(**EXACT)
def _forward_range(idx, first, last, weights, out):  # type: ignore[no-untyped-def]
    rows = np.arange(idx.shape[0])
    x0, x1 = np.empty((ROWS, WIDTH), out.dtype), np.empty((ROWS, WIDTH), out.dtype)
    for block in range(first, last, ROWS):
        n = min(ROWS, last - block)
        _forward_block(idx, rows, block, weights, x0[:n], x1[:n], out[block : block + n])


@nb.njit(**EXACT)
def _forward_serial(idx, weights, out):  # type: ignore[no-untyped-def]
    """idx [M, B, K + E] -> out [M, B, 7] on the calling thread."""
    table, bias0, weight1, bias1, weight2, bias2, extra = weights
    for m in range(idx.shape[0]):
        own = (table[m], bias0[m], weight1[m], bias1[m], weight2[m], bias2[m], extra[m])
        _forward_range(idx[m], 0, idx.shape[1], own, out[m])


@one_thread_after_fork
@nb.njit(parallel=True, **EXACT)
def _forward_parallel(idx, weights, out):  # type: ignore[no-untyped-def]
    """As `_forward_serial`, CHUNKS pieces per member."""
    table, bias0, weight1, bias1, weight2, bias2, extra = weights
    members, batch = idx.shape[0], idx.shape[1]
    for task in nb.prange(members * CHUNKS):
        m, c = task // CHUNKS, task % CHUNKS
        own = (table[m], bias0[m], weight1[m], bias1[m], weight2[m], bias2[m], extra[m])
        _forward_range(idx[m], c * batch // CHUNKS, (c + 1) * batch // CHUNKS, own, out[m])


# --------------------------------------------------------------------------------------------- entry points


def _arrays(tensors: Iterable[Tensor], empty: tuple[int, ...]) -> tuple[np.ndarray, ...]:
    """Parameters as the kernels want them: the weights of dense inputs last, of shape `empty` where there are none."""
    arrays = tuple(tensor.numpy() for tensor in tensors)
    return arrays if len(arrays) == NUM_PARAMS else (*arrays, np.empty(empty, arrays[0].dtype))


def forward(tensors: Mapping[str, Tensor], idx: Tensor) -> Tensor:
    """Logits and value [M, B, 7] of index observations [M, B, K + E]; `tensors` as in `PopulationNet`."""
    out = torch.empty(*idx.shape[:2], HEADS, dtype=next(iter(tensors.values())).dtype)
    kernel = _forward_serial if idx.shape[0] * idx.shape[1] < _SERIAL_ROWS else _forward_parallel
    kernel(idx.contiguous().numpy(), _arrays(tensors.values(), (idx.shape[0], 0, WIDTH)), out.numpy())
    return out


class FusedGradients:
    """Computes gradients of one network; keeps its buffers between minibatches."""

    def __init__(self, tensors: Mapping[str, Tensor], params: Iterable[Tensor]) -> None:
        """tensors: views of the parameters by name; params: the parameters in the same order, which get `.grad`."""
        self._params = list(params)
        kind, members = self._params[0].dtype, self._params[0].shape[0]
        self._weights = _arrays(tensors.values(), (members, 0, WIDTH))
        self._partial = [torch.empty(members, CHUNKS, *p.shape[1:], dtype=kind) for p in self._params]
        self._parts = torch.empty(members, CHUNKS, len(LOSS_PARTS), dtype=kind)

    def gradients(self, idx: Tensor, rows: Tensor, act: Tensor, scalars: Tensor, coefs: Tensor) -> Tensor:
        """Sets `.grad` of every parameter for the rows [M, B]; returns the parts of the loss [M, 5].

        idx [R, K + E], act [R], scalars [R, 4] (old_logp, old_val, adv, ret) hold the rows of all members;
        coefs [M, 3]: clip_coef, vf_coef, ent_coef. Losses are means over a member's own rows.
        """
        data = [t.numpy() for t in (idx, rows, act, scalars)]
        partial = _arrays(self._partial, (rows.shape[0], CHUNKS, 0, WIDTH))
        _learn(*data, self._weights, coefs.numpy(), partial, self._parts.numpy())
        for param, grad in zip(self._params, self._partial, strict=True):
            param.grad = grad.sum(1)
        return self._parts.sum(1)
