"""Leftover keys: what was pressed for the page before counts for nothing on the page that comes."""

from __future__ import annotations

import pygame
import pytest

from play.screens.base import FormScreen
from play.view.events import UiEvent
from play.view.gate import SETTLE_S, Gate
from play.view.widgets import Likert
from tests.play.window_driver import Driver, use_threads, window

PRESS, RELEASE = UiEvent("press", "up"), UiEvent("release", "up")


def shut_gate() -> Gate:
    gate = Gate()
    gate.shut(100.0)
    return gate


def test_it_opens_after_half_a_second_with_all_keys_up() -> None:
    gate = shut_gate()
    assert not gate.takes(PRESS, 100.1)
    assert gate.takes(RELEASE, 100.2)
    assert not gate.takes(UiEvent("text", text="n"), 100.4)
    assert gate.takes(PRESS, 100.0 + SETTLE_S)
    assert gate.takes(UiEvent("press", "down"), 100.6)  # open is open: two keys at once are nothing new


def test_a_key_that_is_held_keeps_it_shut() -> None:
    gate = Gate()
    assert gate.takes(PRESS, 99.0)
    gate.shut(100.0)
    assert not gate.takes(UiEvent("press", "return"), 107.0)
    assert gate.takes(UiEvent("release", "return"), 107.1)
    assert not gate.takes(UiEvent("click"), 108.0)
    gate.takes(RELEASE, 109.0)
    assert gate.takes(UiEvent("click"), 109.1)


@pytest.mark.parametrize("end", [UiEvent("blur"), UiEvent("pad", "pad 1 disconnected")])
def test_keys_that_are_never_reported_as_let_go(end: UiEvent) -> None:
    gate = shut_gate()
    gate.takes(UiEvent("press", "pad0:left"), 100.1)
    gate.takes(end, 100.2)
    assert gate.takes(PRESS, 101.0)


@pytest.fixture
def driver(tmp_path, monkeypatch):
    use_threads(monkeypatch)
    with window(tmp_path) as one:
        yield one


def key(driver: Driver, code: int, *kinds: int) -> None:
    driver.post(*(pygame.event.Event(kind, key=code, mod=0) for kind in kinds))


def test_arrow_keys_of_a_game_set_no_scale(driver) -> None:
    chosen: list[int] = []
    driver.settle()
    key(driver, pygame.K_RIGHT, pygame.KEYDOWN)  # held as the game ends
    scale = Likert("Fluent?", 7, "no", "yes", 0, chosen.append)
    driver.app.push(FormScreen(driver.app, "Questions", lambda: [scale]))
    for _ in range(30):  # a second of leftover keys
        key(driver, pygame.K_LEFT, pygame.KEYDOWN, pygame.KEYUP)
    assert chosen == []
    key(driver, pygame.K_RIGHT, pygame.KEYUP)
    key(driver, pygame.K_RIGHT, pygame.KEYDOWN, pygame.KEYUP)
    assert chosen == [4]
