"""Stored answers as they were seen on the screen: sides instead of first and second segment, and who stands by what."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from coord.preference.labels.store import LabelStore


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
