"""Collecting experience: T ticks of [M, B] rows into preallocated tensors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from coord.nets import PopulationNet, sample_actions
from coord.partner_env import Episodes, RowEnv


@dataclass
class Rollout:
    """T ticks of M x B rows. Shaping stays apart from the task reward: the learner decides what it is worth."""

    obs: Tensor  # [T, M, B, ...]
    act: Tensor  # [T, M, B] int64
    logp: Tensor  # [T, M, B]
    val: Tensor  # [T, M, B]
    final_val: Tensor  # [T, M, B] value of an episode's last observation, where one ended
    rew: Tensor  # [T, M, B]
    shaped_rew: Tensor  # [T, M, B]
    terminated: Tensor  # [T, M, B] bool
    truncated: Tensor  # [T, M, B] bool
    last_val: Tensor  # [M, B] value of the observation after the last tick


def allocate(env: RowEnv, rollout_len: int) -> Rollout:
    """Buffers for `rollout_len` ticks of `env`."""
    sample = env.observe()
    shape = (rollout_len, env.members, env.rows)
    logp, val, final_val, rew, shaped_rew = (torch.zeros(shape) for _ in range(5))
    terminated, truncated = (torch.zeros(shape, dtype=torch.bool) for _ in range(2))
    obs = torch.empty((rollout_len, *sample.shape), dtype=sample.dtype)
    act = torch.zeros(shape, dtype=torch.int64)
    last_val = torch.zeros(shape[1:])
    return Rollout(obs, act, logp, val, final_val, rew, shaped_rew, terminated, truncated, last_val)


@torch.no_grad()
def collect(
    net: PopulationNet,
    env: RowEnv,
    gens: list[torch.Generator],
    out: Rollout,
    on_episodes: Callable[[Episodes], None],
) -> None:
    """Fills `out` with the policy's own play; member m draws its actions from `gens[m]` alone."""
    steps, _, rows = out.act.shape
    uniform = torch.stack([torch.rand(steps, rows, generator=gen) for gen in gens], 1)  # [T, M, B]
    for t in range(steps):
        out.obs[t] = env.observe()
        logits, out.val[t] = net(out.obs[t])
        out.act[t], out.logp[t] = sample_actions(logits, uniform[t])
        out.rew[t], out.shaped_rew[t], out.terminated[t], out.truncated[t] = env.step(out.act[t])
        if bool(out.truncated[t].any()):
            out.final_val[t] = net(env.final_observe())[1]
        if bool((out.truncated[t] | out.terminated[t]).any()):
            on_episodes(env.finished())
    out.last_val = net(env.observe())[1]
