"""What both `coord population` and `coord train` do: build learners and kitchens for a config, and name the results."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from coord import seeding
from coord.agent_files import AGENT_FILE, AgentCard, StoredAgent, save_agent, stack_agents
from coord.algos import ppo
from coord.errors import UserError
from coord.overcooked import OvercookedVectorEnv
from coord.partner_env import FrozenPartners, MixedPartners, PartnerEnv, Partners, SelfPlayEnv
from populations import pool


def build(
    cfg: ppo.PPOConfig,
    *,
    layout: str,
    rules: str,
    horizon: int,
    members: int,
    seed: int,
    partners: Sequence[StoredAgent] = (),
) -> tuple[ppo.PPOState, SelfPlayEnv | PartnerEnv]:
    """Fresh learners and their kitchens: self-play without `partners`, one seat each with them.

    In self-play member m depends on (seed, m) only, not on how many train beside it; with partners the draws of
    partners and of their actions are shared among members.
    """
    seeds = [seeding.derive(seed, "member", m) for m in range(members)]
    kitchens = OvercookedVectorEnv(layout, cfg.num_envs * members, horizon=horizon, rules=rules, seed=seed)
    state = ppo.create(cfg, ppo.make_arch(cfg, kitchens), seeds)
    if not partners:
        return state, SelfPlayEnv(kitchens, members, state.net.obs_kind)
    if kitchens.num_players < 2:
        raise UserError(f"layout '{layout}' has one seat: there is no place for a partner")
    pool_seed = seeding.derive(seed, "partners")
    env = PartnerEnv(kitchens, as_pool(partners), seed=pool_seed, members=members, obs_kind=state.net.obs_kind)
    return state, env


def as_pool(partners: Sequence[StoredAgent]) -> Partners:
    """Frozen networks, grouped so that each group is answered by one forward pass."""
    parts: list[Partners] = [
        FrozenPartners(group.net, group.spec, unstick=group.unstick) for group in stack_agents(partners)
    ]
    return parts[0] if len(parts) == 1 else MixedPartners(parts)


def card(
    state: ppo.PPOState, kitchens: OvercookedVectorEnv, member: int, *, agent_id: str, method: str, seed: int
) -> AgentCard:
    """What the file of a trained member says about it."""
    ret = state.mean_returns()[member]
    return AgentCard(
        agent_id=agent_id,
        layouts={layout.name: layout.hash for layout in kitchens.layouts},
        rules=kitchens.rules,
        method=method,
        arch=state.net.arch,
        seed=seed,
        member=member,
        env_steps=state.env_step,
        mean_return=None if np.isnan(ret) else float(ret),
        spec=kitchens.spec.to_dict() if state.net.obs_kind == "index" else None,
    )


def write_agents(
    folder: Path, state: ppo.PPOState, kitchens: OvercookedVectorEnv, *, name: str, seed: int
) -> None:
    """Writes a lone learner as `agent.safetensors`, several as a pool."""
    count = state.net.members
    ids = [f"{name}{seed}" if count == 1 else f"{name}{seed}-{m}" for m in range(count)]
    cards = [card(state, kitchens, m, agent_id=ids[m], method=name, seed=seed) for m in range(count)]
    if count == 1:
        save_agent(folder / AGENT_FILE, cards[0], state.net.select([0]))
    else:
        pool.add_members(folder, [pool.NewMember(c, state.net.select([m])) for m, c in enumerate(cards)])
