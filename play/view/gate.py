"""Keeps what was meant for the page before from the page that has come: leftover keys of a game answer no question.

After a change of page presses, typed text, clicks and the wheel count only once every key has been up and half a second
has gone by. What is let go and where the mouse is always counts, so that nothing stays held.
"""

from __future__ import annotations

from play.view.events import UiEvent

SETTLE_S = 0.5
GATED = ("press", "text", "click", "wheel")


class Gate:
    """Open or shut, by the keys that are held and by the clock."""

    def __init__(self) -> None:
        self._held: set[str] = set()
        self._is_open = True
        self._opens_s = 0.0

    def shut(self, now_s: float) -> None:
        """Another page is in charge from now on."""
        self._is_open, self._opens_s = False, now_s + SETTLE_S

    def is_open(self, now_s: float) -> bool:
        """Whether a key that goes down now counts."""
        self._is_open = self._is_open or (not self._held and now_s >= self._opens_s)
        return self._is_open

    def takes(self, event: UiEvent, now_s: float) -> bool:
        """Whether this event counts for the page in charge; every event of the window must come by here."""
        counts = event.kind not in GATED or self.is_open(now_s)
        if event.kind == "press":
            self._held.add(event.key)
        elif event.kind == "release":
            self._held.discard(event.key)
        elif event.kind == "blur":  # keys let go in another window are not reported here
            self._held.clear()
        elif event.kind == "pad":  # a pad that is unplugged lets go of nothing any more
            self._held = {key for key in self._held if not key.startswith("pad")}
        return counts
