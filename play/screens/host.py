"""What a screen may ask of the window that it is in. `play.app.App` is the one host; tests may bring their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from play.game.preloader import Preloader
from play.game.settings import GameChoice, PlaySettings
from play.screens.ways import Way
from play.view.sound import Sound
from play.view.ui import Ui


class Host(Protocol):
    """Settings, drawing tools, what is loaded beside the window, and the way to other screens."""

    settings: PlaySettings
    ui: Ui  # replaced when the window's size or the settings change: never keep it
    sound: Sound
    preloader: Preloader
    note: str  # one line shown in the menu
    show_measurements: bool
    fps: float
    frame_ms: float  # what drawing took

    @property
    def moments(self) -> Path | None:
        """Label store for moments of games, if one was named."""

    def clock(self) -> float:
        """Monotonic seconds."""

    def go(self, way: Way) -> None:
        """Open, replace or close pages, at once."""

    def change(self, **fields: Any) -> None:
        """Change preferences, keep them on disk, and follow them at once."""

    def redraw(self) -> None:
        """Draw at the next frame even if nothing moves."""

    def blinded_letter(self, ref: str) -> str:
        """The letter that stands for a partner while names are hidden."""

    def partner_label(self, choice: GameChoice) -> str:
        """What the partner of a choice is called on the screen."""
