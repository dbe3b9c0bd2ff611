"""The tasks of `coord prefer`: control tasks by their names, and what is built here."""

from __future__ import annotations

from collections.abc import Sequence

from coord import seeding
from coord.agents.files import StoredAgent
from coord.preference.tasks import island_env
from coord.preference.tasks.config import KITCHENS, TaskConfig
from coord.preference.tasks.kitchen_env import kitchen_envs
from coord.preference.tasks.task_env import TaskEnvs, control_envs


def make_envs(
    cfg: TaskConfig, partners: Sequence[StoredAgent] = (), eval_partners: Sequence[StoredAgent] = ()
) -> TaskEnvs:
    """Where a run learns, and where it is evaluated; kitchens need partners, see `kitchen_envs`.

    Raises:
        UserError: unknown task, missing extra, sizes that cannot be.
    """
    if cfg.env == KITCHENS:
        return kitchen_envs(cfg, partners, eval_partners)
    if cfg.env == island_env.TASK:
        return island_env.island_envs(cfg.members, cfg.envs_per_member, cfg.eval_episodes)
    options = {"processes": cfg.env_processes, "on_crash": cfg.on_crash}
    seeds = seeding.member_seeds(cfg.seed, cfg.members)
    return control_envs(cfg.env, seeds, cfg.envs_per_member, cfg.eval_episodes, **options)


def has_success(env: str) -> bool:
    """Whether episodes of the task succeed or fail."""
    from coord.control import task_spec

    return env == island_env.TASK or (env != KITCHENS and task_spec(env).has_success)
