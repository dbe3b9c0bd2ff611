"""The drawing kit of one window size: fonts, icons and rounded boxes, each rendered once and kept."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any

import pygame

from play.view import theme
from play.view.sprites import Sprites, data_folder
from play.view.theme import Color

CACHE_LIMIT = 1500  # rendered pieces kept; the oldest go first, so hours of play cost no more than minutes
SUPERSAMPLE = 4
ARROWS = {
    "Arrows": ("left", "right", "up", "down"), "Left Right": ("left", "right"), "Up Down": ("up", "down"),
    "Left": ("left",), "Right": ("right",), "Up": ("up",), "Down": ("down",),
}  # fmt: skip


class Ui:
    """Fonts, icons and boxes at one scale. Make a new one when the window's size or the text size changes."""

    def __init__(self, size: tuple[int, int], sprites: Sprites, text_scale: float = 1.0):
        self.size = size
        self.scale = theme.ui_scale(size, text_scale)
        self.sprites = sprites
        self.device = "keyboard"  # or "pad": which glyphs the key hints show
        self.calm = False  # reduced motion: no pulsing, no flying numbers
        self._font_file = _font_file()
        self._fonts: dict[int, pygame.font.Font] = {}
        self._cache: OrderedDict[Hashable, pygame.Surface | list[str]] = OrderedDict()

    def px(self, units: float) -> int:
        """Design units to whole pixels."""
        return round(units * self.scale)

    @property
    def rect(self) -> pygame.Rect:
        return pygame.Rect((0, 0), self.size)

    def font(self, units: int) -> pygame.font.Font:
        """Roboto at `units`, never below 16 px."""
        size = max(theme.SMALL, self.px(units))
        if size not in self._fonts:
            self._fonts[size] = pygame.font.Font(self._font_file, size)
        return self._fonts[size]

    def keep(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """The piece stored under `key`, made by `make` when it is new."""
        if key in self._cache:
            self._cache.move_to_end(key)
            return self._cache[key]
        piece = self._cache[key] = make()
        if len(self._cache) > CACHE_LIMIT:
            self._cache.popitem(last=False)
        return piece

    def render(self, text: str, units: int, color: Color | None = None) -> pygame.Surface:
        clean, color = text.replace("\x00", ""), color or theme.TEXT
        return self.keep(("text", clean, units, color), lambda: self.font(units).render(clean, True, color))

    def text(
        self,
        surface: pygame.Surface,
        text: str,
        at: tuple[int, int],
        units: int = theme.BODY,
        color: Color | None = None,
        anchor: str = "topleft",
        width: int | None = None,
    ) -> pygame.Rect:
        """Draw one line; `anchor` is the pygame.Rect corner put at `at`; longer than `width` px ends in dots."""
        shown = text if width is None else self.shorten(text, units, width)
        piece = self.render(shown, units, color)
        box = piece.get_rect(**{anchor: at})
        surface.blit(piece, box)
        return box

    def shorten(self, text: str, units: int, width: int) -> str:
        """The text, or as much of it as fits into `width` px with dots at its end."""
        font = self.font(units)
        if font.size(text)[0] <= width:
            return text
        while text and font.size(text + "...")[0] > width:
            text = text[:-1]
        return text.rstrip() + "..."

    def wrap(self, text: str, units: int, width: int) -> list[str]:
        """Lines of at most `width` px; a single word that is wider is cut."""
        return self.keep(("wrap", text, units, width), lambda: _wrap(self.font(units), text, width))

    def line_height(self, units: int) -> int:
        return round(self.font(units).get_linesize() * 1.1)

    def paragraph(
        self,
        surface: pygame.Surface,
        text: str,
        rect: pygame.Rect,
        units: int = theme.BODY,
        color: Color | None = None,
        center: bool = False,
    ) -> int:
        """Draw wrapped text from the top of `rect`; returns the y below its last line."""
        y = rect.top
        for line in self.wrap(text, units, rect.width):
            at, anchor = ((rect.centerx, y), "midtop") if center else ((rect.left, y), "topleft")
            self.text(surface, line, at, units, color, anchor)
            y += self.line_height(units)
        return y

    def box(
        self,
        surface: pygame.Surface,
        rect: pygame.Rect,
        color: Color,
        radius: int = 6,
        border: Color | None = None,
        thick: int = 2,
    ) -> None:
        """Rounded box with smooth corners, optionally with a border `thick` units wide inside `rect`."""
        if border is not None:
            self.box(surface, rect, border, radius)
            rect = rect.inflate(-2 * self.px(thick), -2 * self.px(thick))
            radius = max(1, radius - thick)
        r = max(1, min(self.px(radius), rect.width // 2, rect.height // 2))
        disc = self.icon("circle", 2 * r, color)
        for dx, dy in ((0, 0), (1, 0), (0, 1), (1, 1)):
            corner = (rect.left + dx * (rect.width - r), rect.top + dy * (rect.height - r))
            surface.blit(disc, corner, pygame.Rect(dx * r, dy * r, r, r))
        surface.fill(color, rect.inflate(-2 * r, 0))
        surface.fill(color, pygame.Rect(rect.left, rect.top + r, r, rect.height - 2 * r))
        surface.fill(color, pygame.Rect(rect.right - r, rect.top + r, r, rect.height - 2 * r))

    def icon(self, name: str, size: int, color: Color) -> pygame.Surface:
        """A smooth shape `size` px wide; names are the keys of `ICONS`."""
        size = max(1, size)
        return self.keep(("icon", name, size, color), lambda: _draw_icon(name, size, color))

    def seat_mark(self, surface: pygame.Surface, seat: int, center: tuple[int, int], size: int) -> None:
        """The seat's shape in its colour with its number on it."""
        for shade, grow in ((theme.INK, max(2, size // 6)), (theme.SEAT_COLORS[seat % 4], 0)):
            shape = self.icon(theme.SEAT_SHAPES[seat % 4], size + grow, shade)
            surface.blit(shape, shape.get_rect(center=center))
        drop = size // 10 if theme.SEAT_SHAPES[seat % 4] == "triangle" else 0
        number = self.keep(
            ("seat", seat, size),
            lambda: pygame.font.Font(self._font_file, max(10, round(size * 0.72))).render(
                str(seat + 1), True, theme.INK
            ),
        )
        surface.blit(number, number.get_rect(center=(center[0], center[1] + drop)))

    def key_cap(self, surface: pygame.Surface, name: str, at: tuple[int, int]) -> pygame.Rect:
        """A key drawn as a cap whose left middle is `at`; arrow keys are drawn as arrows. Returns its box."""
        box = pygame.Rect(0, 0, self.cap_width(name), self.px(24))
        box.midleft = at
        self.box(surface, box, theme.RAISED, 4, theme.LINE, 1)
        if name not in ARROWS:
            self.text(surface, name, box.center, theme.SMALL, theme.TEXT, "center")
            return box
        for place, side in enumerate(ARROWS[name]):
            icon = self.icon(side, self.px(12), theme.TEXT)
            x = box.left + self.px(6) + place * self.px(16) + self.px(8)
            surface.blit(icon, icon.get_rect(center=(x, box.centery)))
        return box

    def cap_width(self, name: str) -> int:
        """Pixels that `key_cap` takes for this key."""
        if name in ARROWS:
            return self.px(12) + len(ARROWS[name]) * self.px(16)
        return max(self.font(theme.SMALL).size(name)[0] + self.px(12), self.px(24))

    def hints(
        self, surface: pygame.Surface, hints: list[tuple[str, str]], rect: pygame.Rect, at_right: bool = False
    ) -> None:
        """A row of key caps with what each does, centred in `rect` or at its right end; what is too long is dropped."""
        gap, inner = self.px(20), self.px(8)
        sizes = [self._hint_width(key, what) for key, what in hints]
        while sizes and sum(sizes) + gap * (len(sizes) - 1) > rect.width:
            sizes.pop()
        total = sum(sizes) + gap * (len(sizes) - 1)
        x = rect.right - total if at_right else rect.centerx - total // 2
        for (key, what), width in zip(hints, sizes, strict=False):
            cap = self.key_cap(surface, key, (x, rect.centery))
            self.text(surface, what, (cap.right + inner, rect.centery), theme.SMALL, theme.MUTED, "midleft")
            x += width + gap

    def _hint_width(self, key: str, what: str) -> int:
        return self.cap_width(key) + self.px(8) + self.font(theme.SMALL).size(what)[0]


def _font_file() -> str | None:
    """Roboto as it comes with overcooked-ai, or None for pygame's own font."""
    path = data_folder() / "fonts" / "Roboto-Regular.ttf"
    return str(path) if Path(path).is_file() else None


def _wrap(font: pygame.font.Font, text: str, width: int) -> list[str]:
    lines: list[str] = []
    for part in text.replace("\x00", "").split("\n"):
        line = ""
        for word in part.split(" "):
            joined = f"{line} {word}" if line else word
            if font.size(joined)[0] <= width:
                line = joined
                continue
            if line:
                lines.append(line)
            pieces = _cut(font, word, width)
            lines.extend(pieces[:-1])
            line = pieces[-1]
        lines.append(line)
    return lines


def _cut(font: pygame.font.Font, word: str, width: int) -> list[str]:
    """`word` in pieces that fit; almost always one."""
    pieces = [""]
    for letter in word:
        if pieces[-1] and font.size(pieces[-1] + letter)[0] > width:
            pieces.append("")
        pieces[-1] += letter
    return pieces


# Outlines on a 0..1 square; "circle" is the one shape without corners.
ICONS: dict[str, tuple[tuple[tuple[float, float], ...], ...]] = {
    "circle": (),
    "square": (((0.08, 0.08), (0.92, 0.08), (0.92, 0.92), (0.08, 0.92)),),
    "diamond": (((0.5, 0.0), (1.0, 0.5), (0.5, 1.0), (0.0, 0.5)),),
    "triangle": (((0.5, 0.02), (1.0, 0.95), (0.0, 0.95)),),
    "right": (((0.25, 0.1), (0.8, 0.5), (0.25, 0.9)),),
    "left": (((0.75, 0.1), (0.2, 0.5), (0.75, 0.9)),),
    "down": (((0.1, 0.25), (0.5, 0.8), (0.9, 0.25)),),
    "up": (((0.1, 0.75), (0.5, 0.2), (0.9, 0.75)),),
    "pause": (
        ((0.2, 0.1), (0.42, 0.1), (0.42, 0.9), (0.2, 0.9)),
        ((0.58, 0.1), (0.8, 0.1), (0.8, 0.9), (0.58, 0.9)),
    ),
    "check": (((0.05, 0.55), (0.2, 0.4), (0.4, 0.6), (0.8, 0.15), (0.95, 0.3), (0.4, 0.9)),),
    "cross": (
        ((0.12, 0.24), (0.24, 0.12), (0.88, 0.76), (0.76, 0.88)),
        ((0.76, 0.12), (0.88, 0.24), (0.24, 0.88), (0.12, 0.76)),
    ),
    "star": (
        (
            (0.5, 0.02), (0.62, 0.36), (0.98, 0.37), (0.69, 0.59), (0.79, 0.94),
            (0.5, 0.73), (0.21, 0.94), (0.31, 0.59), (0.02, 0.37), (0.38, 0.36),
        ),
    ),
}  # fmt: skip


def _draw_icon(name: str, size: int, color: Color) -> pygame.Surface:
    big = size * SUPERSAMPLE
    canvas = pygame.Surface((big, big), pygame.SRCALPHA)
    canvas.fill((*color, 0))  # the same hue where clear, so that smoothing leaves no dark rim
    if name == "circle":
        pygame.draw.circle(canvas, color, (big // 2, big // 2), big // 2)
    for outline in ICONS[name]:
        pygame.draw.polygon(canvas, color, [(x * big, y * big) for x, y in outline])
    return pygame.transform.smoothscale(canvas, (size, size))
