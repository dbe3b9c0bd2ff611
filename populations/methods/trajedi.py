"""Trajectory diversity (TrajeDi, Lupu et al. 2021): self-play of M members that also differ in what they do over time.

max sum_i J(pi_i) + alpha JSD_gamma(pi_1..pi_M), with the Jensen-Shannon divergence of trajectories under an
action-discounting kernel: for every tick t of a trajectory of member i,

    log delta_j,t = sum_t' gamma^|t - t'| log pi_j(a_t' | s_t'),    delta^_t = mean_j delta_j,t,
    JSD_gamma = mean_i E_{tau ~ pi_i} mean_t f_i,t,                 f_i,t = log delta_i,t - log delta^_t <= log M;

gamma = 0 compares single actions, gamma = 1 whole trajectories.

Computed over the population axis: for every minibatch a few rows of each member's rollout are drawn, [T, M, R]; one
forward pass puts all members on all of them, log pi [M', T, M, R]; one product with the kernel [T, T] gives log delta.
The gradient reaches every member: through f directly, and through the trajectories that a member chooses to play, for
which each log pi_i(a_t'|s_t') is weighted by the sum of f_i,t over the ticks t that the kernel ties to it, less the
same of the member's other rows. This is the gradient of the expectation, except that for gamma < 1 an action's effect
on states that the kernel no longer reaches is left out.

Start, middle and final agent of each member make the pool (see `populations.methods.fcp`), for egos to train with.

Deviations: trajectories are the ticks of a rollout, cut at the ends of episodes, which the kernel forgets long before;
no common best response trains along, since egos train afterwards.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from coord import seeding
from coord.algos.ppo import Hooks, PPOState
from coord.errors import UserError
from coord.limits import Count, NotNegative, Share
from coord.rollout import Rollout
from populations.methods.fcp import FictitiousCoPlay
from populations.training import Setup, Training, self_play

NEGLIGIBLE = 0.01  # a tick that the kernel weighs less has no share in an action


@dataclass(frozen=True, kw_only=True)
class TrajeDiConfig:
    """Weight and kernel of the divergence."""

    alpha: NotNegative = 0.1  # weight of the divergence beside the loss of PPO
    gamma: Share = 0.5  # action discounting: 0 compares single actions, 1 whole trajectories
    trajectories: Count = 2  # rows of each member's rollout per minibatch

    def __post_init__(self) -> None:
        if self.alpha < 0:
            raise UserError(f"alpha={self.alpha}: must not be negative")


Config = TrajeDiConfig


def make(cfg: TrajeDiConfig, setup: Setup) -> Training:
    """See `populations.training.TrainingMethod`."""
    state, env = self_play(setup)
    memory = TrajeDiState(FictitiousCoPlay(setup.members), setup.generator("trajedi"))
    memory.history.observe(state)
    divergence = Divergence(cfg, memory.rng)

    def on_update(state: PPOState, metrics: dict[str, Any]) -> None:
        memory.history.observe(state)
        metrics["method/jsd"] = float(np.mean(divergence.seen))

    hooks = Hooks(on_rollout=divergence.on_rollout, extra_loss=divergence.loss, on_update=on_update)
    return Training(state, env, lambda: memory.history.members(setup, state, env.env), hooks, memory)


@dataclass
class TrajeDiState:
    """What survives a kill."""

    history: FictitiousCoPlay
    rng: np.random.Generator  # which rows are compared

    def state_dict(self) -> dict[str, Tensor]:
        """Flat mapping of tensors."""
        return self.history.state_dict() | {"rng": torch.from_numpy(seeding.to_bytes(self.rng))}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Inverse of `state_dict`."""
        self.history.load_state_dict(state)
        seeding.from_bytes(self.rng, state["rng"])


class Divergence:
    """The extra loss of every minibatch, from rows of the rollout that is being learned from."""

    def __init__(self, cfg: TrajeDiConfig, rng: np.random.Generator) -> None:
        self.cfg, self.rng = cfg, rng
        self.seen: list[float] = []  # JSD of the minibatches since the last rollout

    def on_rollout(self, state: PPOState, roll: Rollout) -> None:
        """See `Hooks.on_rollout`."""
        self.roll, self.seen = roll, []

    def loss(self, state: PPOState) -> Tensor:
        """-alpha JSD in the sense of `Hooks.extra_loss`: its gradient is that of the divergence."""
        _, members, rows = self.roll.act.shape
        row = torch.from_numpy(self.rng.choice(rows, min(self.cfg.trajectories, rows), replace=False))
        obs, act = self.roll.obs[:, :, row], self.roll.act[:, :, row]  # [T, M, R, ...]
        every = obs.flatten(0, 2).expand(members, -1, *obs.shape[3:]).contiguous()
        logp = state.net(every)[0].log_softmax(-1).view(members, *act.shape, -1)
        taken = logp.gather(-1, act.expand(members, -1, -1, -1)[..., None])[..., 0]  # [M', T, M, R]
        ended = (self.roll.truncated | self.roll.terminated)[:, :, row]
        jsd, surrogate = divergence(taken, kernel(ended, self.cfg.gamma))
        self.seen.append(float(jsd))
        # The members' losses are summed, the divergence is a mean over members.
        return -self.cfg.alpha * members * surrogate


def kernel(ended: Tensor, gamma: float) -> Tensor:
    """gamma^|t - t'| within an episode, 0 across its end: ended [T, M, R] -> [M, R, T, T]."""
    steps = len(ended)
    distance = (torch.arange(steps)[:, None] - torch.arange(steps)).abs()
    episode = ended.cumsum(0) - ended.long()  # the tick that ends an episode still belongs to it
    same = (episode[:, None] == episode[None]).permute(2, 3, 0, 1)
    return gamma ** distance.float() * same  # 0^0 = 1


def divergence(taken: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """JSD_gamma, and a scalar with its gradient.

    taken [M', T, M, R]: log pi_m'(a|s) on the trajectories of member m; weight [M, R, T, T]: `kernel`.
    """
    members = taken.shape[0]
    delta = torch.einsum("mrts,jsmr->jtmr", weight, taken)
    own = torch.arange(members)
    f = delta[own, :, own].transpose(0, 1) - (delta.logsumexp(0) - math.log(members))  # [T, M, R]
    within = (weight > NEGLIGIBLE).to(f.dtype)
    credit = torch.einsum("mrts,tmr->smr", within, f.detach())
    if f.shape[2] > 1:  # the other trajectories of the same member: what is independent of the action needs no mean
        total = credit.mean(0)
        credit = credit - (total.sum(-1, keepdim=True) - total) / (f.shape[2] - 1)
    chosen = taken[own, :, own].transpose(0, 1)
    return f.mean().detach(), (f + credit * chosen).mean()
