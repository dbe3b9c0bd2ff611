"""Run folders: where they lie, what they hold, and that none is written over."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

import pytest

from coord.errors import UserError
from coord.run import config, folder


def test_names_tell_what_runs() -> None:
    cfg = config.load("evaluate", [])
    stamp = f"{datetime.date.today().isoformat()}-{config.fingerprint(cfg)}"
    place = folder.run_folder(cfg, algo="ppo", layout="cramped_room", seed=3)
    assert place == Path("runs/overcooked/cramped_room/ppo", stamp, "seed3")
    assert folder.run_folder(cfg, algo="ppo", layout="my/own kitchen.layout", seed=0).parts[2] == "own_kitchen"
    assert folder.run_folder(cfg, algo="ppo", layout="XXPXX\nO  1X", seed=0).parts[2] == "custom"
    assert folder.run_folder(cfg, algo="ppo", layout="x", seed=0, out="here") == Path("here")


def test_a_run_folder_says_how_it_came_about(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["coord", "evaluate", "ego=a b", "seed=2"])
    cfg = config.load("evaluate", ["ego=a b", "seed=2"])
    place = folder.create(tmp_path / "run", cfg)
    assert (place / "command.txt").read_text() == "coord evaluate 'ego=a b' seed=2\n"
    assert config.load_saved("evaluate", place / "config.yaml") == cfg
    env = json.loads((place / "env.json").read_text())
    assert env["cpu_count"] >= 1
    assert env["libraries"]["numpy"]
    with pytest.raises(UserError, match="already holds a run; go on with resume="):
        folder.create(place, cfg)


def test_a_folder_that_cannot_be_made_is_one_clear_line() -> None:
    with pytest.raises(UserError, match="cannot write /dev/null/run"):
        folder.create("/dev/null/run", config.load("evaluate", []))
