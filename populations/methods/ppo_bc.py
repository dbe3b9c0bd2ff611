"""PPO with a human model (PPO_BC, Carroll et al. 2019): the partner is a clone of the training half of the human games.

At first the learner also plays with itself, because next to a weak clone it would hardly ever see a delivery: the share
of episodes in self-play is 1 until `sp_until`, then falls linearly to 0 at `sp_end`; both 0 for none.

Deviations: in self-play the learner learns from one seat, the other being a copy of its present self; shares hold per
kitchen and episode by systematic draws. `partners=` may name other clones of people instead of `bc_train`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from coord.algos.ppo import Hooks, PPOState
from coord.errors import UserError
from coord.evaluation.agents import load_training_partners
from coord.limits import StepsOrNone
from coord.partner_env import LivePartners, MixedPartners, PartnerEnv, as_pool
from coord.schedules import Schedule
from populations.training import Setup, Training, final_agents, make_kitchens, make_learners, partner_env


@dataclass(frozen=True, kw_only=True)
class PPOBCConfig:
    """When self-play ends."""

    sp_until: StepsOrNone = 200_000  # steps in self-play only
    sp_end: StepsOrNone = 1_200_000  # steps after which every episode is with the clone

    def __post_init__(self) -> None:
        if not 0 <= self.sp_until <= self.sp_end:
            raise UserError(f"sp_until={self.sp_until}, sp_end={self.sp_end}: must be 0 <= sp_until <= sp_end")


Config = PPOBCConfig


def make(cfg: PPOBCConfig, setup: Setup) -> Training:
    """See `populations.training.TrainingMethod`."""
    clones = setup.partners or tuple(load_training_partners(["bc_train"], setup.layout, setup.rules))
    setup = replace(setup, partners=clones, trained_with=setup.trained_with or ("bc_train",))
    kitchens = make_kitchens(setup)
    state = make_learners(setup, kitchens)
    partners = MixedPartners([LivePartners(state.net), as_pool(clones)])
    env = partner_env(setup, kitchens, partners, state.net.obs_kind)
    share = self_play_share(cfg)
    set_share(env, share(0))
    env.redraw()

    def on_update(state: PPOState, metrics: dict[str, Any]) -> None:
        set_share(env, share(state.env_step))
        metrics["method/self_play_share"] = share(state.env_step)

    return Training(state, env, lambda: final_agents(setup, state, kitchens), Hooks(on_update=on_update))


def self_play_share(cfg: PPOBCConfig) -> Schedule:
    """Share of episodes in self-play by env step."""
    begin = min(cfg.sp_until, cfg.sp_end - 1)  # a schedule's steps increase
    return Schedule((begin, cfg.sp_end), (1.0, 0.0))


def set_share(env: PartnerEnv, share: float) -> None:
    """Row 0 of the pool is the learner; the clones share the rest equally."""
    env.probs[:] = np.r_[share, np.full(env.partners.size - 1, (1 - share) / (env.partners.size - 1))]
