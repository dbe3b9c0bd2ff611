"""What egos keep of their partner between games: groups, beliefs and memories, by what they know at the next start."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from coord.agents.context.belief import PartnerBelief
from coord.agents.context.carry import CARRIES, can_choose, carry
from coord.agents.context.groups import FIRST, GroupEncoder, PartnerGroup
from coord.agents.players import StayAgent
from coord.agents.policy import FrozenPolicy
from coord.agents.views import KitchenView
from coord.errors import UserError
from coord.nets.population import Arch, PopulationNet
from coord.overcooked import OvercookedVectorEnv

TICKS = 12
ROW, SEAT = np.array([0]), np.array([0])


def kitchen() -> OvercookedVectorEnv:
    env = OvercookedVectorEnv("cramped_room", 1, horizon=TICKS)
    env.reset()
    return env


def net(env: OvercookedVectorEnv, seed: int, members: int = 1, **more: int) -> PopulationNet:
    arch = Arch(kind="mlp_index", inputs=env.spec.vocab_size, hidden=(64,), **more)
    return PopulationNet.create(arch, [torch.Generator().manual_seed(seed + m) for m in range(members)])


def by_groups(env: OvercookedVectorEnv) -> FrozenPolicy:
    encoder = GroupEncoder.create(env.spec.vocab_size, [torch.Generator().manual_seed(0)])
    with torch.no_grad():  # an encoder with an opinion
        encoder.head_bias += torch.tensor([0.0, 3.0, 0.0, 0.0])
    context = PartnerGroup(encoder, env.spec, window=4, update="both")
    return FrozenPolicy(net(env, 1, extra=4), env.spec, agent_id="pecan", contexts=[context])


def by_belief(env: OvercookedVectorEnv) -> FrozenPolicy:
    context = PartnerBelief(net(env, 5, members=2), env.spec, [0, 2], share=0.01)
    return FrozenPolicy(net(env, 1, extra=context.size), env.spec, agent_id="belief", contexts=[context])


def play(agent: FrozenPolicy, games: int, watch) -> list[np.ndarray]:
    """What `watch` sees of the agent after each tick of games with a partner who goes east."""
    env = kitchen()
    view, seen = KitchenView(env), []
    agent.start(1, 2, 0)
    for _ in range(games):
        agent.begin_episode(ROW)
        for _ in range(TICKS):
            acts = np.array([[agent.act(view, ROW, SEAT)[0], 2]])
            seen.append(np.array(watch(agent), dtype=np.float64).ravel())
            view.stepped(acts, env.step(acts).truncated)
    return seen


def group_now(agent: FrozenPolicy) -> np.ndarray:
    return agent.contexts[0].probabilities(ROW, SEAT)


def test_groups_within_between_and_both() -> None:
    seen = {}
    for what in CARRIES:
        agent = by_groups(kitchen())
        carry(agent, what)
        seen[what] = play(agent, 2, group_now)
    moves = {what: [not np.allclose(one, FIRST, atol=1e-6) for one in values] for what, values in seen.items()}
    # A window is full at the start of the tick after its last one: of 4 + 1 ticks.
    assert moves["within"] == ([False] * 4 + [True] * 8) * 2
    assert moves["between"] == [False] * TICKS + [True] * TICKS
    assert moves["both"] == [False] * 4 + [True] * (2 * TICKS - 4)
    later = [tuple(one) for one in seen["between"][TICKS:]]
    assert len(set(later)) == 1  # fixed while a game lasts
    assert seen["both"][-1][1] > seen["within"][-1][1] > FIRST[1]  # more evidence, more certainty


def test_a_belief_stays_or_begins_anew() -> None:
    seen = {}
    for what in ("within", "both"):
        agent = by_belief(kitchen())
        carry(agent, what)
        seen[what] = play(agent, 2, lambda one: one.contexts[0].belief(ROW, SEAT))
    uniform = np.full_like(seen["within"][0], 1 / seen["within"][0].size)
    np.testing.assert_allclose(seen["within"][TICKS], uniform)
    np.testing.assert_allclose(seen["both"][TICKS], seen["both"][TICKS - 1])
    assert not np.allclose(seen["both"][TICKS], uniform)
    np.testing.assert_array_equal(seen["within"][:TICKS], seen["both"][:TICKS])


def test_a_memory_stays_or_begins_anew() -> None:
    fresh = {}
    for what in ("within", "both"):
        env = kitchen()
        agent = FrozenPolicy(net(env, 3, memory=8), env.spec, agent_id="recurrent")
        carry(agent, what)
        agent.start(1, 2, 0)
        agent.begin_episode(ROW)
        agent.act(KitchenView(env), ROW, SEAT)
        agent.begin_episode(ROW)
        fresh[what] = bool((agent._hidden[0, 0] == 0).all())
    assert fresh == {"within": True, "both": False}


def test_who_has_nothing_to_keep_is_refused() -> None:
    env = kitchen()
    plain = FrozenPolicy(net(env, 0), env.spec, agent_id="plain")
    for agent in (plain, StayAgent()):
        with pytest.raises(UserError, match="keeps nothing of its partner"):
            carry(agent, "both")
    with pytest.raises(UserError, match="say within or both"):
        carry(by_belief(env), "between")
    with pytest.raises(UserError, match="did you mean 'between'"):
        carry(by_groups(env), "betwen")
    assert [can_choose(agent) for agent in (plain, by_groups(env), by_belief(env))] == [False, True, False]
