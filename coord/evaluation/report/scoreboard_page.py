"""`coord scoreboard plot`: the whole scoreboard as one static HTML page, with everything inside it and no network.

What matters first: who plays best with people-like strangers, all layouts in all variants, intervals per layout beside
published figures, BR-Prox, cross-play, conduct; then how everybody was trained, and which command adds what is missing.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from coord import __version__
from coord.evaluation import contexts
from coord.evaluation.published import published_row
from coord.evaluation.report import charts, pages
from coord.evaluation.run_folder import Interval
from coord.evaluation.scoreboard import VARIANTS
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

FILE_NAME = "scoreboard.html"
VARIANT_TEXT = {
    "standard": "as recorded: the clone may stay, useless actions are allowed (Carroll et al. 2019)",
    "no_stay": "the clone never stays (as in Mahlau et al. 2024)",
    "masked": "actions without effect are masked for both (as in ZSC-Eval)",
    "no_stay_masked": "both of these",
}
NUMBERED_HEAT_MAP = 20  # most methods whose cells still hold a number


def build_page(out: Path, page: Path, known: Mapping[str, str]) -> Path:
    """Write the page about the scoreboard in `out`; its path.

    known: every method that could contend -> a few words about it, for what is missing.
    Raises:
        UserError: no cells, damaged ones, or a page that cannot be written.
    """
    board = read_board(out)
    facts = content(board, known)
    style = pages.inline("report.css") + pages.inline("scoreboard.css")
    atomic_write_text(page, pages.template("scoreboard.html").render(style=style, **facts))
    return page


def content(board: Board, known: Mapping[str, str]) -> dict[str, Any]:
    """Everything the template shows."""
    return {
        "board": board,
        "labels": LABELS,
        "notes": known,
        "layouts": board.layouts("A"),
        "answer": _answer(board),
        "variants": [(name, VARIANT_TEXT[name], _proxy_rows(board, name)) for name in VARIANTS if board.cells["A"]],
        "panels": _panels(board),
        "br_panels": _br_panels(board),
        "heat_maps": _heat_maps(board),
        "gaps": gap_table(board),
        "conduct": conduct_table(board),
        "contexts": contexts.table(board.cells["A"]),
        "training": [(method, board.training(method)) for method in board.methods()],
        "cells": _cell_facts(board),
        "settings": {p: settings_text(cells) for p, cells in board.cells.items() if cells},
        "missing": _missing(board, known),
        "made": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "version": __version__,
    }


def _answer(board: Board) -> dict[str, Any] | None:
    """The best with and without human data, among those that have every layout."""
    whole = [(method, row[MEAN]) for method, row in board.proxy("standard").items() if MEAN in row]
    if not whole:
        return None
    found = {human: [one for one in whole if board.human_data(one[0]) == human] for human in (False, True)}
    return {"without": next(iter(found[False]), None), "with": next(iter(found[True]), None)}


def _proxy_rows(board: Board, variant: str) -> list[dict[str, Any]]:
    """Rows of the table of protocol A; `best` are the columns in which a method leads those without human data."""
    table = board.proxy(variant)
    layouts = board.layouts("A")
    free = [method for method in table if not board.human_data(method)]
    best = {
        column: max((m for m in free if column in table[m]), key=lambda m: table[m][column].mean, default=None)
        for column in (MEAN, *layouts)
    }
    return [
        {
            "method": method,
            "figures": [row.get(column) for column in (MEAN, *layouts)],
            "best": [best[column] == method for column in (MEAN, *layouts)],
            "published": published_mean(method, layouts),
            "human": board.human_data(method),
            "training": board.training(method),
        }
        for method, row in table.items()
    ]


# ------------------------------------------------------------------------------------------------------ pictures


def _panels(board: Board) -> list[dict[str, Any]]:
    """One interval plot per layout, and one of the mean; published figures as hollow dots in the same row."""
    table = board.proxy("standard")
    columns = [MEAN, *board.layouts("A")] if any(MEAN in row for row in table.values()) else board.layouts("A")
    return [_panel(board, table, column) for column in columns if table]


def _panel(board: Board, table: Mapping[str, Mapping[str, Interval]], column: str) -> dict[str, Any]:
    figures = {method: row[column] for method, row in table.items() if column in row}
    published = {m: one for m in figures if (one := _published(board, m, column)) is not None}
    top = 1.06 * max([1.0, *(one.high for one in (*figures.values(), *published.values()))])
    rows = []
    for method in sorted(figures, key=lambda m: -figures[m].mean):
        bars = [(published[method], "published")] if method in published else []
        bars.append((figures[method], f"ours {_colour(board, method)}"))
        rows.append((method, figures[method], _bars(bars, top)))
    return {"heading": _heading(column), "rows": rows, "ticks": _scale(top)}


def _published(board: Board, method: str, column: str) -> Interval | None:
    if column == MEAN:
        mean = published_mean(method, board.layouts("A"))
        return None if mean is None else Interval(mean[0], mean[0], mean[0])
    one = published_row(method).get(column)
    return None if one is None else Interval(one.mean, one.low or one.mean, one.high or one.mean)


def _colour(board: Board, method: str) -> str:
    """Series class: learned from human games, trained without, or not trained at all."""
    if board.human_data(method):
        return "s1"
    return "s0" if board.training(method).runs else "s2"


def _bars(bars: Iterable[tuple[Interval, str]], top: float) -> Markup:
    ticks = charts.nice_ticks(0.0, top, 4)
    return Markup("").join(Markup(charts.interval_bar(*one, top=top, ticks=ticks, style=style)) for one, style in bars)


def _scale(top: float) -> list[tuple[float, float]]:
    """Ticks and their places in percent."""
    return [(tick, 100 * tick / top) for tick in charts.nice_ticks(0.0, top, 4)]


def _br_panels(board: Board) -> list[dict[str, Any]]:
    """One interval plot of BR-Prox per layout and, of several, one of the mean; all from 0 to 1."""
    table = br_prox_table(board)
    columns = [*([MEAN] if any(len(row) > 2 for row in table.values()) else []), *board.layouts("B")]
    panels = []
    for column in columns:
        figures = {method: row[column] for method, row in table.items() if column in row}
        rows = [
            (method, figures[method], _bars([(figures[method], f"ours {_colour(board, method)}")], 1.0))
            for method in sorted(figures, key=lambda m: -figures[m].mean)
        ]
        panels.append({"heading": _heading(column), "rows": rows, "ticks": _scale(1.0)})
    return panels


def _heading(column: str) -> str:
    return "Mean over layouts" if column == MEAN else LABELS.get(column, column)


def _heat_maps(board: Board) -> list[dict[str, Any]]:
    """Protocol C: the mean over layouts, then each layout."""
    layouts = board.layouts("C")
    if not layouts:
        return []
    groups: list[tuple[str, Sequence[str]]] = [("Mean over layouts", layouts)] if len(layouts) > 1 else []
    groups += [(LABELS.get(layout, layout), [layout]) for layout in layouts]
    return [_heat_map(board, heading, chosen) for heading, chosen in groups]


def _heat_map(board: Board, heading: str, layouts: Sequence[str]) -> dict[str, Any]:
    matrix = cross_matrix(board, layouts)
    top = max(1.0, float(np.nanmax(matrix))) if np.isfinite(matrix).any() else 1.0
    cells = [[(value, *charts.heat_colour(0.0 if np.isnan(value) else value / top)) for value in row] for row in matrix]
    names = cross_methods(board)
    stops = ", ".join(charts.heat_colour(i / 8)[0] for i in range(9))
    return {
        "heading": heading,
        "names": names,
        "cells": cells,
        "top": top,
        "ramp": f"linear-gradient(90deg, {stops})",
        "numbered": len(names) <= NUMBERED_HEAT_MAP,
    }


# ------------------------------------------------------------------------------------------------- how it was made


def _cell_facts(board: Board) -> list[dict[str, Any]]:
    """One line per cell of protocols A and B: hashes of egos and partners, code version."""
    facts = []
    for protocol in "AB":
        for (method, layout), cell in board.cells[protocol].items():
            git = cell["provenance"]["git"] or {}
            facts.append(
                {
                    "protocol": protocol,
                    "layout": layout,
                    "method": method,
                    "egos": [one[:12] for one in cell["egos"]],
                    "partners": [one[:12] for one in cell["partners"]],
                    "code": str(git.get("sha", "unknown"))[:10] + (" + changes" if git.get("dirty") else ""),
                    "command": cell["provenance"]["command"],
                }
            )
    return facts


def _missing(board: Board, known: Mapping[str, str]) -> list[dict[str, str]]:
    """What has no cell although others have, and the command that adds it."""
    hints = []
    for protocol in "AB":
        layouts = board.layouts(protocol)
        lacking: dict[tuple[str, ...], list[str]] = {}
        for method in dict.fromkeys([*known, *board.methods()]):
            lacks = tuple(layout for layout in layouts if (method, layout) not in board.cells[protocol])
            if lacks:
                lacking.setdefault(lacks, []).append(method)
        for lacks, methods in lacking.items():
            words = f"methods={','.join(methods)} layouts={','.join(lacks)} protocols={protocol}"
            what = f"Protocol {protocol}: {', '.join(methods)} on {', '.join(LABELS.get(one, one) for one in lacks)}"
            hints.append({"what": what, "command": f"coord scoreboard run out={board.folder.as_posix()} {words}"})
    for protocol, what in (("A", "human proxy"), ("B", "behaviour-preferring partners"), ("C", "cross-play")):
        if not board.cells[protocol]:
            command = f"coord scoreboard run out={board.folder.as_posix()} protocols={protocol}"
            hints.append({"what": f"Protocol {protocol} ({what})", "command": command})
    return hints
