"""`coord report`: write one HTML file about a run: curves, scores, games."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

HELP = "write one HTML file about a run: curves, scores, games"
EXAMPLES = (
    "coord report runs/ego",
    "coord report runs/ego out=ego.html",
)


@dataclass(frozen=True, kw_only=True)
class ReportConfig:
    """Fields of configs/report.yaml, which says what each means."""

    run: str | None = None
    out: str | None = None


def run(overrides: Sequence[str]) -> int:
    """Do what the words say; the exit code."""
    from coord.run.config import load

    cfg = load("report", overrides, positional=("run",))
    raise NotImplementedError(cfg)  # wired by its owner
