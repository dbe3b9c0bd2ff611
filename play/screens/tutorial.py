"""The tutorial: a kitchen, what to do next, and how far the learner is."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from functools import partial

import pygame

from play.game.cast import Cast
from play.game.inputs import Bindings
from play.game.settings import GameChoice
from play.game.tutorial import PHASES, Tutorial
from play.screens.base import message
from play.screens.host import Host
from play.screens.preferences import key_title
from play.screens.stage import Stage
from play.screens.ways import BACK, HOME, Replace, ToLastGame
from play.view import theme
from play.view.events import UiEvent
from play.view.form import Form
from play.view.frame import cap_name, dim, panel
from play.view.hud import regions
from play.view.widgets import Button

PANEL = 96  # height of the tutorial's box, in units
TICKS = 20_000  # the tutorial has no clock; this is most of an hour
PRAISE_S = 1.2
MOVES = {"arrows": "the arrow keys", "pad0": "the stick", "pad1": "the stick"}


class TutorialScreen:
    """Leads through the tutorial. `on_done` is called after its last phase, learned or skipped."""

    name = "tutorial"
    lively = True

    def __init__(self, app: Host, on_done: Callable[[], None] | None = None, *, must_pass: bool = False):
        self.app, self.must_pass = app, must_pass
        self.tutorial = Tutorial()
        self._on_done = on_done or self._finish
        self._praise_until_s = 0.0
        self._now_s = app.clock()
        self._menu: Form | None = None
        self.stage = self._new_stage()

    def _new_stage(self) -> Stage:
        phase = self.tutorial.phase
        assert phase is not None
        last = self.app.settings.last
        choice = GameChoice(layout=phase.layout, partner=phase.partner, ticks=TICKS, tick_hz=last.tick_hz)
        label = self.app.partner_label(choice) if phase.partner else ""
        cast = Cast(choice, label, secrets.randbits(31), (0,), is_recorded=False)
        return Stage(self.app, cast, is_timed=False)

    @property
    def page(self) -> object:
        """The phase, or the menu over it: keys of the one must not reach the other."""
        return self._menu is not None

    # -- what happens ----------------------------------------------------------------------------------------------

    def handle(self, event: UiEvent) -> None:
        if self._menu is not None:
            if not self._menu.handle(event) and event.nav == "back" and not event.repeat:
                self._go_on()
        elif event.kind == "press" and (event.key == "tab" or event.key.endswith(":y")) and not event.repeat:
            if not self.must_pass:
                self.tutorial.skip()
                self._next()
        elif not self.stage.handle(event) and (event.nav == "back" or event.kind == "blur") and not event.repeat:
            self._pause(event)

    def _pause(self, event: UiEvent) -> None:
        if self.stage.phase == "loading" and event.nav == "back":
            self.app.go(BACK)
            return
        self.stage.pause("focus" if event.kind == "blur" else "key")
        if self.stage.phase == "paused":
            leave = Button("Leave the tutorial", partial(self.app.go, BACK))
            end = leave if self.must_pass else Button("End the tutorial", self._skip_all)
            self._menu = Form([Button("Go on", self._go_on), end], width=320)

    def _go_on(self) -> None:
        self._menu = None
        self.stage.resume()

    def _skip_all(self) -> None:
        self._menu = None
        self.tutorial.skip_all()
        self._on_done()

    def _finish(self) -> None:
        self.app.change(tutorial_done=True)
        ways = [("Play now", partial(self.app.go, Replace(ToLastGame()))), ("Menu", partial(self.app.go, HOME))]
        self.app.go(Replace(message(self.app, "The kitchen is yours", "That was all there is to know.", ways)))

    def update(self, now_s: float) -> None:
        """Move the tutorial on."""
        self._now_s = now_s
        for tick in self.stage.update(now_s):
            if self.tutorial.update(tick):
                self._praise_until_s = now_s + PRAISE_S
                self.app.sound.play("deliver")
                self._next()
                return
        if self.stage.phase == "failed":
            self.app.go(Replace(message(self.app, "The tutorial cannot be given", self.stage.problem)))
        elif self.stage.phase == "done":  # hours of standing about: begin the phase again
            self._renew()

    def _next(self) -> None:
        if self.tutorial.done:
            self._on_done()
        elif self.tutorial.new_kitchen:
            self._renew()

    def _renew(self) -> None:
        self.stage.close()
        self.stage = self._new_stage()

    # -- what is seen ----------------------------------------------------------------------------------------------

    def draw(self, surface: pygame.Surface) -> None:
        ui = self.app.ui
        skip = "Y" if ui.device == "pad" else "Tab"
        skips = () if self.must_pass else ((skip, "skip this"),)
        self.stage.draw(surface, (*skips, (cap_name(ui, "Esc"), "pause")), PANEL)
        if self.tutorial.phase is not None:
            self._draw_phase(surface)
        if self._menu is not None:
            dim(surface, ui)
            inside = panel(surface, ui, 400, 184)
            ui.text(surface, "Paused", (inside.centerx, inside.top), theme.HEAD, theme.TEXT, "midtop")
            self._menu.draw(surface, ui, inside.inflate(0, -ui.px(40)).move(0, ui.px(20)))

    def _draw_phase(self, surface: pygame.Surface) -> None:
        ui, phase = self.app.ui, self.tutorial.phase
        bottom = regions(ui).bottom
        box = pygame.Rect(0, 0, min(ui.px(800), ui.size[0] - ui.px(24)), ui.px(PANEL - 8))
        box.midbottom = (ui.size[0] // 2, bottom.top - ui.px(8))
        is_praise = self._now_s < self._praise_until_s
        ui.box(surface, box, theme.PANEL, 8, theme.GOOD if is_praise else theme.ORANGE)
        inner = box.inflate(-ui.px(32), -ui.px(20))
        number = f"{self.tutorial.number + 1} of {len(PHASES)}"
        title = f"Well done! Next: {phase.title}" if is_praise else phase.title
        ui.text(surface, title, inner.topleft, theme.HEAD, theme.GOOD if is_praise else theme.TEXT)
        ui.text(surface, number, inner.topright, theme.SMALL, theme.MUTED, "topright")
        self._draw_pips(surface, (inner.right - ui.px(80), inner.top + ui.px(10)), phase.goal)
        text = phase.hint.format(**key_words(self.app.settings.bindings[0]))
        ui.paragraph(surface, text, pygame.Rect(inner.left, inner.top + ui.px(34), inner.width, inner.height))

    def _draw_pips(self, surface: pygame.Surface, right: tuple[int, int], goal: int) -> None:
        ui = self.app.ui
        for index in range(goal):
            color = theme.YELLOW if index < self.tutorial.count else theme.LINE
            pip = ui.icon("circle", ui.px(12), color)
            surface.blit(pip, pip.get_rect(center=(right[0] - (goal - index) * ui.px(18), right[1])))

    def close(self) -> None:
        """End the game of the tutorial."""
        self.stage.close()


def key_words(bindings: Bindings) -> dict[str, str]:
    """How to call the keys for moving and for using in a sentence."""
    sides = ("north", "west", "south", "east")
    move = MOVES.get(bindings.name) or " ".join(key_title(bindings.keys[side][0]) for side in sides)
    return {"move": move, "interact": " or ".join(key_title(key) for key in bindings.keys["interact"])}
