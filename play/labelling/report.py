"""How consistently people label: agreement with themselves on pairs shown twice, side bias, shares, times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from coord.errors import UserError
from coord.preference.labels.store import LabelStore
from coord.stats import proportion_ci
from play.labelling.answers import choice_of, left_of, standing


@dataclass(frozen=True)
class Share:
    """`count` of `total`, with the 95 % interval of Wilson (1927)."""

    count: int
    total: int

    @property
    def interval(self) -> tuple[float, float]:
        """Lower and upper bound; (0, 1) where nothing was counted."""
        return proportion_ci(self.count, self.total)

    def __str__(self) -> str:
        if not self.total:
            return "none yet"
        low, high = self.interval
        return f"{self.count / self.total:.0%} [{low:.0%}, {high:.0%}] ({self.count} of {self.total})"


@dataclass(frozen=True)
class AnnotatorReport:
    """What can be said of one annotator. Only `repeats` and the agreements count pairs that were shown again."""

    annotator: str
    answers: int  # that stand
    undone: int  # answers taken back
    left: Share  # of the pairs where one side was better, those where it was the left one; 50 % without side bias
    equal: Share  # of all answers
    skipped: Share  # of all answers
    unsafe: Share  # of all answers, those that mark a clip as unsafe
    repeats: int  # pairs shown once more
    agreement: Share  # of the repeats that were no skips, those with the same answer
    agreement_swapped: Share  # of these, shown with the sides swapped
    agreement_same: Share  # shown as before
    median_s: float | None  # time for one answer

    def lines(self) -> list[tuple[str, str]]:
        """Figures with their names."""
        time = "unknown" if self.median_s is None else f"{self.median_s:.1f} s"
        return [
            ("answers", f"{self.answers}, {self.undone} taken back"),
            ("same answer again", str(self.agreement)),
            ("  sides swapped", str(self.agreement_swapped)),
            ("  sides as before", str(self.agreement_same)),
            ("left, of left and right", str(self.left)),
            ("equal", str(self.equal)),
            ("cannot tell", str(self.skipped)),
            ("marked unsafe", str(self.unsafe)),
            ("time per answer (median)", time),
        ]


def of_store(store: LabelStore) -> list[AnnotatorReport]:
    """A report for everybody with an answer that stands, scripted teachers left out, in order of their first one."""
    answers, repeats = standing(store), standing(store, repeat=True)
    names = dict.fromkeys(row["annotator"] for row in answers if not row["annotator"].startswith("teacher:"))
    withdrawn = [row["annotator"] for row in store.answers() if row["kind"] == "withdrawn"]
    return [_report(name, answers, repeats, withdrawn.count(name)) for name in names]


def of_annotator(store: LabelStore, annotator: str) -> AnnotatorReport | None:
    """The report of one annotator, None before their first answer."""
    return next((report for report in of_store(store) if report.annotator == annotator), None)


def _report(
    name: str, answers: Sequence[Mapping[str, Any]], repeats: Sequence[Mapping[str, Any]], undone: int
) -> AnnotatorReport:
    mine = [row for row in answers if row["annotator"] == name]
    again = [row for row in repeats if row["annotator"] == name]
    choices = [choice_of(row) for row in mine]
    sided = [choice for choice in choices if choice in ("left", "right")]
    first = {row["query"]: row for row in mine if row["kind"] == "label"}
    both = [(first[row["query"]], row) for row in again if row["kind"] == "label" and row["query"] in first]
    times = [row["response_ms"] / 1000 for row in mine if row["response_ms"] is not None]
    swapped = [pair for pair in both if left_of(pair[0]) != left_of(pair[1])]
    same = [pair for pair in both if left_of(pair[0]) == left_of(pair[1])]
    return AnnotatorReport(
        annotator=name,
        answers=len(mine),
        undone=undone,
        left=Share(sided.count("left"), len(sided)),
        equal=Share(choices.count("equal"), len(mine)),
        skipped=Share(choices.count("skip"), len(mine)),
        unsafe=Share(sum(bool(row["unsafe_first"] or row["unsafe_second"]) for row in mine), len(mine)),
        repeats=len(again),
        agreement=_agreement(both),
        agreement_swapped=_agreement(swapped),
        agreement_same=_agreement(same),
        median_s=median(times) if times else None,
    )


def _agreement(pairs: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> Share:
    return Share(sum(one["target"] == other["target"] for one, other in pairs), len(pairs))


def text(store: LabelStore) -> str:
    """The reports of everybody as lines for a terminal.

    Raises:
        UserError: no person has answered anything yet.
    """
    reports = of_store(store)
    if not reports:
        raise UserError(f"no person has answered anything in {store.path} yet")
    out = []
    for report in reports:
        out.append(report.annotator)
        out += [f"  {name:<26}{value}" for name, value in report.lines()]
    return "\n".join(out)
