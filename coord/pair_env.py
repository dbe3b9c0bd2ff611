"""Two different learners in every kitchen: one who prefers some behaviour, and one who makes the best of it.

The first of a pair is paid a hidden utility, r_w = c r + w . phi, with r the task reward and phi the counts of its own
events in the tick; the second is paid the task reward and so becomes an approximate best response to the first (HSP,
Yu et al. 2023; behaviour-preferring partners of ZSC-Eval). C pairs train at once as M = 2 C members: member 2 i has
utility i, member 2 i + 1 is its partner. Each learner has one row per kitchen; who has which seat alternates from
kitchen to kitchen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from coord.errors import unknown
from coord.overcooked import EVENTS, OvercookedVectorEnv
from coord.partner_env import Episodes, KitchenRows, RowStep


@dataclass(frozen=True)
class Utility:
    """What a behaviour-preferring agent is paid for."""

    weights: Mapping[str, float] = field(default_factory=dict)  # event -> points each time it causes it
    task: float = 1.0  # weight c of the task reward

    def __post_init__(self) -> None:
        for name in self.weights:
            if name not in EVENTS:
                raise unknown("event", name, EVENTS)

    def vector(self) -> np.ndarray:
        """float32 [len(EVENTS)]."""
        return np.array([self.weights.get(name, 0.0) for name in EVENTS], np.float32)


class PairEnv(KitchenRows):
    """A `RowEnv` of C pairs; kitchens of pair i are the consecutive block [i N, (i+1) N)."""

    def __init__(self, env: OvercookedVectorEnv, utilities: Sequence[Utility], obs_kind: str = "index") -> None:
        """env: C N kitchens of two seats, N even would balance the seats; utilities: one per pair.

        Raises: ValueError unless every kitchen has two seats and the pairs can share them equally.
        """
        if env.num_players != 2:
            raise ValueError(f"pairs need kitchens of two seats, got {env.num_players}")
        super().__init__(env, len(utilities), obs_kind)
        self.pairs, self.members, self.rows = len(utilities), 2 * len(utilities), self.kitchens
        self.weights = np.stack([utility.vector() for utility in utilities])  # [C, events]
        self.task = np.array([utility.task for utility in utilities], np.float32)  # [C]
        # Seat of role r (0 paid by utility, 1 its partner) in kitchen n, and the kitchen, both [C, 2, N].
        kitchen = np.arange(env.num_envs).reshape(self.pairs, 1, self.rows)
        self._seat = (kitchen % self.rows + np.arange(2)[:, None]) % 2
        self._kitchen = np.broadcast_to(kitchen, self._seat.shape)
        self._before = env.event_counts()  # [C N, P, events] as of the last tick
        self._ended = np.empty(0, np.int64)

    def observe(self) -> Tensor:
        """See `RowEnv.observe`."""
        return self._rows_of(self._encode(final=False))

    def final_observe(self) -> Tensor:
        """See `RowEnv.final_observe`."""
        return self._rows_of(self._encode(final=True))

    def _rows_of(self, obs: np.ndarray) -> Tensor:
        mine = torch.from_numpy(obs[self._kitchen, self._seat])  # [C, 2, N, ...]
        return mine.flatten(0, 1)

    def step(self, act: Tensor) -> RowStep:
        """See `RowEnv.step`."""
        joint = np.empty((self.env.num_envs, 2), np.int64)
        joint[self._kitchen, self._seat] = act.view(self.pairs, 2, self.rows).numpy()
        result, self._ended = self._advance(joint)
        rew = np.repeat(result.rew.reshape(self.pairs, 1, self.rows), 2, axis=1)  # [C, 2, N]
        rew[:, 0] = self.task[:, None] * rew[:, 0] + self._utility()
        shaped = result.shaped_rew[self._kitchen, self._seat]
        ended = (np.repeat(v.reshape(self.pairs, 1, -1), 2, axis=1) for v in (result.terminated, result.truncated))
        return RowStep(*(torch.from_numpy(v).flatten(0, 1) for v in (rew, shaped, *ended)))

    def _utility(self) -> np.ndarray:
        """[C, N] hidden points of the last tick."""
        gained = self.env.event_counts(final=True) - self._before
        self._before = self.env.event_counts()
        mine = gained[self._kitchen[:, 0], self._seat[:, 0]]  # [C, N, events]
        return np.einsum("cne,ce->cn", mine.astype(np.float32), self.weights)

    def finished(self) -> Episodes:
        """See `RowEnv.finished`; `ret` is the task return for both of a pair."""
        ret = self.env.episode_return(final=True)[self._ended]
        pair = self._ended // self.rows
        seats = self._seat[:, :, 0][pair] ^ (self._ended % self.rows % 2)[:, None]  # [n, 2]
        member = (2 * pair[:, None] + np.arange(2)).ravel()
        return Episodes(member, np.repeat(ret, 2), np.full(len(member), -1), seats.ravel())

    def set_state(self, state: Mapping[str, np.ndarray]) -> None:
        """See `RowEnv.set_state`."""
        super().set_state(state)
        self._before = self.env.event_counts()
