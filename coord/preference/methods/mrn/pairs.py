"""Labelled pairs of segments as the critic of Meta-Reward-Net reads them: which are drawn, and their rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from coord.algos import sac
from coord.nets import heads
from coord.preference.labels.segments import AnsweredPairs


class LabelBatch(NamedTuple):
    """Labelled pairs of every member."""

    obs: Tensor  # [M, K, 2, L, O]
    act: Tensor  # [M, K, 2, L, A]; discrete actions as one-hot rows
    target: Tensor  # [M, K] probability that the second is better


class Outer(NamedTuple):
    """Labelled pairs as the critic sees them; the rows are s_0 of both sides, then s_H where the score reads it."""

    rows: Tensor  # [M, R, F], R = 2K or 4K, in the order (end, pair, side)
    pick: Tensor  # [M, R, C] as in `CriticInnerStep`; for s_H of a critic that lists actions, probabilities
    entropy: Tensor  # [M, K, 2] entropy bonus within V(s_H); not read where R = 2K
    discount: float  # gamma^H, what V(s_H) is multiplied by; not read where R = 2K
    target: Tensor  # [M, K] probability that the second side is preferred


def draw_labels(
    labels: Sequence[AnsweredPairs], available: Sequence[int], most: int, judged: slice, gens: Sequence[torch.Generator]
) -> LabelBatch | None:
    """Up to `most` pairs out of the last `available` ones of each member; None if a member has none.

    labels: all of each member, oldest first; judged: steps of a stored segment that the answer is about. The member
    with the fewest decides K.
    """
    count = min(most, *available)
    if count == 0:
        return None
    drawn = []
    for own, last, gen in zip(labels, available, gens, strict=True):
        rows = own.size - last + torch.randperm(last, generator=gen)[:count].numpy()
        picked = own.select(rows)
        drawn.append((picked.obs[:, :, judged], picked.act[:, :, judged], picked.target))
    return LabelBatch(*(torch.from_numpy(np.stack(column)) for column in zip(*drawn, strict=True)))


def outer_batch(state: sac.SACState, labels: LabelBatch, score: str, noise: Tensor | None = None) -> Outer:
    """Labelled pairs as the critic reads them.

    score: first, Q(s_0, a_0); or segment, Q(s_0, a_0) - gamma^H V(s_H) with H = L - 1, an estimate of the discounted
    reward within the segment. V is the soft value of the policy: by one action drawn with noise [M, 2K, A], or in
    expectation over discrete actions.
    """
    obs = labels.obs[..., : state.obs_dim]
    first_obs, first_act = obs[:, :, :, 0].flatten(1, 2), labels.act[:, :, :, 0].flatten(1, 2)
    rows, pick = critic_rows(state, first_obs, first_act)
    if score == "first":
        return Outer(rows, pick, torch.zeros(()), 0.0, labels.target)
    last_rows, last_pick, entropy = _last_values(state, obs[:, :, :, -1].flatten(1, 2), noise)
    entropy = entropy.unflatten(1, (-1, 2))
    discount = state.cfg.gamma ** (labels.obs.shape[3] - 1)
    return Outer(torch.cat([rows, last_rows], 1), torch.cat([pick, last_pick], 1), entropy, discount, labels.target)


def _last_values(state: sac.SACState, obs: Tensor, noise: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Rows, pick and entropy bonus [M, R] of the soft value of obs [M, R, O]."""
    if noise is None:
        logp = heads.log_policy(state.actor, obs)
        return obs, logp.exp(), -state.alpha[:, None] * (logp.exp() * logp).sum(-1)
    act, logp = heads.policy(state.actor, obs, noise)
    return *critic_rows(state, obs, act), -state.alpha[:, None] * logp


def action_features(state: sac.SACState, act: Tensor) -> Tensor:
    """Actions as the reward model reads them: discrete ones as one-hot rows."""
    return F.one_hot(act, state.act_dim).to(state.log_alpha.dtype) if state.discrete else act


def critic_rows(state: sac.SACState, obs: Tensor, act: Tensor) -> tuple[Tensor, Tensor]:
    """Inputs of the critic [M, B, F], and what picks the value of act (one-hot if discrete) from its outputs."""
    if state.discrete:
        return obs, act
    rows = torch.cat([obs, act], -1)
    return rows, torch.ones_like(rows[..., :1])
