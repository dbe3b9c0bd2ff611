"""What the client remembers: keys, display, last choice. A JSON file in the user's configuration folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from play.inputs import PRESETS, Bindings


TEXT_SCALES = (1.0, 1.25, 1.5)


@dataclass(frozen=True)
class GameChoice:
    """What to play: the last choice in the menu."""

    layout: str = "cramped_room"
    partner: str = "greedy"
    stochastic: bool = True
    seat: int = 0
    ticks: int = 400
    tick_hz: float = 6.67
    rules: str = "classic"
    blinded: bool = False
    second_human: bool = False  # a second person holds the other seat


@dataclass(frozen=True)
class Settings:
    """All preferences. Change with `dataclasses.replace`, keep with `save`."""

    bindings: tuple[Bindings, Bindings] = (PRESETS["arrows"], PRESETS["wasd"])  # player 1, player 2
    hold_to_repeat: bool = True
    fullscreen: bool = False
    window: tuple[int, int] = (1280, 720)
    sound: bool = False
    reduced_motion: bool = False
    text_scale: float = 1.0  # size of texts and buttons, one of TEXT_SCALES
    whole_pixels: bool = True  # kitchen tiles only in whole multiples of the pictures' pixels
    menu: str = "play"  # entry of the main menu used last
    study: str = ""  # study file opened last
    tutorial_done: bool = False
    last: GameChoice = GameChoice()


def default_path() -> Path:
    """`$COORD_CONFIG` if set, else `coord/settings.json` in the user's configuration folder."""
    raise NotImplementedError


def load(path: Path | None = None) -> tuple[Settings, str]:
    """Settings and a note: "" or one line that says what was damaged and replaced by defaults. Never raises."""
    raise NotImplementedError


def save(settings: Settings, path: Path | None = None) -> None:
    """Write atomically. UserError if the folder cannot be written."""
    raise NotImplementedError
