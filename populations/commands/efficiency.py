"""`coord efficiency`: what labels are worth in a kitchen: egos from few and many of them, with held-out proxies."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from coord.errors import UserError, at_least

HELP = "what labels are worth in a kitchen: train from few and many, score, compare"
EXAMPLES = (
    "coord efficiency run parts=curves layouts=cramped_room learners=ppo methods=pebble labels=50,200",
    "coord efficiency run",
    "coord efficiency run parts=rlhf",
    "coord efficiency run pool=runs/scoreboard/train/{layout}/fcp/pool",
    "coord efficiency table",
    "coord efficiency plot readme=README.md",
)


@dataclass(frozen=True, kw_only=True)
class EfficiencyConfig:
    """Fields of configs/efficiency.yaml, which says what each means."""

    what: Literal["run", "table", "plot"] = "table"
    out: str = "runs/efficiency"
    parts: tuple[str, ...] = ()
    layouts: tuple[str, ...] = ("cramped_room", "coordination_ring")
    wants: str = "shaped"
    learners: tuple[str, ...] = ("ppo", "ppo_from_imitation", "sac")
    methods: tuple[str, ...] = ("pebble", "mrn_released", "mrn_corrected")
    labels: tuple[int, ...] = (0, 50, 200, 500, 1000)
    oracle: bool = True
    utilities: tuple[str, ...] = ("tidy_counters", "no_collisions", "own_plating")
    utility_learner: str = "ppo"
    utility_method: str = "mrn_corrected"
    utility_labels: int = 500
    rlhf_labels: int = 500
    sessions: int = 20
    seeds: int = 3
    pool: str | None = None
    proxies: tuple[str, ...] = ("human_proxy",)
    pool_words: tuple[str, ...] = ()
    ppo_words: tuple[str, ...] = ()
    sac_words: tuple[str, ...] = ()
    rlhf_words: tuple[str, ...] = ()
    horizon: int = 400
    episodes: int = 50
    seed: int = 0
    threads: int = 0
    readme: str | None = None
    page: str | None = None

    def __post_init__(self) -> None:
        at_least(self, 1, "utility_labels", "rlhf_labels", "sessions", "seeds", "horizon", "episodes")
        if min(self.labels, default=0) < 0:
            raise UserError(f"labels={min(self.labels)}: must be at least 0")
        if not self.proxies:
            raise UserError("coord efficiency needs proxies to score with")


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

    print(efficiency_text.text(Path(cfg.out)))


def _plot(cfg: EfficiencyConfig, command: str) -> None:
    from coord.evaluation.report import efficiency_page, efficiency_text

    page = Path(cfg.page) if cfg.page else Path(cfg.out) / efficiency_page.FILE_NAME
    print(efficiency_page.build_page(Path(cfg.out), page))
    if cfg.readme is not None:
        efficiency_text.rewrite_readme(Path(cfg.readme), Path(cfg.out))
        print(f"tables rewritten in {cfg.readme}")
