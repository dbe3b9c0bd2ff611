"""Windows in processes of their own: killed in the middle, several at once, beside a trainer."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from coord.preference.labels.store import LabelStore
from play.labelling.answers import standing
from tests.play.labelling.helpers import make_store
from tests.play.labelling.test_label_window import consistent

SOAK_S = float(os.environ.get("COORD_SOAK_S", "20"))  # five minutes once: COORD_SOAK_S=300


def start(*words: object) -> subprocess.Popen[str]:
    """One member of the crew."""
    command = [sys.executable, "-m", "tests.play.labelling.crew", *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3])


def confirmed(lines: list[str]) -> set[int]:
    """Queries that a person saw confirmed and has not begun to take back; what they were told must be in the store."""
    sure: list[int] = []
    repeated: list[int] = []
    last = sure  # where the newest confirmation went
    for line in lines:
        word, _, number = line.partition(" ")
        if word in ("given", "repeated"):
            last = sure if word == "given" else repeated
            last.append(int(number))
        elif word == "undoing" and last:
            last.pop()  # may have happened or not when the process was killed
    return set(sure)


def told(process: subprocess.Popen[str], kill_after: int | None = None) -> list[str]:
    """What a person said; with `kill_after`, up to that many lines and whatever came until kill -9 worked."""
    lines = []
    for line in process.stdout:
        lines.append(line.strip())
        if kill_after is not None and len(lines) == kill_after:
            time.sleep(random.Random(kill_after).uniform(0.0, 0.03))
            process.send_signal(signal.SIGKILL)
    process.wait(60)
    return lines


def stand(file: Path) -> dict[int, float]:
    """Query -> target of the answers that count, for a store with one annotator per query."""
    with closing(LabelStore(file)) as store:
        rows = standing(store)
    assert len(rows) == len({row["query"] for row in rows})
    return {row["query"]: row["target"] for row in rows}


@pytest.mark.slow
def test_two_hundred_answers_survive_undo_and_kill(tmp_path: Path) -> None:
    file = tmp_path / "labels.sqlite"
    make_store(file, 200).close()
    sure: set[int] = set()
    for kill_after in (17, 41, 73):
        sure |= confirmed(told(start("label", file, "ann", 7, 600), kill_after))
        assert sure <= set(stand(file)), "an answer that was confirmed is lost"
        consistent(file)
    last = start("label", file, "ann", 7, 600)
    told(last)
    assert last.returncode == 0
    found = stand(file)
    assert len(found) == 200
    assert consistent(file) == 200
    with closing(LabelStore(file)) as store:
        numbers = {record.id: record.number for record in store.queries("run", 0)}
        assert len([row for row in store.answers() if row["kind"] == "withdrawn"]) > 20
        assert store.counts("run", 0).labelled == store.labels("run", 0).labels.size == 200
    # Segment 1 is better where the number is odd: nothing was mixed up by sides, undo or the kills.
    assert all(target == numbers[query] % 2 for query, target in found.items())


@pytest.mark.slow
@pytest.mark.parametrize("wanted", [1, 2])
def test_two_people_and_a_trainer_on_one_store(tmp_path: Path, wanted: int) -> None:
    file = tmp_path / "labels.sqlite"
    make_store(file, 0).close()
    begun = time.monotonic()
    trainer = start("train", file, 100_000, wanted, SOAK_S)
    people = {name: start("label", file, name, 9, SOAK_S) for name in ("ann", "bob")}
    said = {name: told(process) for name, process in people.items()}
    assert trainer.wait(60) == 0
    assert [process.returncode for process in people.values()] == [0, 0], said
    consistent(file)
    with closing(LabelStore(file)) as store:
        rows = standing(store)
        per_query: dict[int, set[str]] = {}
        for row in rows:
            per_query.setdefault(row["query"], set()).add(row["annotator"])
        for name, lines in said.items():
            mine = {row["query"] for row in rows if row["annotator"] == name}
            assert confirmed(lines) <= mine, "an answer that was confirmed is lost"
            assert len(mine) > 5
        assert sum(map(len, per_query.values())) == len(rows)
        assert max(map(len, per_query.values())) == wanted, "a query was answered more often than asked"
        print(f"{len(rows)} answers, {store.counts('run', 0)}, {time.monotonic() - begun:.0f} s")
