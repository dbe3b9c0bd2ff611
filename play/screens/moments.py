"""Which of two moments of the game was better: the page that compares clips, on pairs cut from that game."""

from __future__ import annotations

import secrets

from play.game.moments import REASONS, GameMoments, MomentsQueue, beside
from play.labelling.clips import Studio
from play.labelling.session import LabellingSession
from play.labelling.tasks import QueueThread
from play.screens.host import Host
from play.screens.label import LabelScreen

QUESTION = "Which was better?"


def moments_screen(app: Host, game_id: int, participant: str = "") -> LabelScreen:
    """The moments of a recorded game; `participant` of a study, else the pseudonym of the settings."""
    store = app.preloader.store()
    assert store is not None, "a game with a number is in a store"
    annotator = participant or _pseudonym(app)
    chosen = beside(store.path) if participant else app.moments  # of a study: where `withdraw` will look
    game = GameMoments(store.path, game_id, chosen)
    thread = QueueThread(lambda: MomentsQueue(game, annotator))
    session = LabellingSession(thread, Studio(store.path, game.draw, mode="thread"))
    return LabelScreen(app, session, title="Two moments of your game", question=QUESTION, reasons=REASONS)


def _pseudonym(app: Host) -> str:
    """The name used for labelling; a random one is kept from now on if there is none."""
    if not app.settings.annotator:
        app.change(annotator=f"player-{secrets.token_hex(3)}")
    return app.settings.annotator
