"""Where this installation lies: its packages and configuration files are found by that, never by a name on the path."""

from __future__ import annotations

import importlib.util
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]  # holds coord, populations, play and configs
CONFIG_FOLDER = ROOT / "configs"


def replace_foreign_parent() -> None:
    """Put our own `coord` in the place of a folder of that name, if one on the path was taken for it.

    An editable installation is looked up after the path: there `coord.run` is ours, but its parent may be anybody's.
    """
    init = ROOT / "coord" / "__init__.py"
    taken = getattr(sys.modules["coord"], "__file__", None)
    if taken is not None and Path(taken).resolve() == init:
        return
    spec = importlib.util.spec_from_file_location("coord", init, submodule_search_locations=[str(init.parent)])
    assert spec is not None
    assert spec.loader is not None
    own = sys.modules["coord"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(own)
    for name, module in list(sys.modules.items()):
        parent, _, child = name.rpartition(".")
        if parent == "coord":
            setattr(own, child, module)


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
