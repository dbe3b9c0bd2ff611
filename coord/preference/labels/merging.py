"""Answers of people from several label stores in one new store."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from coord.databases import connect, insert
from coord.errors import UserError
from coord.preference.labels.store import LabelStore

TABLES = ("answers", "repeats")


def merge(sources: Sequence[Path], target: Path, *, participants: Sequence[str]) -> int:
    """Copy what these annotators said, and the queries that it is about, into the new store `target`.

    Queries get new numbers within their run and member; times and everything else stay as they were.

    Returns: how many answers there are now, withdrawn ones included; with none there is no new store.

    Raises:
        UserError: a source is no label store, or cannot be read.
    """
    found = 0
    for source in sources:
        LabelStore(source, create=False).close()  # checked, and brought up to date
        with closing(connect(source, writes=False)) as old:
            old.row_factory = sqlite3.Row
            if asked := _asked(old, participants):
                found += _copy(old, target, asked, participants)
    return found


def _asked(old: sqlite3.Connection, participants: Sequence[str]) -> list[int]:
    """Queries that these annotators were asked, oldest first."""
    places = ", ".join("?" * len(participants))
    tables = " UNION ".join(f"SELECT query FROM {table} WHERE annotator IN ({places})" for table in TABLES)
    return [row["query"] for row in old.execute(f"{tables} ORDER BY query", (*participants, *participants))]


def _copy(old: sqlite3.Connection, target: Path, asked: Sequence[int], participants: Sequence[str]) -> int:
    """The rows of one source, all or nothing; leaves one file without a log beside it."""
    LabelStore(target).close()  # made where there is none
    with closing(connect(target)) as new:
        try:
            new.execute("BEGIN IMMEDIATE")
            count = sum(_copy_query(old, new, query, participants) for query in asked)
            new.execute("COMMIT")
            new.execute("PRAGMA journal_mode = DELETE")
        except sqlite3.Error as error:
            raise UserError(f"label stores cannot be merged into {target}: {error}") from error
    return count


def _copy_query(old: sqlite3.Connection, new: sqlite3.Connection, query: int, participants: Sequence[str]) -> int:
    """One query and what was said of it; how many answers."""
    row = _without_id(old.execute("SELECT * FROM queries WHERE id = ?", (query,)).fetchone())
    taken = new.execute(
        "SELECT coalesce(max(number) + 1, 0) FROM queries WHERE run = ? AND member = ?", (row["run"], row["member"])
    )
    number = insert(new, "queries", row | {"number": taken.fetchone()[0]})
    places, count = ", ".join("?" * len(participants)), 0
    for table in TABLES:
        sql = f"SELECT * FROM {table} WHERE query = ? AND annotator IN ({places}) ORDER BY id"
        said = old.execute(sql, (query, *participants)).fetchall()
        for one in said:
            insert(new, table, _without_id(one) | {"query": number})
        count += len(said) if table == "answers" else 0
    return count


def _without_id(row: sqlite3.Row) -> dict[str, Any]:
    return {name: value for name, value in dict(row).items() if name != "id"}
