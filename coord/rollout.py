"""Collecting experience: T ticks of [M, B] rows into preallocated tensors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from coord.nets.population import PopulationNet, sample_actions
from coord.partner_env import Episodes, RowEnv
from coord.returns import deviation, gae, next_values


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
    fill(out, env, gens, lambda _, obs: net(obs), lambda obs: net(obs)[1], lambda _: on_episodes(env.finished()))


def fill(
    out: Rollout,
    env: RowEnv,
    gens: list[torch.Generator],
    play: Callable[[int, Tensor], tuple[Tensor, Tensor]],
    value: Callable[[Tensor], Tensor],
    on_ended: Callable[[Tensor], None],
) -> None:
    """The loop of `collect` for any policy.

    play(t, obs) gives logits [M, B, 6] and values [M, B] of tick t; value(obs) values [M, B] of observations that no
    action follows; on_ended is called with the rows [M, B] whose episodes ended in a tick, where there are any.
    """
    steps, _, rows = out.act.shape
    uniform = torch.stack([torch.rand(steps, rows, generator=gen) for gen in gens], 1)  # [T, M, B]
    for t in range(steps):
        out.obs[t] = env.observe()
        logits, out.val[t] = play(t, out.obs[t])
        out.act[t], out.logp[t] = sample_actions(logits, uniform[t])
        out.rew[t], out.shaped_rew[t], out.terminated[t], out.truncated[t] = env.step(out.act[t])
        if bool(out.truncated[t].any()):
            out.final_val[t] = value(env.final_observe())
        ended = out.truncated[t] | out.terminated[t]
        if bool(ended.any()):
            on_ended(ended)
    out.last_val = value(env.observe())


def advantages(
    roll: Rollout, rew: Tensor, gamma: float, gae_lambda: float | Tensor, time_limit: str
) -> tuple[Tensor, Tensor]:
    """Advantages, normalised per member, and returns for rewards rew; all [T, M, B]. gae_lambda: see `gae`."""
    following = next_values(
        val=roll.val,
        last_val=roll.last_val,
        final_val=roll.final_val,
        terminated=roll.terminated,
        truncated=roll.truncated,
        time_limit=time_limit,
    )
    ended = roll.terminated | roll.truncated
    adv = gae(rew=rew, val=roll.val, next_val=following, ended=ended, gamma=gamma, gae_lambda=gae_lambda)
    ret = adv + roll.val
    return (adv - adv.mean((0, 2), keepdim=True)) / (deviation(adv, (0, 2)) + 1e-8), ret
