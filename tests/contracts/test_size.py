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


ALGORITHMS = ("coord/algos", "coord/preference/learners", "coord/preference/methods", "populations/methods")
# Files that are still longer than they may be, and how long each is at most: they may shrink, and none may be added.
STILL_LONG = {
    "coord/nets/population.py": 515,
    "coord/preference/labels/feedback.py": 488,
    "coord/preference/labels/store.py": 675,
    "coord/preference/learners/kitchen_ppo.py": 371,
    "coord/preference/learners/sac.py": 307,
    "coord/preference/reward/annotators.py": 419,
    "coord/preference/reward/model.py": 704,
    "populations/methods/pecan.py": 339,
}


def test_every_idea_fits_in_a_file() -> None:
    """At most 300 lines for an algorithm, 400 for any other file of the packages."""
    sizes = {str(path.relative_to(ROOT)): len(path.read_text("utf-8").splitlines()) for path in source_files()}
    limits = {name: 300 if name.startswith(tuple(f"{a}/" for a in ALGORITHMS)) else 400 for name in sizes}
    long = {name: lines for name, lines in sizes.items() if lines > STILL_LONG.get(name, limits[name])}
    assert not long
    assert not {name for name in STILL_LONG if name not in sizes or sizes[name] <= limits[name]}, "strike them out"
