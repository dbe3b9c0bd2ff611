"""`coord prefer` as a command on a real task: what it leaves behind, how it resumes, what it refuses."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from coord import checkpoint
from coord.control.policies import read_policy
from coord.run import cli
from coord.run.logger import read_metrics
from tests.contracts.test_exit_codes import PATIENCE_S, assert_same, only_error, refused_here, started, wait_for_rows

pytest.importorskip("dm_control")

# Episodes of walker_walk have 1000 steps, so the first session can come at 1000.
TINY = (
    "prefer",
    "members=2",
    "total_steps=1240",
    "seed_steps=950",
    "unsup_steps=50",
    "session_every=60",
    "labels=6",
    "session_labels=2",
    "reset_updates=2",
    "eval_every=5000",
    "eval_episodes=1",
    "log_every=20",
    "algo.hidden=[16,16]",
    "algo.batch_size=16",
    "reward.hidden=[16]",
    "query.length=20",
    "threads=1",
    "save_every_s=0",
)


def policy_tensors(folder: Path) -> dict[str, torch.Tensor]:
    files = sorted((folder / "agents").glob("*.safetensors"))
    assert len(files) == 2
    return {f"{file.name}.{k}": v for file in files for k, v in checkpoint.load(file)[0].items()}


@pytest.mark.slow
def test_killed_on_a_real_task_and_resumed_ends_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with started(*TINY, "out=killed", cwd=tmp_path) as process:
        wait_for_rows(process, tmp_path / "killed", 54)  # beyond the switch, before the last session
    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / "killed" / "agents").exists()
    assert cli.main(["prefer", "resume=killed"]) == 0
    assert cli.main([*TINY, "out=whole"]) == 0
    table = capsys.readouterr().out
    assert "preset fast (smaller networks and budgets than published, for CPUs)" in table
    assert_same(policy_tensors(tmp_path / "killed"), policy_tensors(tmp_path / "whole"))
    ours, theirs = (read_metrics(tmp_path / side / "metrics.jsonl") for side in ("killed", "whole"))
    timeless = [[{k: v for k, v in row.items() if "time/" not in k} for row in rows] for rows in (ours, theirs)]
    assert timeless[0] == timeless[1]
    policy = read_policy(tmp_path / "whole" / "agents" / "pebble0-1.safetensors")
    assert (policy.card.labels, policy.card.skipped, policy.card.teacher) == (6, 0, "oracle")
    assert (policy.card.preset, policy.card.method, policy.card.task) == ("fast", "pebble", "walker_walk")
    act = policy.act(torch.zeros(3, 24))
    assert act.shape == (3, 6)
    assert act.abs().max() <= 1
    assert policy.card.eval_return == theirs[-1]["eval/return/1"]


def test_every_refusal_is_one_line_and_leaves_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for words, message in (
        (["env=walker_wlk"], "unknown task 'walker_wlk'; closest: walker_walk"),
        (["method=pebbel"], "unknown method 'pebbel'; did you mean 'pebble'"),
        (["labels=3"], "labels=3 is less than one session asks for"),
        (["reward.ensemble=1"], "reward.ensemble=1"),
        (["teacher.kind=orakel"], "did you mean 'oracle'"),
        (["algo=bc"], "unknown algo 'bc'"),
    ):
        assert message in refused_here(["prefer", *words, "out=run"], capsys), words
        assert not (tmp_path / "run").exists()


def test_a_missing_extra_is_named_before_a_folder_is_made(tmp_path: Path) -> None:
    code = "import sys; sys.modules['dm_control'] = None; from coord.run import cli; sys.exit(cli.main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "prefer", "out=run"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE_S)
    assert "pip install 'coord[control]'" in only_error(done.returncode, done.stderr)
    assert not (tmp_path / "run").exists()


def test_final_table_gives_mean_iqm_and_interval_over_seeds(tmp_path: Path) -> None:
    import json

    from coord.run.config import load
    from populations.commands.prefer import summary

    values = [100.0, 200.0, 300.0, 800.0]
    row = {"step": 5, "eval/return": np.mean(values), "eval/success": 0.0}
    row |= {f"eval/return/{m}": value for m, value in enumerate(values)}
    (tmp_path / "metrics.jsonl").write_text(json.dumps(row) + "\n")
    line = summary(load("prefer", ["members=4"]), tmp_path).splitlines()[2].split()
    assert line[:3] == ["return", "350", "250"]
    assert line[-4:] == ["100", "200", "300", "800"]
