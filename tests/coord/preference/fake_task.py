"""A task without a simulator: a point that is paid for being near the origin; its own copy of `TaskEnv`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from coord import seeding
from coord.algos.sac import SACConfig
from coord.preference.config import PreferConfig
from coord.preference.labels.answerers import TeacherConfig
from coord.preference.labels.queries import QueryConfig
from coord.preference.methods.pebble import PebbleConfig
from coord.preference.reward.model import RewardConfig
from coord.preference.tasks.task_env import TaskEnvs, TaskStep

STEPS = 10  # per episode


class PointEnv:
    """obs [x, y, clock], action = velocity; reward 1 - distance to the origin; far away it falls off (terminates)."""

    discrete = False
    obs_dim, beside_dim, act_dim = 3, 0, 2
    max_episode_steps = STEPS

    def __init__(self, seeds: list[int], rows: int) -> None:
        self.members, self.rows = len(seeds), rows
        self._roots = np.array([[seeding.derive(s, "env", n) for n in range(rows)] for s in seeds])
        self._episode = np.zeros((self.members, rows), np.int64)
        self._place = np.zeros((self.members, rows, 2), np.float32)
        self._clock = np.zeros((self.members, rows), np.int64)
        self._success = np.zeros((self.members, rows), bool)
        for m, n in np.ndindex(self.members, rows):
            self._begin(m, n)

    def _seed(self, m: int, n: int) -> int:
        return seeding.derive(int(self._roots[m, n]), "episode", int(self._episode[m, n]))

    def _begin(self, m: int, n: int) -> None:
        self._place[m, n] = np.random.default_rng(self._seed(m, n)).uniform(-1, 1, 2)
        self._clock[m, n], self._success[m, n] = 0, False

    def observe(self) -> Tensor:
        clock = (self._clock / STEPS).astype(np.float32)[..., None]
        return torch.from_numpy(np.concatenate([self._place, clock], -1))

    def step(self, act: Tensor) -> TaskStep:
        assert act.abs().max() <= 1
        self._place += 0.1 * act.numpy()
        self._clock += 1
        final = self.observe()
        distance = np.linalg.norm(self._place, axis=-1)
        self._success |= distance < 0.3
        success, truncated, fallen = self._success.copy(), self._clock == STEPS, distance > 2.5
        seeds = np.array([[self._seed(m, n) for n in range(self.rows)] for m in range(self.members)])
        for m, n in np.argwhere(truncated | fallen):
            self._episode[m, n] += 1
            self._begin(m, n)
        rew = (1 - distance).astype(np.float32)
        flags = (torch.from_numpy(x) for x in (fallen, truncated & ~fallen, success))
        return TaskStep(final, torch.from_numpy(rew), *flags, seeds)

    def get_state(self) -> dict[str, np.ndarray]:
        return {name: getattr(self, f"_{name}").copy() for name in ("episode", "place", "clock", "success")}

    def set_state(self, state: Mapping[str, np.ndarray]) -> None:
        for name in ("episode", "place", "clock", "success"):
            getattr(self, f"_{name}")[:] = state[name]

    def close(self) -> None:
        pass


def point_envs(cfg: PreferConfig) -> TaskEnvs:
    seeds = seeding.member_seeds(cfg.seed, cfg.members)
    elsewhere = [seeding.derive(seed, "evaluation") for seed in seeds]
    return TaskEnvs(PointEnv(seeds, cfg.envs_per_member), PointEnv(elsewhere, cfg.eval_episodes))


def small(**changes: Any) -> PreferConfig:
    """All phases in 100 steps: random actions until 20, pretraining until 40, sessions at 40, 50 and 60."""
    parts: dict[str, Any] = {
        "method": PebbleConfig(),
        "algo": SACConfig(hidden=(16, 16), batch_size=16, lr=1e-3),
        "reward": RewardConfig(ensemble=2, hidden=(16,), batch_size=8, train_amount=5),
        "query": QueryConfig(length=6, candidates=4),
        "teacher": TeacherConfig(),
        "members": 2,
        "total_steps": 100,
        "seed_steps": 20,
        "unsup_steps": 20,
        "labels": 10,
        "session_labels": 4,
        "session_every": 10,
        "reset_updates": 5,
        "eval_every": 25,
        "eval_episodes": 2,
        "log_every": 5,
    }
    return PreferConfig(**{**parts, **changes})
