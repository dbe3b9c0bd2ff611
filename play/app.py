"""The window's main loop: a stack of screens, drawn at the display's rate, over headless games that tick by themselves.

Everything slow to import (numba with the kitchen) is imported on a thread while the menu already shows; torch is only
ever loaded by a partner's own process.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")

import pygame

from coord.errors import UserError
from play.game import settings as settings_file
from play.game.preloader import Preloader
from play.game.settings import GameChoice
from play.screens import ways
from play.screens.menu import MenuScreen
from play.screens.routes import screen_for
from play.screens.ways import Destination, Screen, Way
from play.view import theme, window
from play.view.events import Translator, UiEvent
from play.view.gate import Gate
from play.view.sound import Sound
from play.view.sprites import Sprites
from play.view.ui import Ui

FPS = 60


@dataclass(frozen=True)
class Options:
    """How to start. `open_first` opens a page over the menu, for commands that go straight to a game or replay.

    `instead` opens a screen in place of the menu; the window closes with it. `kiosk`: that screen is a `Guard`, nothing
    changes preferences on the disk, and the window is closed by the guard alone.
    """

    file: Path | None = None  # recordings; None: the default place
    settings: Path | None = None  # preferences; None: the default place
    folders: tuple[Path, ...] = (Path("runs"),)  # where trained partners are looked for
    open_first: Destination | None = None
    instead: Callable[[App], Screen] | None = None
    kiosk: bool = False
    cooks: bool = True  # whether somebody is going to play in this window
    fullscreen: bool | None = None  # None: as in the preferences
    caption: str = window.CAPTION
    moments: Path | None = None  # label store for moments of games; None: see `play.game.moments.place_of`


class App:
    """Owns window, settings, sound and the stack of screens. `frame` does one round without waiting."""

    def __init__(self, options: Options, clock: Callable[[], float] = time.monotonic):
        self.options = options
        self.clock = clock
        self.settings, note = settings_file.load(options.settings)
        if options.fullscreen is not None:
            self.settings = replace(self.settings, fullscreen=options.fullscreen)
        self.surface = window.open_window(self.settings.window, self.settings.fullscreen)
        self.sprites = Sprites()
        window.set_icon(self.sprites)
        self.ui = self._new_ui()
        self.sound = Sound()
        self.sound.switch(self.settings.sound)
        self.preloader = Preloader(options.file, options.folders, cooks=options.cooks)
        self.note = note  # one line shown in the menu
        self.fps = 0.0
        self.show_measurements = False
        self._letters: dict[str, str] = {}  # partner -> blinded letter, for as long as the window is open
        self.frame_ms = 0.0
        self._translator = Translator()
        self.gate = Gate()
        self._page: tuple[object, object] = (None, None)  # the gate has been shut for
        self._drawn_for: object = None
        self._named = ""
        self.screens: list[Screen] = []
        self.push(self.new_menu())
        if options.open_first is not None:
            self.go(ways.Open(options.open_first))

    # -- the stack -------------------------------------------------------------------------------------------------

    @property
    def moments(self) -> Path | None:
        """Label store for moments of games, if one was named."""
        return self.options.moments

    @property
    def top(self) -> Screen | None:
        """The screen in charge, None when the app is to end."""
        return self.screens[-1] if self.screens else None

    def push(self, screen: Screen) -> None:
        """Open a screen over the present one."""
        self.screens.append(screen)
        self.redraw()

    def pop(self) -> None:
        """Close the present screen."""
        if self.screens:
            self.screens.pop().close()
        self.redraw()

    def go(self, way: Way) -> None:
        """Do what a screen asks for, at once."""
        if isinstance(way, ways.Open):
            self.push(screen_for(self, way.page))
        elif isinstance(way, ways.Replace):
            screen = screen_for(self, way.page)
            self.pop()
            self.push(screen)
        else:
            {ways.Back: self.pop, ways.Home: self.home, ways.Quit: self.quit}[type(way)]()

    def home(self) -> None:
        """Close everything but the menu."""
        while len(self.screens) > 1:
            self.pop()

    def new_menu(self) -> Screen:
        """The bottom of the stack."""
        return MenuScreen(self) if self.options.instead is None else self.options.instead(self)

    def quit(self) -> None:
        """Close everything; the loop ends."""
        while self.screens:
            self.pop()

    def redraw(self) -> None:
        """Draw at the next frame even if nothing moves."""
        self._drawn_for = None

    # -- settings --------------------------------------------------------------------------------------------------

    def change(self, **fields: Any) -> None:
        """Change preferences, keep them on disk, and follow them at once."""
        before = self.settings
        self.settings = replace(before, **fields)
        if not self.options.kiosk:
            try:
                settings_file.save(self.settings, self.options.settings)
            except UserError as err:
                self.note = str(err)
        if before.fullscreen != self.settings.fullscreen:
            self.surface = window.open_window(self.settings.window, self.settings.fullscreen)
        if before.sound != self.settings.sound:
            self.sound.switch(self.settings.sound)
        self.ui = self._new_ui()
        self.redraw()

    def _new_ui(self) -> Ui:
        theme.use(self.settings.theme)
        ui = Ui(self.surface.get_size(), self.sprites, self.settings.text_scale)
        ui.calm = self.settings.reduced_motion
        return ui

    # -- partners --------------------------------------------------------------------------------------------------

    def blinded_letter(self, ref: str) -> str:
        """The letter that stands for a partner while names are hidden; drawn by lot."""
        if ref not in self._letters:
            refs = [entry.ref for entry in self.preloader.partners]
            random.SystemRandom().shuffle(refs)
            self._letters = {**{one: _letter(i) for i, one in enumerate(refs)}, **self._letters}
        return self._letters.get(ref, "?")

    def partner_label(self, choice: GameChoice) -> str:
        """What the partner of a choice is called on the screen."""
        if choice.blinded:
            return f"Partner {self.blinded_letter(choice.partner)}"
        titles = {entry.ref: entry.title for entry in self.preloader.partners}
        return titles.get(choice.partner, choice.partner)

    # -- one frame -------------------------------------------------------------------------------------------------

    def run(self) -> int:
        """Run until the last screen is closed; the exit code."""
        ticker = pygame.time.Clock()
        window.init_input()
        try:
            while self.screens:
                self.frame(pygame.event.get())
                ticker.tick(FPS)
                self.fps = ticker.get_fps()
        finally:
            self.quit()
            self.preloader.close()
            window.close_window()
        return 0

    def frame(self, events: Sequence[pygame.event.Event]) -> bool:
        """Take events in, move on, draw if something changed; True if something was drawn."""
        for event in events:
            if event.type in (pygame.VIDEORESIZE, pygame.WINDOWSIZECHANGED):
                self._resized()
            if event.type in (pygame.WINDOWEXPOSED, pygame.WINDOWFOCUSGAINED):
                self.redraw()
            for ui_event in self._translator.translate(event):
                self.handle(ui_event)
        now_s = self.clock()
        if self.top is not None:
            self.top.update(now_s)
        self._watch_page()
        return self._draw()

    def _watch_page(self) -> None:
        """Shut the gate when another page has come, or another part of the same screen (its `page`, if it has one)."""
        page = (self.top, getattr(self.top, "page", None))
        if page[0] is not self._page[0] or page[1] != self._page[1]:
            self._page = page
            self.gate.shut(self.clock())

    def _draw(self) -> bool:
        screen = self.top
        if screen is None or (self._drawn_for is screen and not screen.lively):
            return False
        if screen.name != self._named:
            self._named = screen.name
            window.name_window(screen.name, self.options.caption)
        began = time.perf_counter()
        screen.draw(self.surface)
        pygame.display.flip()
        self.frame_ms = (time.perf_counter() - began) * 1000
        self._drawn_for = screen
        return True

    def handle(self, event: UiEvent) -> None:
        """Give one event to the screen in charge, or act on it if it is the window's own."""
        if self.options.kiosk and self.screens and self.screens[0].guard(event, self.top):  # type: ignore[attr-defined]
            return
        if event.kind == "quit":
            self.quit()
            return
        self.redraw()
        self._watch_page()
        counts = self.gate.takes(event, self.clock())
        if event.kind == "press":
            self._note_device("pad" if event.from_pad else "keyboard")
            if event.key == "f11" and not event.repeat and not self.options.kiosk:
                self.change(fullscreen=not self.settings.fullscreen)
                return
        if event.kind == "pad":
            self.note = event.key
        if self.top is not None and counts:
            self.top.handle(event)

    def _note_device(self, device: str) -> None:
        self.ui.device = device

    def _resized(self) -> None:
        surface = pygame.display.get_surface()
        if surface is None or surface.get_size() == self.ui.size:
            return
        device, self.surface = self.ui.device, surface
        self.ui = self._new_ui()
        self.ui.device = device
        if not self.settings.fullscreen:
            self.change(window=surface.get_size())
        self.redraw()


def _letter(number: int) -> str:
    """A, B, ... Z, A2, B2, ..."""
    round_, place = divmod(number, 26)
    return chr(ord("A") + place) + (str(round_ + 1) if round_ else "")


def main(options: Options = Options()) -> int:
    """Open the window and play until it is closed; the exit code. UserError when there is no display."""
    return App(options).run()
