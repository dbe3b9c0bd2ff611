"""The label store: nothing said is lost, changed or doubled, whoever writes and whenever it is killed."""

from __future__ import annotations

import csv
import json
import math
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from coord.errors import UserError
from coord.preference.labels.segments import Queries
from coord.preference.labels.store import SCHEMA_VERSION, Answer, Counts, LabelStore

NAN = math.nan


def some_queries(count: int, seed: int = 0, steps: int = 4) -> Queries:
    rng = np.random.default_rng(seed)
    arrays = (rng.normal(size=(count, 2, steps, *rest)).astype(np.float32) for rest in ((3,), (2,), ()))
    return Queries(*arrays, *rng.integers(0, 50, (2, count, 2)))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LabelStore]:
    made = LabelStore(tmp_path / "labels.sqlite")
    yield made
    made.close()


def ask(
    store: LabelStore, count: int, *, first: int = 0, run: str = "r", member: int = 0, wanted: int = 1
) -> list[int]:
    queries = some_queries(count, seed=first)
    return store.add_queries(run, member, queries, first_number=first, session=first // 10, wanted=wanted)


def say(query: int, target: float, annotator: str = "ann", **rest: object) -> Answer:
    return Answer(query=query, annotator=annotator, target=target, **rest)


# -------------------------------------------------------------------------------------- what goes in comes out


def test_queries_and_labels_come_back_exactly(store: LabelStore) -> None:
    queries = some_queries(5)
    notes = [{"seeds": [i, i + 1]} for i in range(5)]
    ids = store.add_queries("r", 1, queries, first_number=7, session=2, wanted=1, margin=1, provenance=notes)
    for ours, theirs in zip(store.segments(ids), queries, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    targets = [0.0, 1.0, 0.5, NAN, 0.75]  # prefer, prefer, equal, skip, soft
    assert store.add_answers([say(*pair) for pair in zip(ids, targets, strict=True)]) == 5
    found = store.labels("r", 1)
    assert found.labels.target.tolist() == [0.0, 1.0, 0.5, 0.75]
    assert found.number.tolist() == [7, 8, 9, 11]
    np.testing.assert_array_equal(found.labels.obs, queries.obs[[0, 1, 2, 4]])
    np.testing.assert_array_equal(found.labels.act, queries.act[[0, 1, 2, 4]])
    assert store.counts("r", 1) == Counts(asked=5, pending=0, labelled=4, equal=1, skipped=1)
    record = store.queries("r", 1)[3]
    assert (record.number, record.session, record.margin, record.length) == (10, 2, 1, 4)
    assert (record.episode, record.start) == (tuple(queries.episode[3]), tuple(queries.start[3]))
    assert record.provenance == {"seeds": [3, 4]}


def test_no_labels_yet(store: LabelStore) -> None:
    found = store.labels("r", 0)
    assert (found.labels.size, found.unsafe.shape, found.annotator) == (0, (0, 2), [])
    assert store.counts("r", 0) == Counts(0, 0, 0, 0, 0)
    assert store.runs() == []


def test_members_and_runs_do_not_mix(store: LabelStore) -> None:
    for run, member in (("a", 0), ("b", 0), ("a", 1)):
        store.add_answer(say(ask(store, 2, run=run, member=member)[0], 1.0))
    assert store.runs() == ["a", "b"]
    assert [store.labels("a", m).labels.size for m in (0, 1, 2)] == [1, 1, 0]
    assert len(store.pending()) == store.count_pending() == 3
    assert len(store.pending("a")) == store.count_pending("a") == 2
    assert store.count_pending(annotator="bob") == 3


def test_labels_keep_the_order_of_the_answers(store: LabelStore) -> None:
    ids = ask(store, 4)
    for i in (2, 0, 3):
        store.add_answer(say(ids[i], 1.0))
    assert store.labels("r", 0).number.tolist() == [2, 0, 3]


def test_a_resumed_run_does_not_see_what_it_has_yet_to_ask(store: LabelStore) -> None:
    store.add_answers([say(query, 1.0) for query in ask(store, 6)])
    assert store.labels("r", 0, before=4).number.tolist() == [0, 1, 2, 3]


def test_safety_flags_reasons_and_the_rest_are_kept(store: LabelStore) -> None:
    (query,) = ask(store, 1)
    store.add_answer(
        say(query, 1.0, unsafe=(True, False), reasons=("collision", "fire"), note="ouch", response_ms=812.5,
            provenance={"swapped": True})
    )  # fmt: skip
    assert store.labels("r", 0).unsafe.tolist() == [[True, False]]
    (row,) = store.answers("r")
    assert (row["reasons"], row["note"], row["response_ms"]) == (["collision", "fire"], "ouch", 812.5)
    assert row["provenance"] == {"swapped": True}
    assert row["answered_utc"] >= row["asked_utc"]


# --------------------------------------------------------------------------------- once, and only by appending


def test_answering_twice_changes_nothing(store: LabelStore) -> None:
    (query,) = ask(store, 1)
    assert store.add_answer(say(query, 1.0))
    assert not store.add_answer(say(query, 0.0))
    assert store.labels("r", 0).labels.target.tolist() == [1.0]
    assert len(store.answers()) == 1


def test_asking_twice_changes_nothing(store: LabelStore) -> None:
    assert ask(store, 3) == ask(store, 3)
    assert len(store.queries("r", 0)) == 3
    with pytest.raises(UserError, match="another query 1 of member 0 in run 'r'"):
        store.add_queries("r", 0, some_queries(2, seed=9), first_number=1, session=0)


def test_a_failed_batch_leaves_nothing_behind(store: LabelStore) -> None:
    ids = ask(store, 2)
    with pytest.raises(UserError, match="no such query"):
        store.add_answers([say(ids[0], 1.0), say(12345, 1.0)])
    assert store.answers() == []
    with pytest.raises(UserError, match="another query"):
        store.add_queries("r", 0, some_queries(3, seed=5), first_number=-2, session=0)  # the last number is taken
    assert [record.number for record in store.queries("r", 0)] == [0, 1]


@pytest.mark.parametrize("table", ["queries", "answers", "claims"])
@pytest.mark.parametrize("change", ["DELETE FROM {}", "UPDATE {} SET id = id + 100"])
def test_rows_cannot_be_changed_even_from_outside(store: LabelStore, table: str, change: str) -> None:
    (query,) = ask(store, 1)
    store.claim("ann")
    store.add_answer(say(query, 1.0))
    connection = sqlite3.connect(store.path)
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        connection.execute(change.format(table))
    connection.close()


def test_undo_is_one_more_row(store: LabelStore) -> None:
    (query,) = ask(store, 1)
    store.add_answer(say(query, 1.0))
    revision = store.withdraw(query, "ann")
    assert store.counts("r", 0) == Counts(asked=1, pending=1, labelled=0, equal=0, skipped=0)
    assert not store.add_answer(say(query, 0.0))  # the first revision stands as it was given
    assert store.add_answer(say(query, 0.0, revision=revision))
    assert store.labels("r", 0).labels.target.tolist() == [0.0]
    assert [row["kind"] for row in store.answers()] == ["label", "withdrawn", "label"]
    with pytest.raises(UserError, match="bob has no answer"):
        store.withdraw(query, "bob")


@pytest.mark.parametrize("target", [-0.1, 1.1, math.inf])
def test_senseless_answers_are_refused(target: float) -> None:
    with pytest.raises(UserError, match=r"allowed is 0\.\.1"):
        say(1, target)


# ------------------------------------------------------------------------------------------ several annotators


def test_each_query_goes_to_as_many_annotators_as_asked(store: LabelStore) -> None:
    first, second = ask(store, 2, wanted=2)
    store.add_answer(say(first, 1.0, "ann"))
    assert [record.id for record in store.pending(annotator="ann")] == [second]
    assert [record.id for record in store.pending(annotator="bob")] == [first, second]
    store.add_answer(say(first, 0.0, "bob"))
    assert [record.id for record in store.pending()] == [second]
    found = store.labels("r", 0)
    assert list(zip(found.annotator, found.labels.target.tolist(), strict=True)) == [("ann", 1.0), ("bob", 0.0)]
    assert store.labels("r", 0, annotators=["bob"]).labels.target.tolist() == [0.0]


def test_a_skip_counts_as_an_answer(store: LabelStore) -> None:
    (query,) = ask(store, 1)
    store.add_answer(say(query, NAN))
    assert store.pending() == []


def test_two_people_are_not_handed_the_same_query(store: LabelStore) -> None:
    first, second = ask(store, 2)
    assert store.claim("ann").id == first
    assert store.claim("bob").id == second
    assert store.claim("eve") is None
    assert store.claim("ann").id == first  # still theirs
    store.add_answer(say(first, 1.0, "ann"))
    assert store.claim("ann") is None


def test_a_lapsed_claim_is_handed_on(store: LabelStore) -> None:
    (query,) = ask(store, 1)
    store.claim("ann", lease_s=-1.0)
    assert store.claim("bob").id == query


def test_a_claim_only_takes_one_of_several_places(store: LabelStore) -> None:
    (query,) = ask(store, 1, wanted=2)
    assert store.claim("ann").id == query
    store.add_answer(say(query, 1.0, "ann"))
    assert store.claim("bob").id == query
    assert store.claim("eve") is None


# --------------------------------------------------------------------------------------------- several processes

WRITER = """
import sys
from coord.preference.labels.store import Answer, LabelStore
path, annotator, first, last = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
store = LabelStore(path)
print("ready", flush=True)
sys.stdin.readline()
for query in range(first, last):
    store.add_answer(Answer(query=query, annotator=annotator, target=(query % 3) / 2))
    print(query, flush=True)
"""


def writer(path: Path, annotator: str, first: int, last: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(path), annotator, str(first), str(last)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def start(*processes: subprocess.Popen[str]) -> None:
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()


def test_two_writers_and_a_reader_at_once(store: LabelStore) -> None:
    ids = ask(store, 150, wanted=2)
    processes = [writer(store.path, name, ids[0], ids[-1] + 1) for name in ("ann", "bob")]
    start(*processes)
    seen = []
    while any(process.poll() is None for process in processes):
        seen.append(store.labels("r", 0).labels.size)
        ask(store, 1, first=1000 + len(seen))  # the trainer goes on asking
    assert [process.wait() for process in processes] == [0, 0]
    assert seen == sorted(seen)
    found = store.labels("r", 0)
    for name in ("ann", "bob"):
        rows = [(n, t) for n, t, a in zip(found.number, found.labels.target, found.annotator, strict=True) if a == name]
        assert rows == [(n, (ids[n] % 3) / 2) for n in range(150)]
    for process in processes:
        process.stdin.close()
        process.stdout.close()


def test_two_processes_may_create_the_file_at_once(tmp_path: Path) -> None:
    code = (
        "import sys; from coord.preference.labels.store import LabelStore; sys.stdin.readline(); "
        "LabelStore(sys.argv[1])"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "deep" / "labels.sqlite")]
    processes = [subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    errors = []
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        errors.append(process.communicate()[1])
    assert [process.returncode for process in processes] == [0] * 4, errors


def test_kill_between_answers_loses_and_doubles_nothing(store: LabelStore) -> None:
    ids = ask(store, 400)
    stored = 0
    for _ in range(3):
        process = writer(store.path, "ann", ids[0], ids[-1] + 1)  # starts over each time, as after a crash
        start(process)
        for _ in range(stored + 40):
            assert process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        confirmed = stored + 40 + len(process.stdout.read().splitlines())
        process.wait()
        process.stdin.close()
        process.stdout.close()
        rows = store.answers()
        stored = len(rows)
        assert stored in (confirmed, confirmed + 1)  # killed between writing and saying so
        assert [row["number"] for row in rows] == list(range(stored))
    assert stored < 400
    assert sqlite3.connect(store.path).execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_lock_that_is_let_go_is_waited_for(store: LabelStore) -> None:
    (query,) = ask(store, 1)
    code = (
        "import sqlite3, sys, time; c = sqlite3.connect(sys.argv[1], isolation_level=None);"
        "c.execute('BEGIN IMMEDIATE'); print('locked', flush=True); time.sleep(1); c.execute('COMMIT')"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(store.path)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "locked\n"
        started = time.monotonic()
        assert store.add_answer(say(query, 1.0))
        assert time.monotonic() - started > 0.3


# ----------------------------------------------------------------------------------------------- export, errors


def test_export(store: LabelStore, tmp_path: Path) -> None:
    ids = ask(store, 3)
    store.add_answers([say(ids[0], 1.0, note='a "quoted", note\nof two lines', reasons=("x",)), say(ids[1], NAN)])
    assert store.export(tmp_path / "out.jsonl") == 2
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert rows == store.answers()
    assert store.export(tmp_path / "out.csv") == 2
    with open(tmp_path / "out.csv", newline="") as file:
        table = list(csv.DictReader(file))
    assert table[0]["note"] == rows[0]["note"]
    assert [row["target"] for row in table] == ["1.0", ""]
    assert json.loads(table[0]["reasons"]) == ["x"]
    assert store.export(tmp_path / "none.csv", run="other") == 0
    with pytest.raises(UserError, match=r"must end in .csv or .jsonl"):
        store.export(tmp_path / "out.xml")


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no label store"):
        LabelStore(tmp_path / "missing.sqlite", create=False)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot make folder"):
        LabelStore(tmp_path / "file" / "labels.sqlite")


def test_a_newer_version(store: LabelStore) -> None:
    connection = sqlite3.connect(store.path)
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    connection.close()
    with pytest.raises(UserError, match=f"schema {SCHEMA_VERSION + 1}.*please update"):
        LabelStore(store.path)


def test_another_database(tmp_path: Path) -> None:
    path = tmp_path / "other.sqlite"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE t (x)")
    connection.close()
    with pytest.raises(UserError, match="not a label store of this project"):
        LabelStore(path)


def test_no_database_at_all(tmp_path: Path) -> None:
    path = tmp_path / "text.sqlite"
    path.write_text("hello " * 1000)
    with pytest.raises(UserError, match="not a label store, or it is damaged"):
        LabelStore(path)
    assert path.read_text().startswith("hello")


def test_a_damaged_store(store: LabelStore, tmp_path: Path) -> None:
    store.add_answers([say(query, 1.0) for query in ask(store, 200)])
    store.close()
    data = bytearray(store.path.read_bytes())
    data[8192 : len(data) // 2] = b"\xff" * (len(data) // 2 - 8192)
    path = tmp_path / "damaged.sqlite"
    path.write_bytes(data)
    with pytest.raises(UserError, match="damaged: move it aside or restore a copy"):
        LabelStore(path).labels("r", 0)


def test_unknown_query(store: LabelStore) -> None:
    with pytest.raises(UserError, match="holds no query 5"):
        store.segments([5])


# ------------------------------------------------------------------------------------------- pairs shown again


def test_repeats_are_kept_apart_from_labels(store: LabelStore) -> None:
    ids = ask(store, 2)
    store.add_answer(say(ids[0], 1.0))
    assert store.add_answer(say(ids[0], 0.0), repeat=True)
    assert not store.add_answer(say(ids[0], 0.5), repeat=True)
    assert store.labels("r", 0).labels.target.tolist() == [1.0]
    assert store.counts("r", 0) == Counts(asked=2, pending=1, labelled=1, equal=0, skipped=0)
    assert [(row["query"], row["target"]) for row in store.answers(repeat=True)] == [(ids[0], 0.0)]
    assert store.withdraw(ids[0], "ann", repeat=True) == 2
    assert store.revision(ids[0], "ann", repeat=True) == 2
    assert (store.revision(ids[0], "ann"), store.revision(ids[1], "ann")) == (1, 0)
    assert [row["kind"] for row in store.answers(repeat=True)] == ["label", "withdrawn"]
    assert len(store.answers()) == 1


def test_a_store_made_before_there_were_repeats_gets_them(tmp_path: Path) -> None:
    path = tmp_path / "old.sqlite"
    LabelStore(path).close()
    connection = sqlite3.connect(path)
    connection.executescript("DROP VIEW standing_repeats; DROP TABLE repeats;")
    connection.close()
    store = LabelStore(path)
    (query,) = ask(store, 1)
    assert store.add_answer(say(query, 1.0), repeat=True)
    connection = sqlite3.connect(path)
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        connection.execute("DELETE FROM repeats")
    connection.close()
    store.close()


def test_a_second_query_is_claimed_beside_the_first(store: LabelStore) -> None:
    ids = ask(store, 3)
    assert store.claim("ann").id == ids[0]
    assert store.claim("ann", besides=[ids[0]]).id == ids[1]
    assert store.claim("bob").id == ids[2]
    assert store.claim("ann", besides=ids[:2]) is None


def test_a_claim_is_renewed_unless_the_query_went_to_others(store: LabelStore) -> None:
    (query,) = ask(store, 1)
    store.claim("ann", lease_s=0.0)
    assert store.renew(query, "ann", lease_s=0.0)
    assert store.claim("bob", lease_s=60.0).id == query
    assert not store.renew(query, "ann")
    store.add_answer(say(query, 1.0, "bob"))
    assert not store.renew(query, "ann")


def test_a_claim_that_is_given_back_goes_to_others_at_once(store: LabelStore) -> None:
    ids = ask(store, 2)
    assert [store.claim("ann").id, store.claim("ann", besides=ids[:1]).id] == ids
    assert store.claim("bob") is None
    store.release(ids[1:], "ann")
    assert store.claim("bob").id == ids[1]
    assert store.claim("cy") is None
    assert store.claim("ann").id == ids[0]  # the other one is still hers
    assert not store.renew(ids[1], "ann")
