"""The tutorial before the first game: move, pick up, pot, plate, serve, and then the same with a partner."""

from __future__ import annotations

from dataclasses import dataclass

from play.game.session import TickEvent

# Everything within reach of one cook, and a counter in the middle to walk around.
KITCHEN = """
XXPXX
O  1O
X X X
D   X
XXSXX
"""


@dataclass(frozen=True)
class Phase:
    """One step of the tutorial. `partner` is "" for one alone in the kitchen."""

    name: str
    title: str
    hint: str  # with {move} and {interact} for the player's keys
    goal: int  # how many times it must be done
    events: tuple[str, ...] = ()  # which events of the player count; () counts tiles walked
    layout: str = KITCHEN  # name or grid
    partner: str = ""


PHASES: tuple[Phase, ...] = (
    Phase("move", "Walk", "Walk around the kitchen with {move}. Walking into something makes you face it.", 6),
    Phase("pick_up", "Pick up", "Face the onions and press {interact} to take one.", 1, ("onion_from_dispenser",)),
    Phase("pot", "Fill the pot", "Carry three onions to the pot, one by one; it then cooks.", 3, ("potting_onion",)),
    Phase("plate", "Plate", "Take a dish, wait for the soup, and fill the dish at the pot.", 1, ("soup_pickup",)),
    Phase("serve", "Serve", "Carry the soup to the serving hatch.", 1, ("delivery",)),
    Phase(
        "partner",
        "Together",
        "Now with a partner. Serve two soups together, and keep out of each other's way.",
        2,
        ("delivery",),
        layout="cramped_room",
        partner="greedy",
    ),
)


class Tutorial:
    """Where the learner stands. Feed it every TickEvent of the player's session; nothing of it is recorded.

    Attributes: number (of the phase), count (towards `phase.goal`).
    """

    def __init__(self, seat: int = 0) -> None:
        self.seat = seat
        self.number = 0
        self.count = 0
        self._position: tuple[int, ...] | None = None

    @property
    def phase(self) -> Phase | None:
        """The present phase; None when done."""
        return None if self.done else PHASES[self.number]

    @property
    def done(self) -> bool:
        """Whether all phases are over, learned or skipped."""
        return self.number == len(PHASES)

    @property
    def new_kitchen(self) -> bool:
        """Whether the present phase needs another session than the phase before it."""
        if self.done or self.number == 0:
            return not self.done
        now, before = PHASES[self.number], PHASES[self.number - 1]
        return (now.layout, now.partner) != (before.layout, before.partner)

    def update(self, event: TickEvent) -> bool:
        """True if this tick completed the phase; `phase` is then the next one (see `new_kitchen`)."""
        if self.done:
            return False
        self.count += self._progress(PHASES[self.number], event)
        if self.count < PHASES[self.number].goal:
            return False
        self.skip()
        return True

    def skip(self) -> None:
        """Go to the next phase."""
        if not self.done:
            self.number += 1
            self.count = 0

    def skip_all(self) -> None:
        """Leave the tutorial."""
        self.number = len(PHASES)

    def _progress(self, phase: Phase, event: TickEvent) -> int:
        """How much this tick adds to the count; with a partner, what either does counts."""
        position = tuple(event.state["players"][self.seat]["position"])
        moved = self._position is not None and position != self._position
        self._position = position
        if not phase.events:
            return int(moved)
        mine = (one for one in event.events if phase.partner or one.seat == self.seat)
        return sum(one.name in phase.events for one in mine)
