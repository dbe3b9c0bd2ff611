"""Training runs that are killed or stopped and go on: pools, egos with partners, and the job itself.

Self-play through the same command, and every other way to end: tests/contracts/test_exit_codes.py.
"""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from coord import checkpoint
from coord.algos import ppo
from coord.errors import UserError
from coord.locks import locked_folder
from coord.overcooked import OvercookedVectorEnv
from coord.partner_env import SelfPlayEnv
from coord.run import cli, training
from coord.run.interrupt import Interrupted
from coord.run.logger import read_metrics
from coord.run.training import STATE_FILE, TrainingJob, run_job
from populations.methods.fcp import FictitiousCoPlay
from populations.pool import open_pool
from tests.contracts.test_exit_codes import SMALL, assert_same, refused_here, started, wait_for_rows

UPDATES = 25
BUDGET = (f"algo.total_steps={UPDATES * 400}", "save_every_s=0")
POOL = ("population", "method=fcp", "members=2", *SMALL, *BUDGET)
EGO = ("train", "partners=pool", "members=2", *SMALL, *BUDGET)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `pool` and `egos`, trained on it, both uninterrupted."""
    folder = tmp_path_factory.mktemp("place")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert cli.main([*POOL, "out=pool"]) == 0
        assert cli.main([*EGO, "out=egos"]) == 0
    return folder


@pytest.fixture
def copy(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of one's own with the pool in it, to work in."""
    shutil.copytree(place / "pool", tmp_path / "pool")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def assert_same_pool(ours: Path, theirs: Path) -> None:
    found, expected = open_pool(ours), open_pool(theirs)
    facts = ("id", "checkpoint", "env_steps", "return", "method")
    assert [[e[k] for k in facts] for e in found.entries] == [[e[k] for k in facts] for e in expected.entries]
    for one, other in zip(found.members, expected.members, strict=True):
        assert_same(one.net.tensors(), other.net.tensors())


@pytest.mark.slow
@pytest.mark.parametrize(("words", "finished"), [(POOL, "pool"), (EGO, "egos")])
def test_killed_and_resumed_is_as_if_nothing_had_happened(
    words: tuple[str, ...], finished: str, place: Path, copy: Path
) -> None:
    with started(*words, "out=run", cwd=copy) as process:
        wait_for_rows(process, copy / "run", 4)
    assert process.returncode == -signal.SIGKILL
    assert not (copy / "run" / "manifest.json").exists()
    assert 0 < len(read_metrics(copy / "run" / "metrics.jsonl")) < UPDATES

    assert cli.main([words[0], "resume=run"]) == 0
    assert_same_pool(copy / "run", place / finished)
    rows = read_metrics(copy / "run" / "metrics.jsonl")
    assert [row["step"] for row in rows] == [400 * (i + 1) for i in range(UPDATES)]


@pytest.mark.slow
def test_the_pool_holds_three_agents_of_each_member_and_the_egos_learned_from_it(place: Path) -> None:
    pool, egos = open_pool(place / "pool"), open_pool(place / "egos")
    assert [entry["checkpoint"] for entry in pool.entries] == ["init", "mid", "final"] * 2
    assert [entry["id"] for entry in egos.entries] == ["ego0-0", "ego0-1"]
    assert {entry["env_steps"] for entry in egos.entries} == {UPDATES * 400}
    ego = [member.net.tensors() for member in egos.members]
    for name, tensor in ego[0].items():
        assert not torch.equal(tensor, ego[1][name]), name


@pytest.mark.slow
@pytest.mark.parametrize(("command", "folder"), [("population", "pool"), ("train", "egos")])
def test_a_finished_run_is_left_as_it_is(command: str, folder: str, place: Path, copy: Path) -> None:
    shutil.copytree(place / "egos", copy / "egos")
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    assert cli.main([command, f"resume={folder}"]) == 0
    assert {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()} == before


# ---------------------------------------------------------------------------------------------- refusals


@pytest.mark.slow
def test_a_tampered_partner_is_refused_before_a_folder_is_made(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = sorted((copy / "pool").glob("*final.safetensors"))
    shutil.copyfile(first, second)
    line = refused_here([*EGO, "out=run"], capsys)
    assert second.name in line
    assert "was altered" in line
    assert not (copy / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["cut", "altered"])
def test_a_damaged_checkpoint_of_a_pool_is_refused(damage: str, copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pool = copy / "pool"
    (pool / "manifest.json").unlink()
    for file in pool.glob("*.safetensors"):
        file.unlink()
    state = pool / STATE_FILE
    data = bytearray(state.read_bytes())
    if damage == "cut":
        data = data[:-100]
    else:
        data[-100] ^= 1
    state.write_bytes(data)
    line = refused_here(["population", "resume=pool"], capsys)
    assert str(state.relative_to(copy)) in line
    assert ("cut short" if damage == "cut" else "was altered") in line
    assert not (pool / "manifest.json").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "partners=human_proxy"], "human_proxy is for evaluation only"),
        (["train", "partners=random"], "random is scripted"),
        (["train", "partners=no/such/pool"], "no agent at 'no/such/pool'"),
        (["train", "partners=pool"], "unknown agent 'pool'; allowed: random"),
        (["train", "horizon=0"], "horizon"),
        (["train", "algo.hidden=[60,64]"], "multiple of 64"),
        (["train", "members=0"], "members=0"),
        (["train", "resume=nowhere"], "nowhere"),
        (["train", "algo.lr=-1"], "lr=-1"),
        (["train", "algo.network=mlp_indx"], "did you mean 'mlp_index'"),
        (["population", "method=fpc"], "did you mean 'fcp'"),
        (["population", "members=0"], "members=0"),
        (["population", "layout=cramped_rom"], "did you mean 'cramped_room'"),
        (["population", "out=/dev/null/pool", *SMALL], "cannot write /dev/null/pool"),
    ],
)
def test_refused_with_one_line_and_nothing_left_behind(
    words: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert message in refused_here(words, capsys)
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------------------------------------ the job


def job(
    folder: Path, *, updates: int = 6, save_every_s: float = 1e9, method: FictitiousCoPlay | None = None
) -> TrainingJob:
    folder.mkdir(exist_ok=True)
    cfg = ppo.PPOConfig(total_steps=updates * 80, num_envs=4, rollout_len=20, network="mlp_features", hidden=(8,))
    env = SelfPlayEnv(OvercookedVectorEnv("cramped_room", 8, horizon=30), 2, "features")
    state = ppo.create(cfg, ppo.make_arch(cfg, env.env), [1, 2])
    watch = method.observe if method else lambda state: None
    return TrainingJob(folder, "test", f"coord train resume={folder.name}", state, env, save_every_s, method, watch)


def stop_at(update: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C during this update."""
    monkeypatch.setattr(training._Watch, "should_stop", lambda watch, state: stop(watch, state.update_step == update))


def stop(watch: training._Watch, now: bool) -> bool:
    watch.interrupt.requested |= now
    return watch.interrupt.requested


def test_when_checkpoints_are_taken_never_influences_training(tmp_path: Path) -> None:
    often, never = (run_job(job(tmp_path / name, save_every_s=s)) for name, s in (("often", 0.0), ("never", 1e9)))
    assert_same(often.net.tensors(), never.net.tensors())
    for name in ("often", "never"):  # the last state is kept in any case
        tensors, meta = checkpoint.load(tmp_path / name / STATE_FILE)
        assert meta["env_step"] == 480
        assert torch.equal(tensors["state.net.head.weight"], often.net.tensors()["head.weight"])


def test_stopped_and_resumed_with_what_the_method_remembers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = FictitiousCoPlay(2)
    expected = run_job(job(tmp_path / "whole", method=whole))
    with monkeypatch.context() as patch:
        stop_at(3, patch)
        with pytest.raises(Interrupted, match="coord train resume=parts"):
            run_job(job(tmp_path / "parts", method=FictitiousCoPlay(2)))
    method = FictitiousCoPlay(2)
    rest = job(tmp_path / "parts", method=method)
    found = run_job(rest)
    assert_same(found.state_dict(), expected.state_dict())
    assert_same(method.state_dict(), whole.state_dict())
    rows = [read_metrics(tmp_path / name / "metrics.jsonl") for name in ("whole", "parts")]
    assert [row["step"] for row in rows[1]] == [row["step"] for row in rows[0]] == [80 * (i + 1) for i in range(6)]
    elapsed = [row["time/elapsed_s"] for row in rows[1]]
    assert elapsed == sorted(elapsed)  # the clock of a resumed run goes on
    assert rest.elapsed_s == elapsed[-1]


def test_ctrl_c_in_the_last_update_loses_nothing_and_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_at(6, monkeypatch)
    assert run_job(job(tmp_path / "run")).update_step == 6


def test_rows_beyond_the_checkpoint_are_dropped_on_resume(tmp_path: Path) -> None:
    """A killed run may have logged updates that its checkpoint does not know: they are played again, not twice."""
    run_job(job(tmp_path / "run", updates=2))
    log = tmp_path / "run" / "metrics.jsonl"
    with log.open("a") as file:
        file.write(json.dumps({"step": 240, "train/loss": 7.0}) + '\n{"step": 320, "tra')
    run_job(job(tmp_path / "run", updates=4))
    rows = read_metrics(log)
    assert [row["step"] for row in rows] == [80, 160, 240, 320]
    assert rows[2]["train/loss"] != 7.0


def test_a_full_disk_keeps_the_last_good_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_job(job(tmp_path / "run", updates=2))
    before = (tmp_path / "run" / STATE_FILE).read_bytes()

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(UserError, match="No space left on device"):
        run_job(job(tmp_path / "run", updates=4, save_every_s=0))
    assert (tmp_path / "run" / STATE_FILE).read_bytes() == before
    assert not list((tmp_path / "run").rglob("*.part"))


def test_returns_of_every_member_are_logged(tmp_path: Path) -> None:
    run_job(job(tmp_path / "run"))
    rows = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert [row["rollout/return"] for row in rows[:1]] == [None]  # no episode of 30 ticks has ended after 20
    for row in rows[1:]:
        assert row["rollout/return"] == (row["rollout/return/0"] + row["rollout/return/1"]) / 2


def test_a_folder_deleted_meanwhile_stops_the_run_and_is_not_made_anew(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    work = job(folder, save_every_s=0)
    work.on_update = lambda state: shutil.rmtree(folder) if state.update_step == 2 else None
    with pytest.raises(UserError, match="run was deleted or moved"), locked_folder(folder):
        run_job(work)
    assert work.state.update_step in (2, 3)  # whether a checkpoint was due after the second or not
    assert not folder.exists()


def test_room_for_two_checkpoints_is_asked_for_at_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = job(tmp_path / "run")
    size = sum(value.nbytes for value in work.tensors().values())
    monkeypatch.setattr("shutil.disk_usage", lambda place: SimpleNamespace(free=2 * size))
    with pytest.raises(UserError, match=r"No space left on device .* are needed"):
        run_job(work)
    assert work.state.update_step == 0
