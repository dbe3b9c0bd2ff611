"""`coord bench`: measure speed and print one JSON line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

HELP = "measure speed and print one JSON line"
EXAMPLES = (
    "coord bench kitchen",
    "coord bench ppo",
)


@dataclass(frozen=True, kw_only=True)
class BenchConfig:
    """Fields of configs/bench.yaml, which says what each means."""

    what: Literal["kitchen", "ppo"] = "kitchen"


def run(overrides: Sequence[str]) -> int:
    """Do what the words say; the exit code."""
    from coord.run.config import load

    cfg = load("bench", overrides, positional=("what",))
    raise NotImplementedError(cfg)  # wired by its owner
