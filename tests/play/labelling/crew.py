"""Processes around one label store: a person at a window of their own, and a trainer that asks and learns.

    python -m tests.play.labelling.crew label <store> <annotator> <undo every> <seconds>
    python -m tests.play.labelling.crew train <store> <queries> <wanted> <seconds>

A person tells on standard output what the window has confirmed: "given <query>", "taken <query>", and "undoing" before
an undo. Exit code 0: nothing left to do, or time is over; 3: an error reached the person.
"""

from __future__ import annotations

import sys
import time
from contextlib import closing
from pathlib import Path

from coord.preference.labels.store import LabelStore
from tests.play.labelling.helpers import judge, make_store, some_queries

SESSION = 5  # queries that the trainer asks at once


def label(file: Path, annotator: str, undo_every: int, seconds: float) -> int:
    """Sit at a window and answer by the rule, taking back and answering again now and then."""
    from tests.play.labelling.test_label_window import label_window

    end, given = time.monotonic() + seconds, 0
    with label_window(file, annotator, repeat_share=0.05) as driver:
        session = driver.app.screens[0].session
        while time.monotonic() < end:
            driver.until(lambda: session.phase in ("showing", "over", "waiting", "problem"))
            if session.phase == "problem":
                print("problem", session.problem, flush=True)
                return 3
            if session.phase == "over":
                return 0
            if session.phase == "waiting":
                driver.run(0.1)
                time.sleep(0.02)
                continue
            _answer(driver, session)
            given += 1
            if undo_every and given % undo_every == 0:
                _undo(driver, session)
    return 0


def _answer(driver, session) -> None:
    task, answered = session.task, session.answered
    driver.press(judge(task))
    driver.until(lambda: session.task is not task or session.problem)
    if session.answered > answered:
        print("repeated" if task.is_repeat else "given", task.record.id, flush=True)


def _undo(driver, session) -> None:
    print("undoing", flush=True)
    driver.press("z")
    driver.until(lambda: session.phase in ("showing", "problem"))
    taken = session.task
    if taken is not None and taken.taken_back is not None:
        print("untold" if taken.is_repeat else "taken", taken.record.id, flush=True)


def train(file: Path, queries: int, wanted: int, seconds: float) -> int:
    """Ask session after session and read labels back as a training run does; stops asking when all is asked."""
    end, asked = time.monotonic() + seconds, 0
    (file.parent / "config.yaml").write_text(f"labels: {queries}\nmembers: 1\n")
    with closing(LabelStore(file)) as store:
        while time.monotonic() < end:
            if asked < queries:
                batch = some_queries(SESSION, seed=asked)
                store.add_queries("run", 0, batch, first_number=asked, session=asked // SESSION, wanted=wanted)
                asked += SESSION
            elif not store.pending("run"):
                return 0
            store.labels("run", 0, before=asked)
            store.counts("run", 0)
            time.sleep(0.01)
    return 0


if __name__ == "__main__":
    what, path, first, second, limit = sys.argv[1:]
    if what == "label":
        sys.exit(label(Path(path), first, int(second), float(limit)))
    make_store(Path(path), 0).close()
    sys.exit(train(Path(path), int(first), int(second), float(limit)))
