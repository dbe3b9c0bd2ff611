"""What an annotator is asked, what they say of it, and the queue of both: for a run's clips or a game's moments."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from coord.errors import UserError
from coord.preference.labels.store import LabelStore, QueryRecord

CHOICES = ("left", "right", "equal", "skip")
NAME_LIMIT = 40
_Result = TypeVar("_Result")


@dataclass(frozen=True, kw_only=True)
class Response:
    """What a person says of one pair, as they saw it."""

    choice: str  # one of CHOICES
    unsafe: tuple[bool, bool] = (False, False)  # left, right
    reasons: tuple[str, ...] = ()
    note: str = ""
    response_ms: float | None = None  # looking at the pair, pauses left out
    shown: Mapping[str, Any] = field(default_factory=dict)  # how it was shown: replays, speed, ...


@dataclass(frozen=True)
class Task:
    """One pair for one annotator."""

    record: QueryRecord
    left: int  # the segment that is shown left: 0 or 1
    is_repeat: bool = False
    revision: int = 0
    taken_back: Response | None = None  # what the annotator said before they undid it


@dataclass(frozen=True)
class LabellingProgress:
    """How far an annotator is."""

    done: int  # queries with an answer of theirs that stands
    open: int  # queries that still want one
    repeats: int  # pairs shown again
    median_ms: float | None  # time for one answer; None: not known yet
    is_over: bool  # nobody is going to ask more


class TaskQueue(Protocol):
    """One annotator's pairs, one after the other. Belongs to the thread that made it (see `QueueThread`).

    Every method raises UserError when the store refuses.
    """

    @property
    def store(self) -> LabelStore:
        """Where the answers lie."""

    @property
    def annotator(self) -> str:
        """The pseudonym."""

    def take(self, held: Sequence[Task] = ()) -> Task | None:
        """The next pair beside those in hand; None: there is nothing to ask now."""

    def give(self, task: Task, response: Response) -> bool:
        """Store an answer in one transaction; False if the pair no longer wants one."""

    def undo(self) -> Task | None:
        """Take back the newest answer that stands; the pair to show again, None: no more."""

    def renew(self, task: Task) -> bool:
        """Hold a pair for longer; False if others have it by now."""

    def progress(self) -> LabellingProgress:
        """Counts of now."""

    def close(self) -> None:
        """Leave what is in hand to others, and close the store."""


class QueueThread:
    """Does a queue's work on a thread of its own: another process's lock or a slow disk never stalls the window."""

    def __init__(self, make: Callable[[], TaskQueue]) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="label-queue")
        self._make = make
        self._queue: TaskQueue | None = None

    def do(self, work: Callable[[TaskQueue], _Result]) -> Future[_Result]:
        """The result of `work`, later. A queue that cannot be made fails the work; the next work tries again."""
        return self._thread.submit(lambda: work(self._opened()))

    def close(self) -> None:
        """Finish what was begun, then close the store."""
        self._thread.submit(self._close)
        self._thread.shutdown(wait=True)

    def _opened(self) -> TaskQueue:
        if self._queue is None:
            self._queue = self._make()
        return self._queue

    def _close(self) -> None:
        if self._queue is not None:
            self._queue.close()


def checked_name(annotator: str) -> str:
    """A pseudonym without spaces at its ends. UserError: there is none, it is too long, or it is a teacher's."""
    name = annotator.strip()
    if not name or len(name) > NAME_LIMIT:
        raise UserError(f"an annotator needs a pseudonym of 1 to {NAME_LIMIT} letters, this one has {len(name)}")
    if name.startswith("teacher:"):
        raise UserError(f"annotator '{name}': names that begin with 'teacher:' are those of scripted teachers")
    return name
