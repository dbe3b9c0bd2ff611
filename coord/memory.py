"""What a run will need, against what the machine has: refused with the numbers before anything is allocated.

Estimates are lower bounds of what will be held at the same time; a run that passes may still be too large for a machine
on which others run. Linux does not refuse an allocation, it kills the process when the pages are used: hence this.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from itertools import pairwise
from pathlib import Path

from coord.errors import UserError

FLOAT = 4  # bytes
ADAM = 4  # numbers per parameter while it is trained: itself, its gradient, two moments
_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")  # of a container, in bytes


@cache
def machine_bytes() -> int:
    """The memory that a process can have here: the machine's, or less if a container allows less."""
    found = []
    with suppress(OSError, ValueError, AttributeError):
        found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for path in _LIMITS:
        with suppress(OSError, ValueError):  # "max" says that there is no limit
            found.append(int(Path(path).read_text()))
    return min(found, default=2**62)


def check(parts: Mapping[str, float], hint: str) -> None:
    """Refuse what this machine cannot hold.

    parts: what needs memory -> bytes; hint: the fields to lower.

    Raises:
        UserError: with the numbers.
    """
    need = sum(parts.values())
    if need <= machine_bytes():
        return
    each = ", ".join(f"{name} {_text(size)}" for name, size in sorted(parts.items(), key=lambda part: -part[1]))
    raise UserError(
        f"this needs about {_text(need)} of memory ({each}), the machine has {_text(machine_bytes())}: {hint}"
    )


def dense_numbers(widths: Sequence[int]) -> int:
    """Parameters of dense layers of these widths, inputs first."""
    return sum((low + 1) * high for low, high in pairwise(widths))


def _text(size: float) -> str:
    for unit in ("MiB", "GiB", "TiB", "PiB"):
        size /= 1024 if unit != "MiB" else 1024**2
        if size < 1000:
            return f"{size:.1f} {unit}"
    return f"{size:.3g} PiB"
