"""The configuration of one preference-learning run: task, schedule, budget of labels, and the parts it is made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from coord.errors import UserError, at_least, unknown
from coord.preference.reward.annotators import MixtureConfig, PooledConfig, ReliabilityConfig

if TYPE_CHECKING:  # the annotations say what a group may be; help reads them without loading torch
    from coord.algos.ppo import PPOConfig
    from coord.algos.ppo_gaussian import PPOContinuousConfig
    from coord.algos.sac import SACConfig
    from coord.preference.labels.answerers import TeacherConfig
    from coord.preference.labels.queries import QueryConfig
    from coord.preference.methods.mrn.mrn import MRNConfig
    from coord.preference.methods.ours import OursConfig
    from coord.preference.methods.pebble import PebbleConfig
    from coord.preference.methods.qpa import QPAConfig
    from coord.preference.methods.rune import RuneConfig
    from coord.preference.methods.surf import SurfConfig
    from coord.preference.methods.table import OracleConfig, TrueRewardConfig
    from coord.preference.reward.model import RewardConfig
    from coord.preference.reward.safety import SafetyConfig
    from coord.preference.tasks.task_env import TaskEnv

KITCHENS = "overcooked"  # the task that has a layout, rules, a horizon and partners
ANSWERERS = ("teacher", "human")
LEARNERS = ("sac", "ppo")
SCHEDULES = ("constant", "falling", "rising")
PRESETS = {
    "fast": "smaller networks and budgets than published, for CPUs",
    "published": "networks, budgets and schedule as published",
}


def _no_hazards() -> SafetyConfig:
    from coord.preference.reward.safety import SafetyConfig

    return SafetyConfig()


@dataclass(frozen=True, kw_only=True)
class PreferConfig:
    """Fields of configs/prefer.yaml, which says what each means; steps and labels are per member."""

    method: (
        PebbleConfig
        | SurfConfig
        | RuneConfig
        | MRNConfig
        | QPAConfig
        | OursConfig
        | PPOContinuousConfig
        | TrueRewardConfig
        | OracleConfig
    )
    algo: SACConfig | PPOConfig
    reward: RewardConfig
    query: QueryConfig
    teacher: TeacherConfig
    crowd: PooledConfig | ReliabilityConfig | MixtureConfig = field(default_factory=PooledConfig)
    safety: SafetyConfig = field(default_factory=_no_hazards)
    preset: str = "fast"
    learner: str = "sac"
    env: str = "walker_walk"
    layout: str | None = None
    rules: str = "classic"
    horizon: int = 400
    partners: tuple[str, ...] = ()
    eval_partners: tuple[str, ...] = ()
    init_from: str | None = None
    value_updates: int = 10
    reward_sees_partner: bool = False
    reward_sees_change: bool = False
    reward_sees_moves: bool | None = None
    seed: int = 0
    members: int = 3
    envs_per_member: int = 1
    env_processes: int = 0
    on_crash: str = "stop"
    total_steps: int = 105_000
    seed_steps: int = 1000
    unsup_steps: int = 8000
    labels: int = 100
    session_labels: int = 10
    session_every: int = 5000
    session_schedule: str = "constant"
    answerer: str = "teacher"
    answer_wait_s: float = 0.0
    answers_every: int = 1000
    ask_ahead: int = 5
    min_answers: int = 5
    annotators_per_query: int = 1
    extra_labels: tuple[str, ...] = ()
    pool_episodes: int = 100
    updates_per_step: float = 1.0
    reset_updates: int = 100
    buffer_size: int | None = None
    knn: int = 5
    eval_every: int = 15_000
    eval_episodes: int = 5
    log_every: int = 1000
    device: str = "cpu"
    threads: int = 0
    save_every_s: float = 300.0
    out: str | None = None
    resume: str | None = None

    def __post_init__(self) -> None:
        for name, value, allowed in (
            ("answerer", self.answerer, ANSWERERS),
            ("learner", self.learner, LEARNERS),
            ("session_schedule", self.session_schedule, SCHEDULES),
            ("preset", self.preset, PRESETS),
            ("on_crash", self.on_crash, ("stop", "restart")),
        ):
            if value not in allowed:
                raise unknown(name, value, allowed)
        at_least(self, 1, "members", "envs_per_member", "total_steps", "session_labels", "session_every")
        at_least(self, 1, "pool_episodes", "knn", "eval_every", "eval_episodes", "log_every")
        at_least(self, 1, "answers_every", "min_answers", "annotators_per_query")
        at_least(self, 0, "value_updates", "seed_steps", "unsup_steps", "labels", "reset_updates", "answer_wait_s")
        at_least(self, 0, "env_processes", "ask_ahead")
        if not 0 < self.updates_per_step <= 64:
            raise UserError(f"updates_per_step={self.updates_per_step}: must be above 0 and at most 64")

    @property
    def about(self) -> dict[str, Any]:
        """What the provenance of a query says of the task."""
        if self.env != KITCHENS:
            return {"task": self.env}
        return {"task": self.env, "layout": self.layout, "rules": self.rules, "horizon": self.horizon}


def check(cfg: PreferConfig, env: TaskEnv, *, learns_reward: bool) -> None:
    """Raise UserError where settings do not fit together, before anything is trained or written."""
    from coord.algos.ppo import PPOConfig
    from coord.preference.labels import queries
    from coord.preference.reward import crowds

    if isinstance(cfg.algo, PPOConfig) != (cfg.learner == "ppo"):
        raise UserError(f"learner={cfg.learner} does not go with the fields of another algo: say learner=, not algo=")
    _check_task(cfg, env)
    if cfg.safety.hazards and not learns_reward:
        raise UserError("safety.hazards= are what people warn of: a method that learns from nobody's labels has no use")
    if not learns_reward:
        return
    if cfg.extra_labels and cfg.env != KITCHENS:
        raise UserError(f"extra_labels= are moments of games: they are for env={KITCHENS}, not for env={cfg.env}")
    queries.check(cfg.query, cfg.reward)
    crowds.check(cfg.crowd, cfg.reward, warns=bool(cfg.safety.hazards))
    if cfg.answerer == "human" and cfg.min_answers > cfg.labels:
        raise UserError(f"min_answers={cfg.min_answers}: there are never more than labels={cfg.labels} to wait for")
    if 0 < cfg.labels < cfg.session_labels:
        raise UserError(
            f"labels={cfg.labels} is less than one session asks for (session_labels={cfg.session_labels}): "
            "raise labels or lower session_labels"
        )
    start = cfg.seed_steps + cfg.unsup_steps
    if start >= cfg.total_steps:
        raise UserError(
            f"total_steps={cfg.total_steps} leaves no time after seed_steps + unsup_steps = {start}, "
            "when the first labels are asked for"
        )
    _check_segments(cfg, env, start)


def _check_task(cfg: PreferConfig, env: TaskEnv) -> None:
    """What only kitchens have is asked of kitchens only, and of the learner that knows it."""
    from coord.algos.sac import SACConfig
    from coord.preference.learners.kitchen_files import arch_of
    from coord.preference.tasks.kitchen_env import KitchenEnv

    if not isinstance(env, KitchenEnv):
        asked = {
            "reward_sees_partner": cfg.reward_sees_partner,
            "reward_sees_change": cfg.reward_sees_change,
            "query.same_partner": cfg.query.same_partner,
            "teacher.wants": cfg.teacher.wants != "return",
        }
        if names := [f"{name}=" for name, is_asked in asked.items() if is_asked]:
            raise UserError(f"{' and '.join(names)}: for env={KITCHENS}, not for env={cfg.env}")
        return
    if isinstance(cfg.algo, SACConfig):
        arch_of(cfg.algo.hidden, env.kitchens)


def _check_segments(cfg: PreferConfig, env: TaskEnv, start: int) -> None:
    """There are segments to ask about when the first session comes."""
    stored = cfg.reward.stored_length(cfg.query.length)
    if stored > env.max_episode_steps:
        raise UserError(
            f"query.length={cfg.query.length} (stored: {stored} steps) does not fit an episode of {cfg.env}, "
            f"which has {env.max_episode_steps} steps"
        )
    first = start // cfg.envs_per_member
    if first < (stored if cfg.query.running else env.max_episode_steps):
        raise UserError(
            f"seed_steps + unsup_steps = {start} is {first} steps of each of {cfg.envs_per_member} environments: "
            f"no episode of {cfg.env} ({env.max_episode_steps} steps) is complete when the first labels are asked for"
        )
