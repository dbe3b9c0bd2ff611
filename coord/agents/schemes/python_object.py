"""`python:<package.module or file.py>:<name>`: what `<name>()` gives plays. Its code runs in this process.

For that reason only a person may type such a reference; files from elsewhere (studies, pools) cannot name one.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from coord import checkpoint
from coord.agents.players import Agent
from coord.agents.schemes.guard import FIRST_S, guarded
from coord.agents.schemes.visitor import seated
from coord.errors import UserError, unknown
from coord.overcooked import Layout

RUNS_CODE = True


def load(rest: str, layout: Layout, rules: str) -> Agent:
    """The agent of that name.

    Raises:
        UserError: no such file, module or name; or what its code does wrong.
    """
    target, colon, name = rest.rpartition(":")
    if not colon or not target or not name:
        raise UserError(f"python:{rest}: expected python:<package.module or file.py>:<name>")
    is_file = target.endswith(".py")
    if is_file and not os.path.isfile(target):
        raise UserError(f"python:{rest}: no file at '{target}'")
    agent_id = f"python:{Path(target).name if is_file else target}:{name}"
    module = guarded(
        agent_id, "loading it", lambda: _from_file(Path(target)) if is_file else _imported(target), FIRST_S
    )
    return seated(agent_id, _maker(module, name, agent_id), checkpoint.file_hash(target) if is_file else "")


def _maker(module: ModuleType, name: str, agent_id: str) -> Callable[[], Any]:
    if not hasattr(module, name):
        raise unknown(f"name in {agent_id}", name, [n for n in vars(module) if not n.startswith("_")])
    make = getattr(module, name)
    if not callable(make):
        raise UserError(f"agent {agent_id}: {name} is no class or function that gives an agent")
    return make


def _imported(target: str) -> ModuleType:
    """A module by its name; those of the working directory come last."""
    _findable(Path.cwd())
    return importlib.import_module(target)


def _from_file(path: Path) -> ModuleType:
    """A module from a file, run anew each time; what lies beside it can be imported, after everything else."""
    _findable(path.resolve().parent)
    name = f"coord_visitor_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UserError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickles of its own look themselves up there
    spec.loader.exec_module(module)
    return module


def _findable(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
