"""Answers of people from several label stores in one new store."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from coord.databases import connect
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
            asked = _said(old, participants)
            if not asked:
                continue
            with closing(LabelStore(target)) as store:
                found += _copy(old, store, asked, participants)
                store.close_log()
    return found


def _said(old: sqlite3.Connection, participants: Sequence[str]) -> list[int]:
    """Queries that these annotators were asked, oldest first."""
    places = ", ".join("?" * len(participants))
    tables = " UNION ".join(f"SELECT query FROM {table} WHERE annotator IN ({places})" for table in TABLES)
    return [row[0] for row in old.execute(f"{tables} ORDER BY query", (*participants, *participants))]


def _copy(old: sqlite3.Connection, store: LabelStore, asked: Sequence[int], participants: Sequence[str]) -> int:
    """The rows of one source, all or nothing."""
    old.row_factory = sqlite3.Row
    places = ", ".join("?" * len(participants))

    def copy() -> int:
        count = 0
        for query in asked:
            row = dict(old.execute("SELECT * FROM queries WHERE id = ?", (query,)).fetchone())
            row["number"], _ = store.next_free(row["run"])
            del row["id"]
            new = store.insert("queries", row)
            for table in TABLES:
                said = old.execute(
                    f"SELECT * FROM {table} WHERE query = ? AND annotator IN ({places}) ORDER BY id",
                    (query, *participants),
                ).fetchall()
                for one in map(dict, said):
                    del one["id"]
                    store.insert(table, one | {"query": new})
                count += len(said) if table == "answers" else 0
        return count

    try:
        return store.together(copy)
    except sqlite3.Error as error:
        raise UserError(f"a label store to be merged cannot be read: {error}") from error
