"""Stored answers as they were seen on the screen: sides instead of first and second segment, and who stands by what."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from coord import __version__
from coord.preference.labels.store import Answer, LabelStore
from play.labelling.tasks import Response, Task


def target_of(choice: str, left: int) -> float:
    """The probability that the second segment is better, nan for a skip; `left` is the segment shown left."""
    shown_right = 1 - left
    return {"left": float(left), "right": float(shown_right), "equal": 0.5, "skip": math.nan}[choice]


def choice_of(row: Mapping[str, Any]) -> str:
    """Inverse of `target_of` for a stored answer: what was chosen on the screen."""
    if row["kind"] == "skip":
        return "skip"
    if row["target"] == 0.5:
        return "equal"
    return "left" if (row["target"] > 0.5) == bool(left_of(row)) else "right"


def left_of(row: Mapping[str, Any]) -> int:
    """The segment that was shown left when an answer was given; the first one where nobody kept that."""
    return int(row["provenance"].get("left", 0))


def standing(store: LabelStore, repeat: bool = False) -> list[dict[str, Any]]:
    """The answers (or repeats) that count: of each annotator and query the newest, unless it was withdrawn."""
    newest: dict[tuple[str, int], dict[str, Any]] = {}
    for row in store.answers(repeat=repeat):
        key = (row["annotator"], row["query"])
        if key not in newest or row["revision"] > newest[key]["revision"]:
            newest[key] = row
    return [row for row in newest.values() if row["kind"] != "withdrawn"]


def ordered(sides: tuple[bool, bool], left: int) -> tuple[bool, bool]:
    """Flags of the left and right side as those of the first and second segment, or the other way round."""
    return (sides[1], sides[0]) if left else sides


def stored_answer(task: Task, response: Response, query: int, annotator: str, *, client: str) -> Answer:
    """What goes to the store for `query`: sides become segments, and how it was shown becomes the provenance.

    client: the command that asked, for example "coord label"; the version is added.
    """
    return Answer(
        query=query,
        annotator=annotator,
        target=target_of(response.choice, task.left),
        unsafe=ordered(response.unsafe, task.left),
        reasons=response.reasons,
        note=response.note,
        response_ms=response.response_ms,
        provenance={**response.shown, "left": task.left, "client": f"{client} {__version__}"},
        revision=task.revision,
    )


def response_of(row: Mapping[str, Any]) -> Response:
    """Inverse of `stored_answer` for a stored row, as far as a person can change it."""
    unsafe = ordered((bool(row["unsafe_first"]), bool(row["unsafe_second"])), left_of(row))
    return Response(choice=choice_of(row), unsafe=unsafe, reasons=tuple(row["reasons"]), note=row["note"])
