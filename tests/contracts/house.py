"""The house as it is: its modules, every import wherever it stands, and the table of rooms in coord/README.md."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PACKAGES = ("coord", "populations", "play")


class Import(NamedTuple):
    """One import: who, what (a module of ours in full, else the name as it stands), and where."""

    importer: str
    target: str
    inside: bool  # in a function, or for annotations only: it costs nothing when the importer is loaded


class Room(NamedTuple):
    """A row of the table."""

    name: str
    places: tuple[str, ...]  # packages and modules; the longest that a module lies in decides
    may: frozenset[str]  # rooms that it may import, beside itself


def source_files() -> list[Path]:
    return sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def is_within(module: str, place: str) -> bool:
    return module == place or module.startswith(place + ".")


def all_imports() -> list[Import]:
    """Nothing is looked over: module level, functions, TYPE_CHECKING."""
    known = {module_name(path) for path in source_files()}
    found = []
    for path in source_files():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        found += [Import(module_name(path), target, inside) for target, inside in _imports(tree, known)]
    return found


def _imports(tree: ast.Module, known: set[str]) -> Iterator[tuple[str, bool]]:
    for node, inside in _walk(tree, inside=False):
        if isinstance(node, ast.Import):
            yield from ((alias.name, inside) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide where a name comes from"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield (full if full in known else str(node.module)), inside


def _walk(node: ast.AST, *, inside: bool) -> Iterator[tuple[ast.AST, bool]]:
    for child in ast.iter_child_nodes(node):
        yield child, inside
        deeper = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
        deeper |= isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"
        yield from _walk(child, inside=inside or deeper)


def rooms() -> dict[str, Room]:
    """The table "Rooms" of coord/README.md."""
    text = (ROOT / "coord/README.md").read_text(encoding="utf-8")
    table = re.findall(r"^\| \*\*(\w+)\*\* \| ([^|]+) \|[^|]*\| ([^|]*) \|$", text, flags=re.MULTILINE)
    return {
        name: Room(name, tuple(re.findall(r"`([\w.]+)`", places)), frozenset(re.findall(r"\w+", may)))
        for name, places, may in table
    }


def room_of(module: str, table: dict[str, Room]) -> str:
    """The room of a module; "" if it lies in none."""
    lies_in = {place: room.name for room in table.values() for place in room.places if _holds(place, module)}
    return lies_in[max(lies_in, key=len)] if lies_in else ""


def _holds(place: str, module: str) -> bool:
    """A whole package is no place: its name stands for what its `__init__.py` says."""
    return is_within(module, place) if "." in place else module == place


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Groups of modules that reach each other: strongly connected components of more than one (Tarjan 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(module: str) -> None:
        index[module] = low[module] = len(index)
        stack.append(module)
        for target in sorted(graph.get(module, ())):
            if target not in index:
                visit(target)
            if target in stack:
                low[module] = min(low[module], low[target])
        if low[module] == index[module]:
            group = stack[stack.index(module) :]
            del stack[stack.index(module) :]
            if len(group) > 1:
                found.append(sorted(group))

    for module in sorted(graph):
        if module not in index:
            visit(module)
    return found


IMPORTS = all_imports()
