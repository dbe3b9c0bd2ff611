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
    """Every method with the same unseen partners; trains and plays only what is missing."""

    # plan (list the trainings) | run (train and play what is missing) | table (of what was played) | plot (the same as
    # a page)
    what: Literal["plan", "run", "table", "plot"] = "table"
    out: str = "runs/scoreboard"  # folder of the scoreboard: train/ (runs), cells/ (results), scoreboard.html
    methods: tuple[str, ...] = ()  # entries, comma separated; empty: all of populations/board/recipes.py
    layouts: tuple[str, ...] = CLASSIC  # kitchens by name
    # A (human proxy) B (behaviour-preferring partners) C (cross-play); empty: A, C, and B where bp is
    protocols: tuple[str, ...] = ()
    seeds: Members = 3  # egos per method and layout
    # players without training that are scored beside the methods
    references: tuple[str, ...] = ("bc_train", "greedy", "random", "stay")
    # further entries, name=<agent, run folder or pool>; {layout} in a path stands for the layout
    extra: tuple[str, ...] = ()
    bp: str | None = None  # pool of behaviour-preferring partners ({layout} as above); null: out/train/<layout>/bp/pool
    preset: str | None = None  # budget of all trainings: published; null: ours, for two cores
    pool_words: tuple[str, ...] = ()  # further words of every coord population, such as algo.total_steps=1e6
    ego_words: tuple[str, ...] = ()  # further words of every coord train
    # classic (2019, the pot starts at the third onion) or overcooked-ai
    rules: Literal["classic", "overcooked-ai"] = "classic"
    horizon: Horizon = 400  # ticks per game, in training and in evaluation
    episodes: Count = 100  # games per ego seed and seat with the human proxy
    pair_episodes: Count = 20  # games per pair and seat in protocols B and C
    seed: Seed = 0  # root of all randomness
    # threads of torch and of the kitchens, part of what a run is; 0: one per usable core, written down as that number
    threads: int = 0
    # of protocol A in the table: standard | no_stay | masked | no_stay_masked
    variant: Literal["standard", "no_stay", "masked", "no_stay_masked"] = "standard"
    readme: str | None = None  # file whose part between the scoreboard markers is rewritten by plot
    page: str | None = None  # where plot writes; null: scoreboard.html in the folder

    def idle(self) -> dict[str, str]:
        """Fields that nothing reads as the others are set, and why."""
        return idle_in_a_table(self, {"table": ("variant",), "plot": ("page", "readme")})


@dataclass(frozen=True, kw_only=True)
class EfficiencyConfig:
    """What labels are worth in a kitchen; trains and plays only what is missing."""

    # run (train and play what is missing) | table (of what was played) | plot (the same as a page)
    what: Literal["run", "table", "plot"] = "table"
    out: str = "runs/efficiency"  # folder of the report: train/ (runs), cells/ (results), efficiency.html
    # curves (return by labels) | rlhf (three steps, with and without KL) | utilities; empty: all
    parts: tuple[str, ...] = ()
    layouts: tuple[str, ...] = ("cramped_room", "coordination_ring")  # kitchens by name
    # what the teachers of curves and rlhf judge by: shaped (return and the ego's shaping reward) | return
    wants: str = "shaped"
    # of the curves; ppo_from_imitation begins as what coord rlhf imitates
    learners: tuple[str, ...] = ("ppo", "ppo_from_imitation", "sac")
    methods: tuple[str, ...] = ("pebble", "mrn_released", "mrn_corrected")  # of the curves
    # budgets of the curves, per seed; 0: a reward model that learns nothing
    labels: tuple[CountOrNone, ...] = (0, 50, 200, 500, 1000)
    oracle: bool = True  # whether the curves have the same learner on the true reward beside them
    utilities: tuple[str, ...] = ("tidy_counters", "no_collisions", "own_plating")  # hidden utilities of teachers
    utility_learner: str = "ppo"  # who learns from them
    utility_method: str = "mrn_corrected"  # and how
    utility_labels: Count = 500  # budget of each, per seed
    rlhf_labels: Count = 500  # budget of coord rlhf, per seed
    # feedback sessions of every budget of the curves and utilities, so that these differ in labels alone
    sessions: Count = 20
    seeds: Members = 3  # independent learners per training
    # whom all learn with ({layout} stands for the layout); null: FCP's pool, made as coord scoreboard does
    pool: str | None = None
    proxies: tuple[str, ...] = ("human_proxy",)  # held-out agents that score everybody
    pool_words: tuple[str, ...] = ()  # further words of coord population, such as algo.total_steps=1e6
    ppo_words: tuple[str, ...] = ()  # further words of every coord prefer learner=ppo
    sac_words: tuple[str, ...] = ()  # further words of every coord prefer learner=sac
    rlhf_words: tuple[str, ...] = ()  # further words of every coord rlhf
    horizon: Horizon = 400  # ticks per game, in training and in evaluation
    episodes: Count = 50  # games per seed and seat with each proxy
    seed: Seed = 0  # root of all randomness
    # threads of torch and of the kitchens, part of what a run is; 0: one per usable core, written down as that number
    threads: int = 0
    readme: str | None = None  # file whose part between the efficiency markers is rewritten by plot
    page: str | None = None  # where plot writes; null: efficiency.html in the folder

    def __post_init__(self) -> None:
        if not self.proxies:
            raise UserError("coord efficiency needs proxies to score with")

    def idle(self) -> dict[str, str]:
        """Fields that nothing reads as the others are set, and why."""
        return idle_in_a_table(self, {"table": (), "plot": ("page", "readme")})
