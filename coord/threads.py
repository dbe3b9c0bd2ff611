"""How many threads compute, and what that number means for a result.

Torch and MKL cut large sums and matrix products by the number of threads, and floating-point addition is not
associative: the number of torch's threads is therefore part of what a run is, like its seed. It is settled when a
configuration is read (`resolve`), written down with it, and kept when the run is resumed. Numba's loops write every
number of theirs in one order whatever the count, so theirs changes no bits.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from coord.errors import UserError

LIMIT = 256  # more than this serves nobody; thousands exhaust the stack space of a process


def usable_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def resolve(threads: int) -> int:
    """The number that `threads` asks for; 0 asks for one per usable core.

    Raises:
        UserError: it is negative or larger than any machine of ours could serve.
    """
    most = max(LIMIT, usable_cores())
    if not 0 <= threads <= most:
        raise UserError(f"threads={threads}: allowed are 1 to {most}, and 0 for one per usable core ({usable_cores()})")
    return threads or min(usable_cores(), most)


def set_threads(threads: int) -> int:
    """Give torch and the kitchens that many threads (0: one per usable core); the number that it comes to.

    The kitchens get no more than numba started with, which changes how fast they are, not what they compute.

    Raises:
        UserError: see `resolve`.
    """
    import numba
    import torch

    count = resolve(threads)
    torch.set_num_threads(count)
    numba.set_num_threads(min(count, numba.config.NUMBA_NUM_THREADS))
    return count


@contextmanager
def one_thread() -> Iterator[None]:
    """Everything within runs on one thread of torch and of numba; afterwards the numbers are as they were."""
    import numba
    import torch

    before = torch.get_num_threads(), numba.get_num_threads()
    torch.set_num_threads(1)
    numba.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        numba.set_num_threads(before[1])
