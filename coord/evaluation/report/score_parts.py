"""Parts of the page about scores: who, the answer with people-like partners, cross-play, and what each seat does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import PurePath
from typing import Any

import numpy as np
from markupsafe import Markup

from coord.evaluation.published import Published, published_returns
from coord.evaluation.report import charts
from coord.evaluation.run_folder import CrossPlay, Evaluation, Interval, Row, RunFolder, combine, difference
from coord.references import split_reference

POINTS_PER_SOUP = 20  # classic rules
NUMBERED_HEAT_MAP = 14  # most members whose cells still hold a number
# Events worth a picture: (name, heading, whether it is shown as a share of all ticks)
MAIN_EVENTS = (
    ("delivery", "Soups delivered", False),
    ("placement_in_pot", "Ingredients put into a pot", False),
    ("soup_pickup", "Soups taken from a pot", False),
    ("dish_from_dispenser", "Dishes fetched", False),
    ("collision", "Collisions", False),
    ("idle", "Idle", True),
)
GENERIC_PARTS = frozenset({"ckpt", "final", "agent", "ego", "latest", "policy", ""})


@dataclass(frozen=True)
class Score:
    """One ego with one kind of partners, over both seats."""

    ego: str
    partners: str
    evaluation: Evaluation
    rows: list[Row]

    @property
    def is_whole_file(self) -> bool:
        return len(self.rows) == len(self.evaluation.rows)

    @property
    def overall(self) -> Interval:
        """Mean over all rows; where the file tells its own interval (a bootstrap over games), that one."""
        own = self.evaluation.overall if self.is_whole_file else None
        return own or combine([row.score for row in self.rows])

    @property
    def games(self) -> int:
        return sum(row.episodes for row in self.rows)

    @property
    def seats(self) -> dict[int, list[Row]]:
        """Rows by the ego's seat."""
        rows = sorted(self.rows, key=lambda row: row.ego_seat)
        return {seat: list(group) for seat, group in groupby(rows, key=lambda row: row.ego_seat)}

    def seat_score(self, seat: int) -> Interval | None:
        rows = self.seats.get(seat)
        return combine([row.score for row in rows]) if rows else None


class AgentNames:
    """Short names for agents, which files call by path or by pool and member; two agents never share one."""

    def __init__(self, references: Iterable[str], given: Mapping[str, str]) -> None:
        self._names: dict[str, str] = {}
        for reference in sorted(set(references)):
            name = str(given.get(reference, short_name(reference)))
            self._names[reference] = reference if name in self._names.values() else name

    def __call__(self, reference: str) -> str:
        return self._names.get(reference, reference)


def short_name(reference: str) -> str:
    """`pool#member` -> member; a path -> its last part that says something; anything else as it is."""
    if member := split_reference(reference)[1]:
        return member
    if not ("/" in reference or "\\" in reference or reference.endswith(".safetensors")):
        return reference
    parts = PurePath(reference.replace("\\", "/").removesuffix(".safetensors")).parts
    telling = [part for part in parts if part.lower() not in GENERIC_PARTS]
    return telling[-1] if telling else reference


def scores_of(evaluation: Evaluation, label: AgentNames) -> list[Score]:
    """One score per ego of the file; many partners are summed up by their number."""
    count = len({row.partner for row in evaluation.rows})
    name = " + ".join(label(one) for one in evaluation.partner_names)
    if count != len(evaluation.partner_names):
        name += f" ({count} partners)"
    egos = dict.fromkeys(row.ego for row in evaluation.rows)
    if len(egos) > 1 and evaluation.facts.get("ego"):  # a pool of egos: seeds of one method, scored together
        return [Score(str(evaluation.facts["ego"]), name, evaluation, list(evaluation.rows))]
    return [Score(ego, name, evaluation, [row for row in evaluation.rows if row.ego == ego]) for ego in egos]


def answer_of(
    folder: RunFolder, scores: Sequence[Score], label: AgentNames, setting: Mapping[str, Any]
) -> dict[str, Any] | None:
    """The headline: egos with the human proxy, best first, the difference to the baseline, published figures."""
    ours: dict[str, Score] = {}
    for score in sorted(scores, key=lambda one: not one.evaluation.facts.get("stochastic", True)):
        if score.evaluation.with_proxy:
            ours.setdefault(score.ego, score)  # sampled actions before argmax
    if not ours:
        return None
    ranked = sorted(ours.values(), key=lambda one: -one.overall.mean)
    ego = _named(ours, folder.summary.get("ego"), label) or ranked[0]
    baseline = _named(ours, folder.summary.get("baseline"), label)
    known = published_returns(str(setting["layout"]), str(setting["rules"]), int(setting["horizon"] or 0))
    return {
        "ego": ego,
        "baseline": baseline if baseline is not ego else None,
        "gain": difference(ego.overall, baseline.overall) if baseline and baseline is not ego else None,
        "soups": ego.overall.mean / POINTS_PER_SOUP if setting["rules"] == "classic" else None,
        "forest": _forest(ranked, known, label),
        "published": [_span(known, human_data) for human_data in (False, True)] if known else [],
    }


def _span(known: Sequence[Published], human_data: bool) -> tuple[float, float]:
    """Lowest and highest published mean with or without human data."""
    means = [one.mean for one in known if one.human_data == human_data]
    return min(means), max(means)


def _named(ours: Mapping[str, Score], name: Any, label: AgentNames) -> Score | None:
    """The score of the ego called `name`, be that its reference, its label or the short form of its reference."""
    return next((score for ego, score in ours.items() if name in (ego, label(ego), short_name(ego))), None)


def _forest(ranked: Sequence[Score], known: Sequence[Published], label: AgentNames) -> dict[str, Any]:
    """Rows of the dot-and-interval plot on one common scale from zero."""
    top = 1.06 * max([*(score.overall.high for score in ranked), *(one.high or one.mean for one in known), 1.0])
    ticks = charts.nice_ticks(0.0, top, 4)

    def bar(interval: Interval, style: str) -> Markup:
        return Markup(charts.interval_bar(*interval, top=top, ticks=ticks, style=style))

    colours = {score.ego: i % 4 for i, score in enumerate(sorted(ranked, key=lambda one: label(one.ego)))}
    own = [(score, bar(score.overall, f"ours s{colours[score.ego]}")) for score in ranked]
    others = []
    for one in reversed(known):
        interval = Interval(one.mean, one.low or one.mean, one.high or one.mean)
        others.append((one, interval if one.low is not None else None, bar(interval, "published")))
    return {"ticks": [(tick, 100 * tick / top) for tick in ticks], "own": own, "published": others}


def heat_map(crossplay: CrossPlay, label: AgentNames) -> dict[str, Any]:
    """Cells with colours; row = seat 0, column = seat 1."""
    top = max(float(np.nanmax(crossplay.returns)), 1.0)
    cells = []
    for i, row in enumerate(crossplay.returns):
        whole = [Interval(value, *bounds) for value, bounds in zip(row, crossplay.bounds[i], strict=True)]
        cells.append([(one, *charts.heat_colour(one.mean / top), i == j) for j, one in enumerate(whole)])
    stops = ", ".join(charts.heat_colour(i / 8)[0] for i in range(9))
    return {
        "crossplay": crossplay,
        "names": [label(member) for member in crossplay.members],
        "cells": cells,
        "top": top,
        "ramp": f"linear-gradient(90deg, {stops})",
        "numbered": len(crossplay.members) <= NUMBERED_HEAT_MAP,
    }


def _mean_events(rows: Sequence[Row]) -> dict[str, tuple[Interval, ...]]:
    """Counts per game of the ego and each partner, over rows that count the same events for as many seats."""
    names = [name for name in rows[0].events if all(name in row.events for row in rows)]
    return {name: tuple(map(combine, zip(*(row.events[name] for row in rows), strict=True))) for name in names}


def event_table(scores: Sequence[Score]) -> list[tuple[Score, int, dict[str, tuple[Interval, ...]]]]:
    rows = [(score, seat, _mean_events(rows)) for score in scores for seat, rows in score.seats.items()]
    return [row for row in rows if row[2]]


def event_panels(scores: Sequence[Score], label: AgentNames, setting: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One panel of bars per main event; with the human proxy where there is such a score, else for all scores."""
    shown = [score for score in scores if score.evaluation.with_proxy] or scores
    table = event_table(shown)
    panels = []
    for name, heading, is_share in MAIN_EVENTS:
        scale = 100.0 / float(setting["horizon"]) if is_share and setting["horizon"] else 1.0
        rows = [
            (score, seat, [_scaled(count, scale) for count in events[name]])
            for score, seat, events in table
            if name in events
        ]
        if rows:
            top = max(count.high for *_, counts in rows for count in counts)
            unit = "% of ticks" if scale != 1.0 else "per game"
            panels.append({"heading": heading, "unit": unit, "top": top or 1.0, "rows": rows})
    return panels


def _scaled(count: Interval, scale: float) -> Interval:
    return Interval(*(scale * value for value in count))
