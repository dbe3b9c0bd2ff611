"""Atomic writing: whole or not at all."""

from __future__ import annotations

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
