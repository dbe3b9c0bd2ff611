"""A study's findings as files: one HTML page, CSV tables with a codebook, and a few lines for the terminal."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from pathlib import Path

from coord.files import atomic_write_csv, atomic_write_text
from play.study import study_report
from play.study.study_file import Question, Study
from play.study.study_report import BEHAVIOUR, Row, StudyReport


def write_report(report: StudyReport, folder: Path) -> list[Path]:
    """Write report.html and one CSV per table into `folder`; the paths. UserError if it cannot be written."""
    tables = {
        "participants": report.participants,
        "games": report.games,
        "interrupted": report.interrupted,
        "answers": report.answers,
        "scores": report.scores,
        "differences": report.differences,
        "ratings": report.ratings,
        "order": report.order,
        "codebook": _codebook(report.study),
    }
    paths = []
    for name, rows in tables.items():
        paths.append(folder / f"{name}.csv")
        columns = list(rows[0]) if rows else []
        atomic_write_csv(paths[-1], columns, ([row[name] for name in columns] for row in rows))
    page = folder / "report.html"
    atomic_write_text(page, _html(report))
    return [page, *paths]


def _codebook(study: Study) -> list[Row]:
    return [
        {
            "questionnaire": name,
            "question": one.id,
            "kind": one.kind,
            "text": one.text,
            "answers": _answers_of(one),
            "required": one.required,
            "expect": one.expect,
        }
        for name, items in study.questionnaires.items()
        for one in items
    ]


def _answers_of(question: Question) -> str:
    if question.kind == "likert":
        return f"1 ({question.low}) to {question.points} ({question.high})"
    return " | ".join(question.options)


_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:76rem;margin:2rem auto;padding:0 1rem;color:#1c2733}
h1{font-size:1.6rem} h2{font-size:1.2rem;margin-top:2.2rem} table{border-collapse:collapse;width:100%}
th,td{text-align:left;padding:.3rem .7rem;border-bottom:1px solid #d8dee4;vertical-align:middle}
td.number,th.number{text-align:right;font-variant-numeric:tabular-nums} td.number{white-space:nowrap}
.wide{overflow-x:auto} .quiet{color:#57636f}
"""


def summary(report: StudyReport) -> str:
    """One paragraph of counts."""
    study, people = report.study, report.participants
    finished = sum(one["finished_utc"] is not None for one in people)
    excluded = sum(bool(one["excluded"]) for one in people)
    other = f" {report.others} participants of another version of the file are left out." if report.others else ""
    broken = report.interrupted
    ticks = sum(one["ticks_played"] for one in broken)
    parts = f", {len(broken)} broken off after {ticks} ticks in all" if broken else ""
    return (
        f"{len(people)} people consented, {finished} finished, {excluded} excluded; "
        f"{len(report.games)} games{parts}, {len(report.answers)} answers. "
        f"Consent text {study.consent_hash[:12]}, study file {study.sha256[:12]}.{other}"
    )


_NUMBER = ' class="number"'
BROKEN = ("participant", "round", "block", "layout", "partner", "outcome", "ticks_played", "ticks", "score")


def _html(report: StudyReport) -> str:
    study = report.study
    out = [one for one in report.participants if one["excluded"]]
    questions = {one.id: one.text for items in study.questionnaires.values() for one in items}
    ratings = [{**row, "question": questions[row["question"]]} for row in report.ratings]
    sections = [
        ("Scores per partner", _table(report.scores, ("block", "layout", "partner"), BEHAVIOUR)),
        ("Differences within participants", _table(report.differences, ("block", "partner", "minus"))),
        ("Ratings", _table(ratings, ("question", "partner"))),
        ("Order effects", _slope(report.order_slope) + _table(report.order, ("round",))),
        ("Exclusions", _rows_of(out, ("participant", "code", "excluded"), "Nobody was excluded.")),
        ("Games broken off", _rows_of(report.interrupted, BROKEN, "None.")),
    ]
    body = "".join(f"<h2>{title}</h2>{content}" for title, content in sections)
    method = html.escape(" ".join((study_report.__doc__ or "").partition("Method.")[2].split()))
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(study.title)}</title>'
        f"<style>{_STYLE}</style><h1>{html.escape(study.title)}</h1><p>{summary(report)}</p>{body}"
        f'<h2>Method</h2><p class="quiet">{method}</p></html>\n'
    )


def _table(rows: Sequence[Row], keys: Sequence[str], more: Sequence[str] = ()) -> str:
    """Rows of estimates with a picture of mean and interval; `more` columns follow as plain numbers."""
    if not rows:
        return '<p class="quiet">No data.</p>'
    ends = [row["mean"] if row[end] is None else row[end] for row in rows for end in ("low", "high")]
    low, high = min(0.0, *ends), max(ends)
    scale = _scale(low, high if high > low else low + 1.0)
    names = [*keys, "people", "n", "mean", "95 % interval", "", *more]
    head = "".join(f"<th{'' if name in keys else _NUMBER}>{html.escape(name.replace('_', ' '))}</th>" for name in names)
    lines = []
    for row in rows:
        cells = [f"<td>{html.escape(str(row[key]))}</td>" for key in keys]
        numbers = [str(row["people"]), str(row["n"]), f"{row['mean']:.2f}", _interval(row, ".2f")]
        cells += [f"<td{_NUMBER}>{number}</td>" for number in numbers]
        cells.append(f"<td>{_whisker(row, scale)}</td>")
        cells += [f"<td{_NUMBER}>{row[name]:.2f}</td>" for name in more]
        lines.append(f"<tr>{''.join(cells)}</tr>")
    return f'<div class="wide"><table><tr>{head}</tr>{"".join(lines)}</table></div>'


def _scale(low: float, high: float) -> Callable[[float], float]:
    return lambda value: 6 + 148 * (value - low) / (high - low)


def _interval(row: Row, form: str) -> str:
    """The interval of an estimate, "one person" where there is none."""
    return "one person" if row["low"] is None else f"[{row['low']:{form}}, {row['high']:{form}}]"


def _whisker(row: Row, scale: Callable[[float], float]) -> str:
    middle, zero, line = scale(row["mean"]), scale(0.0), ""
    if row["low"] is not None:
        left, right = scale(row["low"]), scale(row["high"])
        line = f'<line x1="{left:.1f}" y1="9" x2="{right:.1f}" y2="9" stroke="#0072b2" stroke-width="2"/>'
    return (
        '<svg width="160" height="18" role="img">'
        f'<line x1="{zero:.1f}" y1="0" x2="{zero:.1f}" y2="18" stroke="#c4ccd4"/>{line}'
        f'<circle cx="{middle:.1f}" cy="9" r="4" fill="#d55e00"/></svg>'
    )


def _slope(slope: Row | None) -> str:
    if slope is None:
        return '<p class="quiet">Too few games for a slope.</p>'
    return (
        f"<p>Scores change by {slope['mean']:+.2f} points per round "
        f"({_interval(slope, '+.2f')}), partner, layout and participant taken out.</p>"
    )


def _rows_of(rows: Sequence[Row], names: Sequence[str], nothing: str) -> str:
    """Some columns of rows as they are."""
    if not rows:
        return f"<p>{nothing}</p>"
    head = "".join(f"<th>{name.replace('_', ' ')}</th>" for name in names)
    lines = ["".join(f"<td>{html.escape(str(row[name]))}</td>" for name in names) for row in rows]
    return f"<table><tr>{head}</tr>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"
