"""Reading and writing of ordinary files: what every command that leaves something behind goes through.

Writing is atomic: a temporary file in the same folder, synced, then renamed, so that a reader sees the old file or the
new one. A symbolic link is written through, the mode and the owner of what is replaced stay, and what is no ordinary
file (a device, a pipe, a folder) is neither replaced nor read.

Apart from checkpoint.py, because the game client writes its settings without loading torch.
"""

from __future__ import annotations

import csv
import errno
import fcntl
import hashlib
import io
import json
import os
import re
import shutil
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from coord.errors import UserError

LARGEST = 8 << 30  # bytes of any file that is read whole
LARGEST_TEXT = 64 << 20  # of a JSON, YAML or layout file
SPARE = 1 << 20  # bytes that must be free where something is to be written
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)


# --------------------------------------------------------------------------------------------------------- writing


def atomic_write_bytes(path: str | Path, data: bytes) -> None:
    """Replace the file at `path` by `data`, or leave it exactly as it was and raise `UserError`."""
    try:
        target = _target(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        _replace(target, data)
        _sync_folder(target.parent)
    except OSError as error:
        raise _cannot_write(path, error) from error


def check_place(path: str | Path, *, need: int = SPARE) -> None:
    """Say now what would hinder `atomic_write_bytes` later; nothing is made. need: bytes that must be free.

    Raises:
        UserError: a folder or device is there, the file or its folder cannot be written, or the disk is full.
    """
    try:
        target = _target(path)
        _check_folder(target.parent, need)
    except OSError as error:
        raise _cannot_write(path, error) from error


def check_folder(folder: str | Path, *, need: int = SPARE) -> None:
    """The same for a folder that files will be written into, made or to be made.

    Raises:
        UserError: a file is there, it cannot be written or made, or the disk is full.
    """
    if os.path.realpath(folder) == os.path.realpath(os.sep):
        raise UserError(f"cannot write into {folder}: it is the root of the file system, name a folder")
    try:
        _check_folder(Path(folder), need)
    except OSError as error:
        raise _cannot_write(folder, error) from error


def _cannot_write(path: str | Path, error: OSError) -> UserError:
    return UserError(f"cannot write {path}: {error.strerror or error}")


def _target(path: str | Path) -> Path:
    """The ordinary file, made or to be made, that `path` leads to through any links."""
    target = Path(os.path.realpath(path))
    try:
        found = target.stat()
    except FileNotFoundError:
        return target
    _refuse_special(found, errno.EINVAL)
    if not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, "it is read-only")
    return target


def _refuse_special(found: os.stat_result, number: int) -> None:
    for is_kind, name in _KINDS:
        if is_kind(found.st_mode):
            raise OSError(number, f"it is {name}, not a file")


def _check_folder(folder: Path, need: int) -> None:
    """The nearest folder above that exists can be written, and there is room."""
    near = Path(os.path.realpath(folder))
    while not near.exists() and near != near.parent:
        near = near.parent
    if not near.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    for part in folder.parts:
        if len(os.fsencode(part)) > 255:
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
    if not os.access(near, os.W_OK | os.X_OK):
        read_only = os.statvfs(near).f_flag & os.ST_RDONLY
        number = errno.EROFS if read_only else errno.EACCES
        raise OSError(number, os.strerror(number))
    free = shutil.disk_usage(near).free
    if free < need:
        text = f"{os.strerror(errno.ENOSPC)} ({free / 2**20:.1f} MiB are free, {need / 2**20:.1f} MiB are needed)"
        raise OSError(errno.ENOSPC, text)


def _replace(target: Path, data: bytes) -> None:
    """Write beside `target`, with its mode and owner if it exists, and take its place."""
    part = target.with_name(_part_name(target.name))
    with _removed_on_failure(part), _claimed(part) as handle:
        _write_synced(handle, data)
        _keep_rights(handle, target)
        os.replace(part, target)


def _part_name(name: str) -> str:
    """Name of the temporary file; a name that leaves no room for more is represented by its hash."""
    fits = len(os.fsencode(name)) <= 240
    return f".{name if fits else hashlib.sha256(os.fsencode(name)).hexdigest()[:32]}.part"


@contextmanager
def _claimed(part: Path) -> Iterator[int]:
    """The temporary file, empty and ours alone: whoever writes the same file at the same time waits.

    What a process that was killed left behind is taken over, as its lock went with it.
    """
    while True:
        handle = os.open(part, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            lock(handle, wait=True)
            if is_at(handle, part):
                os.ftruncate(handle, 0)
                yield handle
                return
        finally:
            os.close(handle)


def lock(handle: int, *, wait: bool) -> bool:
    """Lock an open file for this process (flock); False if another one has it. True where locks are unknown."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL):
            raise
    return True


def is_at(handle: int, path: Path) -> bool:
    """Whether `path` still names the open file, which may have been renamed or deleted meanwhile."""
    try:
        return os.path.samestat(os.fstat(handle), os.lstat(path))
    except FileNotFoundError:
        return False


def _write_synced(handle: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(handle, rest[: 1 << 30]) :]
    os.fsync(handle)


def _keep_rights(handle: int, target: Path) -> None:
    """Mode and owner of the file that is replaced, else those of any new file."""
    try:
        former = target.stat()
    except FileNotFoundError:
        os.fchmod(handle, 0o666 & ~_umask())
        return
    with suppress(PermissionError):
        os.fchown(handle, former.st_uid, former.st_gid)
    os.fchmod(handle, stat.S_IMODE(former.st_mode))


def _umask() -> int:
    """What new files are not allowed; the system tells it only to who sets it, so threads would meet here."""
    with suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("Umask:")).split()[1], 8)
    former = os.umask(0o022)
    os.umask(former)
    return former


def atomic_write_text(path: str | Path, text: str) -> None:
    """`atomic_write_bytes` for UTF-8 text."""
    atomic_write_bytes(path, text.encode())


def atomic_write_json(path: str | Path, value: Any) -> None:
    """`atomic_write_bytes` for a JSON value, indented, with a final newline."""
    atomic_write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def parse_json(text: str | bytes) -> Any:
    """The JSON value of a text that anybody may have written. ValueError for whatever is none, or nested too deeply."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


@contextmanager
def reading_kept(path: str | Path, advice: str) -> Iterator[None]:
    """Around the reading and use of a JSON file that a command left behind, which somebody may have damaged since.

    advice: how to get it back, such as "remove it and resume that run".

    Raises:
        UserError: instead of whatever a file of another form brings about.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing: {advice}") from error
    except (OSError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise UserError(f"{path} is damaged ({type(error).__name__}: {error}): {advice}") from error


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


def _sync_folder(folder: Path) -> None:
    """Make a rename durable: the folder's own entry must reach the disk as well."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


# --------------------------------------------------------------------------------------------------------- reading


def read_bytes(path: str | Path, *, largest: int = LARGEST) -> bytes:
    """The whole content of an ordinary file, links followed.

    Raises:
        UserError: no such file, not readable, larger than `largest` bytes, or no ordinary file: devices may have no
            end, and a pipe would wait for ever.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        with os.fdopen(handle, "rb") as file:
            found = os.fstat(handle)
            _refuse_special(found, errno.EINVAL)
            if found.st_size > largest:
                raise OSError(errno.EFBIG, f"it has {found.st_size} bytes, at most {largest} are read")
            return file.read()
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error


def read_text(path: str | Path, *, largest: int = LARGEST_TEXT) -> str:
    """`read_bytes` for UTF-8 text. UserError also for what is no text."""
    data = read_bytes(path, largest=largest)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"cannot read {path}: it is no text in UTF-8 (byte {error.start})") from error
