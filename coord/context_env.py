"""Training with a context: a vector env whose observations carry it behind the kitchen's indices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from coord.agents.context.base import Context
from coord.agents.views import KitchenView
from coord.nets.population import append_dense
from coord.overcooked import OvercookedVectorEnv
from coord.partner_env import Episodes, RowEnv, RowStep
from coord.seeding import derive


class KitchenRowEnv(RowEnv, Protocol):
    """A `RowEnv` of kitchens (`SelfPlayEnv`, `PartnerEnv`) whose learners read indices."""

    env: OvercookedVectorEnv
    view: KitchenView  # the present states
    final_view: KitchenView  # kitchens that ended in the last tick as they ended
    learners: tuple[np.ndarray, np.ndarray]  # kitchen and seat of each row, [M * B] both


class ContextEnv:
    """The rows of `inner`, each int16 [K + size]: its indices, then its context (`coord.nets.population.append_dense`).

    The context is asked once per tick for every row, and once more for the last state of an episode, so that the
    bootstrapped value has it too; only then are the kitchens that ended told to begin anew.
    """

    def __init__(self, inner: KitchenRowEnv, context: Context, *, seed: int) -> None:
        """Starts the context; `inner` must be at the start of its episodes."""
        self.inner, self.context, self.env = inner, context, inner.env
        self.members, self.rows, self.kitchens = inner.members, inner.rows, inner.kitchens
        self._kitchen, self._seat = inner.learners
        context.start(inner.env.num_envs, inner.env.num_players, derive(seed, "context"))
        context.begin_episode(np.arange(inner.env.num_envs))
        self._all = np.arange(len(self._kitchen))
        self._values = self._infer(inner.view, self._all)  # [M * B, size]
        self._final_values = self._values  # as `_values`, with the last states of episodes that just ended

    def _infer(self, view: KitchenView, rows: np.ndarray) -> np.ndarray:
        kitchens, seats = self._kitchen[rows], self._seat[rows]
        return self.context.observe(view, kitchens, seats, view.last_joint_act[kitchens])

    def observe(self) -> Tensor:
        """See `RowEnv.observe`."""
        return self._join(self.inner.observe(), self._values)

    def final_observe(self) -> Tensor:
        """See `RowEnv.final_observe`."""
        return self._join(self.inner.final_observe(), self._final_values)

    def _join(self, obs: Tensor, values: np.ndarray) -> Tensor:
        return torch.from_numpy(append_dense(obs.numpy(), values.reshape(self.members, self.rows, -1)))

    def step(self, act: Tensor) -> RowStep:
        """See `RowEnv.step`."""
        result = self.inner.step(act)
        ended = np.flatnonzero((result.terminated | result.truncated).numpy())
        if not len(ended):
            self._values = self._final_values = self._infer(self.inner.view, self._all)
            return result
        last = self._infer(self.inner.final_view, ended)
        self.context.begin_episode(np.unique(self._kitchen[ended]))
        self._values = self._infer(self.inner.view, self._all)
        self._final_values = self._values.copy()
        self._final_values[ended] = last
        return result

    def finished(self) -> Episodes:
        """See `RowEnv.finished`."""
        return self.inner.finished()

    def get_state(self) -> dict[str, np.ndarray]:
        """See `RowEnv.get_state`."""
        own = {"context": self._values.copy(), "last_joint_act": self.inner.view.last_joint_act.copy()}
        theirs = {f"context.{k}": v for k, v in self.context.get_state().items()}
        return {f"inner.{k}": v for k, v in self.inner.get_state().items()} | own | theirs

    def set_state(self, state: Mapping[str, np.ndarray]) -> None:
        """See `RowEnv.set_state`."""
        self.inner.set_state({k[6:]: v for k, v in state.items() if k.startswith("inner.")})
        self.context.set_state({k[8:]: v for k, v in state.items() if k.startswith("context.")})
        self.inner.view.last_joint_act[:] = state["last_joint_act"]
        self._values = self._final_values = np.array(state["context"])
