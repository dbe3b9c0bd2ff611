"""`coord bench`: measure speed and print one JSON line."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

HELP = "measure speed and print one JSON line"
EXAMPLES = (
    "coord bench kitchen",
    "coord bench ppo",
    "coord bench play minutes=30",
    "coord bench sac",
    "coord bench mrn sizes=metaworld repeats=3",
)


@dataclass(frozen=True, kw_only=True)
class BenchConfig:
    """Fields of configs/bench.yaml, which says what each means."""

    what: Literal["kitchen", "ppo", "play", "sac", "mrn"] = "kitchen"
    minutes: float = 2.0
    sizes: tuple[str, ...] = ("walker", "metaworld")
    repeats: int = 5
    threads: int = 0
    seed: int = 0


def run(overrides: Sequence[str]) -> int:
    """Do what the words say; the exit code."""
    from coord.run.config import load
    from coord.run.folder import environment

    cfg = load("bench", overrides, positional=("what",))
    print(json.dumps({**measure(cfg), "machine": environment()}))
    return 0


def measure(cfg: BenchConfig) -> dict[str, Any]:
    """The figures of one bench, plain JSON."""
    if cfg.what == "play":
        from play.bench import bench_play

        return bench_play(cfg.minutes)
    if cfg.what == "sac":
        from coord.bench.sac import bench_sac

        return bench_sac(threads=(cfg.threads,) if cfg.threads else (1, 2), seed=cfg.seed)
    if cfg.what == "mrn":
        from coord.bench.mrn import bench_mrn

        return bench_mrn(cfg.sizes, (cfg.threads,) if cfg.threads else (1, 2), cfg.repeats, cfg.seed)
    if cfg.what == "kitchen":
        from coord.bench.kitchen import bench_kitchen

        return bench_kitchen()
    from coord.run.config import load
    from coord.run.training import set_threads
    from populations.bench import GOALS, bench_ppo

    set_threads(cfg.threads)
    return bench_ppo({layout: load("train", [f"layout={layout}"]).algo for layout in GOALS}, seed=cfg.seed)
