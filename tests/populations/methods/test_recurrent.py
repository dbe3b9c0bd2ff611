"""Agents with a memory: in play as in training, as partners, from disk, and exact resume."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from coord.agents.files import StoredAgent
from coord.agents.views import KitchenView
from coord.algos import ppo
from coord.errors import UserError
from coord.evaluation.agents import load_agent
from coord.evaluation.matches import MatchRules, both_seats, play_matches
from coord.nets.population import Arch, PopulationNet
from coord.overcooked import OvercookedVectorEnv, load_layout
from coord.partner_env import frozen_partners
from coord.seeding import torch_generator
from populations.methods import recurrent
from populations.training import Setup, Training, write_egos
from tests.agent_fixtures import card, index_member
from tests.resuming import check_resume

TINY = ppo.PPOConfig(total_steps=600, num_envs=5, rollout_len=30, num_epochs=1, num_minibatches=2)


def remembering(count: int = 1) -> PopulationNet:
    """Networks on features with a memory and clear opinions."""
    arch = Arch(kind="mlp_features", inputs=96, hidden=(8,), memory=6)
    net = PopulationNet.create(arch, [torch_generator(m, "net") for m in range(count)])
    with torch.no_grad():
        net.head_weight.normal_(generator=torch_generator(0, "head"))
    return net


def stored(seed: int) -> StoredAgent:
    net = remembering(seed + 1).select([seed])
    return StoredAgent(card(f"r{seed}", arch=net.arch, seed=seed), net)


def test_a_player_remembers_each_seat_of_each_kitchen_until_it_restarts() -> None:
    net, env = remembering(), OvercookedVectorEnv("cramped_room", 3)
    view, agent = KitchenView(env), StoredAgent(card(arch=net.arch), net).player()
    agent.start(3, 2, 0)
    agent.begin_episode(np.arange(3))
    rows, seats = np.repeat(np.arange(3), 2), np.tile([0, 1], 3)
    gen = np.random.default_rng(0)
    seen, said, restarted = [], [], []
    for t in range(12):
        fresh = np.flatnonzero(gen.random(3) < 0.2) if t else np.arange(3)
        agent.begin_episode(fresh)
        restarted.append(np.isin(rows, fresh))
        seen.append(view.features()[rows, seats])
        order = gen.permutation(6)
        logits = torch.empty(6, 6)
        logits[order] = agent._logits(seen[-1][order], rows[order], seats[order], np.zeros(6, np.int64))
        said.append(logits)
        env.step(gen.integers(0, 6, (3, 2)))
        view.invalidate()
    keep = torch.from_numpy(~np.stack(restarted))[None]
    whole, _ = net.remember(torch.from_numpy(np.stack(seen))[None], torch.zeros(1, 6, 6), keep)
    torch.testing.assert_close(torch.stack(said), whole[0, ..., :6].detach(), atol=1e-5, rtol=1e-5)
    assert 3 < sum(r.sum() for r in restarted) // 2 < 36


def test_partners_remember_as_players_do() -> None:
    """A pool of three in one forward pass against each of them alone, with a save and a load on the way."""
    nets = remembering(3)
    pool, again = frozen_partners(nets, None), frozen_partners(nets, None)
    env = OvercookedVectorEnv("cramped_room", 7)
    view, gen = KitchenView(env), np.random.default_rng(1)
    kitchens, seats = np.arange(7), np.array([0, 1, 0, 1, 0, 1, 0])
    players = [StoredAgent(card(arch=nets.arch), nets.select([m])).player() for m in range(3)]
    for one in (pool, again, *players):
        one.start(7, 2, 0)
    partner = gen.integers(0, 3, 7)
    for t in range(10):
        fresh = np.flatnonzero(gen.random(7) < 0.2)
        partner[fresh] = gen.integers(0, 3, len(fresh))
        for one in (pool, *players):
            one.begin_episode(fresh)
        obs = view.features()[kitchens, seats]
        ours = pool._logits(obs, kitchens, seats, partner)
        for m, player in enumerate(players):
            mine = np.flatnonzero(partner == m)
            theirs = player._logits(obs[mine], kitchens[mine], seats[mine], np.zeros(len(mine), np.int64))
            torch.testing.assert_close(ours[mine], theirs, atol=1e-5, rtol=1e-5)
        if t == 5:
            again.set_state(pool.get_state())
        if t > 5:
            again.begin_episode(fresh)
            assert torch.equal(again._logits(obs, kitchens, seats, partner), ours)
        env.step(gen.integers(0, 6, (7, 2)))
        view.invalidate()


def training(partners: tuple[StoredAgent, ...] = (), *, members: int = 2, seed: int = 3, **fields: object) -> Training:
    setup = Setup(
        algo=TINY, layout="cramped_room", horizon=25, members=members, seed=seed, name="rec", partners=partners
    )
    return recurrent.make(recurrent.RecurrentConfig(**{"memory": 8, "chunk_len": 10, **fields}), setup)


@pytest.mark.parametrize("alone", [True, False])
def test_a_killed_run_goes_on_with_the_same_bits(alone: bool) -> None:
    partners = () if alone else (stored(0), StoredAgent(*index_member("i", 4)[:2]), stored(1))
    check_resume(training(partners), training(partners, seed=8), at=2)


def test_agents_are_read_from_disk_and_play(tmp_path: Path) -> None:
    made = training(members=1)
    write_egos(tmp_path, made.agents())
    agent = load_agent(str(tmp_path), "cramped_room", "classic")
    assert agent.net.arch.memory == 8
    where = MatchRules(layout=load_layout("cramped_room"), horizon=20)
    one = play_matches(where, [agent], both_seats(0, [0]), episodes=3, record=True)
    same = play_matches(where, [agent], both_seats(0, [0]), episodes=3, record=True, max_kitchens=2)
    assert np.array_equal(one.joint_acts, same.joint_acts)
    assert len(np.unique(one.joint_acts)) == 6


def test_bad_settings() -> None:
    with pytest.raises(UserError, match="memory=0"):
        training(memory=0)
    with pytest.raises(UserError, match="chunk_len=7: must be a divisor of rollout_len=30"):
        training(chunk_len=7)
