"""Self-play: M independent agents, each with itself on all seats; the final agents are the pool.

One update trains all members over the population axis (`coord.algos.ppo`); they share nothing but the clock.
"""

from __future__ import annotations

from coord.algos.ppo import PPOState
from coord.partner_env import SelfPlayEnv
from populations.pool import NewMember
from populations.training import card


def final_members(state: PPOState, env: SelfPlayEnv, *, method: str, seed: int) -> list[NewMember]:
    """Every member as it is now, ready for `populations.pool.add_members`."""
    return [
        NewMember(
            card(state, env.env, m, agent_id=f"{method}{seed}-{m}", method=method, seed=seed), state.net.select([m])
        )
        for m in range(state.net.members)
    ]
