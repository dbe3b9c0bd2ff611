"""What `coord <command> --help` says of each field, without torch."""

from __future__ import annotations

import dataclasses
import re

from coord.places import CONFIG_FOLDER
from coord.run import config
from coord.run.config_files import exists


@dataclasses.dataclass(frozen=True)
class FieldHelp:
    """One line of help: a field, its default as text, and what it means."""

    name: str
    default: str
    meaning: str


def choice_help(command: str, group: str, choice: str) -> list[FieldHelp]:
    """The fields of one choice of a command's group, named as on the command line."""
    name = f"{group}/{choice}"
    if exists(name):
        return field_help(name, f"{group}.")
    return _class_help(config.choice_class(command, group, choice), f"{group}.")


def field_help(name: str, prefix: str = "") -> list[FieldHelp]:
    """The fields of a command ("train") or of a choice ("algo/ppo") with the meaning from the comments of its file."""
    if not exists(name):
        return _class_help(config.config_class(name), prefix)
    text = (CONFIG_FOLDER / f"{name}.yaml").read_text(encoding="utf-8")
    rows = re.findall(r"^(\w+):[ ]*(.*?)[ ]+#[ ](.*)$", text, flags=re.MULTILINE)
    return [FieldHelp(prefix + name, default, meaning) for name, default, meaning in rows if name != "defaults"]


def _class_help(cls: type, prefix: str) -> list[FieldHelp]:
    """The same of a dataclass of another package: the comment behind a field says what it means."""
    import inspect

    comments = dict(re.findall(r"^\s+(\w+):.*?#\s*(.*)$", inspect.getsource(cls), flags=re.MULTILINE))
    return [
        FieldHelp(prefix + name, "null" if value is None else str(value), comments.get(name, ""))
        for name, value in config.plain_defaults(cls).items()
    ]
