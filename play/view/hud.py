"""What surrounds the kitchen during a game: score, time, orders, who plays, measurements on F3."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pygame

from play.view import theme
from play.view.sprites import object_sprite, recipe_sprite
from play.view.ui import Ui

TOP, BOTTOM = 64, 44  # heights in units
HURRY_S = 10.0  # time left that turns the clock into a warning


class Order(NamedTuple):
    """One wanted dish."""

    ingredients: tuple[str, ...]
    value: float | None  # see `whole_points`
    bonus: bool


def whole_points(points: float) -> float:
    """Points as they are shown: without decimals; a bonus without bounds (tutorial_3 under overcooked-ai) stays so."""
    return round(points) if math.isfinite(points) else points


class SeatLabel(NamedTuple):
    """Who sits where."""

    name: str
    is_mine: bool
    note: str  # "" or what is wrong ("thinking late", "left the kitchen")


@dataclass
class Hud:
    """Everything the HUD shows of one moment."""

    is_timed: bool = True  # False: the tutorial, without score and clock
    score: float = 0  # see `whole_points`
    seconds_left: float = 0.0
    part_left: float = 1.0
    orders: Sequence[Order] = ()
    seats: Sequence[SeatLabel] = ()
    hints: Sequence[tuple[str, str]] = field(default_factory=tuple)


class Regions(NamedTuple):
    """The window cut into HUD and kitchen."""

    top: pygame.Rect
    kitchen: pygame.Rect
    bottom: pygame.Rect


def regions(ui: Ui, extra_bottom: int = 0) -> Regions:
    """Where HUD and kitchen go; `extra_bottom` units are kept free above the bottom line."""
    width, height = ui.size
    top, bottom = ui.px(TOP), ui.px(BOTTOM)
    pad = ui.px(12)
    room = pygame.Rect(pad, top + pad, width - 2 * pad, height - top - bottom - 2 * pad - ui.px(extra_bottom))
    return Regions(pygame.Rect(0, 0, width, top), room, pygame.Rect(0, height - bottom, width, bottom))


def draw_hud(surface: pygame.Surface, ui: Ui, hud: Hud, state: Mapping[str, Any]) -> None:
    """Draw the bars above and below the kitchen."""
    top, _, bottom = regions(ui)
    surface.fill(theme.PANEL, top)
    surface.fill(theme.PANEL, bottom)
    left, right = top.left, top.right
    if hud.is_timed:
        left, right = _score(surface, ui, hud, top), _clock(surface, ui, hud, top)
    _orders(surface, ui, hud, pygame.Rect(left, top.top, right - left, top.height))
    _seats(surface, ui, hud, state, bottom)


def clock_text(seconds: float) -> str:
    """Seconds as m:ss, rounded up so that 0:00 is only shown at the end."""
    whole = max(0, int(-(-seconds // 1)))
    return f"{whole // 60}:{whole % 60:02d}"


def _score(surface: pygame.Surface, ui: Ui, hud: Hud, top: pygame.Rect) -> int:
    x = ui.px(20)
    label = ui.text(surface, "Score", (x, top.centery), theme.SMALL, theme.MUTED, "midleft")
    number = ui.text(surface, str(hud.score), (label.right + ui.px(10), top.centery), 36, theme.TEXT, "midleft")
    return number.right + ui.px(24)


def _clock(surface: pygame.Surface, ui: Ui, hud: Hud, top: pygame.Rect) -> int:
    is_late = hud.seconds_left <= HURRY_S
    color = theme.ALERT if is_late else theme.TEXT
    x = ui.size[0] - ui.px(20)
    widest = ui.font(36).size("00:00")[0]
    ui.text(surface, clock_text(hud.seconds_left), (x, top.centery), 36, color, "midright")
    label = "Hurry" if is_late else "Time"
    ui.text(surface, label, (x - widest - ui.px(4), top.centery), theme.SMALL, theme.MUTED, "midright")
    bar = pygame.Rect(0, top.bottom - ui.px(4), ui.size[0], ui.px(4))
    surface.fill(theme.RAISED, bar)
    bar.width = round(bar.width * min(1.0, max(0.0, hud.part_left)))
    surface.fill(color if is_late else theme.ORANGE, bar)
    return x - widest - ui.px(64)


def _orders(surface: pygame.Surface, ui: Ui, hud: Hud, room: pygame.Rect) -> None:
    size, gap = ui.px(44), ui.px(8)
    widths = [size + gap + _value_width(ui, order) for order in hud.orders]
    shown = list(hud.orders)
    while shown and sum(widths[: len(shown)]) + gap * len(shown) > room.width:
        shown.pop()
    x = room.centerx - (sum(widths[: len(shown)]) + gap * (len(shown) - 1)) // 2
    for order, width in zip(shown, widths, strict=False):
        dish = ui.sprites.at(recipe_sprite(order.ingredients), size)
        spot = dish.get_rect(midleft=(x, room.centery - ui.px(2)))
        surface.blit(dish, spot)
        if order.bonus:
            star = ui.icon("star", ui.px(16), theme.YELLOW)
            surface.blit(star, star.get_rect(center=(spot.right - ui.px(6), spot.top + ui.px(8))))
        if order.value is not None:
            text = f"+{order.value}"
            ui.text(surface, text, (spot.right + ui.px(4), spot.centery), theme.SMALL, theme.MUTED, "midleft")
        x += width + gap


def _value_width(ui: Ui, order: Order) -> int:
    return 0 if order.value is None else ui.font(theme.SMALL).size(f"+{order.value}")[0]


def _seats(surface: pygame.Surface, ui: Ui, hud: Hud, state: Mapping[str, Any], bottom: pygame.Rect) -> None:
    x = ui.px(16)
    share = ui.size[0] * (3 if len(hud.hints) > 2 else 4) // 6 // max(1, len(hud.seats))
    for seat, label in enumerate(hud.seats):
        x = max(_seat(surface, ui, seat, label, state, (x, bottom.centery), share), x + share // 2)
    room = pygame.Rect(x, bottom.top, ui.size[0] - x - ui.px(16), bottom.height)
    if hud.hints and room.width > 0:
        ui.hints(surface, list(hud.hints), room, at_right=True)


def _seat(
    surface: pygame.Surface,
    ui: Ui,
    seat: int,
    label: SeatLabel,
    state: Mapping[str, Any],
    at: tuple[int, int],
    share: int,
) -> int:
    """One chip: mark, name, what the hands hold. Returns the x after it."""
    x, y = at
    size = ui.px(22)
    ui.seat_mark(surface, seat, (x + size // 2, y), size)
    color = theme.ALERT if label.note else (theme.TEXT if label.is_mine else theme.MUTED)
    text = f"{label.name} ({label.note})" if label.note else label.name
    room = max(ui.px(60), share - size - ui.px(70))
    box = ui.text(surface, text, (x + size + ui.px(8), y), theme.BODY, color, "midleft", room)
    held = state["players"][seat].get("held_object") if seat < len(state["players"]) else None
    if held:
        icon = ui.sprites.at(object_sprite(held), ui.px(30))
        surface.blit(icon, icon.get_rect(midleft=(box.right + ui.px(6), y)))
    return box.right + ui.px(56)


def draw_measurements(surface: pygame.Surface, ui: Ui, lines: Sequence[str]) -> None:
    """Lines in the upper left corner, over everything."""
    if not lines:
        return
    height = ui.line_height(theme.SMALL)
    width = max(ui.font(theme.SMALL).size(line)[0] for line in lines) + ui.px(16)
    box = pygame.Rect(ui.px(8), regions(ui).top.bottom + ui.px(8), width, height * len(lines) + ui.px(12))
    ui.box(surface, box, theme.INK, 4)
    for row, line in enumerate(lines):
        ui.text(surface, line, (box.left + ui.px(8), box.top + ui.px(6) + row * height), theme.SMALL, theme.PAPER)
