"""One annotator's work on one label store: what to show next, what they said of it, what they take back.

Everything that matters lies in the store: an answer is one transaction, and the side on which a segment is shown, the
pairs that are shown again and the history that undo walks are functions of what is stored. A window that is killed at
any moment therefore goes on where it was.

Repeats: after every 1 / `repeat_share` answers one of the annotator's earlier labels is asked once more, at least
`REPEAT_DISTANCE` answers later, by turns with the sides swapped and as they were.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

import yaml

from coord import __version__, seeding
from coord.errors import UserError
from coord.preference.labels.moments import is_moment
from coord.preference.labels.store import Answer, LabelStore, QueryRecord
from play.labelling.answers import choice_of, left_of, ordered, standing, target_of

CHOICES = ("left", "right", "equal", "skip")
REPEAT_DISTANCE = 5  # answers between a pair and its repeat, so that it is not answered from memory
LEASE_S = 300.0
NAME_LIMIT = 40
RESULTS = ("agents", "agent.safetensors")  # what a training run leaves at its end
_Result = TypeVar("_Result")


@dataclass(frozen=True, kw_only=True)
class Verdict:
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
    taken_back: Verdict | None = None  # what the annotator said before they undid it


@dataclass(frozen=True)
class Progress:
    """How far an annotator is."""

    done: int  # queries with an answer of theirs that stands
    open: int  # queries that still want one
    repeats: int  # pairs shown again
    median_ms: float | None  # time for one answer; None: not known yet
    is_over: bool  # nobody is going to ask more


@dataclass(frozen=True)
class _Given:
    query: int
    is_repeat: bool
    kind: str
    left: int
    response_ms: float | None
    row: Mapping[str, Any]


class Desk:
    """Belongs to the thread that made it, as SQLite's connections do; see `Clerk`."""

    def __init__(self, file: Path, annotator: str, *, repeat_share: float = 0.05, lease_s: float = LEASE_S) -> None:
        self.annotator = checked_name(annotator)
        self.repeat_share, self.lease_s = repeat_share, lease_s
        self.store = LabelStore(file, create=False)
        self._given = self._load()
        self._held_since: dict[int, float] = {}  # query -> monotonic time of the newest claim

    def close(self) -> None:
        """Leave what is in hand to others, and close the store."""
        with suppress(UserError):  # then the leases run out by themselves
            self.store.release(list(self._held_since), self.annotator)
        self.store.close()

    def take(self, held: Sequence[Task] = ()) -> Task | None:
        """The next pair beside those in hand; None: there is nothing to ask this annotator now."""
        again = self._repeat_due(held)
        if again is not None:
            return again
        besides = [task.record.id for task in held if not task.is_repeat]
        record = self.store.claim(self.annotator, lease_s=self.lease_s, besides=besides)
        if record is None:
            return None
        self._held_since[record.id] = time.monotonic()
        return Task(record, self._side(record.id), revision=self.store.revision(record.id, self.annotator))

    def give(self, task: Task, verdict: Verdict) -> bool:
        """Store an answer in one transaction; False if the pair no longer wants one (others were faster)."""
        query = task.record.id
        is_stale = time.monotonic() - self._held_since.get(query, 0.0) > self.lease_s / 2
        if is_stale and not self.renew(task):
            return False
        answer = Answer(
            query=query,
            annotator=self.annotator,
            target=target_of(verdict.choice, task.left),
            unsafe=ordered(verdict.unsafe, task.left),
            reasons=verdict.reasons,
            note=verdict.note,
            response_ms=verdict.response_ms,
            provenance={**verdict.shown, "left": task.left, "client": f"coord label {__version__}"},
            revision=task.revision,
        )
        is_new = self.store.add_answer(answer, repeat=task.is_repeat)
        self._held_since.pop(query, None)
        self._given = self._load()
        return is_new

    def undo(self) -> Task | None:
        """Take back the newest answer that stands, of an earlier sitting too; the pair to show again, None: no more."""
        self._given = self._load()
        if not self._given:
            return None
        last = self._given.pop()
        revision = self.store.withdraw(last.query, self.annotator, repeat=last.is_repeat)
        task = Task(self.store.record(last.query), last.left, last.is_repeat, revision, _said(last))
        self.renew(task)
        return task

    def renew(self, task: Task) -> bool:
        """Hold a pair for longer; False if others have it by now."""
        if task.is_repeat:
            return True
        is_ours = self.store.renew(task.record.id, self.annotator, lease_s=self.lease_s)
        self._held_since[task.record.id] = time.monotonic()
        return is_ours

    def progress(self) -> Progress:
        """Counts of now."""
        done = [one for one in self._given if not one.is_repeat]
        times = [one.response_ms for one in self._given if one.response_ms is not None]
        return Progress(
            done=len(done),
            open=self.store.count_pending(annotator=self.annotator),
            repeats=len(self._given) - len(done),
            median_ms=median(times) if times else None,
            is_over=asking_is_over(self.store),
        )

    def _side(self, query: int) -> int:
        """Which segment is shown left: a coin that falls the same way whenever it is thrown for this pair."""
        return int(seeding.rng(0, "side", self.annotator, query).integers(2))

    def _repeat_due(self, held: Sequence[Task]) -> Task | None:
        first = [one for one in self._given if not one.is_repeat]
        repeated = {one.query for one in self._given if one.is_repeat}
        repeated |= {task.record.id for task in held if task.is_repeat}
        if len(repeated) >= math.floor(len(first) * self.repeat_share):
            return None
        old = [one for one in first[:-REPEAT_DISTANCE] if one.kind == "label" and one.query not in repeated]
        if not old:
            return None
        chosen = old[seeding.rng(0, "repeat", self.annotator, len(repeated)).integers(len(old))]
        left = 1 - chosen.left if len(repeated) % 2 == 0 else chosen.left
        revision = self.store.revision(chosen.query, self.annotator, repeat=True)
        return Task(self.store.record(chosen.query), left, is_repeat=True, revision=revision)

    def _load(self) -> list[_Given]:
        """The annotator's standing answers and repeats, oldest first."""
        rows = [(repeat, row) for repeat in (False, True) for row in standing(self.store, repeat)]
        mine = [
            (repeat, row) for repeat, row in rows if row["annotator"] == self.annotator and not is_moment(row["run"])
        ]
        mine.sort(key=lambda entry: (entry[1]["answered_utc"], entry[0]))
        return [
            _Given(row["query"], repeat, row["kind"], left_of(row), row["response_ms"], row) for repeat, row in mine
        ]


class Clerk:
    """Does a desk's work on a thread of its own: another process's lock or a slow disk never stalls the window."""

    def __init__(self, make: Callable[[], Desk]) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="clerk")
        self._make = make
        self._desk: Desk | None = None

    def do(self, work: Callable[[Desk], _Result]) -> Future[_Result]:
        """The result of `work`, later. A desk that cannot be made fails the work; the next work tries again."""
        return self._thread.submit(lambda: work(self._opened()))

    def close(self) -> None:
        """Finish what was begun, then close the store."""
        self._thread.submit(self._close)
        self._thread.shutdown(wait=True)

    def _opened(self) -> Desk:
        if self._desk is None:
            self._desk = self._make()
        return self._desk

    def _close(self) -> None:
        if self._desk is not None:
            self._desk.close()


def checked_name(annotator: str) -> str:
    """A pseudonym without spaces at its ends. UserError: there is none, it is too long, or it is a teacher's."""
    name = annotator.strip()
    if not name or len(name) > NAME_LIMIT:
        raise UserError(f"an annotator needs a pseudonym of 1 to {NAME_LIMIT} letters, this one has {len(name)}")
    if name.startswith("teacher:"):
        raise UserError(f"annotator '{name}': names that begin with 'teacher:' are those of scripted teachers")
    return name


def asking_is_over(store: LabelStore) -> bool:
    """Whether no training run beside the store asks any more: there is none, it ended, or its budget is spent."""
    folder = store.path.parent
    file = folder / "config.yaml"
    if not file.is_file() or any((folder / name).exists() for name in RESULTS):
        return True
    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8"))
        budget = int(values["labels"]) * int(values["members"])
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError):
        return False
    asking = [run for run in store.runs() if not is_moment(run)]
    return sum(store.counts(run, m).asked for run in asking for m in range(int(values["members"]))) >= budget


def _said(given: _Given) -> Verdict:
    row = given.row
    unsafe = ordered((bool(row["unsafe_first"]), bool(row["unsafe_second"])), given.left)
    return Verdict(choice=choice_of(row), unsafe=unsafe, reasons=tuple(row["reasons"]), note=row["note"])
