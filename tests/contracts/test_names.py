"""A class name means one thing in the whole tree."""

from __future__ import annotations

import ast
from collections import defaultdict

from tests.contracts import house

# Names that belong to a contract, which many modules fulfil (coord/README.md).
CONTRACTS = {"Config"}  # what a command or a method is configured by


def test_no_two_classes_have_one_name() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for path in house.source_files():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and node.name not in CONTRACTS:
                places[node.name].append(f"{path.relative_to(house.ROOT)}:{node.lineno}")
    twice = {name: where for name, where in places.items() if len(where) > 1}
    lines = [f"{name} ({', '.join(at)})" for name, at in twice.items()]
    assert not lines, "classes that share a name: " + "; ".join(lines)
