"""A folder has one writer, the others are told who, and no lock outlives its holder."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from coord.errors import UserError
from coord.locks import LOCK_FILE, check_held, locked_folder

HOLD = "import sys, coord.locks\nwith coord.locks.locked_folder(sys.argv[1]): print('held', flush=True); {}"


@contextmanager
def holder(folder: Path, then: str = "sys.stdin.read()") -> Iterator[subprocess.Popen[str]]:
    """Another process that has the folder."""
    command = [sys.executable, "-c", HOLD.format(then), str(folder)]
    process = subprocess.Popen(command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_the_second_is_told_who_has_it_and_a_killed_one_has_it_no_more(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        with (
            pytest.raises(UserError, match=rf"is being written by process {process.pid} on .* since 20.* \(coord"),
            locked_folder(tmp_path),
        ):
            pytest.fail("two had it")
        process.send_signal(signal.SIGKILL)
        process.wait()
        with locked_folder(tmp_path):
            pass


def test_who_waits_gets_it(tmp_path: Path) -> None:
    told: list[str] = []
    with holder(tmp_path) as process:

        def let_go(who: str) -> None:
            told.append(who)
            process.communicate("")

        with locked_folder(tmp_path, on_wait=let_go):
            assert str(process.pid) in told[0]


def test_a_child_that_was_forked_does_not_keep_the_lock(tmp_path: Path) -> None:
    fork = "import os, time; child = os.fork(); child or print(os.getpid(), flush=True); time.sleep(60)"
    with holder(tmp_path, fork) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        process.kill()
        process.wait()
        try:
            with locked_folder(tmp_path):
                assert Path(f"/proc/{child}").exists()
        finally:
            os.kill(child, signal.SIGKILL)


def test_who_has_it_may_ask_again(tmp_path: Path) -> None:
    with locked_folder(tmp_path / "run") as lock:
        with locked_folder(tmp_path / "run") as again:
            assert again is lock
        lock.check()
        with holder(tmp_path):
            pass
    assert (tmp_path / "run" / LOCK_FILE).read_text() == ""


def test_a_failure_leaves_nothing_that_was_made_for_the_lock(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no"), locked_folder(tmp_path / "a" / "b"):
        raise UserError("no")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(IsADirectoryError), locked_folder(tmp_path / "a" / "b"):
        shutil.copyfile(__file__, tmp_path / "a" / "b" / "result") and shutil.copyfile(__file__, tmp_path)
    assert (tmp_path / "a" / "b" / "result").exists()


@pytest.mark.parametrize("end", ["delete", "move", "made anew"])
def test_a_folder_that_went_away_is_noticed(tmp_path: Path, end: str) -> None:
    run = tmp_path / "run"
    with locked_folder(run):
        check_held()
        shutil.rmtree(run) if end != "move" else run.rename(tmp_path / "elsewhere")
        if end == "made anew":
            run.mkdir()
            (run / LOCK_FILE).write_text("")
        with pytest.raises(UserError, match="run was deleted or moved while it was being written"):
            check_held()
    check_held()


def test_a_folder_that_cannot_be_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot write /dev/null/run"), locked_folder("/dev/null/run"):
        pass
    (tmp_path / LOCK_FILE).symlink_to("/dev/null")
    with pytest.raises(UserError, match="cannot write"), locked_folder(tmp_path):
        pass
