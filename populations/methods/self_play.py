"""Self-play: M independent agents, each with itself on all seats; the final agents are the pool.

One update trains all members over the population axis (`coord.algos.ppo`); they share nothing but the clock.
"""

from __future__ import annotations

from dataclasses import dataclass

from populations.training import Setup, Training, final_agents, self_play


@dataclass(frozen=True, kw_only=True)
class SPConfig:
    """Self-play has no hyper-parameters beside PPO's."""


Config = SPConfig


def make(cfg: SPConfig, setup: Setup) -> Training:
    """See `populations.training.TrainingMethod`."""
    state, env = self_play(setup)
    return Training(state, env, lambda: final_agents(setup, state, env.env))
