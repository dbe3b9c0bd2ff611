"""The plan of a scoreboard: every training once, with what it costs; and the time the rest takes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from coord.run import config
from coord.run.cli import main
from populations.board import plan
from populations.board.recipes import POOL_BUDGETS, pool_words
from populations.board.runner import BenchmarkRunner


def runner(out: Path, *words: str) -> BenchmarkRunner:
    asked = ["what=plan", f"out={out}", "references=[]", "layouts=cramped_room", *words]
    return BenchmarkRunner(config.load("scoreboard", asked))


def finish(cost: plan.Cost, seconds: float) -> None:
    """The files of a training that is done."""
    folder = cost.step.folder
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(config.to_yaml(config.load(cost.step.command, cost.step.words)))
    each = cost.steps // cost.learners
    row = {"step": each, "time/elapsed_s": seconds} | {f"rollout/return/{m}": 0.0 for m in range(cost.learners)}
    (folder / "metrics.jsonl").write_text(json.dumps(row) + "\n")
    cost.step.result.touch()


def test_each_training_counts_once(tmp_path: Path) -> None:
    found = plan.costs(runner(tmp_path, "methods=sp,mep,pecan,hsp"))
    assert [("/".join(one.step.folder.parts[-2:]), one.who, one.learners, one.steps) for one in found] == [
        ("sp/egos", "sp", 3, 6_000_000),
        ("mep/pool", "mep", 5, 6_000_000),
        ("mep/egos", "mep", 3, 9_000_000),
        ("pecan/egos", "pecan", 3, 9_000_000),  # and MEP's pool again
        ("hsp/pool", "hsp", 32, 38_400_000),  # 16 candidates, each beside its best response
        ("hsp/egos", "hsp", 3, 9_000_000),
    ]


def test_the_plan_says_what_is_missing_and_how_long_that_takes(tmp_path: Path) -> None:
    asked = runner(tmp_path, "methods=sp,fcp")
    text = plan.text(asked)
    assert text.endswith(
        "3 trainings, 22 M environment steps of all learners; missing: 3, 22 M environment steps of all learners"
    )
    finish(plan.costs(asked)[0], 100.0)  # 6 M steps in 100 s: the other 16.2 M take 270 s
    text = plan.text(asked)
    assert "missing: 2, 16 M" in text
    assert "(60 k steps/s): 4:30, games not counted" in text
    assert [line.endswith("done") for line in text.splitlines()[:4]] == [False, True, False, False]


def test_protocol_a_of_the_published_methods_fits_two_cores(tmp_path: Path) -> None:
    """Eight methods, five layouts, three seeds: two hours at 40 k steps/s and core; ours, with HSP's pools, one."""

    def hours(methods: str) -> float:
        words = config.load("scoreboard", ["what=plan", f"methods={methods}", f"out={tmp_path}"])
        return sum(one.steps for one in plan.costs(BenchmarkRunner(words))) / (2 * 40_000) / 3600

    published = "sp,pbt,fcp,trajedi,mep,pecan,ppo_bc,e3t"
    assert hours(published) <= 2
    assert hours(f"{published},belief") <= 3


def test_partners_to_evaluate_with_keep_their_budget() -> None:
    assert set(POOL_BUDGETS[""]) <= set(pool_words("mep", "cramped_room"))
    assert not any("total_steps" in word for word in pool_words("bp", "coordination_ring"))
    assert pool_words("pbt", "counter_circuit_o_1order")[0] == "members=3"


def test_a_plan_for_what_is_no_folder_is_refused_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    for out in ("/dev/null", str(tmp_path / "file")):
        assert main(["scoreboard", "plan", f"out={out}"]) == 2
        assert f"cannot write {out}: Not a directory" in capsys.readouterr().err
