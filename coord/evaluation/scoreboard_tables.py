"""The scoreboard's figures, from its cells only: what the text, the page and the README show.

Means over layouts are given to those who have every layout of the board, for the layouts are not equally hard.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from coord.errors import UserError
from coord.evaluation import scoreboard
from coord.evaluation.published import LAYOUTS, Published, published_row
from coord.evaluation.run_folder import Interval, combine

LABELS = {  # what the literature calls them
    "cramped_room": "Cramped Rm.",
    "asymmetric_advantages": "Asymm. Adv.",
    "coordination_ring": "Coord. Ring",
    "forced_coordination": "Forced Coord.",
    "counter_circuit_o_1order": "Counter Circ.",
}
MEAN = "mean"  # column of the mean over layouts
Cells = Mapping[tuple[str, str], Mapping[str, Any]]  # (name, layout) -> cell


@dataclass(frozen=True)
class Board:
    """All cells of a scoreboard folder by protocol."""

    folder: Path
    cells: Mapping[str, Cells]
    tables: dict[str, dict[str, dict[str, Interval]]] = field(default_factory=dict)  # of protocol A, by variant

    def layouts(self, protocol: str) -> list[str]:
        """Layouts of a protocol's cells, the classic ones first."""
        found = {layout for _, layout in self.cells[protocol]}
        return [name for name in LAYOUTS if name in found] + sorted(found - set(LAYOUTS))

    def proxy(self, variant: str) -> dict[str, dict[str, Interval]]:
        """Protocol A: method -> {layout: figure, "mean": figure}, the best first."""
        if variant not in self.tables:
            self.tables[variant] = ranked(
                scoreboard.proxy_table(self.cells["A"], variant, self.layouts("A")), len(self.layouts("A"))
            )
        return self.tables[variant]

    def methods(self) -> list[str]:
        """Everybody who has a cell, in the order of protocol A, then by name."""
        across = {name for pair, _ in self.cells["C"] for name in pair.split("--")}
        others = {method for method, _ in self.cells["B"]} | across
        return list(dict.fromkeys([*self.proxy("standard"), *sorted(others)]))

    def human_data(self, method: str) -> bool:
        """Whether a method learned from human games."""
        return any(cell["human_data"] for cell in self._of(method))

    def _of(self, method: str) -> list[Mapping[str, Any]]:
        """Cells of protocols A and B."""
        return [cell for p in "AB" for (name, _), cell in self.cells[p].items() if name == method]

    def training(self, method: str) -> TrainingSummary:
        """What a method's egos cost, every run counted once."""
        runs = {run["folder"]: run for cell in self._of(method) for run in cell["training"].get("runs", ())}
        places = {layout for p in "AB" for (name, layout) in self.cells[p] if name == method}
        return TrainingSummary(tuple(runs.values()), len(places))


class TrainingSummary(NamedTuple):
    """The training runs behind a method on all its layouts."""

    runs: tuple[Mapping[str, Any], ...]
    layouts: int

    def minutes(self, role: str) -> float:
        """Minutes per layout; role: "pool" or "egos"."""
        return self._total("minutes", role) / max(self.layouts, 1)

    def env_steps(self, role: str) -> float:
        """Environment steps of all learners per layout."""
        return self._total("env_steps", role) / max(self.layouts, 1)

    def _total(self, key: str, role: str) -> float:
        return float(sum(run[key] for run in self.runs if run["role"] == role))


def read_board(out: Path) -> Board:
    """The cells below `out`.

    Raises:
        UserError: none there, or a damaged one.
    """
    found = {protocol: scoreboard.cells(out, protocol) for protocol in scoreboard.PROTOCOLS}
    if not any(found.values()):
        raise UserError(f"nothing was played in {out} yet: say coord scoreboard run out={out}")
    return Board(out, found)


@contextmanager
def telling_damage(out: Path, show: Callable[[Path], object]) -> Iterator[None]:
    """Around the showing of the cells below `out`: one that was changed by hand is named, with how to get it back.

    show: shows the cells of a folder; given folders of one cell each to find out which one it is.

    Raises:
        UserError: instead of whatever a cell of another form brings about.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, UserError):
            raise
        bad = next((path for path in sorted(out.glob("cells/*/*/*.json")) if not _can_be_shown(out, path, show)), None)
        if bad is None and isinstance(error, OSError):
            raise
        where = f"a cell below {out}" if bad is None else str(bad)
        reason = f"{type(error).__name__}: {error}"
        raise UserError(f"{where} is damaged ({reason}): delete it to have it played again") from error


def _can_be_shown(out: Path, path: Path, show: Callable[[Path], object]) -> bool:
    with TemporaryDirectory() as alone:
        place = Path(alone, path.relative_to(out))
        place.parent.mkdir(parents=True)
        place.write_bytes(path.read_bytes())
        try:
            show(Path(alone))
        except Exception:
            return False
        return True


def ranked(table: Mapping[str, Mapping[str, Interval]], layouts: int) -> dict[str, dict[str, Interval]]:
    """The rows, the largest mean first; those without every layout last, by the mean of what they have."""

    def key(method: str) -> tuple[bool, float]:
        row = table[method]
        own = [figure.mean for layout, figure in row.items() if layout != MEAN]
        return MEAN not in row, -float(np.mean(own)) if own else 0.0

    return {method: dict(table[method]) for method in sorted(table, key=key)}


def br_prox_table(board: Board) -> dict[str, dict[str, Interval]]:
    """Protocol B: method -> {layout: BR-Prox, "mean": over layouts}, the best first."""
    layouts = board.layouts("B")
    table: dict[str, dict[str, Interval]] = {}
    for (method, layout), cell in board.cells["B"].items():
        table.setdefault(method, {})[layout] = Interval(cell["br_prox"], *cell["br_prox_ci95"])
    for row in table.values():
        if len(row) == len(layouts):
            row[MEAN] = combine(list(row.values()))
    return ranked(table, len(layouts))


class MethodGap(NamedTuple):
    """Play with itself, with the other seeds of its method, and the difference; means over layouts."""

    self_play: Interval
    cross_play: Interval
    gap: Interval
    layouts: int


def gap_table(board: Board) -> dict[str, MethodGap]:
    """Protocol C: method -> gap, the smallest first; only methods with several seeds have one."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for (name, _), cell in board.cells["C"].items():
        if cell["gap"] is not None:
            found.setdefault(name.partition("--")[0], []).append(cell["gap"])
    table = {}
    for method, gaps in found.items():
        own, other, gap = (
            combine([Interval(g[f"{x}_mean"], *g[f"{x}_ci95"]) for g in gaps]) for x in ("sp", "xp", "gap")
        )
        table[method] = MethodGap(own, other, gap, len(gaps))
    return dict(sorted(table.items(), key=lambda item: item[1].gap.mean))


def cross_methods(board: Board) -> list[str]:
    """Who takes part in protocol C, in the order of protocol A."""
    names = {name for pair, _ in board.cells["C"] for name in pair.split("--")}
    return [name for name in board.methods() if name in names]


def cross_matrix(board: Board, layouts: Sequence[str]) -> NDArray[np.float64]:
    """[n, n] mean return of every pair of `cross_methods` over the layouts; NaN for a pair that lacks one."""
    names = cross_methods(board)
    at = {name: i for i, name in enumerate(names)}
    matrix = np.full((len(layouts), len(names), len(names)), np.nan)
    for (pair, layout), cell in board.cells["C"].items():
        if layout in layouts:
            one, two = (at[name] for name in pair.split("--"))
            matrix[layouts.index(layout), [one, two], [two, one]] = cell["mean_return"]
    return matrix.mean(axis=0)


class Conduct(NamedTuple):
    """How a method plays with the proxy; means over layouts."""

    collisions: float  # per 100 ticks
    idle: float  # share of the ego's ticks
    balance: float | None  # of the work, 0 to 1
    gain: Interval  # return of the last quarter minus the first
    layouts: int


def conduct_table(board: Board, variant: str = "standard") -> dict[str, Conduct]:
    """Protocol A: method -> conduct, in the order of the scores."""
    table = {}
    for method in board.proxy(variant):
        own = [cell["variants"][variant]["conduct"] for (name, _), cell in board.cells["A"].items() if name == method]
        balances = [one["work_balance"] for one in own if one["work_balance"] is not None]
        table[method] = Conduct(
            collisions=_mean(one["collisions_per_100"] for one in own),
            idle=_mean(one["ego_idle_share"] for one in own),
            balance=_mean(balances) if balances else None,
            gain=combine([Interval(one["adaptation_gain"], *one["adaptation_ci95"]) for one in own]),
            layouts=len(own),
        )
    return table


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))


def published_mean(method: str, layouts: Sequence[str]) -> tuple[float, Published] | None:
    """Mean of a method's published figures over the layouts, and one of them for its source; None if one is missing."""
    row = published_row(method)
    if not layouts or not all(layout in row for layout in layouts):
        return None
    return _mean(row[layout].mean for layout in layouts), row[layouts[0]]


def settings_text(cells: Cells) -> str:
    """How the games were played, in words; settings that differ between cells are listed."""
    seen: dict[str, list[Any]] = {}
    for cell in cells.values():
        for name, value in cell["settings"].items():
            if value not in seen.setdefault(name, []):
                seen[name].append(value)
    return ", ".join(f"{name}={' or '.join(map(str, values))}" for name, values in seen.items())
