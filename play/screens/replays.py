"""Recorded games: the list, and the way into one of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

from coord.errors import UserError
from play.screens.base import FormScreen, message
from play.screens.host import Host
from play.screens.setup import layout_title
from play.screens.wait import WaitScreen
from play.screens.ways import BACK, Open, Replace, Screen, ToReplay, ToReplays
from play.view import theme
from play.view.widgets import Button, Space, Text, Widget

if TYPE_CHECKING:
    from coord.overcooked.recorded import GameHeader

OUTCOMES = {"finished": "", "quit": ", left early", "recovered": ", cut off"}


def replay_list(app: Host) -> Screen:
    """All games, newest first; or why there are none."""
    store = app.preloader.store(writes=False)
    if store is None:
        return message(app, "The recordings cannot be opened", app.preloader.problem, [
            ("Try again", lambda: _retry(app)), ("Back", partial(app.go, BACK)),
        ])  # fmt: skip
    try:
        games = [game for game in reversed(store.games()) if game.outcome is not None]
    except UserError as err:
        return message(app, "The recordings cannot be read", str(err))

    def build() -> Sequence[Widget]:
        if not games:
            return [Text("No games yet. Play one, and it is here.", color=theme.MUTED, center=True), Space(),
                    Button("Back", partial(app.go, BACK))]  # fmt: skip
        return [
            Button(f"{game.id}  {layout_title(game.layout)}", partial(app.go, Open(to)), note=game_note(game))
            for game, to in ((game, ToReplay(game.id)) for game in games)
        ]

    note = store.recovered[-1] if store.recovered else ""
    hints = (("Up Down", "choose"), ("Enter", "watch"), ("Esc", "back"))
    return FormScreen(app, "Replays", build, hints=hints, note=lambda: note, width=760)


def _retry(app: Host) -> None:
    app.preloader.retry()
    app.go(Replace(ToReplays()))


def game_note(game: GameHeader) -> str:
    """Score, partner and time of a game in few words."""
    with_ = ", ".join(seat["label"] for seat in game.seats if seat["kind"] != "human") or "two people"
    when = datetime.fromisoformat(game.started_utc).astimezone().strftime("%d %b %H:%M")
    return f"{game.score:g} points with {with_}, {when}{OUTCOMES.get(game.outcome or '', '')}"


def replay_screen(app: Host, game_id: int | str) -> Screen:
    """The screen for one game, or a page that says why it cannot be watched."""
    from play.game.replay import Replay
    from play.screens.replay import ReplayScreen

    store = app.preloader.store(writes=False)
    if store is None:
        return message(app, "The recordings cannot be opened", app.preloader.problem)
    try:
        game = store.game(game_id)
    except UserError as err:
        return message(app, "This game cannot be watched", str(err))
    replay = app.preloader.submit(lambda: Replay(game))
    return WaitScreen(app, "Rewinding the tape", replay.done, lambda: ReplayScreen(app, replay.result()))
