"""Unsupervised partner design (UPD, Ruhdorfer et al. 2026): partners of many kinds without a population.

A partner is a noisy copy of the learner: (1 - eps) pi_ego + eps habit, eps ~ U(0, 1); the habit is uniform, or with
probability `bias_prob` drawn from a Dirichlet distribution over the actions. Candidates are ranked by learnability, the
variance of the learner's returns with them: a partner with whom games go sometimes well and sometimes badly is one to
learn from. Every `interval` steps the `kept` best stay and all others are drawn anew.

Deviations: candidates are judged by training play (a running variance, see `populations.partners.partner_returns`),
for which a
share `explore` of the episodes is played with those not yet kept, instead of separate roll-outs; each learner has
candidates of its own. The authors' budget and network are not known to us; `preset=published` borrows E3T's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from coord import seeding
from coord.agents.views import KitchenView
from coord.algos.ppo import Hooks, PPOState
from coord.errors import UserError
from coord.limits import Count, Positive, Share, Steps
from coord.nets.population import PopulationNet
from coord.partner_env import LivePartners, PartnerEnv
from coord.types import NUM_ACTIONS
from populations.partners.partner_returns import PartnerReturns
from populations.training import Setup, Training, final_agents, make_kitchens, make_learners, partner_env


@dataclass(frozen=True, kw_only=True)
class UPDConfig:
    """How partners are drawn and chosen."""

    bias_prob: Share = 0.5  # of a habit that prefers some actions
    concentration: Positive = 1.0  # of the Dirichlet distribution; smaller is more one-sided
    candidates: Count = 64  # partners of a learner at a time
    kept: Count = 32  # of them that survive a selection
    interval: Steps = 100_000  # steps between selections
    explore: Share = 0.25  # share of episodes with candidates that were not kept

    def __post_init__(self) -> None:
        if not 0 < self.kept < self.candidates:
            raise UserError(f"kept={self.kept}, candidates={self.candidates}: must be 0 < kept < candidates")
        if self.interval < 1 or self.concentration <= 0:
            raise UserError(f"interval={self.interval}, concentration={self.concentration}: must be positive")


Config = UPDConfig


def make(cfg: UPDConfig, setup: Setup) -> Training:
    """See `populations.training.TrainingMethod`."""
    kitchens = make_kitchens(setup)
    state = make_learners(setup, kitchens)
    table = PartnerCandidates(cfg, setup.members, setup.generator("upd"))
    env = partner_env(setup, kitchens, NoisyCopies(state.net, table), state.net.obs_kind)
    curriculum = Curriculum(table, env)
    hooks = Hooks(on_episodes=table.returns.observe, on_update=curriculum.on_update)
    return Training(state, env, lambda: final_agents(setup, state, kitchens), hooks, table)


class PartnerCandidates:
    """The partners of every learner: noise [M, K], habits [M, K, 6], what was earned with them, and who is kept."""

    def __init__(self, cfg: UPDConfig, members: int, rng: np.random.Generator) -> None:
        self.cfg, self.rng = cfg, rng
        shape = (members, cfg.candidates)
        self.eps = np.zeros(shape, np.float32)
        self.habit = np.zeros((*shape, NUM_ACTIONS), np.float32)
        self.kept = np.zeros(shape, np.bool_)
        self.returns = PartnerReturns(*shape)
        self.draw(np.ones(shape, np.bool_))

    def draw(self, which: np.ndarray) -> None:
        """Draws the candidates `which` [M, K] anew."""
        count = int(which.sum())
        self.eps[which] = self.rng.random(count)
        habit = self.rng.dirichlet(np.full(NUM_ACTIONS, self.cfg.concentration), count)
        habit[self.rng.random(count) >= self.cfg.bias_prob] = 1 / NUM_ACTIONS
        self.habit[which] = habit
        self.returns.forget(which)

    def select(self) -> np.ndarray:
        """Keeps the most learnable of each learner and draws the others anew; [M, K] which those are."""
        learnable = np.where(self.returns.count > 1, self.returns.var, -1.0)
        order = np.argsort(-learnable, axis=1, kind="stable")
        self.kept[:] = False
        np.put_along_axis(self.kept, order[:, : self.cfg.kept], True, axis=1)
        self.draw(~self.kept)
        return ~self.kept

    def probabilities(self) -> np.ndarray:
        """[M, K] for the episodes to come: uniform before the first selection."""
        kept, explore = self.cfg.kept, self.cfg.explore
        if not self.kept.any():
            return np.full(self.kept.shape, 1 / self.cfg.candidates)
        return np.where(self.kept, (1 - explore) / kept, explore / (self.cfg.candidates - kept))

    def state_dict(self) -> dict[str, Tensor]:
        """Flat mapping of tensors."""
        own = {name: torch.from_numpy(getattr(self, name).copy()) for name in ("eps", "habit", "kept")}
        rng = {"rng": torch.from_numpy(seeding.to_bytes(self.rng))}
        return own | rng | {f"returns.{name}": tensor for name, tensor in self.returns.state_dict().items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Inverse of `state_dict`."""
        for name in ("eps", "habit", "kept"):
            getattr(self, name)[:] = state[name].numpy()
        seeding.from_bytes(self.rng, state["rng"])
        self.returns.load_state_dict({k[8:]: v for k, v in state.items() if k.startswith("returns.")})


class NoisyCopies:
    """`Partners`: row k is candidate k of the kitchen's learner, as it was when the episode began."""

    def __init__(self, net: PopulationNet, table: PartnerCandidates) -> None:
        self.table, self.size = table, table.cfg.candidates
        self.live = LivePartners(net)

    def start(self, num_envs: int, num_players: int, seed: int) -> None:
        """See `Partners.start`."""
        self.live.start(num_envs, num_players, seed)
        self._per_member = num_envs // len(self.table.eps)
        self._fresh = np.ones(num_envs, np.bool_)

    def begin_episode(self, kitchens: np.ndarray) -> None:
        """See `Partners.begin_episode`."""
        self._fresh[kitchens] = True

    def act(self, view: KitchenView, kitchens: np.ndarray, seats: np.ndarray, partner: np.ndarray) -> np.ndarray:
        """See `Partners.act`; in kitchens of more seats all partners have the noise of the last."""
        fresh = self._fresh[kitchens]
        at, row = kitchens[fresh], (kitchens[fresh] // self._per_member, partner[fresh])
        self.live.eps[at], self.live.habit[at] = self.table.eps[row], self.table.habit[row]
        self._fresh[kitchens] = False
        return self.live.act(view, kitchens, seats, partner)

    def get_state(self) -> dict[str, np.ndarray]:
        """See `Partners.get_state`."""
        return self.live.get_state() | {"fresh": self._fresh.copy()}

    def set_state(self, state: Mapping[str, np.ndarray]) -> None:
        """See `Partners.set_state`."""
        self.live.set_state(state)
        self._fresh[:] = state["fresh"]


class Curriculum:
    """Selects candidates when an interval has passed."""

    def __init__(self, table: PartnerCandidates, env: PartnerEnv) -> None:
        self.table, self.env = table, env

    def on_update(self, state: PPOState, metrics: dict[str, Any]) -> None:
        """See `Hooks.on_update`."""
        interval, steps = self.table.cfg.interval, state.cfg.rollout_len * self.env.kitchens
        if state.env_step // interval > (state.env_step - steps) // interval:
            self.select()
        kept = np.where(self.table.kept, self.table.returns.var, np.nan)
        metrics["method/learnability"] = np.nanmean(kept, 1) if self.table.kept.any() else np.nan
        metrics["method/noise"] = (self.table.eps * self.env.probs).sum(1)

    def select(self) -> None:
        """Selects; an episode that runs with a partner who is gone counts for nobody (`Episodes.partner` is -1)."""
        gone = self.table.select()
        self.env.probs[:] = self.table.probabilities()
        member = np.arange(self.env.env.num_envs)[:, None] // self.env.kitchens
        running = self.env.partner
        running[(running >= 0) & gone[member, running]] = -1
