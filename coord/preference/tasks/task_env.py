"""What preference learning needs of a task: M members with N environments each, stepped together.

`ControlEnv` makes DMControl and Meta-World tasks look so; anything else that does (a kitchen with partners) can be
trained by the same loop.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType, TracebackType
from typing import Any, Literal, NamedTuple, Protocol, cast

import numpy as np
import torch
from torch import Tensor

from coord.control import ControlVectorEnv
from coord.errors import UserError
from coord.seeding import derive


class TaskStep(NamedTuple):
    """What one step of [M, N] environments brought."""

    final_obs: Tensor  # [M, N, O] what the action led to; where an episode ended, its last observation
    rew: Tensor  # [M, N] true reward
    terminated: Tensor  # [M, N] bool, by the task's rules
    truncated: Tensor  # [M, N] bool, by the clock
    success: Tensor  # [M, N] bool, at any step of the episode so far
    seed: np.ndarray  # [M, N] int64: with what was played all that the episode of this step depends on
    wanted: Tensor | None = None  # [M, N] what a teacher judges by; None: the true reward
    group: np.ndarray | None = None  # [M, N] int64: with whom the episode is played; None: there is nobody
    played: Tensor | None = None  # [M, N, J] what it takes to play the episode again; None: the action
    beside: Tensor | None = None  # [M, N, E] what only the reward model reads, beside the observation; None: E = 0
    measured: Mapping[str, Tensor] = MappingProxyType({})  # metric -> [M, N], in evaluation: summed over an episode

    @property
    def judged(self) -> Tensor:
        """[M, N] what teachers judge by, and what a learner without labels is paid."""
        return self.rew if self.wanted is None else self.wanted

    def known(self, obs: Tensor) -> Tensor:
        """What the reward model reads of the step that began with obs [M, N, O]: [M, N, O + E]."""
        return obs if self.beside is None else torch.cat([obs, self.beside], -1)


class TaskEnv(Protocol):
    """A task as the loop sees it."""

    members: int  # M
    rows: int  # N, environments per member
    obs_dim: int
    beside_dim: int  # E, numbers that the reward model reads beside the observation (`TaskStep.beside`)
    act_dim: int  # numbers per action, or number of discrete actions
    discrete: bool
    max_episode_steps: int

    def observe(self) -> Tensor:
        """Observations [M, N, O] that the next actions answer."""

    def step(self, act: Tensor) -> TaskStep:
        """One step with act [M, N, A], or [M, N] int64."""

    def get_state(self) -> dict[str, np.ndarray]:
        """Everything that changes, for exact resume."""

    def set_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Inverse of `get_state`."""

    def close(self) -> None:
        """Ends whatever runs on its behalf."""


class ControlEnv:
    """A control task; the environments of member m depend on seeds[m] only.

    Args:
        task: its name, e.g. "walker_walk".
        seeds: one per member.
        rows: environments per member.
        processes: that simulate beside this one; 0: this one does it.
        on_crash: "stop" or "restart", see `ControlVectorEnv`.

    Raises:
        UserError: unknown task, missing extra.
    """

    discrete = False
    beside_dim = 0

    def __init__(self, task: str, seeds: list[int], rows: int, *, processes: int = 0, on_crash: str = "stop") -> None:
        crash = cast("Literal['stop', 'restart']", on_crash)
        self._env = ControlVectorEnv(task, rows, seeds, groups=processes, on_crash=crash)
        self.members, self.rows = len(seeds), rows
        self.obs_dim, self.act_dim = self._env.obs_dim, self._env.act_dim
        self.max_episode_steps = self._env.max_episode_steps
        self._obs = self._env.reset()
        self._seeds = self._env.episode_seeds

    def _shaped(self, values: np.ndarray) -> Tensor:
        """[M*N, ...] -> [M, N, ...]."""
        return torch.from_numpy(values).view(self.members, self.rows, *values.shape[1:])

    def observe(self) -> Tensor:
        """See `TaskEnv.observe`."""
        return self._shaped(self._obs)

    def step(self, act: Tensor) -> TaskStep:
        """See `TaskEnv.step`."""
        done = self._env.step(act.reshape(-1, self.act_dim).numpy())
        self._obs, seeds = done.obs, self._seeds
        if (done.terminated | done.truncated).any():
            self._seeds = self._env.episode_seeds
        return TaskStep(
            self._shaped(done.final_obs),
            self._shaped(done.rew),
            self._shaped(done.terminated),
            self._shaped(done.truncated),
            self._shaped(done.success),
            seeds.reshape(self.members, self.rows),
        )

    def get_state(self) -> dict[str, np.ndarray]:
        """See `TaskEnv.get_state`."""
        return self._env.get_state()

    def set_state(self, state: Mapping[str, np.ndarray]) -> None:
        """See `TaskEnv.set_state`."""
        self._env.set_state(dict(state))
        self._obs, self._seeds = np.array(state["obs"]), self._env.episode_seeds

    def close(self) -> None:
        """See `TaskEnv.close`."""
        self._env.close()


@dataclass
class TaskEnvs:
    """Where a run learns, and where it is evaluated."""

    train: TaskEnv
    evaluation: TaskEnv

    def get_state(self) -> dict[str, np.ndarray]:
        """Both, for exact resume."""
        parts = (("train", self.train), ("evaluation", self.evaluation))
        return {f"{name}.{key}": value for name, env in parts for key, value in env.get_state().items()}

    def set_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Inverse of `get_state`."""
        for name, env in (("train", self.train), ("evaluation", self.evaluation)):
            env.set_state({k[len(name) + 1 :]: v for k, v in state.items() if k.startswith(f"{name}.")})

    def __enter__(self) -> TaskEnvs:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.train.close()
        self.evaluation.close()


def check_rows(rows: int, eval_rows: int) -> None:
    """Raise UserError unless a member has environments to learn in and to be evaluated in."""
    if rows < 1 or eval_rows < 1:
        raise UserError(f"envs_per_member={rows} and eval_episodes={eval_rows}: must be at least 1")


def control_envs(task: str, seeds: list[int], rows: int, eval_rows: int, **options: Any) -> TaskEnvs:
    """The environments of a control task; evaluation has other episodes than training."""
    check_rows(rows, eval_rows)
    elsewhere = [derive(seed, "evaluation") for seed in seeds]
    return TaskEnvs(ControlEnv(task, seeds, rows, **options), ControlEnv(task, elsewhere, eval_rows, **options))
