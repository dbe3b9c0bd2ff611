"""The command line: exit codes, one-line errors, and the same program by both names."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest

from coord.errors import Diverged, UserError
from coord.run import cli
from coord.run.interrupt import Interrupted


def fake_command(monkeypatch: pytest.MonkeyPatch, run: Callable[[list[str]], int]) -> None:
    module = types.ModuleType("fake_command")
    module.HELP, module.EXAMPLES, module.run = "pretend", ("coord fake",), run  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "fake_command", module)
    monkeypatch.setitem(cli.COMMANDS, "fake", "fake_command")


def full_disk() -> OSError:
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "run/metrics.jsonl")


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (UserError("seed=x: expected a whole number"), 2, "error: seed=x: expected a whole number"),
        (UserError("two\n  lines"), 2, "error: two lines"),
        (Diverged("train/loss is not finite at update 3"), 3, "error: train/loss is not finite at update 3"),
        (KeyboardInterrupt(), 130, "error: interrupted"),
        (Interrupted("coord train resume=x"), 130, "interrupted and saved; continue with: coord train resume=x"),
        (full_disk(), 2, "error: No space left on device: run/metrics.jsonl"),
        (PermissionError(errno.EACCES, "Permission denied", "out"), 2, "error: Permission denied: out"),
    ],
)
def test_every_ending_has_its_code_and_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: BaseException, code: int, line: str
) -> None:
    def fail(words: list[str]) -> int:
        raise error

    fake_command(monkeypatch, fail)
    assert cli.main(["fake"]) == code
    out, err = capsys.readouterr()
    assert (out, err) == ("", line + "\n")


def test_the_command_gets_its_words_and_its_code_is_returned(monkeypatch: pytest.MonkeyPatch) -> None:
    got: list[str] = []

    def run(words: list[str]) -> int:
        got.extend(words)
        return 7

    fake_command(monkeypatch, run)
    assert cli.main(["fake", "a=1", "b"]) == 7
    assert got == ["a=1", "b"]


def test_a_fault_of_ours_is_not_dressed_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(words: list[str]) -> int:
        raise OSError(errno.EIO, "Input/output error")

    fake_command(monkeypatch, fail)
    with pytest.raises(OSError, match="Input/output error"):
        cli.main(["fake"])


def test_unknown_command_names_the_closest(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["trian"]) == 2
    assert "error: unknown command 'trian'; did you mean 'train'?" in capsys.readouterr().err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("coord ")


def test_both_names_start_the_same_program() -> None:
    script = Path(sys.executable).with_name("coord")
    by_module = subprocess.run([sys.executable, "-m", "coord", "--help"], capture_output=True, text=True, check=True)
    by_script = subprocess.run([script, "--help"], capture_output=True, text=True, check=True)
    assert by_module.stdout == by_script.stdout
    assert "usage: coord <command>" in by_module.stdout


def test_a_closed_pipe_is_no_error() -> None:
    line = f"{sys.executable} -m coord train --help | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stderr == ""
