"""How compiled code treats numbers, and where it is kept.

That is beside the package, else with the person's other caches, else for one run only.

A function that does not say how it treats numbers takes that over from whichever of its callers is compiled first, and
the cache keeps it for all others: the last bits would depend on what this machine ran before. So every function has one
of the two sets of options below.

numba ends a program that asks for a cache where none can be written, such as a read-only installation without a home.
"""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from coord.errors import UserError
from coord.places import ROOT

# Sums in the order that is written, and a division by zero is an error.
EXACT: dict[str, Any] = {"cache": True, "fastmath": False, "error_model": "python"}
# Sums in any order, so that they become vector code, and a division by zero gives what it gives in numpy.
FAST: dict[str, Any] = {"cache": True, "fastmath": True, "error_model": "numpy"}

VARIABLE = "NUMBA_CACHE_DIR"  # numba's own; processes that are started later take it over


def ensure(package: Path = ROOT / "coord") -> None:
    """Set `VARIABLE` to a folder that can be written where numba's own choice cannot; says so if nothing is kept.

    Raises:
        UserError: not even a folder for temporary files can be written.
    """
    given = os.environ.get(VARIABLE)
    if _is_writable(Path(given) if given else package / "__pycache__"):
        return
    home = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) / "coord" / "numba"
    if not given and _is_writable(home):
        _choose(home)
        return
    tried = given or f"{package / '__pycache__'} and {home}"
    try:
        folder = Path(tempfile.mkdtemp(prefix="coord-numba-"))
    except OSError as error:
        raise UserError(f"compiled code needs a folder: {tried} cannot be written; set {VARIABLE}") from error
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    _choose(folder)
    print(f"code is compiled anew each time: {tried} cannot be written (see {VARIABLE})", file=sys.stderr)


def _choose(folder: Path) -> None:
    os.environ[VARIABLE] = str(folder)
    if "numba" in sys.modules:  # it has read the variable already
        sys.modules["numba"].config.CACHE_DIR = str(folder)


def _is_writable(folder: Path) -> bool:
    """Tried, not asked: permissions do not tell of a read-only file system or a full quota."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False
