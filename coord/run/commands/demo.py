"""`coord demo`: the whole story on one kitchen in a few minutes: pool, ego, scores, report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

HELP = "the whole story on one kitchen in a few minutes: pool, ego, scores, report"
EXAMPLES = (
    "coord demo",
    "coord demo out=runs/demo seed=1",
)


@dataclass(frozen=True, kw_only=True)
class DemoConfig:
    """Fields of configs/demo.yaml, which says what each means."""

    seed: int = 0
    out: str = "demo"


def run(overrides: Sequence[str]) -> int:
    """Do what the words say; the exit code."""
    from coord.run.config import load

    cfg = load("demo", overrides)
    raise NotImplementedError(cfg)  # wired by its owner
