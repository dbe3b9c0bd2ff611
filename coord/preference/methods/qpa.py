"""QPA: queries that fit the current policy, and a replay that fits the queries (Hu, Li, Zhan, Jia and Zhang 2024).

Queries are uniform pairs from the last few episodes (`query.selector=onpolicy`), and while the budget lasts half of
every batch comes from the transitions of the last `recent_episodes` episodes. Crops of the labelled pairs
(`reward.crops`) and the reward model's own settings are in configs/prefer/qpa.yaml.

Deviations: "recent" counts transitions, recent_episodes times the length of an episode, not episodes.
"""

from __future__ import annotations

from dataclasses import dataclass

from coord.limits import Count
from coord.preference.methods.method import PreferenceMethod, ReplayLearner


@dataclass(frozen=True, kw_only=True)
class QPAConfig:
    """Which experience the critic learns from."""

    recent_episodes: Count = 10  # half of every batch comes from as many episodes while labels remain, 10..60


def recent(run: ReplayLearner) -> int | None:
    """Newest rows of the replay that half of a batch comes from; None once the budget is spent."""
    assert run.feedback is not None
    return run.own.recent_episodes * run.max_episode_steps if run.feedback.remaining else None


METHOD = PreferenceMethod(QPAConfig, recent=recent)
