"""`coord prefer env=overcooked` as a command: it leaves an agent like every other, and its report shows the games."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from coord.agents.files import StoredAgent, read_manifest
from coord.evaluation.agents import hashes_of, load_agent, load_networks
from coord.evaluation.report.build import build_report
from coord.preference.learners.check import check
from coord.preference.tasks.registry import make_envs
from coord.run import cli, config
from coord.run.logger import read_metrics
from populations.pool import add_members
from tests.agent_fixtures import index_member
from tests.html_page import Page

TINY = (
    "prefer",
    "env=overcooked",
    "method=mrn",
    "method.every=80",
    "partners=pool",
    "members=2",
    "horizon=20",
    "envs_per_member=4",
    "total_steps=400",
    "seed_steps=80",
    "unsup_steps=80",
    "labels=4",
    "session_labels=2",
    "session_every=80",
    "eval_every=200",
    "eval_episodes=4",
    "log_every=80",
    "reset_updates=2",
    "algo.hidden=[64,16]",
    "algo.batch_size=16",
    "reward.hidden=[8]",
    "query.length=6",
    "teacher.wants=utility",
    "teacher.weights={movement: 1}",
    "threads=1",
)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a pool of two and a finished run."""
    folder = tmp_path_factory.mktemp("home")
    add_members(folder / "pool", [index_member("a", 0), index_member("b", 1)])
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert cli.main([*TINY, "out=runs/ego"]) == 0
    return folder


def test_the_manifest_says_what_an_ego_learned_from(home: Path) -> None:
    entries = read_manifest(home / "runs/ego")
    assert [entry["id"] for entry in entries] == ["mrn0-0", "mrn0-1"]
    for entry in entries:
        told = entry["extra"]
        assert (told["labels"], told["skipped"], told["teacher"], told["preset"]) == (4, 0, "oracle", "fast")
        assert (told["wants"], told["utility"]) == ("utility", {"movement": 1.0})
        assert told["trained_with"] == hashes_of([str(home / "pool")])
        assert (entry["method"], entry["env_steps"], entry["layout"]) == ("mrn", 400, "cramped_room")


def test_metrics_name_partners_events_and_the_teachers_score(home: Path) -> None:
    last = read_metrics(home / "runs/ego/metrics.jsonl")[-1]
    assert {"eval/return", "eval/teacher_score/1", "eval/with/a", "eval/with/b/0", "eval/events/movement"} <= set(last)
    assert last["eval/teacher_score"] == pytest.approx(last["eval/events/movement"] + last["eval/return"])
    assert last["reward/asked"] == 4


def test_evaluate_crossplay_and_training_take_it(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    short = ("horizon=20", "episodes=2")
    assert cli.main(["evaluate", "ego=runs/ego#mrn0-0", "partners=pool,greedy", *short, "out=scores.json"]) == 0
    assert {row["partner"] for row in json.loads((home / "scores.json").read_text())["rows"]} >= {"a", "b", "greedy"}
    assert cli.main(["crossplay", "pool=runs/ego", *short, "out=xp"]) == 0
    assert (home / "xp/crossplay.json").exists()
    assert len(load_networks(["runs/ego"], "cramped_room", "classic")) == 2
    assert load_agent("runs/ego#mrn0-1", "cramped_room", "classic").agent_id == "mrn0-1"


def test_a_finished_run_is_left_alone(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    before = hashes_of(["runs/ego"])
    assert cli.main(["prefer", "resume=runs/ego"]) == 0
    assert hashes_of(["runs/ego"]) == before


def test_the_report_shows_queries_as_films_of_the_kitchen(home: Path) -> None:
    page = Page(build_report(home / "runs"))
    assert "cramped_room, preset fast" in page.words
    assert len(page.all("img")) >= 4
    assert "says teacher:oracle" in page.words


@pytest.mark.parametrize("learner", ["sac", "ppo"])
def test_presets_fit_together(learner: str) -> None:
    cfg = config.load("prefer", ["env=overcooked", f"learner={learner}", "method=mrn", "members=1"])
    one = index_member("a", 0)
    with make_envs(cfg.task, [StoredAgent(one.card, one.net)], []) as envs:
        check(cfg, envs.train, learns_reward=True)


def test_egos_begin_as_others(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    ppo = [word for word in TINY if not word.startswith(("algo.", "reset_updates="))]
    ppo += ["learner=ppo", "algo.rollout_len=10", "algo.hidden=[64,16]"]
    assert cli.main([*ppo, "init_from=runs/ego", "out=runs/later"]) == 0
    origins = [entry["extra"]["init_from"] for entry in read_manifest(home / "runs/later")]
    assert origins == hashes_of(["runs/ego"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["init_from=runs/ego"], "for learner=ppo, not for learner=sac"),
        (["learner=ppo", "init_from=human_proxy", "algo.rollout_len=10"], "for evaluation only"),
        (
            ["learner=ppo", "init_from=runs/ego", "members=3", "algo.rollout_len=10"],
            "holds 2 agents: one is needed, or",
        ),
    ],
)
def test_who_cannot_be_begun_as(
    home: Path, words: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(home)
    ppo = "learner=ppo" in words
    given = [word for word in TINY if not (ppo and word.startswith(("algo.batch", "reset_updates=")))]
    assert cli.main([*given, *words, "out=runs/other"]) == 2
    assert re.search(message, capsys.readouterr().err)
    assert not (home / "runs/other").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["partners=[]"], "say partners=<pool>"),
        (["partners=human_proxy"], "for evaluation only"),
        (["partners=greedy"], "scripted"),
        (["teacher.wants=praise"], "did you mean|allowed: return, shaped, utility"),
        (["teacher.weights={movment: 1}"], "did you mean 'movement'"),
        (["layout=cramped_rom"], "cramped_room"),
        (["env=walker_walk"], "for env=overcooked"),
    ],
)
def test_what_does_not_fit_is_said_and_nothing_is_made(
    home: Path, words: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(home)
    assert cli.main([*TINY, *words, "out=runs/other"]) == 2
    assert re.search(message, capsys.readouterr().err)
    assert not (home / "runs/other").exists()
