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
    """One HTML file that needs no network."""

    run: str | None = None  # folder of a run, or of several (the demo)
    out: str | None = None  # file to write; null: report.html in that folder
    clips: CountOrNone = 6  # queries of each task shown as clips, some seconds each; 0: none


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
