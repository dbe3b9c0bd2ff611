"""How the kitchen's code is compiled, and where compiled code is kept.

numba's cache notices a change in the file of a cached function, but not in the files of the functions and constants it
uses: an edited rule would leave the loops that call it as they were. Compiled code therefore lives in a folder named
after the text of all files that take part.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from numba import config, njit

from coord import compile_cache, forks

_SOURCES = (
    *("compiled.py", "events.py", "layouts.py", "packed_row.py", "rules.py", "vector_env.py", "features.py"),
    *("lossless.py", "index_spec.py", "index_obs.py"),
    *("planner.py", "../agents/greedy.py"),
    *(f"task_allocation/{name}.py" for name in ("kitchen", "open_work", "hand_overs", "full_hands", "free_hands")),
    *(f"task_allocation/{name}.py" for name in ("wrong_hands", "allocate")),
)

OBS_CHUNK = 128  # kitchens per piece of parallel work on observations; fewer than two run on the calling thread


@lru_cache(maxsize=1)
def _digest() -> str:
    """Name of the folder for the present text of the sources."""
    here = Path(__file__).parent
    return hashlib.sha256(b"\0".join((here / name).read_bytes() for name in _SOURCES)).hexdigest()[:12]


compile_cache.ensure()


def compiled(**options: Any) -> Callable[[Callable], Any]:
    """numba's `njit` with these options and a cache in the folder of these sources, within NUMBA_CACHE_DIR if set.

    The decorator reads numba's setting when it is applied. It is one for the whole process, so it is put back at once:
    functions of other people keep their own cache.
    """
    return partial(_compile, options)


def _compile(options: Mapping[str, Any], function: Callable) -> Any:
    theirs = config.CACHE_DIR
    parent = Path(theirs) if theirs else Path(__file__).parent / "__pycache__"
    config.CACHE_DIR = str(parent / f"numba-{_digest()}")
    try:
        return njit(**{**compile_cache.EXACT, **options})(function)
    finally:
        config.CACHE_DIR = theirs


def is_split(rows: int, chunk: int) -> bool:
    """Whether a loop over so many rows is split among threads: from two chunks on, but never in a forked child.

    Rows do not depend on each other: one thread writes the same numbers.
    """
    return rows >= 2 * chunk and not forks.is_forked()


# For functions of one kitchen: no allocation, hence no reference counts on the views they are given, and always
# inlined, because passing a row and the tables by value costs more than most of these functions do. Python cannot call
# them, which halves the time they take to compile.
scalar = compiled(_nrt=False, forceinline=True, no_cpython_wrapper=True, no_cfunc_wrapper=True)
# For loops over kitchens low..high-1 on the calling thread, and for splitting such a loop among threads.
loop = compiled(_nrt=False, nogil=True, no_cfunc_wrapper=True)
parallel_loop = compiled(nogil=True, parallel=True, no_cfunc_wrapper=True)
