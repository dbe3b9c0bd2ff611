"""`coord prefer env=overcooked learner=ppo` as a command: an agent with its provenance, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from coord.agents.files import AGENT_FILE, read_agent
from coord.evaluation.agents import hashes_of
from coord.evaluation.report.build import build_report
from coord.evaluation.report.preference_runs import TRUE_REWARD
from coord.run import cli
from populations.pool import add_members
from tests.agent_fixtures import index_member
from tests.html_page import Page

GAMES = ("env=overcooked", "learner=ppo", "partners=pool", "members=1", "horizon=20", "envs_per_member=4")
STEPS = ("total_steps=320", "unsup_steps=80", "eval_every=160", "eval_episodes=2", "log_every=80", "threads=1")
LABELS = ("labels=4", "session_labels=2", "session_every=80", "query.length=6", "reward.hidden=[8]")
ALGO = ("algo.rollout_len=10", "algo.num_epochs=1", "algo.num_minibatches=2")
TINY = ("prefer", *GAMES, *STEPS, *ALGO)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a pool of two, an ego that learned from labels and one on the true reward."""
    folder = tmp_path_factory.mktemp("home")
    add_members(folder / "pool", [index_member("a", 0), index_member("b", 1)])
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert cli.main([*TINY, *LABELS, "method=mrn", "method.every=80", "out=runs/ego"]) == 0
        assert cli.main([*TINY, "method=true_reward", "unsup_steps=0", "out=runs/true"]) == 0
    return folder


def test_the_ego_is_an_agent_that_says_what_it_learned_from(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    card, true = (read_agent(home / "runs" / name / AGENT_FILE).card for name in ("ego", "true"))
    assert (card.method, card.env_steps, card.extra["labels"], card.extra["teacher"]) == ("mrn", 320, 4, "oracle")
    assert (true.method, true.extra["labels"], true.extra["teacher"]) == ("true_reward", 0, "")
    assert card.extra["learner"] == true.extra["learner"] == "ppo"
    assert card.extra["trained_with"] == hashes_of([str(home / "pool")])
    assert cli.main(["evaluate", "ego=runs/ego", "partners=pool", "horizon=20", "episodes=2", "out=scores.json"]) == 0
    assert {row["partner"] for row in json.loads((home / "scores.json").read_text())["rows"]} >= {"a", "b"}


def test_the_report_measures_it_by_ppo_on_the_true_reward(home: Path) -> None:
    words = Page(build_report(home / "runs")).words
    assert "mrn by PPO" in words
    assert TRUE_REWARD[2] in words


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["method=sac"], "true_reward"),
        (["env=walker_walk"], "env=overcooked"),
        (["learner=pppo"], "did you mean 'ppo'"),
        (["algo=sac"], "learner=sac"),
        (["method=mrn", "algo.network=cnn"], "mlp_index"),
        (["algo.num_envs=3"], "envs_per_member"),
    ],
)
def test_what_does_not_fit_is_said_in_one_line_and_nothing_is_made(
    home: Path, words: list[str], part: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(home)
    assert cli.main([*TINY, *LABELS, *words, "out=runs/other"]) == 2
    said = capsys.readouterr().err.strip()
    assert part in said
    assert "\n" not in said
    assert not (home / "runs/other").exists()
