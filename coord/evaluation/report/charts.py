"""Small inline charts: numbers in, SVG text out; no plotting library, no colours of their own.

A chart carries CSS classes only (`s0` ... `s7` for series), so that one style sheet decides the colours for light, dark
and paper, and a person who cannot tell colours apart still has dash patterns and direct labels. Every chart has a title
and a description for screen readers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from html import escape

import numpy as np
from numpy.typing import NDArray

NUM_SERIES_STYLES = 8  # how many series the style sheet can tell apart
MAX_POINTS = 240  # more points than this are averaged in groups: finer than the pixels of a chart
WIDTH, HEIGHT = 360, 216  # user units; about one CSS pixel each where the chart is shown
TOP, BOTTOM, LEFT = 12, 34, 46  # margins; the right one follows the longest direct label
LABEL_GAP = 13  # closest two direct labels may come, user units
MAX_LABEL = 14  # characters of a direct label
LABEL_WIDTH = 6.9  # user units per character of it

# Nine stops of the cividis map (Nunez, Anderton, Renslow 2018), made for colour-blind readers.
CIVIDIS = (
    (0, 34, 78), (18, 53, 112), (59, 73, 107), (87, 93, 109), (112, 113, 115),
    (138, 134, 120), (165, 156, 116), (195, 179, 105), (254, 232, 56),
)  # fmt: skip

Number = Callable[[float], str]  # how the values of the y axis are written

EVEN_LUMINANCE = 0.1791  # on such a background black and white text have the same contrast, 4.6


@dataclass(frozen=True)
class Series:
    """One line: `x`, `mean` and the band `low` ... `high` around it, all [T].

    `style` keeps the looks of a line the same in several charts; None: by its place in the chart.
    """

    label: str
    x: NDArray[np.float64]
    mean: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    style: int | None = None

    @property
    def last(self) -> float:
        """The last value that is a number."""
        return float(self.mean[np.isfinite(self.mean)][-1])


def short_number(value: float) -> str:
    """A number for an axis: 1500000 -> '1.5M', 0.25 -> '0.25', 120 -> '120'."""
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit and (limit > 1e3 or abs(value) >= 1e4):
            return f"{value / limit:.3g}{unit}"
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def nice_ticks(low: float, high: float, count: int = 4) -> list[float]:
    """About `count` round numbers (1, 2 or 5 times a power of ten) within [low, high], at least one."""
    span = high - low if high > low else max(abs(high), 1.0)
    power = 10.0 ** math.floor(math.log10(span / count))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= span / count * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)] or [low]


def log_ticks(low: float, high: float) -> list[float]:
    """log10 of round numbers within 10^low ... 10^high: powers of ten, or 1, 2 and 5 times those over short ranges."""
    factors = (1, 2, 5) if high - low < 2 else (1,)
    step = math.ceil((high - low) / 6) if high - low > 6 else 1
    decades = range(math.floor(low), math.ceil(high) + 1, step)
    ticks = [decade + math.log10(factor) for decade in decades for factor in factors]
    return [tick for tick in ticks if low - 1e-9 <= tick <= high + 1e-9] or [low]


def heat_colour(share: float) -> tuple[str, str]:
    """Background and text colour (hex) of a heat-map cell at `share` in [0, 1] of the scale."""
    place = min(max(share, 0.0), 1.0) * (len(CIVIDIS) - 1)
    i = min(int(place), len(CIVIDIS) - 2)
    mix = [round(a + (b - a) * (place - i)) for a, b in zip(CIVIDIS[i], CIVIDIS[i + 1], strict=True)]
    return "#{:02x}{:02x}{:02x}".format(*mix), "#000000" if _luminance(mix) > EVEN_LUMINANCE else "#ffffff"


def _luminance(rgb: Sequence[int]) -> float:
    """Relative luminance of an sRGB colour (WCAG 2.1)."""
    linear = [v / 3294.6 if v <= 10 else ((v / 255 + 0.055) / 1.055) ** 2.4 for v in rgb]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def thin_out(series: Series) -> Series:
    """Average groups of neighbouring points so that at most `MAX_POINTS` remain; the last point stays last."""
    size = math.ceil(len(series.x) / MAX_POINTS)
    if size <= 1:
        return series
    starts = np.arange(0, len(series.x), size)
    counts = np.diff(np.append(starts, len(series.x)))
    x, mean, low, high = (
        np.add.reduceat(column, starts) / counts for column in (series.x, series.mean, series.low, series.high)
    )
    return replace(series, x=x, mean=mean, low=low, high=high)


def spread(places: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Move label positions apart until neighbours are `gap` away, keeping their order and staying in [low, high]."""
    order = sorted(range(len(places)), key=lambda i: places[i])
    moved = [0.0] * len(places)
    floor = low
    for i in order:
        moved[i] = max(places[i], floor)
        floor = moved[i] + gap
    ceiling = high
    for i in reversed(order):
        moved[i] = min(moved[i], ceiling)
        ceiling = moved[i] - gap
    return moved


@dataclass(frozen=True)
class _Frame:
    """Where data lands in the picture."""

    x_range: tuple[float, float]
    y_range: tuple[float, float]
    right: float  # right edge of the plotting area

    def px(self, x: NDArray[np.float64] | float) -> NDArray[np.float64]:
        low, high = self.x_range
        return LEFT + (np.asarray(x) - low) / (high - low) * (self.right - LEFT)

    def py(self, y: NDArray[np.float64] | float) -> NDArray[np.float64]:
        low, high = self.y_range
        return HEIGHT - BOTTOM - (np.asarray(y) - low) / (high - low) * (HEIGHT - BOTTOM - TOP)


def _frame(series: Sequence[Series], number: Number) -> _Frame:
    """A frame around all series; it starts at zero where zero is near, for a cut axis exaggerates."""
    low = min(float(np.nanmin(s.low)) for s in series)
    high = max(float(np.nanmax(s.high)) for s in series)
    low = 0.0 if 0 < low < 0.5 * high else low
    x_low, x_high = min(float(s.x[0]) for s in series), max(float(s.x[-1]) for s in series)
    x_low = 0.0 if 0 < x_low < 0.2 * x_high else x_low
    y_range = (low, high) if high > low else (low - abs(low) / 2 - 0.5, high + abs(high) / 2 + 0.5)
    right = WIDTH - 12 - LABEL_WIDTH * max(len(_label(s, number)) for s in series)
    return _Frame((x_low, x_high if x_high > x_low else x_low + 1.0), y_range, right)


def _path(x: NDArray[np.float64], y: NDArray[np.float64]) -> str:
    return "M" + "L".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))


def _axes(frame: _Frame, x_label: str, number: Number, x_ticks: Sequence[tuple[float, str]]) -> list[str]:
    """Grid lines, tick labels and the name of the x axis; x_ticks: see `line_chart`."""
    out = []
    for tick in (log_ticks if number is _power else nice_ticks)(*frame.y_range):
        y = float(frame.py(tick))
        out.append(f'<line class="grid" x1="{LEFT}" x2="{frame.right:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>')
        out.append(f'<text class="tick" x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{number(tick)}</text>')
    for tick, name in x_ticks or [(tick, short_number(tick)) for tick in nice_ticks(*frame.x_range, 3)]:
        x, y = float(frame.px(tick)), HEIGHT - BOTTOM
        out.append(f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{y}" y2="{y + 4}"/>')
        out.append(f'<text class="tick" x="{x:.1f}" y="{y + 16}" text-anchor="middle">{escape(name)}</text>')
    y = HEIGHT - BOTTOM
    out.append(f'<line class="axis" x1="{LEFT}" x2="{frame.right:.1f}" y1="{y}" y2="{y}"/>')
    middle = (LEFT + frame.right) / 2
    out.append(f'<text class="tick" x="{middle:.1f}" y="{HEIGHT - 4}" text-anchor="middle">{escape(x_label)}</text>')
    return out


def _line(series: Series, style: int, frame: _Frame) -> list[str]:
    """Band and line of one series, each piece broken where values are missing."""
    out = []
    x = frame.px(series.x)
    finite = np.isfinite(series.mean)
    pieces = np.split(np.arange(len(x)), np.nonzero(np.diff(finite.astype(np.int8)))[0] + 1)
    for piece in pieces:
        if not finite[piece[0]]:
            continue
        mean, low, high = (frame.py(column[piece]) for column in (series.mean, series.low, series.high))
        if len(piece) == 1:
            out.append(f'<circle class="dot s{style}" cx="{x[piece[0]]:.1f}" cy="{mean[0]:.1f}" r="3"/>')
            continue
        if np.any(series.high[piece] > series.low[piece]):
            outline = _path(np.r_[x[piece], x[piece][::-1]], np.r_[high, low[::-1]])
            out.append(f'<path class="band s{style}" d="{outline}Z"/>')
        out.append(f'<path class="line s{style}" d="{_path(x[piece], mean)}"/>')
    return out


def _direct_labels(series: Sequence[Series], frame: _Frame, number: Number) -> list[str]:
    """The name and last value of each line, at its right end."""
    ends = [float(frame.py(s.last)) for s in series]
    places = spread(ends, LABEL_GAP, TOP + 2, HEIGHT - BOTTOM - 2)
    out = []
    for i, (one, place) in enumerate(zip(series, places, strict=True)):
        out.append(
            f'<text class="label s{_style(one, i)}" x="{frame.right + 5:.1f}" y="{place + 4:.1f}">'
            f"{escape(_label(one, number))}</text>"
        )
    return out


def _style(series: Series, place: int) -> int:
    return (place if series.style is None else series.style) % NUM_SERIES_STYLES


def _label(series: Series, number: Number) -> str:
    name = series.label if len(series.label) <= MAX_LABEL else series.label[: MAX_LABEL - 1] + "…"
    return f"{name} {number(series.last)}".strip()


def _logarithms(series: Series) -> Series:
    """The series with log10 of its values; what is not above zero is missing."""
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = (np.log10(column) for column in (series.mean, series.low, series.high))
        mean, low, high = (np.where(np.isfinite(column), column, np.nan) for column in logs)
    return replace(series, mean=mean, low=low, high=high)


def _power(value: float) -> str:
    return short_number(10.0**value)


def line_chart(
    series: Sequence[Series],
    *,
    title: str,
    x_label: str,
    log: bool = False,
    x_ticks: Sequence[tuple[float, str]] = (),
) -> str:
    """SVG of lines with bands over a common x axis; series without a finite value are left out.

    log: a logarithmic y axis, for values of different orders of magnitude; x_ticks: places on the x axis and what they
    are called, by default round numbers.
    Returns an empty string where nothing is left to draw.
    """
    scaled, number = ([_logarithms(s) for s in series], _power) if log else (series, short_number)
    drawn = [thin_out(s) for s in scaled if np.isfinite(s.mean).any()]
    if not drawn:
        return ""
    frame = _frame(drawn, number)
    body = _axes(frame, x_label, number, x_ticks)
    for i, one in enumerate(drawn):
        body += _line(one, _style(one, i), frame)
    body += _direct_labels(drawn, frame, number)
    summary = "; ".join(f"{s.label or title} ends at {number(s.last)}" for s in drawn)
    return (
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}: {escape(summary)}">'
        + "".join(body)
        + "</svg>"
    )


def line_sample(style: int) -> str:
    """A short piece of a line in that style, for a legend."""
    line = f'<path class="line s{style % NUM_SERIES_STYLES}" d="M0,6L36,6"/>'
    return f'<svg class="sample" viewBox="0 0 36 12" aria-hidden="true">{line}</svg>'


def interval_bar(mean: float, low: float, high: float, *, top: float, ticks: Sequence[float], style: str) -> str:
    """One row of a dot-and-interval plot from 0 to `top`: SVG that stretches with its cell and holds no text."""

    def at(value: float) -> str:
        return f"{100 * min(max(value / top, 0.0), 1.0):.2f}%"

    grid = "".join(f'<line class="grid" x1="{at(t)}" x2="{at(t)}" y1="0" y2="100%"/>' for t in ticks)
    bar = f'<line class="whisker" x1="{at(low)}" x2="{at(high)}" y1="50%" y2="50%"/>' if high > low else ""
    dot = f'<circle class="dot" cx="{at(mean)}" cy="50%" r="5"/>'
    return f'<svg class="interval {escape(style)}" aria-hidden="true">{grid}{bar}{dot}</svg>'
