"""A real window with real key presses: Xvfb and xdotool, from the menu over a game and its result to the replay."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from play.game import settings as settings_file
from play.game.settings import GameChoice, PlaySettings

TOOLS = ("Xvfb", "xdotool")
MISSING = [tool for tool in TOOLS if shutil.which(tool) is None]
SETTLED_S = 0.7  # after this a new page takes keys
LIMIT_S = 180.0  # the first start may have to compile the kitchen

pytestmark = [
    pytest.mark.display,
    pytest.mark.slow,
    pytest.mark.skipif(
        bool(MISSING),
        reason=f"NOT CHECKED IN A REAL WINDOW: {', '.join(MISSING)} not installed "
        "(apt-get install xvfb xdotool); test_screens.py walks the same way by posted events",
    ),
]


@contextmanager
def x_server() -> Iterator[str]:
    """A display nobody else uses; its name."""
    read_end, write_end = os.pipe()
    command = ["Xvfb", "-displayfd", str(write_end), "-screen", "0", "1280x720x24", "-nolisten", "tcp"]
    server = subprocess.Popen(command, pass_fds=[write_end], stderr=subprocess.DEVNULL)
    os.close(write_end)
    try:
        with os.fdopen(read_end) as pipe:
            yield f":{pipe.readline().strip()}"
    finally:
        server.terminate()
        server.wait(10)


class Desktop:
    """A person at the display, who reads the window's title and presses keys."""

    def __init__(self, display: str, process: subprocess.Popen) -> None:
        self.env = {**os.environ, "DISPLAY": display}
        self.process = process

    def xdotool(self, *words: str) -> str:
        done = subprocess.run(["xdotool", *words], env=self.env, capture_output=True, text=True, timeout=30)
        return done.stdout.strip()

    @property
    def page(self) -> str:
        """Which page the window's title names; "" while there is no window."""
        found = self.xdotool("search", "--class", "coord-play").split()
        return self.xdotool("getwindowname", found[0]).partition(": ")[2] if found else ""

    def press(self, *keys: str) -> None:
        """Press keys one after another; a page that has come takes none for half a second."""
        for key in keys:
            before = self.page
            self.xdotool("key", key)
            time.sleep(0.15)
            if self.page != before:
                time.sleep(SETTLED_S)

    def await_page(self, name: str) -> None:
        """Wait for a page."""
        end = time.monotonic() + LIMIT_S
        while self.page != name:
            assert self.process.poll() is None, "the window has closed"
            assert time.monotonic() < end, f"waited for '{name}', still on '{self.page}'"
            time.sleep(0.1)
        time.sleep(SETTLED_S)


@contextmanager
def desktop(folder: Path, **choice: object) -> Iterator[Desktop]:
    """`coord play` in a window of its own, set to a short game."""
    game = GameChoice(**{"ticks": 40, "tick_hz": 10.0, **choice})
    settings_file.save(PlaySettings(last=game, annotator="ann"), folder / "settings.json")
    with x_server() as display:
        env = {
            **os.environ,
            "DISPLAY": display,
            "SDL_VIDEODRIVER": "x11",
            "SDL_AUDIODRIVER": "dummy",
            "COORD_CONFIG": str(folder / "settings.json"),
            "COORD_DATA": str(folder / "games.sqlite"),
        }
        process = subprocess.Popen([sys.executable, "-m", "coord", "play"], env=env, cwd=folder)
        try:
            yield Desktop(display, process)
        finally:
            process.kill()
            process.wait(10)


def test_menu_game_result_replay(tmp_path):
    with desktop(tmp_path) as person:
        person.await_page("menu")
        person.press("Return")
        person.await_page("game, playing")
        person.press("Left", "space", "Up", "Escape")
        person.await_page("game, paused")
        person.press("Return")
        person.await_page("game, playing")
        person.press("Right", "Down")
        person.await_page("result")
        person.press("Down", "Return")
        person.await_page("replay")
        person.press("space", "Home", "Right", "Escape")
        person.await_page("result")
        person.press("End", "Return")
        person.await_page("menu")
        person.press("End", "Return")
        assert person.process.wait(30) == 0
    pressed = _keys_recorded(tmp_path / "games.sqlite")
    assert {0, 2, 5} & pressed, f"none of the keys reached the game: {pressed}"


def _keys_recorded(file: Path) -> set[int]:
    """Actions of the person's seat that a key stands behind."""
    from coord.overcooked.recorded import read_games

    (game,) = read_games(file)
    assert game.header.outcome == "finished"
    assert len(game.rew) == 40
    return {int(action) for action, key in zip(game.joint_act[:, 0], game.key_ms[:, 0], strict=True) if key == key}


def test_two_moments_of_a_game(tmp_path):
    with desktop(tmp_path, partner="greedy", ticks=120, tick_hz=12.0) as person:
        person.await_page("menu")
        person.press("Return")
        person.await_page("game, playing")
        person.press("Left", "space", "Up")
        person.await_page("result")
        person.press("m")
        person.await_page("label, showing, 0 done")
        time.sleep(1.0)
        person.press("Left")
        person.await_page("label, over, 1 done")
        person.press("z")  # taken back
        person.await_page("label, showing, 0 done")
        time.sleep(1.0)
        person.press("Right")
        person.await_page("label, over, 1 done")
        person.press("Escape")
        person.await_page("Break")
        person.press("End", "Return")
        person.await_page("result")
    from coord.preference.labels.store import LabelStore

    store = LabelStore(tmp_path / "labels.sqlite", create=False)
    first, undone, second = store.answers()
    store.close()
    assert [row["kind"] for row in (first, undone, second)] == ["label", "withdrawn", "label"]
    assert first["target"] == 1 - second["target"]
    assert second["annotator"] == "ann"
    assert second["response_ms"] > 500
