"""The game: kitchen, HUD, pause, and what comes after the last tick."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING

import pygame

from play.screens.base import message
from play.screens.stage import Cast, Stage
from play.view import theme
from play.view.events import UiEvent
from play.view.frame import dim, panel
from play.view.widgets import Button, Form

if TYPE_CHECKING:
    from play.app import App
    from play.game.settings import GameChoice

PAUSE_HINT = (("Esc", "pause"),)


def cast_of(app: App, choice: GameChoice) -> Cast:
    """The game of a choice made in the menu. UserError if kitchen or partner are not there (any more)."""
    from coord.overcooked import load_layout

    count = load_layout(choice.layout).num_players
    seat = min(choice.seat, count - 1)
    people: tuple[int, ...] = (seat,)
    if choice.second_human and count > 1:
        people = (seat, next(other for other in range(count) if other != seat))
    return Cast(choice, app.partner_label(choice), secrets.randbits(31), people)


class GameScreen:
    """Plays one game. `on_done` gets the stage after the last tick; by default the result is shown."""

    lively = True

    def __init__(
        self,
        app: App,
        choice: GameChoice,
        *,
        cast: Cast | None = None,
        on_done: Callable[[Stage], None] | None = None,
        on_quit: Callable[[], None] | None = None,
    ):
        self.app, self.choice = app, choice
        self._on_done = on_done or self._show_result
        self._on_quit = on_quit or app.pop
        self._is_free = cast is None  # not a round of a study: may be started anew
        self.stage = Stage(app, cast or cast_of(app, choice))
        self._menu: Form | None = None
        self._is_over = False

    @property
    def name(self) -> str:
        """Tells the phase, too."""
        return f"game, {self.stage.phase}"

    def handle(self, event: UiEvent) -> None:
        if event.kind == "press" and event.key == "f3" and not event.repeat:
            self.app.show_measurements = not self.app.show_measurements
        elif event.kind == "press" and event.key == "f5" and not event.repeat:
            self.stage.restart_partner()
        elif self._menu is not None:
            self._handle_paused(event)
        elif not self.stage.handle(event):
            self._handle_rest(event)

    def _handle_rest(self, event: UiEvent) -> None:
        is_pause = event.nav == "back" or (event.from_pad and event.key.endswith((":start", ":back")))
        if is_pause and self.stage.phase == "loading":
            self._on_quit()
        elif is_pause and not event.repeat:
            self._pause("key")
        elif event.kind == "blur":
            self._pause("focus")
        elif event.kind == "pad" and event.key.endswith("disconnected"):
            self._pause("pad")

    def _handle_paused(self, event: UiEvent) -> None:
        assert self._menu is not None
        if event.kind == "release":
            self.stage.handle(event)
        elif not self._menu.handle(event) and event.nav == "back" and not event.repeat:
            self._resume()

    def _pause(self, reason: str) -> None:
        self.stage.pause(reason)
        if self.stage.phase != "paused":
            return
        rows = [Button("Go on", self._resume)]
        if self._is_free:
            rows.append(Button("Start anew", self._again))
        self._menu = Form([*rows, Button("Leave the game", self._on_quit)], width=320)

    def _resume(self) -> None:
        self._menu = None
        self.stage.resume()

    def _again(self) -> None:
        self.app.replace(GameScreen(self.app, self.choice))

    def update(self, now_s: float) -> None:
        """Move the game on; at its end, hand over."""
        self.stage.update(now_s)
        if self._is_over:
            return
        if self.stage.phase == "failed":
            self._is_over = True
            self.app.replace(message(self.app, "This game cannot be played", self.stage.problem))
        elif self.stage.phase == "done":
            self._is_over = True
            self._on_done(self.stage)

    def _show_result(self, stage: Stage) -> None:
        from play.screens.result import ResultScreen

        self.app.replace(ResultScreen(self.app, stage, self.choice))

    def draw(self, surface: pygame.Surface) -> None:
        self.stage.draw(surface, PAUSE_HINT)
        if self._menu is None:
            return
        ui = self.app.ui
        dim(surface, ui)
        inside = panel(surface, ui, 400, 88 + 48 * len(self._menu.widgets))
        ui.text(surface, "Paused", (inside.centerx, inside.top), theme.HEAD, theme.TEXT, "midtop")
        self._menu.draw(surface, ui, inside.inflate(0, -ui.px(40)).move(0, ui.px(20)))

    def close(self) -> None:
        """End the game; what was played is kept."""
        self.stage.close()
