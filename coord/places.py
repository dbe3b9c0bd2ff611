"""Where this installation lies: its packages and configuration files are found by that, never by a name on the path."""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]  # holds coord, populations, play and configs
CONFIG_FOLDER = ROOT / "configs"


def put_first() -> None:
    """Put `ROOT` on the path before the working directory and PYTHONPATH, whose `play` or `configs` are not ours.

    Only Python's own library stays before it: beside an installed package may lie anything. Processes that
    multiprocessing spawns take the path over.
    """
    own = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib")}
    library = [entry for entry in sys.path if entry in own or Path(entry).name == "lib-dynload"]
    others = [entry for entry in sys.path if entry not in library and entry != str(ROOT)]
    sys.path[:] = [*library, str(ROOT), *others]


def python_command(code: str, *words: str) -> list[str]:
    """The command line of a fresh Python that runs `code` and looks for packages where this one does."""
    return [sys.executable, "-c", f"import sys; sys.path[:] = {sys.path!r}\n{code}", *words]
