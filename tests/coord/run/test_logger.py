"""Metrics on disk: always readable, never twice, and only what the glossary lists."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from coord.errors import UserError
from coord.run.logger import GLOSSARY, Logger, check_keys, read_metrics


def rows_of(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def scalars_of(folder: Path, key: str) -> list[tuple[int, float]]:
    board = EventAccumulator(str(folder / "tb"))
    board.Reload()
    return [(event.step, event.value) for event in board.Scalars(key)]


def test_both_files_hold_every_row(tmp_path: Path) -> None:
    with Logger(tmp_path) as logger:
        logger.log({"rollout/return": 1.5, "rollout/return/3": 2.5}, step=100)
        logger.log({"rollout/return": 2.0}, step=200)
    assert rows_of(tmp_path) == [
        {"step": 100, "rollout/return": 1.5, "rollout/return/3": 2.5},
        {"step": 200, "rollout/return": 2.0},
    ]
    assert scalars_of(tmp_path, "rollout/return") == [(100, 1.5), (200, 2.0)]


def test_a_row_is_on_disk_before_the_next_one(tmp_path: Path) -> None:
    code = (
        "import os, pathlib\n"
        "from coord.run.logger import Logger\n"
        f"logger = Logger(pathlib.Path({str(tmp_path)!r}))\n"
        "logger.log({'rollout/return': 1.0}, step=5)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    killed = subprocess.run([sys.executable, "-c", code], check=False)
    assert killed.returncode == -9
    assert rows_of(tmp_path) == [{"step": 5, "rollout/return": 1.0}]


def test_resume_forgets_what_the_checkpoint_has_not_seen(tmp_path: Path) -> None:
    with Logger(tmp_path) as logger:
        for step in (100, 200, 300):
            logger.log({"rollout/return": float(step)}, step)
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write('{"step": 400, "rollout/ret')  # a kill in the middle of a line

    with Logger(tmp_path, resume_step=200) as logger:
        logger.log({"rollout/return": -3.0}, 300)

    assert [(row["step"], row["rollout/return"]) for row in rows_of(tmp_path)] == [(100, 100), (200, 200), (300, -3)]
    assert scalars_of(tmp_path, "rollout/return") == [(100, 100.0), (200, 200.0), (300, -3.0)]


def test_what_a_later_part_takes_back_is_gone_however_many_writers_there_were(tmp_path: Path) -> None:
    # TensorBoard numbers the writers of a process in its file names: the tenth sorts before the ninth.
    for writer in range(6):
        folder = tmp_path / str(writer)
        for resume_step in (None, 1):
            with Logger(folder, resume_step=resume_step) as logger:
                logger.log({"rollout/return": float(resume_step or 0)}, 2)
        assert scalars_of(folder, "rollout/return") == [(2, 1.0)]


def test_numbers_that_are_not_finite_stay_valid_json(tmp_path: Path) -> None:
    with Logger(tmp_path) as logger:
        logger.log({"rollout/return": float("nan"), "train/lr": float("inf")}, 1)
    assert rows_of(tmp_path) == [{"step": 1, "rollout/return": None, "train/lr": None}]
    with Logger(tmp_path, resume_step=1):
        pass
    assert rows_of(tmp_path) == [{"step": 1, "rollout/return": None, "train/lr": None}]


def test_a_key_outside_the_glossary_is_refused() -> None:
    check_keys({"rollout/return": 0, "rollout/return/12": 0})
    for key in ("rollout/retrun", "return", "rollout/return/1/2"):
        with pytest.raises(ValueError, match="glossary"):
            check_keys({key: 0.0})


def test_prefixes_are_the_agreed_ones() -> None:
    assert {key.partition("/")[0] for key in GLOSSARY} <= {"rollout", "train", "method", "reward", "eval", "xp", "time"}


def test_reading_a_missing_file_gives_no_rows(tmp_path: Path) -> None:
    assert read_metrics(tmp_path / "metrics.jsonl") == []


def test_unwritable_folder_is_one_clear_line() -> None:
    with pytest.raises(UserError, match="cannot write"):
        Logger(Path("/dev/null/run"))
