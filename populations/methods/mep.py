"""Maximum entropy population (Zhao et al. 2023).

Stage 1 (`coord population method=mep`): self-play of M members, each paid -alpha log pbar(a|s) on top of the task
reward, pbar = (1/M) sum_i pi_i being the mean policy of the population: a member earns by doing what the others would
not do. In expectation this adds alpha H(pbar(.|s)) to the return; H(pbar) is a lower bound of the population diversity
PD(s) = mean_i H(pi_i) + mean_{i,j} KL(pi_i || pi_j), which is logged as `method/diversity`. Start, middle and final
agent of each member make the pool (see `populations.methods.fcp`).

Stage 2 (`coord train method=mep partners=<pool>`): an ego trains with partner i with probability
p(i) ~ rank(1 / E[R(ego, i)])^beta, the partner it does worst with having the highest rank.

Deviations: pbar is that of the row's own state (in the authors' code every kitchen shares the probabilities of the
first); the returns that stage 2 ranks by are running means over training play, both seats together, not separate games
before each phase; draws are per episode and kitchen.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from coord.algos.ppo import Hooks, PPOState
from coord.errors import UserError
from coord.limits import NotNegative
from coord.nets.population import PopulationNet
from coord.partner_env import PartnerEnv
from coord.rollout import Rollout
from populations.methods.fcp import FictitiousCoPlay
from populations.partners.partner_returns import PartnerReturns
from populations.training import Setup, Training, TrainingMethod, final_agents, self_play, with_partners

DIVERSITY_ROWS = 512  # states on which the diversity is measured


@dataclass(frozen=True, kw_only=True)
class MEPConfig:
    """Both stages; `coord population` uses alpha, `coord train` beta."""

    alpha: NotNegative = 0.01  # stage 1: weight of -log of the mean policy, in points of task reward
    beta: NotNegative = 3.0  # stage 2: exponent of the ranks, 0 draws uniformly

    def __post_init__(self) -> None:
        for name in ("alpha", "beta"):
            if getattr(self, name) < 0:
                raise UserError(f"{name}={getattr(self, name)}: must not be negative")


# ------------------------------------------------------------------------------------------------- stage 1


def make_pool(cfg: MEPConfig, setup: Setup) -> Training:
    """Stage 1; see `populations.training.Make`."""
    state, env = self_play(setup)
    history = FictitiousCoPlay(setup.members)
    history.observe(state)
    bonus = EntropyBonus(cfg.alpha)

    def on_update(state: PPOState, metrics: dict[str, Any]) -> None:
        history.observe(state)
        metrics |= {"method/bonus": bonus.mean, "method/diversity": bonus.diversity}

    hooks = Hooks(on_rollout=bonus.on_rollout, on_update=on_update)
    return Training(state, env, lambda: history.members(setup, state, env.env), hooks, history)


class EntropyBonus:
    """Adds the bonus to a rollout; keeps its mean and the diversity of the last rollout for the log."""

    def __init__(self, alpha: float) -> None:
        self.alpha, self.mean, self.diversity = alpha, torch.zeros(1), math.nan

    def on_rollout(self, state: PPOState, roll: Rollout) -> None:
        """See `Hooks.on_rollout`."""
        bonus = -self.alpha * log_mean_policy(state.net, roll)
        roll.rew += bonus
        self.mean = bonus.mean((0, 2))
        obs = roll.obs.flatten(0, 2)
        stride = max(1, len(obs) // DIVERSITY_ROWS)
        self.diversity = float(population_diversity(all_log_probs(state.net, obs[::stride])).mean())


@torch.no_grad()
def all_log_probs(net: PopulationNet, obs: Tensor) -> Tensor:
    """log pi_m(.|s) of every member on every state: obs [R, ...] -> [M, R, 6]."""
    every = obs.expand(net.members, *obs.shape).contiguous()
    return net(every)[0].log_softmax(-1)


@torch.no_grad()
def log_mean_policy(net: PopulationNet, roll: Rollout) -> Tensor:
    """log pbar(a|s) of every action taken, [T, M, B]; each row in its own state.

    roll: just collected by `net`, so that a member's log-probability of its own action is `roll.logp`. The others
    follow in M - 1 batched passes, in each of which all members answer for the rows of one neighbour.
    """
    members = net.members
    obs = roll.obs.transpose(0, 1).flatten(1, 2)  # [M, T*B, ...]
    act = roll.act.transpose(0, 1).flatten(1, 2)
    total = roll.logp.transpose(0, 1).flatten(1, 2).exp()
    for shift in range(1, members):
        logits = net(obs.roll(shift, 0))[0]  # member j on the rows of member j - shift
        taken = logits.gather(2, act.roll(shift, 0)[..., None])[..., 0] - logits.logsumexp(-1)
        total += taken.exp().roll(-shift, 0)
    return (total / members).log().view(members, len(roll.act), -1).transpose(0, 1)


def population_diversity(logp: Tensor) -> Tensor:
    """PD(s) = mean_i H(pi_i) + mean_{i,j} KL(pi_i || pi_j) of log-probabilities [M, R, A] -> [R] (paper, eq. 3).

    mean_i H_i + mean_ij KL_ij = -mean_ij sum_a pi_i log pi_j, the mean cross-entropy.
    """
    return -(logp.exp().mean(0) * logp.mean(0)).sum(-1)


# ------------------------------------------------------------------------------------------------- stage 2


def make_ego(cfg: MEPConfig, setup: Setup) -> Training:
    """Stage 2; see `populations.training.Make`."""
    state, env = with_partners(setup)
    returns = PartnerReturns(setup.members, env.partners.size)

    def on_update(state: PPOState, metrics: dict[str, Any]) -> None:
        prioritise(env, returns, cfg.beta)
        metrics["method/max_prob"] = env.probs.max(1)

    hooks = Hooks(on_episodes=returns.observe, on_update=on_update)
    return Training(state, env, lambda: final_agents(setup, state, env.env), hooks, returns)


def prioritise(env: PartnerEnv, returns: PartnerReturns, beta: float) -> None:
    """Sets the probabilities of the episodes to come."""
    env.probs[:] = rank_probabilities(returns.known(), beta)


def rank_probabilities(returns: np.ndarray, beta: float) -> np.ndarray:
    """p(i) ~ rank(1 / returns_i)^beta in each row of returns [M, n]; the lowest return has rank n.

    Equal returns share the mean of their ranks.
    """
    below = (returns[:, None, :] < returns[:, :, None]).sum(-1)
    equal = (returns[:, None, :] == returns[:, :, None]).sum(-1)
    rank = returns.shape[1] - below - (equal - 1) / 2
    weight = rank**beta
    return weight / weight.sum(1, keepdims=True)


POOL = TrainingMethod(MEPConfig, make_pool)
EGO = TrainingMethod(MEPConfig, make_ego)
