"""Results that a command left behind and that somebody damaged since: one line, which names the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from coord.errors import UserError
from coord.files import reading_kept
from populations.board import label_efficiency
from populations.commands import demo, rlhf, safety

DAMAGED = ("", "{", "[]", "null", "7", '{"summary": 3}', '{"steps": {"reward": []}}', "[" * 6000, "\x00\xff")


@pytest.mark.parametrize("text", DAMAGED)
def test_damaged_results_are_bad_input(tmp_path: Path, text: str) -> None:
    """Every reader of a kept result refuses it by name."""
    kept = tmp_path / "eval" / "fcp-with-human_proxy.json", tmp_path / "result.json", tmp_path / "direct.json"
    kept[0].parent.mkdir()
    for path in kept:
        path.write_text(text, encoding="utf-8")
    cfg = safety.SafetyStudyConfig(out=str(tmp_path))
    for name, read in (
        ("fcp-with-human_proxy.json", lambda: demo.table(tmp_path)),
        ("result.json", lambda: rlhf.summary(tmp_path)),
        ("result.json", lambda: label_efficiency._steps_of_rlhf(tmp_path)),
        ("direct.json", lambda: safety.run_direct_arm(cfg, "direct")),
    ):
        with pytest.raises(UserError, match=f"{name} is damaged .*remove it"):
            read()


def test_a_missing_result_is_called_missing(tmp_path: Path) -> None:
    """A file that is not there is not called damaged."""
    gone = tmp_path / "gone.json"
    with pytest.raises(UserError, match=r"gone\.json is missing: make it again"), reading_kept(gone, "make it again"):
        gone.read_text()
