"""`coord efficiency`: what is planned; with trainings that only leave agents: all is done once, failures are noted."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from coord.errors import UserError
from coord.evaluation import agents
from coord.evaluation.agents import hashes_of
from coord.evaluation.report import efficiency_text
from coord.run import cli, config
from populations.board import work
from populations.board.label_efficiency import LEARNERS, Report, training_facts
from populations.commands import efficiency
from populations.pool import NewMember, add_members
from tests.agent_fixtures import card, clone_like, constant_policy

GAMES = ("horizon=20", "episodes=2", "seeds=2", "threads=1")


def report(out: Path, *words: str) -> Report:
    return Report(config.load("efficiency", ["what=run", f"out={out}", *GAMES, *words]), say=lambda _: None)


class Fake:
    """Stands in for the commands that train: leaves agents at once, and a log."""

    def __init__(self) -> None:
        self.ran: list[tuple[str, dict[str, str]]] = []
        self.broken = ""  # a word that makes a training fail

    def module(self, command: str) -> Any:
        if command == "efficiency":
            return efficiency
        return SimpleNamespace(run=lambda words: self.run(command, words))

    def run(self, command: str, words: Sequence[str]) -> int:
        if self.broken and self.broken in words:
            raise UserError("broken")
        asked = dict(word.split("=", 1) for word in words)
        self.ran.append((command, asked))
        folder = Path(asked["out"])
        self.leave(folder)
        if command == "rlhf":
            self.leave(folder / "imitation")
            steps = {"reward": {"accuracy": [0.75, None]}, "policy": {"reward/kl": [0.25, 0.75]}}
            (folder / "result.json").write_text(json.dumps({"steps": steps}))
        return 0

    def leave(self, folder: Path) -> None:
        name = "-".join(folder.parts[-2:])
        add_members(folder, [NewMember(card(f"{name}{m}", seed=m), constant_policy([0.0] * 6)) for m in range(2)])
        rows = [{"step": 10, "reward/rank_correlation": 0.5}, {"step": 20, "time/elapsed_s": 90.0}]
        (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    made = Fake()
    monkeypatch.setattr(work.cli, "command_module", made.module)
    monkeypatch.setattr(agents, "load_clone", clone_like)
    return made


def test_the_plan_has_every_cell_once(tmp_path: Path) -> None:
    entries = report(tmp_path, "layouts=cramped_room").entries
    assert list(entries) == ["cramped_room"]
    names = [(one.point.part, one.point.name) for one in entries["cramped_room"]]
    assert len(set(names)) == len(names)
    # per learner an oracle, a start without labels, and 3 methods x 4 budgets; 3 of RLHF; 2 per utility
    assert len(names) == 3 * (1 + 1 + 12) + 3 + 6
    folders = {one.step.folder for one in entries["cramped_room"]}
    assert len(folders) == len(names) - 2  # twice the imitation, a step of the pipeline with the penalty


def test_every_learner_has_a_name_for_people() -> None:
    assert list(efficiency_text.LEARNERS) == list(LEARNERS)


def test_the_words_of_a_training(tmp_path: Path) -> None:
    few = ("layouts=cramped_room", "methods=mrn_released", "labels=0,200", "utilities=no_collisions")
    asked = report(tmp_path, "sac_words=total_steps=9000", *few)
    entries = {one.point.name: one for one in asked.entries["cramped_room"]}
    mrn = entries["sac-mrn_released-200"].step
    assert mrn.command == "prefer"
    words = dict(word.split("=", 1) for word in mrn.words)
    assert (words["env"], words["learner"], words["method"]) == ("overcooked", "sac", "mrn")
    assert (words["method.form"], words["labels"], words["session_labels"]) == ("released", "200", "10")
    assert words["partners"] == (tmp_path / "train/cramped_room/fcp/pool").as_posix()
    assert (words["eval_partners"], words["total_steps"], words["members"]) == ("human_proxy", "9000", "2")
    assert words["teacher.wants"] == "shaped"
    assert "teacher.wants=shaped" in entries["with_kl"].step.words
    assert "labels=0" in entries["ppo-no_labels"].step.words
    assert "method=true_reward" in entries["ppo-oracle"].step.words
    begun = entries["ppo_from_imitation-mrn_released-200"]
    whole = entries["with_kl"].step
    assert {"learner=ppo", f"init_from={whole.folder.as_posix()}/imitation"} <= set(begun.step.words)
    assert begun.before == (whole,)
    assert entries["ppo_from_imitation-no_labels"].refs == entries["imitation"].refs
    polite = entries["no_collisions-ppo-mrn_corrected-500"].step.words
    assert {"teacher.wants=utility", "teacher.utility=no_collisions", "labels=500"} <= set(polite)
    assert "kl.coef=0" in entries["without_kl"].step.words
    assert "kl.coef=0" not in entries["with_kl"].step.words
    seeds = {word for one in entries.values() for word in one.step.words if word.startswith("seed=")}
    assert len(seeds) == 1  # paired comparisons


def test_everything_is_done_once(tmp_path: Path, fake: Fake) -> None:
    words = ("layouts=cramped_room", "learners=ppo", "methods=pebble", "labels=0,50", "utilities=no_collisions")
    first = report(tmp_path, *words)
    first.run()
    first.work.check()
    assert [command for command, _ in fake.ran] == ["population", *["prefer"] * 3, *["rlhf"] * 2, *["prefer"] * 2]
    cells = {path.relative_to(tmp_path / "cells").as_posix(): path for path in (tmp_path / "cells").rglob("*.json")}
    names = ["ppo-oracle", "ppo-no_labels", "ppo-pebble-50"]
    assert {f"curves/cramped_room/{name}.json" for name in names} <= cells.keys()
    assert len(cells) == 3 + 3 + 2
    pebble = json.loads(cells["curves/cramped_room/ppo-pebble-50.json"].read_text())
    assert pebble["egos"] == hashes_of([str(tmp_path / "train/cramped_room/curves/ppo-pebble-50")])
    assert (pebble["training"]["minutes"], pebble["training"]["steps"]) == (1.5, 20)
    assert pebble["training"]["rank_correlation"] == 0.5
    assert str(tmp_path) not in pebble["training"]["command"]
    kl = {name: json.loads(cells[f"rlhf/cramped_room/{name}.json"].read_text()) for name in ("imitation", "with_kl")}
    assert (kl["imitation"]["training"]["kl"], kl["with_kl"]["training"]["kl"]) == (None, 0.5)
    assert kl["with_kl"]["training"]["accuracy"] == 0.75
    stamps = {path: path.stat().st_mtime_ns for path in cells.values()}
    fake.ran.clear()
    report(tmp_path, *words).run()
    assert not fake.ran
    assert {path: path.stat().st_mtime_ns for path in cells.values()} == stamps


def test_imitation_comes_before_what_begins_with_it(tmp_path: Path, fake: Fake) -> None:
    words = ("learners=ppo_from_imitation", "methods=pebble", "labels=0,50", "parts=curves", "pool=bc_train")
    report(tmp_path, "layouts=cramped_room", *words).run()
    assert [command for command, _ in fake.ran] == ["rlhf", "prefer", "prefer"]
    curves = tmp_path / "cells/curves/cramped_room"
    start = json.loads((curves / "ppo_from_imitation-no_labels.json").read_text())
    assert (start["labels"], start["learner"], start["training"]["kl"]) == (0, "ppo_from_imitation", None)
    assert start["egos"] == hashes_of([str(tmp_path / "train/cramped_room/rlhf/with_kl/imitation")])


def test_what_fails_is_noted_and_the_rest_goes_on(tmp_path: Path, fake: Fake) -> None:
    fake.broken = "method=true_reward"
    words = ("layouts=cramped_room", "learners=ppo", "methods=pebble", "labels=50", "parts=curves")
    some = report(tmp_path, *words)
    some.run()
    assert [command for command, _ in fake.ran] == ["population", "prefer"]
    with pytest.raises(UserError, match="all else is done, but ppo-oracle on cramped_room: broken"):
        some.work.check()
    fake.broken = "method=fcp"
    alone = report(tmp_path / "other", *words)
    alone.run()
    assert len(alone.work.failures) == 1  # nobody trains without partners


def test_command_line(tmp_path: Path, fake: Fake, capsys: pytest.CaptureFixture[str]) -> None:
    words = [f"out={tmp_path}", *GAMES, "layouts=cramped_room", "learners=ppo", "methods=pebble", "labels=0,50"]
    assert cli.main(["efficiency", "run", *words, "parts=curves", "pool=bc_train"]) == 0
    assert "share: of the true reward's" in capsys.readouterr().out
    assert [command for command, _ in fake.ran] == ["prefer"] * 3
    assert cli.main(["efficiency", "plot", f"out={tmp_path}"]) == 0
    assert (tmp_path / "efficiency.html").exists()


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("methods=pebbel", "pebble"),
        ("learners=dqn", "unknown learner"),
        ("parts=curve", "curves"),
        ("utilities=tidy", "tidy_counters"),
        ("wants=shape", "did you mean 'shaped'"),
        ("layouts=bottleneck", "human games"),
        ("labels=-1", r"labels\[0\]=-1: must be at least 0"),
        ("seeds=0", "seeds=0"),
        ("layouts=cramped_room,ppo_words=totl_steps=3,parts=curves,learners=ppo,labels=50", "total_steps"),
    ],
)
def test_bad_input_is_refused(tmp_path: Path, word: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        report(tmp_path / "out", *word.split(","))
    assert not (tmp_path / "out").exists()


def test_facts_of_a_run_without_a_log(tmp_path: Path) -> None:
    few = ("layouts=cramped_room", "parts=curves", "learners=ppo", "methods=pebble", "labels=0")
    step = report(tmp_path, *few).entries["cramped_room"][0].step
    assert training_facts(step) == {"minutes": 0, "steps": 0, "command": step.text, "rank_correlation": None}
