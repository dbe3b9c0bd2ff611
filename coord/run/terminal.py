"""What a command needs of the terminal, whatever that is: open streams, printable text, and a place for our own faults.

Names, notes and the content of files reach the terminal through `print` alone, so one wrapper around the two streams
keeps their escape codes from it. Whatever draws on a terminal on purpose (`coord.run.progress`) asks for `raw`.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import traceback
from collections.abc import Iterator
from typing import Any, TextIO, cast

from coord import __version__

SHOWN_MESSAGE = 200  # characters of an unexpected error that its line shows; the trace has all of them

# C0 but tab and newline, DEL, C1, and what turns the direction of writing: shown by their code points, e.g. \x1b.
_CODES = [*range(0x09), *range(0x0B, 0x20), *range(0x7F, 0xA0), *range(0x2028, 0x202F), *range(0x2066, 0x206A)]
_SHOWN = {code: f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" for code in _CODES}


def plain(text: str) -> str:
    """`text` with every control character but tab and newline shown by its code."""
    return text.translate(_SHOWN)


def one_line(value: object) -> str:
    """`value` as text without control characters and line breaks, for a row of a table."""
    return " ".join(plain(str(value)).split())


class PlainStream:
    """A text stream that writes `plain` text only, and goes on in silence after an error of the kind `forgiven`."""

    def __init__(self, stream: TextIO, forgiven: type[OSError] = BrokenPipeError) -> None:
        self.raw, self._forgiven = stream, forgiven

    def write(self, text: str) -> int:
        with self._unread():
            self.raw.write(plain(text))
        return len(text)

    def flush(self) -> None:
        with self._unread():
            self.raw.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.raw, name)

    @contextlib.contextmanager
    def _unread(self) -> Iterator[None]:
        """The reader (head, less) went away: nothing is wrong, and a training must not end because of it."""
        try:
            yield
        except self._forgiven:
            null = os.open(os.devnull, os.O_WRONLY)  # what is still buffered would fail again at exit
            os.dup2(null, self.raw.fileno())
            os.close(null)


def raw(stream: TextIO) -> TextIO:
    """The stream below a `PlainStream`, for drawing on a terminal; any other stream as it is."""
    return stream.raw if isinstance(stream, PlainStream) else stream


@contextlib.contextmanager
def prepared_streams() -> Iterator[None]:
    """Make standard output and error fit for any text while a command runs.

    A closed one would hand its number to the next file that is opened, which then holds what others print.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number: this one
    former = sys.stdout, sys.stderr
    # Messages that cannot be kept (a full disk) are no reason to stop; results on standard output are.
    sys.stdout, sys.stderr = _printable(sys.stdout, BrokenPipeError), _printable(sys.stderr, OSError)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = former


def _printable(stream: TextIO | None, forgiven: type[OSError]) -> TextIO:
    """A stream that no text can break; `stream` is None where the interpreter found it closed."""
    if stream is None:
        return open(os.devnull, "w", encoding="utf-8")
    if isinstance(stream, PlainStream):
        return cast("TextIO", stream)
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(errors="backslashreplace")  # PYTHONIOENCODING=ascii
    return cast("TextIO", PlainStream(stream, forgiven))


def report_fault(error: BaseException) -> str:
    """Write the trace of an error that nobody expected to a file of its own; the line that says so."""
    message = one_line(error)
    if len(message) > SHOWN_MESSAGE:
        message = f"{message[:SHOWN_MESSAGE]}…"
    return f"a fault in coord itself: {type(error).__name__}: {message}; {_write_trace(error)}"


def _write_trace(error: BaseException) -> str:
    words = " ".join(["coord", *sys.argv[1:]])
    trace = "".join(traceback.format_exception(error))
    text = f"coord {__version__}, Python {sys.version}\n{words}\n\n{trace}"
    try:
        handle, path = tempfile.mkstemp(prefix="coord-fault-", suffix=".txt")
        with open(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
    except OSError as problem:
        return f"the trace could not be kept: {problem.strerror or problem}"
    return f"the full trace is in {path}"
