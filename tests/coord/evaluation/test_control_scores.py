"""Policies of control tasks are scored, reported and refused like agents of kitchens."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from coord.control import gridworld
from coord.control.policies import PolicyCard, save_policy
from coord.errors import UserError
from coord.evaluation import control_scores
from coord.evaluation.report.build import build_report
from coord.run import cli
from tests.html_page import Page


def island_policy(folder: Path, agent_id: str, action: int) -> Path:
    """A linear policy that always takes the same action on the island."""
    bias = torch.zeros(len(gridworld.ACTIONS))
    bias[action] = 1.0
    tensors = {"head.weight": torch.zeros(len(gridworld.ACTIONS), gridworld.OBS_DIM), "head.bias": bias}
    card = PolicyCard(
        agent_id=agent_id, task="island", method="pebble", preset="fast", head="argmax", seed=0, member=0, env_steps=1
    )
    path = folder / "agents" / f"{agent_id}.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    save_policy(path, card, tensors, config={})
    return path


def expected_return(action: int) -> float:
    """What an episode of that one action earns, step by step."""
    place, total = np.array([gridworld.island().start]), 0.0
    for _ in range(gridworld.MAX_STEPS):
        place, rew = gridworld.step(place, np.array([action]))
        total += float(rew[0])
        if gridworld.is_end(place)[0]:
            break
    return total


def test_scores_are_those_of_the_episodes(tmp_path: Path) -> None:
    actions = range(len(gridworld.ACTIONS))
    files = [island_policy(tmp_path, f"p{action}", action) for action in actions]
    assert control_scores.policy_files(str(tmp_path)) == files
    found = control_scores.score(files, episodes=2, seed=3)
    wanted = [expected_return(action) for action in actions]
    assert [row["mean_return"] for row in found["rows"]] == pytest.approx(wanted)
    assert found["summary"]["mean_return"] == pytest.approx(np.mean(wanted))
    assert found["success"]["mean_return"] == 0.0
    assert len(set(wanted)) > 1


def test_command_report_and_refusals(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    island_policy(tmp_path / "run", "left", 0)
    out = tmp_path / "run" / "score.json"
    assert cli.main(["evaluate", f"ego={tmp_path / 'run'}", "episodes=2", f"out={out}"]) == 0
    assert "left" in capsys.readouterr().out
    assert json.loads(out.read_text())["kind"] == "control"
    page = Page(build_report(tmp_path / "run"))
    assert "Policies of control tasks, scored" in page.words
    for words, message in (
        (["partners=random"], "partners= is for kitchens"),
        (["video=film.avi"], "unknown film format"),
        (["video=film.gif"], "island"),
    ):
        assert cli.main(["evaluate", f"ego={tmp_path / 'run'}", "episodes=1", *words]) == 2
        assert message in capsys.readouterr().err
    assert cli.main(["evaluate", "ego=random", "partners=stay", "video=film.gif"]) == 2
    assert "coord replay" in capsys.readouterr().err


def test_policies_of_two_tasks_are_not_one_method(tmp_path: Path) -> None:
    one = island_policy(tmp_path, "one", 0)
    other = PolicyCard(
        agent_id="two", task="walker_walk", method="sac", preset="fast", head="tanh", seed=0, member=0, env_steps=1
    )
    path = tmp_path / "agents" / "two.safetensors"
    save_policy(path, other, {"head.weight": torch.zeros(12, 24), "head.bias": torch.zeros(12)}, config={})
    with pytest.raises(UserError, match="different tasks: island, walker_walk"):
        control_scores.score([one, path], episodes=1, seed=0)
