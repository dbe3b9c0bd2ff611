"""`coord efficiency`: what labels are worth in a kitchen: egos from few and many of them, with held-out proxies."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

from populations.board.config import EfficiencyConfig

HELP = "what labels are worth in a kitchen: train from few and many, score, compare"
EXAMPLES = (
    "coord efficiency run parts=curves layouts=cramped_room learners=ppo methods=pebble labels=50,200",
    "coord efficiency run",
    "coord efficiency run parts=rlhf",
    "coord efficiency run pool=runs/scoreboard/train/{layout}/fcp/pool",
    "coord efficiency table",
    "coord efficiency plot readme=README.md",
)
Config = EfficiencyConfig


def run(overrides: Sequence[str]) -> int:
    """Do what the words say; the exit code."""
    from coord.run.config import load

    cfg = load("efficiency", overrides, positional=("what",))
    actions: dict[str, Callable[[EfficiencyConfig, str], None]] = {"run": _run, "table": _table, "plot": _plot}
    actions[cfg.what](cfg, shlex.join(["coord", "efficiency", *overrides]))
    return 0


def _run(cfg: EfficiencyConfig, command: str) -> None:
    """Train and play what is missing, then show the tables.

    Raises:
        UserError: bad input before anything is done; or what failed, after everything else was done.
        Interrupted: Ctrl-C; all that was finished is kept.
    """
    from populations.board.label_efficiency import Report
    from populations.board.work import carry_out

    carry_out(Report(cfg), command, lambda: _table(cfg, command))


def _table(cfg: EfficiencyConfig, command: str) -> None:
    from coord.evaluation.report import efficiency_text
    from coord.evaluation.scoreboard_tables import telling_damage

    with telling_damage(Path(cfg.out), efficiency_text.text):
        print(efficiency_text.text(Path(cfg.out)))


def _plot(cfg: EfficiencyConfig, command: str) -> None:
    from coord.evaluation.report import efficiency_page, efficiency_text
    from coord.evaluation.scoreboard_tables import telling_damage

    page = Path(cfg.page) if cfg.page else Path(cfg.out) / efficiency_page.FILE_NAME
    with telling_damage(Path(cfg.out), lambda out: efficiency_page.build_page(out, out / page.name)):
        print(efficiency_page.build_page(Path(cfg.out), page))
        if cfg.readme is not None:
            efficiency_text.rewrite_readme(Path(cfg.readme), Path(cfg.out))
            print(f"tables rewritten in {cfg.readme}")
