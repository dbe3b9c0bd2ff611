"""The two clones of people that have a name: `bc_train` and `human_proxy`, trained on first use and kept in a cache.

They are the yardstick, so they are one and the same file wherever scores are made: trained on one thread whatever the
caller uses, and free of everything that differs between two makings (command, time, folder, state of the checkout).
The file's SHA-256 stands in every score. What remains is the processor: its kind decides how products are summed.

The cache folder is $COORD_CACHE, else coord/ in the user's cache folder. A file's name tells clone, layout and seed and
ends in a hash of everything else that it was made from (`made_from`), so a change of any of that trains anew.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import os
import platform
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

import coord.agents
import coord.algos.bc as bc
import coord.nets
import coord.overcooked
import coord.seeding
from coord import checkpoint
from coord.agents.files import StoredAgent, read_agent, save_agent
from coord.errors import UserError
from coord.locks import locked_folder
from coord.overcooked import Layout, load_layout

SEED = 0  # of both clones
SPLIT_OF = {agent_id: split for split, agent_id in bc.AGENT_IDS.items()}
SOURCES = (  # the code that decides what a clone becomes and what its file looks like
    bc,
    coord.agents,
    coord.nets,
    coord.overcooked,
    coord.seeding,
    checkpoint,
)
LIBRARIES = ("torch", "numpy", "numba", "overcooked-ai")  # that compute it, or hold the games


def cache_folder() -> Path:
    """Where trained clones are kept."""
    if chosen := os.environ.get("COORD_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "coord"


def load_clone(agent_id: str, layout: Layout, seed: int = SEED) -> StoredAgent:
    """`bc_train` or `human_proxy` of a layout, from the cache or trained now (seconds).

    seed: `SEED` is the yardstick; others show how much hangs on it. Safe with several processes: one trains, the others
    wait for its file. A damaged file is replaced.

    Raises:
        UserError: a layout without human games, or an unwritable cache.
    """
    config = bc.BCConfig(split=SPLIT_OF[agent_id])
    home = load_layout(bc.recorded_layout(layout))
    path = cache_folder() / f"{agent_id}-{home.name}-seed{seed}-{_key(config, home)}.safetensors"
    clone = _read(path) or _train(path, config, home, seed)
    # The same kitchen with other start tiles (random3) is as much at home to a clone.
    return dataclasses.replace(clone, card=dataclasses.replace(clone.card, layouts={layout.name: layout.hash}))


def made_from(config: bc.BCConfig, layout: Layout) -> dict[str, Any]:
    """Everything besides its seed that a clone depends on, as plain JSON."""
    return {**_origin(config), "layout": layout.hash, "code": _code(), "processor": processor_kind()}


def processor_kind() -> str:
    """Machines with the same text here compute the same bits: architecture, maker and instruction set in use."""
    return "-".join((platform.machine(), _maker(), torch.backends.cpu.get_cpu_capability()))


def _maker() -> str:
    """The processor's maker where the system tells it: MKL chooses its kernels by that, too."""
    try:
        found = re.search(r"^(?:vendor_id|CPU implementer)\s*:\s*(\S+)", Path("/proc/cpuinfo").read_text(), re.M)
    except OSError:
        found = None
    return found[1] if found else platform.system()


def _origin(config: bc.BCConfig) -> dict[str, Any]:
    """What stands in the file: only what is the same whoever makes it."""
    versions = checkpoint.library_versions()
    return {
        "config": dataclasses.asdict(config),
        "libraries": {name: versions[name] for name in LIBRARIES},
        "threads": 1,
    }


def _key(config: bc.BCConfig, layout: Layout) -> str:
    return hashlib.sha256(json.dumps(made_from(config, layout), sort_keys=True).encode()).hexdigest()[:16]


@functools.lru_cache(maxsize=1)
def _code() -> str:
    """SHA-256 of the source of `SOURCES`."""
    digest = hashlib.sha256()
    for module in SOURCES:
        for path in _files(module):
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _files(module: ModuleType) -> list[Path]:
    """The source files of a module, or of all modules of a package."""
    path = Path(str(module.__file__))
    return sorted(path.parent.rglob("*.py")) if path.name == "__init__.py" else [path]


def _read(path: Path) -> StoredAgent | None:
    if not path.exists():
        return None
    try:
        return read_agent(path)
    except UserError:  # damaged: train it again
        return None


def _train(path: Path, config: bc.BCConfig, layout: Layout, seed: int) -> StoredAgent:
    with locked_folder(path.parent, on_wait=lambda who: None):
        if (made_meanwhile := _read(path)) is not None:
            return made_meanwhile
        agent = bc.train_clone(bc.packaged_games(layout, config.split), config, seed)
        digest = save_agent(path, agent.card, agent.net, origin=_origin(config))
        return dataclasses.replace(agent, sha256=digest)
