"""The first screen: one key to play, everything else one key further."""

from __future__ import annotations

from functools import partial

import pygame

from play.screens import ways
from play.screens.attract import Attract
from play.screens.host import Host
from play.screens.ways import QUIT, Open
from play.view import theme
from play.view.events import UiEvent
from play.view.form import Form
from play.view.frame import FOOTER, draw_hints
from play.view.widgets import Button

DESTINATIONS: dict[str, ways.Destination] = {
    "play": ways.ToLastGame(),
    "choose": ways.ToSetup(),
    "tutorial": ways.ToTutorial(),
    "study": ways.ToStudies(),
    "replays": ways.ToReplays(),
    "settings": ways.ToSettings(),
}
ENTRIES = {
    "play": "Play now",
    "choose": "Choose a game",
    "tutorial": "Tutorial",
    "study": "Study",
    "replays": "Replays",
    "settings": "Settings",
    "quit": "Quit",
}


class MenuScreen:
    """The main menu; opens on the entry used last."""

    name = "menu"

    def __init__(self, app: Host):
        self.app = app
        self._attract = Attract()
        self._now_s = 0.0
        self.form = Form([], width=336)
        self._fill(app.settings.menu)

    @property
    def lively(self) -> bool:
        """The chefs behind the menu cook, unless motion is reduced."""
        return not self.app.settings.reduced_motion

    def _fill(self, entry: str) -> None:
        names = list(ENTRIES)
        buttons = [Button(ENTRIES[name], partial(self._open, name), note=self._note(name)) for name in names]
        self.form = Form(buttons, names.index(entry) if entry in names else 0, width=336)

    def _note(self, name: str) -> str:
        last = self.app.settings.last
        if name == "play":
            return last.layout.replace("_", " ")
        if name == "tutorial" and not self.app.settings.tutorial_done:
            return "new here?"
        return ""

    def _open(self, name: str) -> None:
        self.app.sound.play("accept")
        if name == "quit":
            self.app.go(QUIT)
            return
        self.app.change(menu=name)
        self.app.go(Open(DESTINATIONS[name]))

    def handle(self, event: UiEvent) -> None:
        before = self.form.focus
        if self.form.handle(event) and self.form.focus != before:
            self.app.sound.play("move")

    def update(self, now_s: float) -> None:
        """Let the chefs move on; pick up a changed last choice."""
        self._now_s = now_s
        note = self._note("play")
        first = self.form.widgets[0]
        if isinstance(first, Button) and first.note != note:
            self._fill(list(ENTRIES)[self.form.focus])

    def draw(self, surface: pygame.Surface) -> None:
        ui = self.app.ui
        surface.fill(theme.BACKGROUND)
        left, right = self._columns()
        self._title(surface, left)
        below = ui.px(112)
        self.form.draw(surface, ui, pygame.Rect(left.left, below, left.width, left.bottom - below))
        self._attract.draw(surface, ui, right, self._now_s)
        footer = pygame.Rect(0, ui.size[1] - ui.px(FOOTER), ui.size[0], ui.px(FOOTER))
        surface.fill(theme.PANEL, footer)
        draw_hints(surface, ui, [("Up Down", "choose"), ("Enter", "open"), ("F11", "full screen")])
        note = self.app.note or self.app.preloader.problem
        if note:
            at = (ui.size[0] // 2, footer.top - ui.px(6))
            ui.text(surface, note, at, theme.SMALL, theme.ALERT, "midbottom", width=ui.size[0] - ui.px(32))

    def _columns(self) -> tuple[pygame.Rect, pygame.Rect]:
        ui = self.app.ui
        width, height = ui.size
        inside = pygame.Rect(0, 0, width, height - ui.px(FOOTER)).inflate(-ui.px(48), -ui.px(32))
        split = min(inside.width, ui.px(376))
        left = pygame.Rect(inside.left, inside.top, split, inside.height)
        return left, pygame.Rect(left.right, inside.top, max(1, inside.width - split), inside.height)

    def _title(self, surface: pygame.Surface, column: pygame.Rect) -> None:
        ui = self.app.ui
        x = column.left + ui.px(12)
        ui.text(surface, "Overcooked", (x, column.top + ui.px(8)), theme.TITLE, theme.TEXT)
        line = "Cook with an agent, or with a friend."
        ui.text(surface, line, (x, column.top + ui.px(60)), theme.BODY, theme.MUTED)

    def close(self) -> None:
        """Nothing to stop."""
