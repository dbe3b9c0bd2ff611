"""What the machine cannot hold is refused with the numbers, before anything is allocated or written."""

from __future__ import annotations

from pathlib import Path

import pytest

from coord import memory
from coord.buffers import ReplayBuffer
from coord.errors import UserError
from coord.preference.reward.model import RewardConfig, RewardModel
from coord.run import cli

measured = memory.machine_bytes


@pytest.fixture(autouse=True)
def eight_gib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "machine_bytes", lambda: 8 * 1024**3)


def test_the_machine_is_measured() -> None:
    assert 2**28 < measured() < 2**50


def test_numbers_and_the_largest_part_first() -> None:
    memory.check({"a": 8 * 1024**3}, "")
    with pytest.raises(
        UserError, match=r"about 11.0 GiB of memory \(b 9.0 GiB, a 2.0 GiB\), the machine has 8.0 GiB: less"
    ):
        memory.check({"a": 2 * 1024**3, "b": 9 * 1024**3}, "less")
    assert memory.dense_numbers((2, 3, 1)) == 3 * 3 + 4


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["train", "algo.num_envs=1000000", "members=1000"], "1000000000 kitchens"),
        (["train", "algo.rollout_len=1000000", "algo.num_envs=1000"], "rollouts of 1000000000 rows"),
        (["train", "algo.hidden=65536,65536"], "networks with Adam"),
        (["train", "algo=bc", "algo.hidden=65536,65536"], "networks with Adam"),
        (["rlhf", "members=1000", "algo.num_envs=100000"], "rollouts of 10000000000 rows"),
        (["population", "members=1000", "algo.hidden=4096,4096"], "networks with Adam"),
    ],
)
def test_a_run_too_large_is_one_line_and_leaves_nothing(
    words: list[str], part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main([*words, "layout=cramped_room", "threads=1"]) == 2
    line = capsys.readouterr().err
    assert part in line
    assert "the machine has 8.0 GiB" in line
    assert list(tmp_path.iterdir()) == []


def test_replay_buffers_too_large() -> None:
    with pytest.raises(UserError, match="replay of 3 x 1000000000 transitions"):
        ReplayBuffer(3, 10**9, 24, 6)
    assert ReplayBuffer(3, 10**6, 24, 6).size == 0


def test_reward_networks_too_large() -> None:
    with pytest.raises(UserError, match=r"reward networks 128\.\d GiB"):
        RewardModel.create(RewardConfig(ensemble=8, hidden=(32768,)), 32766, 1, [0])


@pytest.mark.parametrize(
    "words", [["train", "out="], ["train", "out=/"], ["play", "layout=cramped_rom"], ["play", "partner=gredy"]]
)
def test_no_place_and_no_such_name_are_told_at_once(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(words) == 2
    line = capsys.readouterr().err
    assert any(part in line for part in ("out= names no place", "root of the file system", "did you mean"))
