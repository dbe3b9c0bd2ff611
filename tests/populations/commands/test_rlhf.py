"""`coord rlhf` from nothing to scored agents, on made-up human games: each step is done once, killed ones go on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from coord.agents.files import read_agent
from coord.algos import bc
from coord.evaluation import agents
from coord.evaluation.agents import files_of, hashes_of, load_agents
from coord.overcooked import OvercookedVectorEnv
from coord.overcooked.human_data import HumanGame
from coord.preference.labels.store import LabelStore
from coord.run import cli
from coord.run.logger import Logger
from populations.commands import rlhf
from tests.agent_fixtures import clone_like

SMALL = (
    "members=2",
    "horizon=40",
    "labels=8",
    "session_labels=4",
    "query.length=10",
    "reward.hidden=[16]",
    "reward.train_amount=3",
    "imitation.epochs=2",
    "algo.num_envs=4",
    "algo.rollout_len=20",
    "algo.total_steps=320",
    "value_updates=1",
    "episodes=2",
    "threads=1",
)


def made_up_games(split: str, layout: str) -> list[HumanGame]:
    """Four games of random actions; the test half does not exist."""
    assert split == "train", "the held-out half was read"
    return [_game(layout, number) for number in range(4)]


def _game(layout: str, number: int) -> HumanGame:
    acts = np.random.default_rng(number).integers(0, 6, (40, 2)).astype(np.int8)
    env = OvercookedVectorEnv(layout, 1)
    states, rew = [env.state_dict(0)], np.zeros(len(acts), np.float32)
    for t, act in enumerate(acts):
        rew[t] = env.step(act[None].astype(np.int64)).rew[0]
        states.append(env.state_dict(0))
    return HumanGame("train", layout, f"pair/{number}", states, acts, rew)


@pytest.fixture(autouse=True, scope="module")
def no_people() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(agents, "load_clone", clone_like)
        patch.setattr(bc, "load_games", made_up_games)
        yield


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("rlhf") / "run"
    assert cli.main(["rlhf", f"out={out}", *SMALL]) == 0
    return out


def tensors(folder: Path) -> list[dict[str, torch.Tensor]]:
    return [dict(read_agent(path).net.tensors()) for path in files_of(str(folder))]


def test_every_step_is_scored_with_the_proxy(finished: Path) -> None:
    result = json.loads((finished / rlhf.RESULT_FILE).read_text())
    assert list(result["steps"]) == list(rlhf.STEPS)
    assert result["proxies"] == ["human_proxy"]
    for name in ("imitation", "policy"):
        score = json.loads((finished / name / rlhf.SCORE_FILE).read_text())
        assert {(row["partner"], row["ego_seat"]) for row in score["rows"]} == {("human_proxy", 0), ("human_proxy", 1)}
        assert len(score["rows"]) == 4  # two members
        low, high = result["steps"][name]["summary"]["ci95"]
        assert low <= result["steps"][name]["summary"]["mean_return"] <= high
    assert len(result["steps"]["reward"]["accuracy"]) == 2
    assert result["steps"]["reward"]["labels"] == [8, 8]
    assert result["steps"]["policy"]["reward/kl"] != [0.0, 0.0]


def test_agents_play_like_any_other_and_say_where_they_come_from(finished: Path) -> None:
    players = load_agents([str(finished), str(finished / "imitation")], "cramped_room", "classic")
    assert [one.agent_id for one in players] == ["rlhf0-0", "rlhf0-1", "imitation0-0", "imitation0-1"]
    card = read_agent(files_of(str(finished))[1]).card
    assert (card.method, card.member, card.human_data, card.env_steps) == ("rlhf", 1, "train", 320)
    assert card.extra["trained_with"] == hashes_of(["bc_train"])
    assert (card.extra["labels"], card.extra["teacher"]) == (8, "oracle")
    assert isinstance(card.extra["reward/kl"], float)
    assert LabelStore(finished / "reward" / "labels.sqlite", create=False).counts("run", 0).asked == 8


def test_nothing_is_done_twice(finished: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*.safetensors")}
    assert cli.main(["rlhf", f"resume={finished}"]) == 0
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("*.safetensors")} == before


@pytest.mark.parametrize(("step", "row"), [("imitation", 1), ("reward", 1), ("policy", 2)])
def test_a_killed_step_goes_on_bit_for_bit(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, row: int
) -> None:
    log, seen = Logger.log, []

    def killing(self: Logger, metrics: dict[str, float], at: int) -> None:
        log(self, metrics, at)
        if self._path.parent.name == step:
            seen.append(at)
            if len(seen) == row + 1:  # its checkpoint is that of the row before
                raise MemoryError

    monkeypatch.setattr(Logger, "log", killing)
    out = tmp_path / "run"
    with pytest.raises(MemoryError):
        cli.dispatch(["rlhf", f"out={out}", "save_every_s=0", *SMALL])
    assert not (out / step / rlhf.SCORE_FILE).exists()
    monkeypatch.setattr(Logger, "log", log)
    assert cli.main(["rlhf", f"resume={out}"]) == 0
    for whole, resumed in zip(tensors(finished), tensors(out), strict=True):
        assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_without_a_penalty_beta_stays_zero(tmp_path: Path) -> None:
    assert cli.main(["rlhf", f"out={tmp_path / 'run'}", *SMALL, "kl.coef=0", "members=1"]) == 0
    rows = [json.loads(line) for line in (tmp_path / "run/policy/metrics.jsonl").read_text().splitlines()]
    assert [row["reward/kl_coef"] for row in rows] == [0.0] * 4
    assert rows[0]["reward/kl"] == 0.0  # the first rollout is pi_0's own
    assert rows[-1]["reward/kl"] > 0.0


def refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert cli.main(["rlhf", *words]) == 2
    return capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["partners=human_proxy"], "evaluation only"),
        (["proxies=bc_train"], "nobody is scored with the partners it learns with"),
        (["layout=bottleneck"], "human games exist for"),
        (["labels=20"], "less than one session"),
        (["refresh_labels=480"], "less than one session"),
        (["algo.network=cnn"], "mlp_index"),
        (["rules=overcooked-ai"], "classic"),
        (["horizon=50"], "does not fit horizon=50"),
        (["kl.target=0"], "target=0"),
    ],
)
def test_bad_input_is_refused_before_anything_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    out = tmp_path / "run"
    assert said in refused([f"out={out}", "threads=1", *words], capsys)
    assert not out.exists()


def test_refreshing_asks_in_the_third_step(tmp_path: Path) -> None:
    out = tmp_path / "run"
    words = ["refresh_labels=4", "refresh_every=160", "members=1"]
    assert cli.main(["rlhf", f"out={out}", *SMALL, *words]) == 0
    scores = [json.loads((out / step / rlhf.SCORE_FILE).read_text()) for step in ("reward", "policy")]
    assert [score["labels"] for score in scores] == [[4], [8]]
