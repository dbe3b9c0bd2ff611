"""The JSON of `coord evaluate`, from made-up games and through the command."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from coord.agents.players import StayAgent
from coord.errors import UserError
from coord.evaluation import agents, scores
from coord.evaluation.matches import Games, MatchRules
from coord.evaluation.scores import ScoreRequest, score, summarise, unique_names
from coord.overcooked import EVENTS, load_layout
from coord.run.cli import main
from populations.pool import add_members
from tests.agent_fixtures import clone_like, index_member, member

WHERE = MatchRules(layout=load_layout("cramped_room"), horizon=50)
DELIVERY = EVENTS.index("delivery")


def test_rows_put_the_ego_first_whatever_its_seat(monkeypatch: pytest.MonkeyPatch) -> None:
    events = np.zeros((2, 2, 2, len(EVENTS)), np.int32)
    events[:, :, 0, DELIVERY], events[:, :, 1, DELIVERY] = 7, 1  # seat 0 delivers, whoever sits there
    games = Games(np.array([[20, 40], [0, 20]], np.float32), events, np.zeros((2, 2, 4), np.float32))
    monkeypatch.setattr(scores, "play_matches", lambda *_, **__: games)
    result = score([StayAgent()], [StayAgent()], ScoreRequest(where=WHERE, episodes=2))
    assert [row["ego_seat"] for row in result["rows"]] == [0, 1]
    assert [row["events"]["delivery"] for row in result["rows"]] == [
        {"ego": 7.0, "partner": 1.0},
        {"ego": 1.0, "partner": 7.0},
    ]
    assert [row["mean_return"] for row in result["rows"]] == [30.0, 10.0]
    assert result["rows"][0]["event_se"]["delivery"] == {"ego": 0.0, "partner": 0.0}
    assert result["summary"]["mean_return"] == 20.0
    assert result["summary"]["iqm"] == 20.0  # of 0, 20, 20, 40 the middle two


def test_summary_by_hand() -> None:
    returns = np.array([[0.0, 0.0], [100.0, 100.0], [20.0, 20.0], [60.0, 60.0]], np.float32)
    found = summarise(returns)
    assert found["mean_return"] == 45.0
    assert found["iqm"] == 40.0  # 0 0 | 20 20 60 60 | 100 100
    assert found["ci95"] == [45.0, 45.0]  # strata without spread
    assert found["episodes"] == 8


def test_repeated_names_are_told_apart() -> None:
    assert unique_names(["a", "b", "a", "a"]) == ["a", "b", "a (2)", "a (3)"]


def test_no_partners_is_refused() -> None:
    with pytest.raises(UserError, match="partners="):
        score([StayAgent()], [], ScoreRequest(where=WHERE, episodes=1))


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    add_members(tmp_path / "pool", [member("a", 1), index_member("i", 2)])
    return tmp_path / "pool"


def evaluate(out: Path, *words: str) -> dict:
    words = ("horizon=40", "episodes=3", f"out={out}", *words)
    assert main(["evaluate", *words]) == 0
    return json.loads(out.read_text())


def test_command_writes_the_schema(pool: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = evaluate(tmp_path / "score.json", f"ego={pool}#a", f"partners={pool},random,stay")
    assert result["schema"] == 1
    assert (result["layout"], result["rules"], result["horizon"]) == ("cramped_room", "classic", 40)
    pairs = [(row["ego"], row["partner"], row["ego_seat"]) for row in result["rows"]]
    assert pairs == [("a", partner, seat) for partner in ("a", "i", "random", "stay") for seat in (0, 1)]
    for row in result["rows"]:
        assert {"ego", "partner", "ego_seat", "episodes", "mean_return", "ci95", "events"} <= row.keys()
        assert row["episodes"] == 3 == len(row["returns"])
        assert row["ci95"][0] <= row["mean_return"] <= row["ci95"][1]
        assert row["events"].keys() == set(EVENTS)
        assert row["events"]["stay"]["partner"] == (
            40 if row["partner"] == "stay" else row["events"]["stay"]["partner"]
        )
    assert {"mean_return", "ci95", "iqm", "iqm_ci95"} <= result["summary"].keys()
    assert all(math.isfinite(value) for value in result["summary"]["iqm_ci95"])
    assert result["provenance"]["config"]["partners"][1:] == ["random", "stay"]
    assert "interquartile mean" in capsys.readouterr().out


def test_command_is_repeatable_and_argmax_ignores_the_seed(pool: Path, tmp_path: Path) -> None:
    words = [f"ego={pool}#a", f"partners={pool}#i"]
    rows = [evaluate(tmp_path / f"{k}.json", *words, f"seed={seed}")["rows"] for k, seed in enumerate((1, 1, 2))]
    assert rows[0] == rows[1] != rows[2]
    greedy = [
        evaluate(tmp_path / f"{k}.json", *words, f"seed={seed}", "stochastic=false")["rows"]
        for k, seed in enumerate((1, 2))
    ]
    assert [row["events"] for row in greedy[0]] == [row["events"] for row in greedy[1]]
    assert all(set(row["event_se"]["movement"].values()) == {0.0} for row in greedy[0])


def test_command_passes_options_on(pool: Path, tmp_path: Path) -> None:
    words = [f"ego={pool}#a", f"partners={pool}#i"]
    result = evaluate(tmp_path / "s.json", *words, "drop_stay=true", "mask_useless_actions=true")
    assert result["drop_stay"] is True
    assert result["mask_useless_actions"] is True
    assert all(set(row["events"]["stay"].values()) == {0.0} for row in result["rows"])
    assert all(set(row["events"]["idle_interact_empty"].values()) == {0.0} for row in result["rows"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["partners=stay"], "give ego="),
        (["ego=stay"], "no partners"),
        (["ego=stay", "partners=stay", "episodes=0"], "episodes=0: must be at least 1"),
        (["ego=stai", "partners=stay"], "did you mean 'stay'"),
        (["ego=stay", "partners=stay", "layout=cramped_rom"], "did you mean 'cramped_room'"),
        (["ego=human_proxy", "partners=stay", "layout=large_room"], "human games exist for"),
        (["ego=bc_train", "partners=stay", "rules=overcooked-ai"], "rules=classic"),
    ],
)
def test_command_refuses_bad_input_in_one_line(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:

    monkeypatch.setattr(agents, "load_clone", clone_like)
    assert main(["evaluate", *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_unwritable_out_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    words = ["ego=stay", "partners=stay", "horizon=5", "episodes=1", f"out={tmp_path / 'file' / 'x.json'}"]
    assert main(["evaluate", *words]) == 2
    assert "cannot write" in capsys.readouterr().err
