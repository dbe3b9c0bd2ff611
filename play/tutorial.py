"""The lessons before the first game: move, pick up, pot, plate, serve, and then the same with a partner."""

from __future__ import annotations

from dataclasses import dataclass

from play.session import TickEvent


@dataclass(frozen=True)
class Phase:
    """One lesson. `partner` is "" for a lesson alone in the kitchen."""

    name: str
    title: str
    hint: str  # with {move} and {interact} for the player's keys
    goal: int  # how many times it must be done
    layout: str  # name or grid
    partner: str = ""


PHASES: tuple[Phase, ...] = ()


class Tutorial:
    """Where the learner stands. Feed it every TickEvent of the player's session; nothing of it is recorded.

    Attributes: phase (None when done), count (towards phase.goal), done.
    """

    def __init__(self, seat: int = 0) -> None: ...

    def update(self, event: TickEvent) -> bool:
        """True if this tick completed the phase (`phase` is then the next one; a new layout asks for a new Session)."""
        raise NotImplementedError

    def skip(self) -> None:
        """Go to the next phase."""
        raise NotImplementedError

    def skip_all(self) -> None:
        """Leave the tutorial."""
        raise NotImplementedError
