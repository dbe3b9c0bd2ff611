"""Things a person can focus, press and change. They know nothing of screens; they call back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import pygame

from play.view import theme
from play.view.events import UiEvent
from play.view.ui import Ui

GAP = theme.STEP
CURSOR = "|"


class Widget(Protocol):
    """One row of a form."""

    focusable: bool

    def height(self, ui: Ui, width: int) -> int:
        """Pixels this row needs at `width` px."""

    def draw(self, surface: pygame.Surface, ui: Ui, rect: pygame.Rect, focused: bool) -> None:
        """Draw into `rect`, which has the width and height agreed on."""

    def handle(self, event: UiEvent, rect: pygame.Rect) -> bool:
        """React to an event while in focus; True if it was used."""


class Text:
    """A wrapped paragraph."""

    focusable = False

    def __init__(self, text: str, units: int = theme.BODY, color: theme.Color | None = None, center: bool = False):
        self.text, self.units, self.color, self.center = text, units, color, center

    def height(self, ui: Ui, width: int) -> int:
        return len(ui.wrap(self.text, self.units, width)) * ui.line_height(self.units)

    def draw(self, surface: pygame.Surface, ui: Ui, rect: pygame.Rect, focused: bool) -> None:
        ui.paragraph(surface, self.text, rect, self.units, self.color, self.center)

    def handle(self, event: UiEvent, rect: pygame.Rect) -> bool:
        return False


class Space:
    """Empty rows."""

    focusable = False

    def __init__(self, units: int = theme.STEP):
        self.units = units

    def height(self, ui: Ui, width: int) -> int:
        return ui.px(self.units)

    def draw(self, surface: pygame.Surface, ui: Ui, rect: pygame.Rect, focused: bool) -> None:
        """Nothing to see."""

    def handle(self, event: UiEvent, rect: pygame.Rect) -> bool:
        return False


class Button:
    """Press to act. `note` stands at the right, `color` marks a note that warns."""

    def __init__(
        self,
        label: str,
        action: Callable[[], None],
        *,
        note: str = "",
        color: theme.Color | None = None,
        enabled: bool = True,
        units: int = theme.BODY,
    ):
        self.label, self.action, self.note, self.color = label, action, note, color
        self.focusable = enabled
        self.units = units

    def height(self, ui: Ui, width: int) -> int:
        return ui.px(theme.ROW + 2 * (self.units - theme.BODY))

    def draw(self, surface: pygame.Surface, ui: Ui, rect: pygame.Rect, focused: bool) -> None:
        row_box(surface, ui, rect, focused)
        ink = _ink(focused, theme.TEXT if self.focusable else theme.MUTED)
        room = rect.width - ui.px(32)
        if self.note:
            note = ui.shorten(self.note, theme.SMALL, room * 6 // 10)
            color = _ink(focused, self.color or theme.MUTED)
            box = ui.text(surface, note, (rect.right - ui.px(16), rect.centery), theme.SMALL, color, "midright")
            room -= box.width + ui.px(12)
        ui.text(surface, self.label, (rect.left + ui.px(16), rect.centery), self.units, ink, "midleft", room)

    def handle(self, event: UiEvent, rect: pygame.Rect) -> bool:
        if event.nav == "confirm" or event.kind == "click":
            if not event.repeat:
                self.action()
            return True
        return False


class Choice:
    """One of several values, changed by left and right; `pick` opens a list when there are many."""

    focusable = True

    def __init__(
        self,
        label: str,
        options: Sequence[str],
        index: int,
        on_change: Callable[[int], None],
        *,
        pick: Callable[[], None] | None = None,
        mark: Callable[[int], str] | None = None,
    ):
        self.label, self.options, self.index = label, list(options), index
        self.on_change, self.pick, self.mark = on_change, pick, mark

    def height(self, ui: Ui, width: int) -> int:
        return ui.px(theme.ROW)

    def draw(self, surface: pygame.Surface, ui: Ui, rect: pygame.Rect, focused: bool) -> None:
        row_box(surface, ui, rect, focused)
        left, right = self._ends(rect)
        ui.text(
            surface, self.label, (rect.left + ui.px(16), rect.centery), theme.BODY,
            _ink(focused, theme.MUTED), "midleft", width=left.left - rect.left - ui.px(24),
        )  # fmt: skip
        for name, box in (("left", left), ("right", right)):
            icon = ui.icon(name, ui.px(14), _ink(focused, theme.MUTED))
            surface.blit(icon, icon.get_rect(center=box.center))
        middle = ((left.right + right.left) // 2, rect.centery)
        value = self.options[self.index] if self.options else "none"
        ui.text(
            surface, value, middle, theme.BODY, _ink(focused, theme.TEXT), "center",
            right.left - left.right,
        )  # fmt: skip

    def _ends(self, rect: pygame.Rect) -> tuple[pygame.Rect, pygame.Rect]:
        side = rect.height
        left = pygame.Rect(rect.left + rect.width * 2 // 5, rect.top, side, side)
        return left, pygame.Rect(rect.right - side, rect.top, side, side)

    def handle(self, event: UiEvent, rect: pygame.Rect) -> bool:
        left, right = self._ends(rect)
        if event.nav in ("left", "right"):
            return self._move(-1 if event.nav == "left" else 1)
        if event.kind == "click" and left.collidepoint(event.pos):
            return self._move(-1)
        if event.kind == "click" and right.collidepoint(event.pos):
            return self._move(1)
        if event.kind == "click" or (event.nav == "confirm" and not event.repeat):
            if self.pick is None:
                return self._move(1)
            self.pick()
            return True
        return False

    def _move(self, by: int) -> bool:
        if self.options:
            self.index = (self.index + by) % len(self.options)
            self.on_change(self.index)
        return True


def toggle(label: str, value: bool, on_change: Callable[[bool], None]) -> Choice:
    """A choice between off and on."""
    return Choice(label, ("Off", "On"), int(value), lambda index: on_change(bool(index)))


class TextField:
    """A line of text to type; `lines` > 1 shows a taller field that wraps.

    selected: what stands there is marked, and the first letter that is typed takes its place; secret: shown as dots;
    on_enter: what the Enter key does.
    """

    focusable = True

    def __init__(
        self, label: str, text: str, on_change: Callable[[str], None], *,
        limit: int = 200, lines: int = 1, selected: bool = False, secret: bool = False,
        on_enter: Callable[[], None] | None = None,
    ):  # fmt: skip
        self.label, self.text, self.on_change, self.on_enter, self.secret = label, text, on_change, on_enter, secret
        self.limit, self.lines, self.selected = limit, lines, selected and bool(text)

    def height(self, ui: Ui, width: int) -> int:
        label = ui.line_height(theme.SMALL) if self.label else 0
        return label + ui.px(16) + self.lines * ui.line_height(theme.BODY)

    def draw(self, surface: pygame.Surface, ui: Ui, rect: pygame.Rect, focused: bool) -> None:
        top = rect.top
        if self.label:
            ui.text(surface, self.label, rect.topleft, theme.SMALL, theme.MUTED)
            top += ui.line_height(theme.SMALL)
        box = pygame.Rect(rect.left, top, rect.width, rect.bottom - top)
        ui.box(surface, box, theme.PANEL, 6, theme.ORANGE if focused else theme.LINE, 2)
        inner = box.inflate(-ui.px(24), -ui.px(16))
        text = "\u2022" * len(self.text) if self.secret else self.text
        shown = ui.wrap(text + (CURSOR if focused else ""), theme.BODY, inner.width)[-self.lines :]
        if self.selected and focused:
            marked = pygame.Rect(inner.topleft, (ui.font(theme.BODY).size(self.text)[0], ui.line_height(theme.BODY)))
            ui.box(surface, marked.clip(inner), theme.RAISED, 2, theme.ORANGE, 1)
        for row, line in enumerate(shown):
            ui.text(surface, line, (inner.left, inner.top + row * ui.line_height(theme.BODY)), theme.BODY)

    def handle(self, event: UiEvent, rect: pygame.Rect) -> bool:
        if event.kind == "text":
            self._set(event.text if self.selected else self.text + event.text)
            return True
        if event.kind != "press" or event.from_pad:
            return event.kind == "click"
        if event.key == "backspace":
            self._set("" if self.selected else self.text[:-1])
            return True
        if event.nav == "confirm" and event.key != "space" and self.on_enter is not None:
            if not event.repeat:
                self.on_enter()
            return True
        if event.nav in ("left", "right"):  # what stands there is to be kept and changed
            self.selected = False
        return event.nav in ("", "left", "right") or event.key == "space"

    def _set(self, text: str) -> None:
        self.text, self.selected = text[: self.limit], False
        self.on_change(self.text)


class Likert:
    """A statement with `points` places between two ends. Nothing is chosen beforehand (`value` 0)."""

    focusable = True

    def __init__(self, text: str, points: int, low: str, high: str, value: int, on_change: Callable[[int], None]):
        self.text, self.points, self.low, self.high = text, points, low, high
        self.value, self.on_change = value, on_change

    def height(self, ui: Ui, width: int) -> int:
        lines = len(ui.wrap(self.text, theme.BODY, width - ui.px(24)))
        return lines * ui.line_height(theme.BODY) + ui.line_height(theme.SMALL) + ui.px(40 + 2 * GAP)

    def draw(self, surface: pygame.Surface, ui: Ui, rect: pygame.Rect, focused: bool) -> None:
        ui.box(surface, rect, theme.PANEL, 6, theme.ORANGE if focused else None)
        inner = rect.inflate(-ui.px(24), -ui.px(12))
        ui.paragraph(surface, self.text, inner)
        for place in range(1, self.points + 1):
            numbered_dot(surface, ui, self._dot(ui, rect, place), str(place), place == self.value)
        y = rect.bottom - ui.px(4)
        ui.text(surface, self.low, (inner.left, y), theme.SMALL, theme.MUTED, "bottomleft", width=inner.width // 2)
        ui.text(surface, self.high, (inner.right, y), theme.SMALL, theme.MUTED, "bottomright", width=inner.width // 2)
        self._ui = ui

    def _dot(self, ui: Ui, rect: pygame.Rect, place: int) -> pygame.Rect:
        size = ui.px(32)
        step = min(ui.px(64), (rect.width - ui.px(24) - size) // max(1, self.points - 1))
        x = rect.centerx + round((place - (self.points + 1) / 2) * step)
        y = rect.bottom - ui.line_height(theme.SMALL) - ui.px(8) - size // 2
        return pygame.Rect(x - size // 2, y - size // 2, size, size)

    def handle(self, event: UiEvent, rect: pygame.Rect) -> bool:
        if event.nav in ("left", "right"):
            middle = (self.points + 1) // 2
            step = -1 if event.nav == "left" else 1
            return self._set(middle if not self.value else min(self.points, max(1, self.value + step)))
        if event.kind == "press" and event.key.isdigit() and 1 <= int(event.key) <= self.points:
            return self._set(int(event.key))
        if event.kind == "click" and hasattr(self, "_ui"):
            for place in range(1, self.points + 1):
                if self._dot(self._ui, rect, place).inflate(8, 8).collidepoint(event.pos):
                    return self._set(place)
        return False

    def _set(self, value: int) -> bool:
        self.value = value
        self.on_change(value)
        return True


class Radio:
    """A question with all its answers in sight, numbered; nothing is chosen beforehand (`value` -1)."""

    focusable = True

    def __init__(self, text: str, options: Sequence[str], on_change: Callable[[int], None]):
        self.text, self.options, self.on_change, self.value = text, list(options), on_change, -1
        self._places: list[pygame.Rect] = []  # of the options, as drawn last

    def height(self, ui: Ui, width: int) -> int:
        places = self._lay_out(ui, pygame.Rect(0, 0, width, 0))
        return places[-1].bottom + ui.px(GAP)

    def _lay_out(self, ui: Ui, rect: pygame.Rect) -> list[pygame.Rect]:
        """Options from left to right, and on as many lines as they need."""
        inner = rect.inflate(-ui.px(24), 0)
        top = rect.top + ui.px(6) + len(ui.wrap(self.text, theme.BODY, inner.width)) * ui.line_height(theme.BODY)
        x, y, row, places = inner.left, top + ui.px(4), ui.px(40), []
        for option in self.options:
            width = min(inner.width, ui.px(60) + ui.font(theme.BODY).size(option)[0])
            if x > inner.left and x + width > inner.right:
                x, y = inner.left, y + row
            places.append(pygame.Rect(x, y, width, row))
            x += width
        return places

    def draw(self, surface: pygame.Surface, ui: Ui, rect: pygame.Rect, focused: bool) -> None:
        ui.box(surface, rect, theme.PANEL, 6, theme.ORANGE if focused else None)
        ui.paragraph(surface, self.text, rect.inflate(-ui.px(24), -ui.px(12)))
        self._places = self._lay_out(ui, rect)
        for number, (option, place) in enumerate(zip(self.options, self._places, strict=True)):
            dot = pygame.Rect(place.left, place.centery - ui.px(16), ui.px(32), ui.px(32))
            numbered_dot(surface, ui, dot, str(number + 1), number == self.value)
            room = place.width - ui.px(44)
            at = (dot.right + ui.px(8), place.centery)
            ui.text(surface, option, at, theme.BODY, theme.TEXT, "midleft", room)

    def handle(self, event: UiEvent, rect: pygame.Rect) -> bool:
        if event.nav in ("left", "right"):
            step, count = (-1 if event.nav == "left" else 1), len(self.options)
            return self._set(min(count - 1, max(0, self.value + step)))
        if event.kind == "press" and event.key.isdigit() and 1 <= int(event.key) <= len(self.options):
            return self._set(int(event.key) - 1)
        if event.kind == "click":
            for number, place in enumerate(self._places):
                if place.collidepoint(event.pos):
                    return self._set(number)
        return False

    def _set(self, value: int) -> bool:
        self.value = value
        self.on_change(value)
        return True


def numbered_dot(surface: pygame.Surface, ui: Ui, box: pygame.Rect, label: str, is_chosen: bool) -> None:
    """A round place on a scale or beside an answer, filled when it is chosen."""
    for size, color in ((box.width, theme.ORANGE if is_chosen else theme.LINE), (box.width - ui.px(4), None)):
        dot = ui.icon("circle", size, color or (theme.ORANGE if is_chosen else theme.RAISED))
        surface.blit(dot, dot.get_rect(center=box.center))
    ui.text(surface, label, box.center, theme.SMALL, theme.INK if is_chosen else theme.TEXT, "center")


def row_box(surface: pygame.Surface, ui: Ui, rect: pygame.Rect, focused: bool) -> None:
    """The box behind a row: bright when in focus."""
    ui.box(surface, rect, theme.ORANGE if focused else theme.RAISED, 6)


def _ink(focused: bool, color: theme.Color) -> theme.Color:
    return theme.INK if focused else color
