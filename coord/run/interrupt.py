"""Ctrl-C that loses nothing: the first finishes the update and saves, the second stops at once.

A request to end (SIGTERM) and a terminal that is gone (SIGHUP) do what the first does.
"""

from __future__ import annotations

import signal
import sys
from contextlib import suppress
from types import FrameType, TracebackType


class Interrupted(Exception):
    """A run stopped on request and saved; the message is the command that goes on with it (exit code 130)."""


class Interrupt:
    """Context manager that turns the first SIGINT, SIGTERM or SIGHUP into the flag `requested`.

    with Interrupt() as interrupt:
        while not done:
            update()
            if interrupt.requested:
                save()
                raise Interrupted(f"coord train resume={folder}")

    Another SIGINT or SIGTERM raises `KeyboardInterrupt` wherever the program is; another SIGHUP does not, since a shell
    and the terminal each send one. Where SIGHUP is ignored (nohup) it stays so. Former handlers come back on exit.
    """

    def __init__(self) -> None:
        self.requested = False
        self._former: dict[int, signal.Handlers] = {}

    def __enter__(self) -> Interrupt:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN:
                continue
            self._former[number] = signal.signal(number, self._handle)  # type: ignore[assignment]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.requested and number != signal.SIGHUP:
            raise KeyboardInterrupt
        self.requested = True
        text = "\nfinishing this update, then saving; press Ctrl-C again to stop at once"
        with suppress(OSError, ValueError):  # the terminal may be gone
            print(text, file=sys.stderr, flush=True)
