"""What `coord bench` may be asked; every benchmark is a function of it that returns plain JSON."""

from __future__ import annotations

from dataclasses import dataclass, fields

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

    def idle(self) -> dict[str, str]:
        """Fields that nothing reads as the others are set, and why."""
        read = {"play": ("minutes",), "mrn": ("sizes", "threads", "repeats", "seed"), "sac": ("threads", "seed")}
        read |= {"ppo": ("threads", "seed"), "kitchen": ()}
        if self.what not in read:  # a benchmark of another package
            return {}
        own = ("what", *read[self.what])
        return {field.name: f"what={self.what} does not read it" for field in fields(self) if field.name not in own}
