"""Self-play: M independent agents, each with itself on all seats; the final agents are the pool.

One update trains all members over the population axis (`coord.algos.ppo`); they share nothing but the clock.
"""

from __future__ import annotations

from coord import seeding
from coord.agent_files import AgentCard
from coord.algos import ppo
from coord.overcooked import OvercookedVectorEnv
from coord.partner_env import SelfPlayEnv
from populations.pool import NewMember


def build(
    cfg: ppo.PPOConfig, *, layout: str, rules: str, horizon: int, members: int, seed: int
) -> tuple[ppo.PPOState, SelfPlayEnv]:
    """A fresh population and its kitchens; member m depends on (seed, m) only."""
    seeds = [seeding.derive(seed, "member", m) for m in range(members)]
    kitchens = OvercookedVectorEnv(
        layout, cfg.num_envs * members, horizon=horizon, rules=rules, seed=seeding.derive(seed, "kitchens")
    )
    arch = ppo.make_arch(cfg, kitchens)
    state = ppo.create(cfg, arch, seeds)
    return state, SelfPlayEnv(kitchens, members, state.net.obs_kind)


def card(
    state: ppo.PPOState, env: OvercookedVectorEnv, member: int, *, agent_id: str, method: str, seed: int
) -> AgentCard:
    """What the file of a trained member says about it."""
    returns = state.mean_returns()
    return AgentCard(
        agent_id=agent_id,
        layouts={layout.name: layout.hash for layout in env.layouts},
        rules=env.rules,
        method=method,
        arch=state.net.arch,
        seed=seed,
        member=member,
        env_steps=state.env_step,
        mean_return=float(returns[member]) if returns[member] == returns[member] else None,
        spec=env.spec.to_dict() if state.net.obs_kind == "index" else None,
    )


def final_members(state: ppo.PPOState, env: SelfPlayEnv, *, seed: int) -> list[NewMember]:
    """Every member as it is now."""
    cards = [
        card(state, env.env, m, agent_id=f"sp{seed}-{m}", method="sp", seed=seed) for m in range(state.net.members)
    ]
    return [NewMember(c, state.net.select([m])) for m, c in enumerate(cards)]
