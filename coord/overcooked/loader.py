"""Kitchens by whatever people call them: files, grids and names (layouts.py), and random ones (generator.py)."""

from __future__ import annotations

from pathlib import Path

from coord.overcooked.generator import generate_layout, parse_name
from coord.overcooked.layouts import Layout, read_layout


def load_layout(source: str | Path | Layout) -> Layout:
    """A layout as `layouts.read_layout` finds it; `generated:<seed>` names a random kitchen.

    Raises UserError naming the row, the column and the reason for a bad grid, or the closest name for an unknown one.
    """
    if str(source).startswith("generated:"):
        return generate_layout(*parse_name(str(source)))
    return read_layout(source)
