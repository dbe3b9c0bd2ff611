"""Kickstarting by the scripted cook: an ego learns every task of a kitchen before its partners could do them for it.

An ego that only ever met partners who plate never learns to fetch a dish, however long it trains: with a partner that
does not plate it waits in front of full pots. At first the scripted cook (`coord.agents.greedy`) says in
every state that the ego comes to what it would do there, and cross-entropy to that is added to the loss of PPO with a
weight that falls to 0. Nobody plays the teacher's actions: the states are those of the ego and its partners.

Sources: kickstarting (Schmitt et al. 2018), with a planner for the teaching agent; DAgger (Ross et al. 2011).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from coord import seeding
from coord.agents.greedy import GreedyAgent
from coord.partner_env import Episodes, RowEnv, RowStep
from coord.schedules import linear

if TYPE_CHECKING:
    from coord.algos.ppo import PPOState
    from coord.context_env import KitchenRowEnv
    from coord.rollout import Rollout


class KickstartedEnv:
    """The rows of `inner`; `advice` collects what the teacher would do in each, as long as anybody listens."""

    def __init__(self, inner: RowEnv, kitchens: KitchenRowEnv, *, seed: int) -> None:
        """kitchens: the env of kitchens that `inner` is or wraps, at the start of its episodes."""
        self.inner, self.members, self.rows, self.kitchens = inner, inner.members, inner.rows, inner.kitchens
        self.env, self._kitchen_env = kitchens.env, kitchens
        self._kitchen, self._seat = kitchens.learners
        self.teacher = GreedyAgent()
        stream = seeding.derive(seed, "tutor")  # a stream's name decides its numbers
        self.teacher.start(kitchens.env.num_envs, kitchens.env.num_players, stream)
        self.listens = True
        self.advice: list[np.ndarray] = []  # [M * B] actions per tick

    def observe(self) -> Tensor:
        """See `RowEnv.observe`."""
        return self.inner.observe()

    def final_observe(self) -> Tensor:
        """See `RowEnv.final_observe`."""
        return self.inner.final_observe()

    def step(self, act: Tensor) -> RowStep:
        """See `RowEnv.step`."""
        if not self.listens:
            return self.inner.step(act)
        self.advice.append(self.teacher.act(self._kitchen_env.view, self._kitchen, self._seat))
        result = self.inner.step(act)
        ended = np.flatnonzero((result.terminated | result.truncated).numpy())
        if len(ended):
            self.teacher.begin_episode(np.unique(self._kitchen[ended]))
        return result

    def finished(self) -> Episodes:
        """See `RowEnv.finished`."""
        return self.inner.finished()

    def get_state(self) -> dict[str, np.ndarray]:
        """See `RowEnv.get_state`; advice never outlives a rollout."""
        theirs = {f"inner.{k}": v for k, v in self.inner.get_state().items()}
        return theirs | {f"teacher.{k}": v for k, v in self.teacher.get_state().items()}

    def set_state(self, state: Mapping[str, np.ndarray]) -> None:
        """See `RowEnv.set_state`."""
        self.inner.set_state({k[6:]: v for k, v in state.items() if k.startswith("inner.")})
        self.teacher.set_state({k[8:]: v for k, v in state.items() if k.startswith("teacher.")})


class Kickstarting:
    """What the advice adds to PPO: the kickstarting loss."""

    def __init__(self, env: KickstartedEnv, *, weight: float, horizon: int, rng: np.random.Generator) -> None:
        """weight: of the cross-entropy at the start; horizon: env steps over which it falls to 0."""
        self.env, self.weight, self.horizon, self._rng = env, weight, horizon, rng
        env.listens = self.coef(0) > 0

    def coef(self, env_step: int) -> float:
        """Weight at a step."""
        return linear(self.weight, 0.0, self.horizon)(env_step) if self.horizon else 0.0

    def on_rollout(self, state: PPOState, roll: Rollout) -> None:
        """See `Hooks.on_rollout`."""
        self._coef = self.coef(state.env_step)
        self.agreed: list[Tensor] = []
        if self.env.advice:
            self._obs = roll.obs.transpose(0, 1).flatten(1, 2)  # [M, T*B, ...]
            advice = torch.from_numpy(np.stack(self.env.advice)).view(*roll.act.shape)
            self._advice = advice.transpose(0, 1).flatten(1)  # [M, T*B]
            self.env.advice = []
        self.env.listens = self._coef > 0

    def loss(self, state: PPOState) -> Tensor:
        """See `Hooks.extra_loss`: on as many rows as a minibatch has, drawn anew."""
        if not self._coef:
            return torch.zeros((), requires_grad=True)
        members, size = self._advice.shape
        count = max(1, size // state.cfg.num_minibatches)
        rows = torch.from_numpy(self._rng.integers(size, size=(members, count)))
        each = torch.arange(members)[:, None]
        logits, advice = state.net(self._obs[each, rows])[0], self._advice[each, rows]
        self.agreed.append((logits.detach().argmax(-1) == advice).float().mean(1))
        return self._coef * F.cross_entropy(logits.flatten(0, 1), advice.flatten(), reduction="sum") / count

    def on_update(self, state: PPOState, metrics: dict[str, Any]) -> None:
        """See `Hooks.on_update`."""
        if self.agreed:
            metrics["method/agrees_with_teacher"] = torch.stack(self.agreed).mean(0)

    def state_dict(self) -> dict[str, Tensor]:
        """Flat mapping of tensors."""
        return {"rng": torch.from_numpy(seeding.to_bytes(self._rng)), "listens": torch.tensor(self.env.listens)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Inverse of `state_dict`."""
        seeding.from_bytes(self._rng, state["rng"])
        self.env.listens = bool(state["listens"])
