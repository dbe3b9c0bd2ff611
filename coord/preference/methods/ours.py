"""Our recipe: what made most of few labels, together.

Observations divided by their deviation before the reward model reads them, the corrected bilevel step (`meta_every`),
more labels in the first sessions than in the last, layer normalisation in the critic. What can be added: a replay that
fits the queries (QPA, `recent_episodes`), more updates per step (`updates_per_step`) with resets of the critic
(PoLiCER, Nikishin et al. 2022). The settings of learner, reward model and sessions are in configs/prefer/ours.yaml;
README.md has what was tried and left out.

Deviations: the parts are taken as their own modules implement them.
"""

from __future__ import annotations

from dataclasses import dataclass

from coord.limits import CountOrNone, NotNegative, StepsOrNone
from coord.preference.methods import qpa
from coord.preference.methods.method import PreferenceMethod, ReplayLearner
from coord.preference.methods.mrn import bilevel
from coord.preference.methods.mrn.config import MRNConfig


@dataclass(frozen=True, kw_only=True)
class OursConfig:
    """Our combination's own settings; those of the parts are in configs/prefer/ours.yaml."""

    # half of every batch comes from as many episodes while labels remain, 10..60; 0: from all
    recent_episodes: CountOrNone = 0
    reset_critic: bool = False  # a new critic and reset_updates gradient steps after every session
    meta_every: StepsOrNone = 1000  # env steps between corrected bilevel steps of the reward model; 0: none
    meta_weight: NotNegative = 0.1  # norm of the bilevel gradient, as a share of the supervised one's


def recent(run: ReplayLearner) -> int | None:
    """As `qpa.recent`, if asked for."""
    return qpa.recent(run) if run.own.recent_episodes else None


def renews_critic(run: ReplayLearner) -> bool:
    """Whether every session starts a new critic."""
    return run.own.reset_critic


def bilevel_steps(config: OursConfig) -> MRNConfig | None:
    """Corrected ones, if any."""
    if not config.meta_every:
        return None
    return MRNConfig(form="corrected", every=config.meta_every, meta_weight=config.meta_weight)


def create(run: ReplayLearner) -> bilevel.MRN | None:
    """What the method remembers."""
    return bilevel.create(run, bilevel_steps(run.own))


METHOD = PreferenceMethod(
    OursConfig,
    recent=recent,
    create=create,
    instead=bilevel.step,
    renews_critic=renews_critic,
    bilevel=bilevel_steps,
)
