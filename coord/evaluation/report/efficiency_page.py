"""`coord efficiency plot`: what labels are worth in a kitchen, as one static HTML page without any network."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from coord import __version__
from coord.evaluation import efficiency
from coord.evaluation.efficiency import EfficiencyCurve, Found
from coord.evaluation.report import charts, pages
from coord.evaluation.report.charts import Series
from coord.evaluation.report.efficiency_text import LEARNERS, budgets, caption, share_text, shared
from coord.evaluation.run_folder import Interval
from coord.files import atomic_write_text

FILE_NAME = "efficiency.html"
ORACLE_STYLE = 7  # of the horizontal line; methods count from 0


def build_page(out: Path, page: Path) -> Path:
    """Write the page about the cells in `out`; its path.

    Raises:
        UserError: no cells, damaged ones, or a page that cannot be written.
    """
    found = efficiency.read(out)
    style = pages.inline("report.css") + pages.inline("scoreboard.css")
    atomic_write_text(page, pages.template("efficiency.html").render(style=style, **content(found)))
    return page


def content(found: Found) -> dict[str, Any]:
    """Everything the template shows."""
    curves = efficiency.curves(found)
    return {
        "pictures": _pictures(curves),
        "legend": _legend(curves),
        "curves": curves,
        "learners": LEARNERS,
        "budgets": budgets(curves),
        "shares": [share_text(curve, shared(curves)) for curve in curves],
        "shared": " / ".join(map(str, shared(curves))),
        "pipelines": efficiency.pipelines(found),
        "wishes": efficiency.wishes(found),
        "runs": [cell for part in efficiency.PARTS for cell in found.cells[part].values()],
        "caption": caption(found),
        "made": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "version": __version__,
    }


def _styles(curves: Sequence[EfficiencyCurve]) -> dict[str, int]:
    """A look of its own for every method, the same in all pictures."""
    return {method: i for i, method in enumerate(dict.fromkeys(curve.method for curve in curves))}


def _legend(curves: Sequence[EfficiencyCurve]) -> list[tuple[Markup, str]]:
    """A piece of line and what it stands for."""
    styles = {**_styles(curves), "the same learner on the true reward": ORACLE_STYLE}
    return [(Markup(charts.line_sample(style)), name) for name, style in styles.items()]


def _pictures(curves: Sequence[EfficiencyCurve]) -> list[dict[str, Any]]:
    """One chart per layout and learner."""
    places = {labels: float(i) for i, labels in enumerate(budgets(curves))}
    styles = _styles(curves)
    out = []
    for layout, learner in dict.fromkeys((curve.layout, curve.learner) for curve in curves):
        mine = [curve for curve in curves if (curve.layout, curve.learner) == (layout, learner)]
        series = [_series(curve.method, curve.points, places, styles[curve.method]) for curve in mine]
        oracle = mine[0].oracle
        if oracle is not None:
            series.append(_series("true reward", dict.fromkeys(places, oracle), places, ORACLE_STYLE))
        ticks = [(place, str(labels)) for labels, place in places.items()]
        title = f"{layout}, {LEARNERS[learner]}"
        svg = charts.line_chart(series, title=f"Return by labels: {title}", x_label="labels per seed", x_ticks=ticks)
        out.append({"title": title, "svg": Markup(svg)})
    return out


def _series(name: str, points: Mapping[int, Interval], places: Mapping[int, float], style: int) -> Series:
    """A line through the returns at these numbers of labels, which stand at equal distances."""
    mean, low, high = np.array([tuple(points[labels]) for labels in places if labels in points]).reshape(-1, 3).T
    x = np.array([place for labels, place in places.items() if labels in points])
    return Series(name, x, mean, low, high, style)
