"""What must fit together before a run of preference learning starts."""

from __future__ import annotations

import torch

from coord.algos.ppo import PPOConfig
from coord.algos.sac import SACConfig
from coord.errors import UserError, unknown
from coord.preference.config import PreferConfig
from coord.preference.labels import queries
from coord.preference.learners.kitchen_files import arch_of
from coord.preference.methods.method import name_of, named
from coord.preference.reward import crowds
from coord.preference.tasks.config import KITCHENS
from coord.preference.tasks.kitchen_env import KitchenTaskEnv
from coord.preference.tasks.task_env import TaskEnv


def check(cfg: PreferConfig, env: TaskEnv, *, learns_reward: bool) -> None:
    """Raise UserError where settings do not fit together, before anything is trained or written."""
    if isinstance(cfg.algo, PPOConfig) != (cfg.learner == "ppo"):
        raise UserError(f"learner={cfg.learner} does not go with the fields of another algo: say learner=, not algo=")
    _check_device(cfg.device)
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


def _check_device(text: str) -> None:
    try:
        device = torch.device(text)
    except RuntimeError as error:
        raise unknown("device", text, ("cpu", "cuda")) from error
    if device.type not in ("cpu", "cuda"):
        raise unknown("device", text, ("cpu", "cuda"))
    if device.type == "cuda" and (device.index or 0) >= (found := torch.cuda.device_count()):
        raise UserError(f"device={text}: PyTorch finds {found} such devices here; allowed is cpu")


def _check_task(cfg: PreferConfig, env: TaskEnv) -> None:
    """What only kitchens have is asked of kitchens only, and of the learner that knows it."""
    if not isinstance(env, KitchenTaskEnv):
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


def idle(cfg: PreferConfig) -> dict[str, str]:
    """Fields that nothing reads as the others are set, and why."""
    idle: dict[str, str] = {}

    def add(why: str, *names: str) -> None:
        idle.update(dict.fromkeys(names, why))

    kitchens, sac = cfg.env == KITCHENS, cfg.learner == "sac"
    method = named(name_of(cfg.method))
    if cfg.learner not in method.learners:
        return {}  # which is said elsewhere
    if not kitchens:
        add(f"it is for env={KITCHENS}", "rules", "horizon", "reward_sees_moves")
    else:
        add("it is for control tasks", "env_processes", "on_crash")
    if cfg.init_from is None:
        add("it is for init_from=", "value_updates")
    if not sac or method.on_policy:
        add("it is for learners with a replay buffer", "updates_per_step", "reset_updates", "buffer_size")
    if cfg.answerer != "human":
        add("it is for answerer=human", "answer_wait_s", "answers_every", "ask_ahead", "min_answers")
        add("it is for answerer=human", "annotators_per_query")
    if not method.learns_reward:
        why = f"method={name_of(cfg.method)} learns from no labels"
        add(why, "reward", "query", "crowd", "answerer", "session_labels", "session_every", "session_schedule")
        add(why, "pool_episodes", "extra_labels", "annotators_per_query", *(("labels",) if cfg.labels else ()))
    return idle
