"""`coord` as a program: every way to end has its exit code, one line, and nothing lost or left over."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from coord import checkpoint
from coord.run import cli
from coord.run.logger import GLOSSARY, read_metrics

pytestmark = pytest.mark.slow

# Small, but with several minibatches, episodes that end and both schedules on the move.
SMALL = ("layout=cramped_room", "algo.num_envs=8", "algo.rollout_len=50", "horizon=60", "threads=1")
UPDATES = 40
TRAIN = ("train", *SMALL, f"algo.total_steps={UPDATES * 400}", "algo.shaping_horizon=12000", "save_every_s=0")


PATIENCE_S = 300  # on a busy machine; the first run also compiles the kitchen


@contextmanager
def started(*words: str, cwd: Path) -> Iterator[subprocess.Popen[str]]:
    """A command that runs in `cwd`, and is gone afterwards whatever happens."""
    command = [sys.executable, "-m", "coord", *words]
    process = subprocess.Popen(command, cwd=cwd, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def coord(*words: str, cwd: Path) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of one command."""
    with started(*words, cwd=cwd) as process:
        out, err = process.communicate(timeout=PATIENCE_S)
        return process.returncode, out, err


def refused(words: Sequence[str], cwd: Path) -> str:
    """The one line that a command ends with when it exits with code 2."""
    code, _, err = coord(*words, cwd=cwd)
    return only_error(code, err)


def refused_here(words: Sequence[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The same within this process and folder, which spares seconds of imports."""
    capsys.readouterr()
    return only_error(cli.main(list(words)), capsys.readouterr().err)


def only_error(code: int, err: str) -> str:
    lines = [line for line in err.splitlines() if line]
    assert code == 2, err
    assert "Traceback" not in err
    assert lines[-1].startswith("error: ")
    return lines[-1]


def parameters(folder: Path) -> dict[str, torch.Tensor]:
    return checkpoint.load(folder / "agent.safetensors")[0]


def assert_same(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> None:
    assert set(ours) == set(theirs)
    assert len(ours) > 3
    for name, tensor in ours.items():
        assert torch.equal(tensor, theirs[name]), name


def wait_for_rows(process: subprocess.Popen[str], folder: Path, count: int) -> None:
    """Until a running training has logged `count` updates."""
    deadline = time.monotonic() + PATIENCE_S
    while len(read_metrics(folder / "metrics.jsonl")) < count:
        assert process.poll() is None, f"training ended before it could be stopped: {process.communicate()}"
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `run`, an uninterrupted training."""
    folder = tmp_path_factory.mktemp("finished")
    code, out, err = coord(*TRAIN, "out=run", cwd=folder)
    assert code == 0, err
    assert "run" in out
    return folder


def test_a_run_leaves_what_the_readme_promises(finished: Path) -> None:
    names = {path.name for path in (finished / "run").iterdir()}
    assert {"config.yaml", "command.txt", "env.json", "metrics.jsonl", "tb", "ckpt", "agent.safetensors"} <= names
    rows = read_metrics(finished / "run" / "metrics.jsonl")
    assert [row["step"] for row in rows] == [400 * (i + 1) for i in range(UPDATES)]
    logged = {key for row in rows for key in row if key != "step"}
    assert logged <= set(GLOSSARY)
    assert {key.partition("/")[0] for key in logged} == {"rollout", "train", "time"}
    assert {"rollout/return", "train/loss", "train/entropy", "train/lr", "time/steps_per_s", "time/elapsed_s"} <= logged
    assert (finished / "run" / "command.txt").read_text().startswith("coord train layout=cramped_room")


def test_a_second_run_does_not_write_over_the_first(
    finished: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(finished)
    line = refused_here([*TRAIN, "out=run"], capsys)
    assert "already holds a run" in line
    assert "resume=run" in line


def test_kill_and_resume_give_the_same_parameters(finished: Path, tmp_path: Path) -> None:
    with started(*TRAIN, "out=run", cwd=tmp_path) as process:
        wait_for_rows(process, tmp_path / "run", 5)
    assert process.returncode == -signal.SIGKILL
    assert (tmp_path / "run" / "ckpt" / "state.safetensors").exists()
    assert not (tmp_path / "run" / "agent.safetensors").exists()

    code, _, err = coord("train", "resume=run", cwd=tmp_path)
    assert code == 0, err
    assert_same(parameters(tmp_path / "run"), parameters(finished / "run"))
    ours, theirs = (read_metrics(folder / "run" / "metrics.jsonl") for folder in (tmp_path, finished))
    untimed = [[{k: v for k, v in row.items() if not k.startswith("time/")} for row in rows] for rows in (ours, theirs)]
    assert untimed[0] == untimed[1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_ctrl_c_saves_and_says_how_to_go_on(number: signal.Signals, finished: Path, tmp_path: Path) -> None:
    before = signal.signal(number, signal.SIG_DFL if number == signal.SIGHUP else signal.getsignal(number))
    with started(*TRAIN, "save_every_s=1000", "out=run", cwd=tmp_path) as process:  # not as nohup starts programs
        signal.signal(number, before)
        wait_for_rows(process, tmp_path / "run", 3)
        process.send_signal(number)
        _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130, err
    last = err.splitlines()[-1]
    assert last.startswith("interrupted and saved; continue with: coord ")

    code, _, err = coord(*shlex.split(last.partition("continue with: coord ")[2]), cwd=tmp_path)
    assert code == 0, err
    assert_same(parameters(tmp_path / "run"), parameters(finished / "run"))


def test_two_trainings_in_one_folder(tmp_path: Path) -> None:
    with started(*TRAIN, "algo.total_steps=1e7", "out=run", cwd=tmp_path) as first:
        wait_for_rows(first, tmp_path / "run", 1)
        line = refused(["train", "resume=run"], tmp_path)
        assert f"run is being written by process {first.pid} on " in line
        assert first.poll() is None
    assert (tmp_path / "run" / "config.yaml").exists()


def test_unknown_layout(tmp_path: Path) -> None:
    line = refused(["train", "layout=cramped_rom"], tmp_path)
    assert "cramped_rom" in line
    assert "did you mean 'cramped_room'?" in line
    assert list(tmp_path.iterdir()) == []


def test_unwritable_folder(tmp_path: Path) -> None:
    assert "cannot write /dev/null/run" in refused([*TRAIN, "out=/dev/null/run"], tmp_path)


def test_nan_loss(tmp_path: Path) -> None:
    code, _, err = coord(*TRAIN, "algo.rew_scale=1e38", "out=run", cwd=tmp_path)
    assert code == 3, err
    assert err.splitlines()[-1].startswith("error: ")
    assert "not finite" in err.splitlines()[-1]
    assert not (tmp_path / "run" / "agent.safetensors").exists()


def test_truncated_checkpoint_of_a_run(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(finished / "run", tmp_path / "run")
    (tmp_path / "run" / "agent.safetensors").unlink()
    for path in (tmp_path / "run" / "ckpt").glob("*.safetensors"):
        path.write_bytes(path.read_bytes()[:-100])
    monkeypatch.chdir(tmp_path)
    assert "cut short or damaged" in refused_here(["train", "resume=run"], capsys)


def test_truncated_agent(finished: Path, tmp_path: Path) -> None:
    data = (finished / "run" / "agent.safetensors").read_bytes()
    (tmp_path / "agent.safetensors").write_bytes(data[: len(data) // 2])
    words = ["evaluate", "ego=agent.safetensors", "partners=stay", "episodes=1", "horizon=20"]
    assert "agent.safetensors is cut short or damaged" in refused(words, tmp_path)


def test_tampered_file_of_a_pool(tmp_path: Path) -> None:
    code, _, err = coord(*TRAIN, "algo.total_steps=400", "members=2", "out=pool", cwd=tmp_path)
    assert code == 0, err
    first, second = sorted((tmp_path / "pool").glob("*.safetensors"))
    shutil.copyfile(first, second)  # a sound file, but not the one that the manifest names
    words = ["evaluate", "ego=random", "partners=pool", "episodes=1", "horizon=20"]
    line = refused(words, tmp_path)
    assert second.name in line
    assert "was altered" in line


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 128 KiB; only where this process may mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(place)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting is not allowed here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_full_disk(small_disk: Path) -> None:
    line = refused([*TRAIN, "out=run"], small_disk)
    assert "No space left on device" in line
    assert not list(small_disk.rglob("*.part"))


def test_full_disk_when_saving(tmp_path: Path) -> None:
    """The same without mounting: every attempt to sync a file fails as it does on a full disk."""
    code = (
        "import errno, os, sys\n"
        "def full(handle): raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))\n"
        "os.fsync = full\n"
        "from coord.run.cli import main\n"
        f"sys.exit(main({[*TRAIN, 'out=run']!r}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env={**os.environ}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "error: cannot write run" in done.stderr
    assert "No space left on device" in done.stderr
    assert not list(tmp_path.rglob("*.part"))
