"""The configuration of one preference-learning run: task, schedule, budget of labels, and the parts it is made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

from annotated_types import Gt, Le

from coord.errors import UserError, unknown
from coord.limits import Count, CountOrNone, Horizon, Members, Processes, Seconds, Seed, Steps, StepsOrNone
from coord.preference.labels.config import FeedbackConfig
from coord.preference.reward.annotators import MixtureConfig, PooledConfig, ReliabilityConfig
from coord.preference.tasks.config import TaskConfig

if TYPE_CHECKING:  # the annotations say what a group may be; help reads them without loading torch
    from coord.algos.ppo import PPOConfig
    from coord.algos.sac import SACConfig
    from coord.preference.labels.answerers import TeacherConfig
    from coord.preference.labels.queries import QueryConfig
    from coord.preference.reward.model import RewardConfig
    from coord.preference.reward.safety import SafetyConfig

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

    method: Any = field(metadata={"plugins": "coord.preference_methods"})
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
    horizon: Horizon = 400
    partners: tuple[str, ...] = ()
    eval_partners: tuple[str, ...] = ()
    init_from: str | None = None
    value_updates: CountOrNone = 10
    reward_sees_partner: bool = False
    reward_sees_change: bool = False
    reward_sees_moves: bool | None = None
    seed: Seed = 0
    members: Members = 3
    envs_per_member: Count = 1
    env_processes: Processes = 0
    on_crash: str = "stop"
    total_steps: Steps = 105_000
    seed_steps: StepsOrNone = 1000
    unsup_steps: StepsOrNone = 8000
    labels: CountOrNone = 100
    session_labels: Count = 10
    session_every: Steps = 5000
    session_schedule: str = "constant"
    answerer: str = "teacher"
    answer_wait_s: Seconds = 0.0
    answers_every: Steps = 1000
    ask_ahead: CountOrNone = 5
    min_answers: Count = 5
    annotators_per_query: Count = 1
    extra_labels: tuple[str, ...] = ()
    pool_episodes: Count = 100
    updates_per_step: Annotated[float, Gt(0), Le(64)] = 1.0
    reset_updates: CountOrNone = 100
    buffer_size: Steps | None = None
    knn: Count = 5
    eval_every: Steps = 15_000
    eval_episodes: Count = 5
    log_every: Steps = 1000
    device: str = "cpu"
    threads: int = 0
    save_every_s: Seconds = 300.0
    out: str | None = None
    resume: str | None = None
    change_threads: bool = False

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
        if not 0 < self.updates_per_step <= 64:
            raise UserError(f"updates_per_step={self.updates_per_step}: must be above 0 and at most 64")

    @property
    def task(self) -> TaskConfig:
        """What the environments are made from."""
        return TaskConfig(
            env=self.env,
            teacher=self.teacher,
            members=self.members,
            seed=self.seed,
            envs_per_member=self.envs_per_member,
            eval_episodes=self.eval_episodes,
            env_processes=self.env_processes,
            on_crash=self.on_crash,
            layout=self.layout,
            rules=self.rules,
            horizon=self.horizon,
            sees_partner=self.reward_sees_partner,
            sees_change=self.reward_sees_change,
            sees_moves=self.reward_sees_moves,
        )

    def feedback(self, unlabelled_per_label: int = 0) -> FeedbackConfig:
        """What the sessions are made from; the argument is the method's."""
        same = (
            "reward query teacher safety crowd labels session_labels session_every session_schedule total_steps "
            "answerer answer_wait_s answers_every ask_ahead min_answers annotators_per_query extra_labels "
            "pool_episodes device"
        )
        return FeedbackConfig(
            task=self.task,
            begins_at=self.seed_steps + self.unsup_steps,
            unlabelled_per_label=unlabelled_per_label,
            **{name: getattr(self, name) for name in same.split()},
        )
