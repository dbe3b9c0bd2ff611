"""Egos by PPO alone: in self-play, or with partners drawn uniformly from a pool (`method=ppo`).

With a pool of FCP this is stage 2 of fictitious co-play (Strouse et al. 2021): max E_{p ~ U(pool)} J(ego, p), the pool
frozen; with `bc_train` as the only partner it is PPO with a human model (Carroll et al. 2019) without the anneal.
"""

from __future__ import annotations

from dataclasses import dataclass

from populations.training import Setup, Training, final_agents, self_play, with_partners


@dataclass(frozen=True, kw_only=True)
class UniformConfig:
    """No hyper-parameters beside PPO's."""


Config = UniformConfig


def make(cfg: UniformConfig, setup: Setup) -> Training:
    """See `populations.training.TrainingMethod`."""
    state, env = with_partners(setup) if setup.partners else self_play(setup)
    return Training(state, env, lambda: final_agents(setup, state, env.env))
