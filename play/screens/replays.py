"""Recorded games: the list, and the way into one of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

from coord.errors import UserError
from play.screens.base import FormScreen, Screen, message
from play.screens.opening import WaitScreen
from play.screens.setup import layout_title
from play.view import theme
from play.view.widgets import Button, Space, Text, Widget

if TYPE_CHECKING:
    from coord.overcooked.recorded import GameHeader
    from play.app import App

OUTCOMES = {"finished": "", "quit": ", left early", "recovered": ", cut off"}


def replay_list(app: App) -> Screen:
    """All games, newest first; or why there are none."""
    store = app.preloader.store()
    if store is None:
        return message(app, "The recordings cannot be opened", app.preloader.problem, [
            ("Try again", lambda: _retry(app)), ("Back", app.pop),
        ])  # fmt: skip
    try:
        games = [game for game in reversed(store.games()) if game.outcome is not None]
    except UserError as err:
        return message(app, "The recordings cannot be read", str(err))

    def build() -> Sequence[Widget]:
        if not games:
            return [Text("No games yet. Play one, and it is here.", color=theme.MUTED, center=True), Space(),
                    Button("Back", app.pop)]  # fmt: skip
        return [
            Button(f"{game.id}  {layout_title(game.layout)}", partial(open_replay, app, game.id), note=game_note(game))
            for game in games
        ]

    note = store.recovered[-1] if store.recovered else ""
    hints = (("Up Down", "choose"), ("Enter", "watch"), ("Esc", "back"))
    return FormScreen(app, "Replays", build, hints=hints, note=lambda: note, width=760)


def _retry(app: App) -> None:
    app.preloader.retry()
    app.replace(replay_list(app))


def game_note(game: GameHeader) -> str:
    """Score, partner and time of a game in few words."""
    with_ = ", ".join(seat["label"] for seat in game.seats if seat["kind"] != "human") or "two people"
    when = datetime.fromisoformat(game.started_utc).astimezone().strftime("%d %b %H:%M")
    return f"{game.score:g} points with {with_}, {when}{OUTCOMES.get(game.outcome or '', '')}"


def open_replay(app: App, game_id: int | str) -> None:
    """Open one game of the recordings, unpacking it beside the window."""
    app.push(replay_screen(app, game_id))


def replay_screen(app: App, game_id: int | str) -> Screen:
    """The screen for one game, or a page that says why it cannot be watched."""
    from play.game.replay import Replay
    from play.screens.replay import ReplayScreen

    store = app.preloader.store()
    if store is None:
        return message(app, "The recordings cannot be opened", app.preloader.problem)
    try:
        game = store.game(game_id)
    except UserError as err:
        return message(app, "This game cannot be watched", str(err))
    replay = app.preloader.submit(lambda: Replay(game))
    return WaitScreen(app, "Rewinding the tape", replay.done, lambda: ReplayScreen(app, replay.result()))
