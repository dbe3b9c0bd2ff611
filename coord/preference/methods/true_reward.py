"""What learning from labels is compared with: SAC on the task's reward, and the reward that the teacher judges by."""

from __future__ import annotations

from dataclasses import dataclass

from coord.preference.methods.method import PreferenceMethod


@dataclass(frozen=True, kw_only=True)
class TrueRewardConfig:
    """SAC on the true reward has no fields of its own."""


@dataclass(frozen=True, kw_only=True)
class OracleConfig:
    """The reward that the teacher judges by, given to the learner: no fields of its own."""


SAC = PreferenceMethod(TrueRewardConfig, learns_reward=False)
ORACLE = PreferenceMethod(OracleConfig, learns_reward=False, learners=("sac", "ppo"))
