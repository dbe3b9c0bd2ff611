"""The command line: exit codes, one-line errors, and the same program by both names."""

from __future__ import annotations

import errno
import os
import re
import shlex
import subprocess
import sys
import tempfile
import types
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

import coord
from coord import plugins
from coord.errors import Diverged, UserError
from coord.run import cli
from coord.run.interrupt import Interrupted

ROOT = Path(__file__).parents[3]


def fake_command(monkeypatch: pytest.MonkeyPatch, run: Callable[[list[str]], int]) -> None:
    module = types.ModuleType("fake_command")
    module.HELP, module.EXAMPLES, module.run = "pretend", ("coord fake",), run  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "fake_command", module)
    monkeypatch.setattr(plugins, "_offered", lambda group: {"fake": [EntryPoint("fake", "fake_command", group)]})


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
        (OSError(errno.EIO, "Input/output error"), 2, "error: Input/output error: while reading or writing"),
        (MemoryError(), 2, "error: out of memory: this machine cannot hold it"),
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


def test_a_fault_of_ours_is_one_line_and_a_trace_in_a_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def fail(words: list[str]) -> int:
        raise AssertionError("never\nso \x1b[31mred" + "x" * 1000)

    fake_command(monkeypatch, fail)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert cli.main(["fake", "a=1"]) == 70
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(r"error: a fault in coord itself: AssertionError: never so \\x1b\[31mredx+…; .*\n", err)
    assert len(err) < 400
    trace = Path(err.split("the full trace is in ")[1].strip())
    assert trace.parent == tmp_path
    assert "in fail" in trace.read_text()


def test_a_fault_is_told_where_no_trace_can_be_kept(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    fake_command(monkeypatch, lambda words: 1 // 0)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    assert cli.main(["fake"]) == 70
    assert "the trace could not be kept: No such file or directory" in capsys.readouterr().err


def test_words_that_are_no_text_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train", "out=\udcff"]) == 2
    assert capsys.readouterr().err == "error: 'out=\\udcff' is not UTF-8 text\n"


def test_no_escape_code_reaches_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(words: list[str]) -> int:
        print("a\x1b]0;title\x07\tb\x9b31m\u202ec\r")
        print("d\x1b[2J", file=sys.stderr)
        return 0

    fake_command(monkeypatch, run)
    assert cli.main(["fake"]) == 0
    out, err = capsys.readouterr()
    assert out == "a\\x1b]0;title\\x07\tb\\x9b31m\\u202ec\\x0d\n"
    assert err == "d\\x1b[2J\n"


HOSTILE = """
import sys, types
from importlib.metadata import EntryPoint
from coord import plugins
from coord.run import cli
module = types.ModuleType("fake")
def run(words):
    for i in range(3000):
        print("ü", i)
    print("end", file=sys.stderr)
    open("file.txt", "w").write("kept")
    return 0
module.run = run
sys.modules["fake"] = module
plugins._offered = lambda group: {"fake": [EntryPoint("fake", "fake", group)]}
sys.exit(cli.main(["fake"]))
"""


@pytest.mark.parametrize("redirect", ["", ">&-", "2>&-", ">&- 2>&- <&-", "| true", ">/dev/null 2>/dev/full"])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_a_command_goes_on_whatever_becomes_of_its_streams(tmp_path: Path, redirect: str, encoding: str) -> None:
    (tmp_path / "run.py").write_text(HOSTILE)
    shell = f"set -o pipefail; {shlex.quote(sys.executable)} run.py {redirect}"
    env = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(["bash", "-c", shell], cwd=tmp_path, env=env, capture_output=True, timeout=60)
    assert done.returncode == 0, done
    assert "Traceback" not in done.stderr.decode()
    assert (tmp_path / "file.txt").read_text() == "kept"


FOREIGN = """
import multiprocessing, sys
from coord.run import cli
from coord.run.terminal import one_line
def child(queue):
    import play.game.clock, populations.pool
    queue.put([play.game.clock.__file__, populations.pool.__file__])
if __name__ == "__main__":
    assert cli.main(["layouts", "--help"]) == 0
    assert cli.main(["report"]) == 2
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=child, args=(queue,))
    process.start()
    print(queue.get(timeout=60))
    process.join()
"""


def test_packages_of_the_same_names_do_not_get_in_the_way(tmp_path: Path) -> None:
    """Folders and packages in the working directory and on PYTHONPATH, for workers too."""
    for name in ("configs", "play", "populations"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(f"raise RuntimeError('the wrong {name}')\n")
    (tmp_path / "coord").mkdir()
    (tmp_path / "main.py").write_text(FOREIGN)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    done = subprocess.run(
        [sys.executable, "main.py"], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert str(ROOT / "play" / "game" / "clock.py") in done.stdout
    assert str(ROOT / "populations" / "pool.py") in done.stdout


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


@pytest.mark.parametrize("content", [None, "WRONG = True\n"])
def test_a_folder_named_coord_is_not_taken_for_ours(tmp_path: Path, content: str | None) -> None:
    """As an editable installation meets it: `coord.run` is found in its place, its parent on the path."""
    (tmp_path / "coord").mkdir()
    if content is not None:
        (tmp_path / "coord" / "__init__.py").write_text(content)
    place = str(ROOT / "coord")
    code = f"import coord; coord.__path__ = [{place!r}]; from coord.run import cli; cli.main(['--version'])"
    command = [sys.executable, "-c", code]
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60)
    assert done.stdout == f"coord {coord.__version__}\n", done.stderr
