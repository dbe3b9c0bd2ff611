"""100 000 random events over all screens: nothing may raise, and a game must stay as long as it was agreed to be."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from pathlib import Path

import pygame
import pytest

from play.game.settings import GameChoice
from play.screens import replay as replay_module
from play.screens.game import GameScreen
from play.screens.preferences import BindingsScreen, settings_screen
from play.screens.replays import replay_list
from play.screens.result import ResultScreen
from play.screens.routes import screen_for
from play.screens.setup import SetupScreen
from play.screens.stage import Stage
from play.screens.study import StudyScreen
from play.screens.study_pages import study_screen
from play.screens.tutorial import TutorialScreen
from play.screens.ways import Screen, ToReplay
from play.study.run import StudyRun, load_study
from tests.play.window_driver import open_gate, use_threads, window

EVENTS = 100_000
PER_FRAME = 10
EVENTS_PER_START = 2_000
QUICK = GameChoice(second_human=True, ticks=20, tick_hz=10.0)
SIZES = [(640, 360), (800, 450), (960, 540)]
KEYS = [
    *[pygame.K_UP, pygame.K_DOWN, pygame.K_LEFT, pygame.K_RIGHT] * 4,
    *[pygame.K_RETURN, pygame.K_SPACE] * 4,
    *[pygame.K_ESCAPE, pygame.K_TAB, pygame.K_HOME, pygame.K_END, pygame.K_PAGEUP, pygame.K_PAGEDOWN],
    *[pygame.K_F3, pygame.K_F5, pygame.K_BACKSPACE, pygame.K_w, pygame.K_a, pygame.K_s, pygame.K_d, pygame.K_e],
    *[pygame.K_1, pygame.K_7, pygame.K_0, pygame.K_KP_ENTER, 0],
]
KIND_WEIGHTS = {"key": 60, "mouse": 20, "wheel": 4, "text": 4, "pad": 10, "window": 2}


class Noise:
    """Random events of every kind a window gets."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)

    def event(self, size: tuple[int, int]) -> pygame.event.Event:
        """One event."""
        (kind,) = self.rng.choices(list(KIND_WEIGHTS), KIND_WEIGHTS.values())
        return getattr(self, kind)(size)

    def key(self, size):
        kind = self.rng.choice([pygame.KEYDOWN, pygame.KEYDOWN, pygame.KEYUP])
        mod = self.rng.choice([0, 0, 0, pygame.KMOD_LSHIFT])
        return pygame.event.Event(kind, key=self.rng.choice(KEYS), mod=mod)

    def mouse(self, size):
        at = (self.rng.randrange(-5, size[0] + 5), self.rng.randrange(-5, size[1] + 5))
        kind = self.rng.choice([pygame.MOUSEMOTION, pygame.MOUSEBUTTONDOWN, pygame.MOUSEBUTTONUP])
        if kind == pygame.MOUSEMOTION:
            return pygame.event.Event(kind, pos=at, rel=(0, 0), buttons=(0, 0, 0))
        return pygame.event.Event(kind, pos=at, button=self.rng.choice([1, 1, 1, 3]))

    def wheel(self, size):
        return pygame.event.Event(pygame.MOUSEWHEEL, y=self.rng.choice([-3, -1, 1, 3]), x=0)

    def text(self, size):
        return pygame.event.Event(pygame.TEXTINPUT, text=self.rng.choice(["a", "o", " ", ".", "é", "漢", "\t"]))

    def pad(self, size):
        pad = {"instance_id": self.rng.randrange(2)}
        kind = self.rng.choice([pygame.JOYBUTTONDOWN, pygame.JOYBUTTONUP, pygame.JOYHATMOTION, pygame.JOYAXISMOTION])
        if kind == pygame.JOYHATMOTION:
            return pygame.event.Event(kind, hat=0, value=self.rng.choice([(0, 0), (1, 0), (0, -1), (-1, 1)]), **pad)
        if kind == pygame.JOYAXISMOTION:
            return pygame.event.Event(kind, axis=self.rng.randrange(4), value=self.rng.uniform(-1, 1), **pad)
        return pygame.event.Event(kind, button=self.rng.randrange(10), **pad)

    def window(self, size):
        kind = self.rng.choice([pygame.WINDOWFOCUSLOST, pygame.WINDOWFOCUSGAINED, pygame.WINDOWEXPOSED, "size"])
        if kind == "size":
            pygame.display.set_mode(self.rng.choice(SIZES), pygame.RESIZABLE)
            return pygame.event.Event(pygame.WINDOWSIZECHANGED, x=0, y=0)
        return pygame.event.Event(kind)


def starts(driver, played: Stage) -> dict[str, Callable[[], Screen]]:
    """Every page that noise is let loose on, besides those it finds by itself."""
    app = driver.app
    study = Path(str(resources.files("configs"))) / "study" / "example.yaml"
    return {
        "menu": app.new_menu,
        "choose a game": lambda: SetupScreen(app),
        "game": lambda: GameScreen(app, QUICK),
        "result": lambda: ResultScreen(app, played.session, ("You", "Cook"), QUICK),
        "replay": lambda: screen_for(app, ToReplay("last")),
        "Replays": lambda: replay_list(app),
        "Settings": lambda: settings_screen(app),
        "keys": lambda: BindingsScreen(app),
        "tutorial": lambda: TutorialScreen(app),
        "Study": lambda: study_screen(app, study),
        "study": lambda: StudyScreen(app, StudyRun.enrol(load_study(study), app.preloader.store())),
    }


def play_one(driver) -> Stage:
    """A finished game, so that there is a result, and something to replay."""
    driver.app.push(screen := GameScreen(driver.app, QUICK))
    driver.until_at("result")
    driver.app.pop()
    return screen.stage


@pytest.mark.slow
def test_random_events_raise_nothing(tmp_path, monkeypatch):
    use_threads(monkeypatch)
    open_gate(monkeypatch)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(replay_module, "ProcessPoolExecutor", lambda *_, **__: ThreadPoolExecutor(1))
    monkeypatch.setattr(replay_module.film, "save_game", lambda *_: None)
    noise, seen, sent = Noise(0), set(), 0
    with window(tmp_path) as driver:
        app = driver.load().app
        pygame.display.set_mode(SIZES[0], pygame.RESIZABLE)
        first = starts(driver, play_one(driver))
        pages = itertools.cycle(first.values())
        while sent < EVENTS:
            if sent % EVENTS_PER_START == 0 or app.top is None:  # None: noise found "Quit"
                app.quit()
                app.push(app.new_menu())
                app.push(next(pages)())
                app.change(last=QUICK, fullscreen=False)
            driver.post(*(noise.event(app.ui.size) for _ in range(PER_FRAME)))
            sent += PER_FRAME
            seen.add(driver.at.partition(",")[0])
    assert sent == EVENTS
    assert set(first) - seen == set()
