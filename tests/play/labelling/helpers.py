"""Hand-made label stores, clips without a simulator, and people whose answers follow a rule."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from coord.errors import UserError
from coord.preference.labels.segments import Queries
from coord.preference.labels.store import LabelStore, QueryRecord
from play.labelling.clips import Film, Kitchen, Pair, Studio
from play.labelling.session import LabellingSession
from play.labelling.store_queue import StoreQueue
from play.labelling.tasks import QueueThread, Response, Task

STEPS = 3


def some_queries(count: int, seed: int = 0) -> Queries:
    """Queries with distinct contents."""
    rng = np.random.default_rng(seed)
    arrays = (rng.normal(size=(count, 2, STEPS, *rest)).astype(np.float32) for rest in ((2,), (1,), ()))
    return Queries(*arrays, *rng.integers(0, 9, (2, count, 2)))


def make_store(file: Path, count: int, *, first: int = 0, wanted: int = 1) -> LabelStore:
    """A store with `count` more queries; close it."""
    store = LabelStore(file)
    notes = [{"task": "walker_walk"}] * count
    store.add_queries(
        "run", 0, some_queries(count, first), first_number=first, session=0, wanted=wanted, provenance=notes
    )
    return store


def still_pair(file: Path, record: QueryRecord) -> Pair:
    """Two films of three frames."""
    frames = np.full((STEPS, 8, 8, 3), record.number % 200, np.uint8)
    return Pair((Film(frames), Film(255 - frames)))


def kitchen_pair(file: Path, record: QueryRecord) -> Pair:
    """The start of one kitchen, twice."""
    grid = ("XXPXX", "O1 2O", "XDXSX")
    players = [{"position": (x, 1), "orientation": (0, -1), "held_object": None} for x in (1, 3)]
    side = Kitchen(grid, ({"players": players, "objects": []},) * STEPS, record.number % 2)
    return Pair((side, side))


def missing_pair(file: Path, record: QueryRecord) -> Pair:
    """What becomes of a pair whose run was deleted."""
    raise UserError("no such file: session0.safetensors")


def session(file: Path, annotator: str = "ann", draw=still_pair, **rest: object) -> LabellingSession:
    """A session on a store, clips drawn by `draw` on a thread."""
    options = {key: rest.pop(key) for key in ("repeat_share", "lease_s") if key in rest}
    thread = QueueThread(lambda: StoreQueue(file, annotator, **options))
    return LabellingSession(thread, Studio(file, draw, mode="thread"), **({"min_watch_s": 0.0, "poll_s": 0.02} | rest))


class Time:
    """Frames of a clock of our own, threads of the session get real time."""

    def __init__(self, one: LabellingSession) -> None:
        self.session, self.now_s = one, 100.0

    def until(self, *phases: str, limit_s: float = 30.0) -> str:
        """Frames until the session is in one of these phases."""
        end = time.monotonic() + limit_s
        while True:
            self.now_s += 1 / 30
            self.session.update(self.now_s)
            if self.session.phase in phases:
                return self.session.phase
            assert time.monotonic() < end, f"waited in vain: {self.session.phase} {self.session.problem}"
            time.sleep(0.0005)


def judge(task: Task) -> str:
    """Prefers the segment with the odd number: one and the same opinion however it is shown."""
    return "left" if task.left == task.record.number % 2 else "right"


def answer(queue: StoreQueue, task: Task, choice: str | None = None, **rest: object) -> bool:
    """Give an answer by the rule, or another one."""
    return queue.give(task, Response(choice=choice or judge(task), response_ms=1000.0, **rest))
