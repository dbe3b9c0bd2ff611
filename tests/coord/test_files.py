"""Atomic writing: whole or not at all."""

from __future__ import annotations

import csv
import json
import os
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from coord import files
from coord.errors import UserError


def test_a_folder_that_cannot_exist_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot write .*Not a directory"):
        files.atomic_write_json(tmp_path / "file" / "below" / "x.json", {})


def test_text_and_json_are_written_whole(tmp_path: Path) -> None:
    files.atomic_write_text(tmp_path / "a.txt", "früh\n")
    files.atomic_write_json(tmp_path / "a.json", {"a": [1, 2]})
    assert (tmp_path / "a.txt").read_bytes() == "früh\n".encode()
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": [1, 2]}
    with pytest.raises(ValueError, match="not JSON compliant"):  # NaN would be unreadable elsewhere
        files.atomic_write_json(tmp_path / "a.json", {"a": float("nan")})


@pytest.mark.parametrize(
    ("cell", "written"),
    [
        ("=HYPERLINK(1)", "'=HYPERLINK(1)"),
        ("+1+cmd|' /C calc'!A0", "'+1+cmd|' /C calc'!A0"),
        ("-2+3", "'-2+3"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t=1"),
        ("\r=1", "'\n=1"),
        (" =1", "' =1"),
        ("\uff1d1", "'\uff1d1"),
        ("-", "'-"),
        ("-3.5", "-3.5"),
        ("+1e-3", "+1e-3"),
        ("a=1", "a=1"),
        (-3.5, "-3.5"),
        (-3, "-3"),
        (None, ""),
    ],
)
def test_no_cell_of_a_table_is_a_formula(tmp_path: Path, cell: object, written: str) -> None:
    files.atomic_write_csv(tmp_path / "a.csv", ["=head", "b"], [[cell, "x"]])
    with (tmp_path / "a.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [["'=head", "b"], [written, "x"]]


def test_a_table_without_columns_is_an_empty_file(tmp_path: Path) -> None:
    files.atomic_write_csv(tmp_path / "a.csv", [], [])
    assert (tmp_path / "a.csv").read_bytes() == b""


def test_a_link_is_written_through(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("old")
    (tmp_path / "link").symlink_to("target")
    (tmp_path / "dangling").symlink_to(tmp_path / "new" / "file")
    files.atomic_write_text(tmp_path / "link", "new")
    files.atomic_write_text(tmp_path / "dangling", "made")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_text() == "new"
    assert (tmp_path / "dangling").is_symlink()
    assert (tmp_path / "new" / "file").read_text() == "made"
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(UserError, match="cannot write"):
        files.atomic_write_text(tmp_path / "loop", "")


def test_the_mode_stays_and_new_files_have_the_usual_one(tmp_path: Path) -> None:
    former = os.umask(0o027)
    try:
        files.atomic_write_text(tmp_path / "new", "")
        files.atomic_write_text(tmp_path / "secret", "")
        (tmp_path / "secret").chmod(0o600)
        files.atomic_write_text(tmp_path / "secret", "still")
    finally:
        os.umask(former)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o640
    assert stat.S_IMODE((tmp_path / "secret").stat().st_mode) == 0o600


@pytest.mark.parametrize("check", [files.check_place, lambda path: files.atomic_write_text(path, "x")])
def test_what_is_no_file_is_left_alone(tmp_path: Path, check: Callable[[Path], None]) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("/dev/null")
    for name, kind in (("pipe", "a pipe"), ("folder", "a folder"), ("link", "a device")):
        with pytest.raises(UserError, match=f"cannot write .*{name}: it is {kind}, not a file"):
            check(tmp_path / name)
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "link", "pipe"]


def test_a_read_only_file_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x").write_text("mine")
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # as for anybody but root
    with pytest.raises(UserError, match="it is read-only"):
        files.atomic_write_text(tmp_path / "x", "")
    assert (tmp_path / "x").read_text() == "mine"
    with pytest.raises(UserError, match="cannot write"):
        files.check_folder(tmp_path / "new")


def test_what_a_killed_writer_left_is_taken_over(tmp_path: Path) -> None:
    (tmp_path / ".x.part").write_text("half of something longer")
    files.atomic_write_text(tmp_path / "x", "whole")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("x", "whole")]


def test_writers_of_one_file_do_not_meet(tmp_path: Path) -> None:
    texts = [str(i) * 200_000 for i in range(8)]
    with ThreadPoolExecutor(4) as writers:
        list(writers.map(lambda text: files.atomic_write_text(tmp_path / "x", text), texts))
    assert (tmp_path / "x").read_text() in texts
    assert len(list(tmp_path.iterdir())) == 1


def test_names_as_long_as_they_may_be(tmp_path: Path) -> None:
    files.atomic_write_text(tmp_path / ("ü" * 127), "x")
    for refuse in (files.check_place, lambda path: files.atomic_write_text(path, "")):
        with pytest.raises(UserError, match="File name too long"):
            refuse(tmp_path / ("n" * 256))


def test_a_place_is_checked_without_making_it(tmp_path: Path) -> None:
    files.check_place(tmp_path / "new" / "x")
    files.check_folder(tmp_path / "new")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UserError, match=r"No space left on device \(.* MiB are free"):
        files.check_folder(tmp_path, need=1 << 60)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="Not a directory"):
        files.check_folder(tmp_path / "file")


@pytest.mark.parametrize("name", ["/dev/zero", "pipe", "folder", "missing", "text"])
def test_only_files_are_read(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "text").write_bytes(b"\xff")
    with pytest.raises(UserError, match="cannot read"):
        files.read_text(tmp_path / name)


def test_the_size_of_what_is_read_is_limited(tmp_path: Path) -> None:
    with open(tmp_path / "sparse", "wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(UserError, match="it has 1099511627776 bytes"):
        files.read_bytes(tmp_path / "sparse")
