"""After a game: the score, how it came about, and what to do next."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import pygame

from play.game.moments import is_offered
from play.game.session import Session
from play.game.settings import GameChoice
from play.screens.host import Host
from play.screens.ways import BACK, HOME, Open, Replace, ToGame, ToMoments, ToReplay, ToSetup
from play.view import theme
from play.view.events import UiEvent
from play.view.form import Form
from play.view.frame import draw_frame
from play.view.hud import whole_points
from play.view.widgets import Button

COUNTED = (
    ("delivery", "Soups served"),
    ("placement_in_pot", "Ingredients potted"),
    ("collision", "Bumps into each other"),
)


class ResultScreen:
    """Shows one finished game."""

    name = "result"
    lively = False

    def __init__(self, app: Host, session: Session, names: Sequence[str], choice: GameChoice):
        self.app, self.choice = app, choice
        self.score = whole_points(session.score)
        self.game_id = session.game_id
        self.best = self._best_before(session.layout.hash)
        self.names = list(names)
        self.counts = [
            (title, [sum(e.name == name and e.seat == seat for e in session.events) for seat in range(len(self.names))])
            for name, title in COUNTED
        ]
        self.note = session.recording_error and f"not recorded: {session.recording_error}"
        self.has_moments = is_offered(session)
        self.form = Form(self._buttons(), width=320)

    def _buttons(self) -> list[Button]:
        rows = [Button("Play again", self._again)]
        if self.game_id is not None:
            rows.append(Button("Watch it", self._watch))
        if self.has_moments:
            rows.append(Button("Which moment was better?", self._compare, note="M"))
        return [*rows, Button("Choose another game", self._choose), Button("Menu", partial(self.app.go, HOME))]

    def _best_before(self, layout_hash: str) -> float | None:
        """The best earlier finished game of this length in this kitchen under these rules."""
        store = self.app.preloader.store()
        if store is None:
            return None
        same = [
            game.score
            for game in store.games()
            if game.layout_hash == layout_hash
            and game.outcome == "finished"
            and (game.ticks, game.rules) == (self.choice.ticks, self.choice.rules)
            and game.id != self.game_id
        ]
        return whole_points(max(same)) if same else None

    def _again(self) -> None:
        self.app.go(Replace(ToGame(self.choice)))

    def _watch(self) -> None:
        assert self.game_id is not None
        self.app.go(Open(ToReplay(self.game_id)))

    def _compare(self) -> None:
        assert self.game_id is not None
        self.app.go(Open(ToMoments(self.game_id)))

    def _choose(self) -> None:
        self.app.go(Replace(ToSetup()))

    def handle(self, event: UiEvent) -> None:
        if self.has_moments and event.kind == "press" and event.key == "m" and not event.repeat:
            self._compare()
        elif not self.form.handle(event) and event.nav == "back":
            self.app.go(BACK)

    def update(self, now_s: float) -> None:
        """Nothing moves by itself."""

    def draw(self, surface: pygame.Surface) -> None:
        ui = self.app.ui
        area = draw_frame(surface, ui, "Time is up", [("Up Down", "choose"), ("Enter", "take")], self.note)
        box = pygame.Rect(0, 0, min(area.width - ui.px(32), ui.px(760)), area.height)
        box.center = area.center
        left = pygame.Rect(box.left, box.top, box.width * 11 // 20, box.height)
        self._draw_score(surface, left)
        right = pygame.Rect(left.right, box.top, box.right - left.right, box.height)
        self.form.draw(surface, ui, right)

    def _draw_score(self, surface: pygame.Surface, box: pygame.Rect) -> None:
        ui = self.app.ui
        height = ui.px(96 + 36) + (len(self.counts) + 1) * ui.px(32)
        y = box.centery - height // 2
        ui.text(surface, str(self.score), (box.centerx, y), theme.HUGE, theme.TEXT, "midtop")
        y += ui.px(108)
        text, color = self._praise()
        ui.text(surface, text, (box.centerx, y), theme.BODY, color, "midtop")
        y += ui.px(44)
        self._draw_table(surface, box, y)

    def _praise(self) -> tuple[str, theme.Color]:
        if self.best is None:
            return "points, the first in this kitchen", theme.MUTED
        if self.score > self.best:
            return f"points, a new best (before: {self.best})", theme.GOOD
        return f"points; the best so far is {self.best}", theme.MUTED

    def _draw_table(self, surface: pygame.Surface, box: pygame.Rect, y: int) -> None:
        ui = self.app.ui
        column = ui.px(56)
        edge = box.right - ui.px(56) - column * (len(self.names) - 1)
        for seat in range(len(self.names)):
            ui.seat_mark(surface, seat, (edge + seat * column, y + ui.px(8)), ui.px(22))
        for title, numbers in self.counts:
            y += ui.px(32)
            ui.text(surface, title, (box.left + ui.px(16), y), theme.BODY, theme.MUTED)
            for seat, number in enumerate(numbers):
                ui.text(surface, str(number), (edge + seat * column, y), theme.BODY, theme.TEXT, "midtop")

    def close(self) -> None:
        """Nothing to stop."""
