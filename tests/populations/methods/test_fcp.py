"""Fictitious co-play: which snapshots are kept and chosen, by hand and for any course; the pool it leaves."""

from __future__ import annotations

from collections import deque
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from coord.algos import ppo
from coord.nets.population import Arch
from coord.overcooked import OvercookedVectorEnv
from populations.methods import self_play
from populations.methods.fcp import MIDDLE, STEP, FictitiousCoPlay
from populations.methods.self_play import SPConfig
from populations.pool import add_members, open_pool
from populations.training import Setup

ARCH = Arch(kind="mlp_features", inputs=96, hidden=(4,))
NAN = float("nan")


def population(members: int) -> ppo.PPOState:
    return ppo.create(ppo.PPOConfig(network="mlp_features", hidden=(4,)), ARCH, list(range(members)))


def be_at(state: ppo.PPOState, update: int, returns: list[float]) -> None:
    """As after `update` updates of 100 steps: the number of the update is in every parameter, plus 0.5 per member."""
    state.env_step = 100 * update
    state.returns = [deque([] if np.isnan(ret) else [ret]) for ret in returns]
    for tensor in state.net.tensors().values():
        for m in range(state.net.members):
            tensor[m] = update + 0.5 * m


def watched(*courses: list[float]) -> tuple[FictitiousCoPlay, ppo.PPOState]:
    """A method that has seen the members' returns after each update; the courses are equally long."""
    state, method = population(len(courses)), FictitiousCoPlay(len(courses))
    for update, returns in enumerate(zip(*courses, strict=True)):
        be_at(state, update, list(returns))
        method.observe(state)
    return method, state


def kept(method: FictitiousCoPlay, member: int = 0) -> list[tuple[int, float]]:
    """(update, return) of a member's snapshots; the parameters must be those of that update."""
    for snapshot in method.kept[member]:
        for tensor in snapshot.tensors.values():
            assert tensor.shape[0] == 1
            assert (tensor == snapshot.env_step / 100 + 0.5 * member).all()
    return [(snapshot.env_step // 100, snapshot.ret) for snapshot in method.kept[member]]


# updates        0    1    2     3     4     5     6     7     8
COURSE = [NAN, 3.0, 12.0, 18.0, 25.0, 24.0, 41.0, 60.0, 58.0]


def test_snapshots_when_a_multiple_of_ten_is_passed_for_the_first_time() -> None:
    # 18 is in the same ten as 12; 24 and 58 lie below what was reached; at 60, what is below 0.4 * 60 - 10 can go.
    assert kept(watched(COURSE)[0]) == [(0, 0.0), (4, 25.0), (6, 41.0), (7, 60.0)]
    assert kept(watched(COURSE[:7])[0]) == [(0, 0.0), (2, 12.0), (4, 25.0), (6, 41.0)]


@pytest.mark.parametrize(
    ("final", "update"), [(58.0, 6), (50.0, 4), (51.0, 6), (82.0, 6), (83.0, 7), (200.0, 0), (48.0, 4)]
)
def test_the_middle_is_the_first_at_half_of_the_final_return(final: float, update: int) -> None:
    middle = watched(COURSE)[0].middle(0, final)
    assert middle.env_step == 100 * update


def test_a_member_that_never_scores_has_its_start_for_a_middle() -> None:
    method, _ = watched([NAN, 0.0, 0.0, 9.9])
    assert kept(method) == [(0, 0.0)]
    assert method.middle(0, 0.0) is method.kept[0][0]


def test_members_are_watched_apart() -> None:
    method, _ = watched([NAN, 0.0, 15.0, 33.0], [NAN, 21.0, 20.0, 19.0])
    assert kept(method, 0) == [(0, 0.0), (2, 15.0), (3, 33.0)]
    assert kept(method, 1) == [(0, 0.0), (1, 21.0)]


def test_snapshots_are_copies() -> None:
    method, state = watched([NAN, 15.0])
    be_at(state, 9, [15.0])
    assert kept(method) == [(0, 0.0), (1, 15.0)]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.floats(0, 240), min_size=1, max_size=40))
def test_the_middle_is_exact_to_one_step_whatever_the_course(course: list[float]) -> None:
    """Unless the final return is below 0.8 of the best: then snapshots may be gone, as the code says."""
    method, _ = watched([NAN, *course])
    final = course[-1]
    if final < 0.8 * max(course):
        return
    middle, goal = method.middle(0, final), MIDDLE * final
    earlier = course[: max(middle.env_step // 100 - 1, 0)]
    assert all(ret < goal + STEP for ret in earlier)
    if middle.env_step:
        assert middle.ret >= goal
    else:
        assert max(course) < max(goal, STEP) + STEP  # no snapshot above the goal was ever due


def test_state_round_trip_goes_on_as_if_nothing_had_happened() -> None:
    other = [NAN, 0.0, 5.0, 20.0, 33.0, 39.0, 40.0, 10.0, 90.0]
    whole, _ = watched(COURSE, other)
    first, _ = watched(COURSE[:5], other[:5])
    resumed, state = FictitiousCoPlay(2), population(2)
    resumed.observe(state)  # as a resumed run does before it finds its checkpoint
    resumed.load_state_dict({k: v.clone() for k, v in first.state_dict().items()})
    assert [kept(resumed, m) for m in (0, 1)] == [kept(first, m) for m in (0, 1)]
    for update in range(5, 9):
        be_at(state, update, [COURSE[update], other[update]])
        resumed.observe(state)
    assert [kept(resumed, m) for m in (0, 1)] == [kept(whole, m) for m in (0, 1)]
    assert kept(resumed, 1)[-1] == (8, 90.0)


def test_the_pool_holds_start_middle_and_end_of_every_member(tmp_path: Path) -> None:
    method, state = watched(COURSE, [NAN, *[0.0] * 8])
    setup = Setup(algo=state.cfg, layout="cramped_room", seed=7, name="fcp")
    add_members(tmp_path / "pool", method.members(setup, state, OvercookedVectorEnv("cramped_room", 2)))
    pool = open_pool(tmp_path / "pool")
    listed = [(e["id"], e["checkpoint"], e["env_steps"], e["return"], e["member"]) for e in pool.entries]
    assert listed == [
        ("fcp7-0-init", "init", 0, 0.0, 0),
        ("fcp7-0-mid", "mid", 600, 41.0, 0),
        ("fcp7-0-final", "final", 800, 58.0, 0),
        ("fcp7-1-init", "init", 0, 0.0, 1),
        ("fcp7-1-mid", "mid", 0, 0.0, 1),
        ("fcp7-1-final", "final", 800, 0.0, 1),
    ]
    assert {(e["method"], e["seed"], e["layout"], e["rules"]) for e in pool.entries} == {
        ("fcp", 7, "cramped_room", "classic")
    }
    for entry, member in zip(pool.entries, pool.members, strict=True):
        for tensor in member.net.tensors().values():
            assert (tensor == entry["env_steps"] / 100 + 0.5 * entry["member"]).all()


def test_self_play_leaves_the_final_agents(tmp_path: Path) -> None:
    cfg = ppo.PPOConfig(network="mlp_features", hidden=(4,), num_envs=1)
    training = self_play.make(SPConfig(), Setup(algo=cfg, layout="cramped_room", members=2, seed=1, name="sp"))
    be_at(training.state, 3, [20.0, NAN])
    add_members(tmp_path / "pool", training.agents())
    pool = open_pool(tmp_path / "pool")
    assert [(e["id"], e["checkpoint"], e["return"]) for e in pool.entries] == [
        ("sp1-0", "final", 20.0),
        ("sp1-1", "final", None),
    ]
    for m, member in enumerate(pool.members):
        assert all(torch.equal(t[0], training.state.net.tensors()[name][m]) for name, t in member.net.tensors().items())
