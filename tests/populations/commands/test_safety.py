"""`coord safety`: its table by hand, what an arm is told, what it leaves behind and takes up again, what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from coord.run import cli
from coord.run.config import load
from coord.studies import direct_policy, safety_study
from populations.commands import safety

TINY = "words=[total_steps=230,labels=10,log_every=115]"


def test_figures_of_an_arm_are_those_of_its_members() -> None:
    rows = [
        {"step": 5, "rollout/violations": 1.5, "rollout/violations/0": 1.0, "rollout/violations/1": 2.0},
        {"step": 9, "rollout/violations": 3.0, "rollout/violations/0": 2.0, "rollout/violations/1": 4.0}
        | {f"{key}/{m}": value for key, values in (("reward/labels", (8, 9)), ("eval/return", (-3, 7)))
           for m, value in enumerate(values)}
        | {"reward/labels": 8.5, "eval/return": 2.0},
    ]  # fmt: skip
    arm = safety_study.reward_arm(rows, 2)
    assert (arm["violations"], arm["labels"], arm["return"]) == ([2.0, 4.0], [8.0, 9.0], [-3.0, 7.0])
    assert (arm["steps"], arm["curves"]) == ([5, 9], [[1.0, 2.0], [2.0, 4.0]])
    lone = safety_study.reward_arm([{"step": 9, "rollout/violations": 3, "reward/labels": 8, "eval/return": 1}], 1)
    assert (lone["violations"], lone["labels"], lone["return"]) == ([3.0], [8.0], [1.0])


def test_arms_are_compared_seed_by_seed() -> None:
    """Violations 10, 20, 30 without warnings, 8, 18, 28 with: two less on every seed, however much seeds differ."""
    base = {"kind": "reward", "violations": [10.0, 20.0, 30.0], "labels": [5.0] * 3, "return": [1.0] * 3}
    arm = base | {"violations": [8.0, 18.0, 28.0]}
    assert safety_study.saved(arm, base) == (-2.0, -2.0, -2.0)
    text = safety_study.table({"task": "island", "hazards": ["drowned"], "arms": {"plain": base, "full": arm}})
    lines = text.splitlines()
    assert lines[0] == "island, violations: drowned"
    assert "20.00 (10.00 .. 30.00)" in lines[2]
    assert "18.00 (8.00 .. 28.00)" in lines[3]
    assert "-2.00 (-2.00 .. -2.00)" in lines[3]
    assert "-2.00" not in lines[2]


def test_what_an_arm_is_told(tmp_path: Path) -> None:
    cfg = load("safety", ["task=overcooked", "layout=cramped_room", "partners=a,b", "words=[horizon=50]"])
    words = safety.prefer_words(cfg, "gated", tmp_path)
    assert {"env=overcooked", "layout=cramped_room", "partners=[a,b]", "horizon=50", "safety.gate=0.95"} <= set(words)
    assert "safety.hazards=[collision,discarded_dish]" in words
    made = load("prefer", words)
    assert made.safety.hazards == ("collision", "discarded_dish")
    assert (made.safety.gate, made.safety.flags, made.members) == (0.95, "implied", 5)
    assert safety.arms_of(cfg) == list(safety.REWARD_ARMS)
    everything = safety.arms_of(load("safety", []))
    assert everything == [*safety.REWARD_ARMS, *direct_policy.VARIANTS]
    assert set(safety_study.BASE.values()) <= set(everything)


def test_from_nothing_to_a_figure_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = []

    def fake(variant: str, seed: int) -> direct_policy.VariantOutcome:
        runs.append(variant)
        return direct_policy.VariantOutcome(1, 5, 2, 3, 40, 2, 42.0, True)

    monkeypatch.setattr(direct_policy, "run", fake)
    monkeypatch.chdir(tmp_path)
    command = ["safety", "arms=plain,full,parenting", "seeds=2", "direct_seeds=3", TINY, "out=study"]
    assert cli.main(command) == 0
    found = json.loads((tmp_path / "study/safety.json").read_text())
    assert list(found["arms"]) == ["plain", "full", "parenting"]
    assert found["arms"]["parenting"]["labels"] == [10.0] * 3
    for name in ("plain", "full"):
        arm = found["arms"][name]
        assert arm["labels"] == [10.0, 10.0]
        assert len(arm["violations"]) == 2
        assert min(arm["violations"]) > 0  # random steps drown
    assert (tmp_path / "study/safety.png").stat().st_size > 10_000
    assert "full" in capsys.readouterr().out
    before = (tmp_path / "study/full/metrics.jsonl").stat().st_mtime_ns
    assert cli.main(command) == 0  # nothing is trained again
    assert runs == ["parenting"] * 3
    assert (tmp_path / "study/full/metrics.jsonl").stat().st_mtime_ns == before
    again = json.loads((tmp_path / "study/safety.json").read_text())
    assert again["arms"] == found["arms"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["task=islnd"], "unknown task 'islnd'; did you mean 'island'?"),
        (["arms=ful"], "did you mean 'full'"),
        (["task=overcooked", "arms=parenting"], "unknown arm of task=overcooked 'parenting'"),
        (["seeds=0"], "seeds=0: must be at least 1"),
        (["arms=plain", "hazards=drowning"], "unknown hazard 'drowning'; did you mean 'drowned'?"),
        (["arms=plain", "words=[labels=x]"], "labels"),
    ],
)
def test_what_it_refuses(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["safety", *words]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
