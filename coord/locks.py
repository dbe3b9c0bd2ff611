"""One writer at a time: a folder is locked for as long as a process writes into it, and others are told who that is.

The lock is the kernel's (`flock` on the file `.lock`): it goes with the process that holds it, however that ends, so a
lock is never stale. What the file says about its holder is for people only.
"""

from __future__ import annotations

import json
import os
import shlex
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from coord import files
from coord.errors import UserError

LOCK_FILE = ".lock"
_held: dict[tuple[int, Path], Lock] = {}  # by a thread of this process, which may lock what it has locked once more


@dataclass(frozen=True)
class Lock:
    """A folder that this process may write into."""

    folder: Path
    handle: int

    def check(self) -> None:
        """Raise `UserError` if the folder was deleted or moved away: what is written would make half of one anew."""
        if not files.is_at(self.handle, self.folder / LOCK_FILE):
            raise UserError(f"{self.folder} was deleted or moved while it was being written: this run stops here")


@contextmanager
def locked_folder(folder: str | Path, on_wait: Callable[[str], None] | None = None) -> Iterator[Lock]:
    """Make the folder if need be and be the only process, and its only thread, that writes into it.

    Who holds the lock may ask for it again. If all fails within a folder that was made here, it goes again.

    on_wait: called with who holds it, before waiting for that; None: that is an error.

    Raises:
        UserError: another process has it, or the folder cannot be made or written.
    """
    folder = Path(folder)
    place = Path(os.path.realpath(folder))
    key = threading.get_ident(), place
    if key in _held:
        yield _held[key]
        return
    made = [above for above in (place, *place.parents) if not above.exists()]
    lock = _held[key] = _take(folder, on_wait)
    try:
        yield lock
    except BaseException:
        _tidy(place, made)
        raise
    finally:
        del _held[key]
        with suppress(OSError):
            os.ftruncate(lock.handle, 0)
        os.close(lock.handle)


def check_held() -> None:
    """Raise `UserError` if a folder that this process has locked is gone (see `Lock.check`)."""
    for lock in tuple(_held.values()):
        lock.check()


def _take(folder: Path, on_wait: Callable[[str], None] | None) -> Lock:
    path = folder / LOCK_FILE
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK | os.O_NOFOLLOW, 0o644)
        except OSError as error:
            raise UserError(f"cannot write {folder}: {error.strerror or error}") from error
        try:
            if _is_locked(handle, folder, on_wait) and files.is_at(handle, path):
                _sign(handle)
                return Lock(folder, handle)
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)  # whoever had it took the folder away: once more


def _is_locked(handle: int, folder: Path, on_wait: Callable[[str], None] | None) -> bool:
    if files.lock(handle, wait=False):
        return True
    who = _holder(handle)
    if on_wait is None:
        raise UserError(f"{folder} is being written by {who}: wait until that ends, stop it, or choose another out=")
    on_wait(who)
    return files.lock(handle, wait=True)


def _sign(handle: int) -> None:
    """Say who holds the lock; a full disk spares only the words."""
    command = shlex.join(["coord", *sys.argv[1:]])
    since = datetime.now(UTC).isoformat(timespec="seconds")
    text = json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": since, "command": command[:200]})
    with suppress(OSError):
        os.ftruncate(handle, 0)
        os.pwrite(handle, text.encode(), 0)
    os.register_at_fork(after_in_child=lambda: _forget(handle))


def _forget(handle: int) -> None:
    """In a forked child: the lock is its parent's alone and must not outlive it."""
    for key in [key for key, lock in _held.items() if lock.handle == handle]:
        del _held[key]
        with suppress(OSError):
            os.close(handle)


def _holder(handle: int) -> str:
    try:
        holder = json.loads(os.pread(handle, 4096, 0))
        return f"process {int(holder['pid'])} on {holder['host']} since {holder['since']} ({holder['command']})"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"


def _tidy(place: Path, made: list[Path]) -> None:
    """Remove the folders that were made for the lock, innermost first, as long as nothing else is in them."""
    if not made:
        return
    with suppress(OSError):
        if [entry.name for entry in place.iterdir()] != [LOCK_FILE]:
            return
        (place / LOCK_FILE).unlink()
        for folder in made:
            folder.rmdir()
