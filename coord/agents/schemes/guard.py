"""Code of somebody else's, kept on a short lead: what it raises, returns or never returns becomes one clear line."""

from __future__ import annotations

import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from coord.errors import UserError, shortened
from coord.types import NUM_ACTIONS

Made = TypeVar("Made")
DECISION_S = 10.0  # for one call of `act`
FIRST_S = 120.0  # for what happens once: imports, loading, the first decision


class _TooSlow(BaseException):  # not an Exception: code that catches those must not keep it
    """Raised into code that runs past its time."""


def guarded(who: str, what: str, call: Callable[[], Made], limit_s: float = DECISION_S) -> Made:
    """What `call` returns; `what` says in the error what it was about to do, `who` which agent it belongs to.

    Python code on the main thread is interrupted at the limit; elsewhere, and within compiled code, the limit is
    noticed when the call returns.

    Raises:
        UserError: it raised something, wanted to end the process, or took longer than `limit_s`.
    """
    begun_s = time.monotonic()
    try:
        with _alarm(limit_s):
            made = call()
    except UserError as error:
        raise UserError(f"agent {who}: {error}") from error
    except _TooSlow as error:
        raise UserError(_slow(who, what, limit_s)) from error
    except (Exception, SystemExit) as error:
        raise UserError(f"agent {who}: {what} failed: {reason_of(error)}") from error
    if time.monotonic() - begun_s > limit_s:
        raise UserError(_slow(who, what, limit_s))
    return made


def _slow(who: str, what: str, limit_s: float) -> str:
    return f"agent {who}: {what} took longer than {limit_s:g} s"


def reason_of(error: BaseException) -> str:
    """Kind and text of an error, and the file and line where it was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if len(frames) > 1 else ""
    return f"{type(error).__name__}: {shortened(error, 160)}{place}"


@contextmanager
def _alarm(limit_s: float) -> Iterator[None]:
    """Raise `_TooSlow` into the block after `limit_s`, where a process can do that."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        yield
        return

    def ring(number: int, frame: FrameType | None) -> None:
        raise _TooSlow

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, limit_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def checked_actions(who: str, answer: Any, count: int) -> NDArray[np.int64]:
    """The answer of `act` as actions [count].

    Raises:
        UserError: another shape, not whole numbers, or a number that is no action.
    """
    acts = guarded(who, "reading its actions", lambda: np.asarray(answer))
    if acts.shape != (count,):
        raise UserError(f"agent {who}: act() gave shape {list(acts.shape)}, expected one action per seat [{count}]")
    if acts.dtype.kind not in "iu":
        raise UserError(f"agent {who}: act() gave {acts.dtype}, expected whole numbers 0 to {NUM_ACTIONS - 1}")
    if count and not (acts.min() >= 0 and acts.max() < NUM_ACTIONS):
        wrong = acts[(acts < 0) | (acts >= NUM_ACTIONS)][0]
        raise UserError(f"agent {who}: act() gave action {wrong}, allowed are 0 to {NUM_ACTIONS - 1}")
    return acts.astype(np.int64)
