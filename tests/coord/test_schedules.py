"""Schedules against numbers worked out by hand."""

from __future__ import annotations

import pytest

from coord.schedules import Schedule, linear


def test_points_lines_and_ends() -> None:
    # From 0.2 at 0 to 0.05 at 100 (slope -0.0015), then to 0.01 at 300 (slope -0.0002).
    schedule = Schedule((0, 100, 300), (0.2, 0.05, 0.01))
    table = {-5: 0.2, 0: 0.2, 50: 0.125, 100: 0.05, 200: 0.03, 300: 0.01, 10_000: 0.01}
    assert {step: pytest.approx(value) for step, value in table.items()} == {
        step: schedule(step) for step in table
    }


def test_flat_before_the_first_point() -> None:
    assert Schedule((100, 200), (1.0, 0.0))(50) == 1.0
    assert Schedule((100, 200), (1.0, 0.0))(150) == 0.5


def test_one_point_is_a_constant() -> None:
    assert Schedule((0,), (0.3,))(-1) == Schedule((0,), (0.3,))(1e9) == 0.3


def test_linear() -> None:
    assert [linear(1.0, 0.0, 200)(step) for step in (0, 50, 200, 999)] == [1.0, 0.75, 0.0, 0.0]
    assert linear(1.0, 0.2, 0)(0) == 0.2


@pytest.mark.parametrize(
    ("steps", "values"), [((), ()), ((0, 1), (1.0,)), ((5, 5), (1.0, 0.0)), ((5, 1), (1.0, 0.0))]
)
def test_bad_points_are_refused(steps: tuple[int, ...], values: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="schedule"):
        Schedule(steps, values)
