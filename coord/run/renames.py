"""Old names that saved runs still hold: fields of configurations, and tensors of training states.

A field or a part of a state that gets another name gets its line here, so that runs of before can be resumed and
compared. On the command line an old name is refused, with the new one in the error.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

# Configuration -> old name of a field -> its name now. A command is "train"; a choice of a group is "method/belief".
FIELDS: dict[str, dict[str, str]] = {
    "method/belief": {
        "whim_share": "biased_share",
        "lessons": "kickstarting",
        "lessons_horizon": "kickstarting_horizon",
    },
}

# Part of a dotted name in a training state -> that part now.
STATES: dict[str, str] = {"lessons": "classifier", "told": "privileged", "tutor": "teacher"}

Value = TypeVar("Value")


def saved_fields(command: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a saved configuration of a command under the names that its fields have now."""
    new = FIELDS.get(command, {})
    named = {new.get(key, key): value for key, value in values.items()}
    for group, part in named.items():
        if isinstance(part, Mapping):
            new = FIELDS.get(f"{group}/{part.get('name')}", {})
            named[group] = {new.get(key, key): value for key, value in part.items()}
    return named


def field_now(command: str, groups: Mapping[str, str], typed: str) -> str | None:
    """What the field that was typed is called now, "method.biased_share"; None if it is no old name.

    groups: what each group of the command is set to.
    """
    group, dot, name = typed.rpartition(".")
    new = FIELDS.get(f"{group}/{groups.get(group)}" if group else command, {})
    return f"{group}{dot}{new[name]}" if name in new else None


def saved_state(tensors: Mapping[str, Value]) -> dict[str, Value]:
    """The tensors of a training state under the names that they have now."""
    return {".".join(STATES.get(part, part) for part in name.split(".")): one for name, one in tensors.items()}
