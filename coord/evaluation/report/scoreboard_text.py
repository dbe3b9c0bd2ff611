"""The scoreboard as text for a terminal, and as a table in a README."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from coord.errors import UserError
from coord.evaluation import contexts
from coord.evaluation.run_folder import Interval
from coord.evaluation.scoreboard_tables import (
    LABELS,
    MEAN,
    Board,
    br_prox_table,
    conduct_table,
    cross_matrix,
    cross_methods,
    gap_table,
    published_mean,
    read_board,
    settings_text,
)
from coord.files import atomic_write_text

BEGIN, END = "<!-- scoreboard:begin -->", "<!-- scoreboard:end -->"
NOTHING = "–"


def text(out: Path, variant: str) -> str:
    """All tables that there are cells for.

    Raises:
        UserError: no cells in `out`, or a damaged one.
    """
    board = read_board(out)
    parts = {"A": [_proxy, _conduct, _contexts], "B": [_br_prox], "C": [_gaps, _cross]}
    lines = []
    for protocol, makers in parts.items():
        if board.cells[protocol]:
            tables = [table for maker in makers if (table := maker(board, variant))]
            lines += [line for table in tables for line in [*table, ""]]
    return "\n".join(lines[:-1])


def figure(value: Interval | None, digits: int = 1) -> str:
    """`128.3 ±7.8`: the mean, and half of the 95 % interval's width."""
    if value is None:
        return NOTHING
    return f"{value.mean:.{digits}f} ±{(value.high - value.low) / 2:.{digits}f}"


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table whose first column is left-aligned and whose others are right-aligned."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _proxy(board: Board, variant: str) -> list[str]:
    layouts = board.layouts("A")
    rows = [["method", "mean", *(LABELS.get(name, name) for name in layouts), "published", "minutes", "human data"]]
    for method, row in board.proxy(variant).items():
        figures = [figure(row.get(column)) for column in (MEAN, *layouts)]
        rows.append([method, *figures, _published(method, layouts), _minutes(board, method), _human(board, method)])
    head = f"Protocol A, human proxy, {variant}: mean return, ± half of the 95 % interval over seeds and games"
    notes = "minutes: pools + egos, per layout; published: others' code and proxies, for orientation"
    return [head, f"  {settings_text(board.cells['A'])}; {notes}", *aligned(rows)]


def _published(method: str, layouts: Sequence[str]) -> str:
    found = published_mean(method, layouts)
    return NOTHING if found is None else f"{found[0]:.1f}"


def _minutes(board: Board, method: str) -> str:
    training = board.training(method)
    if not training.runs:
        return NOTHING
    return f"{training.minutes('pool'):.1f} + {training.minutes('egos'):.1f}"


def _human(board: Board, method: str) -> str:
    return "yes" if board.human_data(method) else "no"


def _conduct(board: Board, variant: str) -> list[str]:
    rows = [["method", "collisions/100 ticks", "ego idle %", "work balance", "last - first quarter"]]
    for method, one in conduct_table(board, variant).items():
        balance = NOTHING if one.balance is None else f"{one.balance:.2f}"
        rows.append([method, f"{one.collisions:.2f}", f"{100 * one.idle:.1f}", balance, figure(one.gain, 2)])
    return ["Conduct with the human proxy, mean over layouts", *aligned(rows)]


def _contexts(board: Board, variant: str) -> list[str]:
    found = contexts.table(board.cells["A"])
    if not found:
        return []
    games = [f"game {number}" for number in range(1, len(next(iter(found.values()))))]
    rows = [["method", "updated", "mean", *games]]
    rows += [[method, what, *map(figure, figures)] for (method, what), figures in found.items()]
    return ["Games in a row with the human proxy, by when the ego updates what it makes of its partner", *aligned(rows)]


def _br_prox(board: Board, variant: str) -> list[str]:
    layouts = board.layouts("B")
    rows = [["method", "mean", *(LABELS.get(name, name) for name in layouts)]]
    for method, row in br_prox_table(board).items():
        rows.append([method, *(figure(row.get(column), 3) for column in (MEAN, *layouts))])
    return ["Protocol B, behaviour-preferring partners: BR-Prox", *aligned(rows)]


def _gaps(board: Board, variant: str) -> list[str]:
    rows = [["method", "self-play", "other seeds", "gap", "layouts"]]
    for method, one in gap_table(board).items():
        rows.append([method, figure(one.self_play), figure(one.cross_play), figure(one.gap), str(one.layouts)])
    return ["Protocol C, self-play minus cross-play between seeds, mean over layouts", *aligned(rows)]


def _cross(board: Board, variant: str) -> list[str]:
    names = cross_methods(board)
    matrix = cross_matrix(board, board.layouts("C"))
    rows = [["", *names]]
    for name, values in zip(names, matrix, strict=True):
        rows.append([name, *(NOTHING if np.isnan(value) else f"{value:.1f}" for value in values)])
    return ["Protocol C, cross-play between methods, mean return over layouts and seats", *aligned(rows)]


# --------------------------------------------------------------------------------------------------- README


def rewrite_readme(file: Path, out: Path) -> None:
    """Replace what stands between the markers by the table of protocol A.

    Raises:
        UserError: see `rewrite_between`; no cells of protocol A.
    """
    rewrite_between(file, BEGIN, END, markdown(read_board(out)))


def rewrite_between(file: Path, begin: str, end: str, text: str) -> None:
    """Replace what stands between two markers of a file.

    Raises:
        UserError: no such file, or not exactly one pair of markers.
    """
    try:
        old = file.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror or error}") from error
    if (old.count(begin), old.count(end)) != (1, 1) or old.index(begin) > old.index(end):
        raise UserError(f"{file}: put the lines {begin} and {end} where the table is to stand, once each")
    new = f"{begin}\n\n{text}\n\n{end}"
    atomic_write_text(file, re.sub(f"{begin}.*{end}", lambda _: new, old, flags=re.DOTALL))


def markdown(board: Board) -> str:
    """The table of protocol A, standard, as Markdown.

    Raises:
        UserError: no cells of protocol A.
    """
    if not board.cells["A"]:
        raise UserError(f"nothing of protocol A was played in {board.folder}: say coord scoreboard run protocols=A")
    layouts = board.layouts("A")
    heads = ["method", "mean", *(LABELS.get(name, name) for name in layouts), "published mean", "minutes", "human data"]
    lines = [_row(heads), _row(["---", *["---:"] * (len(heads) - 1)])]
    for method, row in board.proxy("standard").items():
        mean = f"**{figure(row[MEAN])}**" if MEAN in row else NOTHING
        figures = [figure(row.get(layout)) for layout in layouts]
        facts = [_published(method, layouts), _minutes(board, method), _human(board, method)]
        lines.append(_row([f"`{method}`", mean, *figures, *facts]))
    return "\n".join([*lines, "", _caption(board.cells["A"])])


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _caption(cells: Mapping[tuple[str, str], Mapping[str, object]]) -> str:
    return (
        "Mean return per game with the held-out human proxy, ± half of the 95 % interval over seeds and games "
        f"({settings_text(cells)}). Minutes of training per layout: pools + all egos. Published means come from "
        "others' code and proxies."
    )
