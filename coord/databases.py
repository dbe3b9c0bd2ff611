"""SQLite files of people's games and answers: how they are opened, and what their errors mean in words."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from coord.errors import UserError


def connect(path: str | Path, *, writes: bool = True) -> sqlite3.Connection:
    """Open a file to write, made if there is none, or only to read.

    A reader of a file in WAL mode writes beside it, which a read-only medium refuses: there the file is read as one
    that nobody changes (`immutable`), unless changes wait in the log beside it.

    Raises:
        UserError: no ordinary file, one that cannot be written though `writes`, or changes that cannot be reached.
        sqlite3.Error: not readable.
    """
    path = Path(path)
    if os.path.exists(path) and not os.path.isfile(path):
        raise UserError(f"cannot open {path}: it is not an ordinary file")
    if not writes:
        return sqlite3.connect(_address(Path(os.path.realpath(path))), uri=True, isolation_level=None, timeout=5.0)
    if os.path.exists(path) and not can_write(path):
        raise UserError(f"cannot write {path}: the file or its folder is read-only")
    try:
        return sqlite3.connect(path, isolation_level=None, timeout=5.0)
    except ValueError as error:  # a NUL in the name
        raise UserError(f"cannot open {str(path)!r}: {error}") from error


def insert(connection: sqlite3.Connection, table: str, row: Mapping[str, object]) -> int:
    """Add a row, given as column -> value; its number. Names of tables and columns are ours, never a person's."""
    places = ", ".join(f":{name}" for name in row)
    sql = f"INSERT INTO {table} ({', '.join(row)}) VALUES ({places})"
    return int(connection.execute(sql, row).lastrowid or 0)


def can_write(path: str | Path) -> bool:
    """Whether SQLite may change a file: itself and, for the log beside it, its folder."""
    path = Path(os.path.realpath(path))
    return all(os.access(place, os.W_OK) for place in (path, path.parent))


def _address(path: Path) -> str:
    """URI for reading only."""
    log, shared = (path.with_name(path.name + ending) for ending in ("-wal", "-shm"))
    is_fixed = not os.access(path.parent, os.W_OK)
    waits = log.exists() and log.stat().st_size > 0
    if is_fixed and waits and not shared.exists():
        raise UserError(
            f"cannot read {path}: its last changes wait in {log.name}, and the folder is read-only; "
            "copy both files into a folder that can be written"
        )
    return f"file:{quote(str(path))}?mode=ro{'&immutable=1' if is_fixed and not waits else ''}"


def explain_sqlite(path: str | Path, error: sqlite3.Error, kind: str, kept: str) -> str:
    """One clear line for an error of SQLite; kind: what the file should be; kept: what a full disk spares."""
    for part, meaning in (
        ("is full", f"cannot write {path}: the disk is full; {kept} before are safe"),
        ("readonly", f"cannot write {path}: the file or its folder is read-only"),
        ("unable to open", f"cannot open {path}: no such file, or no permission"),
        ("locked", f"{path} is in use by another program that does not let go"),
        ("not a database", f"{path} is not a {kind}, or it is damaged: move it aside or restore a copy"),
        ("malformed", f"{path} is damaged: move it aside or restore a copy"),
        ("disk I/O", f"cannot read or write {path}: the disk reports an error"),
    ):
        if part in str(error):
            return meaning
    return f"{path}: {error}"
