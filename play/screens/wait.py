"""Something is being loaded: a page that turns into another one when that is there."""

from __future__ import annotations

from collections.abc import Callable

import pygame

from coord.errors import UserError
from play.screens.base import message
from play.screens.host import Host
from play.screens.ways import BACK, Destination, Replace, Screen
from play.view.events import UiEvent
from play.view.frame import draw_dots, draw_frame


class WaitScreen:
    """Shows `text` until `ready`; then goes to what `then` gives."""

    name = "loading"
    lively = True

    def __init__(self, app: Host, text: str, ready: Callable[[], bool], then: Callable[[], Destination | Screen]):
        self.app, self.text, self.ready, self.then = app, text, ready, then
        self._now_s = 0.0

    def handle(self, event: UiEvent) -> None:
        if event.nav == "back":
            self.app.go(BACK)

    def update(self, now_s: float) -> None:
        """Go on as soon as everything is there."""
        self._now_s = now_s
        if self.ready():
            self.app.go(Replace(self._next()))

    def _next(self) -> Destination | Screen:
        try:
            return self.then()
        except UserError as err:
            return message(self.app, "That did not work", str(err))

    def draw(self, surface: pygame.Surface) -> None:
        ui = self.app.ui
        area = draw_frame(surface, ui, self.text, [("Esc", "back")])
        draw_dots(surface, ui, area.center, self._now_s)

    def close(self) -> None:
        """Nothing to stop."""
