"""Ticks at a fixed rate, counted against absolute deadlines on a monotonic clock that the caller reads.

Nothing here reads the time itself: every function takes `now_s`, seconds of any monotonic clock, so tests hand in
numbers and the window hands in `time.monotonic()`.
"""

from __future__ import annotations


class TickClock:
    """When the next tick is due.

    Tick k is due at `origin + (k + 1) / hz`, so late frames never add up to drift. After a stall at most `max_backlog`
    ticks are made up for; time beyond that is forgiven (the game was frozen for the person too) and counted in
    `forgiven_s`.
    """

    def __init__(self, hz: float, max_backlog: int = 3) -> None:
        if not hz > 0:
            raise ValueError(f"tick rate must be above 0, got {hz}")
        self.hz = float(hz)
        self.max_backlog = max_backlog
        self.tick = 0  # ticks done
        self.forgiven_s = 0.0
        self._origin_s = 0.0
        self._stopped_at_s: float | None = 0.0  # the clock stands still until `resume`

    @property
    def period_s(self) -> float:
        """Seconds between two ticks."""
        return 1.0 / self.hz

    @property
    def stopped(self) -> bool:
        """True before the first `resume` and after `pause`."""
        return self._stopped_at_s is not None

    def resume(self, now_s: float) -> None:
        """Go (on): time that passed while stopped does not count. No effect on a running clock."""
        if self._stopped_at_s is not None:
            self._origin_s += now_s - self._stopped_at_s
            self._stopped_at_s = None

    def pause(self, now_s: float) -> None:
        """Stand still; the fraction of the current tick is kept. No effect on a stopped clock."""
        if self._stopped_at_s is None:
            self._stopped_at_s = now_s

    def deadline_s(self) -> float:
        """Monotonic time at which the next tick is due."""
        return self._origin_s + (self.tick + 1) / self.hz

    def due(self, now_s: float) -> bool:
        """Whether the next tick is due; forgives a backlog above the cap."""
        if self._stopped_at_s is not None:
            return False
        excess_s = now_s - self.deadline_s() - (self.max_backlog - 1) / self.hz
        if excess_s > self.period_s:
            self._origin_s += excess_s
            self.forgiven_s += excess_s
        # A hair of slack: deadlines are sums of floats, and a clock may be read exactly at one.
        return now_s >= self.deadline_s() - 1e-9

    def advance(self) -> None:
        """Count one tick as done."""
        self.tick += 1

    def alpha(self, now_s: float) -> float:
        """How far the way from the last tick to the next has gone, in [0, 1]: for interpolated drawing."""
        if self._stopped_at_s is not None:
            now_s = self._stopped_at_s
        return min(1.0, max(0.0, 1.0 - (self.deadline_s() - now_s) * self.hz))
