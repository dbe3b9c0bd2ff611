"""PrefPPO: PPO on the learned reward, with a loop of its own (`coord.preference.learners.prefppo`)."""

from __future__ import annotations

from coord.algos.ppo_gaussian import PPOContinuousConfig
from coord.preference.methods.method import PreferenceMethod

METHOD = PreferenceMethod(PPOContinuousConfig, on_policy=True)
