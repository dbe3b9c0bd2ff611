"""What a run knows about itself between two rows of its log; part of its state, so that resumed logs are the same."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from coord.preference.tasks.task_env import TaskStep

RECENT_EPISODES = 10  # the window of `rollout/return` here: few and long episodes


def state_of(parts: Mapping[str, Any]) -> dict[str, Any]:
    """The states of named parts as one flat mapping."""
    return {f"{name}.{key}": value for name, part in parts.items() for key, value in part.state_dict().items()}


def restore(parts: Mapping[str, Any], state: Mapping[str, Tensor]) -> None:
    """Inverse of `state_of`."""
    for name, part in parts.items():
        part.load_state_dict({k[len(name) + 1 :]: v for k, v in state.items() if k.startswith(f"{name}.")})


class Tally:
    """Means of metrics [M] since they were last logged."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}

    def add(self, metrics: Mapping[str, Tensor]) -> None:
        """One more value of each."""
        for key, value in metrics.items():
            self._sums[key] = self._sums[key] + value if key in self._sums else value.clone()
            self._counts[key] = self._counts.get(key, 0) + 1

    def take(self) -> dict[str, np.ndarray]:
        """The means, [M] each; starts anew."""
        means = {key: (total / self._counts[key]).cpu().numpy() for key, total in self._sums.items()}
        self._sums, self._counts = {}, {}
        return means

    def state_dict(self) -> dict[str, Tensor]:
        """Flat mapping of tensors."""
        counts = {f"count.{key}": torch.tensor(count) for key, count in self._counts.items()}
        return counts | {f"sum.{key}": total for key, total in self._sums.items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Inverse of `state_dict`."""
        self._counts = {key[6:]: int(value) for key, value in state.items() if key.startswith("count.")}
        self._sums = {key: state[f"sum.{key}"].clone() for key in self._counts}


class EpisodeLog:
    """True returns and successes of each member's last episodes, and the running returns of its environments."""

    def __init__(self, members: int, rows: int) -> None:
        self.running = torch.zeros(members, rows, dtype=torch.float64)  # [M, N]
        self.returns: list[deque[float]] = [deque(maxlen=RECENT_EPISODES) for _ in range(members)]
        self.successes: list[deque[float]] = [deque(maxlen=RECENT_EPISODES) for _ in range(members)]

    def add(self, step: TaskStep) -> None:
        """One step of every environment."""
        self.running += step.rew
        for m, n in torch.nonzero(step.terminated | step.truncated).tolist():
            self.returns[m].append(float(self.running[m, n]))
            self.successes[m].append(float(step.success[m, n]))
            self.running[m, n] = 0.0

    def mean_returns(self) -> np.ndarray:
        """[M], NaN before the first episode."""
        return np.array([np.mean(r) if r else np.nan for r in self.returns])

    def report(self) -> dict[str, np.ndarray]:
        """Metrics [M]."""
        success = np.array([np.mean(s) if s else np.nan for s in self.successes])
        return {"rollout/return": self.mean_returns(), "rollout/success": success}

    def state_dict(self) -> dict[str, Tensor]:
        """Flat mapping of tensors."""
        out = {"running": self.running}
        for m, pair in enumerate(zip(self.returns, self.successes, strict=True)):
            out[str(m)] = torch.tensor([list(values) for values in pair], dtype=torch.float64)
        return out

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Inverse of `state_dict`."""
        self.running.copy_(state["running"])
        for m, pair in enumerate(zip(self.returns, self.successes, strict=True)):
            for window, values in zip(pair, state[str(m)].tolist(), strict=True):
                window.clear()
                window.extend(values)
