"""A scrolling column of widgets with one of them in focus: arrow keys or a pad walk it, the mouse takes the focus where
it points.
"""

from __future__ import annotations

from collections.abc import Sequence

import pygame

from play.view import theme
from play.view.events import UiEvent
from play.view.ui import Ui
from play.view.widgets import GAP, Widget


class Form:
    """A scrolling column of widgets, one in focus."""

    def __init__(self, widgets: Sequence[Widget], focus: int | None = None, width: int = 640):
        self.widgets = list(widgets)
        self.width = width
        self.scroll = 0
        self.focus = self._first(range(len(self.widgets))) if focus is None else focus
        self._rects: list[pygame.Rect] = []  # in window pixels as last drawn, scroll applied
        self._area = pygame.Rect(0, 0, 0, 0)
        self._chase = focus is not None  # bring the focus into view at the next drawing; else start at the top

    @property
    def focused(self) -> Widget | None:
        return self.widgets[self.focus] if 0 <= self.focus < len(self.widgets) else None

    def go_to(self, row: int) -> None:
        """Put the focus on a row and bring it into sight."""
        self._go(row)

    def _first(self, order: range) -> int:
        return next((i for i in order if self.widgets[i].focusable), -1)

    def handle(self, event: UiEvent) -> bool:
        """Give the event to the widget it belongs to; True if it was used."""
        if event.kind in ("move", "click"):
            return self._mouse(event)
        if event.kind == "wheel" and self._area.collidepoint(event.pos):
            self.scroll -= event.amount * self._area.height // 6
            self._chase = False
            return True
        if event.nav in ("confirm", "up", "down") and self._hidden():
            return self._roll(self._hidden() * self._area.height // 2)
        widget = self.focused
        is_drawn = 0 <= self.focus < len(self._rects)
        rect = self._rects[self.focus] if is_drawn else pygame.Rect(0, 0, 0, 0)
        if widget is not None and widget.handle(event, rect):
            return True
        return self._walk(event.nav)

    def _mouse(self, event: UiEvent) -> bool:
        if not self._area.collidepoint(event.pos):
            return False
        for index, rect in enumerate(self._rects):
            if rect.collidepoint(event.pos) and index < len(self.widgets) and self.widgets[index].focusable:
                self.focus = index
                if event.kind == "click":
                    self.widgets[index].handle(event, rect)
                return True
        return False

    def _walk(self, nav: str) -> bool:
        """Move the focus; over text longer than half a page, scroll instead."""
        count = len(self.widgets)
        if nav == "first":
            return self._go(self._first(range(count)))
        if nav == "last":
            return self._go(self._first(range(count - 1, -1, -1)))
        if nav in ("page_up", "page_down"):
            return self._roll(self._area.height * 3 // 4 * (1 if nav == "page_down" else -1))
        if nav not in ("up", "down"):
            return False
        step = 1 if nav == "down" else -1
        order = range(self.focus + step, count if step > 0 else -1, step)
        target = self._first(order)
        if target < 0:
            return self._roll(step * self._area.height // 3) or self._wrap_round(step)
        if self._far(target):
            return self._roll(step * self._area.height // 2) or self._go(target)
        return self._go(target)

    def _far(self, target: int) -> bool:
        """Whether so much text lies between the focus and `target` that jumping there would skip it."""
        if max(target, self.focus) >= len(self._rects) or self.focus < 0:
            return False
        first, second = sorted((self._rects[self.focus], self._rects[target]), key=lambda rect: rect.top)
        is_seen = self._rects[target].colliderect(self._area)
        return not is_seen and second.top - first.bottom > self._area.height // 2

    def _hidden(self) -> int:
        """-1 or 1 if the focus lies above or below what is seen: a person must not press what they cannot see."""
        if not 0 <= self.focus < len(self._rects) or self._chase:
            return 0
        rect = self._rects[self.focus]
        return -1 if rect.bottom <= self._area.top else int(rect.top >= self._area.bottom)

    def _wrap_round(self, step: int) -> bool:
        count = len(self.widgets)
        return self._go(self._first(range(count) if step > 0 else range(count - 1, -1, -1)))

    def _go(self, target: int) -> bool:
        if target < 0:
            return False
        self.focus, self._chase = target, True
        return True

    def _roll(self, by: int) -> bool:
        """Scroll; False if there is nothing further that way."""
        before = self.scroll
        self.scroll = max(0, min(self.scroll + by, self._overflow()))
        self._chase = False
        return self.scroll != before

    def _overflow(self) -> int:
        if not self._rects:
            return 0
        return max(0, self._rects[-1].bottom - self._rects[0].top - self._area.height)

    def draw(self, surface: pygame.Surface, ui: Ui, area: pygame.Rect) -> None:
        """Lay the column out in `area`, centred when it fits, and draw what is in sight."""
        self._layout(ui, area)
        surface.set_clip(area.clip(surface.get_rect()))
        for index, (widget, rect) in enumerate(zip(self.widgets, self._rects, strict=True)):
            if rect.colliderect(area):
                widget.draw(surface, ui, rect, index == self.focus)
        surface.set_clip(None)
        if self._overflow():
            self._bar(surface, ui)

    def _layout(self, ui: Ui, area: pygame.Rect) -> None:
        width = min(area.width - ui.px(24), ui.px(self.width))
        heights = [widget.height(ui, width) for widget in self.widgets]
        gap = ui.px(GAP)
        total = sum(heights) + gap * max(0, len(heights) - 1)
        self.scroll = max(0, min(self.scroll, total - area.height))
        top = area.top - self.scroll if total > area.height else area.top + (area.height - total) // 2
        left = area.centerx - width // 2
        self._rects, self._area = [], area
        for height in heights:
            self._rects.append(pygame.Rect(left, top, width, height))
            top += height + gap
        if self._chase and 0 <= self.focus < len(self._rects):
            self._chase = False
            self._reveal(ui, area)

    def _reveal(self, ui: Ui, area: pygame.Rect) -> None:
        rect = self._rects[self.focus]
        shift = max(0, rect.bottom - area.bottom) - max(0, area.top - rect.top)
        if shift:
            self.scroll += shift
            self._layout(ui, area)

    def _bar(self, surface: pygame.Surface, ui: Ui) -> None:
        area = self._area
        whole = area.height + self._overflow()
        track = pygame.Rect(area.right - ui.px(8), area.top, ui.px(4), area.height)
        ui.box(surface, track, theme.PANEL, 2)
        knob = pygame.Rect(track.left, 0, track.width, max(ui.px(24), area.height * area.height // whole))
        knob.top = area.top + (area.height - knob.height) * self.scroll // max(1, self._overflow())
        ui.box(surface, knob, theme.LINE, 2)
