"""`coord scoreboard`: every method with the same unseen partners: trained, played, compared."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

from populations.board.config import ScoreboardConfig

HELP = "every method with the same unseen partners: train and play what is missing, compare"
EXAMPLES = (
    "coord scoreboard run methods=sp,fcp,mep layouts=cramped_room",
    "coord scoreboard plan",
    "coord scoreboard run",
    "coord scoreboard run methods=mep protocols=B layouts=coordination_ring",
    "coord scoreboard run methods=sp extra=mine=runs/{layout}/egos",
    "coord scoreboard table variant=no_stay",
    "coord scoreboard plot readme=README.md",
)
Config = ScoreboardConfig


def run(overrides: Sequence[str]) -> int:
    """Do what the words say; the exit code."""
    from coord.run.config import load

    cfg = load("scoreboard", overrides, positional=("what",))
    actions: dict[str, Callable[[ScoreboardConfig, str], None]] = {
        "plan": _plan,
        "run": _run,
        "table": _table,
        "plot": _plot,
    }
    actions[cfg.what](cfg, shlex.join(["coord", "scoreboard", *overrides]))
    return 0


def _plan(cfg: ScoreboardConfig, command: str) -> None:
    from coord.files import check_folder
    from populations.board import plan
    from populations.board.runner import BenchmarkRunner

    check_folder(cfg.out)
    print(plan.text(BenchmarkRunner(cfg)))


def _run(cfg: ScoreboardConfig, command: str) -> None:
    """Train and play what is missing, then show the table.

    Raises:
        UserError: bad input before anything is done; or what failed, after everything else was done.
        Interrupted: Ctrl-C; all that was finished is kept.
    """
    from populations.board.runner import BenchmarkRunner
    from populations.board.work import carry_out

    carry_out(BenchmarkRunner(cfg), command, lambda: _table(cfg, command))


def _table(cfg: ScoreboardConfig, command: str) -> None:
    from coord.evaluation.report import scoreboard_text
    from coord.evaluation.scoreboard_tables import telling_damage

    with telling_damage(Path(cfg.out), lambda out: scoreboard_text.text(out, cfg.variant)):
        print(scoreboard_text.text(Path(cfg.out), cfg.variant))


def _plot(cfg: ScoreboardConfig, command: str) -> None:
    from coord.evaluation.report import scoreboard_page, scoreboard_text
    from coord.evaluation.scoreboard_tables import telling_damage
    from populations.board.recipes import RECIPES, REFERENCES

    known = {name: recipe.note for name, recipe in (RECIPES | REFERENCES).items()}
    page = Path(cfg.page) if cfg.page else Path(cfg.out) / scoreboard_page.FILE_NAME
    with telling_damage(Path(cfg.out), lambda out: scoreboard_page.build_page(out, out / page.name, known)):
        print(scoreboard_page.build_page(Path(cfg.out), page, known))
        if cfg.readme is not None:
            scoreboard_text.rewrite_readme(Path(cfg.readme), Path(cfg.out))
            print(f"table rewritten in {cfg.readme}")
