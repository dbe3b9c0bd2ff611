"""RUNE: the disagreement of the reward ensemble as a bonus for exploration (Liang, Shu, Lee and Abbeel 2022).

The reward of a transition is mean(r) + beta_t std(r) over the ensemble, with beta_t = beta (1 - decay)^t after t
environment steps. Everything else is PEBBLE.

Deviations: the deviation is that of the model as it is when the batch is sampled (the released code stores it at
relabelling; the model does not change in between); t counts a member's environment steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from coord.errors import UserError
from coord.limits import NotNegative, Share
from coord.preference.methods.method import PreferenceMethod, ReplayLearner

if TYPE_CHECKING:
    from torch import Tensor

    from coord.buffers import ReplayBatch


@dataclass(frozen=True, kw_only=True)
class RuneConfig:
    """The bonus for what the ensemble disagrees on."""

    beta: NotNegative = 0.05  # weight of the ensemble's disagreement in the reward, at the start
    decay: Share = 1e-5  # share of that weight lost per environment step, 1e-5..1e-3

    def __post_init__(self) -> None:
        if self.beta < 0 or not 0 <= self.decay <= 1:
            raise UserError(f"beta={self.beta}, decay={self.decay}: need beta >= 0 and 0 <= decay <= 1")


def weight(cfg: RuneConfig, env_step: int) -> float:
    """beta_t."""
    return cfg.beta * (1 - cfg.decay) ** env_step


def bonus(run: ReplayLearner, batch: ReplayBatch) -> Tensor:
    """beta_t times the deviation of the ensemble, [M, B]."""
    assert run.feedback is not None
    model = run.feedback.model
    pred = model.predict(batch.obs, run.feedback.features(batch.act))  # [M, E, B]
    deviation = pred.std(1, unbiased=False) / model.units[1, :, None]
    return weight(run.own, run.env_step) * deviation


METHOD = PreferenceMethod(RuneConfig, bonus=bonus)
