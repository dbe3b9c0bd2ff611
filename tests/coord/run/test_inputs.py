"""What a run is made from is kept, and it goes on with nothing else."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from coord.agents.files import read_agent, save_agent
from coord.run import cli
from coord.run.inputs import INPUTS_FILE
from coord.threads import one_thread
from populations.pool import add_members
from tests.agent_fixtures import card, index_member, network
from tests.contracts.test_exit_codes import refused_here

SMALL = ("algo.num_envs=2", "algo.rollout_len=8", "horizon=20", "threads=1", "algo.total_steps=16")
GRID = "XXPXX\nO1 2O\nX   X\nXDXSX\n"


def write_pool(*seeds: int) -> None:
    """Untrained partners p0, p1, ...; on one thread, which a file tells: the same seed gives the same file."""
    with one_thread():
        add_members("pool", [index_member(f"p{n}", seed, "k.layout") for n, seed in enumerate(seeds)])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a kitchen, a pool for it, and an ego that has not been written yet."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        Path("k.layout").write_text(GRID)
        write_pool(1, 2)
        assert cli.main(["train", "layout=k.layout", "partners=pool", *SMALL, "out=run"]) == 0
        Path("run/agent.safetensors").unlink()
    return folder


@pytest.fixture
def place(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it to work in."""
    shutil.copytree(made, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def another_kitchen() -> None:
    Path("k.layout").write_text(GRID.replace("X   X", "X  PX"))
    shutil.rmtree("pool")
    write_pool(1, 2)


def another_partner() -> None:
    shutil.rmtree("pool")
    write_pool(1, 3)


def one_more_partner() -> None:
    add_members("pool", [index_member("p2", 1, "k.layout")])


def edited_config() -> None:
    path = Path("run/config.yaml")
    path.write_text(path.read_text().replace("gamma: 0.99", "gamma: 0.5"))


def damaged() -> None:
    Path("run", INPUTS_FILE).write_text("[")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (another_kitchen, "layout=k.layout: this changed since run began"),
        (another_partner, "partners=pool: 'p1' changed since run began"),
        (one_more_partner, "partners=pool: there were 2 and now are 3 since run began"),
        (edited_config, "run/config.yaml was changed: algo.gamma=0.5, but the run began with 0.99"),
        (damaged, "run/inputs.json is damaged"),
    ],
)
def test_another_input_is_refused(
    change: Callable[[], None], message: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change()
    assert message in refused_here(["train", "resume=run"], capsys)
    assert not Path("run/agent.safetensors").exists()


def test_the_same_inputs_go_on_and_a_name_may_be_mended(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "agent id 'a/b0' (name=a/b seed=0)" in refused_here(["train", "resume=run", "name=a/b"], capsys)
    assert cli.main(["train", "resume=run", "name=mended"]) == 0
    assert read_agent("run/agent.safetensors").card.agent_id == "mended0"
    assert "name: mended\n" in Path("run/config.yaml").read_text()


def test_a_run_from_before_inputs_were_kept_goes_on_aloud(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept = Path("run", INPUTS_FILE).read_text()
    Path("run", INPUTS_FILE).unlink()
    assert cli.main(["train", "resume=run"]) == 0
    assert "inputs are not compared" in capsys.readouterr().err
    assert json.loads(Path("run", INPUTS_FILE).read_text()) == json.loads(kept)


@pytest.mark.parametrize("name", ["a/b", "mühle", "-x", "x" * 90])
def test_names_that_no_file_may_have_are_refused_before_anything_is_made(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "agent id" in refused_here(["train", *SMALL, "members=2", f"name={name}", "out=run"], capsys)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", [("train",), ("population",), ("rlhf",), ("evaluate", "ego=stay", "partners=stay")])
def test_a_place_that_cannot_be_written_is_refused_first(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("mine")
    line = refused_here([*words, "out=file/below"], capsys)
    assert "cannot write file/below: Not a directory" in line
    assert Path("file").read_text() == "mine"


@pytest.mark.slow
def test_human_games_are_compared(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", "algo=bc", "layout=cramped_room", "algo.epochs=1", "algo.split=train", "threads=1", "out=clone"]
    assert cli.main(words) == 0
    Path("clone/agent.safetensors").unlink()
    kept = json.loads(Path("clone", INPUTS_FILE).read_text())
    Path("clone", INPUTS_FILE).write_text(json.dumps({**kept, "data": "0" * 64}))
    assert "data=None: this changed since clone began" in refused_here(["train", "resume=clone"], capsys)


def test_agents_are_told_apart_by_content_and_by_file(tmp_path: Path) -> None:
    from coord.evaluation.agents import identities

    path = tmp_path / "a.safetensors"
    save_agent(path, card("a"), network(1))
    first = identities([str(path)], [read_agent(path)])
    save_agent(path, card("a"), network(2))
    second = identities([str(path)], [read_agent(path)])
    assert first[0][0] == second[0][0] == "a"
    assert first[0][1] != second[0][1]
    assert first[0][2] != second[0][2]
