"""Rows that are mostly zeros, as lists of what is not: the first layer of a reward network then costs next to nothing.

What a tick changes in a kitchen is a handful of some two hundred facts. A dense layer on it is a sum of as many rows of
its weights, and its gradient adds to these rows alone; everything behind the first layer is as for dense rows
(`coord.preference.reward.nets`). Only what is trained on again and again is worth the conversion.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numba as nb
import numpy as np
import torch
from torch import Tensor

from coord.compile_cache import EXACT, FAST
from coord.forks import one_thread_after_fork

LEAST_GAIN = 4  # times fewer numbers than a dense row has, or the rows stay dense
BLOCK = 64  # columns that the kernels handle at a time; the first layer's width is a multiple of it
_U = np.uint64


@dataclass(frozen=True)
class SparseRows:
    """Rows [..., I] by their numbers that are not zero: at most K in any row, those behind the last one are zero."""

    index: Tensor  # [..., K] int16 columns
    value: Tensor  # [..., K]

    @property
    def shape(self) -> torch.Size:
        """Of the lists, [..., K]."""
        return self.value.shape

    @property
    def device(self) -> torch.device:
        """Where they lie."""
        return self.value.device

    def pick(self, rows: Tensor) -> SparseRows:
        """The entries `rows` [G, b] of the first axis: [P, ..., K] -> [G, b * ..., K]."""
        shape = (rows.shape[0], -1, self.shape[-1])
        parts = (part.flatten(1).index_select(0, rows.flatten()).view(shape) for part in (self.index, self.value))
        return SparseRows(*parts)


def join(parts: Sequence[Tensor], width: int) -> Tensor | SparseRows:
    """Rows [..., I] one after the other: sparse where that is much shorter and a layer of `width` can read it."""
    inputs = parts[0].shape[-1]
    if parts[0].device.type != "cpu" or width % BLOCK or inputs > torch.iinfo(torch.int16).max:
        return torch.cat(list(parts))
    flat = [part.reshape(-1, inputs) for part in parts]
    most = max(1, *(_longest(rows.numpy()) for rows in flat))
    if most * LEAST_GAIN > inputs:
        return torch.cat(list(parts))
    count = sum(len(rows) for rows in flat)
    index, value = torch.zeros(count, most, dtype=torch.int16), flat[0].new_zeros(count, most)
    first = 0
    for rows in flat:
        own = slice(first, first + len(rows))
        _extract(rows.numpy(), index[own].numpy(), value[own].numpy())
        first += len(rows)
    return SparseRows(*(part.view(-1, *parts[0].shape[1:-1], most) for part in (index, value)))


def with_multiple(rows: Tensor | SparseRows, stride: int, factor: Tensor) -> Tensor | SparseRows:
    """Every `stride`-th of rows [G, R, I], and behind them the same ones times factor [I]."""
    if not isinstance(rows, SparseRows):
        some = rows[:, ::stride]
        return torch.cat([some, some * factor], 1)
    index, value = rows.index[:, ::stride], rows.value[:, ::stride]
    other = value * factor[index.int()]
    return SparseRows(torch.cat([index, index], 1), torch.cat([value, other], 1))


@nb.njit(**EXACT)
def _longest(rows):  # type: ignore[no-untyped-def]
    """The most numbers other than zero in a row of [R, I]."""
    most = 0
    for r in range(rows.shape[0]):
        count = 0
        for i in range(rows.shape[1]):
            count += rows[r, i] != 0
        most = max(most, count)
    return most


@nb.njit(**EXACT)
def _extract(rows, index, value):  # type: ignore[no-untyped-def]
    """Lists the columns and numbers of rows [R, I] that are not zero."""
    for r in range(rows.shape[0]):
        k = 0
        for i in range(rows.shape[1]):
            if rows[r, i] != 0:
                index[r, k] = i
                value[r, k] = rows[r, i]
                k += 1


# Flat arrays, unsigned indices, a constant trip count and a local accumulator: see `coord.nets.population`.


@one_thread_after_fork
@nb.njit(parallel=True, **FAST)
def _forward(index, value, weight, bias, out, networks, rows, most, width, step):  # type: ignore[no-untyped-def]
    """out[g, r] = bias[g] + sum_k value[g, r, k] weight[g, index[g, r, k]]."""
    for task in nb.prange(networks):
        g = _U(task)
        acc = np.empty(BLOCK, out.dtype)
        for r in range(rows):
            row = g * rows + _U(r)
            for j0 in range(_U(0), width, _U(BLOCK)):
                for j in range(BLOCK):
                    acc[j] = bias[g * width + _U(j0) + _U(j)]
                for k in range(most):
                    x = value[row * most + _U(k)]
                    if x == 0:
                        break
                    at = g * step + _U(index[row * most + _U(k)]) * width + _U(j0)
                    for j in range(BLOCK):
                        acc[j] += x * weight[at + _U(j)]
                for j in range(BLOCK):
                    out[row * width + _U(j0) + _U(j)] = acc[j]


@one_thread_after_fork
@nb.njit(parallel=True, **FAST)
def _backward(index, value, grad, by_weight, networks, rows, most, width, step):  # type: ignore[no-untyped-def]
    """by_weight[g, index[g, r, k]] += value[g, r, k] grad[g, r]; every network has its own."""
    for task in nb.prange(networks):
        g = _U(task)
        own = np.empty(BLOCK, grad.dtype)
        for r in range(rows):
            row = g * rows + _U(r)
            for j0 in range(_U(0), width, _U(BLOCK)):
                for j in range(BLOCK):
                    own[j] = grad[row * width + _U(j0) + _U(j)]
                for k in range(most):
                    x = value[row * most + _U(k)]
                    if x == 0:
                        break
                    at = g * step + _U(index[row * most + _U(k)]) * width + _U(j0)
                    for j in range(BLOCK):
                        by_weight[at + _U(j)] += x * own[j]


def forward(rows: SparseRows, weight: Tensor, bias: Tensor, out: Tensor) -> Tensor:
    """Writes rows [G, R, I] x weight [G, I, H] + bias [G, H] to `out` [G, R, H] and returns it.

    The weights of a network lie inputs first, one network at the same distance from the next as any other.
    """
    _forward(*_flat(rows.index, rows.value), _line(weight), *_flat(bias, out), *_sizes(rows, weight))
    return out


def add_gradient(rows: SparseRows, grad: Tensor, by_weight: Tensor) -> None:
    """Adds rows^T grad, of [G, R, I] and [G, R, H], to by_weight [G, I, H], which lies as `forward` says."""
    _backward(*_flat(rows.index, rows.value, grad), _line(by_weight), *_sizes(rows, by_weight))


def _flat(*tensors: Tensor) -> list[np.ndarray]:
    """One-dimensional, to be read."""
    return [tensor.numpy().reshape(-1) for tensor in tensors]


def _line(weight: Tensor) -> np.ndarray:
    """The memory from the first number of [G, I, H] to the last one, to be read and written."""
    networks, inputs, width = weight.shape
    if weight.stride()[1:] != (width, 1):
        raise ValueError("the weights of a network must lie in one piece, inputs first")
    return weight.as_strided(((networks - 1) * weight.stride(0) + inputs * width,), (1,)).numpy()


def _sizes(rows: SparseRows, weight: Tensor) -> list[np.uint64]:
    """Networks, rows, longest list, width, and the distance between two networks, as the kernels want them."""
    return [_U(n) for n in (*rows.shape, weight.shape[2], weight.stride(0))]
