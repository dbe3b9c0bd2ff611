"""`coord label` in the terminal: which store it takes, one clear line for each that it cannot take, the report."""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from coord.errors import UserError
from coord.preference.labels import episodes
from coord.preference.labels.segments import Queries
from coord.preference.labels.store import LabelStore
from coord.run.cli import main
from play.commands import label
from play.labelling.clips import Kitchen, draw_pair
from play.labelling.store_queue import StoreQueue
from tests.play.labelling.helpers import answer, make_store


def line(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The one line that a command fails with."""
    assert main(["label", *words]) == 2
    error = capsys.readouterr().err.strip()
    assert "\n" not in error
    return error


def test_folders_that_are_no_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no run folder" in line(capsys, f"run={tmp_path / 'gone'}")
    assert "holds no labels.sqlite" in line(capsys, f"run={tmp_path}")
    assert "has pairs to compare" in line(capsys, f"runs={tmp_path}")


def test_stores_that_cannot_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    damaged, newer, other = tmp_path / "damaged.sqlite", tmp_path / "newer.sqlite", tmp_path / "other.sqlite"
    damaged.write_bytes(b"no database at all" * 100)
    LabelStore(newer).close()
    for path, pragma in ((newer, "user_version = 99"), (other, "user_version = 0")):
        with closing(sqlite3.connect(path)) as connection:
            connection.execute(f"PRAGMA {pragma}")
            connection.execute("CREATE TABLE IF NOT EXISTS t (x)")
    assert "damaged" in line(capsys, f"run={damaged}")
    assert "schema 99" in line(capsys, f"run={newer}")
    assert "not a label store" in line(capsys, f"run={other}")
    assert "damaged" in line(capsys, "report", f"store={damaged}")


def test_settings_out_of_range(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for word in ("repeats=2", "min_watch_s=-1", "lease_s=1", "reasons=[]", "annotator=teacher:oracle"):
        make_store(tmp_path / "labels.sqlite", 0).close()
        assert line(capsys, f"run={tmp_path}", word)


def test_the_newest_run_that_waits_is_taken(tmp_path: Path) -> None:
    for age, (name, count) in enumerate([("old", 1), ("new", 1), ("newest", 0)]):
        file = tmp_path / name / "labels.sqlite"
        make_store(file, count).close()
        os.utime(file, (1000 + age, 1000 + age))
    assert label.newest_waiting(tmp_path) == tmp_path / "new" / "labels.sqlite"
    with closing(StoreQueue(tmp_path / "new" / "labels.sqlite", "ann")) as queue:
        answer(queue, queue.take())
    assert label.newest_waiting(tmp_path) == tmp_path / "old" / "labels.sqlite"


def test_the_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_store(tmp_path / "labels.sqlite", 12).close()
    assert "no person has answered" in line(capsys, "report", f"store={tmp_path}")
    with closing(StoreQueue(tmp_path / "labels.sqlite", "ann", repeat_share=0.1)) as queue:
        while (task := queue.take()) is not None:
            answer(queue, task)
    assert main(["label", "report", f"store={tmp_path}"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("ann\n")
    assert "same answer again         100% [21%, 100%] (1 of 1)" in out


# ------------------------------------------------------------------------------------------------------- clips


def kitchen_store(folder: Path, count: int = 1) -> Queries:
    """A store with queries of the same two stretches of one game, and the game."""
    from coord.overcooked import OvercookedVectorEnv

    env = OvercookedVectorEnv("cramped_room", 1, horizon=60)
    facts = env.spec.possible(env.layouts[0])
    acts = np.random.default_rng(0).integers(0, 6, (60, 2))
    obs = []
    for act in acts:
        obs.append(np.isin(facts, env.index_obs()[0, 1]).astype(np.float32))
        env.step(act[None])
    starts = [3, 30]
    query = Queries(
        np.stack([np.stack(obs[s : s + 8]) for s in starts])[None],
        np.zeros((1, 2, 8, 6), np.float32),
        np.zeros((1, 2, 8), np.float32),
        np.zeros((1, 2), np.int64),
        np.array([starts]),
    )
    about = {"task": "overcooked", "layout": "cramped_room", "rules": "classic", "horizon": 60}
    with closing(LabelStore(folder / "labels.sqlite")) as store:
        for number in range(count):
            store.add_queries("run", 0, query, first_number=number, session=0, margin=1, provenance=[about])
    episodes.save(folder, 0, {(0, 0): episodes.Played(1, acts)})
    return query


def test_kitchens_are_played_again_from_the_joint_actions(tmp_path: Path) -> None:
    from coord.overcooked import OvercookedVectorEnv

    kitchen_store(tmp_path)
    file = tmp_path / "labels.sqlite"
    with closing(LabelStore(file)) as store:
        (record,) = store.queries("run", 0)
    pair = draw_pair(file, record)
    played = episodes.load(tmp_path, 0)[0, 0].act.astype(np.int64)
    env = OvercookedVectorEnv("cramped_room", 1, horizon=60)
    seen = []
    for act in played:
        seen.append(env.state_dict(0))
        env.step(act[None])
    for side, start in zip(pair.sides, (4, 31), strict=True):  # a margin of one step is not judged
        assert isinstance(side, Kitchen)
        assert (side.length, side.seat) == (6, 1)
        assert json.dumps(side.states, default=str) == json.dumps(tuple(seen[start : start + 6]), default=str)
    assert pair.sides[0].states != pair.sides[1].states


def test_clips_whose_run_was_deleted_say_so(tmp_path: Path) -> None:
    kitchen_store(tmp_path)
    file = tmp_path / "labels.sqlite"
    with closing(LabelStore(file)) as store:
        (record,) = store.queries("run", 0)
    episodes.save(tmp_path, 0, {(0, 5): episodes.Played(1, np.zeros((60, 2)))})
    with pytest.raises(UserError, match="episode 0 of member 0 was not kept"):
        draw_pair(file, record)
    episodes.save(tmp_path, 0, {(0, 0): episodes.Played(1, np.full((60, 2), 5))})
    with pytest.raises(UserError, match="another way"):
        draw_pair(file, record)
    (tmp_path / "episodes" / "session0.safetensors").unlink()
    with pytest.raises(UserError, match="session0"):
        draw_pair(file, record)
