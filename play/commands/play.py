"""`coord play`: the game window."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from coord.errors import UserError, unknown
from coord.limits import Seat, TickRate, Ticks

if TYPE_CHECKING:
    from play.screens.ways import Destination

HELP = "cook with an agent or with a friend, in a window"
EXAMPLES = (
    "coord play",
    "coord play layout=coordination_ring partner=human_proxy",
    "coord play partner=runs/pool#sp-0 seat=1",
    "coord play study=configs/study/example.yaml",
)


@dataclass(frozen=True, kw_only=True)
class PlayConfig:
    """The game window; without words it opens the menu."""

    layout: str | None = None  # kitchen to start in at once: a name, or a .layout file; null: the menu
    # partner to start with at once: greedy, human_proxy, a checkpoint, pool#member, python:cook.py:Cook; null: the menu
    partner: str | None = None
    seat: Seat | None = None  # your seat, 0 or 1; null: the one used last
    ticks: Ticks | None = None  # length of the game in ticks; null: the one used last
    tick_hz: TickRate | None = None  # ticks per second; null: the rate used last
    study: str | None = None  # study file to lead a participant through; null: none
    data: str | None = None  # recordings file; null: $COORD_DATA or the user's data folder
    # label store for moments compared after a game; null: the agent's preference run's, else beside data
    moments: str | None = None
    runs: str = "runs"  # folder in which trained partners are looked for
    allow_code: bool = False  # the study file may name python: agents, whose code then runs (also: --allow-code)

    def idle(self) -> dict[str, str]:
        """Fields that nothing reads as the others are set, and why."""
        game = ("layout", "partner", "seat", "ticks", "tick_hz")
        if self.study is not None:
            return dict.fromkeys(game, "the study file says what is played")
        return {"allow_code": "it is for study=; an agent that you name yourself may run its code"}


Config = PlayConfig


def run(overrides: Sequence[str]) -> int:
    """Open the window; 0 when it is closed. UserError without a display."""
    from coord.run.config import load

    cfg = load("play", overrides, positional=("layout", "partner"))
    _check_names(cfg)
    from play.app import Options, main

    data = None if cfg.data is None else Path(cfg.data)
    moments = None if cfg.moments is None else Path(cfg.moments)
    return main(Options(file=data, folders=(Path(cfg.runs),), open_first=_first(cfg), moments=moments))


def _check_names(cfg: PlayConfig) -> None:
    """UserError, before a window opens, for a kitchen or a partner that does not exist."""
    from coord.overcooked.loader import load_layout
    from coord.plugins import entries
    from coord.references import split_reference, split_scheme
    from play.game.catalogue import BUILT_IN

    if cfg.layout is not None:
        load_layout(cfg.layout)
    known = [entry.ref for entry in BUILT_IN]
    named = cfg.partner is None or cfg.partner in known or os.path.exists(split_reference(cfg.partner)[0])
    kinds = entries("coord.agents")
    if not named and split_scheme(str(cfg.partner))[0] not in kinds:
        whats = [f"<{kind}:...>" for kind in kinds]
        raise unknown("partner", cfg.partner, [*known, *whats, "<agent file>", "<folder of a pool or run>"])
    if cfg.study is not None and not os.path.isfile(cfg.study):
        raise UserError(f"no study file at '{cfg.study}'")


def _first(cfg: PlayConfig) -> Destination | None:
    """What opens over the menu: a study, a game of the words given, or nothing."""
    from play.screens import ways

    if cfg.study is not None:
        return ways.ToStudy(Path(cfg.study), cfg.allow_code)
    names = ("layout", "partner", "seat", "ticks", "tick_hz")
    wanted = {name: value for name in names if (value := getattr(cfg, name)) is not None}
    return ways.ToLastGame(wanted) if wanted else None
