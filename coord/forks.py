"""Compiled loops that are split among threads, in processes that were forked.

A child does not inherit the threads of its parent, and GNU's OpenMP ends a child that asks for some.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache, wraps
from typing import Any

import numba as nb

from coord.compile_cache import EXACT

_PROCESS = os.getpid()


def is_forked() -> bool:
    """Whether this process is a forked child of the one that imported this module."""
    return os.getpid() != _PROCESS


def one_thread_after_fork(split: Any) -> Callable:
    """For a parallel function of numba: the same in a forked child on one thread, compiled there at its first call."""

    @wraps(split.py_func)
    def run(*args: Any) -> Any:
        return (_on_one_thread(split) if is_forked() else split)(*args)

    return run


@cache
def _on_one_thread(split: Any) -> Callable:
    """Not kept on disk, where numba would not tell it from the parallel one."""
    return nb.jit(**{**EXACT, **split.targetoptions, "parallel": False, "cache": False})(split.py_func)
