"""Egos with a memory (`method=recurrent`): recurrent PPO in self-play, or with partners drawn uniformly from a pool.

A plain recurrent policy that meets a pool comes to infer how able its partner is, if it can reallocate work ("Partner
modelling emerges in recurrent agents", NeurIPS 2025): a baseline that every explicit model of partners has to beat.

Deviations: see `coord.algos.ppo_recurrent`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from coord.algos import ppo_recurrent
from coord.errors import UserError
from coord.limits import Count, Width
from coord.partner_env import PartnerEnv, SelfPlayEnv, as_pool
from populations.training import Setup, Training, final_agents, make_kitchens, make_learners, partner_env


@dataclass(frozen=True, kw_only=True)
class RecurrentConfig:
    """What the memory adds to PPO's hyper-parameters."""

    memory: Width = 64  # width of the GRU between the dense layers and the heads
    chunk_len: Count = 25  # ticks through which gradients flow back; a divisor of algo.rollout_len

    def __post_init__(self) -> None:
        if self.memory < 1:
            raise UserError(f"memory={self.memory}: a recurrent ego needs at least 1")


Config = RecurrentConfig


def make(cfg: RecurrentConfig, setup: Setup) -> Training:
    """See `populations.training.TrainingMethod`."""
    kitchens = make_kitchens(setup)
    state = make_learners(setup, kitchens, memory=cfg.memory)
    env: SelfPlayEnv | PartnerEnv
    if setup.partners:
        env = partner_env(setup, kitchens, as_pool(setup.partners), state.net.obs_kind)
    else:
        env = SelfPlayEnv(kitchens, setup.members, state.net.obs_kind)
    memory = ppo_recurrent.RecurrentMemory(state, env, cfg.chunk_len)
    loop = partial(ppo_recurrent.train, memory)
    return Training(state, env, lambda: final_agents(setup, state, kitchens), extra=memory, loop=loop)
