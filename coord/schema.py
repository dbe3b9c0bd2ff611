"""What a database file may hold beside its tables: views and triggers are programs, so only our own are run."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from functools import lru_cache
from pathlib import Path

from coord.errors import UserError

_PROGRAMS = "SELECT type, name, sql FROM sqlite_master WHERE type IN ('view', 'trigger') OR sql LIKE 'CREATE VIRTUAL%'"


def refuse_foreign_programs(connection: sqlite3.Connection, path: str | Path, script: str = "") -> None:
    """Raise UserError for any view, trigger or virtual table that the SQL `script` does not make.

    A view in the place of a table may never end, a trigger may change what was recorded.
    """
    own = _made_by(script)
    try:
        found = connection.execute(_PROGRAMS).fetchall()
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is damaged: move it aside or restore a copy") from error
    for kind, name, sql in found:
        if (kind, name, _plain(sql)) not in own:
            raise UserError(f"{path} holds the {kind} '{name}', which is not of this project: it is not read")


@lru_cache(maxsize=8)
def _made_by(script: str) -> frozenset[tuple[str, str, str]]:
    with closing(sqlite3.connect(":memory:")) as fresh:
        fresh.executescript(script)
        return frozenset((kind, name, _plain(sql)) for kind, name, sql in fresh.execute(_PROGRAMS).fetchall())


def _plain(sql: str | None) -> str:
    return " ".join((sql or "").split())
