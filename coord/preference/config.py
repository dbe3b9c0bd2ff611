"""The configuration of one preference-learning run: task, schedule, budget of labels, and the parts it is made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from coord.errors import UserError, at_least, unknown
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
