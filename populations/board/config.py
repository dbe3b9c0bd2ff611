"""What `coord scoreboard` and `coord efficiency` may be asked, beside the plans that read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from coord.errors import UserError
from coord.limits import Count, CountOrNone, Horizon, Members, Seed

CLASSIC = (
    "cramped_room",
    "asymmetric_advantages",
    "coordination_ring",
    "forced_coordination",
    "counter_circuit_o_1order",
)


def idle_in_a_table(config: Any, read: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    """What nothing reads where only results are shown (read: by what is shown), or what only `plot` reads."""
    if config.what not in read:
        return dict.fromkeys(("readme", "page"), "it is written by plot")
    own = ("what", "out", *read[config.what])
    why = f"{config.what} shows what was played; say it to run"
    return {field.name: why for field in fields(config) if field.name not in own}


@dataclass(frozen=True, kw_only=True)
class ScoreboardConfig:
    """Fields of configs/scoreboard.yaml, which says what each means."""

    what: Literal["plan", "run", "table", "plot"] = "table"
    out: str = "runs/scoreboard"
    methods: tuple[str, ...] = ()
    layouts: tuple[str, ...] = CLASSIC
    protocols: tuple[str, ...] = ()
    seeds: Members = 3
    references: tuple[str, ...] = ("bc_train", "greedy", "random", "stay")
    extra: tuple[str, ...] = ()
    bp: str | None = None
    preset: str | None = None
    pool_words: tuple[str, ...] = ()
    ego_words: tuple[str, ...] = ()
    rules: Literal["classic", "overcooked-ai"] = "classic"
    horizon: Horizon = 400
    episodes: Count = 100
    pair_episodes: Count = 20
    seed: Seed = 0
    threads: int = 0
    variant: Literal["standard", "no_stay", "masked", "no_stay_masked"] = "standard"
    readme: str | None = None
    page: str | None = None

    def idle(self) -> dict[str, str]:
        """Fields that nothing reads as the others are set, and why."""
        return idle_in_a_table(self, {"table": ("variant",), "plot": ("page", "readme")})


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
    labels: tuple[CountOrNone, ...] = (0, 50, 200, 500, 1000)
    oracle: bool = True
    utilities: tuple[str, ...] = ("tidy_counters", "no_collisions", "own_plating")
    utility_learner: str = "ppo"
    utility_method: str = "mrn_corrected"
    utility_labels: Count = 500
    rlhf_labels: Count = 500
    sessions: Count = 20
    seeds: Members = 3
    pool: str | None = None
    proxies: tuple[str, ...] = ("human_proxy",)
    pool_words: tuple[str, ...] = ()
    ppo_words: tuple[str, ...] = ()
    sac_words: tuple[str, ...] = ()
    rlhf_words: tuple[str, ...] = ()
    horizon: Horizon = 400
    episodes: Count = 50
    seed: Seed = 0
    threads: int = 0
    readme: str | None = None
    page: str | None = None

    def __post_init__(self) -> None:
        if not self.proxies:
            raise UserError("coord efficiency needs proxies to score with")

    def idle(self) -> dict[str, str]:
        """Fields that nothing reads as the others are set, and why."""
        return idle_in_a_table(self, {"table": (), "plot": ("page", "readme")})
