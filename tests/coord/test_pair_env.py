"""Pairs of learners with a hidden utility: who is paid for what."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from coord.errors import UserError
from coord.overcooked import EVENTS, OvercookedVectorEnv
from coord.pair_env import PairEnv, Utility

STAY, INTERACT, SOUTH = 4, 5, 1


def make(utilities: list[Utility], kitchens: int = 4, horizon: int = 40) -> PairEnv:
    env = OvercookedVectorEnv("cramped_room", kitchens * len(utilities), horizon=horizon, seed=3)
    return PairEnv(env, utilities)


def test_an_unknown_event_names_the_closest() -> None:
    with pytest.raises(UserError, match="delivery"):
        Utility({"delivry": 1})


def test_the_first_of_a_pair_is_paid_by_utility_and_the_second_by_task() -> None:
    env = make([Utility({"stay": 2.0}, task=0.0), Utility({"stay": -1.0})])
    act = torch.full((4, 4), SOUTH)
    act[0, :2] = STAY  # first of pair 0 in kitchens 0 and 1
    act[3, 3] = STAY  # second of pair 1 in kitchen 3: not paid for that
    rew = env.step(act).rew
    assert rew.tolist() == [[2, 2, 0, 0], [0] * 4, [0] * 4, [0] * 4]


def test_utility_sums_to_weights_times_the_counts_of_the_episode() -> None:
    rng = np.random.default_rng(0)
    weights = dict(zip(EVENTS, rng.normal(size=len(EVENTS)).tolist(), strict=True))
    env = make([Utility(weights, task=0.5), Utility({"movement": 1.0}, task=0.0)], kitchens=6, horizon=30)
    total, task = torch.zeros(4, 6), torch.zeros(4, 6)
    for _ in range(30):
        step = env.step(torch.from_numpy(rng.integers(6, size=(4, 6))))
        total += step.rew
        task[1::2] += step.rew[1::2]
    assert bool(step.truncated.all())
    counts = env.env.event_counts(final=True).reshape(2, 6, 2, -1)
    for n in range(6):
        seat = n % 2
        want = counts[0, n, seat] @ np.array([weights[e] for e in EVENTS]) + 0.5 * task[1, n].item()
        assert total[0, n].item() == pytest.approx(want, abs=1e-3)
        assert total[2, n].item() == counts[1, n, seat, EVENTS.index("movement")]
    episodes = env.finished()
    assert episodes.member.tolist() == [0, 1] * 6 + [2, 3] * 6
    assert episodes.seat[:4].tolist() == [0, 1, 1, 0]
    np.testing.assert_allclose(episodes.ret[:12:2], env.env.episode_return(final=True)[:6])


def test_rows_show_and_move_the_seat_they_hold() -> None:
    env = make([Utility(), Utility()], kitchens=2)
    obs = env.observe()
    every = env.env.index_obs()
    np.testing.assert_array_equal(obs[2, 1], every[3, 1])  # pair 1, first role, kitchen 1 of it: seat 1
    np.testing.assert_array_equal(obs[3, 1], every[3, 0])
    act = torch.full((4, 2), STAY)
    act[2, 1] = SOUTH
    env.step(act)
    stayed = env.env.event_counts()[..., EVENTS.index("stay")]
    assert stayed.tolist() == [[1, 1], [1, 1], [1, 1], [1, 0]]


def test_resume_pays_the_same() -> None:
    def play(env: PairEnv, ticks: int, rng: np.random.Generator) -> list[torch.Tensor]:
        return [env.step(torch.from_numpy(rng.integers(6, size=(2, 4)))).rew for _ in range(ticks)]

    rng = np.random.default_rng(1)
    one, two = make([Utility({"movement": 1.0})]), make([Utility({"movement": 1.0})])
    play(one, 55, rng)
    two.set_state(one.get_state())
    again = np.random.default_rng(2), np.random.default_rng(2)
    for a, b in zip(play(one, 50, again[0]), play(two, 50, again[1]), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)
