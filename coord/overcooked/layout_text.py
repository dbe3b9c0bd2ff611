"""The text of a layout: reading its file, the mapping in it, and the rows of its grid.

A layout file holds a mapping of plain values, written in Python (overcooked-ai, ZSC-Eval) or JSON, or nothing but a
grid. Nothing in it is executed. Lines that begin with `#` before it, a byte order mark, and blanks around rows are
overlooked, as overcooked-ai does.
"""

from __future__ import annotations

import ast
import math
import textwrap
import warnings
from pathlib import Path
from typing import Any

from coord.errors import UserError

MAX_PLAYERS = 4
MAX_CELLS = 32_767  # cells are numbered in 16 bits
MAX_TEXT = 1_000_000  # bytes; the largest kitchen needs a thirtieth of it
SHOWN = 60  # characters of a foreign text that are quoted
_TILES = "XOTDPS "
_PLAIN = (ast.Expression, ast.Dict, ast.List, ast.Tuple, ast.Constant, ast.UnaryOp, ast.USub, ast.UAdd, ast.Load)
_WORDS = {"null": None, "true": True, "false": False, "Infinity": math.inf, "NaN": math.nan}  # of JSON


def read_file(path: Path) -> str:
    """The text of a layout file. UserError if it is no regular file, too long to be a layout, or not readable."""
    try:
        if not path.exists():
            raise UserError(f"cannot read layout file '{path}': no such file")
        if not path.is_file():
            raise UserError(f"cannot read layout file '{path}': it is no regular file")
        if path.stat().st_size > MAX_TEXT:
            raise UserError(f"cannot read layout file '{path}': more than {MAX_TEXT} bytes are no layout")
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"cannot read layout file '{str(path)[:200]}': {reason}") from error


def parse(text: str, name: str) -> dict[str, Any]:
    """The mapping that a layout's text holds, or {"grid": rows} if it holds only rows. UserError names line, column."""
    lines = text.removeprefix("\ufeff").splitlines()
    skipped = 0
    while skipped < len(lines) and (not lines[skipped].strip() or lines[skipped].lstrip().startswith("#")):
        skipped += 1
    body = "\n".join(lines[skipped:])
    start = body.lstrip()[:1]
    if start == "[":
        raise UserError(f"layout '{name}' is a list; it must be a mapping ({{'grid': ...}}) or bare rows of tiles")
    if start != "{":
        return {"grid": body}
    return _parse_mapping(body.lstrip(), name, skipped)


def _parse_mapping(text: str, name: str, skipped: int) -> dict[str, Any]:
    def refuse(line: int, column: int, reason: str) -> UserError:
        where = f"line {skipped + line}, column {column}"
        return UserError(f"layout '{name}' is not a mapping of plain values: {where}: {reason}")

    if "\0" in text:
        before = text[: text.index("\0")]
        raise refuse(before.count("\n") + 1, len(before) - before.rfind("\n"), "a NUL byte")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an odd backslash in a grid is told by the check of the grid
            tree = _PlainWords().visit(ast.parse(text, mode="eval"))
    except SyntaxError as error:
        raise refuse(error.lineno or 1, error.offset or 1, _short(error.msg)) from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise refuse(1, 1, _short(str(error)) or "too deeply nested") from error
    if foreign := _first_foreign(tree):
        line, column, kind = foreign
        raise refuse(line, column, f"'{_short(text.splitlines()[line - 1][column - 1 :])}' is no {kind}")
    try:
        return dict(ast.literal_eval(tree))
    except (ValueError, TypeError, RecursionError) as error:
        raise refuse(1, 1, _short(str(error))) from error


def _short(text: str) -> str:
    return text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."


class _PlainWords(ast.NodeTransformer):
    """Puts values for JSON's words and for the one call that layouts contain, `float('inf')`."""

    def visit_Name(self, node: ast.Name) -> ast.AST:
        return ast.copy_location(ast.Constant(_WORDS[node.id]), node) if node.id in _WORDS else node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        if ast.unparse(node) == "float('inf')":
            return ast.copy_location(ast.Constant(math.inf), node)
        return node


def _first_foreign(tree: ast.AST) -> tuple[int, int, str] | None:
    """(line, column) from 1 of the first part that is no plain value, or a key that is no text, and what it is not.

    Plain are mappings, lists, texts, numbers, truth values and nothing.
    """
    for node in ast.walk(tree):
        for key in node.keys if isinstance(node, ast.Dict) else ():
            if key is not None and not (isinstance(key, ast.Constant) and isinstance(key.value, str)):
                return key.lineno, key.col_offset + 1, "text, as a key must be"
        constant = isinstance(node, ast.Constant) and not isinstance(node.value, str | int | float | None)
        unpacked = isinstance(node, ast.Dict) and None in node.keys
        signed = isinstance(node, ast.UnaryOp) and not _is_number(node.operand)
        if not isinstance(node, _PLAIN) or constant or unpacked or signed:
            return getattr(node, "lineno", 1), getattr(node, "col_offset", 0) + 1, "plain value"
    return None


def _is_number(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, int | float) and not isinstance(node.value, bool)


# --------------------------------------------------------------------------- grids


def split_rows(text: str) -> tuple[str, ...]:
    """Rows of a grid string. What surrounds them goes; an end of floor stays if only so the rows have one length.

    (It is refused then, by a message about floor and not about lengths.)
    """
    lines = textwrap.dedent(text).splitlines()
    while lines and not lines[0].strip():
        lines.pop(0)
    while lines and not lines[-1].strip():
        lines.pop()
    stripped = tuple(line.strip() for line in lines)
    if len(set(map(len, stripped))) > 1 and len(set(map(len, lines))) == 1:
        return tuple(lines)
    return stripped


def check_grid(grid: tuple[str, ...], name: str) -> None:
    """Raises UserError for a grid that is no kitchen; rows and columns are counted from 1."""
    if not grid:
        raise UserError(f"layout '{name}' has an empty grid")
    for y, row in enumerate(grid):
        if len(row) != len(grid[0]):
            reason = f"the row has {len(row)} columns, the first has {len(grid[0])}"
            _refuse(name, y, min(len(row), len(grid[0])), reason)
    if len(grid) * len(grid[0]) > MAX_CELLS:
        size = f"{len(grid[0])} x {len(grid)} = {len(grid) * len(grid[0])} cells"
        raise UserError(f"layout '{name}' has {size}, a kitchen has at most {MAX_CELLS}")
    for y, row in enumerate(grid):
        for x, char in enumerate(row):
            _check_tile(grid, name, y, x, char)
    _check_contents("".join(grid), name)


def _check_tile(grid: tuple[str, ...], name: str, y: int, x: int, char: str) -> None:
    on_border = y in (0, len(grid) - 1) or x in (0, len(grid[0]) - 1)
    if char in "0123456789" and (on_border or char == "0"):
        hint = f"'{char}' is read as a start tile; if it is an ingredient elsewhere, write O (onion) or T (tomato)"
        _refuse(name, y, x, f"the border must not be floor: {hint}" if on_border else hint)
    if char not in _TILES and char not in "123456789":
        _refuse(name, y, x, f"unknown character {char!r}, allowed: {_TILES!r} and the digits 1 to {MAX_PLAYERS}")
    if char.isdigit() and int(char) > MAX_PLAYERS:
        _refuse(name, y, x, f"start tile {char}, a kitchen has at most {MAX_PLAYERS} chefs")
    if char.isdigit() and char in "".join(grid[:y]) + grid[y][:x]:
        _refuse(name, y, x, f"start tile {char} occurs twice")
    if on_border and char == " ":
        _refuse(name, y, x, "the border must not be floor")


def _check_contents(tiles: str, name: str) -> None:
    digits = sorted(char for char in tiles if char.isdigit())
    for seat in range(1, max(len(digits), 1) + 1):
        if str(seat) not in digits:
            raise UserError(f"layout '{name}': start tile {seat} is missing")
    for kinds, what in (("D", "dish dispenser (D)"), ("S", "serving hatch (S)"), ("P", "pot (P)")):
        if kinds not in tiles:
            raise UserError(f"layout '{name}': no {what}")
    if "O" not in tiles and "T" not in tiles:
        raise UserError(f"layout '{name}': no ingredient dispenser (O or T)")


def _refuse(name: str, y: int, x: int, reason: str) -> None:
    raise UserError(f"layout '{name}', row {y + 1}, column {x + 1}: {reason}")
