"""Which of two moments of the game was better: the page that compares clips, on pairs cut from that game."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from play.game.moments import LENGTH, REASONS, GameMoments, MomentsQueue, beside, judged_seat
from play.labelling.clips import Studio
from play.labelling.session import LabellingSession
from play.labelling.tasks import QueueThread
from play.screens.label import LabelScreen

if TYPE_CHECKING:
    from play.app import App
    from play.game.session import Session

QUESTION = "Which was better?"


def is_offered(session: Session) -> bool:
    """Whether a game has moments to compare: a recorded one of a person with an agent, long enough for two."""
    seats = [seat.info.to_dict() for seat in session.seats]
    is_kept = session.game_id is not None and not session.recording_error
    return is_kept and judged_seat(seats) is not None and session.tick >= 2 * LENGTH


def moments_screen(app: App, game_id: int, participant: str = "") -> LabelScreen:
    """The moments of a recorded game; `participant` of a study, else the pseudonym of the settings."""
    store = app.preloader.store()
    assert store is not None, "a game with a number is in a store"
    annotator = participant or _pseudonym(app)
    chosen = beside(store.path) if participant else app.options.moments  # of a study: where `withdraw` will look
    game = GameMoments(store.path, game_id, chosen)
    thread = QueueThread(lambda: MomentsQueue(game, annotator))
    session = LabellingSession(thread, Studio(store.path, game.draw, mode="thread"))
    return LabelScreen(app, session, title="Two moments of your game", question=QUESTION, reasons=REASONS)


def _pseudonym(app: App) -> str:
    """The name used for labelling; a random one is kept from now on if there is none."""
    if not app.settings.annotator:
        app.change(annotator=f"player-{secrets.token_hex(3)}")
    return app.settings.annotator
