"""`coord replay`: watch a recorded game, or write it as a film."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from annotated_types import Gt, Le

HELP = "watch a recorded game, or write it as GIF or MP4"
EXAMPLES = (
    "coord replay last",
    "coord replay 12",
    "coord replay 12 out=game.gif",
    "coord replay last out=game.mp4 speed=2",
)


@dataclass(frozen=True, kw_only=True)
class ReplayConfig:
    """A recorded game, watched or written as a film."""

    game: str = "last"  # number of the game (coord games list), or last
    data: str | None = None  # recordings file; null: $COORD_DATA or the user's data folder
    out: str | None = None  # .gif or .mp4 to write instead of opening the window; null: open the window
    speed: Annotated[float, Gt(0), Le(1000)] = 1.0  # how many times faster the film runs than the game did

    def idle(self) -> dict[str, str]:
        """Fields that nothing reads as the others are set, and why."""
        return {"speed": "it is that of a film: say out= as well"} if self.out is None else {}


Config = ReplayConfig


def run(overrides: Sequence[str]) -> int:
    """Open the window on one game, or write its film."""
    from coord.errors import UserError
    from coord.run.config import load
    from play.commands.games import open_store

    cfg = load("replay", overrides, positional=("game",))
    if not cfg.speed > 0:
        raise UserError(f"speed: {cfg.speed:g} is not allowed; allowed: a number above 0")
    store = open_store(cfg.data)
    try:
        game = store.game(cfg.game)
    finally:
        store.close()
    if cfg.out is not None:
        from play.game.film import save_game

        save_game(game, Path(cfg.out), cfg.speed)
        print(f"game {game.header.id}: {len(game.rew)} ticks written to {cfg.out}")
        return 0
    from play.app import Options, main
    from play.screens.ways import ToReplay

    data = None if cfg.data is None else Path(cfg.data)
    return main(Options(file=data, open_first=ToReplay(game.header.id)))
