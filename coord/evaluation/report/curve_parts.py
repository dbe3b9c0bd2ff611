"""Parts of the page about training: learning curves, each training run, and the machines they ran on."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from coord.evaluation.report import charts
from coord.evaluation.run_folder import MetricCurve, TrainingRun

MAIN_CURVES = ("rollout/return", "eval/return", "xp/return", "eval/bc_accuracy")


def config_value(config: str, key: str) -> str | None:
    lines = [line.partition(":") for line in config.splitlines()]
    return next((value.strip().strip("'\"") for name, _, value in lines if name == key and value.strip()), None)


def curve_groups(runs: Sequence[TrainingRun], meanings: Mapping[str, str]) -> list[dict[str, Any]]:
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


def run_facts(run: TrainingRun) -> dict[str, Any]:
    """One line of the table of training runs."""
    steps = max((float(curve.x[-1]) for curve in run.curves.values()), default=0.0)
    elapsed = run.curves.get("time/elapsed_s")
    speed = run.curves.get("time/steps_per_s")
    return {
        "run": run,
        "seed": config_value(run.config, "seed") or "not recorded",
        "steps": steps,
        "minutes": float(np.nanmax(elapsed.values)) / 60 if elapsed is not None else None,
        "speed": statistics.median(speed.values[np.isfinite(speed.values)].tolist() or [math.nan]) if speed else None,
    }


def machines_of(runs: Sequence[TrainingRun]) -> list[dict[str, Any]]:
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
