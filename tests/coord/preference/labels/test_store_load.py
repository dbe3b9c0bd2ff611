"""Two people label while an agent trains, on one store: no answer lost, none twice, no lock in anybody's way.

`COORD_LOAD_S` is how long, by default a few seconds. The trainer is the real loop on the made-up task; the annotators
are processes of their own (`labeller.py`) that answer as fast as the store lets them.
"""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from coord.algos.ppo import Hooks
from coord.preference.labels.feedback import RUN_NAME, STORE_FILE
from coord.preference.labels.store import LabelStore
from coord.preference.learners import sac
from coord.preference.methods.method import named
from tests.coord.preference.fake_task import point_envs, small

SECONDS = float(os.environ.get("COORD_LOAD_S", "4"))
NAMES = ("ann", "bob")
LABELLER = Path(__file__).parents[1] / "labeller.py"


def train(folder: Path, seconds: float) -> sac.SACRun:
    """The real loop with people, until the time is over."""
    cfg = small(
        answerer="human", answers_every=10, min_answers=2, ask_ahead=6, annotators_per_query=2, labels=100_000,
        total_steps=10**9, buffer_size=2000, updates_per_step=0.1, eval_every=10**9, log_every=50,
    )  # fmt: skip
    envs = point_envs(cfg)
    run = sac.build(cfg, named("pebble"), envs)
    run.open(folder)
    end = time.monotonic() + seconds
    sac.train(run, envs, Hooks(should_stop=lambda run: time.monotonic() > end))
    return run


@pytest.fixture
def people(tmp_path: Path) -> Iterator[list[subprocess.Popen[bytes]]]:
    LabelStore(tmp_path / STORE_FILE).close()
    command = [sys.executable, str(LABELLER), str(tmp_path / STORE_FILE)]
    started = [
        subprocess.Popen([*command, name, str(seed), str(tmp_path / f"{name}.log")]) for seed, name in enumerate(NAMES)
    ]
    yield started
    for process in started:
        process.kill()


def test_nothing_is_lost_or_doubled_under_load(tmp_path: Path, people: list[subprocess.Popen[bytes]]) -> None:
    torch.set_num_threads(1)
    deadline = time.monotonic() + 120
    while not all((tmp_path / f"{name}.log").exists() for name in NAMES) and time.monotonic() < deadline:
        time.sleep(0.05)  # on a busy machine an import takes long
    run = train(tmp_path, SECONDS)
    (tmp_path / f"{STORE_FILE}.stop").touch()
    assert [process.wait(60) for process in people] == [0, 0], [p.read_text() for p in tmp_path.glob("*.error")]

    store = LabelStore(tmp_path / STORE_FILE)
    said = {name: [json.loads(line) for line in (tmp_path / f"{name}.log").open()] for name in NAMES}
    assert all(new for lines in said.values() for *_, new in lines)  # nobody was told that it was there already
    given = {(query, name, revision): target for name in NAMES for query, revision, target, _ in said[name]}
    with sqlite3.connect(store.path) as direct:
        sql = "SELECT query, annotator, revision, target FROM answers WHERE kind = 'label'"
        stored = {(query, name, revision): target for query, name, revision, target in direct.execute(sql)}
        (count,) = direct.execute("SELECT count(*) FROM answers WHERE kind = 'label'").fetchone()
        (broken,) = direct.execute("PRAGMA integrity_check").fetchone()
    assert stored == given
    assert count == len(given)
    assert broken == "ok"
    standing = Counter(name for m in range(2) for name in store.labels(RUN_NAME, m).annotator)
    assert standing == {name: len({query for query, *_ in lines}) for name, lines in said.items()}
    per_query = Counter((m, int(n)) for m in range(2) for n in store.labels(RUN_NAME, m).number)
    assert max(per_query.values()) == 2  # as many as were asked, never more
    assert run.switched
    assert run.feedback is not None
    learned = int(run.feedback.report()["reward/labels"].min())
    assert learned >= 4
    print(
        f"\n{SECONDS:.0f} s: {len(given)} answers, {run.feedback.asked} queries to each of 2 members, {learned} learned"
    )
