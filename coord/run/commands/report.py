"""`coord report`: write one HTML file about runs: curves, scores, games, queries with their answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from coord.limits import CountOrNone

HELP = "write one HTML file about runs: curves, scores, games, queries with their answers"
EXAMPLES = (
    "coord report runs/ego",
    "coord report demo out=demo.html",
    "coord report runs/control clips=0",
)


@dataclass(frozen=True, kw_only=True)
class ReportConfig:
    """Fields of configs/report.yaml, which says what each means."""

    run: str | None = None
    out: str | None = None
    clips: CountOrNone = 6


Config = ReportConfig


def run(overrides: Sequence[str]) -> int:
    """Do what the words say; the exit code."""
    from coord.errors import UserError
    from coord.evaluation.report.build import build_report
    from coord.run.config import load
    from coord.run.logger import GLOSSARY

    cfg = load("report", overrides, positional=("run",))
    if not cfg.run:
        raise UserError("which run? say: coord report <folder>")
    print(build_report(cfg.run, cfg.out, meanings=GLOSSARY, clips=cfg.clips))
    return 0
