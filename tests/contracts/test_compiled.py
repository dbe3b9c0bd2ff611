"""Compiled functions say how they treat numbers: what is left open depends on which caller is compiled first."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import numba as nb
import numpy as np

from coord import compile_cache
from coord.overcooked import compiled
from tests.contracts.house import ROOT, source_files

SETS = {"EXACT", "FAST"}
SAID = {"fastmath", "error_model"}


def decorators() -> Iterator[tuple[str, set[str]]]:
    """Place and words of every `njit(...)`; `**NAME` counts as NAME."""
    for path in source_files():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute | ast.Name) and ast.unparse(node).split(".")[-1] in ("njit", "jit"):
                yield f"{path.relative_to(ROOT)}:{node.lineno}", set()
            if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in ("njit", "jit"):
                words = {key.arg or ast.unparse(key.value) for key in node.keywords}
                yield f"{path.relative_to(ROOT)}:{node.func.lineno}", words


def says(words: set[str]) -> bool:
    return bool(words & SETS) or words >= SAID


def test_every_compiled_function_says_how_it_treats_numbers() -> None:
    found: dict[str, set[str]] = {}
    for place, words in decorators():
        found.setdefault(place, set()).update(words)
    silent = [
        place for place, words in found.items() if not (says(words) or says(set(re.findall("[A-Z]+", str(words)))))
    ]
    assert not silent, "\n".join(silent)
    assert len(found) > 30


def test_whatever_compiled_kitchen_code_reads_renews_its_cache() -> None:
    """numba sees a change in a function's own file only; the folder is named after all files that take part."""
    here = ROOT / "coord/overcooked"
    listed = {(here / name).resolve() for name in compiled._SOURCES}
    decorators = {"compiled", "scalar", "loop", "parallel_loop", "inner", "inner_alloc"}
    for path in source_files():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names = {
            ast.unparse(one.func if isinstance(one, ast.Call) else one)
            for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef)
            for one in node.decorator_list
        }
        is_kitchen_code = "coord.overcooked" in path.read_text(encoding="utf-8")
        assert not (names & decorators and is_kitchen_code) or path in listed, f"{path} is missing in _SOURCES"


def total(numbers):  # type: ignore[no-untyped-def]
    result = numbers[0] * 0
    for i in range(len(numbers)):
        result += numbers[i]
    return result


def test_exact_sums_stay_exact_below_a_fast_caller() -> None:
    exact = nb.njit(**{**compile_cache.EXACT, "cache": False})(total)
    fast = nb.njit(**{**compile_cache.FAST, "cache": False})(lambda numbers: exact(numbers))
    assert fast(np.ones(8, np.float32)) == 8
    assert "fadd fast" not in exact.inspect_llvm(exact.signatures[0])
