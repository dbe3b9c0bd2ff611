"""Where a screen goes next: it hands its host one of these values, and the table in `routes.py` does the rest.

Screens therefore never import one another to get somewhere. A way opens a page: either a destination of the table, or
a screen that the caller has made itself (a message, a page of its own module).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import pygame

from play.view.events import UiEvent

if TYPE_CHECKING:
    from play.game.cast import Cast
    from play.game.session import Session
    from play.game.settings import GameChoice


class Screen(Protocol):
    """One page of the window. The top of the app's stack gets events, updates and drawing.

    A screen that shows one thing after another (the steps of a study) has an attribute `page` that changes with it:
    keys pressed for the one must not reach the other (see `play/view/gate.py`).
    """

    @property
    def name(self) -> str:
        """What it is, for the window's title."""

    @property
    def lively(self) -> bool:
        """Whether it must be drawn every frame; others are drawn only after something happened."""

    def handle(self, event: UiEvent) -> None:
        """React to one event."""

    def update(self, now_s: float) -> None:
        """Move on with the clock; called every frame, must not block."""

    def draw(self, surface: pygame.Surface) -> None:
        """Paint the whole window."""

    def close(self) -> None:
        """Leave the stack for good: stop what runs."""


# -- destinations ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ToLastGame:
    """The game chosen last, with some of it changed by `changes` (fields of GameChoice)."""

    changes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ToGame:
    """A game of one's own choice; with a `cast` a game somebody else has set, which cannot be started anew."""

    choice: GameChoice
    cast: Cast | None = None
    on_done: Callable[[Session], None] | None = None  # after the last tick; None: show the result


@dataclass(frozen=True)
class ToResult:
    """Score and figures of a finished game; `names` of the seats as the person calls them."""

    session: Session
    names: tuple[str, ...]
    choice: GameChoice


@dataclass(frozen=True)
class ToSetup:
    """Choose kitchen, partner, seat, length and speed."""


@dataclass(frozen=True)
class ToTutorial:
    """The tutorial. `on_done` comes after its last phase, learned or skipped; None: a page that offers a game.

    must_pass: no phase can be skipped.
    """

    on_done: Callable[[], None] | None = None
    must_pass: bool = False


@dataclass(frozen=True)
class ToStudies:
    """Name a study file."""


@dataclass(frozen=True)
class ToStudy:
    """The first page of a study; `allow_code`: its file may name agents whose own code runs."""

    file: Path
    allow_code: bool = False


@dataclass(frozen=True)
class ToReplays:
    """The list of recorded games."""


@dataclass(frozen=True)
class ToReplay:
    """One recorded game, by number or "last"."""

    game_id: int | str


@dataclass(frozen=True)
class ToMoments:
    """Which moment of a recorded game was better; `participant` of a study, "" for whoever plays."""

    game_id: int
    participant: str = ""


@dataclass(frozen=True)
class ToSettings:
    """Preferences."""


Destination = (
    ToLastGame | ToGame | ToResult | ToSetup | ToTutorial | ToStudies | ToStudy | ToReplays | ToReplay | ToMoments
    | ToSettings
)  # fmt: skip


# -- ways --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Open:
    """Open a page over the present one."""

    page: Destination | Screen


@dataclass(frozen=True)
class Replace:
    """Open a page in place of the present one."""

    page: Destination | Screen


@dataclass(frozen=True)
class Back:
    """Close the present page."""


@dataclass(frozen=True)
class Home:
    """Close everything but the first page."""


@dataclass(frozen=True)
class Quit:
    """Close everything; the window goes with it."""


Way = Open | Replace | Back | Home | Quit
BACK: Final = Back()
HOME: Final = Home()
QUIT: Final = Quit()
