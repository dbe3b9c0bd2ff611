"""Small charts: scales and positions against values worked by hand."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from coord.evaluation.report import charts


def line(values: list[float], label: str = "a") -> charts.Series:
    y = np.asarray(values, np.float64)
    return charts.Series(label, np.arange(len(y), dtype=np.float64), y, y - 1.0, y + 1.0)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.0, 200.0, [0.0, 50.0, 100.0, 150.0, 200.0]),
        (-2.0, 213.0, [0.0, 100.0, 200.0]),
        (0.0, 5e6, [0.0, 2e6, 4e6]),
        (0.001, 0.0019, [0.001, 0.0015]),
        (7.0, 7.0, [7.0]),
    ],
)
def test_ticks_are_round_and_inside(low: float, high: float, expected: list[float]) -> None:
    ticks = charts.nice_ticks(low, high)
    assert ticks == pytest.approx(expected)
    assert min(ticks) >= low - 1e-9
    assert max(ticks) <= high + 1e-9


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (0.25, "0.25"), (211.4, "211"), (1500.0, "1500"), (5e4, "50k"), (2e9, "2G"), (-3e6, "-3M")],
)
def test_numbers_are_short(value: float, text: str) -> None:
    assert charts.short_number(value) == text


def test_labels_are_moved_apart_in_order_and_stay_inside() -> None:
    assert charts.spread([10.0, 100.0], 13.0, 0.0, 200.0) == [10.0, 100.0]
    assert charts.spread([50.0, 48.0, 49.0], 10.0, 0.0, 200.0) == [68.0, 48.0, 58.0]
    assert charts.spread([199.0, 200.0], 10.0, 0.0, 200.0) == [190.0, 200.0]


def test_thinning_keeps_the_mean_and_the_order() -> None:
    values = np.random.default_rng(0).normal(size=4 * charts.MAX_POINTS).tolist()
    thin = charts.thin_out(line(values))
    assert len(thin.x) == charts.MAX_POINTS
    assert thin.mean.mean() == pytest.approx(np.mean(values))
    assert (np.diff(thin.x) > 0).all()
    np.testing.assert_allclose(thin.high - thin.low, 2.0)


def test_a_line_lands_where_its_values_are() -> None:
    svg = charts.line_chart([line([0.0, 10.0])], title="t", x_label="x")
    path = re.search(r'class="line s0" d="M([\d.]+),([\d.]+)L([\d.]+),([\d.]+)"', svg)
    assert path is not None
    x0, y0, x1, y1 = map(float, path.groups())
    assert x0 == charts.LEFT
    assert x1 > x0
    # The band runs from -1 to 11, so 0 and 10 lie a twelfth from the ends.
    span = charts.HEIGHT - charts.BOTTOM - charts.TOP
    assert y0 == pytest.approx(charts.HEIGHT - charts.BOTTOM - span / 12, abs=0.06)
    assert y1 == pytest.approx(charts.TOP + span / 12, abs=0.06)


def test_gaps_break_the_line_and_nothing_to_draw_is_empty() -> None:
    gap = charts.line_chart([line([1.0, 2.0, np.nan, 3.0, 4.0, np.nan, 5.0])], title="t", x_label="x")
    assert gap.count('class="line') == 2
    assert gap.count("<circle") == 1  # a point between gaps
    assert "nan" not in gap
    assert charts.line_chart([line([np.nan, np.nan])], title="t", x_label="x") == ""
    assert charts.line_chart([], title="t", x_label="x") == ""


def test_constant_lines_and_single_points_can_be_drawn() -> None:
    flat = charts.Series("a", np.array([5.0]), np.array([3.0]), np.array([3.0]), np.array([3.0]))
    assert "nan" not in charts.line_chart([flat], title="t", x_label="x")


def test_names_are_escaped() -> None:
    svg = charts.line_chart([line([1.0, 2.0], label="<b>")], title='"<t>', x_label="<x>")
    assert "<b>" not in svg
    assert "<x>" not in svg
    assert '"<t>' not in svg


def _luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return float(np.dot([0.2126, 0.7152, 0.0722], linear))


def test_heat_map_colours_grow_lighter_and_keep_their_text_readable() -> None:
    looks = [charts.heat_colour(share) for share in np.linspace(0, 1, 101)]
    lights = [_luminance(back) for back, _ in looks]
    assert lights == sorted(lights)
    for back, ink in looks:
        light, dark = sorted((_luminance(back), _luminance(ink)), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5  # WCAG 2 AA for text


def test_an_interval_bar_is_in_percent_of_the_scale() -> None:
    bar = charts.interval_bar(50.0, 25.0, 75.0, top=200.0, ticks=[0.0, 100.0], style="s0")
    assert 'x1="12.50%" x2="37.50%"' in bar
    assert 'cx="25.00%"' in bar
    assert bar.count('class="grid"') == 2
    assert "whisker" not in charts.interval_bar(5.0, 5.0, 5.0, top=10.0, ticks=[], style="s0")


def test_a_line_keeps_its_style_whatever_else_is_drawn() -> None:
    nothing = charts.Series("n", np.arange(2.0), *np.full((3, 2), np.nan))
    styled = replace(line([0.0, 1.0]), style=charts.NUM_SERIES_STYLES + 5)
    svg = charts.line_chart([nothing, styled], title="t", x_label="x")
    assert 'class="line s5"' in svg
    assert 'class="label s5"' in svg
    assert 'class="line s5"' in charts.line_sample(5)


def test_a_logarithmic_axis_names_the_values_themselves() -> None:
    values = np.array([1e-5, 0.0, 1e-3, 1e-1])
    one = charts.Series("a", np.arange(4.0), values, values, values)
    svg = charts.line_chart([one], title="t", x_label="x", log=True)
    assert "a 0.1<" in svg
    assert all(f">{text}</text>" in svg for text in ("1e-05", "0.001", "0.1"))
    assert svg.count('class="dot') == 1  # zero has no place: the line is broken there
    height = {text: float(y) for y, text in re.findall(r'y="([\d.]+)" text-anchor="end">([^<]+)<', svg)}
    assert height["1e-05"] - height["0.001"] == pytest.approx(height["0.001"] - height["0.1"], abs=0.2)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0.0, 1.0, [1.0, 2.0, 5.0, 10.0]), (-5.2, -2.0, [1e-5, 1e-4, 1e-3, 1e-2]), (0.5, 0.6, [10**0.5])],
)
def test_logarithmic_ticks_are_round(low: float, high: float, expected: list[float]) -> None:
    assert [10**tick for tick in charts.log_ticks(low, high)] == pytest.approx(expected)
