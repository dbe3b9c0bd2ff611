"""Functions are small and flat: at least 85 % within 20 lines, none above 60, nesting at most one deep."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tests.contracts.house import ROOT, source_files

Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(node: ast.AST, depth: int = 0) -> Iterator[tuple[Function, int]]:
    """Every function below `node` with the number of functions around it."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, Function):
            yield child, depth
            yield from functions(child, depth + 1)
        else:
            yield from functions(child, depth)


def all_functions() -> list[tuple[str, int, int]]:
    """(place, lines, depth); decorators do not count, docstrings do."""
    found = []
    for path in source_files():
        for node, depth in functions(ast.parse(path.read_text(encoding="utf-8"))):
            assert node.end_lineno is not None
            place = f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
            found.append((place, node.end_lineno - node.lineno + 1, depth))
    return found


FUNCTIONS = all_functions()


def test_no_function_is_long() -> None:
    long = [f"{place}: {lines} lines" for place, lines, _ in FUNCTIONS if lines > 60]
    assert not long, "\n".join(long)
    assert len(FUNCTIONS) > 100


def test_most_functions_are_short() -> None:
    above = sorted(((lines, place) for place, lines, _ in FUNCTIONS if lines > 20), reverse=True)
    share = 1 - len(above) / len(FUNCTIONS)
    listing = "\n".join(f"{lines} lines: {place}" for lines, place in above)
    assert share >= 0.85, f"{share:.1%} of {len(FUNCTIONS)} functions are within 20 lines; the others:\n{listing}"


def test_functions_nest_at_most_once() -> None:
    deep = [place for place, _, depth in FUNCTIONS if depth > 1]
    assert not deep, "\n".join(deep)


def test_algorithms_fit_in_a_file() -> None:
    sizes = {path.name: len(path.read_text().splitlines()) for path in (ROOT / "coord/algos").glob("*.py")}
    long = {name: lines for name, lines in sizes.items() if lines > 300}
    assert not long
