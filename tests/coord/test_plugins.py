"""A package of somebody else adds a command, a method and a benchmark without touching ours."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from coord import plugins
from coord.errors import UserError
from coord.preference.methods import method
from coord.run import cli, config

ENTRY_POINTS = """
[coord.commands]
greet = theirs.greet
broken = theirs.nowhere
[coord.ego_methods]
theirs = theirs.method
[coord.agents]
theirs = theirs.agents
[coord.benchmarks]
theirs = theirs.greet:bench
"""
GREET = """
from dataclasses import dataclass
HELP, EXAMPLES = "say hello", ("coord greet name=Ada",)

@dataclass(frozen=True, kw_only=True)
class Config:
    name: str = "you"  # who is greeted
    times: int = 1  # how often

def run(words):
    from coord.run.config import load
    cfg = load("greet", words)
    print(" ".join(["hello", cfg.name] * cfg.times))
    return 0

def bench(cfg):
    return {"bench": "theirs", "seed": cfg.seed}
"""
METHOD = """
from dataclasses import dataclass
from populations.methods import uniform

@dataclass(frozen=True, kw_only=True)
class Config:
    zeal: float = 0.5  # how hard it tries

def make(cfg, setup):
    assert cfg.zeal == 0.25
    return uniform.make(uniform.UniformConfig(), setup)
"""
AGENTS = """
from coord.agents.players import StayAgent

class Lazy(StayAgent):
    agent_id = "lazy"

def load(rest, layout, rules):
    assert (rest, layout.name, rules) == ("lazy", "cramped_room", "classic")
    return Lazy()
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder with an installed distribution `theirs`."""
    files = {
        "theirs/__init__.py": "",
        "theirs/greet.py": GREET,
        "theirs/method.py": METHOD,
        "theirs/agents.py": AGENTS,
        "theirs-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n",
        "theirs-1.0.dist-info/entry_points.txt": ENTRY_POINTS,
    }
    for name, text in files.items():
        path = tmp_path / "site" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "site"


def coord(site: Path, *words: str, code: int = 0) -> str:
    env = {**os.environ, "PYTHONPATH": str(site)}
    command = [sys.executable, "-m", "coord", *words]
    done = subprocess.run(command, env=env, cwd=site.parent, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


def test_their_command_is_found_explained_and_run(site: Path) -> None:
    overview = coord(site, "--help")
    assert "  greet       say hello" in overview
    assert "  broken      (command 'broken' (theirs.nowhere) cannot be loaded" in overview
    assert "  train " in overview
    assert "name = you  who is greeted" in coord(site, "greet", "--help")
    assert coord(site, "greet", "times=2", "name=Ada") == "hello Ada hello Ada\n"
    assert "did you mean 'times'" in coord(site, "greet", "tiems=2", code=2)
    assert "cannot be loaded" in coord(site, "broken", code=2)


def test_their_benchmark(site: Path) -> None:
    assert json.loads(coord(site, "bench", "theirs", "seed=3"))["seed"] == 3


@pytest.mark.slow
def test_their_kind_of_agent_is_scored(site: Path) -> None:
    coord(site, "evaluate", "ego=theirs:lazy", "partners=greedy", "layout=cramped_room", "episodes=1", "out=score.json")
    assert "theirs:lazy" in (site.parent / "score.json").read_text()
    assert "did you mean 'theirs:'" in coord(site, "evaluate", "ego=thiers:lazy", "layout=cramped_room", code=2)


@pytest.mark.slow
def test_their_method_trains_an_agent_that_is_scored(site: Path) -> None:
    words = ("method=theirs", "method.zeal=0.25", "algo.total_steps=2000", "algo.num_envs=4", "threads=1", "out=ego")
    assert "method.zeal = 0.5" in coord(site, "train", "method=theirs", "--help")
    coord(site, "train", *words)
    assert "agent" in coord(site, "train", "resume=ego")
    coord(site, "evaluate", "ego=ego", "partners=stay", "episodes=2", "out=score.json")
    assert json.loads((site.parent / "score.json").read_text())


@pytest.fixture
def offered(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Adds entry points of somebody else to those that are installed."""

    def add(group: str, **values: str) -> None:
        known = plugins.metadata.entry_points
        theirs = [plugins.metadata.EntryPoint(name, value, group) for name, value in values.items()]
        monkeypatch.setattr(
            plugins.metadata,
            "entry_points",
            lambda group: [*known(group=group), *(e for e in theirs if e.group == group)],
        )
        for cached in (plugins.entries, plugins._offered):
            monkeypatch.setattr(plugins, cached.__name__, getattr(cached, "__wrapped__", cached))

    return add


def test_two_packages_with_one_name_stop_only_what_needs_it(offered: Callable[..., None]) -> None:
    offered("coord.commands", train="theirs.train")
    with pytest.raises(
        UserError, match=r"two packages offer 'train' in coord\.commands: populations\..* and theirs\.train"
    ):
        plugins.find("coord.commands", "train", "command")
    assert plugins.find("coord.commands", "layouts", "command").HELP
    assert "two packages offer 'train'" in cli.overview()


@pytest.mark.parametrize("fault", ["import nowhere", "raise OSError('gone')", "x = ", "METHOD = 1"])
def test_a_broken_method_stops_only_what_needs_it(
    fault: str, offered: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"theirs_{abs(hash(fault))}"
    (tmp_path / f"{name}.py").write_text(fault)
    monkeypatch.syspath_prepend(tmp_path)
    for group in ("coord.pool_methods", "coord.ego_methods", "coord.preference_methods"):
        offered(group, aaa_broken=f"{name}:METHOD")
    pebble = config.load("prefer", ["method=pebble"])
    assert "pebble" in config.to_yaml(pebble)
    assert method.name_of(pebble.method) == "pebble"
    with pytest.raises(UserError, match=r"method=pebble is not for learner=ppo, which has .*surf"):
        method.check_learner(method.named("rune"), pebble.method, "ppo")
    with pytest.raises(UserError, match=r"can(not)? be loaded"):
        config.load("prefer", ["method=aaa_broken"])
