"""Drives the window without one: SDL's dummy drivers, a clock that only goes when told to, posted events."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

os.environ["SDL_VIDEODRIVER"] = "dummy"
os.environ["SDL_AUDIODRIVER"] = "dummy"

import pygame

from coord.agents.players import StayAgent
from play.app import App, Options
from play.game import worker
from play.game.settings import GameChoice
from play.view.gate import SETTLE_S, Gate

FRAME_S = 1 / 30


class Clock:
    """Monotonic seconds, moved by hand."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def stay_loader(spec: worker.PartnerSpec, game: worker.GameSpec) -> StayAgent:
    """A partner that needs no loading."""
    return StayAgent()


def use_threads(monkeypatch, loader: worker.Loader = stay_loader) -> None:
    """Partners think in threads of this process: nothing is started that outlives a test."""
    monkeypatch.setattr(worker, "PartnerWorker", partial(worker.PartnerWorker, mode="thread", loader=loader))
    monkeypatch.setattr(worker.Spare, "renew", lambda self: None)


def open_gate(monkeypatch) -> None:
    """Every event counts at once, so that noise gets everywhere."""
    monkeypatch.setattr(Gate, "is_open", lambda self, now_s: True)


@contextmanager
def window(folder: Path, **options: object) -> Iterator[Driver]:
    """An app with recordings and settings in `folder`."""
    clock = Clock()
    given = {"file": folder / "games.sqlite", "settings": folder / "settings.json", "folders": (folder,), **options}
    app = App(Options(**given), clock)
    try:
        yield Driver(app, clock)
    finally:
        app.quit()
        app.preloader.close()


class Driver:
    """Presses keys and lets time pass."""

    def __init__(self, app: App, clock: Clock) -> None:
        self.app, self.clock = app, clock

    @property
    def at(self) -> str:
        """Name of the page on top."""
        return self.app.top.name if self.app.top else ""

    def post(self, *events: pygame.event.Event) -> None:
        """One frame with these events."""
        self.clock.now_s += FRAME_S
        self.app.frame(list(events))

    def press(self, *names: str) -> None:
        """Press and release keys, one per frame, each as soon as the page takes keys."""
        for name in names:
            self.settle()
            code = pygame.key.key_code(name)
            self.post(
                pygame.event.Event(pygame.KEYDOWN, key=code, mod=0), pygame.event.Event(pygame.KEYUP, key=code, mod=0)
            )

    def settle(self) -> None:
        """Frames until the page in charge takes keys."""
        self.app._watch_page()
        for _ in range(round(SETTLE_S / FRAME_S) + 1):
            if self.app.top is None or self.app.gate.is_open(self.clock()):
                return
            self.post()

    def type(self, text: str) -> None:
        """Type letters."""
        self.settle()
        for letter in text:
            self.post(pygame.event.Event(pygame.TEXTINPUT, text=letter))

    def click(self, at: tuple[int, int]) -> None:
        """Move there and press the left button."""
        self.settle()
        self.post(pygame.event.Event(pygame.MOUSEMOTION, pos=at, rel=(0, 0), buttons=(0, 0, 0)))
        self.post(pygame.event.Event(pygame.MOUSEBUTTONDOWN, pos=at, button=1))
        self.post(pygame.event.Event(pygame.MOUSEBUTTONUP, pos=at, button=1))

    def run(self, seconds: float) -> None:
        """Let that much time of the window's clock pass."""
        for _ in range(round(seconds / FRAME_S)):
            self.post()

    def until(self, check: Callable[[], object], limit_s: float = 120.0) -> None:
        """Frames until `check` holds; threads of the app get real time to work."""
        end = time.monotonic() + limit_s
        while not check():
            assert time.monotonic() < end, f"waited in vain on page '{self.at}'"
            self.post()
            time.sleep(0.001)

    def until_at(self, name: str) -> None:
        """Frames until a page is on top."""
        self.until(lambda: self.at == name)

    def load(self) -> Driver:
        """Frames until the kitchens are loaded."""
        self.until(lambda: self.app.preloader.ready)
        return self

    def choose(self, **fields: object) -> None:
        """Set the game of "Play now"."""
        self.app.change(last=GameChoice(**fields))
