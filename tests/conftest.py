"""Threads in tests: nobody leaves the number of them changed, and tiny tensors have one."""

from __future__ import annotations

from collections.abc import Iterator

import numba
import pytest
import torch


def _set(counts: tuple[int, int]) -> None:
    numba.set_num_threads(counts[0])
    torch.set_num_threads(counts[1])


@pytest.fixture(autouse=True)
def _same_threads() -> Iterator[None]:
    """Commands that run within this process set the number of threads."""
    before = numba.get_num_threads(), torch.get_num_threads()
    yield
    _set(before)


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """For tests of tiny tensors, which gain nothing from a second thread and wait for it on a busy machine."""
    before = numba.get_num_threads(), torch.get_num_threads()
    _set((1, 1))
    yield
    _set(before)
