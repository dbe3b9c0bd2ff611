"""What packages add to the testbed, found by standard entry points and never by name (see "Plug-ins" in README.md).

A group maps a name to something that its README section describes: `coord.commands`, `coord.pool_methods`,
`coord.ego_methods`, `coord.preference_methods`, `coord.benchmarks`. Our own packages use the same way in as
everybody else's; looking at the names imports nothing.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from importlib import metadata
from typing import Any, NamedTuple

from coord.errors import UserError, unknown


@functools.cache
def entries(group: str) -> Mapping[str, metadata.EntryPoint]:
    """Name -> entry point of everything installed under `group`, sorted by name; imports nothing."""
    return {name: offered[0] for name, offered in _offered(group).items()}


@functools.cache
def _offered(group: str) -> Mapping[str, list[metadata.EntryPoint]]:
    """Name -> the different entry points that packages offer under it; more than one can be used by nobody."""
    found: dict[str, list[metadata.EntryPoint]] = {}
    for entry in sorted(metadata.entry_points(group=group), key=lambda entry: (entry.name, entry.value)):
        others = found.setdefault(entry.name, [])
        if entry.value not in [other.value for other in others]:
            others.append(entry)
    return found


def find(group: str, name: str, what: str) -> Any:
    """The object behind a name; `what` is the word for it in the error.

    Raises:
        UserError: there is none of that name, two packages offer it, or its package cannot be imported.
    """
    offered = _offered(group)
    if name not in offered:
        raise unknown(what, name, sorted(offered))
    first, *others = offered[name]
    if others:
        raise UserError(f"two packages offer '{name}' in {group}: {first.value} and {others[0].value}")
    try:
        return first.load()
    except Exception as error:  # whatever a package of somebody else does while it is imported
        raise UserError(f"{what} '{name}' ({first.value}) cannot be loaded: {_reason(error)}") from error


def loaded(groups: Iterable[str], what: str, like: str = "") -> Iterator[tuple[str, Any]]:
    """(name, object) of all that can be loaded, those of the module `like` first; a broken one stops no search."""
    offered = [(group, entry) for group in groups for entry in entries(group).values()]
    for group, entry in sorted(offered, key=lambda pair: pair[1].value.partition(":")[0] != like):
        with suppress(UserError):
            yield entry.name, find(group, entry.name, what)


def config_of(plugin: Any) -> type:
    """The dataclass `plugin.Config`, imported now where it is given as text, "package.module:Name".

    Raises:
        UserError: the package gives none.
    """
    try:
        return imported(plugin.Config) if isinstance(plugin.Config, str) else plugin.Config
    except Exception as error:
        who = getattr(plugin, "__name__", type(plugin).__name__)
        raise UserError(f"{who} has no configuration that can be loaded: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, ImportError | AttributeError) else f"{type(error).__name__}: {error}"


def imported(name: str) -> Any:
    """What "package.module:Name" stands for."""
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)


class Offer(NamedTuple):
    """What a field may be that is one of several configurations, `algo=ppo`; nothing is imported before it is asked."""

    default: str
    offered: Mapping[str, str] | str  # name -> "package.module:Config"; or a group of entry points, each with a Config

    def names(self) -> list[str]:
        """All there are, sorted."""
        return sorted(self.offered if isinstance(self.offered, Mapping) else entries(self.offered))

    def config(self, name: str, what: str) -> type:
        """The dataclass of that name; `what` is the word for it in the error.

        Raises:
            UserError: there is none of that name, or its package cannot be imported.
        """
        if isinstance(self.offered, str):
            return config_of(find(self.offered, name, what))
        if name not in self.offered:
            raise unknown(what, name, self.names())
        return imported(self.offered[name])

    def name_of(self, cls: type) -> str:
        """The name of a dataclass among them; an empty text if it is none."""
        if isinstance(self.offered, Mapping):
            target = f"{cls.__module__}:{cls.__qualname__}"
            return next((name for name, one in self.offered.items() if one == target), "")
        for name, plugin in loaded([self.offered], "method", like=cls.__module__):  # most stand beside it
            with suppress(UserError):
                if config_of(plugin) is cls:
                    return name
        return ""


def choice(default: str, offered: Mapping[str, str] | str, *, added_later: bool = False) -> Any:
    """A field of a configuration that is one of several: `choice("ppo", {"ppo": "coord.algos.ppo:PPOConfig"})`.

    Args:
        default: what is chosen where nothing is said.
        offered: see `Offer`.
        added_later: runs were saved before the field was there, and mean the default.
    """
    made = Offer(default, offered)
    later: dict[str, Any] = {"default_factory": lambda: made.config(default, default)()} if added_later else {}
    return dataclasses.field(metadata={"choice": made}, **later)


def choices_of(cls: type) -> dict[str, Offer]:
    """Field -> its choice, of the fields of a dataclass that are one."""
    found = {field.name: field.metadata.get("choice") for field in dataclasses.fields(cls)}
    return {name: one for name, one in found.items() if one is not None}
