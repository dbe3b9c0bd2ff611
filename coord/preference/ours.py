"""Our recipe: what made most of few labels, together.

Queries that fit the current policy and a replay that fits the queries (QPA), here the pairs of the last episodes that
the networks disagree about most; observations divided by their deviation before the reward model reads them; fresh
reward networks at every session (PoLiCER) with smoothed labels (STAR: epsilon .05); layer normalisation in the critic;
optionally more updates per step (`updates_per_step`) with resets of the critic (PoLiCER, Nikishin et al. 2022), and
the corrected bilevel term (`meta_every`). The settings of learner, reward model and queries are those of
configs/prefer/ours.yaml.

Deviations: the parts are taken as their own modules implement them; QPA's queries are uniform.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from coord.errors import UserError

if TYPE_CHECKING:
    from coord.preference.training import Run


@dataclass(frozen=True, kw_only=True)
class OursConfig:
    """Fields of configs/method/ours.yaml."""

    recent_episodes: int = 10  # half of every batch comes from as many episodes while labels remain, 10..60
    reset_critic: bool = False  # a new critic and reset_updates gradient steps after every session
    meta_every: int = 0  # env steps between corrected bilevel steps of the reward model; 0: none
    meta_weight: float = 0.1  # norm of the bilevel gradient, as a share of the supervised one's

    def __post_init__(self) -> None:
        if self.recent_episodes < 1 or self.meta_every < 0:
            raise UserError(
                f"recent_episodes={self.recent_episodes}, meta_every={self.meta_every}: need at least 1 and 0"
            )


def renews_critic(run: Run) -> bool:
    """Whether every session starts a new critic."""
    return run.own.reset_critic
