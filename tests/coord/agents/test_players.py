"""Built-in agents, reproducible random numbers, the un-stuck rule by hand, and network players."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from coord.agents.players import STAY, RandomAgent, RowUniforms, StayAgent
from coord.agents.policy import FrozenPolicy, StuckMemory, feature_poses
from coord.agents.views import KitchenView
from coord.nets.population import Arch, PopulationNet
from coord.overcooked import OvercookedVectorEnv
from tests.agent_fixtures import constant_policy

NORTH, SOUTH, EAST, INTERACT = 0, 1, 2, 5


def kitchens(count: int = 2, **kwargs: object) -> KitchenView:
    return KitchenView(OvercookedVectorEnv("cramped_room", count, **kwargs))


def test_uniforms_belong_to_the_kitchen_and_not_to_the_batch() -> None:
    keys = np.array([11, 22, 33])
    whole, part = RowUniforms(3, 2, keys), RowUniforms(1, 2, keys[2:])
    rows, seats = np.array([0, 1, 2, 2]), np.array([0, 1, 0, 1])
    for _ in range(3):
        together = whole.draw(rows, seats)
        np.testing.assert_array_equal(together[2:], part.draw(np.array([0, 0]), np.array([0, 1])))
        assert len(set(together.tolist())) == 4


def test_uniforms_are_uniform_and_uncorrelated() -> None:
    uniforms = RowUniforms(1000, 2, 5)
    rows, seats = np.arange(1000).repeat(2), np.tile([0, 1], 1000)
    draws = np.stack([uniforms.draw(rows, seats) for _ in range(50)])  # [50, 2000]
    assert 0.0 <= draws.min() < draws.max() < 1.0
    counts = np.histogram(draws, bins=10, range=(0, 1))[0]
    assert np.abs(counts - 10_000).max() < 5 * np.sqrt(10_000 * 0.9)
    for one, other in ((draws[:, ::2], draws[:, 1::2]), (draws[1:], draws[:-1])):  # the seats; successive ticks
        assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.02


def test_uniforms_refuse_seeds_of_another_shape() -> None:
    with pytest.raises(ValueError, match="one per kitchen"):
        RowUniforms(3, 2, np.array([1, 2]))


def test_random_and_stay() -> None:
    view = kitchens(600)
    rows, seats = np.arange(600), np.zeros(600, np.int64)
    agent = RandomAgent()
    agent.start(600, 2, 0)
    acts = np.concatenate([agent.act(view, rows, seats) for _ in range(20)])
    assert np.bincount(acts, minlength=6).min() > 1800  # 2000 expected of each, s.d. 41
    assert (StayAgent().act(view, rows, seats) == STAY).all()


def test_view_encodes_once_per_tick() -> None:
    view = kitchens()
    first = view.features()
    assert view.features() is first
    assert view.index() is view.index(view.env.spec)
    view.env.step(np.full((2, 2), EAST))
    view.invalidate()
    assert view.features() is not first
    assert not np.array_equal(view.features(), first)


def test_stuck_rule_by_hand() -> None:
    memory, row, seat = StuckMemory(1, 2), np.array([0]), np.array([1])
    here, there = np.array([7]), np.array([8])
    banned = []
    for pose, act in [(here, NORTH), (here, EAST), (here, EAST), (here, INTERACT), (there, SOUTH), (here, STAY)]:
        banned.append(np.flatnonzero(memory.banned(row, seat, pose)[0]).tolist())
        memory.record(row, seat, pose, np.array([act]))
    #        tick 0   1   2   3: here since tick 0      4: has moved   5: was elsewhere one tick ago
    assert banned == [[], [], [], [NORTH, EAST], [], []]


def test_stuck_memory_keeps_seats_and_kitchens_apart_and_forgets() -> None:
    memory = StuckMemory(2, 2)
    rows, seats, pose = np.array([0, 1]), np.array([0, 0]), np.array([3, 3])
    for _ in range(3):
        memory.record(rows, seats, pose, np.array([NORTH, SOUTH]))
    memory.forget(np.array([1]))
    assert memory.banned(rows, seats, pose)[0, NORTH]
    assert not memory.banned(rows, seats, pose)[1].any()
    assert not memory.banned(rows, np.array([1, 1]), pose).any()


def test_feature_poses_tell_every_pose_of_a_seat_apart() -> None:
    view = kitchens(1)
    rng, seen = np.random.default_rng(0), {}
    for _ in range(400):
        view.env.step(rng.integers(0, 5, size=(1, 2)))
        view.invalidate()
        players = view.env.state_dict(0)["players"]
        for seat, code in enumerate(feature_poses(view.features()[0])):
            pose = tuple(players[seat]["position"]), tuple(players[seat]["orientation"])
            assert seen.setdefault(int(code), pose) == pose
    assert len(seen) == len(set(seen.values())) > 15


def test_unstick_frees_a_policy_that_runs_into_a_wall() -> None:
    logits = [9.0, 0.0, 0.0, 0.0, 0.0, 0.0]  # nearly always north, where seat 0 meets a counter
    moved = {}
    for unstick in (False, True):
        view = kitchens(1)
        agent = FrozenPolicy(constant_policy(logits), agent_id="wall", stochastic=False, unstick=unstick)
        agent.start(1, 2, 0)
        agent.begin_episode(np.array([0]))
        acts = []
        for _ in range(8):
            acts.append(int(agent.act(view, np.array([0]), np.array([0]))[0]))
            view.env.step(np.array([[acts[-1], STAY]]))
            view.invalidate()
        moved[unstick] = acts
    assert moved[False] == [NORTH] * 8
    first_other = next(tick for tick, act in enumerate(moved[True]) if act != NORTH)
    assert moved[True][first_other] == SOUTH  # the next best, by position
    assert first_other >= 3


def test_drop_stay_and_stochastic_frequencies() -> None:
    logits = np.log([0.1, 0.1, 0.1, 0.1, 0.5, 0.1]).tolist()
    view = kitchens(3000)
    rows, seats = np.arange(3000), np.zeros(3000, np.int64)
    for drop_stay, expected in ((False, [0.1, 0.1, 0.1, 0.1, 0.5, 0.1]), (True, [0.2, 0.2, 0.2, 0.2, 0.0, 0.2])):
        agent = FrozenPolicy(constant_policy(logits), agent_id="x", drop_stay=drop_stay)
        agent.start(3000, 2, 1)
        acts = np.concatenate([agent.act(view, rows, seats) for _ in range(4)])
        np.testing.assert_allclose(np.bincount(acts, minlength=6) / len(acts), expected, atol=0.02)


def test_masked_kitchens_bind_the_player_but_never_leave_it_without_an_action() -> None:
    view = kitchens(1, mask_useless_actions=True)
    useful = view.useful()[0, 0]
    assert not useful.all()
    agent = FrozenPolicy(constant_policy([0.0] * 6), agent_id="x")
    agent.start(1, 2, 0)
    acts = {int(agent.act(view, np.array([0]), np.array([0]))[0]) for _ in range(200)}
    assert acts == set(np.flatnonzero(useful).tolist())
    view._cache["useful"] = np.zeros((1, 2, 6), np.bool_)
    assert 0 <= int(agent.act(view, np.array([0]), np.array([0]))[0]) < 6


def test_argmax_is_deterministic_and_ignores_the_seed() -> None:
    view = kitchens(64)
    rng = np.random.default_rng(0)
    for _ in range(20):
        view.env.step(rng.integers(0, 6, size=(64, 2)))
    view.invalidate()
    gen = torch.Generator().manual_seed(0)
    net = PopulationNet.create(Arch(kind="mlp_index", inputs=view.env.spec.vocab_size, hidden=(64,)), [gen])
    rows, seats = np.arange(64), np.ones(64, np.int64)
    acts = []
    for seed in (0, 1):
        agent = FrozenPolicy(net, view.env.spec, agent_id="x", stochastic=False)
        agent.start(64, 2, seed)
        acts.append(agent.act(view, rows, seats))
    np.testing.assert_array_equal(*acts)
    expected = net(torch.from_numpy(view.index()[:, 1])[None])[0][0].argmax(-1)
    np.testing.assert_array_equal(acts[0], expected.numpy())
