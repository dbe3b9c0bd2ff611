"""What Hydra's users type: --cfg job, --config-dir, -m, and interpolation."""

from __future__ import annotations

from pathlib import Path

import pytest

from coord import plugins
from coord.errors import UserError
from coord.run import cli, config
from coord.yaml_files import parse_yaml
from populations.board import sweep


def shown(words: list[str], capsys: pytest.CaptureFixture[str]) -> dict:
    capsys.readouterr()
    assert cli.main(words) == 0
    return parse_yaml(capsys.readouterr().out)


def error(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert cli.main(words) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    return lines[0]


@pytest.mark.parametrize("command", sorted(plugins.entries("coord.commands")))
def test_cfg_job_prints_what_any_command_would_go_by(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    values = shown([command, "--cfg", "job"], capsys)
    assert config.from_dict(config.config_class(command), values) == config.load(command, [])
    assert list(tmp_path.iterdir()) == []


def test_cfg_job_with_words(capsys: pytest.CaptureFixture[str]) -> None:
    values = shown(["train", "method=e3t", "seed=3", "out=1e3", "-c", "job"], capsys)
    assert (values["method"]["name"], values["seed"], values["out"]) == ("e3t", 3, "1e3")
    assert shown(["games", "show", "3", "--cfg=job"], capsys)["game"] == "3"
    assert "did you mean 'job'" in error(["train", "--cfg", "jb"], capsys)
    assert "needs a value" in error(["train", "--cfg"], capsys)


def test_interpolation_works_or_is_refused_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    values = shown(["train", "out=runs/${layout}-${seed}-${algo.lr}", "seed=4", "--cfg", "job"], capsys)
    assert values["out"].startswith("runs/cramped_room-4-0.00")
    assert (
        shown(["train", "algo.ent_horizon=${algo.total_steps}", "--cfg", "job"], capsys)["algo"]["ent_horizon"] > 1000
    )
    for word in ("out=${nothing}", "out=${", "out=${out}", "out=${oc.nothing:x}"):
        assert "cannot resolve out=${" in error(["train", word, "--cfg", "job"], capsys)


def test_overlays_of_ones_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def file(name: str, text: str) -> None:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)

    own = ["--config-dir", str(tmp_path)]
    assert "has nothing for this command; looked for train.yaml" in error(["train", *own], capsys)
    file("train.yaml", "horizon: 200\nalgo: {lr: 0.004}\n")
    file("algo/ppo/coordination_ring.yaml", "num_envs: 7\n")
    file("train/mine/e3t.yaml", "seed: 5\n")
    values = shown(["train", *own, "--cfg", "job"], capsys)
    assert (values["horizon"], values["algo"]["lr"]) == (200, 0.004)
    assert values["algo"]["num_envs"] != 7
    assert shown(["train", *own, "layout=coordination_ring", "--cfg", "job"], capsys)["algo"]["num_envs"] == 7
    assert shown(["train", *own, "horizon=300", "--cfg", "job"], capsys)["horizon"] == 300
    assert shown(["train", *own, "preset=mine", "method=e3t", "--cfg", "job"], capsys)["seed"] == 5
    file("train.yaml", "horizn: 200\n")
    assert "train.yaml" in error(["train", *own, "--cfg", "job"], capsys)
    file("train.yaml", "horizon: 0\n")
    assert "horizon=0: must be at least 1" in error(["train", *own, "--cfg", "job"], capsys)
    assert "no such folder" in error(["train", "--config-dir", str(tmp_path / "no")], capsys)


def test_a_sweep_is_every_combination_in_a_folder_of_its_own() -> None:
    words = ["seed=1,2,3", "layout=a,b", "partners=[x,y]", "out=runs/s"]
    jobs = sweep.jobs_of("train", words)
    assert len(jobs) == 6
    assert jobs[0].words == ("seed=1", "layout=a", "partners=[x,y]", "out=runs/s/layout=a,seed=1")
    assert len({job.folder for job in jobs}) == 6
    assert [job.words[0] for job in sweep.jobs_of("train", ["seed=range(2,8,3)"])] == ["seed=2", "seed=5"]
    assert [job.words[0] for job in sweep.jobs_of("train", ["name=choice(a,b)"])] == ["name=a", "name=b"]
    assert sweep.jobs_of("evaluate", ["seed=1,2", "out=score.json"])[0].words[-1] == "out=score/seed=1/score.json"
    assert len({job.folder for job in sweep.jobs_of("evaluate", [f"ego={'x' * 500},{'x' * 500}y"])}) == 2
    for bad in (["seed=range(1,1000000000)"], ["seed=range(a)"], ["resume=x"], ["seed=choice()"]):
        with pytest.raises(UserError):
            sweep.jobs_of("train", bad)


def test_a_sweep_runs_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["evaluate", "ego=stay", "partners=stay,random", "-m", "horizon=5", "episodes=1", "seed=1,2", "out=s.json"]
    assert cli.main(words) == 0
    scores = sorted(tmp_path.glob("s/*/s.json"))
    assert [path.parent.name for path in scores] == [
        f"partners={who},seed={seed}" for who in ("random", "stay") for seed in (1, 2)
    ]
    scores[0].unlink()
    (scores[0].parent / sweep.DONE).unlink()
    before = scores[1].stat().st_mtime_ns
    assert cli.main(words) == 0
    assert scores[0].exists()
    assert scores[1].stat().st_mtime_ns == before
    assert "episode" in error(["evaluate", "-m", "ego=stay,random", "episode=1"], capsys)


@pytest.mark.parametrize(
    ("command", "text"),
    [
        ("evaluate", "partners: [stay, 'python:mark.py:Cook']"),
        ("evaluate", "ego: 'python:mark.py:Cook'"),
        ("crossplay", "agents: 'random,python:mark.py:Cook'"),
        ("scoreboard", "extra: ['mine=python:mark.py:Cook']"),
        ("play", "partner: 'python:mark.py:Cook'"),
        ("play", "allow_code: true"),
        ("study", "allow_code: true"),
    ],
)
def test_a_configuration_file_runs_no_code(
    command: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mark.py").write_text("open('ran', 'w')\n")
    (tmp_path / f"{command}.yaml").write_text(text + "\n")
    said = error([command, "--config-dir", str(tmp_path)], capsys)
    assert "only who types it may" in said
    assert not (tmp_path / "ran").exists()
