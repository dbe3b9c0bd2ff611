"""Overcooked kitchens: compiled rules, vector environment, observations, and the bridge to overcooked-ai.

Importing this package registers the Gymnasium id "coord/Overcooked-v0" and does nothing else.
"""

from __future__ import annotations

from typing import Any

import gymnasium

from coord import plugins
from coord.overcooked.events import EVENTS
from coord.overcooked.index_spec import IndexSpec
from coord.overcooked.layouts import LAYOUT_ALIASES, Layout, layout_names
from coord.overcooked.loader import load_layout
from coord.overcooked.packed_row import ACTIONS
from coord.overcooked.vector_env import OvercookedVectorEnv

__all__ = [
    "ACTIONS",
    "EVENTS",
    "LAYOUT_ALIASES",
    "IndexSpec",
    "Layout",
    "OvercookedVectorEnv",
    "layout_names",
    "load_layout",
    "parallel_env",
    "single_env",
]

GYM_ID = "coord/Overcooked-v0"


def parallel_env(*args: Any, **kwargs: Any) -> Any:
    """PettingZoo parallel environment of one kitchen (see pettingzoo_env.parallel_env, which imports PettingZoo)."""
    from coord.overcooked.pettingzoo_env import parallel_env as build

    return build(*args, **kwargs)


def single_env(*args: Any, **kwargs: Any) -> Any:
    """One seat of a kitchen as a Gymnasium environment: `single_env(layout, partner="human_proxy", seat=0)`.

    The same as `gymnasium.make("coord/Overcooked-v0", layout=..., ...)` without Gymnasium's wrappers. Arguments and
    errors are those of the class that the installed package names "single" among its entry points of the group
    "coord.environments": it knows the agents, which kitchens do not.
    """
    return plugins.find("coord.environments", "single", "environment")(*args, **kwargs)



if GYM_ID not in gymnasium.registry:
    gymnasium.register(GYM_ID, entry_point=f"{__name__}:{single_env.__name__}")
