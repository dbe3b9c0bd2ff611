"""Ticks come at their deadlines: no drift, no burst after a stall, nothing during a pause."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from play.game.clock import TickClock


def run(clock: TickClock, times) -> list[float]:
    """Times at which ticks were played, asking at each of `times`."""
    played = []
    for now_s in times:
        if clock.due(now_s):
            clock.advance()
            played.append(now_s)
    return played


def test_ten_thousand_ticks_do_not_drift():
    clock = TickClock(6.67)
    clock.resume(50.0)
    rng = np.random.default_rng(0)
    frames = 50.0 + np.cumsum(rng.uniform(0.004, 0.03, size=120_000))
    played = run(clock, frames)
    deadlines = 50.0 + np.arange(1, len(played) + 1) / 6.67
    late = np.array(played) - deadlines
    assert len(played) == int((frames[-1] - 50.0) * 6.67) > 10_000
    assert late.min() > -1e-6
    assert late.max() < 0.03


def test_no_tick_before_its_time_and_one_exactly_then():
    clock = TickClock(4.0)
    clock.resume(10.0)
    assert not clock.due(10.249)
    assert clock.due(10.25)


def test_a_stall_is_made_up_for_only_up_to_the_cap():
    clock = TickClock(10.0, max_backlog=3)
    clock.resume(0.0)
    made_up = 0
    while clock.due(5.0):
        clock.advance()
        made_up += 1
    assert made_up == 3
    assert clock.forgiven_s == pytest.approx(5.0 - 0.3)
    assert not clock.due(5.09)
    assert clock.due(5.1)


def test_pause_freezes_the_fraction_of_a_tick():
    clock = TickClock(10.0)
    clock.resume(0.0)
    clock.pause(0.06)
    assert clock.alpha(0.06) == pytest.approx(0.6)
    assert clock.alpha(99.0) == pytest.approx(0.6)
    assert not clock.due(99.0)
    clock.resume(100.0)
    assert not clock.due(100.039)
    assert clock.due(100.04)


def test_stopped_until_resumed_and_repeats_do_nothing():
    clock = TickClock(10.0)
    assert clock.stopped
    assert not clock.due(1e6)
    clock.resume(7.0)
    clock.resume(8.0)
    assert clock.deadline_s() == pytest.approx(7.1)
    clock.pause(7.05)
    clock.pause(7.09)
    clock.resume(20.0)
    assert clock.deadline_s() == pytest.approx(20.05)


@given(st.lists(st.floats(0, 2), min_size=1, max_size=40), st.floats(0.5, 60))
def test_alpha_is_a_fraction_whatever_happens(steps, hz):
    clock = TickClock(hz)
    clock.resume(0.0)
    now_s = 0.0
    for i, step in enumerate(steps):
        now_s += step
        if i % 5 == 3:
            clock.pause(now_s)
        if i % 5 == 4:
            clock.resume(now_s)
        if clock.due(now_s):
            clock.advance()
        assert 0.0 <= clock.alpha(now_s) <= 1.0


def test_a_rate_of_zero_is_refused():
    with pytest.raises(ValueError, match="above 0"):
        TickClock(0)
