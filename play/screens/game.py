"""The game: kitchen, HUD, pause, and what comes after the last tick."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pygame

from play.game.cast import Cast, cast_of
from play.game.session import Session
from play.game.settings import GameChoice
from play.screens.base import message
from play.screens.host import Host
from play.screens.stage import Stage
from play.screens.ways import BACK, Replace, ToGame, ToResult
from play.view import theme
from play.view.events import UiEvent
from play.view.form import Form
from play.view.frame import dim, panel
from play.view.widgets import Button

PAUSE_HINT = (("Esc", "pause"),)


class GameScreen:
    """Plays one game. `on_done` gets the session after the last tick; by default the result is shown."""

    lively = True

    def __init__(
        self,
        app: Host,
        choice: GameChoice,
        *,
        cast: Cast | None = None,
        on_done: Callable[[Session], None] | None = None,
    ):
        self.app, self.choice = app, choice
        self._on_done = on_done or self._show_result
        self._is_free = cast is None  # not a round of a study: may be started anew
        self.stage = Stage(app, cast or cast_of(choice, app.partner_label(choice)))
        self._menu: Form | None = None
        self._is_over = False

    @property
    def name(self) -> str:
        """Tells the phase, too."""
        return f"game, {self.stage.phase}"

    @property
    def page(self) -> object:
        """The game, or the menu over it: keys of the one must not reach the other."""
        return self._menu is not None

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
            self.app.go(BACK)
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
        self._menu = Form([*rows, Button("Leave the game", partial(self.app.go, BACK))], width=320)

    def _resume(self) -> None:
        self._menu = None
        self.stage.resume()

    def _again(self) -> None:
        self.app.go(Replace(ToGame(self.choice)))

    def update(self, now_s: float) -> None:
        """Move the game on; at its end, hand over."""
        self.stage.update(now_s)
        if self._is_over:
            return
        if self.stage.phase == "failed":
            self._is_over = True
            self.app.go(Replace(message(self.app, "This game cannot be played", self.stage.problem)))
        elif self.stage.phase == "done":
            self._is_over = True
            assert self.stage.session is not None
            self._on_done(self.stage.session)

    def _show_result(self, session: Session) -> None:
        names = tuple(self.stage.name(seat) for seat in range(len(session.seats)))
        self.app.go(Replace(ToResult(session, names, self.choice)))

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
