"""Atomic writing: a temporary file in the same folder, synced, then renamed. A reader sees the old file or the new one.

Apart from checkpoint.py, because the game client writes its settings without loading torch.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from coord.errors import UserError


def atomic_write_bytes(path: str | Path, data: bytes) -> None:
    """Replace the file at `path` by `data`, or leave it exactly as it was and raise `UserError`."""
    path = Path(path)
    part = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _removed_on_failure(part):
            _write_synced(part, data)
            os.replace(part, path)
        _sync_folder(path.parent)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error


def atomic_write_text(path: str | Path, text: str) -> None:
    """`atomic_write_bytes` for UTF-8 text."""
    atomic_write_bytes(path, text.encode())


def atomic_write_json(path: str | Path, value: Any) -> None:
    """`atomic_write_bytes` for a JSON value, indented, with a final newline."""
    atomic_write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def atomic_write_figure(path: str | Path, figure: Any) -> None:
    """`atomic_write_bytes` for a figure of matplotlib, in the format that the file's ending names."""
    picture = io.BytesIO()
    figure.savefig(picture, dpi=120, format=Path(path).suffix[1:] or None)
    atomic_write_bytes(path, picture.getvalue())


def atomic_write_csv(path: str | Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """`atomic_write_bytes` for a table, its cells in the order of `columns`; None gives an empty cell.

    A spreadsheet takes text that begins with one of `FORMULA_STARTS` for a formula and runs it, so such text gets a
    leading apostrophe, which spreadsheets know as the mark of text. Numbers stay numbers, also those kept as text.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([_harmless(cell) for cell in row] for row in ([columns] if columns else []))
    writer.writerows([_harmless(cell) for cell in row] for row in rows)
    atomic_write_text(path, text.getvalue())


FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\n", "＝", "＋", "－", "＠")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def _harmless(cell: Any) -> Any:
    if not isinstance(cell, str) or _NUMBER.fullmatch(cell):
        return cell
    text = cell.replace("\r\n", "\n").replace("\r", "\n")  # a bare \r would end the row for many readers
    return f"'{text}" if text.lstrip(" ").startswith(FORMULA_STARTS) else text


@contextmanager
def _removed_on_failure(path: Path) -> Iterator[None]:
    """If anything goes wrong inside, Ctrl-C included, the file at `path` is removed."""
    try:
        yield
    except BaseException:
        with suppress(OSError):
            path.unlink(missing_ok=True)
        raise


def _write_synced(path: Path, data: bytes) -> None:
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Make a rename durable: the folder's own entry must reach the disk as well."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


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
