"""How far a run is: a live panel on a terminal, one plain line every ten seconds elsewhere."""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, TextIO

from coord.run.terminal import plain, raw

if TYPE_CHECKING:
    from rich.panel import Panel

_WINDOW_S = 30.0  # the speed is that of the last half minute, so that compilation does not spoil the ETA


class Progress:
    """Progress of one piece of work with a known size.

    with Progress("train ppo on cramped_room", total=5_000_000, unit="steps") as progress:
        progress.update(step, {"return": 120.0, "entropy": 1.2})

    Args:
        title: what is being done.
        total: size of the work in `unit`.
        unit: what is counted, for the speed.
        start: what an earlier part of a resumed run has already done.
        stream: where to write; standard error by default, so that results on standard output stay clean.
        interval_s: seconds between plain lines.
        clock: seconds that only go forward (tests give their own).
    """

    def __init__(
        self,
        title: str,
        total: float,
        *,
        unit: str = "steps",
        start: float = 0,
        stream: TextIO | None = None,
        interval_s: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.title, self.total, self.unit, self.done = plain(title), total, unit, start
        self.metrics: dict[str, float] = {}
        self._stream = sys.stderr if stream is None else stream
        self._interval_s, self._clock = interval_s, clock
        self._began = self._last_line = clock()
        self._window: deque[tuple[float, float]] = deque([(self._began, start)])
        self._live = _live_display(self) if is_interactive(self._stream) else None

    def __enter__(self) -> Progress:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            with suppress(OSError):  # the terminal may be gone
                self._live.stop()
        elif kind is None:
            self._print_line()

    def update(self, done: float, metrics: Mapping[str, float] | None = None) -> None:
        """Say that `done` units are finished; of each metric the newest value is shown beside the bar."""
        now = self._clock()
        self.done = done
        self.metrics.update(metrics or {})
        self._window.append((now, done))
        while len(self._window) > 2 and now - self._window[0][0] > _WINDOW_S:
            self._window.popleft()
        if self._live is None and now - self._last_line >= self._interval_s:
            self._print_line()

    def note(self, text: str) -> None:
        """Print one line that stays, above the panel if there is one."""
        if self._live is None:
            self._say(text)
            return
        with suppress(OSError):
            self._live.console.print(plain(text), markup=False)

    @property
    def speed(self) -> float:
        """Units per second over the last half minute (0 while unknown)."""
        (t0, done0), (t1, done1) = self._window[0], self._window[-1]
        return (done1 - done0) / (t1 - t0) if t1 > t0 else 0.0

    @property
    def eta_s(self) -> float | None:
        """Seconds until the work is done at the present speed; None while the speed is unknown."""
        return max(self.total - self.done, 0.0) / self.speed if self.speed > 0 else None

    def line(self) -> str:
        """The state as one line of text."""
        share = 100 * min(self.done / self.total, 1.0) if self.total else 100.0
        eta = "?" if self.eta_s is None else duration(self.eta_s)
        parts = [f"{self.title}: {share:.0f} %", f"{compact(self.speed)} {self.unit}/s"]
        parts += [f"elapsed {duration(self._clock() - self._began)}", f"ETA {eta}"]
        metrics = dict(self.metrics)  # a live panel is drawn while the work goes on and may add some
        return ", ".join(parts + [f"{name} {value:.4g}" for name, value in metrics.items()])

    def panel(self) -> Panel:
        """The state as a panel for a terminal: bar, speed, times and the metrics."""
        from rich.panel import Panel
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        _, _, numbers = self.line().partition(": ")
        rows = Table.grid(expand=True)
        rows.add_row(ProgressBar(total=max(self.total, 1e-9), completed=min(self.done, self.total)))
        rows.add_row(Text(numbers))
        return Panel(rows, title=Text(self.title), title_align="left", width=100)

    def _print_line(self) -> None:
        self._last_line = self._clock()
        self._say(self.line())

    def _say(self, text: str) -> None:
        """One line; work goes on where nobody can read it any more."""
        with suppress(OSError):
            print(text, file=self._stream, flush=True)


def is_interactive(stream: TextIO) -> bool:
    """Whether a live panel makes sense: a terminal that understands it, and nobody asked for plain text."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return stream.isatty() and not plain


def duration(seconds: float) -> str:
    """`75 -> "1:15"`, `3675 -> "1:01:15"`."""
    minutes, second = divmod(round(seconds), 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour}:{minute:02d}:{second:02d}" if hour else f"{minute}:{second:02d}"


def compact(number: float) -> str:
    """Three digits and a letter: `1234567 -> "1.23M"`."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= size:
            return f"{number / size:.3g}{letter}"
    return f"{number:.3g}"


def _live_display(progress: Progress):  # type: ignore[no-untyped-def]  # rich is imported only where it is shown
    from rich.console import Console
    from rich.live import Live

    # Drawn anew several times a second, so that time passes on the panel between two updates that are far apart.
    console = Console(file=raw(progress._stream))
    return Live(get_renderable=progress.panel, console=console, refresh_per_second=4, transient=False)
