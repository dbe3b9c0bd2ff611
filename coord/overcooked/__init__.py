"""Overcooked kitchens: compiled rules, vector environment, observations, and the bridge to overcooked-ai."""

from __future__ import annotations

from typing import Any

from coord.overcooked.events import EVENTS
from coord.overcooked.layouts import LAYOUT_ALIASES, Layout, layout_names, load_layout
from coord.overcooked.observations import IndexSpec
from coord.overcooked.rules import ACTIONS
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
]


def parallel_env(*args: Any, **kwargs: Any) -> Any:
    """PettingZoo parallel environment of one kitchen (see pettingzoo_env.parallel_env, which imports PettingZoo)."""
    from coord.overcooked.pettingzoo_env import parallel_env as build

    return build(*args, **kwargs)
