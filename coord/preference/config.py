"""The configuration of one preference-learning run: task, schedule, budget of labels, and the parts it is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from annotated_types import Gt, Le

from coord.errors import UserError, unknown
from coord.limits import Count, CountOrNone, Horizon, Members, Processes, Seconds, Seed, Steps, StepsOrNone
from coord.plugins import choice
from coord.preference.labels.config import FeedbackConfig
from coord.preference.reward.annotators import CrowdConfig
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


@dataclass(frozen=True, kw_only=True)
class PreferConfig:
    """Preferences instead of a programmed reward; steps and labels are per member."""

    method: Any = choice("pebble", "coord.preference_methods")
    algo: SACConfig | PPOConfig = choice(
        "sac", {"sac": "coord.algos.sac:SACConfig", "ppo": "coord.algos.ppo:PPOConfig"}
    )
    reward: RewardConfig = choice("ensemble", {"ensemble": "coord.preference.reward.model:RewardConfig"})
    query: QueryConfig = choice("pairs", {"pairs": "coord.preference.labels.queries:QueryConfig"})
    teacher: TeacherConfig = choice("bpref", {"bpref": "coord.preference.labels.answerers:TeacherConfig"})
    crowd: CrowdConfig = choice(
        "pooled",
        {
            "pooled": "coord.preference.reward.annotators:PooledConfig",
            "reliability": "coord.preference.reward.annotators:ReliabilityConfig",
            "mixture": "coord.preference.reward.annotators:MixtureConfig",
        },
        added_later=True,
    )
    safety: SafetyConfig = choice(
        "hazards", {"hazards": "coord.preference.reward.safety:SafetyConfig"}, added_later=True
    )
    preset: str = "fast"  # fast: smaller networks and budgets, for CPUs; published: the papers' settings for the task
    learner: str = "sac"  # who learns from the reward: sac | ppo (env=overcooked); the fields of algo are the learner's
    env: str = "walker_walk"  # task of DMControl (walker_walk) or Meta-World (button-press), or overcooked
    # env=overcooked: kitchen, a name of overcooked-ai or the path of a layout file; null: cramped_room
    layout: str | None = None
    rules: str = "classic"  # env=overcooked: classic (2019, the pot starts at the third onion) or overcooked-ai
    horizon: Horizon = 400  # env=overcooked: ticks per game
    partners: tuple[str, ...] = ()  # env=overcooked: pools or agents to learn with, comma separated
    # env=overcooked: agents to be evaluated with; empty: those of the training, in other games
    eval_partners: tuple[str, ...] = ()
    # learner=ppo: agents that the egos begin as, a pool with one per member or one for all; null: afresh
    init_from: str | None = None
    value_updates: CountOrNone = 10  # init_from: rollouts after the first answers from which only the value learns
    reward_sees_partner: bool = False  # env=overcooked: whether the reward model also reads what the partner did
    # env=overcooked: it reads what each tick changed in the kitchen instead of how it stood
    reward_sees_change: bool = False
    # reward_sees_change: chefs' steps and clocks too, not just things; null: if a teacher minds them
    reward_sees_moves: bool | None = None
    seed: Seed = 0  # root of all randomness
    members: Members = 3  # independent learners (seeds) trained side by side, each with labels of its own
    envs_per_member: Count = 1  # environments that a member plays at once
    env_processes: Processes = 0  # processes that simulate; 0: the training process does it
    on_crash: str = "stop"  # when a simulation crashes: stop | restart (that episode ends, the run goes on)
    total_steps: Steps = 105_000  # budget per member
    seed_steps: StepsOrNone = 1000  # random actions at the start
    unsup_steps: StepsOrNone = 8000  # then steps of pretraining on the entropy of states, without any reward
    # budget of queries per member; a skipped one counts; 0: the reward model stays as it was initialised
    labels: CountOrNone = 100
    session_labels: Count = 10  # queries per session; the last session asks for what is left
    session_every: Steps = 5000  # steps between sessions
    session_schedule: str = "constant"  # size of the sessions: constant | falling | rising
    # teacher: a scripted one that knows the true reward; human: people, through labels.sqlite
    answerer: str = "teacher"
    # answerer=human: seconds a session waits for its answers; then it learns from those there are
    answer_wait_s: Seconds = 0.0
    # answerer=human: steps between looks at what has been answered since, which is then learned
    answers_every: Steps = 1000
    # answerer=human: queries per member that always wait to be answered, while the budget lasts
    ask_ahead: CountOrNone = 5
    min_answers: Count = 5  # answerer=human: answers to each member before the pretraining ends
    annotators_per_query: Count = 1  # answerer=human: people who are asked the same query; see crowd
    # env=overcooked: label stores with moments that people compared after games (coord play), learned too
    extra_labels: tuple[str, ...] = ()
    pool_episodes: Count = 100  # episodes per member that queries are cut from
    updates_per_step: Annotated[float, Gt(0), Le(64)] = 1.0  # gradient steps per environment step of a member, .25..4
    reset_updates: CountOrNone = 100  # gradient steps on the first learned rewards, with a new critic
    buffer_size: Steps | None = None  # transitions kept per member; null: all
    knn: Count = 5  # pretraining rewards the distance to this many-th neighbour
    eval_every: Steps = 15_000  # steps between evaluations
    eval_episodes: Count = 5  # episodes per evaluation and member, with deterministic actions
    log_every: Steps = 1000  # steps between rows of metrics
    device: str = "cpu"  # where networks learn: cpu | cuda
    threads: int = 0  # threads of torch, part of what a run is; 0: one per usable core, written down as that number
    save_every_s: Seconds = 300.0  # seconds between checkpoints
    out: str | None = None  # run folder; null: runs/control/<env>/<method>/<date>-<hash>/seed<k>
    resume: str | None = None  # run folder to go on with, with the configuration saved there
    change_threads: bool = False  # true: resume= may go on with another number of threads=, to another result

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
