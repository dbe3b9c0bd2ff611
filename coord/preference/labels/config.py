"""When a run asks, whom, and what is learned from the answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from coord.preference.reward.annotators import CrowdConfig, PooledConfig

if TYPE_CHECKING:
    from coord.preference.labels.answerers import TeacherConfig
    from coord.preference.labels.queries import QueryConfig
    from coord.preference.reward.model import RewardConfig
    from coord.preference.reward.safety import SafetyConfig
    from coord.preference.tasks.config import TaskConfig


@dataclass(frozen=True, kw_only=True)
class FeedbackConfig:
    """Sessions of queries, per member: steps are environment steps, labels are queries asked."""

    task: TaskConfig
    reward: RewardConfig
    query: QueryConfig
    teacher: TeacherConfig
    safety: SafetyConfig
    crowd: CrowdConfig = field(default_factory=PooledConfig)
    labels: int = 100
    session_labels: int = 10
    session_every: int = 5000
    session_schedule: str = "constant"
    begins_at: int = 0  # step of the first session
    total_steps: int = 1
    answerer: str = "teacher"
    answer_wait_s: float = 0.0
    answers_every: int = 1000
    ask_ahead: int = 5
    min_answers: int = 5
    annotators_per_query: int = 1
    extra_labels: tuple[str, ...] = ()
    pool_episodes: int = 100
    unlabelled_per_label: int = 0  # unlabelled pairs per query that a session draws, too
    device: str = "cpu"
