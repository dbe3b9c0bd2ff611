"""The little kitchen behind the menu: two chefs who make one soup, over and over."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pygame

from play.view.kitchen import KitchenPainter
from play.view.ui import Ui

GRID = ("XXXXXXX", "O1 P 2D", "X  X  S", "XXXXXXX")
POT = (3, 1)
COOK_TICKS = 8
TICK_S = 0.3
SIDES = {"N": (0, -1), "S": (0, 1), "E": (1, 0), "W": (-1, 0)}

# One line per tick: column, row, facing and hands (o onion, d dish, s soup) of each chef; ingredients in the pot;
# ticks it has cooked (- not yet).
SCRIPT = """
1 1 W . 5 1 E . 0 -
1 1 W o 5 1 E . 0 -
2 1 E o 5 1 E d 0 -
2 1 E . 4 1 W d 1 -
1 1 W . 4 1 W d 1 -
1 1 W o 4 1 W d 1 -
2 1 E o 4 1 W d 1 -
2 1 E . 4 2 S d 2 -
1 1 W . 4 2 S d 2 -
1 1 W o 4 2 S d 2 -
2 1 E o 4 1 N d 2 -
2 1 E . 4 1 W d 3 0
2 2 S . 4 1 W d 3 1
1 2 W . 4 1 W d 3 2
1 1 N . 4 1 W d 3 3
1 1 W . 4 1 W d 3 4
1 1 W . 4 1 W d 3 5
1 1 W . 4 1 W d 3 6
1 1 W . 4 1 W d 3 7
1 1 W . 4 1 W d 3 8
1 1 W . 4 1 W s 0 -
1 1 W . 5 1 E s 0 -
1 1 W . 5 2 S s 0 -
1 1 W . 5 2 E s 0 -
1 1 W . 5 2 E . 0 -
1 1 W . 5 1 N . 0 -
"""


def _states() -> list[Mapping[str, Any]]:
    return [_state(line.split()) for line in SCRIPT.strip().splitlines()]


def _state(words: list[str]) -> Mapping[str, Any]:
    count, cooked = int(words[8]), words[9]
    objects = [_soup(POT, count, -1 if cooked == "-" else int(cooked))] if count else []
    return {"players": [_player(words[:4]), _player(words[4:8])], "objects": objects}


def _player(words: list[str]) -> Mapping[str, Any]:
    spot = (int(words[0]), int(words[1]))
    held = {".": None, "o": {"name": "onion"}, "d": {"name": "dish"}, "s": _soup(spot, 3, COOK_TICKS)}[words[3]]
    return {"position": spot, "orientation": SIDES[words[2]], "held_object": held}


def _soup(spot: tuple[int, int], count: int, cooked: int) -> Mapping[str, Any]:
    return {
        "name": "soup",
        "position": spot,
        "_ingredients": [{"name": "onion"}] * count,
        "cooking_tick": cooked,
        "cook_time": COOK_TICKS,
        "is_cooking": 0 <= cooked < COOK_TICKS,
        "is_ready": cooked >= COOK_TICKS,
    }


class Attract:
    """Draws the looping scene; still when the person asked for calm."""

    def __init__(self) -> None:
        self._states = _states()
        self._painter: KitchenPainter | None = None
        self._made_for: tuple[Ui, pygame.Rect] | None = None

    def draw(self, surface: pygame.Surface, ui: Ui, area: pygame.Rect, now_s: float) -> None:
        """Draw the moment `now_s` of the scene, centred in `area`."""
        if self._made_for is None or self._made_for[0] is not ui or self._made_for[1] != area:
            self._painter, self._made_for = KitchenPainter(GRID, ui, area, whole_pixels=True), (ui, area)
        assert self._painter is not None
        tick, part = (4, 1.0) if ui.calm else divmod(now_s / TICK_S, 1.0)
        here = int(tick) % len(self._states)
        self._painter.draw(surface, self._states[here - 1], self._states[here], part, now_s)
