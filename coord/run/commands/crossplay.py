"""`coord crossplay`: play every member of a pool with every other: matrix, gap, heat map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

HELP = "play every member of a pool with every other: matrix, gap, heat map"
EXAMPLES = ("coord crossplay runs/pool out=runs/xp",)


@dataclass(frozen=True, kw_only=True)
class CrossplayConfig:
    """Fields of configs/crossplay.yaml, which says what each means."""

    pool: str | None = None
    episodes: int = 20
    stochastic: bool = True
    horizon: int = 400
    seed: int = 0
    out: str | None = None


def run(overrides: Sequence[str]) -> int:
    """Do what the words say; the exit code."""
    from coord.run.config import load

    cfg = load("crossplay", overrides, positional=("pool",))
    raise NotImplementedError(cfg)  # wired by its owner
