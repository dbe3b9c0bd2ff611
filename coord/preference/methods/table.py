"""The methods by name, and what each changes in the loop."""

from __future__ import annotations

from dataclasses import dataclass

from coord.algos.ppo_gaussian import PPOContinuousConfig
from coord.preference.config import PreferConfig
from coord.preference.learners.sac import Method
from coord.preference.methods import ours, pebble, qpa, rune, surf
from coord.preference.methods.mrn import bilevel
from coord.preference.methods.mrn.mrn import MRNConfig


@dataclass(frozen=True, kw_only=True)
class TrueRewardConfig:
    """SAC on the true reward has no fields of its own."""


@dataclass(frozen=True, kw_only=True)
class OracleConfig:
    """The reward that the teacher judges by, given to the learner: no fields of its own."""


BOTH = ("sac", "ppo")
METHODS: dict[str, Method] = {
    "sac": Method(TrueRewardConfig, learns_reward=False),
    "true_reward": Method(OracleConfig, learns_reward=False, learners=BOTH),
    "prefppo": Method(PPOContinuousConfig, on_policy=True),
    "pebble": Method(pebble.PebbleConfig, instead=pebble.extra_step, learners=BOTH),
    "surf": Method(surf.SurfConfig, learners=BOTH),
    "rune": Method(rune.RuneConfig, bonus=rune.bonus),
    "mrn": Method(MRNConfig, create=bilevel.create, instead=bilevel.step, learners=BOTH),
    "qpa": Method(qpa.QPAConfig, recent=qpa.recent),
    "ours": Method(
        ours.OursConfig,
        recent=ours.recent,
        create=bilevel.create_optional,
        instead=bilevel.step,
        renews_critic=ours.renews_critic,
    ),
}


def name_of(cfg: PreferConfig) -> str:
    """The name of the configured method."""
    return next(name for name, method in METHODS.items() if type(cfg.method) is method.config)
