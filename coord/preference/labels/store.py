"""Queries and their answers in one SQLite file, written by any number of processes at once.

The file is in WAL mode and append-only: triggers refuse to change or delete a row, so what a person once said stays.
States are derived: a query is pending as long as fewer than `wanted` annotators have a standing answer to it; an
annotator's standing answer is the one of the highest revision, unless that is a withdrawal (undo). Every answer is one
transaction, forced to the disk before it counts as given. Answering again under the same revision changes nothing, and
so does asking a query under a number that exists: a process that was killed simply does it again.

Answers refer to the segments in stored order: `target` is the probability that the second one is better, whichever
side it was shown on (that belongs into the answer's `provenance`).

A query may be shown once more to an annotator who has answered it, to see whether they agree with themselves. Such
answers are kept apart (table `repeats`) and are never labels.
"""

from __future__ import annotations

import json
import math
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from coord.databases import can_write, connect, explain_sqlite
from coord.errors import UserError
from coord.files import atomic_write_csv, atomic_write_text
from coord.preference.labels.segments import AnsweredPairs, Queries
from coord.schema import refuse_foreign_programs

APPLICATION_ID = 0x4C41424C
SCHEMA_VERSION = 1
PATIENCE_S = 60.0  # how long a write waits for other processes before it gives up
KINDS = ("label", "skip", "withdrawn")


def _standing(table: str, view: str) -> str:
    """A view of the answers that count: of each annotator the newest, unless that is a withdrawal."""
    return (
        f"CREATE VIEW IF NOT EXISTS {view} AS SELECT * FROM {table} AS a WHERE kind <> 'withdrawn' AND "
        f"revision = (SELECT max(revision) FROM {table} WHERE query = a.query AND annotator = a.annotator);"
    )


def _append_only(*tables: str) -> str:
    """Triggers that refuse to change or delete a row."""
    return "\n".join(
        f"CREATE TRIGGER IF NOT EXISTS {table}_no_{verb} BEFORE {verb} ON {table} "
        f"BEGIN SELECT RAISE(ABORT, 'the label store is append-only'); END;"
        for table in tables
        for verb in ("UPDATE", "DELETE")
    )


ANSWER_COLUMNS = """(
    id INTEGER PRIMARY KEY,
    query INTEGER NOT NULL REFERENCES queries (id),
    annotator TEXT NOT NULL,            -- pseudonym
    revision INTEGER NOT NULL,          -- 0, then one more for each change of mind
    kind TEXT NOT NULL CHECK (kind IN ('label', 'skip', 'withdrawn')),
    target REAL CHECK ((kind = 'label') = (target IS NOT NULL) AND (target IS NULL OR target BETWEEN 0 AND 1)),
    unsafe_first INTEGER NOT NULL CHECK (unsafe_first IN (0, 1)),
    unsafe_second INTEGER NOT NULL CHECK (unsafe_second IN (0, 1)),
    reasons TEXT NOT NULL,              -- JSON list of tags
    note TEXT NOT NULL,
    response_ms REAL,                   -- from showing the query to the answer
    provenance TEXT NOT NULL,           -- JSON: side shown, replays, client
    answered_utc TEXT NOT NULL,
    UNIQUE (query, annotator, revision)
)"""
SCHEMA = f"""
CREATE TABLE queries (
    id INTEGER PRIMARY KEY,
    run TEXT NOT NULL,
    member INTEGER NOT NULL,
    number INTEGER NOT NULL,            -- running number within the member, from 0
    session INTEGER NOT NULL,
    wanted INTEGER NOT NULL,            -- answers asked for, from different annotators
    length INTEGER NOT NULL,            -- stored steps of each segment
    margin INTEGER NOT NULL,            -- of these, steps on either side that are not judged
    obs_dim INTEGER NOT NULL,
    act_dim INTEGER NOT NULL,
    obs BLOB NOT NULL,                  -- float32, little endian, [2, length, obs_dim]
    act BLOB NOT NULL,                  -- float32 [2, length, act_dim]
    rew BLOB NOT NULL,                  -- float32 [2, length]: true rewards, for scripted answerers and statistics
    episode TEXT NOT NULL,              -- JSON [first, second]: episode of the member
    start TEXT NOT NULL,                -- JSON [first, second]: step in it
    provenance TEXT NOT NULL,           -- JSON: whatever is needed to show the segments again
    asked_utc TEXT NOT NULL,
    UNIQUE (run, member, number)
);
CREATE TABLE answers {ANSWER_COLUMNS};
CREATE TABLE claims (                   -- who was handed what, so that two people do not get the same query
    id INTEGER PRIMARY KEY,
    query INTEGER NOT NULL REFERENCES queries (id),
    annotator TEXT NOT NULL,
    until REAL NOT NULL                 -- Unix time at which the claim lapses; the newest of an annotator counts
);
CREATE INDEX answers_of_query ON answers (query);
CREATE INDEX claims_of_query ON claims (query);
{_standing("answers", "standing")}
"""
REPEATS = f"CREATE TABLE IF NOT EXISTS repeats {ANSWER_COLUMNS};\n{_standing('repeats', 'standing_repeats')}"
APPEND_ONLY = _append_only("queries", "answers", "claims")
_Result = TypeVar("_Result")


@dataclass(frozen=True, kw_only=True)
class QueryRecord:
    """One stored query without its arrays."""

    id: int
    run: str
    member: int
    number: int
    session: int
    wanted: int
    length: int
    margin: int
    obs_dim: int
    act_dim: int
    episode: tuple[int, int]
    start: tuple[int, int]
    provenance: dict[str, Any]
    asked_utc: str


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What one annotator says about one query. target: nan for "cannot tell" (skip), 0.5 for equally good."""

    query: int
    annotator: str
    target: float
    unsafe: tuple[bool, bool] = (False, False)
    reasons: tuple[str, ...] = ()
    note: str = ""
    response_ms: float | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)
    revision: int = 0

    def __post_init__(self) -> None:
        if not (math.isnan(self.target) or 0.0 <= self.target <= 1.0):
            raise UserError(f"answer {self.target}: allowed is 0..1 (the second is better), or nan to skip")
        if not self.annotator:
            raise UserError("an answer needs the annotator's name")


@dataclass(frozen=True)
class StoredLabels:
    """Standing labels in the order in which they were given; rows of `labels` belong to the rows of the others."""

    labels: AnsweredPairs
    number: np.ndarray  # [n] the query's number within the member
    annotator: list[str]  # [n]
    unsafe: np.ndarray  # [n, 2] bool
    reasons: list[tuple[str, ...]] = field(default_factory=list)  # [n] tags


@dataclass(frozen=True)
class Counts:
    """How far the labelling of a member is."""

    asked: int  # queries
    pending: int  # of these, with fewer standing answers than wanted
    labelled: int  # standing answers that are labels
    equal: int  # of these, equally good
    skipped: int  # standing answers that are skips


class LabelStore:
    """One file; every process opens it for itself.

    Every method raises UserError with one clear line if the file is damaged, something else, from a newer version,
    cannot be written, or stays in use by another program for a minute. Without `writes` a file that cannot be written
    is read as it is.
    """

    def __init__(self, path: str | Path, *, create: bool = True, writes: bool = True) -> None:
        self.path = Path(path)
        self._is_read_only = not writes and os.path.isfile(self.path) and not can_write(self.path)
        if not create and not os.path.isfile(self.path):
            raise UserError(f"no label store '{path}'")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"cannot make folder {self.path.parent}: {error.strerror or error}") from error
        with self._clear_errors():
            self._connection = connect(self.path, writes=not self._is_read_only)
            try:
                self._patiently(self._prepare)
            except BaseException:
                self._connection.close()
                raise

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    # ---------------------------------------------------------------------------------------------- writing

    def together(self, action: Callable[[], _Result]) -> _Result:
        """All that `action` writes by the methods of this store in one transaction, or nothing of it."""
        return self._transaction(action)

    def add_queries(
        self,
        run: str,
        member: int,
        queries: Queries,
        *,
        first_number: int,
        session: int,
        wanted: int = 1,
        margin: int = 0,
        provenance: Sequence[Mapping[str, Any]] | None = None,
    ) -> list[int]:
        """Store queries under the numbers first_number, first_number + 1, ... and return their ids.

        margin: steps on either side of the segments that are not judged; provenance: one mapping per query.

        Raises:
            UserError: a number is taken by a query with other content.
        """
        notes = [json.dumps(dict(note)) for note in provenance or [{}] * queries.size]
        rows = [
            (run, member, first_number + i, session, wanted, queries.length, margin, *_columns(queries, i), note)
            for i, note in enumerate(notes)
        ]
        names = "run, member, number, session, wanted, length, margin, obs_dim, act_dim, obs, act, rew, episode, start"
        insert = f"INSERT INTO queries ({names}, provenance, asked_utc) VALUES ({'?, ' * 15} '{_utc_now()}')"
        return self._transaction(lambda: [self._add_query(insert, row) for row in rows])

    def add_answer(self, answer: Answer, *, repeat: bool = False) -> bool:
        """Store one answer in one transaction; False if that annotator's revision was there already (it stays).

        repeat: the pair was shown once more to somebody who had answered it; never a label.
        """
        return self.add_answers([answer], repeat=repeat) == 1

    def add_answers(self, answers: Sequence[Answer], *, repeat: bool = False) -> int:
        """Store the answers of a scripted annotator in one transaction; returns how many were new."""
        rows = [_answer_row(answer) for answer in answers]
        names = "query, annotator, revision, kind, target, unsafe_first, unsafe_second, reasons, note, response_ms"
        insert = (
            f"INSERT INTO {_TABLES[repeat]} ({names}, provenance, answered_utc) VALUES ({', '.join('?' * 12)}) "
            "ON CONFLICT (query, annotator, revision) DO NOTHING"
        )
        return self._transaction(lambda: sum(self._connection.execute(insert, row).rowcount for row in rows))

    def withdraw(self, query: int, annotator: str, *, repeat: bool = False) -> int:
        """Take back the annotator's standing answer (undo); returns the revision to answer it with again.

        Raises:
            UserError: there is no standing answer of that annotator.
        """
        return self._transaction(lambda: self._withdraw(query, annotator, _TABLES[repeat]))

    def forget(self, annotator: str) -> int:
        """Delete for good what somebody said who takes back their consent; how many answers that were.

        The one exception from append-only. Pairs that nobody else was asked about go, too.
        """
        with self._clear_errors():
            self._connection.execute("PRAGMA secure_delete = ON")  # what is deleted is overwritten
        gone = self._transaction(lambda: self._forget(annotator))
        for clean in ("VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)"):
            self._read(clean)
        return gone

    def claim(
        self, annotator: str, *, run: str | None = None, lease_s: float = 300.0, besides: Sequence[int] = ()
    ) -> QueryRecord | None:
        """The next query for this annotator, kept for them until answered or until the lease is over; None: no more.

        A query that they hold already is handed out again, unless it is among `besides`.
        """
        return self._transaction(lambda: self._claim(annotator, run, lease_s, besides))

    def renew(self, query: int, annotator: str, *, lease_s: float = 300.0) -> bool:
        """Keep a claimed query for longer; False if it no longer wants this annotator's answer.

        That is so after the lease was over and others have answered it, or hold it now.
        """
        return self._transaction(lambda: self._renew(query, annotator, lease_s))

    def release(self, queries: Sequence[int], annotator: str) -> None:
        """Give claimed queries back, so that others need not wait until the lease is over."""
        self._transaction(lambda: self._release(queries, annotator))

    # ---------------------------------------------------------------------------------------------- reading

    def last_answer(self) -> int:
        """Grows with every answer and every withdrawal; 0 before the first. Costs next to nothing."""
        return int(self._read("SELECT coalesce(max(id), 0) FROM answers")[0][0])

    def next_free(self, run: str) -> tuple[int, int]:
        """The smallest number and session that no query of a run has, nor any smaller one above them."""
        sql = "SELECT coalesce(max(number) + 1, 0), coalesce(max(session) + 1, 0) FROM queries WHERE run = ?"
        number, session = self._read(sql, (run,))[0]
        return int(number), int(session)

    def runs(self) -> list[str]:
        """Runs that have asked something, in order of their first query."""
        return [run for (run,) in self._read("SELECT run FROM queries GROUP BY run ORDER BY min(id)")]

    def queries(self, run: str, member: int) -> list[QueryRecord]:
        """The member's queries in order of their number."""
        return self._records("WHERE run = ? AND member = ? ORDER BY number", (run, member))

    def pending(self, run: str | None = None, annotator: str | None = None) -> list[QueryRecord]:
        """Queries that want more answers, oldest first; with `annotator`, only those they have not answered."""
        condition, values = _pending(run, annotator)
        return self._records(f"WHERE {condition} ORDER BY id", values)

    def count_pending(self, run: str | None = None, annotator: str | None = None) -> int:
        """How many queries `pending` would give."""
        condition, values = _pending(run, annotator)
        return int(self._read(f"SELECT count(*) FROM queries WHERE {condition}", values)[0][0])

    def revision(self, query: int, annotator: str, *, repeat: bool = False) -> int:
        """The revision under which this annotator's next answer to a query goes."""
        sql = f"SELECT coalesce(max(revision) + 1, 0) FROM {_TABLES[repeat]} WHERE query = ? AND annotator = ?"
        return int(self._read(sql, (query, annotator))[0][0])

    def record(self, query: int) -> QueryRecord:
        """One query. UserError: there is no such query."""
        found = self._records("WHERE id = ?", (query,))
        if not found:
            raise UserError(f"{self.path} holds no query {query}")
        return found[0]

    def segments(self, ids: Sequence[int]) -> Queries:
        """The arrays of these queries, in this order; they must be of equal length.

        Raises:
            UserError: there is no such query.
        """
        parts = []
        for query in ids:
            rows = self._read(f"SELECT {_ARRAYS} FROM queries WHERE id = ?", (query,))
            if not rows:
                raise UserError(f"{self.path} holds no query {query}")
            parts.append(self._arrays(rows[0]))
        return Queries(*(np.stack(arrays) for arrays in zip(*parts, strict=True)))

    def labels(
        self, run: str, member: int, *, before: int | None = None, annotators: Sequence[str] | None = None
    ) -> StoredLabels:
        """Standing labels of a member, skips left out, in the order in which they were given.

        before: only of queries with a smaller number (a resumed run must not see what it has yet to ask);
        annotators: only theirs.
        """
        chosen = "" if annotators is None else f"AND annotator IN ({', '.join('?' * len(annotators))})"
        found = self._read(
            f"SELECT {_ARRAYS}, target, number, annotator, unsafe_first, unsafe_second, reasons "
            f"FROM standing JOIN queries ON queries.id = query "
            f"WHERE kind = 'label' AND run = ? AND member = ? AND number < ? {chosen} ORDER BY standing.id",
            (run, member, 2**62 if before is None else before, *(annotators or ())),
        )
        arrays = [self._arrays(row) for row in found]
        width = len(_ARRAYS.split(","))
        columns = zip(*(row[width:] for row in found), strict=True) if found else [()] * 6
        target, number, annotator, *unsafe, reasons = columns
        obs, act = (np.stack(part) for part in list(zip(*arrays, strict=True))[:2]) if found else _NOTHING
        labels = AnsweredPairs(obs, act, np.array(target, np.float32))
        flags = np.array(unsafe, bool).T.reshape(-1, 2)
        tags = [tuple(json.loads(text)) for text in reasons]
        return StoredLabels(labels, np.array(number, np.int64), list(annotator), flags, tags)

    def counts(self, run: str, member: int) -> Counts:
        """Queries and answers of a member so far."""
        condition, values = _pending(run, None)
        (asked, pending), (labelled, equal, skipped) = (
            self._read(sql, extra)[0]
            for sql, extra in (
                (
                    f"SELECT count(*), coalesce(sum({condition}), 0) FROM queries WHERE run = ? AND member = ?",
                    (*values, run, member),
                ),
                (
                    "SELECT coalesce(sum(kind = 'label'), 0), coalesce(sum(target = 0.5), 0), "
                    "coalesce(sum(kind = 'skip'), 0) FROM standing JOIN queries ON queries.id = query "
                    "WHERE run = ? AND member = ?",
                    (run, member),
                ),
            )
        )
        return Counts(asked, pending, labelled, equal, skipped)

    def answers(self, run: str | None = None, *, repeat: bool = False) -> list[dict[str, Any]]:
        """Every answer ever given, withdrawn ones too, with its query's origin; one flat mapping each.

        repeat: those to pairs that were shown once more, instead.
        """
        names = (
            "query, run, member, number, session, annotator, revision, kind, target, unsafe_first, unsafe_second, "
            "reasons, note, response_ms, answered_utc, asked_utc, episode, start, length, margin, a.provenance"
        )
        rows = self._read(
            f"SELECT {names} FROM {_TABLES[repeat]} AS a JOIN queries ON queries.id = query WHERE ? IS NULL OR run = ? "
            "ORDER BY a.id",
            (run, run),
        )
        keys = [name.strip().removeprefix("a.") for name in names.split(",")]
        found = [dict(zip(keys, row, strict=True)) for row in rows]
        return [row | {key: json.loads(row[key]) for key in _JSON_COLUMNS} for row in found]

    def export(self, path: str | Path, run: str | None = None) -> int:
        """Write `answers` to a .csv or .jsonl file (replaced atomically) and return their number.

        Raises:
            UserError: another ending, or the file cannot be written.
        """
        rows = self.answers(run)
        ending = Path(path).suffix
        if ending == ".jsonl":
            atomic_write_text(path, "".join(json.dumps(row) + "\n" for row in rows))
        elif ending == ".csv":
            columns = list(rows[0]) if rows else []
            atomic_write_csv(path, columns, ([_cell(key, row[key]) for key in columns] for row in rows))
        else:
            raise UserError(f"cannot export to '{path}': the name must end in .csv or .jsonl")
        return len(rows)

    # ---------------------------------------------------------------------------------------------- the file

    def _prepare(self) -> None:
        connection = self._connection
        connection.execute("PRAGMA foreign_keys = ON")
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if tables == 0 and not self._is_read_only:
            self._create()
        self._check_version()
        if not connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'repeats_no_DELETE'").fetchone()[0]:
            self._add_repeats()
        if self._is_read_only:
            return
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")  # an answer is on the disk when it counts as given

    def _add_repeats(self) -> None:
        """For stores made before there were repeats; where nothing can be written, in memory."""
        if not self._is_read_only:
            self._script(REPEATS + _append_only("repeats"))
            return
        self._connection.execute("PRAGMA temp_store = MEMORY")
        self._script(REPEATS.replace("CREATE TABLE", "CREATE TEMP TABLE").replace("CREATE VIEW", "CREATE TEMP VIEW"))

    def _create(self) -> None:
        pragmas = f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION};"
        try:
            self._script(f"{SCHEMA} {APPEND_ONLY} {pragmas}")
        except sqlite3.OperationalError as error:
            if "already exists" not in str(error):  # another process was faster
                raise

    def _script(self, sql: str) -> None:
        """Several statements in one transaction."""
        try:
            self._connection.executescript(f"BEGIN IMMEDIATE; {sql} COMMIT;")
        except sqlite3.OperationalError:
            if self._connection.in_transaction:
                self._connection.rollback()
            raise

    def _check_version(self) -> None:
        (application,) = self._connection.execute("PRAGMA application_id").fetchone()
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        if application != APPLICATION_ID:
            raise UserError(f"{self.path} is an SQLite file, but not a label store of this project")
        if version > SCHEMA_VERSION:
            raise UserError(
                f"{self.path} has schema {version}, this version reads up to {SCHEMA_VERSION}: please update"
            )
        script = f"{SCHEMA} {APPEND_ONLY} {REPEATS} {_append_only('repeats')}"
        refuse_foreign_programs(self._connection, self.path, script)

    @contextmanager
    def _clear_errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            if "FOREIGN KEY" in str(error):
                raise UserError(f"{self.path} holds no such query") from error
            raise UserError(explain_sqlite(self.path, error, "label store", "answers given")) from error

    def _patiently(self, action: Callable[[], _Result]) -> _Result:
        """Repeat what another process's lock refuses; SQLite's own timeout does not cover every such case."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                return action()
            except sqlite3.OperationalError as error:
                if not {"locked", "busy"} & set(str(error).split()) or time.monotonic() > deadline:
                    raise
                time.sleep(0.02)

    def _transaction(self, action: Callable[[], _Result]) -> _Result:
        """All of `action` or nothing; within another transaction it is part of that one."""
        if self._connection.in_transaction:
            return action()
        with self._clear_errors():
            self._patiently(lambda: self._connection.execute("BEGIN IMMEDIATE"))
            try:
                result = action()
                self._connection.execute("COMMIT")
                return result
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def _read(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with self._clear_errors():
            return self._patiently(lambda: self._connection.execute(sql, values).fetchall())

    def _add_query(self, insert: str, row: tuple[Any, ...]) -> int:
        known = self._connection.execute(
            "SELECT id, obs, act, rew FROM queries WHERE run = ? AND member = ? AND number = ?", row[:3]
        ).fetchone()
        if known is None:
            return int(self._connection.execute(insert, row).lastrowid or 0)
        if known[1:] != row[9:12]:
            raise UserError(f"{self.path} holds another query {row[2]} of member {row[1]} in run '{row[0]}'")
        return int(known[0])

    def _withdraw(self, query: int, annotator: str, table: str) -> int:
        standing = self._connection.execute(
            f"SELECT revision FROM {_STANDING[table]} WHERE query = ? AND annotator = ?", (query, annotator)
        ).fetchone()
        if standing is None:
            raise UserError(f"{annotator} has no answer to query {query} that could be taken back")
        self._connection.execute(
            f"INSERT INTO {table} (query, annotator, revision, kind, unsafe_first, unsafe_second, reasons, note, "
            "provenance, answered_utc) VALUES (?, ?, ?, 'withdrawn', 0, 0, '[]', '', '{}', ?)",
            (query, annotator, standing[0] + 1, _utc_now()),
        )
        return int(standing[0]) + 2

    def _forget(self, annotator: str) -> int:
        run, tables = self._connection.execute, ("answers", "repeats", "claims", "queries")
        for table in tables:
            run(f"DROP TRIGGER {table}_no_DELETE")
        mine = "wanted = 0 AND id IN (SELECT query FROM answers WHERE annotator = ?)"
        asked = run(f"SELECT id FROM queries WHERE {mine}", (annotator,)).fetchall()
        gone = [run(f"DELETE FROM {table} WHERE annotator = ?", (annotator,)).rowcount for table in tables[:3]]
        for query in asked:
            run("DELETE FROM queries WHERE id = ? AND id NOT IN (SELECT query FROM answers)", query)
        for statement in _append_only(*tables).splitlines():
            run(statement)
        return gone[0]

    def _claim(self, annotator: str, run: str | None, lease_s: float, besides: Sequence[int]) -> QueryRecord | None:
        condition, values = _open_to(annotator, run)
        held = f"id NOT IN ({', '.join('?' * len(besides))})"
        found = self._records(f"WHERE {condition} AND {held} ORDER BY id LIMIT 1", (*values, *besides))
        if not found:
            return None
        self._promise(found[0].id, annotator, lease_s)
        return found[0]

    def _renew(self, query: int, annotator: str, lease_s: float) -> bool:
        condition, values = _open_to(annotator, None)
        is_open = bool(
            self._connection.execute(f"SELECT 1 FROM queries WHERE {condition} AND id = ?", (*values, query)).fetchone()
        )
        if is_open:
            self._promise(query, annotator, lease_s)
        return is_open

    def _release(self, queries: Sequence[int], annotator: str) -> None:
        for query in queries:
            self._promise(query, annotator, -math.inf)

    def _promise(self, query: int, annotator: str, lease_s: float) -> None:
        until = max(0.0, time.time() + lease_s)
        self._connection.execute(
            "INSERT INTO claims (query, annotator, until) VALUES (?, ?, ?)", (query, annotator, until)
        )

    def _records(self, rest: str, values: Sequence[Any]) -> list[QueryRecord]:
        names = [item.name for item in fields(QueryRecord)]
        rows = self._read(f"SELECT {', '.join(names)} FROM queries {rest}", values)
        return [_record(dict(zip(names, row, strict=True))) for row in rows]

    def _arrays(self, row: Sequence[Any]) -> tuple[np.ndarray, ...]:
        """obs, act, rew, episode, start of a row that begins with the columns `_ARRAYS`."""
        length, obs_dim, act_dim, obs, act, rew, episode, start = row[:8]
        shapes = ((2, length, obs_dim), (2, length, act_dim), (2, length))
        try:
            floats = [np.frombuffer(blob, "<f4").reshape(s) for blob, s in zip((obs, act, rew), shapes, strict=True)]
        except ValueError as error:
            raise UserError(f"{self.path} is damaged: move it aside or restore a copy") from error
        return (*floats, np.array(json.loads(episode), np.int64), np.array(json.loads(start), np.int64))


_TABLES = {False: "answers", True: "repeats"}
_STANDING = {"answers": "standing", "repeats": "standing_repeats"}
_ARRAYS = "length, obs_dim, act_dim, obs, act, rew, episode, start"
_JSON_COLUMNS = ("reasons", "episode", "start", "provenance")
_NOTHING = (np.zeros((0, 2, 0, 0), np.float32), np.zeros((0, 2, 0, 0), np.float32))


def _columns(queries: Queries, i: int) -> tuple[Any, ...]:
    """obs_dim .. start of query i."""
    blobs = (np.ascontiguousarray(array[i], "<f4").tobytes() for array in queries[:3])
    origin = (json.dumps(array[i].tolist()) for array in (queries.episode, queries.start))
    return (queries.obs.shape[3], queries.act.shape[3], *blobs, *origin)


def _answer_row(answer: Answer) -> tuple[Any, ...]:
    skipped = math.isnan(answer.target)
    return (
        answer.query,
        answer.annotator,
        answer.revision,
        "skip" if skipped else "label",
        None if skipped else float(answer.target),
        *(int(flag) for flag in answer.unsafe),
        json.dumps(list(answer.reasons)),
        answer.note,
        answer.response_ms,
        json.dumps(dict(answer.provenance)),
        _utc_now(),
    )


def _pending(run: str | None, annotator: str | None) -> tuple[str, tuple[Any, ...]]:
    """Condition on the table queries, and its values."""
    condition = "(SELECT count(*) FROM standing WHERE query = queries.id) < wanted AND (? IS NULL OR run = ?)"
    values: tuple[Any, ...] = (run, run)
    if annotator is not None:
        condition += " AND NOT EXISTS (SELECT 1 FROM standing WHERE query = queries.id AND annotator = ?)"
        values += (annotator,)
    return condition, values


def _open_to(annotator: str, run: str | None) -> tuple[str, tuple[Any, ...]]:
    """Condition on the table queries: it wants this annotator's answer; and its values.

    Those whose open places are all promised to others who have not answered yet are left out.
    """
    condition, values = _pending(run, annotator)
    promised = (
        "(SELECT count(*) FROM claims AS c WHERE query = queries.id AND annotator <> ? AND until > ? "
        "AND id = (SELECT max(id) FROM claims WHERE query = c.query AND annotator = c.annotator) "
        "AND annotator NOT IN (SELECT annotator FROM standing WHERE query = queries.id))"
    )
    answered = "(SELECT count(*) FROM standing WHERE query = queries.id)"
    return f"{condition} AND {promised} + {answered} < wanted", (*values, annotator, time.time())


def _record(values: dict[str, Any]) -> QueryRecord:
    for name in ("episode", "start"):
        values[name] = tuple(json.loads(values[name]))
    values["provenance"] = json.loads(values["provenance"])
    return QueryRecord(**values)


def _cell(column: str, value: Any) -> Any:
    return json.dumps(value) if column in _JSON_COLUMNS else value


def _utc_now() -> str:
    """To the microsecond: answers and repeats are put in order by it."""
    return datetime.now(UTC).isoformat(timespec="microseconds")
