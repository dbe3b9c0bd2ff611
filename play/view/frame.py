"""What every screen shares: background, title line, line of key hints, dimmed overlay, floating notes."""

from __future__ import annotations

from collections.abc import Sequence

import pygame

from play.view import theme
from play.view.ui import Ui

HEADER, FOOTER = 72, 44  # heights in units
CAPS = {  # what a hint's key is called on a pad
    "Enter": "A", "Esc": "B", "Arrows": "D-pad", "Left Right": "D-pad", "Up Down": "D-pad", "Space": "A",
}  # fmt: skip


def draw_frame(
    surface: pygame.Surface, ui: Ui, title: str, hints: Sequence[tuple[str, str]], note: str = ""
) -> pygame.Rect:
    """Paint an empty screen and return the room left for its content."""
    width, height = ui.size
    surface.fill(theme.BACKGROUND)
    header, footer = ui.px(HEADER), ui.px(FOOTER)
    room = width - ui.px(48)
    ui.text(surface, title, (width // 2, header // 2), 32, theme.TEXT, "center", width=room)
    if note:
        y = header // 2 + ui.px(28)
        ui.text(surface, note, (width // 2, y), theme.SMALL, theme.ALERT, "center", width=room)
    surface.fill(theme.PANEL, pygame.Rect(0, height - footer, width, footer))
    draw_hints(surface, ui, hints)
    return pygame.Rect(0, header, width, height - header - footer - ui.px(12))


def draw_hints(surface: pygame.Surface, ui: Ui, hints: Sequence[tuple[str, str]]) -> None:
    """Key caps along the lower edge, named after the device used last."""
    width, height = ui.size
    footer = ui.px(FOOTER)
    row = pygame.Rect(ui.px(16), height - footer, width - ui.px(32), footer)
    ui.hints(surface, [(cap_name(ui, key), what) for key, what in hints], row)


def cap_name(ui: Ui, key: str) -> str:
    """A key's label, or the pad's button for it when a pad was used last."""
    return CAPS.get(key, key) if ui.device == "pad" else key


def dim(surface: pygame.Surface, ui: Ui) -> None:
    """Darken everything drawn so far."""
    veil = ui.keep(("veil",), lambda: _veil(ui.size))
    surface.blit(veil, (0, 0))


def panel(surface: pygame.Surface, ui: Ui, width: int, height: int) -> pygame.Rect:
    """A box in the middle of the window, sizes in units but never larger than the window; returns its inside."""
    box = pygame.Rect(0, 0, min(ui.px(width), ui.size[0] - 16), min(ui.px(height), ui.size[1] - 16))
    box.center = ui.rect.center
    ui.box(surface, box, theme.PANEL, 10, theme.LINE, 1)
    return box.inflate(-ui.px(24), -ui.px(24))


def banner(surface: pygame.Surface, ui: Ui, text: str, top: int, color: theme.Color | None = None) -> None:
    """A line of text on a dark plate, centred under `top`."""
    shown = ui.shorten(text, theme.BODY, ui.size[0] - ui.px(64))
    size = ui.font(theme.BODY).size(shown)
    plate = pygame.Rect(0, 0, size[0] + ui.px(32), size[1] + ui.px(16))
    plate.midtop = (ui.size[0] // 2, top)
    ui.box(surface, plate, theme.INK, 6, color or theme.ALERT, 2)
    ui.text(surface, shown, plate.center, theme.BODY, theme.PAPER, "center")


def _veil(size: tuple[int, int]) -> pygame.Surface:
    veil = pygame.Surface(size, pygame.SRCALPHA)
    veil.fill((*theme.BACKGROUND, 190))
    return veil


def draw_dots(surface: pygame.Surface, ui: Ui, center: tuple[int, int], now_s: float) -> None:
    """Three dots that take turns: something is under way."""
    for index in range(3):
        is_lit = ui.calm or int(now_s * 3) % 3 == index
        dot = ui.icon("circle", ui.px(16), theme.ORANGE if is_lit else theme.RAISED)
        surface.blit(dot, dot.get_rect(center=(center[0] + (index - 1) * ui.px(32), center[1])))
