"""Tiny `RowEnv`s whose optimal policy and value are known on paper."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from coord.nets.population import NUM_ACTIONS
from coord.partner_env import Episodes, RowStep


class ToyEnv:
    """Rows see a one-hot cue of `cues` numbers, are paid by `pay(cue, act)` and get the next cue every tick.

    The clock ends the episode of every row after `horizon` ticks. Cues are drawn per member from its own generator.
    """

    def __init__(
        self, pay: Callable[[Tensor, Tensor], Tensor], *, members: int = 1, rows: int = 8, cues: int = 1, horizon: int
    ) -> None:
        self.pay, self.members, self.rows, self.kitchens, self.cues = pay, members, rows, rows, cues
        self.horizon, self.tick = horizon, 0
        self._gens = [torch.Generator().manual_seed(m) for m in range(members)]
        self._draw()
        self.total = torch.zeros(members, rows)
        self.final_cue, self.final_total, self.ended = self.cue, self.total, False

    def _draw(self) -> None:
        self.cue = torch.stack([torch.randint(self.cues, (self.rows,), generator=gen) for gen in self._gens])

    def observe(self) -> Tensor:
        """See `RowEnv.observe`."""
        return torch.nn.functional.one_hot(self.cue, self.cues).float()

    def final_observe(self) -> Tensor:
        """See `RowEnv.final_observe`."""
        return torch.nn.functional.one_hot(self.final_cue if self.ended else self.cue, self.cues).float()

    def step(self, act: Tensor) -> RowStep:
        """See `RowEnv.step`."""
        rew = self.pay(self.cue, act).float()
        self.total = self.total + rew
        self.tick += 1
        self.ended = self.tick % self.horizon == 0
        self._draw()
        if self.ended:
            self.final_cue, self.final_total, self.total = self.cue, self.total, torch.zeros_like(self.total)
            self._draw()
        never = torch.zeros(rew.shape, dtype=torch.bool)
        return RowStep(rew, torch.zeros_like(rew), never, torch.full_like(never, self.ended))

    def finished(self) -> Episodes:
        """See `RowEnv.finished`."""
        member = np.repeat(np.arange(self.members), self.rows)
        none = np.full(member.shape, -1)
        return Episodes(member, self.final_total.reshape(-1).numpy(), none, none)

    def get_state(self) -> dict[str, np.ndarray]:
        """Not needed by these tests."""
        raise NotImplementedError

    def set_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Not needed by these tests."""
        raise NotImplementedError


def always_one(cue: Tensor, act: Tensor) -> Tensor:
    """One state, reward 1 per tick whatever is done: V = 1 / (1 - gamma) if time limits do not count."""
    return torch.ones(act.shape)


def repeat_the_cue(cue: Tensor, act: Tensor) -> Tensor:
    """Reward 1 for doing the action that is shown (`cues=NUM_ACTIONS`)."""
    return (act == cue).float()


def one_good_arm(cue: Tensor, act: Tensor) -> Tensor:
    """A bandit: the last action pays."""
    return (act == NUM_ACTIONS - 1).float()
