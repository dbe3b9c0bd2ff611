"""The two clones of people that have a name: `bc_train` and `human_proxy`, trained on first use and kept in a cache.

The cache folder is $COORD_CACHE, else coord/ in the user's cache folder. A file's name holds a hash of everything it
was made from (configuration, layout, the cloning code), so a change of any of them trains anew.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from pathlib import Path

import coord.algos.bc as bc
from coord.agents.files import StoredAgent, read_agent, save_agent
from coord.errors import UserError
from coord.locks import locked_folder
from coord.overcooked import Layout, load_layout

SEED = 0  # of both clones
SPLIT_OF = {agent_id: split for split, agent_id in bc.AGENT_IDS.items()}


def cache_folder() -> Path:
    """Where trained clones are kept."""
    if chosen := os.environ.get("COORD_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "coord"


def load_clone(agent_id: str, layout: Layout) -> StoredAgent:
    """`bc_train` or `human_proxy` of a layout, from the cache or trained now (seconds).

    Safe with several processes: one trains, the others wait for its file. A damaged file is replaced.

    Raises:
        UserError: a layout without human games, or an unwritable cache.
    """
    config = bc.BCConfig(split=SPLIT_OF[agent_id])
    home = load_layout(bc.recorded_layout(layout))
    path = cache_folder() / f"{agent_id}-{home.name}-{_key(config, home)}.safetensors"
    clone = _read(path) or _train(path, config, home)
    # The same kitchen with other start tiles (random3) is as much at home to a clone.
    return StoredAgent(dataclasses.replace(clone.card, layouts={layout.name: layout.hash}), clone.net)


def _key(config: bc.BCConfig, layout: Layout) -> str:
    code = Path(bc.__file__).read_bytes()
    parts = json.dumps([dataclasses.asdict(config), layout.hash, SEED]).encode()
    return hashlib.sha256(parts + code).hexdigest()[:16]


def _read(path: Path) -> StoredAgent | None:
    if not path.exists():
        return None
    try:
        return read_agent(path)
    except UserError:  # damaged: train it again
        return None


def _train(path: Path, config: bc.BCConfig, layout: Layout) -> StoredAgent:
    with locked_folder(path.parent, on_wait=lambda who: None):
        if (made_meanwhile := _read(path)) is not None:
            return made_meanwhile
        agent = bc.train_clone(bc.packaged_games(layout, config.split), config, SEED)
        save_agent(path, agent.card, agent.net, config=dataclasses.asdict(config))
        return agent
