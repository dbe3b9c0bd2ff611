"""The one table that says which screen stands for which destination (see `play/screens/ways.py`).

Screens are imported when somebody goes there, so that the menu shows at once. Those that need kitchens and rules wait
for them on a page of their own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from coord.errors import UserError
from play.screens import ways
from play.screens.base import message
from play.screens.host import Host
from play.screens.wait import WaitScreen
from play.screens.ways import Destination, Screen

AT_ONCE = (ways.ToSettings,)  # what can be shown before kitchens and rules are loaded
FAILED: dict[type, str] = {ways.ToGame: "This game cannot be played"}  # titles of the page that says what went wrong


def screen_for(app: Host, page: Destination | Screen) -> Screen:
    """The screen to show for `page`, or a page that says why it cannot be shown."""
    route = ROUTES.get(type(page))
    if route is None:
        return page  # type: ignore[return-value]  # a screen already: destinations are all in the table
    if not isinstance(page, AT_ONCE) and not app.preloader.ready:
        return WaitScreen(app, "Heating the stoves", lambda: app.preloader.ready, lambda: page)
    try:
        return route(app, page)
    except UserError as err:
        return message(app, FAILED.get(type(page), "That did not work"), str(err))


def _last_game(app: Host, to: ways.ToLastGame) -> Screen:
    from play.screens.game import GameScreen

    last = app.settings.last
    return GameScreen(app, dataclasses.replace(last, second_human=False, **to.changes) if to.changes else last)


def _game(app: Host, to: ways.ToGame) -> Screen:
    from play.screens.game import GameScreen

    return GameScreen(app, to.choice, cast=to.cast, on_done=to.on_done)


def _result(app: Host, to: ways.ToResult) -> Screen:
    from play.screens.result import ResultScreen

    return ResultScreen(app, to.session, to.names, to.choice)


def _setup(app: Host, _: ways.ToSetup) -> Screen:
    from play.screens.setup import SetupScreen

    return SetupScreen(app)


def _tutorial(app: Host, to: ways.ToTutorial) -> Screen:
    from play.screens.tutorial import TutorialScreen

    return TutorialScreen(app, to.on_done, must_pass=to.must_pass)


def _studies(app: Host, _: ways.ToStudies) -> Screen:
    from play.screens.study_pages import study_menu

    return study_menu(app)


def _study(app: Host, to: ways.ToStudy) -> Screen:
    from play.screens.study_pages import study_screen

    return study_screen(app, to.file, allow_code=to.allow_code)


def _replays(app: Host, _: ways.ToReplays) -> Screen:
    from play.screens.replays import replay_list

    return replay_list(app)


def _replay(app: Host, to: ways.ToReplay) -> Screen:
    from play.screens.replays import replay_screen

    return replay_screen(app, to.game_id)


def _moments(app: Host, to: ways.ToMoments) -> Screen:
    from play.screens.moments import moments_screen

    return moments_screen(app, to.game_id, to.participant)


def _settings(app: Host, _: ways.ToSettings) -> Screen:
    from play.screens.preferences import settings_screen

    return settings_screen(app)


ROUTES: dict[type, Callable[[Host, Any], Screen]] = {
    ways.ToLastGame: _last_game,
    ways.ToGame: _game,
    ways.ToResult: _result,
    ways.ToSetup: _setup,
    ways.ToTutorial: _tutorial,
    ways.ToStudies: _studies,
    ways.ToStudy: _study,
    ways.ToReplays: _replays,
    ways.ToReplay: _replay,
    ways.ToMoments: _moments,
    ways.ToSettings: _settings,
}
