"""`coord scoreboard` from nothing to a page, with trainings of two updates."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from coord.agents import files as agent_files
from coord.evaluation import agents
from coord.evaluation.agents import files_of, hashes_of
from coord.run import cli, logger
from populations import pool
from populations.pool import NewMember
from tests.agent_fixtures import card, clone_like, constant_policy

TINY = "algo.total_steps=800,algo.num_envs=8,algo.rollout_len=50"
GAMES = ("seeds=2", "episodes=2", "pair_episodes=1", "horizon=50", "threads=1", "references=stay")
WORDS = (f"pool_words={TINY},members=2", f"ego_words={TINY}", "layouts=cramped_room", *GAMES)


@pytest.fixture(autouse=True, scope="module")
def no_cloning() -> Iterator[None]:
    """The human proxy without training it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(agents, "load_clone", clone_like)
        yield


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scoreboard of two methods."""
    out = tmp_path_factory.mktemp("finished") / "board"
    assert cli.main(["scoreboard", "run", f"out={out}", "methods=sp,fcp", *WORDS]) == 0
    return out


@pytest.fixture
def board(finished: Path, tmp_path: Path) -> Path:
    """A copy of it, at another place."""
    shutil.copytree(finished, tmp_path / "board")
    return tmp_path / "board"


def stamps(out: Path) -> dict[str, int]:
    files = [*out.rglob("*.json"), *out.rglob("*.safetensors")]
    return {str(path.relative_to(out)): path.stat().st_mtime_ns for path in files if path.name != "manifest.json"}


def cell(out: Path, name: str) -> dict[str, Any]:
    return json.loads((out / "cells" / f"{name}.json").read_text())


def refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line of a command that ends with exit code 2."""
    capsys.readouterr()
    assert cli.main(["scoreboard", *words]) == 2
    return capsys.readouterr().err.splitlines()[-1]


def test_every_cell_says_who_played_and_what_it_cost(finished: Path) -> None:
    played = {str(path.relative_to(finished / "cells")) for path in (finished / "cells").rglob("*.json")}
    across = {f"C/cramped_room/{pair}.json" for pair in ("fcp--fcp", "fcp--sp", "sp--sp")}
    assert played == {"A/cramped_room/sp.json", "A/cramped_room/fcp.json", "A/cramped_room/stay.json"} | across
    fcp = cell(finished, "A/cramped_room/fcp")
    assert fcp["egos"] == hashes_of([str(finished / "train/cramped_room/fcp/egos")])
    assert len(fcp["egos"]) == 2
    runs = fcp["training"]["runs"]
    assert [(run["role"], run["env_steps"], run["learners"]) for run in runs] == [("pool", 1600, 2), ("egos", 1600, 2)]
    assert all(run["minutes"] > 0 for run in runs)
    assert runs[0]["command"].startswith("coord population method=fcp layout=cramped_room")
    assert not fcp["human_data"]
    assert cell(finished, "A/cramped_room/stay")["training"]["runs"] == []


def test_egos_carry_the_hashes_of_their_partners(finished: Path) -> None:
    home = finished / "train" / "cramped_room"
    partners = hashes_of([str(home / "fcp" / "pool")])
    egos = [agent_files.read_agent(path).card for path in files_of(str(home / "fcp" / "egos"))]
    assert len(partners) == 6
    assert [one.extra["trained_with"] for one in egos] == [partners, partners]
    alone = agent_files.read_agent(files_of(str(home / "sp" / "egos"))[0]).card
    assert "trained_with" not in alone.extra


def test_nothing_is_done_twice_and_a_new_method_plays_its_own_cells_only(board: Path) -> None:
    before = stamps(board)
    assert cli.main(["scoreboard", "run", f"out={board}", "methods=fcp,sp", *WORDS]) == 0
    assert stamps(board) == before
    assert cli.main(["scoreboard", "run", f"out={board}", "methods=sp,fcp,pbt", *WORDS]) == 0
    after = stamps(board)
    assert {name: after[name] for name in before} == before
    new = {name for name in after if name.startswith("cells") and name not in before}
    pairs = {f"cells/C/cramped_room/{pair}.json" for pair in ("fcp--pbt", "pbt--pbt", "pbt--sp")}
    assert new == {"cells/A/cramped_room/pbt.json"} | pairs
    refs = [f"{board}/train/cramped_room/pbt/pool{number}" for number in (0, 1)]
    best = cell(board, "A/cramped_room/pbt")["egos"]
    assert [one in hashes_of([ref]) for one, ref in zip(best, refs, strict=True)] == [True, True]


def test_an_interrupted_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["scoreboard", "run", f"out={tmp_path}", "methods=sp", "protocols=C", *WORDS]
    log = logger.Logger.log

    def press_ctrl_c(self: logger.Logger, metrics: dict[str, float], step: int) -> None:
        log(self, metrics, step)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(logger.Logger, "log", press_ctrl_c)
    assert cli.main(words) == 130
    egos = tmp_path / "train" / "cramped_room" / "sp" / "egos"
    assert (egos / "ckpt" / "state.safetensors").exists()
    assert not files_of(str(egos))
    monkeypatch.setattr(logger.Logger, "log", log)
    assert cli.main(words) == 0
    assert [row["step"] for row in logger.read_metrics(egos / "metrics.jsonl")] == [400, 800]
    assert cell(tmp_path, "C/cramped_room/sp--sp")["gap"] is not None


def test_what_an_ego_trained_with_is_not_scored_with_it(board: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["run", f"out={board}", "methods=fcp", "protocols=B", f"bp={board}/train/cramped_room/fcp/pool"]
    line = refused([*words, *WORDS], capsys)
    assert "B: fcp on cramped_room" in line
    assert "was trained with a partner of this evaluation" in line
    assert not (board / "cells" / "B").exists()


def test_the_human_proxy_is_refused_in_training(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train", "partners=human_proxy", "layout=cramped_room"]) == 2
    assert "human_proxy is for evaluation only" in capsys.readouterr().err


def test_preferring_partners_and_an_entry_of_ones_own(board: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rival = NewMember(card("p", extra={"best_returns": [40.0, 40.0]}), constant_policy([0.0] * 6))
    pool.add_members(board / "bp" / "cramped_room", [rival])
    pool.add_members(board / "mine", [NewMember(card("m", human_data="train"), constant_policy([0.0] * 6))])
    words = [
        "run",
        f"out={board}",
        "methods=sp",
        "protocols=A,B",
        f"bp={board}/bp/{{layout}}",
        f"extra=mine={board}/mine",
    ]
    assert cli.main(["scoreboard", *words, *WORDS]) == 0
    text = capsys.readouterr().out
    assert "BR-Prox" in text
    assert cell(board, "B/cramped_room/mine")["br_prox"] == 0
    assert cell(board, "A/cramped_room/mine")["human_data"]


def test_protocol_b_makes_its_partners_and_later_methods_meet_them(tmp_path: Path) -> None:
    easy = "members=2,method.candidates=4,method.min_return=-1,method.episodes=2"
    words = ["scoreboard", "run", f"out={tmp_path}", *WORDS, f"pool_words={TINY},{easy}"]
    words += ["layouts=cramped_room,coordination_ring"]
    assert cli.main([*words, "methods=sp", "protocols=B"]) == 0
    played = cell(tmp_path, "B/coordination_ring/sp")
    assert len(played["partners"]) == 4  # two kept, each as it is and from the middle of its training
    assert sorted(played["best_returns"]) == sorted({row["partner"] for row in played["rows"]})
    assert not (tmp_path / "train" / "cramped_room").exists()
    before = stamps(tmp_path)
    assert cli.main([*words, "methods=cole", "layouts=coordination_ring"]) == 0
    assert {name: stamps(tmp_path)[name] for name in before} == before
    assert (tmp_path / "cells/B/coordination_ring/cole.json").exists()


def test_one_failure_stops_nobody_else(board: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["run", f"out={board}", "methods=sp,pbt", "extra=gone=runs/nowhere"]
    line = refused([*words, *WORDS, "seeds=2"], capsys)
    assert "gone on cramped_room" in line
    assert "no agent at 'runs/nowhere'" in line
    assert (board / "cells/C/cramped_room/pbt--sp.json").exists()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["methods=fpc"], "did you mean 'fcp'"),
        (["layouts=cramped_rom"], "did you mean 'cramped_room'"),
        (["layouts=generated:7", "protocols=C"], "takes layouts by name"),
        (["references=greedi"], "did you mean 'greedy'"),
        (["protocols=D"], "allowed: A, B, C"),
        (["protocols=B", "layouts=cramped_room"], "say bp=<folder>"),
        (["protocols=A", "layouts=bottleneck"], "needs human games"),
        (["protocols=B", "bp=runs/nowhere"], "is not a pool"),
        (["protocols=B", "bp=runs/nowhere/{layout}"], "no pool of behaviour-preferring partners for cramped_room"),
        (["extra=mine"], "expected name=path"),
        (["extra=sp=runs/sp"], "taken"),
        (["seeds=0"], "at least 1"),
        (["methods=sp", "ego_words=algo.lrr=1"], "algo.lr"),
        (["methods=belief", "preset=published"], "unknown method with preset=published 'belief'"),
    ],
)
def test_bad_input_is_one_line_before_anything_is_done(
    words: list[str], expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert expected in refused(["run", f"out={tmp_path / 'new'}", *words], capsys)
    assert not (tmp_path / "new").exists()


def test_another_budget_in_the_same_folder_is_refused(board: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = refused(["run", f"out={board}", "methods=fcp", *WORDS, "seeds=3"], capsys)
    assert "fcp/egos was made with members=2, not 3: give another out=" in line


def test_table_and_plot(board: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "nothing was played" in refused(["table", f"out={board / 'train'}"], capsys)
    assert cli.main(["scoreboard", "table", f"out={board}", "variant=no_stay"]) == 0
    assert "Protocol A, human proxy, no_stay" in capsys.readouterr().out
    readme = board / "README.md"
    readme.write_text("before\n<!-- scoreboard:begin -->\n<!-- scoreboard:end -->\nafter\n")
    assert cli.main(["scoreboard", "plot", f"out={board}", f"readme={readme}"]) == 0
    assert "| `fcp` |" in readme.read_text()
    assert "coord scoreboard run" in (board / "scoreboard.html").read_text()
