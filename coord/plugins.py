"""What packages add to the testbed, found by standard entry points and never by name (see "Plug-ins" in README.md).

A group maps a name to something that its README section describes: `coord.commands`, `coord.pool_methods`,
`coord.ego_methods`, `coord.preference_methods`, `coord.benchmarks`. Our own packages use the same way in as
everybody else's; looking at the names imports nothing.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Mapping
from importlib import metadata
from typing import Any

from coord.errors import UserError, unknown

METHOD_GROUPS = ("coord.pool_methods", "coord.ego_methods", "coord.preference_methods")


@functools.cache
def entries(group: str) -> Mapping[str, metadata.EntryPoint]:
    """Name -> entry point of everything installed under `group`, sorted by name.

    Raises:
        UserError: two packages offer the same name.
    """
    found: dict[str, metadata.EntryPoint] = {}
    for entry in sorted(metadata.entry_points(group=group), key=lambda entry: entry.name):
        other = found.setdefault(entry.name, entry)
        if other.value != entry.value:
            raise UserError(f"two packages offer '{entry.name}' in {group}: {other.value} and {entry.value}")
    return found


def find(group: str, name: str, what: str) -> Any:
    """The object behind a name; `what` is the word for it in the error.

    Raises:
        UserError: there is none of that name, or its package cannot be imported.
    """
    offered = entries(group)
    if name not in offered:
        raise unknown(what, name, sorted(offered))
    try:
        return offered[name].load()
    except (ImportError, AttributeError) as error:
        raise UserError(f"{what} '{name}' ({offered[name].value}) cannot be loaded: {error}") from error


def config_of(plugin: Any) -> type:
    """The dataclass `plugin.Config`, imported now where it is given as text, "package.module:Name"."""
    named = plugin.Config
    if not isinstance(named, str):
        return named
    module, _, name = named.partition(":")
    return getattr(importlib.import_module(module), name)
