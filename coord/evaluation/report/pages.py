"""What all HTML pages share: templates, assets that go into the page, and numbers as text."""

from __future__ import annotations

import math
from functools import cache
from importlib.resources import files
from typing import Any

import jinja2
from markupsafe import Markup

from coord.evaluation.report import charts
from coord.evaluation.run_folder import Interval


@cache
def template(name: str) -> jinja2.Template:
    """A template of `assets`; an undefined name in it is an error."""
    environment = jinja2.Environment(
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        loader=jinja2.FunctionLoader(asset),
    )
    environment.filters.update(ci=interval_text, num=number_text, signed=signed_text, compact=charts.short_number)
    return environment.get_template(name)


def asset(name: str) -> str:
    """A file of `assets` as text."""
    return (files(__package__) / "assets" / name).read_text(encoding="utf-8")


def inline(name: str) -> Markup:
    """The same, to be put into a page as it is."""
    return Markup(asset(name))


def number_text(value: float, digits: int = 1) -> str:
    """A number with a real minus sign, and no minus before a zero."""
    text = f"{value:.{digits}f}"
    return "0" + text[2:] if float(text) == 0 and text.startswith("-") else text.replace("-", "−")


def interval_text(interval: Interval | None, digits: int = 1) -> Markup:
    """`118.2 [110.3, 126.1]`, the interval in a softer tone."""
    if interval is None:
        return Markup("–")
    if math.isnan(interval.low):
        return Markup("{} <span class=ci>[not given]</span>").format(number_text(interval.mean, digits))
    bounds = f"[{number_text(interval.low, digits)}, {number_text(interval.high, digits)}]"
    return Markup('{} <span class="ci">{}</span>').format(number_text(interval.mean, digits), bounds)


def signed_text(value: Any) -> str:
    """A number with its sign."""
    return ("+" if value > 0 else "") + number_text(value)
