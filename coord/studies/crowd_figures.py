"""Outcome of the experiment with synthetic crowds (`coord.studies.crowd_experiment`) as a table and a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coord.files import atomic_write_figure
from coord.studies.crowd_experiment import CROWDS, WAYS

TABLE = {
    "rank_correlation": "rank correlation",
    "rank_correlation_over_pooled": "over pooling",
    "rank_correlation_over_majority": "over majority",
    "accuracy": "held-out accuracy",
    "who": "who is who",
}


def summary(result: dict[str, Any]) -> str:
    """The outcome as a table."""
    lines = [
        f"{result['seeds']} repetitions, {result['queries']} queries to {result['per_query']} of 7 annotators each"
    ]
    for crowd, found in result["crowds"].items():
        lines += ["", f"{crowd}: {', '.join(found['people'])}"]
        lines.append(f"{'way':<12}" + "".join(f"{heading:>22}" for heading in TABLE.values()))
        for way, own in found["ways"].items():
            lines.append(f"{way:<12}" + "".join(f"{_text(own.get(key)):>22}" for key in TABLE))
    return "\n".join(lines)


def _text(figure: dict[str, Any] | None) -> str:
    if figure is None:
        return "-"
    low, high = figure["interval95"]
    return f"{figure['mean']:.2f} ({low:.2f} .. {high:.2f})"


def draw_figure(result: dict[str, Any], path: str | Path) -> None:
    """Write rank correlations of every crowd and way, and who was found to be how reliable, as a PNG.

    Raises:
        UserError: the file cannot be written.
    """
    import matplotlib.figure as figures

    figure = figures.Figure(figsize=(11, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    ways = list(WAYS)
    for i, (crowd, found) in enumerate(result["crowds"].items()):
        own = [found["ways"][way]["rank_correlation"] for way in ways if way in found["ways"]]
        _bars(left, np.arange(len(own)) + 0.25 * (i - 1), own, label=crowd, marker="os^"[i])
    left.set_xticks(range(len(ways)), ways)
    left.set(title="rank correlation with what each reliable annotator wants", ylim=(-0.3, 1.0))
    left.axhline(0, color="k", lw=0.5)
    left.legend()
    found = result["crowds"]["careless"]
    people = found["ways"]["reliability"]["reliability"]
    _bars(right, np.arange(len(people)), people, label="found", marker="o")
    truth = np.array([person.reliability for person in CROWDS["careless"]])
    right.plot(truth / np.sqrt((truth**2).mean()), "k_", ms=24, label="true")
    right.set_xticks(range(len(people)), found["people"], rotation=30)
    right.set(title="reliability of each annotator (root mean square 1)")
    right.axhline(0, color="k", lw=0.5)
    right.legend()
    atomic_write_figure(path, figure)


def _bars(axes: Any, x: NDArray[Any], figures: Sequence[dict[str, Any]], *, label: str, marker: str) -> None:
    middle = np.array([figure["mean"] for figure in figures])
    ends = np.array([figure["interval95"] for figure in figures]).T
    error = np.abs(ends - middle)
    axes.errorbar(x, middle, yerr=error, fmt=marker, capsize=3, label=label)
