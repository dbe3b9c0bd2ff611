"""What `coord scoreboard` and `coord efficiency` may be asked, beside the plans that read it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from coord.errors import UserError, at_least

CLASSIC = (
    "cramped_room",
    "asymmetric_advantages",
    "coordination_ring",
    "forced_coordination",
    "counter_circuit_o_1order",
)


@dataclass(frozen=True, kw_only=True)
class ScoreboardConfig:
    """Fields of configs/scoreboard.yaml, which says what each means."""

    what: Literal["plan", "run", "table", "plot"] = "table"
    out: str = "runs/scoreboard"
    methods: tuple[str, ...] = ()
    layouts: tuple[str, ...] = CLASSIC
    protocols: tuple[str, ...] = ()
    seeds: int = 3
    references: tuple[str, ...] = ("bc_train", "greedy", "random", "stay")
    extra: tuple[str, ...] = ()
    bp: str | None = None
    preset: str | None = None
    pool_words: tuple[str, ...] = ()
    ego_words: tuple[str, ...] = ()
    rules: Literal["classic", "overcooked-ai"] = "classic"
    horizon: int = 400
    episodes: int = 100
    pair_episodes: int = 20
    seed: int = 0
    threads: int = 0
    variant: Literal["standard", "no_stay", "masked", "no_stay_masked"] = "standard"
    readme: str | None = None
    page: str | None = None


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
    labels: tuple[int, ...] = (0, 50, 200, 500, 1000)
    oracle: bool = True
    utilities: tuple[str, ...] = ("tidy_counters", "no_collisions", "own_plating")
    utility_learner: str = "ppo"
    utility_method: str = "mrn_corrected"
    utility_labels: int = 500
    rlhf_labels: int = 500
    sessions: int = 20
    seeds: int = 3
    pool: str | None = None
    proxies: tuple[str, ...] = ("human_proxy",)
    pool_words: tuple[str, ...] = ()
    ppo_words: tuple[str, ...] = ()
    sac_words: tuple[str, ...] = ()
    rlhf_words: tuple[str, ...] = ()
    horizon: int = 400
    episodes: int = 50
    seed: int = 0
    threads: int = 0
    readme: str | None = None
    page: str | None = None

    def __post_init__(self) -> None:
        at_least(self, 1, "utility_labels", "rlhf_labels", "sessions", "seeds", "horizon", "episodes")
        if min(self.labels, default=0) < 0:
            raise UserError(f"labels={min(self.labels)}: must be at least 0")
        if not self.proxies:
            raise UserError("coord efficiency needs proxies to score with")
