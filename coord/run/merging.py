"""Plain nested values of a configuration: one put on top of another, and names that must exist in it."""

from __future__ import annotations

import functools
import operator
from collections.abc import Mapping
from typing import Any

from coord.errors import UserError, unknown
from coord.run.renames import field_now


def merge(values: dict[str, Any], own: Any, file: str, inside: tuple[str, ...]) -> None:
    """Put the fields of an overlay of somebody's own into `values`, at the part `inside`.

    Raises:
        UserError: a field that there is not.
    """
    part = functools.reduce(operator.getitem, inside, values)
    if not isinstance(own, Mapping):
        raise UserError(f"{file}: expected fields and their values")
    for key, value in own.items():
        if key not in part:
            raise unknown(f"field in {file}", ".".join((*inside, str(key))), part)
        if isinstance(part[key], Mapping) and isinstance(value, Mapping) and part[key]:
            merge(values, value, file, (*inside, key))
        else:
            part[key] = value


def check_names(command: str, groups: Mapping[str, str], values: Mapping[str, str], base: Mapping[str, Any]) -> None:
    """Refuse fields that the composed configuration does not have; an old name or a lone one gets a hint."""
    names = _flat_names(base)
    for key in values:
        if key in names:
            continue
        inner = [name for name in names if name.rpartition(".")[2] == key]
        meant = field_now(command, groups, key) or (inner[0] if inner else None)
        if meant:
            raise UserError(f"unknown field '{key}' of coord {command}; did you mean '{meant}'?")
        raise unknown(f"field of coord {command}", key, names)


def _flat_names(values: Mapping[str, Any], prefix: str = "") -> list[str]:
    names = []
    for key, value in values.items():
        names.append(prefix + key)
        if isinstance(value, Mapping):
            names += _flat_names(value, f"{prefix}{key}.")
    return names
