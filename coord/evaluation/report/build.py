"""`coord report`: one static HTML page about a run, with everything inside it and no network.

Reads whatever `coord.evaluation.run_folder` finds, in this order of importance: how well the agent does with
people-like partners it never met, recorded games, the scores, cross-play, what each seat does, learning curves; then
what was learned from preferences (`coord.evaluation.report.preference_report`); and how it was made. What is missing
is left out, and the page says which command would add it.
"""

from __future__ import annotations

import datetime
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from markupsafe import Markup

from coord import __version__
from coord.evaluation.published import Published, published_returns
from coord.evaluation.report import charts, pages, preference_report, preference_runs
from coord.evaluation.report.glossary import KITCHEN_TERMS, PREFERENCE_TERMS
from coord.evaluation.report.replay import Game, replay, sprite_sheet
from coord.evaluation.run_folder import (
    PROXY,
    CrossPlay,
    Evaluation,
    Interval,
    MetricCurve,
    Row,
    RunFolder,
    TrainingRun,
    combine,
    difference,
    read_folder,
)
from coord.files import atomic_write_text, check_place
from coord.overcooked.render import SEAT_HATS
from coord.references import split_reference

FILE_NAME = "report.html"
POINTS_PER_SOUP = 20  # classic rules
HATS = tuple(zip(SEAT_HATS, ("#00669e", "#e08a1e", "#00a06b", "#8e4bb8"), strict=True))  # name and colour by seat
MAX_PAIRS = 4  # pairs of agents whose games are shown, three games each
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
MAIN_CURVES = ("rollout/return", "eval/return", "xp/return", "eval/bc_accuracy")


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
            name = str(given.get(reference, _short_name(reference)))
            self._names[reference] = reference if name in self._names.values() else name

    def __call__(self, reference: str) -> str:
        return self._names.get(reference, reference)


def _short_name(reference: str) -> str:
    """`pool#member` -> member; a path -> its last part that says something; anything else as it is."""
    if member := split_reference(reference)[1]:
        return member
    if not ("/" in reference or "\\" in reference or reference.endswith(".safetensors")):
        return reference
    parts = PurePath(reference.replace("\\", "/").removesuffix(".safetensors")).parts
    telling = [part for part in parts if part.lower() not in GENERIC_PARTS]
    return telling[-1] if telling else reference


def build_report(
    path: str | Path,
    out: str | Path | None = None,
    *,
    meanings: Mapping[str, str] | None = None,
    clips: int = preference_report.CLIPS,
) -> Path:
    """Write the report on the folder `path` and return its file (default: `report.html` in that folder).

    Args:
        meanings: metric key -> what it means, for the captions of the learning curves.
        clips: queries of each task that are shown as clips; drawing one takes a few seconds.
    Raises: UserError where there is no folder, nothing in it to report on, or the file cannot be written.
    """
    folder = read_folder(path)
    target = Path(out) if out else folder.path / FILE_NAME
    check_place(target)
    atomic_write_text(target, render(folder, meanings or {}, clips))
    return target


def render(folder: RunFolder, meanings: Mapping[str, str], clips: int = preference_report.CLIPS) -> str:
    """The page as text."""
    facts = page(folder, meanings, clips)
    return pages.template("report.html").render(
        style=pages.inline("report.css"), script=pages.inline("report.js"), **facts
    )


def page(folder: RunFolder, meanings: Mapping[str, str], clips: int) -> dict[str, Any]:
    """Everything the template shows."""
    learned, others = preference_runs.split(folder.runs, folder.problems)
    has_games = bool(others or folder.evaluations or folder.crossplays or folder.pools or folder.games)
    label = _labels(folder)
    scores = [score for evaluation in folder.evaluations for score in _scores(evaluation, label)]
    games, pairs = _games(folder, label)
    setting = _setting(folder, others)
    topic = "Coordination" if has_games else "Preference learning"
    return {
        "title": str(folder.summary.get("title", f"{topic} report: {folder.path.resolve().name}")),
        "has_games": has_games,
        "policies": folder.policies,
        "preference": preference_report.sections(learned, folder.path, meanings, clips),
        "label": label,
        "setting": setting,
        "answer": _answer(folder, scores, label, setting),
        "scores": scores,
        "crossplays": [_heat_map(one, label) for one in folder.crossplays],
        "events": _event_panels(scores, label, setting),
        "event_rows": _event_table(scores),
        "charts": _curve_groups(others, meanings),
        "pairs": pairs,
        "games": games,
        "sheet": sprite_sheet() if games else None,
        "runs": [_run_facts(run) for run in folder.runs],
        "machines": _machines(folder.runs),
        "pools": folder.pools,
        "problems": folder.problems,
        "hats": HATS,
        "terms": _terms(has_games, bool(learned)),
        "missing": _missing(folder, setting) if has_games else [],
        "made": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "version": __version__,
    }


def _terms(of_games: bool, of_preferences: bool) -> dict[str, dict[str, str]]:
    """Terms by heading."""
    groups = {"Kitchens": (of_games, KITCHEN_TERMS), "Learning from preferences": (of_preferences, PREFERENCE_TERMS)}
    return {heading: terms for heading, (is_needed, terms) in groups.items() if is_needed}


# --- who and where


def _labels(folder: RunFolder) -> AgentNames:
    names = [name for one in folder.evaluations for row in one.rows for name in (row.ego, row.partner)]
    names += [name for one in folder.evaluations for name in one.partner_names]
    names += [str(one.facts["ego"]) for one in folder.evaluations if one.facts.get("ego")]
    names += [name for one in folder.crossplays for name in one.members]
    names += [str(name) for game in folder.games for name in game.get("agents", [])]
    given = folder.summary.get("labels", {})
    return AgentNames(names, {PROXY: "human proxy", **(given if isinstance(given, dict) else {})})


def _setting(folder: RunFolder, runs: Sequence[TrainingRun]) -> dict[str, Any]:
    """Layout, rules and horizon of the first file that tells them."""
    sources = [one.facts for one in folder.evaluations] + [one.facts for one in folder.crossplays] + folder.games
    keys = ("layout", "rules", "horizon")
    setting = {key: next((source[key] for source in sources if key in source), None) for key in keys}
    for key in keys:  # a training run alone: its config, read line by line, for it may hold anything
        if setting[key] is None:
            setting[key] = next((value for run in runs if (value := _config_value(run.config, key))), None)
    return setting


def _config_value(config: str, key: str) -> str | None:
    lines = [line.partition(":") for line in config.splitlines()]
    return next((value.strip().strip("'\"") for name, _, value in lines if name == key and value.strip()), None)


def _scores(evaluation: Evaluation, label: AgentNames) -> list[Score]:
    """One score per ego of the file; many partners are summed up by their number."""
    count = len({row.partner for row in evaluation.rows})
    name = " + ".join(label(one) for one in evaluation.partner_names)
    if count != len(evaluation.partner_names):
        name += f" ({count} partners)"
    egos = dict.fromkeys(row.ego for row in evaluation.rows)
    if len(egos) > 1 and evaluation.facts.get("ego"):  # a pool of egos: seeds of one method, scored together
        return [Score(str(evaluation.facts["ego"]), name, evaluation, list(evaluation.rows))]
    return [Score(ego, name, evaluation, [row for row in evaluation.rows if row.ego == ego]) for ego in egos]


# --- the answer


def _answer(
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
    return next((score for ego, score in ours.items() if name in (ego, label(ego), _short_name(ego))), None)


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


# --- cross-play


def _heat_map(crossplay: CrossPlay, label: AgentNames) -> dict[str, Any]:
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


# --- events


def _mean_events(rows: Sequence[Row]) -> dict[str, tuple[Interval, ...]]:
    """Counts per game of the ego and each partner, over rows that count the same events for as many seats."""
    names = [name for name in rows[0].events if all(name in row.events for row in rows)]
    return {name: tuple(map(combine, zip(*(row.events[name] for row in rows), strict=True))) for name in names}


def _event_table(scores: Sequence[Score]) -> list[tuple[Score, int, dict[str, tuple[Interval, ...]]]]:
    rows = [(score, seat, _mean_events(rows)) for score in scores for seat, rows in score.seats.items()]
    return [row for row in rows if row[2]]


def _event_panels(scores: Sequence[Score], label: AgentNames, setting: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One panel of bars per main event; with the human proxy where there is such a score, else for all scores."""
    shown = [score for score in scores if score.evaluation.with_proxy] or scores
    table = _event_table(shown)
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


# --- learning curves


def _curve_groups(runs: Sequence[TrainingRun], meanings: Mapping[str, str]) -> list[dict[str, Any]]:
    """Charts by prefix, the ones about returns first; one chart per key, one line per run.

    Keys below another key (`rollout/return/3` below `rollout/return`) are its members: they become its band. Keys
    that share a parent without curve of its own (`eval/return/<partner>`) share its chart, one line per name.
    """
    keys = list(dict.fromkeys(key for run in runs for key in run.curves))
    parents = {key: _chart_of(key, keys) for key in keys}
    groups: dict[str, list[dict[str, Any]]] = {}
    for chart in dict.fromkeys(parents.values()):
        series = [one for run in runs for one in _series(run, chart, parents, len(runs) > 1)]
        svg = charts.line_chart(series, title=chart, x_label="environment steps")
        if svg:
            group = "main" if chart in MAIN_CURVES else chart.partition("/")[0]
            groups.setdefault(group, []).append(
                {"key": chart, "meaning": _meaning(chart, meanings), "svg": Markup(svg), "banded": _is_banded(series)}
            )
    order = {"main": 0, "rollout": 1, "eval": 2, "xp": 3, "train": 4, "reward": 5, "time": 6}
    return [{"name": name, "charts": groups[name]} for name in sorted(groups, key=lambda one: order.get(one, 9))]


def _chart_of(key: str, keys: Sequence[str]) -> str:
    """The chart a key is drawn in: that of its parent where the parent is a curve or is about returns."""
    parent = key.rpartition("/")[0]
    return parent if parent in keys or parent in MAIN_CURVES else key


def _series(run: TrainingRun, chart: str, parents: Mapping[str, str], several_runs: bool) -> list[charts.Series]:
    """The run's lines in one chart."""
    inside = [key for key in run.curves if parents[key] == chart]
    if chart in run.curves:
        members = [run.curves[key] for key in inside if key != chart]
        return [_banded(run.name if several_runs else "", run.curves[chart], members)]
    names = [key.removeprefix(chart + "/") for key in inside]
    prefix = f"{run.name} " if several_runs else ""
    return [_banded(prefix + name, run.curves[key], []) for name, key in zip(names, inside, strict=True)]


def _banded(name: str, curve: MetricCurve, members: Sequence[MetricCurve]) -> charts.Series:
    """A line with the band from the lowest to the highest member (no members: no band)."""
    low, high = curve.values, curve.values
    if members:
        at = np.stack([np.interp(curve.x, member.x, member.values) for member in members])  # [M, T]
        low, high = np.fmin(at.min(axis=0), low), np.fmax(at.max(axis=0), high)
    return charts.Series(name, curve.x, curve.values, low, high)


def _is_banded(series: Sequence[charts.Series]) -> bool:
    return any(bool(np.nanmax(one.high - one.low) > 0) for one in series if np.isfinite(one.mean).any())


def _meaning(key: str, meanings: Mapping[str, str]) -> str:
    """What a metric means; an entry such as `rollout/event/<event>` speaks for every name in that place."""
    parent, _, name = key.rpartition("/")
    general = next((text for entry, text in meanings.items() if entry.startswith(f"{parent}/<")), "")
    if key not in meanings and general:
        return f"{general} ({name})"
    return meanings.get(key) or next((text for entry, text in meanings.items() if entry.startswith(f"{key}/<")), "")


# --- games


def _games(folder: RunFolder, label: AgentNames) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Frames of the shown games and, per pair of agents, which of them are its best, median and worst."""
    readable = []
    for data in folder.games:
        try:
            readable.append((data["source"], Game.from_json(data)))
        except (KeyError, TypeError, ValueError) as error:
            folder.problems.append(f"{data['source']}: {type(error).__name__}: {error}")
    frames: list[dict[str, Any]] = []
    pairs: list[dict[str, Any]] = []
    by_agents: dict[tuple[str, ...], list[tuple[str, Game]]] = {}
    for source, game in readable:
        by_agents.setdefault(tuple(sorted(game.agents)), []).append((source, game))
    for agents in sorted(by_agents, key=lambda names: PROXY not in names)[:MAX_PAIRS]:
        shown = _replayed(_pick(by_agents[agents]), folder, frames)
        if shown:
            heading = " with ".join(label(name) for name in sorted(agents, key=lambda name: name == PROXY))
            pairs.append({"heading": heading, "games": shown, "count": len(by_agents[agents])})
    return frames, pairs


def _pick(games: Sequence[tuple[str, Game]]) -> list[tuple[str, str, Game]]:
    """Best, median and worst by return as (title, source, game); fewer than three are all shown."""
    ranked = sorted(games, key=lambda pair: -pair[1].total)
    if len(ranked) < 3:
        return [("Game", source, game) for source, game in ranked]
    places = (("Best game", 0), ("Median game", len(ranked) // 2), ("Worst game", len(ranked) - 1))
    return [(title, *ranked[place]) for title, place in places]


def _replayed(
    picked: Sequence[tuple[str, str, Game]], folder: RunFolder, frames: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Append the frames of each game to `frames`; a game that cannot be replayed is named among the problems."""
    shown = []
    for title, source, game in picked:
        try:
            frames.append(replay(game))
        except (ValueError, KeyError) as error:
            folder.problems.append(f"{source}: not shown, {error}")
            continue
        shown.append({"title": title, "game": game, "source": source, "number": len(frames) - 1})
    return shown


# --- how it was made


def _run_facts(run: TrainingRun) -> dict[str, Any]:
    """One line of the table of training runs."""
    steps = max((float(curve.x[-1]) for curve in run.curves.values()), default=0.0)
    elapsed = run.curves.get("time/elapsed_s")
    speed = run.curves.get("time/steps_per_s")
    return {
        "run": run,
        "seed": _config_value(run.config, "seed") or "not recorded",
        "steps": steps,
        "minutes": float(np.nanmax(elapsed.values)) / 60 if elapsed is not None else None,
        "speed": statistics.median(speed.values[np.isfinite(speed.values)].tolist() or [math.nan]) if speed else None,
    }


def _machines(runs: Sequence[TrainingRun]) -> list[dict[str, Any]]:
    """Hardware and versions, each different machine once with the runs made on it."""
    machines: list[dict[str, Any]] = []
    for run in runs:
        facts = dict(_flat(run.environment))
        same = next((one for one in machines if one["facts"] == facts), None)
        if same:
            same["runs"].append(run.name)
        elif facts:
            machines.append({"facts": facts, "runs": [run.name]})
    return machines


def _flat(values: Mapping[str, Any], above: str = "") -> Iterable[tuple[str, str]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{key} ")
        else:
            yield f"{above}{key}", str(value)


def _missing(folder: RunFolder, setting: Mapping[str, Any]) -> list[dict[str, str]]:
    """What the folder lacks, and the command that adds it."""
    place = folder.path.as_posix()
    layout = setting["layout"] or "cramped_room"
    hints = []
    if not any(one.with_proxy for one in folder.evaluations):
        command = f"coord evaluate ego={place} partners={PROXY} layout={layout} out={place}/eval/{PROXY}.json"
        hints.append({"what": "Scores with people-like partners", "command": command})
    if folder.pools and not folder.crossplays:
        pool = (folder.path / folder.pools[0]["source"]).parent.as_posix()
        hints.append({"what": "A cross-play matrix of the pool", "command": f"coord crossplay {pool}"})
    return hints
