"""How the kitchen's code is compiled, and where compiled code is kept.

numba's cache notices a change in the file of a cached function, but not in the files of the functions and constants it
uses: an edited rule would leave the loops that call it as they were. Compiled code therefore lives in a folder named
after the text of all files that take part.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from numba import config, njit

from coord import compile_cache

_SOURCES = (
    *("compiled.py", "events.py", "layouts.py", "rules.py", "observations.py", "vector_env.py", "features.py"),
    *("planner.py", "chores.py", "../agents/greedy.py"),
)


def _use_cache_of_these_sources() -> None:
    """Points numba's cache to a folder of its own, within NUMBA_CACHE_DIR if that is set."""
    here = Path(__file__).parent
    texts = [(here / name).read_bytes() for name in _SOURCES]
    digest = hashlib.sha256(b"\0".join(texts)).hexdigest()[:12]
    parent = Path(config.CACHE_DIR) if config.CACHE_DIR else here / "__pycache__"
    config.CACHE_DIR = str(parent / f"numba-{digest}")


compile_cache.ensure()
_use_cache_of_these_sources()  # the decorators read the setting when they are applied

# For functions of one kitchen: no allocation, hence no reference counts on the views they are given, and always
# inlined, because passing a row and the tables by value costs more than most of these functions do. Python cannot call
# them, which halves the time they take to compile.
scalar = njit(cache=True, _nrt=False, forceinline=True, no_cpython_wrapper=True, no_cfunc_wrapper=True)
# For loops over kitchens low..high-1 on the calling thread, and for splitting such a loop among threads.
loop = njit(cache=True, _nrt=False, nogil=True, no_cfunc_wrapper=True)
parallel_loop = njit(cache=True, nogil=True, parallel=True, no_cfunc_wrapper=True)
