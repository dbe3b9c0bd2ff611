"""One reader of references for all commands."""

from __future__ import annotations

from pathlib import Path

import pytest

from coord.agents.files import AGENT_FILE
from coord.evaluation import agents
from coord.references import split_reference


def test_what_lies_on_the_disk_is_meant_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert split_reference("exp#1") == ("exp", "1")
    (tmp_path / "exp#1").mkdir()
    assert split_reference("exp#1") == ("exp#1", "")
    assert split_reference("exp#1#ego0") == ("exp#1", "ego0")
    assert split_reference("bc_train") == ("bc_train", "")
    assert split_reference("x" * 5000 + "#1") == ("x" * 5000, "1")
    (tmp_path / "exp#1" / AGENT_FILE).write_bytes(b"")
    assert agents.files_of("exp#1") == [Path("exp#1") / AGENT_FILE]


def test_no_reader_of_its_own_anywhere() -> None:
    root = Path(__file__).parents[2]
    for folder in ("coord", "populations", "play"):
        for path in (root / folder).rglob("*.py"):
            assert path.name == "references.py" or 'partition("#")' not in path.read_text(), path
