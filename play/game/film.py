"""A recorded game as a GIF or MP4 film."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from coord.errors import UserError, unknown
from coord.overcooked.recorded import RecordedGame

FORMATS = (".gif", ".mp4")
TILE = 60  # px


def check_name(out: Path) -> None:
    """UserError if a film cannot have that name: another ending, or a folder that is not there."""
    if out.suffix.lower() not in FORMATS:
        raise unknown("film format", out.suffix or out.name, FORMATS)
    if not out.parent.is_dir():
        raise UserError(f"no folder '{out.parent}' to write {out.name} into")


def save_game(game: RecordedGame, out: Path, speed: float = 1.0) -> None:
    """Write the film of a game, played `speed` times as fast. UserError if it cannot be written."""
    from coord.run.media import save_film

    check_name(out)
    save_film(out, frames(game), fps=game.header.tick_hz * speed)


def frames(game: RecordedGame) -> Iterator[np.ndarray]:
    """One picture [H, W, 3] per state of the game, with score and time above the kitchen."""
    from coord.overcooked.render import render_frame

    layout, score = game.header.kitchen(), np.concatenate([[0.0], np.cumsum(game.rew)])
    for tick, state in enumerate(game.states()):
        left_s = (game.header.ticks - tick) / game.header.tick_hz
        hud = {"Score": f"{score[tick]:g}", "Time": f"{left_s:.0f} s"}
        yield render_frame(layout, state, tile=TILE, hud=hud)
