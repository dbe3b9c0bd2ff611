"""SURF: pseudo-labels for unlabelled pairs and temporal crops (Park, Seo, Shin, Lee, Abbeel and Lee 2022).

Every session also draws `unlabelled_per_label` uniform pairs per query; the reward model labels those it is sure of by
itself (`reward.pseudo_threshold`, `reward.unlabelled_ratio`) and learns on random crops of segments that are stored
`reward.crop_margin` steps longer at both ends. Those options belong to the reward model and are set by
configs/prefer/surf.yaml. Everything else is PEBBLE.

Deviations: those of `coord.preference.reward.model`; every session draws its unlabelled pairs anew from the episodes
that the pool holds, instead of adding to those of earlier sessions.
"""

from __future__ import annotations

from dataclasses import dataclass

from coord.limits import Count
from coord.preference.methods.method import PreferenceMethod


@dataclass(frozen=True, kw_only=True)
class SurfConfig:
    """Unlabelled pairs; the other settings are the reward model's (configs/prefer/surf.yaml)."""

    unlabelled_per_label: Count = 10  # unlabelled pairs per query, 10 (Meta-World) or 100 (DMControl)


METHOD = PreferenceMethod(SurfConfig, learners=("sac", "ppo"), unlabelled=lambda config: config.unlabelled_per_label)
