"""Metrics on event counts and returns small enough to work out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from coord.evaluation.metrics import collision_rate, idle_share, sp_xp_gap, work_balance
from coord.overcooked import EVENTS


def counts(*games: tuple[dict[str, int], dict[str, int]]) -> np.ndarray:
    """[E, 2, len(EVENTS)] from what happened to seat 0 and seat 1 in each game."""
    table = np.zeros((len(games), 2, len(EVENTS)), np.int32)
    for e, seats in enumerate(games):
        for p, happened in enumerate(seats):
            for name, count in happened.items():
                table[e, p, EVENTS.index(name)] = count
    return table


def test_idle_share() -> None:
    events = counts(({"idle": 40}, {"idle": 100}), ({"idle": 20}, {"idle": 0}))
    np.testing.assert_allclose(idle_share(events, 200), [0.15, 0.25])


def test_collision_rate() -> None:
    events = counts(({"collision": 3}, {"collision": 3}), ({"collision": 1}, {"collision": 0}))
    assert collision_rate(events, 50) == pytest.approx(7 / 4 / 50 * 100)


def test_work_balance() -> None:
    work = {"placement_in_pot": 3, "soup_pickup": 1, "delivery": 1}
    assert work_balance(counts((work, work))) == 1.0
    assert work_balance(counts((work, {"idle": 9}))) == 0.0
    # Shares 6/8 and 2/8 over both games: 2 * 0.25.
    assert work_balance(counts((work, {"placement_in_pot": 1}), ({"delivery": 1}, {"soup_pickup": 1}))) == 0.5
    assert work_balance(counts(({"stay": 5}, {}))) is None


def test_gap_by_hand() -> None:
    returns = np.zeros((2, 2, 4))
    returns[0, 0], returns[1, 1], returns[0, 1], returns[1, 0] = 100, 200, 30, 50
    gap = sp_xp_gap(returns, ["a", "b"])
    assert gap is not None
    assert (gap.sp_mean, gap.xp_mean, gap.gap_mean) == (150.0, 40.0, 110.0)
    # Every game of a pair ended alike, and each pair is its own stratum: nothing can vary.
    assert gap.sp_ci95 == (150.0, 150.0)
    assert gap.gap_ci95 == (110.0, 110.0)


def test_gap_interval_holds_the_gap_and_its_width_shrinks() -> None:
    rng = np.random.default_rng(0)
    widths = []
    for games in (10, 160):
        returns = rng.normal(60.0, 20.0, size=(3, 3, games)) + 80.0 * np.eye(3)[..., None]
        gap = sp_xp_gap(returns, ["a", "b", "c"])
        assert gap is not None
        low, high = gap.gap_ci95
        assert low < 80.0 < high
        widths.append(high - low)
    # s.e. = 20 sqrt(1 / (3 n) + 1 / (6 n)); the interval is 2 * 1.96 times that.
    np.testing.assert_allclose(widths, [2 * 1.96 * 20 * np.sqrt(0.5 / n) for n in (10, 160)], rtol=0.25)


def test_gap_leaves_out_pairs_of_one_training_run() -> None:
    returns = np.full((3, 3, 2), 10.0)
    returns[0, 1] = returns[1, 0] = 999.0  # two checkpoints of run "a"
    gap = sp_xp_gap(returns, ["a", "a", "b"])
    assert gap is not None
    assert gap.xp_mean == 10.0
    assert sp_xp_gap(returns, ["a", "a", "a"]) is None
