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
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from coord import seeding
from coord.errors import UserError
from coord.preference.labels.moments import is_moment
from coord.preference.labels.store import LabelStore
from coord.yaml_files import read_yaml
from play.labelling.answers import left_of, response_of, standing, stored_answer
from play.labelling.tasks import LabellingProgress, Response, Task, checked_name

REPEAT_DISTANCE = 5  # answers between a pair and its repeat, so that it is not answered from memory
LEASE_S = 300.0
RESULTS = ("agents", "agent.safetensors")  # what a training run leaves at its end


@dataclass(frozen=True)
class _Given:
    query: int
    is_repeat: bool
    kind: str
    left: int
    response_ms: float | None
    row: Mapping[str, Any]


class StoreQueue:
    """The `TaskQueue` of a run's label store."""

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

    def give(self, task: Task, response: Response) -> bool:
        """Store an answer in one transaction; False if the pair no longer wants one (others were faster)."""
        query = task.record.id
        is_stale = time.monotonic() - self._held_since.get(query, 0.0) > self.lease_s / 2
        if is_stale and not self.renew(task):
            return False
        answer = stored_answer(task, response, query, self.annotator, client="coord label")
        is_new = self.store.add_answer(answer, repeat=task.is_repeat)
        self._held_since.pop(query, None)
        self._given = self._load()
        return is_new

    def undo(self) -> Task | None:
        """Take back the newest answer that stands, of an earlier session too; the pair to show again, None: no more."""
        self._given = self._load()
        if not self._given:
            return None
        last = self._given.pop()
        revision = self.store.withdraw(last.query, self.annotator, repeat=last.is_repeat)
        task = Task(self.store.record(last.query), last.left, last.is_repeat, revision, response_of(last.row))
        self.renew(task)
        return task

    def renew(self, task: Task) -> bool:
        """Hold a pair for longer; False if others have it by now."""
        if task.is_repeat:
            return True
        is_ours = self.store.renew(task.record.id, self.annotator, lease_s=self.lease_s)
        self._held_since[task.record.id] = time.monotonic()
        return is_ours

    def progress(self) -> LabellingProgress:
        """Counts of now."""
        done = [one for one in self._given if not one.is_repeat]
        times = [one.response_ms for one in self._given if one.response_ms is not None]
        return LabellingProgress(
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


def asking_is_over(store: LabelStore) -> bool:
    """Whether no training run beside the store asks any more: there is none, it ended, or its budget is spent."""
    folder = store.path.parent
    file = folder / "config.yaml"
    if not file.is_file() or any((folder / name).exists() for name in RESULTS):
        return True
    try:
        values = read_yaml(file)
        budget = int(values["labels"]) * int(values["members"])
    except (UserError, ValueError, KeyError, TypeError):
        return False
    asking = [run for run in store.runs() if not is_moment(run)]
    return sum(store.counts(run, m).asked for run in asking for m in range(int(values["members"]))) >= budget
