"""Atomic writing: whole or not at all."""

from __future__ import annotations

import csv
import json
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
