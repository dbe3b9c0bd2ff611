"""Runs of preference learning as jobs: trained to a step or to the end, and compared bit for bit."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import torch

from coord.agents.files import StoredAgent
from coord.algos.ppo import Hooks
from coord.preference.config import PreferConfig
from coord.preference.learners.check import check
from coord.preference.methods.method import name_of, named
from coord.preference.tasks.kitchen_env import kitchen_envs
from coord.run.training import TrainingJob
from tests.agent_fixtures import index_member


@cache
def partners() -> tuple[StoredAgent, ...]:
    """Two untrained cooks."""
    found = [index_member(f"p{seed}", seed) for seed in range(2)]
    return tuple(StoredAgent(one.card, one.net) for one in found)


def kitchen_job(loop: Any, cfg: PreferConfig, folder: Path, **start: Any) -> TrainingJob:
    """A run beside `partners`, by the loop of the module `loop`."""
    method = named(name_of(cfg.method))
    envs = kitchen_envs(cfg.task, partners())
    check(cfg, envs.train, learns_reward=method.learns_reward)
    run = loop.build(cfg, method, envs, **start)
    folder.mkdir(exist_ok=True)
    run.open(folder)
    return TrainingJob(folder, "test", "", run, envs, train=loop.train)


def copied(state: dict[str, Any]) -> dict[str, torch.Tensor]:
    """A state that later training leaves alone."""
    return {name: torch.as_tensor(value).clone() for name, value in state.items()}


def finish(job: TrainingJob, hooks: Hooks | None = None) -> dict[str, torch.Tensor]:
    """Train to the end; everything that training changes."""
    job.train(job.state, job.env, hooks or Hooks())
    return copied(job.state.state_dict())


def until(job: TrainingJob, step: int) -> Any:
    """Train until `step` steps per member; the run."""
    return job.train(job.state, job.env, Hooks(should_stop=lambda run: run.env_step >= step))


def assert_same(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    """Equal to the last bit; what is not a number is so in both."""
    assert set(ours) == set(theirs)
    for name, value in ours.items():
        one, two = (torch.as_tensor(part) for part in (value, theirs[name]))
        assert torch.equal(torch.nan_to_num(one), torch.nan_to_num(two)), name
