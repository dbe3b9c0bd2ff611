"""`coord population`: train a pool of partners and write it to a folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from coord.algos.ppo import PPOConfig

HELP = "train a pool of partners and write it to a folder"
EXAMPLES = (
    "coord population method=sp members=8 layout=cramped_room out=runs/pool",
    "coord population method=fcp members=8 layout=cramped_room out=runs/fcp",
)


@dataclass(frozen=True, kw_only=True)
class PopulationConfig:
    """Fields of configs/population.yaml, which says what each means."""

    algo: PPOConfig
    method: str = "fcp"
    members: int = 4
    layout: str = "cramped_room"
    rules: Literal["classic", "overcooked-ai"] = "classic"
    horizon: int = 400
    seed: int = 0
    threads: int = 0
    save_every_s: float = 60.0
    out: str | None = None
    resume: str | None = None


def run(overrides: Sequence[str]) -> int:
    """Do what the words say; the exit code."""
    from coord.run.config import load

    cfg = load("population", overrides)
    raise NotImplementedError(cfg)  # wired by its owner
