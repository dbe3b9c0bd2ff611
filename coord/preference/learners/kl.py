"""Staying close to a reference policy: the penalty of Ziegler et al. (2019), "Fine-tuning language models from human
preferences", and its controller.

PPO is paid R = r - beta log(pi(a|s) / pi_0(a|s)) (their equation 2). The expectation of that ratio over the actions of
pi is KL(pi || pi_0), and the expected policy gradient of the penalty is the gradient of the KL divergence, so that the
policy is held back now and for what it brings about later. beta follows the measured divergence d:
beta <- beta (1 + gain clip(d / target - 1, -bound, bound)), their section 2.2.

Deviations: the divergence is that of one decision in nats, exact over the six actions and averaged over the states of a
rollout (theirs: of a whole text, from the one that was drawn), so the target does not depend on the length of a game.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from coord.errors import UserError
from coord.limits import NotNegative, Positive


@dataclass(frozen=True, kw_only=True)
class KLConfig:
    """The penalty for leaving the imitation policy (Ziegler et al. 2019)."""

    coef: NotNegative = 0.1  # beta at the start, in units of the reward's standard deviation per nat; 0: no penalty
    adaptive: bool = True  # whether beta follows the divergence; false: it stays
    target: Positive = 0.3  # KL divergence that beta steers to, in nats per decision, .05..2
    gain: NotNegative = 0.1  # how much beta changes per rollout, relative to the error
    bound: NotNegative = 0.2  # largest relative error that counts

    def __post_init__(self) -> None:
        if self.gain * self.bound >= 1:
            raise UserError(f"gain={self.gain} times bound={self.bound}: must be below 1, or beta could turn negative")


def divergence(logits: Tensor, ref_logits: Tensor) -> Tensor:
    """KL(pi || pi_0) in nats of softmax(logits) from softmax(ref_logits), [..., A] each -> [...]."""
    logp, ref_logp = logits.log_softmax(-1), ref_logits.log_softmax(-1)
    return (logp.exp() * (logp - ref_logp)).sum(-1)


def log_ratio(logp: Tensor, ref_logits: Tensor, act: Tensor) -> Tensor:
    """log pi(a) - log pi_0(a) of the actions taken: logp, act [...] and ref_logits [..., A] -> [...]."""
    return logp - ref_logits.log_softmax(-1).gather(-1, act[..., None])[..., 0]


class Coefficient:
    """beta of M members, each following its own divergence; beta = 0 stays 0."""

    def __init__(self, cfg: KLConfig, members: int) -> None:
        self.cfg = cfg
        self.value = torch.full((members,), cfg.coef)  # [M]

    def update(self, kl: Tensor) -> None:
        """After a rollout with mean divergences kl [M]."""
        cfg = self.cfg
        if cfg.adaptive:
            error = (kl / cfg.target - 1).clamp(-cfg.bound, cfg.bound)
            self.value = self.value * (1 + cfg.gain * error)

    def state_dict(self) -> dict[str, Tensor]:
        """Flat mapping of tensors."""
        return {"value": self.value}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Inverse of `state_dict`."""
        self.value = state["value"].clone()
