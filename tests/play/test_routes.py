"""Screens say where to go; one table knows the way there."""

from __future__ import annotations

from typing import get_args

import pytest

from coord.errors import UserError
from play.game.settings import GameChoice
from play.screens import routes, ways
from play.screens.base import message
from play.screens.setup import SetupScreen
from play.screens.wait import WaitScreen
from tests.play.window_driver import window


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    with window(tmp_path_factory.mktemp("window")) as one:
        yield one.load()


@pytest.fixture
def app(driver):
    driver.app.home()
    return driver.app


def test_every_destination_has_a_route_and_nothing_else_has() -> None:
    assert set(routes.ROUTES) == set(get_args(ways.Destination))


def test_ways_open_replace_and_close_pages(driver, app) -> None:
    app.go(ways.Open(ways.ToSetup()))
    assert isinstance(app.top, SetupScreen)
    app.go(ways.Replace(page := message(app, "Title", "Text")))
    assert (app.screens[1:], app.top) == ([page], page)
    app.go(ways.Open(ways.ToSettings()))
    app.go(ways.BACK)
    assert app.top is page
    app.go(ways.HOME)
    assert [screen.name for screen in app.screens] == ["menu"]
    app.go(ways.QUIT)
    assert app.top is None
    app.push(app.new_menu())


def test_what_needs_the_kitchens_waits_for_them(app, monkeypatch) -> None:
    monkeypatch.setattr(type(app.preloader), "ready", False)
    assert isinstance(routes.screen_for(app, ways.ToSetup()), WaitScreen)
    assert routes.screen_for(app, ways.ToSettings()).name == "Settings"


def test_what_cannot_be_shown_is_a_page_that_says_why(driver, app, monkeypatch) -> None:
    def fails(*_: object) -> None:
        raise UserError("the disk is on fire")

    app.go(ways.Open(ways.ToGame(GameChoice(layout="no_such_kitchen"))))
    assert app.top.name == "This game cannot be played"
    assert "no_such_kitchen" in app.top.form.widgets[0].text
    monkeypatch.setitem(routes.ROUTES, ways.ToSetup, fails)
    app.go(ways.Replace(ways.ToSetup()))
    assert (app.top.name, app.top.form.widgets[0].text) == ("That did not work", "the disk is on fire")
    app.go(ways.Replace(WaitScreen(app, "Wait", lambda: True, fails)))  # type: ignore[arg-type]
    driver.post()
    assert app.top.form.widgets[0].text == "the disk is on fire"


def test_a_failed_page_leaves_the_one_before_below(driver, app) -> None:
    app.go(ways.Open(ways.ToReplay("last")))
    assert app.top.name == "This game cannot be watched"
    app.go(ways.BACK)
    assert driver.at == "menu"
