"""`coord bench`: measure speed and print one JSON line."""

from __future__ import annotations

import json
from collections.abc import Sequence

from coord.bench.config import BenchConfig

HELP = "measure speed, or how strong the clones of people are, and print one JSON line"
EXAMPLES = (
    "coord bench kitchen",
    "coord bench ppo",
    "coord bench play minutes=30",
    "coord bench sac",
    "coord bench mrn sizes=metaworld repeats=3",
    "coord bench yardstick layouts=cramped_room seeds=5",
)


Config = BenchConfig


def run(overrides: Sequence[str]) -> int:
    """Do what the words say; the exit code."""
    from coord import plugins
    from coord.run.config import load
    from coord.run.folder import environment

    cfg = load("bench", overrides, positional=("what",))
    bench = plugins.find("coord.benchmarks", cfg.what, "benchmark")
    print(json.dumps({**bench(cfg), "machine": environment()}))
    return 0
