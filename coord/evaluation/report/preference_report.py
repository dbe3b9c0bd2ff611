"""The part of the report about preference learning: for each task and preset, how well who learned from how much.

Curves are interquartile means over seeds with 95 % bootstrap bands, one line per learner; then final scores against
SAC on the true reward, returns against answers, how good the learned reward is, and queries with their answers.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from coord import stats
from coord.evaluation.report import charts, query_clips
from coord.evaluation.report.preference_runs import (
    ASKED,
    LABELS,
    RETURN,
    SUCCESS,
    MethodRuns,
    PreferenceRun,
    TaskComparison,
    by_labels,
    compare,
    estimate,
    share,
)
from coord.evaluation.run_folder import Interval
from coord.preference.config import PRESETS

CLIPS = 6  # per task and preset
OVER_MEMBERS = ", mean over members"  # in the meaning of a metric, of which the charts show the seeds
STEPS_AXIS = "environment steps per seed"
MAIN_CHARTS = {
    RETURN: ("Return", "true return of evaluation episodes with deterministic actions"),
    SUCCESS: ("Success", "share of evaluation episodes that succeeded at some step"),
}
REWARD_CHARTS = {
    "reward/accuracy": ("Accuracy on its labels", "of unequal pairs, in a session's last pass"),
    "reward/holdout_accuracy": ("Accuracy on held-out labels", "the same on labels that it did not learn from"),
    "reward/rank_correlation": ("Rank correlation", "of predicted and true returns, segments of recent episodes"),
}
META_CHARTS = {
    "reward/meta_grad_norm": ("|g_meta|", "norm of the meta gradient"),
    "reward/supervised_grad_norm": ("|g_sup|", "norm of the supervised gradient on the same labels"),
    "reward/meta_cosine": ("Cosine", "between g_meta and g_sup"),
    "reward/meta_step_share": ("Meta share of a step", "what g_meta changes of a bilevel step, over the step's length"),
}
LOGARITHMIC = frozenset(("reward/meta_grad_norm", "reward/supervised_grad_norm"))
SHOWN = frozenset((RETURN, SUCCESS, ASKED, LABELS, "reward/skipped", *REWARD_CHARTS, *META_CHARTS))


class FinalScore(NamedTuple):
    """One row of the table of final scores."""

    learner: MethodRuns
    style: int
    mean: Interval | None  # of the seeds' final returns
    iqm: Interval | None
    success: Interval | None
    share: Interval | None  # of the baseline's mean return
    baseline: MethodRuns | None
    seeds: int
    steps: float  # per seed
    labels: str  # answers learned from, per seed
    asked: str  # queries, per seed
    changes: str  # what the command line changed that it did not change for all


def sections(
    runs: Sequence[PreferenceRun], top: Path, meanings: Mapping[str, str], clips: int = CLIPS
) -> list[dict[str, Any]]:
    """One section per task and preset, as the template shows it.

    Args:
        top: the folder that the report is about.
        meanings: metric key -> what it means.
        clips: how many queries each section shows.
    """
    return [_section(i, one, top, meanings, clips) for i, one in enumerate(compare(runs))]


def _section(
    number: int, comparison: TaskComparison, top: Path, meanings: Mapping[str, str], clips: int
) -> dict[str, Any]:
    styles = {one.name: i for i, one in enumerate(comparison.learners)}
    rows, common = _table(comparison, styles)
    films, notes = query_clips.clips(comparison.learners, top, clips) if clips else ([], [])

    def drawn(texts: Mapping[str, tuple[str, str]]) -> list[dict[str, Any]]:
        found = [_chart(key, *text, comparison, styles) for key, text in texts.items()]
        return [one for one in found if one["svg"]]

    main = drawn({key: text for key, text in MAIN_CHARTS.items() if key == RETURN or comparison.has_success})
    others = {key: (key, meanings.get(key, "").removesuffix(OVER_MEMBERS)) for key in _other_keys(comparison)}

    return {
        "id": f"preference-{number}",
        "task": comparison.task,
        "preset": comparison.preset,
        "preset_meaning": PRESETS.get(comparison.preset, "of another version"),
        "where": comparison.where,
        "answer": _answer(rows),
        "rows": rows,
        "common_changes": " ".join(common),
        "has_success": comparison.has_success,
        "legend": [(one, Markup(charts.line_sample(styles[one.name]))) for one in comparison.learners],
        "main": main + _efficiency(comparison, styles),
        "reward": drawn(REWARD_CHARTS),
        "meta": drawn(META_CHARTS),
        "others": drawn(others),
        "clips": [_clip(film) for film in films],
        "digits": 0 if max((row.mean.mean for row in rows if row.mean), default=0.0) >= 1000 else 1,
        "problems": comparison.problems,
        "clip_notes": notes,
        "hint": _hint(comparison, top),
    }


# ------------------------------------------------------------------------------------------------------ charts


def _series(learner: MethodRuns, style: int, x: NDArray[np.float64], values: NDArray[np.float64]) -> charts.Series:
    """Interquartile mean of values [T, n] over n seeds, and its band; a gap where a seed has no number."""
    mean = np.where(np.isfinite(values).all(axis=1), stats.iqm(values), np.nan)
    return charts.Series(learner.short, x, mean, *stats.bootstrap_band(values), style=style)


def _chart(key: str, title: str, meaning: str, comparison: TaskComparison, styles: Mapping[str, int]) -> dict[str, Any]:
    """One quantity over steps, one line per learner that logs it."""
    tables = [(one, one.table(key)) for one in comparison.learners]
    series = [_series(one, styles[one.name], x, values) for one, (x, values) in tables if values.size]
    svg = charts.line_chart(series, title=f"{title}, {comparison.where}", x_label=STEPS_AXIS, log=key in LOGARITHMIC)
    return {"title": title, "meaning": meaning, "svg": Markup(svg)}


def _efficiency(comparison: TaskComparison, styles: Mapping[str, int]) -> list[dict[str, Any]]:
    """Return against queries asked, and the final return on the true reward as a level line."""
    found = [(one, *by_labels(one)) for one in comparison.learners if one.learns_reward]
    series = [_series(one, styles[one.name], asked, returns) for one, asked, returns in found if returns.size]
    if not series:
        return []
    ends = np.array([0.0, max(float(one.x[-1]) for one in series)])
    finals = [(one, one.final(RETURN)) for one in comparison.learners if not one.learns_reward]
    levels = [_series(one, styles[one.name], ends, np.stack([final, final])) for one, final in finals if len(final)]
    svg = charts.line_chart(
        [*levels, *series], title=f"Return against queries, {comparison.where}", x_label="queries asked per seed"
    )
    meaning = "mean of the last evaluations (at most three) before more was asked; steps go on meanwhile"
    if levels:
        meaning += "; level line: the final return on the true reward, which asks nothing"
    return [{"title": "Return against queries", "meaning": meaning, "svg": Markup(svg)}]


def _other_keys(comparison: TaskComparison) -> list[str]:
    """Everything else that was logged, without the members' own values."""
    keys = {key for one in comparison.learners for run in one.runs for key in run.run.curves}
    return sorted(key for key in keys - SHOWN if not key.rpartition("/")[2].isdigit())


# ------------------------------------------------------------------------------------------------------ scores


def _table(comparison: TaskComparison, styles: Mapping[str, int]) -> tuple[list[FinalScore], list[str]]:
    """Final scores, best mean return first, and the changed settings that all have in common."""
    changes = {one.name: one.runs[0].changes for one in comparison.learners}
    common = [word for word in next(iter(changes.values()), []) if all(word in words for words in changes.values())]
    rows = []
    for one in comparison.learners:
        shown = tuple(common) + (("method.",) if one.form else ())
        own = " ".join(word for word in changes[one.name] if not word.startswith(shown))
        rows.append(_row(one, styles[one.name], comparison, own))
    return sorted(rows, key=lambda row: -row.mean.mean if row.mean else np.inf), common


def _row(learner: MethodRuns, style: int, comparison: TaskComparison, changes: str) -> FinalScore:
    final = learner.final(RETURN)
    baseline = comparison.baseline(learner) if learner.learns_reward else None
    steps = learner.table(RETURN)[0]
    return FinalScore(
        learner,
        style,
        mean=estimate(final),
        iqm=estimate(final, stats.iqm),
        success=estimate(learner.final(SUCCESS)) if comparison.has_success else None,
        share=share(final, baseline.final(RETURN)) if baseline else None,
        baseline=baseline,
        seeds=len(final),
        steps=float(steps[-1]) if len(steps) else 0.0,
        labels=_span(learner.last(LABELS)),
        asked=_span(learner.last(ASKED)),
        changes=changes,
    )


def _span(values: NDArray[np.float64]) -> str:
    """Whole numbers from the lowest to the highest; empty without any."""
    texts = [f"{value:.0f}" for value in np.sort(values[np.isfinite(values)])]
    return "–".join(dict.fromkeys((texts[0], texts[-1]))) if texts else ""


def _answer(rows: Sequence[FinalScore]) -> FinalScore | None:
    """The learner from preferences that the headline is about: the one with the highest return."""
    return next((row for row in rows if row.learner.learns_reward and row.mean), None)


def _hint(comparison: TaskComparison, top: Path) -> str | None:
    """The command that adds what the others are measured by, if it is missing."""
    first = comparison.learners[0].runs[0]
    if not all(one.learns_reward for one in comparison.learners):
        return None
    kept = ("total_steps=", "eval_", "algo.", "layout=", "rules=", "horizon=", "partners=")
    changes = [word for word in first.changes if word.startswith(kept)]
    words = [f"env={first.env}", "method=sac", f"preset={first.preset}", f"members={first.members}", *changes]
    return shlex.join(["coord", "prefer", *words, f"out={top / comparison.task}-sac"])


# ------------------------------------------------------------------------------------------------------- clips


def _clip(film: query_clips.Clip) -> dict[str, Any]:
    """A clip as the template shows it."""
    record = film.record
    steps = ", ".join(
        f"{side} steps {start + record.margin} to {start + record.margin + film.steps - 1} of episode {episode}"
        for side, start, episode in zip(("left", "right"), record.start, record.episode, strict=True)
    )
    said = [
        f"{one.text}, says {one.annotator}" + (f"; unsafe: {one.unsafe}" if one.unsafe else "") for one in film.verdicts
    ]
    return {
        "title": f"{film.learner.name}, session {record.session + 1}",
        "uri": film.uri,
        "still": film.still,
        "said": said or ["not answered yet"],
        "sides": film.sides,
        "returns": film.returns,
        "contradicts": film.contradicts,
        "origin": f"Query {record.number + 1} of member {record.member}: {steps}.",
    }
