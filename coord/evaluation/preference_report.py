"""The part of the report about preference learning: for each task and preset, how well who learned from how much.

Curves are interquartile means over seeds with 95 % bootstrap bands, one line per learner; then final scores against
SAC on the true reward, returns against answers, how good the learned reward is, and queries with their answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from coord import stats
from coord.evaluation import charts
from coord.evaluation.preference_runs import (
    ASKED,
    LABELS,
    RETURN,
    SUCCESS,
    Comparison,
    Learner,
    PreferenceRun,
    by_labels,
    compare,
    estimate,
    share,
)
from coord.evaluation.query_clips import Clip, clips
from coord.evaluation.run_folder import Interval
from coord.preference.config import PRESETS

CLIPS = 6  # per task and preset
STEPS_AXIS = "environment steps per seed"
REWARD_CHARTS = {
    "reward/accuracy": "Accuracy on its labels",
    "reward/holdout_accuracy": "Accuracy on held-out labels",
    "reward/rank_correlation": "Rank correlation with the true return",
}
META_CHARTS = {
    "reward/meta_grad_norm": "|g_meta|, norm of the meta gradient",
    "reward/supervised_grad_norm": "|g_sup|, norm of the supervised gradient",
    "reward/meta_cosine": "Cosine between the two",
    "reward/meta_step_share": "Share of a bilevel step that the meta gradient changes",
}
SHOWN = frozenset((RETURN, SUCCESS, ASKED, LABELS, "reward/skipped", *REWARD_CHARTS, *META_CHARTS))


class FinalScore(NamedTuple):
    """One row of the table of final scores."""

    learner: Learner
    style: int
    mean: Interval | None  # of the seeds' final returns
    iqm: Interval | None
    success: Interval | None
    share: Interval | None  # of the baseline's mean return
    baseline: Learner | None
    seeds: int
    steps: float  # per seed
    used: str  # answers learned from, per seed
    changes: str  # what the command line changed that it did not change for all


def sections(runs: Sequence[PreferenceRun], top: Path, meanings: Mapping[str, str]) -> list[dict[str, Any]]:
    """One section per task and preset, as the template shows it.

    Args:
        top: the folder that the report is about.
        meanings: metric key -> what it means.
    """
    return [_section(i, one, top, meanings) for i, one in enumerate(compare(runs))]


def _section(number: int, comparison: Comparison, top: Path, meanings: Mapping[str, str]) -> dict[str, Any]:
    styles = {one.name: i for i, one in enumerate(comparison.learners)}
    where = f"{comparison.task}, preset {comparison.preset}"
    rows, common = _table(comparison, styles)
    films, notes = clips(comparison.learners, top, CLIPS)

    def drawn(titles: Mapping[str, str]) -> list[dict[str, Any]]:
        found = [_chart(key, title, comparison, styles, meanings.get(key, "")) for key, title in titles.items()]
        return [one for one in found if one["svg"]]

    return {
        "id": f"preference-{number}",
        "task": comparison.task,
        "preset": comparison.preset,
        "preset_meaning": PRESETS.get(comparison.preset, "of another version"),
        "where": where,
        "answer": _answer(rows),
        "rows": rows,
        "common_changes": " ".join(common),
        "has_success": comparison.has_success,
        "legend": [(one, Markup(charts.line_sample(styles[one.name]))) for one in comparison.learners],
        "main": drawn({RETURN: "Return"} | ({SUCCESS: "Success"} if comparison.has_success else {})),
        "efficiency": _efficiency(comparison, styles),
        "reward": drawn(REWARD_CHARTS),
        "meta": drawn(META_CHARTS),
        "others": drawn({key: key for key in _other_keys(comparison)}),
        "clips": [_clip(film) for film in films],
        "problems": [*comparison.problems, *notes],
        "hint": _hint(comparison),
    }


# ------------------------------------------------------------------------------------------------------ charts


def _series(learner: Learner, style: int, x: NDArray[np.float64], values: NDArray[np.float64]) -> charts.Series:
    """Interquartile mean of values [T, n] over n seeds, and its band; a gap where a seed has no number."""
    mean = np.where(np.isfinite(values).all(axis=1), stats.iqm(values), np.nan)
    return charts.Series(learner.short, x, mean, *stats.bootstrap_band(values), style=style)


def _chart(
    key: str, title: str, comparison: Comparison, styles: Mapping[str, int], meaning: str
) -> dict[str, Any]:
    """One quantity over steps, one line per learner that logs it."""
    tables = [(one, one.table(key)) for one in comparison.learners]
    series = [_series(one, styles[one.name], x, values) for one, (x, values) in tables if values.size]
    where = f"{comparison.task}, preset {comparison.preset}"
    svg = charts.line_chart(series, title=f"{title}, {where}", x_label=STEPS_AXIS)
    return {"key": key, "title": title, "meaning": meaning, "svg": Markup(svg)}


def _efficiency(comparison: Comparison, styles: Mapping[str, int]) -> dict[str, Any] | None:
    """Return against queries asked; the true reward's return as a level line."""
    series = []
    for one in comparison.learners:
        if one.learns_reward:
            asked, returns = by_labels(one)
            if returns.size:
                series.append(_series(one, styles[one.name], asked, returns))
    if not series:
        return None
    most = max(float(one.x[-1]) for one in series)
    for one in comparison.learners:
        final = one.final(RETURN)
        if not one.learns_reward and len(final):
            series.insert(0, _series(one, styles[one.name], np.array([0.0, most]), np.stack([final, final])))
    title = f"Return against queries asked, {comparison.task}, preset {comparison.preset}"
    return {"svg": Markup(charts.line_chart(series, title=title, x_label="queries asked per seed"))}


def _other_keys(comparison: Comparison) -> list[str]:
    """Everything else that was logged, without the members' own values."""
    keys = {key for one in comparison.learners for run in one.runs for key in run.run.curves}
    return sorted(key for key in keys - SHOWN if not key.rpartition("/")[2].isdigit())


# ------------------------------------------------------------------------------------------------------ scores


def _table(comparison: Comparison, styles: Mapping[str, int]) -> tuple[list[FinalScore], list[str]]:
    """Final scores, best mean return first, and the changed settings that all have in common."""
    changes = {one.name: one.runs[0].changes for one in comparison.learners}
    common = [word for word in next(iter(changes.values()), []) if all(word in words for words in changes.values())]
    rows = []
    for one in comparison.learners:
        own = " ".join(word for word in changes[one.name] if word not in common)
        rows.append(_row(one, styles[one.name], comparison, own))
    return sorted(rows, key=lambda row: -row.mean.mean if row.mean else np.inf), common


def _row(learner: Learner, style: int, comparison: Comparison, changes: str) -> FinalScore:
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
        used=_used(learner),
        changes=changes,
    )


def _used(learner: Learner) -> str:
    """Answers that a seed learned from, and what became of the other queries."""
    if not learner.learns_reward:
        return "true reward"
    labels, asked = (np.unique(learner.last(key)) for key in (LABELS, ASKED))
    if not len(labels):
        return "not recorded"
    text = _span(labels)
    return text if not len(asked) or np.array_equal(labels, asked) else f"{text} of {_span(asked)} asked"


def _span(values: NDArray[np.float64]) -> str:
    low, high = f"{values[0]:.0f}", f"{values[-1]:.0f}"
    return low if low == high else f"{low}–{high}"


def _answer(rows: Sequence[FinalScore]) -> FinalScore | None:
    """The learner from preferences that the headline is about: the one with the highest return."""
    return next((row for row in rows if row.learner.learns_reward and row.mean), None)


def _hint(comparison: Comparison) -> str | None:
    """The command that adds what the others are measured by, if it is missing."""
    first = comparison.learners[0].runs[0]
    if not all(one.learns_reward for one in comparison.learners):
        return None
    changes = [word for word in first.changes if word.startswith(("total_steps=", "eval_", "algo."))]
    words = [f"env={first.task}", "method=sac", f"preset={first.preset}", f"members={first.members}", *changes]
    return " ".join(["coord prefer", *words])


# ------------------------------------------------------------------------------------------------------- clips


def _clip(film: Clip) -> dict[str, Any]:
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
