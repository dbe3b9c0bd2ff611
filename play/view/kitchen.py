"""Draws one kitchen: terrain once, then everything that moves or cooks.

States are mappings in the form of overcooked-ai's `OvercookedState.to_dict`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pygame

from play.view import theme
from play.view.sprites import CELL, PLATE_AT, chef_sprites, object_sprite, side_of, soup_counts
from play.view.ui import Ui

TERRAIN = {
    "X": "counter", "O": "onions", "T": "tomatoes", "D": "dishes", "P": "pot", "S": "serve", " ": "floor",
}  # fmt: skip
POT_SIZE = 3  # ingredients a pot holds
MIN_TILE = 8


def floor_plan(grid: Sequence[str]) -> list[str]:
    """The grid's rows with the start positions (digits) replaced by floor."""
    return ["".join(" " if cell.isdigit() else cell for cell in row) for row in grid]


def start_state(grid: Sequence[str]) -> dict[str, Any]:
    """The state before the first tick, as far as a picture needs it: chefs on the digits, facing north."""
    spots = {cell: (x, y) for y, row in enumerate(grid) for x, cell in enumerate(row) if cell.isdigit()}
    players = [{"position": spots[digit], "orientation": (0, -1), "held_object": None} for digit in sorted(spots)]
    return {"players": players, "objects": []}


def tile_size(grid: Sequence[str], area: pygame.Rect, whole_pixels: bool) -> int:
    """Pixels per tile such that the grid fits `area`; a multiple of the sprites' 15 px when that is asked for."""
    fit = min(area.width // max(map(len, grid)), area.height // len(grid))
    if whole_pixels and fit >= CELL:
        fit -= fit % CELL
    return max(MIN_TILE, fit)


class KitchenPainter:
    """Draws states of one layout into `area`, centred."""

    def __init__(self, grid: Sequence[str], ui: Ui, area: pygame.Rect, whole_pixels: bool = False):
        self.plan = floor_plan(grid)
        self.ui = ui
        self.tile = tile_size(grid, area, whole_pixels)
        width, height = max(map(len, grid)) * self.tile, len(grid) * self.tile
        self.box = pygame.Rect(0, 0, width, height)
        self.box.center = area.center
        self._terrain = self._paint_terrain()

    def draw(
        self,
        surface: pygame.Surface,
        before: Mapping[str, Any],
        state: Mapping[str, Any],
        alpha: float,
        now_s: float = 0.0,
        mine: Iterable[int] = (),
        tick_hz: float = 0.0,
    ) -> None:
        """Draw the way from `before` to `state`, `alpha` in [0, 1] of it done; `mine` are local people's seats."""
        surface.blit(self._terrain, self.box)
        for item in objects_of(state):
            self._object(surface, item, now_s, tick_hz)
        for seat in mine:
            self._reach(surface, state["players"][seat], seat)
        spots = [self._spot(old, new, alpha) for old, new in zip(before["players"], state["players"], strict=True)]
        for seat in sorted(range(len(spots)), key=lambda seat: spots[seat][1]):
            self._chef(surface, state["players"][seat], seat, spots[seat])
        for seat in mine:
            self._pointer(surface, seat, spots[seat], now_s)

    def at(self, cell: Sequence[float]) -> tuple[int, int]:
        """Top left pixel of a cell, which may lie between cells."""
        return (round(self.box.left + cell[0] * self.tile), round(self.box.top + cell[1] * self.tile))

    def _paint_terrain(self) -> pygame.Surface:
        canvas = pygame.Surface(self.box.size)
        for y, row in enumerate(self.plan):
            for x, cell in enumerate(row):
                spot = (x * self.tile, y * self.tile)
                for name in ("counter" if cell == "P" else "floor", TERRAIN.get(cell, "counter")):
                    canvas.blit(self.ui.sprites.at(name, self.tile), spot)
                self._edge(canvas, x, y)
        return canvas.convert() if pygame.display.get_surface() else canvas

    def _edge(self, canvas: pygame.Surface, x: int, y: int) -> None:
        """Shade floor under a counter's front, and part counters by a thin line, to give the room depth."""
        tile = self.tile
        is_floor = self.plan[y][x] == " "
        shade = pygame.Surface((tile, max(2, tile // 8)), pygame.SRCALPHA)
        if is_floor and y and self.plan[y - 1][x] != " ":
            shade.fill((60, 40, 20, 70))
            canvas.blit(shade, (x * tile, y * tile))
        if is_floor and (x + y) % 2:  # a faint chequer, to count steps by
            square = pygame.Surface((tile, tile), pygame.SRCALPHA)
            square.fill((60, 40, 20, 14))
            canvas.blit(square, (x * tile, y * tile))
        if not is_floor:
            line = pygame.Surface((tile, tile), pygame.SRCALPHA)
            pygame.draw.rect(line, (40, 24, 0, 70), line.get_rect(), max(1, tile // 40))
            canvas.blit(line, (x * tile, y * tile))

    def _spot(self, old: Mapping[str, Any], new: Mapping[str, Any], alpha: float) -> tuple[int, int]:
        (x0, y0), (x1, y1) = old["position"], new["position"]
        if abs(x1 - x0) + abs(y1 - y0) > 1:  # a jump (seek, new game) is not a walk
            x0, y0 = x1, y1
        return self.at((x0 + (x1 - x0) * alpha, y0 + (y1 - y0) * alpha))

    def _chef(self, surface: pygame.Surface, player: Mapping[str, Any], seat: int, spot: tuple[int, int]) -> None:
        tile = self.tile
        for name in chef_sprites(player, seat, theme.SEAT_HATS):
            surface.blit(self.ui.sprites.at(name, tile), spot)
        held = player.get("held_object")
        if held and held["name"] == "soup":
            dish = self.ui.sprites.at(object_sprite(held), round(tile * 0.55))
            x, y = PLATE_AT[side_of(player)]
            surface.blit(dish, dish.get_rect(center=(spot[0] + round(x * tile), spot[1] + round(y * tile))))
        mark = max(14, round(tile * 0.26))
        x = tile - mark // 2 - 1 if side_of(player) == "WEST" else mark // 2 + 1  # never over what the hands hold
        self.ui.seat_mark(surface, seat, (spot[0] + x, spot[1] + tile - mark // 2 - 1), mark)

    def _pointer(self, surface: pygame.Surface, seat: int, spot: tuple[int, int], now_s: float) -> None:
        """The bobbing arrow over the chef of a person at this window."""
        size = max(10, self.tile // 5)
        bob = 0 if self.ui.calm else round(math.sin(now_s * 5) * size / 6)
        center = (spot[0] + self.tile // 2, spot[1] - size // 4 + bob)
        for shade, grow in ((theme.INK, 4), (theme.SEAT_COLORS[seat % 4], 0)):
            arrow = self.ui.icon("down", size + grow, shade)
            surface.blit(arrow, arrow.get_rect(center=center))

    def _reach(self, surface: pygame.Surface, player: Mapping[str, Any], seat: int) -> None:
        """Frame what a person's chef would touch."""
        (x, y), (dx, dy) = player["position"], player["orientation"]
        if not self._inside(x + dx, y + dy) or self.plan[y + dy][x + dx] == " ":
            return
        box = pygame.Rect(self.at((x + dx, y + dy)), (self.tile, self.tile))
        thick = max(2, self.tile // 24)
        pygame.draw.rect(surface, theme.INK, box, thick + 2, border_radius=thick * 2)
        pygame.draw.rect(surface, theme.SEAT_COLORS[seat % 4], box.inflate(-2, -2), thick, border_radius=thick * 2)

    def _inside(self, x: int, y: int) -> bool:
        return 0 <= y < len(self.plan) and 0 <= x < len(self.plan[y])

    def _object(self, surface: pygame.Surface, item: Mapping[str, Any], now_s: float, tick_hz: float) -> None:
        x, y = item["position"]
        in_pot = item["name"] == "soup" and self._inside(x, y) and self.plan[y][x] == "P"
        name = object_sprite(item, in_pot)
        if name in self.ui.sprites:
            surface.blit(self.ui.sprites.at(name, self.tile), self.at((x, y)))
        if in_pot:
            self._pot_state(surface, item, pygame.Rect(self.at((x, y)), (self.tile, self.tile)), now_s, tick_hz)

    def _pot_state(
        self, surface: pygame.Surface, soup: Mapping[str, Any], box: pygame.Rect, now_s: float, tick_hz: float
    ) -> None:
        """What a glance at a pot must tell: how full, how long still, or ready."""
        if soup.get("is_ready"):
            self._ready(surface, box, now_s)
        elif soup.get("is_cooking"):
            self._cooking(surface, soup, box, tick_hz)
        else:
            self._pips(surface, sum(soup_counts(soup)), box)

    def _ready(self, surface: pygame.Surface, box: pygame.Rect, now_s: float) -> None:
        pulse = 0 if self.ui.calm else math.sin(now_s * 6) * 0.04
        size = round(self.tile * (0.42 + pulse))
        center = (box.centerx, box.bottom - self.tile // 4)
        for name, grow, shade in (
            ("circle", 4, theme.INK),
            ("circle", 0, theme.GREEN),
            ("check", -size // 3, theme.PAPER),
        ):
            icon = self.ui.icon(name, size + grow, shade)
            surface.blit(icon, icon.get_rect(center=center))

    def _cooking(self, surface: pygame.Surface, soup: Mapping[str, Any], box: pygame.Rect, tick_hz: float) -> None:
        total, done = max(1, soup.get("cook_time", 1)), max(0, soup.get("cooking_tick", 0))
        bar = pygame.Rect(0, 0, round(self.tile * 0.84), max(6, self.tile // 8))
        bar.midbottom = (box.centerx, box.bottom - max(2, self.tile // 16))
        pygame.draw.rect(surface, theme.INK, bar.inflate(4, 4), border_radius=bar.height // 2)
        filled = pygame.Rect(bar.left, bar.top, max(bar.height, round(bar.width * min(1.0, done / total))), bar.height)
        pygame.draw.rect(surface, theme.YELLOW, filled, border_radius=bar.height // 2)
        left = max(0, total - done)
        label = f"{math.ceil(left / tick_hz)}s" if tick_hz else str(left)
        if self.tile >= 3 * theme.SMALL:
            back = self.ui.render(label, theme.SMALL, theme.PAPER)
            plate = back.get_rect(midbottom=(box.centerx, bar.top - 4)).inflate(8, 0)
            self.ui.box(surface, plate, theme.INK, 4)
            surface.blit(back, back.get_rect(center=plate.center))

    def _pips(self, surface: pygame.Surface, count: int, box: pygame.Rect) -> None:
        size = max(6, self.tile // 7)
        for index in range(POT_SIZE):
            center = (box.centerx + (index - 1) * round(size * 1.4), box.bottom - size)
            for shade, width in ((theme.INK, size + 4), (theme.YELLOW if index < count else theme.LINE, size)):
                dot = self.ui.icon("circle", width, shade)
                surface.blit(dot, dot.get_rect(center=center))


def objects_of(state: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Loose objects of a state; overcooked-ai writes a list, some files hold a mapping by position."""
    objects = state.get("objects", ())
    return list(objects.values()) if isinstance(objects, Mapping) else list(objects)
