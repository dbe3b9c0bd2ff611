"""What `coord safety` says: violations while learning, labels and return of every arm, with intervals over seeds.

An arm is a mapping: `kind` ("reward" or "direct"), per seed `violations`, `labels` and `return`, and for arms with a
reward `steps` [T] with `curves` [T, seeds] of the violations so far. Arms of one kind share their seeds, so that each
is compared with the one without warnings (`BASE`) seed by seed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from coord.files import atomic_write_figure
from coord.seeding import derive
from coord.stats import bootstrap_band, bootstrap_ci, mean
from coord.studies import direct_policy

BASE = {"reward": "plain", "direct": "parenting"}
COLUMNS = ("violations", "labels", "return")
MARKERS = "osD^vP*X<>"


def reward_arm(rows: Sequence[Mapping[str, Any]], seeds: int) -> dict[str, Any]:
    """The figures of a run of `coord prefer` from its rows of metrics; its members are the seeds."""
    last = next(row for row in reversed(rows) if "eval/return" in row)
    logged = [row for row in rows if "rollout/violations" in row]
    return {
        "kind": "reward",
        "violations": _of_members(logged[-1], "rollout/violations", seeds),
        "labels": _of_members(last, "reward/labels", seeds),
        "return": _of_members(last, "eval/return", seeds),
        "steps": [row["step"] for row in logged],
        "curves": [_of_members(row, "rollout/violations", seeds) for row in logged],
    }


def _of_members(row: Mapping[str, Any], key: str, members: int) -> list[float]:
    """A metric of each member; with a lone member the mean is its own."""
    return [float(row.get(f"{key}/{m}", row[key])) for m in range(members)]


def direct_arm(variant: str, seeds: int, seed: int) -> dict[str, Any]:
    """The figures of a variant of direct policy learning on the island."""
    found = [direct_policy.run(variant, derive(seed, "direct", n)) for n in range(seeds)]
    return {
        "kind": "direct",
        "violations": [float(outcome.deaths) for outcome in found],
        "labels": [float(outcome.labels) for outcome in found],
        "return": [outcome.hidden_return for outcome in found],
        "steps_used": [outcome.steps for outcome in found],
    }


def saved(arm: Mapping[str, Any], base: Mapping[str, Any]) -> tuple[float, float, float]:
    """Violations of an arm less those of its base, seed by seed: mean and 95 % interval."""
    gaps = np.subtract(arm["violations"], base["violations"])
    return float(gaps.mean()), *bootstrap_ci([gaps])


def table(result: Mapping[str, Any]) -> str:
    """One line per arm: mean and 95 % interval over seeds, and what the warnings changed."""
    arms = result["arms"]
    width = max(len(name) for name in arms)
    heads = "".join(f"{column:>32}" for column in (*COLUMNS, "violations less base's"))
    lines = [f"{result['task']}, violations: {', '.join(result['hazards'])}", f"{'':<{width}}{heads}   seeds"]
    for name, arm in arms.items():
        cells = [_cell(float(mean(arm[column])), *bootstrap_ci([arm[column]])) for column in COLUMNS]
        base = BASE[arm["kind"]]
        cells.append(_cell(*saved(arm, arms[base])) if base in arms and base != name else "")
        lines.append(f"{name:<{width}}{''.join(f'{cell:>32}' for cell in cells)}   {len(arm['violations'])}")
    return "\n".join(lines)


def _cell(value: float, low: float, high: float) -> str:
    return f"{value:.2f} ({low:.2f} .. {high:.2f})"


def draw(result: Mapping[str, Any], path: Path) -> None:
    """Violations so far over steps (arms with a reward), and return over violations (all arms).

    Raises:
        UserError: the file cannot be written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for number, (name, arm) in enumerate(result["arms"].items()):
        colour, marker = f"C{number}", MARKERS[number % len(MARKERS)]  # shapes tell apart what colours may not
        right.scatter(arm["violations"], arm["return"], color=colour, marker=marker, label=name, s=18)
        if arm["kind"] == "reward":
            curves = np.array(arm["curves"], float)
            left.plot(arm["steps"], curves.mean(1), color=colour, marker=marker, markersize=4, label=name)
            left.fill_between(arm["steps"], *bootstrap_band(curves, mean), color=colour, alpha=0.15, linewidth=0)
    left.set(title="violations so far while learning", xlabel="steps per seed", ylabel="mean and 95 % band")
    right.set(title="every seed", xlabel="violations while learning", ylabel="return at the end")
    for axes in (left, right):
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=7)
    atomic_write_figure(path, figure)
