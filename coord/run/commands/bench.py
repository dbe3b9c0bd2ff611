"""`coord bench`: measure speed and print one JSON line."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

HELP = "measure speed and print one JSON line"
EXAMPLES = (
    "coord bench kitchen",
    "coord bench ppo",
    "coord bench play minutes=30",
)


@dataclass(frozen=True, kw_only=True)
class BenchConfig:
    """Fields of configs/bench.yaml, which says what each means."""

    what: Literal["kitchen", "ppo", "play"] = "kitchen"
    minutes: float = 2.0


def run(overrides: Sequence[str]) -> int:
    """Do what the words say; the exit code."""
    from coord.run.config import load

    cfg = load("bench", overrides, positional=("what",))
    if cfg.what == "play":
        from play.bench import bench_play

        print(json.dumps(bench_play(cfg.minutes)))
        return 0
    raise NotImplementedError(cfg)  # wired by its owner
