"""`coord evaluate`: score an ego with partners, in every seat, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

HELP = "score an ego with partners, in every seat, with intervals"
EXAMPLES = (
    "coord evaluate ego=runs/ego partners=human_proxy layout=cramped_room out=score.json",
    "coord evaluate ego=runs/ego partners=runs/pool,random,stay episodes=50 stochastic=false",
)


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """Fields of configs/evaluate.yaml, which says what each means."""

    ego: str | None = None
    partners: tuple[str, ...] = ()
    layout: str = "cramped_room"
    rules: Literal["classic", "overcooked-ai"] = "classic"
    horizon: int = 400
    episodes: int = 100
    stochastic: bool = True
    seed: int = 0
    out: str | None = None


def run(overrides: Sequence[str]) -> int:
    """Do what the words say; the exit code."""
    from coord.run.config import load

    cfg = load("evaluate", overrides)
    raise NotImplementedError(cfg)  # wired by its owner
