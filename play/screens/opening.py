"""What the menu's entries open, once what they need has been loaded."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pygame

from play.screens.base import Screen, message
from play.view import theme
from play.view.events import UiEvent
from play.view.frame import draw_frame

if TYPE_CHECKING:
    from play.app import App


class WaitScreen:
    """Shows that something is being loaded; opens the screen when it is there, or says what went wrong."""

    name = "loading"
    lively = True

    def __init__(self, app: App, text: str, ready: Callable[[], bool], make: Callable[[], Screen]):
        self.app, self.text, self.ready, self.make = app, text, ready, make
        self._now_s = 0.0

    def handle(self, event: UiEvent) -> None:
        if event.nav == "back":
            self.app.pop()

    def update(self, now_s: float) -> None:
        """Go on as soon as everything is there."""
        self._now_s = now_s
        if self.ready() and self.app.top is self:
            self.app.replace(_made(self.app, self.make))

    def draw(self, surface: pygame.Surface) -> None:
        ui = self.app.ui
        area = draw_frame(surface, ui, self.text, [("Esc", "back")])
        draw_dots(surface, self.app, area.center, self._now_s)

    def close(self) -> None:
        """Nothing to stop."""


def draw_dots(surface: pygame.Surface, app: App, center: tuple[int, int], now_s: float) -> None:
    """Three dots that take turns: something is under way."""
    ui = app.ui
    for index in range(3):
        is_lit = ui.calm or int(now_s * 3) % 3 == index
        dot = ui.icon("circle", ui.px(16), theme.ORANGE if is_lit else theme.RAISED)
        surface.blit(dot, dot.get_rect(center=(center[0] + (index - 1) * ui.px(32), center[1])))


def _made(app: App, make: Callable[[], Screen]) -> Screen:
    from coord.errors import UserError

    try:
        return make()
    except UserError as err:
        return message(app, "That did not work", str(err))


def when_loaded(app: App, make: Callable[[], Screen]) -> Screen:
    """What `make` gives, or a waiting screen that turns into it while kitchens and rules are still being loaded."""
    if app.preloader.ready:
        return _made(app, make)
    return WaitScreen(app, "Heating the stoves", lambda: app.preloader.ready, make)


def play(app: App) -> None:
    """Start the game chosen last."""

    def make() -> Screen:
        from play.screens.game import GameScreen

        return GameScreen(app, app.settings.last)

    app.push(when_loaded(app, make))


def choose(app: App) -> None:
    """Choose kitchen, partner, seat, length and speed."""

    def make() -> Screen:
        from play.screens.setup import SetupScreen

        return SetupScreen(app)

    app.push(when_loaded(app, make))


def tutorial(app: App) -> None:
    """Learn the game."""

    def make() -> Screen:
        from play.screens.tutorial import TutorialScreen

        return TutorialScreen(app)

    app.push(when_loaded(app, make))


def study(app: App) -> None:
    """Open a study file."""

    def make() -> Screen:
        from play.screens.study import study_menu

        return study_menu(app)

    app.push(when_loaded(app, make))


def replays(app: App) -> None:
    """List the recorded games."""

    def make() -> Screen:
        from play.screens.replays import replay_list

        return replay_list(app)

    app.push(when_loaded(app, make))


def game(app: App, words: dict[str, Any]) -> Screen:
    """The game of the last choice with some of it changed by the words of a command line."""

    def make() -> Screen:
        from play.screens.game import GameScreen

        return GameScreen(app, dataclasses.replace(app.settings.last, second_human=False, **words))

    return when_loaded(app, make)


def study_file(app: App, path: Path) -> Screen:
    """The first page of a study."""

    def make() -> Screen:
        from play.screens.study import study_screen

        return study_screen(app, path)

    return when_loaded(app, make)


def replay(app: App, game_id: int | str) -> Screen:
    """One recorded game."""

    def make() -> Screen:
        from play.screens.replays import replay_screen

        return replay_screen(app, game_id)

    return when_loaded(app, make)


def settings(app: App) -> None:
    """Change preferences."""
    from play.screens.preferences import settings_screen

    app.push(settings_screen(app))


OPENERS: dict[str, Callable[[App], None]] = {
    "play": play,
    "choose": choose,
    "tutorial": tutorial,
    "study": study,
    "replays": replays,
    "settings": settings,
}
