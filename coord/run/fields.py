"""What stands in the source of a configuration: each field's default, meaning and allowed words, without importing it.

A frozen dataclass is the one place for all of them. Its fields are read from its source, because most of them stand
beside algorithms, which import torch: help and the check of names go without it. Behind a field, or on the lines
above it, a comment says what it means. Whatever is more than a literal (a default that is computed, a dataclass with a
base) is taken from the class itself, which is then imported.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import importlib.util
import inspect
import json
from pathlib import Path
from typing import Any, NamedTuple

from coord import plugins

EMPTY: dict[str, dict[str, Any] | list[Any]] = {"dict": {}, "list": [], "tuple": []}  # what factories of defaults make


class ConfigField(NamedTuple):
    """One field of a configuration that is no choice."""

    name: str
    default: Any  # as YAML and JSON have it; None also where there is no default
    meaning: str
    words: tuple[str, ...]  # all that are allowed, where these are a few words

    @property
    def shown(self) -> str:
        """The default as it would be typed."""
        if isinstance(self.default, str):
            return self.default or '""'
        return json.dumps(self.default).replace('"', "")

    @property
    def explained(self) -> str:
        """The meaning, and the allowed words where it does not name them all."""
        named = all(word in self.meaning for word in self.words)
        return self.meaning if named else f"{self.meaning}: {' | '.join(self.words)}"


def fields_of(config: str | type) -> tuple[ConfigField, ...]:
    """The fields of a dataclass, given itself or as "package.module:Name", in their order."""
    name = config if isinstance(config, str) else f"{config.__module__}:{config.__qualname__}"
    try:
        return _written(name)
    except _MoreThanLiteral:
        return _imported(plugins.imported(name) if isinstance(config, str) else config)


def fields_of_choice(choice: plugins.Offer, name: str, what: str) -> tuple[ConfigField, ...]:
    """The fields of what a choice of a command offers under a name; see `plugins.Offer.config`."""
    if not isinstance(choice.offered, str):
        return fields_of(choice.offered[name])
    try:
        return _written(_config_beside(choice.offered, name))
    except (_MoreThanLiteral, KeyError):
        return fields_of(choice.config(name, what))


class _MoreThanLiteral(Exception):
    """The source alone does not tell."""


class _Source(NamedTuple):
    """A module that is read, not imported."""

    lines: list[str]
    names: dict[str, ast.AST | str]  # what its top level binds: classes, values, and "module:name" for what it imports


@functools.cache
def _source(module: str) -> _Source:
    try:
        spec = importlib.util.find_spec(module)
        text = Path((spec and spec.origin) or "").read_text(encoding="utf-8")
        tree = ast.parse(text)
    except (ImportError, OSError, SyntaxError, ValueError) as error:
        raise _MoreThanLiteral(module) from error
    names: dict[str, ast.AST | str] = {}
    for node in tree.body:
        inside = node.body if isinstance(node, ast.If) else [node]  # if TYPE_CHECKING
        for one in inside:
            if isinstance(one, ast.ImportFrom) and one.module and not one.level:
                names |= {alias.asname or alias.name: f"{one.module}:{alias.name}" for alias in one.names}
            elif isinstance(one, ast.ClassDef):
                names[one.name] = one
            elif isinstance(one, ast.Assign) and len(one.targets) == 1 and isinstance(one.targets[0], ast.Name):
                names[one.targets[0].id] = one.value
    return _Source(text.splitlines(), names)


def _found(name: str) -> tuple[str, Any]:
    """The module in which "module:name" is bound for good, and the node bound to it."""
    module, _, leaf = name.partition(":")
    node = _source(module).names.get(leaf)
    if isinstance(node, str):
        return _found(node)
    if isinstance(node, ast.Name):
        return _found(f"{module}:{node.id}")
    if node is None:
        raise _MoreThanLiteral(name)
    return module, node


@functools.cache
def _written(name: str) -> tuple[ConfigField, ...]:
    module, node = _found(name)
    if not isinstance(node, ast.ClassDef) or node.bases:
        raise _MoreThanLiteral(name)
    items = [item for item in node.body if isinstance(item, ast.AnnAssign) and not _is_choice(item.value)]
    return tuple(_read(module, item) for item in items)


def _read(module: str, item: ast.AnnAssign) -> ConfigField:
    comment = _comment(_source(module).lines, item)
    return ConfigField(ast.unparse(item.target), _default(module, item.value), comment, _words(module, item.annotation))


def _is_choice(value: ast.AST | None) -> bool:
    return isinstance(value, ast.Call) and ast.unparse(value.func).rpartition(".")[2] == "choice"


def _default(module: str, value: ast.AST | None) -> Any:
    """A default as plain data."""
    if value is None:
        return None
    if isinstance(value, ast.Name):
        return _default(*_found(f"{module}:{value.id}"))
    if isinstance(value, ast.Call) and ast.unparse(value.func) in ("field", "dataclasses.field"):
        factories = [ast.unparse(word.value) for word in value.keywords if word.arg == "default_factory"]
        if len(value.keywords) == len(factories) == 1 and factories[0] in EMPTY:
            return type(EMPTY[factories[0]])()
    try:
        return json.loads(json.dumps(ast.literal_eval(value)))
    except (ValueError, TypeError, SyntaxError) as error:
        raise _MoreThanLiteral(ast.unparse(value)) from error


def _comment(lines: list[str], item: ast.AnnAssign) -> str:
    """The comment behind a field; else that on the lines above it."""
    behind = lines[item.end_lineno - 1 if item.end_lineno else 0].encode()[item.end_col_offset :].decode().strip()
    if behind.startswith("#"):
        return behind.lstrip("# ")
    above: list[str] = []
    row = item.lineno - 2
    while row >= 0 and lines[row].strip().startswith("#"):
        above.insert(0, lines[row].strip().lstrip("# "))
        row -= 1
    return " ".join(above)


def _words(module: str, annotation: ast.AST) -> tuple[str, ...]:
    """The texts of the `Literal` of an annotation, in their order, also where it has a name elsewhere."""
    for node in ast.walk(annotation):
        if isinstance(node, ast.Subscript) and ast.unparse(node.value).rpartition(".")[2] == "Literal":
            inside = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
            return tuple(one.value for one in inside if isinstance(one, ast.Constant) and isinstance(one.value, str))
        if isinstance(node, ast.Name) and node.id in _source(module).names:
            with_words = _named_words(f"{module}:{node.id}")
            if with_words:
                return with_words
    return ()


@functools.cache
def _named_words(name: str) -> tuple[str, ...]:
    """The words of a type that has a name; nothing where it is no such type, or not of these packages."""
    try:
        module, node = _found(name)
    except _MoreThanLiteral:
        return ()
    return () if isinstance(node, ast.ClassDef) else _words(module, node)


def _config_beside(group: str, name: str) -> str:
    """Where the configuration of a plug-in stands: `Config` of its module, or what its object is made with."""
    entry = plugins.entries(group)[name]
    if not entry.attr:
        return f"{entry.module}:Config"
    module, node = _found(f"{entry.module}:{entry.attr}")
    if isinstance(node, ast.Call):
        given = [word.value for word in node.keywords if word.arg == "Config"] + node.args[:1]
        if given and isinstance(given[0], ast.Name):
            return f"{module}:{given[0].id}"
    raise _MoreThanLiteral(entry.value)


def _imported(cls: type) -> tuple[ConfigField, ...]:
    """The fields of a class by looking at it; comments and words where its own source can be read."""
    made = []
    for item in dataclasses.fields(cls):
        if "choice" in item.metadata:
            continue
        default = None if item.default is dataclasses.MISSING else item.default
        if item.default_factory is not dataclasses.MISSING:
            default = item.default_factory()
        home = next(one for one in cls.__mro__ if item.name in inspect.get_annotations(one))
        made.append(ConfigField(item.name, json.loads(json.dumps(default)), *_said_of(home, item.name)))
    return tuple(made)


def _said_of(cls: type, name: str) -> tuple[str, tuple[str, ...]]:
    """Meaning and words of a field of an imported class; nothing where there is no source."""
    try:
        module, node = _found(f"{cls.__module__}:{cls.__qualname__}")
    except _MoreThanLiteral:
        return "", ()
    items = (item for item in node.body if isinstance(item, ast.AnnAssign) and ast.unparse(item.target) == name)
    return next(((_comment(_source(module).lines, item), _words(module, item.annotation)) for item in items), ("", ()))
