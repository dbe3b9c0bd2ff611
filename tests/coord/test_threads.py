"""The number of threads is settled, bounded and written down; within `one_thread` it is one."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import numba
import pytest
import torch

from coord import checkpoint, plugins, threads
from coord.errors import UserError
from coord.run import cli, config, folder

COMMANDS = [
    name for name in plugins.entries("coord.commands") if "threads" in config.defaults_of(config.config_class(name))
]

READS_THREADS = {"bench": ["what=sac"], "scoreboard": ["what=run"], "efficiency": ["what=run"]}  # not by default


def test_none_means_the_usable_cores_and_the_number_is_what_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "usable_cores", lambda: 3)
    assert (threads.resolve(0), threads.resolve(1), threads.resolve(7)) == (3, 1, 7)
    for command in ("train", "population", "prefer", "rlhf", "scoreboard", "efficiency", "demo"):
        assert config.load(command, []).threads == 3, command
    assert config.load("train", ["threads=2"]).threads == 2


def test_the_commands_with_threads_are_found() -> None:
    assert {"train", "population", "prefer", "rlhf", "bench", "demo"} <= set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("count", [-1, 100_000])
def test_no_command_takes_a_number_that_no_machine_has(command: str, count: int) -> None:
    with pytest.raises(UserError, match=rf"threads={count}: allowed are 1 to \d+, and 0 for one per usable core"):
        config.load(command, [*READS_THREADS.get(command, ()), f"threads={count}"])


def test_the_command_line_refuses_it_in_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert cli.main(["train", "threads=100000", f"out={tmp_path}/run"]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_one_thread_is_one_thread_and_leaves_no_trace() -> None:
    threads.set_threads(2)
    before = torch.get_num_threads(), numba.get_num_threads()
    with threads.one_thread():
        assert (torch.get_num_threads(), numba.get_num_threads()) == (1, 1)
    assert (torch.get_num_threads(), numba.get_num_threads()) == before
    with contextlib.suppress(ZeroDivisionError), threads.one_thread():
        raise ZeroDivisionError
    assert (torch.get_num_threads(), numba.get_num_threads()) == before
    assert before[0] == 2


def test_every_provenance_tells_the_number() -> None:
    threads.set_threads(2)
    assert checkpoint.provenance()["threads"] == 2


@pytest.fixture
def begun(tmp_path: Path) -> Path:
    """A run folder that was begun with two threads."""
    return folder.create(tmp_path / "run", config.load("train", ["threads=2", "seed=4"]))


def resumed(begun: Path, *words: str) -> Any:
    cfg = config.load("train", [f"resume={begun}", *words])
    with folder.open_run(cfg, algo="ppo", layout="cramped_room") as place:
        assert place == begun
    return cfg


def test_a_run_goes_on_with_the_number_that_it_began_with(
    begun: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (begun / "config.yaml").read_text()
    assert json.loads((begun / "env.json").read_text())["threads"] == 2
    for cores in (1, 2, 8):
        monkeypatch.setattr(threads, "usable_cores", lambda cores=cores: cores)
        monkeypatch.setattr(folder, "usable_cores", lambda cores=cores: cores)
        assert resumed(begun).threads == 2
        told = f"{begun} goes on with threads=2, as it began (usable cores here: {cores})\n"
        assert capsys.readouterr().out == ("" if cores == 2 else told)
    assert (begun / "config.yaml").read_text() == before


def test_another_number_is_refused_unless_forced_and_then_written_down(begun: Path) -> None:
    for words in (["threads=1"], ["threads=1", "change_threads=false"]):
        with pytest.raises(UserError, match=r"was begun with threads=2, .* another result; .* change_threads=true"):
            resumed(begun, *words)
    assert resumed(begun, "threads=2").threads == 2
    with pytest.raises(UserError, match="to how many"):
        resumed(begun, "change_threads=true")
    with pytest.raises(UserError, match="change_threads= goes with resume="):
        config.load("train", ["change_threads=true", "threads=1"])
    assert resumed(begun, "threads=1", "change_threads=true").threads == 1
    environ = json.loads((begun / "env.json").read_text())
    assert (environ["threads"], environ["threads_before"]) == (1, [2])
    again = resumed(begun)
    assert (again.threads, again.seed, again.change_threads) == (1, 4, False)
    resumed(begun, "threads=3", "change_threads=true")
    assert json.loads((begun / "env.json").read_text())["threads_before"] == [2, 1]


def test_a_run_older_than_the_rule_takes_a_number_and_keeps_it(begun: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = begun / "config.yaml"
    text = path.read_text().replace("threads: 2", "threads: 0").replace("change_threads: false\n", "")
    path.write_text(text)
    environ = json.loads((begun / "env.json").read_text())
    (begun / "env.json").write_text(json.dumps({key: one for key, one in environ.items() if key != "threads"}))
    resumed(begun, "threads=1")
    assert "threads=1 instead of a number not recorded" in capsys.readouterr().out
    assert resumed(begun).threads == 1
