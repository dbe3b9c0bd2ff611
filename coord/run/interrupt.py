"""Ctrl-C that loses nothing: the first finishes the update and saves, the second stops at once."""

from __future__ import annotations

import signal
import sys
from types import FrameType, TracebackType


class Interrupted(Exception):
    """A run stopped on request and saved; the message is the command that goes on with it (exit code 130)."""


class Interrupt:
    """Context manager that turns the first SIGINT or SIGTERM into the flag `requested`.

    with Interrupt() as interrupt:
        while not done:
            update()
            if interrupt.requested:
                save()
                raise Interrupted(f"coord train resume={folder}")

    The second signal raises `KeyboardInterrupt` wherever the program is. Former handlers come back on exit.
    """

    def __init__(self) -> None:
        self.requested = False
        self._former: dict[int, signal.Handlers] = {}

    def __enter__(self) -> Interrupt:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._former[number] = signal.signal(number, self._handle)  # type: ignore[assignment]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        print(
            "\nfinishing this update, then saving; press Ctrl-C again to stop at once",
            file=sys.stderr,
            flush=True,
        )
