"""What `coord bench` may be asked; every benchmark is a function of it that returns plain JSON."""

from __future__ import annotations

from dataclasses import dataclass, fields

from coord.limits import Count, Positive, Seed


@dataclass(frozen=True, kw_only=True)
class BenchConfig:
    """What `coord bench` measures, and how long."""

    # kitchen (rules and observations), ppo (training end to end), play (window, partners, memory), sac (updates), mrn
    # (preference learning) or yardstick (clones of people beside the published ones)
    what: str = "kitchen"
    minutes: Positive = 2.0  # simulated play over which what=play watches memory
    sizes: tuple[str, ...] = ("walker", "metaworld")  # published network sizes that what=mrn measures
    repeats: Count = 5  # turns of each thing that what=mrn measures, >= 1
    layouts: tuple[str, ...] = ()  # kitchens of what=yardstick; empty: the five with human games
    seeds: Count = 10  # pairs of clones that what=yardstick trains per kitchen, from seed 0 on; kept in the cache
    episodes: Count = 100  # games per pair and seat of what=yardstick
    # threads for what=ppo, sac and mrn; 0: one per usable core; null: as 0 (ppo), one and then two (sac, mrn)
    threads: int | None = None
    seed: Seed = 0  # root of all randomness

    def idle(self) -> dict[str, str]:
        """Fields that nothing reads as the others are set, and why."""
        read = {"play": ("minutes",), "mrn": ("sizes", "threads", "repeats", "seed"), "sac": ("threads", "seed")}
        read |= {"ppo": ("threads", "seed"), "kitchen": ()}
        if self.what not in read:  # a benchmark of another package
            return {}
        own = ("what", *read[self.what])
        return {field.name: f"what={self.what} does not read it" for field in fields(self) if field.name not in own}
