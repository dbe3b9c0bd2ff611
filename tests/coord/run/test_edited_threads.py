"""A number of threads that somebody writes into config.yaml between stop and resume."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from coord.errors import UserError
from coord.run.folder import _compare_threads


def test_edited_threads_are_refused_unless_forced(tmp_path: Path) -> None:
    """env.json knows what the run began with."""
    (tmp_path / "env.json").write_text(json.dumps({"threads": 1}), encoding="utf-8")
    _compare_threads(tmp_path, 1, SimpleNamespace(change_threads=False))
    _compare_threads(tmp_path, 2, SimpleNamespace(change_threads=True))
    with pytest.raises(UserError, match=r"config.yaml was changed: threads=2, but the run began with 1"):
        _compare_threads(tmp_path, 2, SimpleNamespace(change_threads=False))
