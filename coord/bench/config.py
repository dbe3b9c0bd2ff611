"""What `coord bench` may be asked; every benchmark is a function of it that returns plain JSON."""

from __future__ import annotations

from dataclasses import dataclass

from coord.limits import Count, Positive, Seed


@dataclass(frozen=True, kw_only=True)
class BenchConfig:
    """Fields of configs/bench.yaml, which says what each means."""

    what: str = "kitchen"
    minutes: Positive = 2.0
    sizes: tuple[str, ...] = ("walker", "metaworld")
    repeats: Count = 5
    layouts: tuple[str, ...] = ()
    seeds: Count = 10
    episodes: Count = 100
    threads: int | None = None
    seed: Seed = 0
