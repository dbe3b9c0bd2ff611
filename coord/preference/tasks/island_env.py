"""Island navigation as a task of the preference loop: M members with N islands each, discrete actions, one event."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from coord.control import gridworld
from coord.preference.tasks.task_env import TaskEnvs, TaskStep, check_rows

TASK = "island"
USER_GAMMA = 0.9  # discount of the simulated user's values


class IslandEnv:
    """See `coord.preference.tasks.task_env.TaskEnv`. Every episode starts alike, so its actions say all of it.

    events [M, N, 1]: whether the last step ended in the water (`event_names`). A teacher judges steps as the simulated
    user of Kazantzidis et al. (2022) does, by best values: what an action gives away against the best one.
    """

    discrete = True
    beside_dim = 0
    obs_dim, act_dim = gridworld.OBS_DIM, len(gridworld.ACTIONS)
    max_episode_steps = gridworld.MAX_STEPS
    event_names = gridworld.EVENTS

    def __init__(self, members: int, rows: int) -> None:
        self.members, self.rows = members, rows
        self._place = np.full((members, rows), gridworld.island().start)
        self._clock = np.zeros((members, rows), np.int64)
        self.events = np.zeros((members, rows, 1), np.float32)
        q = gridworld.q_values(USER_GAMMA)
        self._loss = (q - q.max(1, keepdims=True)).astype(np.float32)  # [CELLS, 4]

    def observe(self) -> Tensor:
        """See `TaskEnv.observe`."""
        return torch.from_numpy(gridworld.observe(self._place))

    def step(self, act: Tensor) -> TaskStep:
        """See `TaskEnv.step`."""
        tables = gridworld.island()
        wanted = self._loss[self._place, act.numpy()]
        self._place, rew = gridworld.step(self._place, act.numpy())
        self._clock += 1
        final = gridworld.observe(self._place)
        terminated = gridworld.is_end(self._place)
        truncated = (self._clock == gridworld.MAX_STEPS) & ~terminated
        success = self._place == tables.goal
        self.events = (tables.kind[self._place] == gridworld.WATER).astype(np.float32)[..., None]
        ended = terminated | truncated
        self._place = np.where(ended, tables.start, self._place)
        self._clock[ended] = 0
        drowned = torch.from_numpy(self.events[..., 0])
        return TaskStep(
            torch.from_numpy(final),
            torch.from_numpy(rew),
            torch.from_numpy(terminated),
            torch.from_numpy(truncated),
            torch.from_numpy(success),
            np.zeros(ended.shape, np.int64),
            wanted=torch.from_numpy(wanted),
            measured={"eval/events/drowned": drowned},
        )

    def get_state(self) -> dict[str, np.ndarray]:
        """See `TaskEnv.get_state`."""
        return {"place": self._place.copy(), "clock": self._clock.copy()}

    def set_state(self, state: Mapping[str, np.ndarray]) -> None:
        """See `TaskEnv.set_state`."""
        self._place, self._clock = np.array(state["place"]), np.array(state["clock"])

    def close(self) -> None:
        """Nothing runs on its behalf."""


def island_envs(members: int, rows: int, eval_rows: int) -> TaskEnvs:
    """Where a run learns and where it is evaluated; the task has no randomness of its own."""
    check_rows(rows, eval_rows)
    return TaskEnvs(IslandEnv(members, rows), IslandEnv(members, eval_rows))
