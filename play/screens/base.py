"""The plain list and message screens that others open."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import pygame

from play.screens.host import Host
from play.screens.ways import BACK
from play.view import theme
from play.view.events import UiEvent
from play.view.form import Form
from play.view.frame import draw_frame, draw_hints
from play.view.widgets import Button, Text, Widget

BACK_HINTS = (("Up Down", "choose"), ("Enter", "open"), ("Esc", "back"))


class FormScreen:
    """A title over a form; `build` makes the widgets anew whenever `refresh` is called."""

    lively = False

    def __init__(
        self,
        app: Host,
        title: str,
        build: Callable[[], Sequence[Widget]],
        *,
        hints: Sequence[tuple[str, str]] = BACK_HINTS,
        on_back: Callable[[], None] | None = None,
        note: Callable[[], str] = str,
        width: int = 640,
    ):
        self.app, self.title, self.build, self.hints, self.note = app, title, build, hints, note
        self.on_back = on_back or partial(app.go, BACK)
        self.form = Form(build(), width=width)

    @property
    def name(self) -> str:
        """The title on the page."""
        return self.title

    def refresh(self) -> None:
        """Build the widgets again, keeping the focus where it was."""
        focus, scroll = self.form.focus, self.form.scroll
        self.form = Form(self.build(), width=self.form.width)
        if 0 <= focus < len(self.form.widgets) and self.form.widgets[focus].focusable:
            self.form.focus = focus
        self.form.scroll = scroll

    def handle(self, event: UiEvent) -> None:
        before = self.form.focus
        used = self.form.handle(event)
        if used and self.form.focus != before:
            self.app.sound.play("move")
        if not used and event.nav == "back":
            self.on_back()

    def update(self, now_s: float) -> None:
        """Nothing moves by itself."""

    def draw(self, surface: pygame.Surface) -> None:
        area = draw_frame(surface, self.app.ui, self.title, self.hints, self.note())
        self.form.draw(surface, self.app.ui, area)

    def close(self) -> None:
        """Nothing to stop."""


def message(app: Host, title: str, text: str, buttons: Sequence[tuple[str, Callable[[], None]]] = ()) -> FormScreen:
    """A page that says something and offers a way on; without buttons, the way back."""
    ways = buttons or (("Back", partial(app.go, BACK)),)

    def build() -> list[Widget]:
        return [Text(text, theme.BODY, center=True), *(Button(label, action) for label, action in ways)]

    return FormScreen(app, title, build, hints=(("Enter", "choose"), ("Esc", "back")))


class PickScreen:
    """A long list to choose from; typing narrows it down."""

    lively = False

    def __init__(
        self,
        app: Host,
        title: str,
        rows: Sequence[tuple[str, str]],
        index: int,
        on_pick: Callable[[int], None],
    ):
        self.app, self.title, self.rows, self.on_pick = app, title, list(rows), on_pick
        self.name = title
        self.filter = ""
        self.form = Form([])
        self._fill(index)

    def _fill(self, index: int = -1) -> None:
        shown = [i for i, row in enumerate(self.rows) if self.filter.lower() in " ".join(row).lower()]
        buttons = [Button(self.rows[i][0], partial(self._choose, i), note=self.rows[i][1]) for i in shown]
        nothing = [Text("Nothing has that in its name.", color=theme.MUTED, center=True)]
        self.form = Form(buttons or nothing, shown.index(index) if index in shown else None)

    def _choose(self, index: int) -> None:
        self.app.go(BACK)
        self.on_pick(index)

    def handle(self, event: UiEvent) -> None:
        if event.kind == "text" and (event.text != " " or self.filter):
            self.filter += event.text
            self._fill()
        elif event.kind == "press" and event.key == "backspace":
            self.filter = self.filter[:-1]
            self._fill()
        elif event.kind == "press" and event.key == "space":
            return
        elif not self.form.handle(event) and event.nav == "back":
            self.app.go(BACK)

    def update(self, now_s: float) -> None:
        """Nothing moves by itself."""

    def draw(self, surface: pygame.Surface) -> None:
        title = f"{self.title}: {self.filter}" if self.filter else self.title
        hints = [("Up Down", "choose"), ("Enter", "take"), ("A-Z", "narrow down"), ("Esc", "back")]
        area = draw_frame(surface, self.app.ui, title, hints)
        self.form.draw(surface, self.app.ui, area)
        draw_hints(surface, self.app.ui, hints)

    def close(self) -> None:
        """Nothing to stop."""
