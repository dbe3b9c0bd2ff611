"""The score of policies for control tasks: episodes that nobody learned from, as the JSON document of `coord evaluate`.

Schema 1, "kind": "control": {"task", "episodes", "seed", "files", "rows": [...], "summary", "success"}. A row is one
policy. Intervals are 95 % percentile bootstraps over episodes; with several policies (seeds of one method) those of the
summary resample policies as well. Policies act deterministically, as during training's own evaluation.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from coord import checkpoint, seeding
from coord.agents.files import MANIFEST
from coord.control import EpisodeRecord
from coord.control.policies import CARD_KIND, StoredPolicy, read_policy
from coord.errors import UserError
from coord.evaluation.run_folder import CONTROL_SCORES
from coord.evaluation.scores import summarise
from coord.preference.labels.answerers import TeacherConfig
from coord.preference.tasks.config import TaskConfig
from coord.preference.tasks.registry import has_success, make_envs
from coord.preference.tasks.task_env import TaskEnv
from coord.stats import bootstrap_ci, mean

SCHEMA = 1


def policy_files(ref: str | None) -> list[Path]:
    """The policies that a file, a run folder or its folder `agents` holds; none if `ref` names something else.

    Raises:
        UserError: a file that cannot be read.
    """
    if not ref:
        return []
    path = Path(ref)
    folder = path / "agents" if (path / "agents").is_dir() else path
    if folder.is_dir():
        files = [] if (folder / MANIFEST).exists() else sorted(folder.glob("*.safetensors"))
    else:
        files = [path] if path.suffix == ".safetensors" else []
    return [file for file in files if file.is_file() and _is_policy(file)]


def _is_policy(file: Path) -> bool:
    meta = checkpoint.read_document(file)["meta"]
    return isinstance(meta, dict) and meta.get("kind") == CARD_KIND


def score(files: Sequence[Path], *, episodes: int, seed: int) -> dict[str, Any]:
    """Plays and summarises; the result is plain JSON (see the module's docstring).

    Raises:
        UserError: damaged policies, policies of different tasks, a missing extra.
    """
    policies = [read_policy(file) for file in files]
    task = _task_of(policies)
    with make_envs(_config(task, episodes, seed)) as envs:
        start = envs.evaluation.get_state()
        played = []
        for policy in policies:
            envs.evaluation.set_state(start)  # every policy meets the same episodes
            played.append(play(policy, envs.evaluation))
    returns, success = (np.stack(part) for part in zip(*played, strict=True))
    named = zip(policies, files, strict=True)
    return {
        "schema": SCHEMA,
        "kind": CONTROL_SCORES,
        "task": task,
        "episodes": episodes,
        "seed": seed,
        "files": {"egos": {policy.card.agent_id: checkpoint.file_hash(file) for policy, file in named}},
        "rows": [_row(*parts, seed) for parts in zip(policies, returns, success, strict=True)],
        "summary": summarise(returns, egos=len(policies), seed=seed),
        "success": summarise(success, egos=len(policies), seed=seed) if has_success(task) else None,
    }


def _task_of(policies: Sequence[StoredPolicy]) -> str:
    tasks = sorted({policy.card.task for policy in policies})
    if len(tasks) > 1:
        raise UserError(f"these policies are for different tasks: {', '.join(tasks)}")
    return tasks[0]


def _config(task: str, episodes: int, seed: int) -> TaskConfig:
    return TaskConfig(env=task, teacher=TeacherConfig(), members=1, seed=seed, eval_episodes=episodes)


def _row(policy: StoredPolicy, returns: NDArray[Any], success: NDArray[Any], seed: int) -> dict[str, Any]:
    card = policy.card
    return {
        "ego": card.agent_id,
        "method": card.method,
        "labels": card.labels,
        "teacher": card.teacher,
        "env_steps": card.env_steps,
        "episodes": len(returns),
        "mean_return": float(mean(returns)),
        "ci95": list(bootstrap_ci([returns], mean, seed=seed)),
        "success": float(success.mean()) if has_success(card.task) else None,
        "returns": returns.tolist(),
    }


def play(policy: StoredPolicy, env: TaskEnv) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Returns [E] and successes [E] of one episode in every environment of one member."""
    ret, success = np.zeros((2, env.rows), np.float32)
    open_ = np.ones(env.rows, bool)
    while open_.any():
        step = env.step(policy.act(env.observe()[0])[None])
        ret += np.where(open_, step.rew[0].numpy(), 0)
        ended = open_ & (step.terminated | step.truncated)[0].numpy()
        success = np.where(ended, step.success[0].numpy(), success).astype(np.float32)
        open_ &= ~ended
    return ret, success


@torch.no_grad()
def film(file: Path, *, seed: int, size: int = 320) -> NDArray[np.uint8]:
    """Frames uint8 [T, size, size, 3] of one episode.

    Raises:
        UserError: no frames can be drawn of the task or on this machine.
    """
    from coord.control import task_spec
    from coord.control.frames import backend, frames_of
    from coord.control.tasks import build

    policy = read_policy(file)
    task_spec(policy.card.task)
    backend()  # before the episode is played for nothing
    simulation, begun_as = build(policy.card.task), seeding.derive(seed, "film")
    acts: list[NDArray[np.float32]] = []
    obs, ended = simulation.reset(begun_as), False
    while not ended and len(acts) < simulation.spec.max_episode_steps:
        acts.append(policy.act(torch.from_numpy(np.asarray(obs, np.float32))[None])[0].numpy())
        step = simulation.step(acts[-1])
        obs, ended = step.obs, step.terminated
    return frames_of(policy.card.task, EpisodeRecord(begun_as, np.stack(acts)), size=size)
