"""YAML that somebody else wrote, read with limits; every reader of YAML here goes through this file.

YAML of a few lines can stand for gigabytes (aliases of aliases), and PyYAML recurses as deep as a file nests. So a file
is walked as a stream of events first: size, depth, tags. Then it is composed, and what its aliases would unfold to is
counted before anything is built. Dates stay text, `1_2` and `1:30` too: nobody who writes them here means a number.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from coord.errors import UserError

MAX_BYTES = 1_000_000
MAX_DEPTH = 40
MAX_VALUES = 100_000  # with every alias written out
_TAG = "tag:yaml.org,2002:"
_PLAIN_TAGS = {f"{_TAG}{name}" for name in ("null", "bool", "int", "float", "str", "seq", "map")}


class Loader(yaml.SafeLoader):
    """SafeLoader without dates and without numbers that nobody would write."""


Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in rules if tag not in (f"{_TAG}timestamp", f"{_TAG}int", f"{_TAG}float")]
    for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_FLOAT = re.compile(r"(?:[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+)$")
Loader.add_implicit_resolver(f"{_TAG}int", re.compile(r"[-+]?(?:0|[1-9][0-9]{0,29})$"), list("-+0123456789"))
Loader.add_implicit_resolver(f"{_TAG}float", _FLOAT, list("-+.0123456789"))


class _Dumper(yaml.SafeDumper):
    """SafeDumper that quotes text which `Loader`, or any other reader of YAML, would take for something else."""


_Dumper.add_implicit_resolver(f"{_TAG}float", _FLOAT, list("-+.0123456789"))


def to_yaml(value: Any) -> str:
    """YAML text that `parse_yaml` turns into the same plain value."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def read_yaml(path: str | Path) -> Any:
    """The value that a YAML file holds.

    Raises:
        UserError: cannot be read, is no YAML, or goes beyond the limits above; "<file>:<line>: ..." where it is known.
    """
    return parse_yaml(read_text(path), str(path))


def read_text(path: str | Path) -> str:
    """The text of a regular file of at most `MAX_BYTES`. UserError if it is none, or not UTF-8."""
    path = Path(path)
    try:
        if path.exists() and not path.is_file():
            raise UserError(f"cannot read {path}: it is no regular file")
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        return data.decode("utf-8-sig")
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:  # not UTF-8; or a NUL in the path
        raise UserError(f"{path} is damaged: {error}") from error


def parse_yaml(text: str, name: str = "YAML") -> Any:
    """The value of YAML text; name: what errors call it. Raises UserError as `read_yaml`."""
    return value_of(compose_yaml(text, name), name)


def compose_yaml(text: str, name: str = "YAML") -> yaml.Node | None:
    """The nodes of YAML text, which know their lines; None for an empty one. Raises UserError as `read_yaml`."""
    if len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        raise UserError(f"{name}: longer than {MAX_BYTES} bytes")
    try:
        _check_events(text, name)
        node = yaml.compose(text, Loader=Loader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        hint = "texts with any of ? : , # [ ] { } in them need quotes"
        raise UserError(f"{name}:{line}: not YAML: {error.problem or error.context} ({hint})") from error
    except yaml.YAMLError as error:  # characters that no YAML may have
        raise UserError(f"{name}: not YAML: {getattr(error, 'reason', error)}") from error
    if node is not None:
        _unfolded(node, name, {})
    return node


def value_of(node: yaml.Node | None, name: str = "YAML") -> Any:
    """What a node of `compose_yaml` stands for. UserError for a value that cannot be, such as !!int x."""
    if node is None:
        return None
    try:
        return Loader("").construct_document(node)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else node.start_mark.line + 1
        raise UserError(f"{name}:{line}: {error.problem}") from error
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise UserError(f"{name}:{node.start_mark.line + 1}: {error}") from error


def _check_events(text: str, name: str) -> None:
    """Refuse what nests too deep and tags that are not YAML's own plain ones."""
    depth = 0
    for event in yaml.parse(text, Loader=Loader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        line = event.start_mark.line + 1
        if depth > MAX_DEPTH:
            raise UserError(f"{name}:{line}: nests deeper than {MAX_DEPTH} levels")
        tag = getattr(event, "tag", None)
        if tag not in (None, "!") and tag not in _PLAIN_TAGS:
            raise UserError(f"{name}:{line}: tag {tag} is not allowed; values are text, numbers, lists and mappings")


def _unfolded(node: yaml.Node, name: str, known: dict[int, int]) -> int:
    """How many values a node stands for, aliases written out; at most `MAX_VALUES`."""
    if id(node) in known:
        if known[id(node)] < 0:
            raise UserError(f"{name}:{node.start_mark.line + 1}: an alias within itself")
        return known[id(node)]
    known[id(node)] = -1
    total = 1
    for item in node.value if isinstance(node, yaml.CollectionNode) else ():
        total += sum(_unfolded(part, name, known) for part in (item if isinstance(item, tuple) else (item,)))
        if total > MAX_VALUES:
            raise UserError(f"{name}:{node.start_mark.line + 1}: more than {MAX_VALUES} values, aliases written out")
    known[id(node)] = total
    return total
