"""From words and YAML files to dataclasses: values arrive with their types, mistakes are named."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

from coord.algos.ppo import PPOConfig
from coord.errors import UserError
from coord.limits import Count
from coord.run import config, config_files
from coord.run.commands.evaluate import EvaluateConfig
from populations.commands.train import TrainConfig


@dataclass(frozen=True, kw_only=True)
class Inner:
    size: Count = 3
    rate: float = 0.5


@dataclass(frozen=True, kw_only=True)
class Outer:
    inner: Inner
    name: str = "x"
    ratio: float | None = None
    kind: Literal["a-b", "c"] = "a-b"
    sizes: tuple[int, ...] = ()
    on: bool = False


def outer(**values: Any) -> Outer:
    return config.from_dict(Outer, {"inner": {}, **values})


def test_defaults_of_a_command() -> None:
    assert config.load("evaluate", []) == EvaluateConfig()


def test_values_get_their_types() -> None:
    cfg = config.load("evaluate", ["episodes=1e2", "stochastic=false", "partners=random,stay", "seed=7", "out=12"])
    assert (cfg.episodes, cfg.stochastic, cfg.partners, cfg.seed, cfg.out) == (100, False, ("random", "stay"), 7, "12")


@pytest.mark.parametrize(
    "text",
    ["runs/pool#fcp-3", "a=b", "it's", 'say "x"', "ends\\", "a b", "XXPXX\nO  1X", "(1)", "~/x", "é"],
)
def test_any_text_can_be_passed(text: str) -> None:
    assert config.load("evaluate", [f"ego={text}"]).ego == text


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("a,b", ("a", "b")),
        ("[a,b]", ("a", "b")),
        ("a", ("a",)),
        ("", ()),
        ("[]", ()),
        ("p#1, q#2", ("p#1", "q#2")),
        ("[p#1,q]", ("p#1", "q")),
    ],
)
def test_lists_on_the_command_line(text: str, items: tuple[str, ...]) -> None:
    assert config.load("evaluate", [f"partners={text}"]).partners == items


def test_leading_words_fill_named_fields() -> None:
    assert config.split_overrides(["kitchen", "seed=1"], ("what",)) == {"what": "kitchen", "seed": "1"}
    with pytest.raises(UserError, match="cannot read 'extra': expected name=value"):
        config.split_overrides(["kitchen", "extra"], ("what",))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["episode=3"], r"unknown field .* 'episode'; did you mean 'episodes'\? allowed: ego, partners, layout"),
        (["rules=clasic"], r"unknown rules 'clasic'; did you mean 'classic'\? allowed: classic, overcooked-ai"),
        (["seed=x"], "seed=x: expected a whole number"),
        (["seed=1.5"], "seed=1.5: expected a whole number"),
        (["seed=null"], "seed=null: expected a whole number"),
        (["stochastic=maybe"], "stochastic=maybe: expected true or false"),
        (["seed.deep=1"], "unknown field .* 'seed.deep'"),
        (["hydra.run.dir=x"], "unknown field .* 'hydra.run.dir'"),
        (["--seed=1"], "cannot read '--seed=1'"),
        (["+seed=1"], r"cannot read '\+seed=1'"),
        (["resume=x"], "unknown field of coord evaluate 'resume'|cannot change"),
    ],
)
def test_mistakes_are_named(words: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        config.load("evaluate", words)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["algo=pppo"], r"unknown algo 'pppo'; did you mean 'ppo'\? allowed: "),
        (["lr=0.1"], r"unknown field 'lr' of coord train; did you mean 'algo.lr'\?"),
        (["algo.lrr=0.1"], "unknown field .* 'algo.lrr'; did you mean 'algo.lr'"),
        (["algo.gamma=2"], "algo.gamma=2: must be at most 1"),
        (["algo.name=bc"], "unknown field .* 'algo.name'"),
    ],
)
def test_mistakes_inside_a_choice_are_named(words: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        config.load("train", words)


def test_a_choice_brings_its_own_fields() -> None:
    cfg = config.load("train", ["algo=ppo", "algo.lr=3e-4", "algo.total_steps=1e6", "algo.hidden=[128]"])
    assert isinstance(cfg, TrainConfig)
    assert (cfg.algo.lr, cfg.algo.total_steps, cfg.algo.hidden) == (3e-4, 1_000_000, (128,))
    assert type(cfg.algo).__name__ == "PPOConfig"


def test_values_survive_yaml(tmp_path: Path) -> None:
    cfg = config.load("train", ["algo.lr=1e-5", "partners=a#1", "layout=XXPXX\nO  1X\n"])
    (tmp_path / "config.yaml").write_text(config.to_yaml(cfg))
    assert config.load_saved("train", tmp_path / "config.yaml") == cfg
    assert config.from_dict(TrainConfig, config.to_dict(cfg)) == cfg


def test_resume_takes_the_saved_values(tmp_path: Path) -> None:
    cfg = config.load("train", ["layout=coordination_ring", "seed=4", "algo.lr=0.003", "threads=3"])
    (tmp_path / "config.yaml").write_text(config.to_yaml(cfg))
    resumed = config.load("train", [f"resume={tmp_path}", "save_every_s=7"])
    assert resumed.resume == str(tmp_path)
    assert (resumed.threads, resumed.save_every_s) == (3, 7)
    assert (resumed.layout, resumed.seed, resumed.algo) == (cfg.layout, cfg.seed, cfg.algo)
    for word in ("layout=cramped_room", "algo.lr=0.1", "algo=ppo"):
        with pytest.raises(UserError, match=f"'{word.partition('=')[0]}' cannot change when a run is resumed"):
            config.load("train", [f"resume={tmp_path}", word])
    with pytest.raises(UserError, match=r"cannot read .*No such file"):
        config.load("train", [f"resume={tmp_path}/nothing"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("just text", "not the configuration of a run"),
        ("a: [1", "config.yaml:1: not YAML"),
        ("layout: x\nspeed: 3\n", "does not fit coord evaluate: unknown field 'speed'"),
    ],
)
def test_a_damaged_saved_configuration_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(UserError, match=message):
        config.load_saved("evaluate", tmp_path / "config.yaml")


def test_per_layout_values_apply_by_themselves_and_yield_to_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in {
        "train.yaml": "members: 3\nalgo: {gamma: 0.9}\n",
        "algo/ppo.yaml": "lr: 0.1\n",
        "algo/ppo/big.yaml": "lr: 0.2\n",
        "train/upd.yaml": "method: {kept: 5}\nalgo: {gae_lambda: 0.5}\n",
    }.items():
        (tmp_path / "configs" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "configs" / name).write_text(text)
    for module in (config, config_files):
        monkeypatch.setattr(module, "CONFIG_FOLDER", tmp_path / "configs")

    plain = {"name": "ppo", **config.defaults_of(PPOConfig), "gamma": 0.9, "lr": 0.1}
    assert config.compose("train", {})["algo"] == plain
    assert config.compose("train", {})["members"] == 3
    assert config.compose("train", {"layout": "big"})["algo"] == plain | {"lr": 0.2}
    assert config.compose("train", {"layout": "big", "algo.lr": "0.3"})["algo"]["lr"] == "0.3"
    assert config.compose("train", {"layout": "a/path.layout"})["algo"]["lr"] == 0.1
    for layout in ("big", "generated:7"):  # a name that is no word has no files of its own, and those of the method
        made = config.compose("train", {"layout": layout, "method": "upd"})
        assert (made["method"]["kept"], made["algo"]["gae_lambda"]) == (5, 0.5)


def test_plain_values_become_dataclasses() -> None:
    made = outer(inner={"size": "4"}, ratio="1e-3", kind="c", sizes=[1, 2.0], on=True)
    assert made == Outer(inner=Inner(size=4), ratio=0.001, kind="c", sizes=(1, 2), on=True)
    assert outer().ratio is None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"inner": {"size": 0}}, "inner.size=0: must be at least 1"),
        ({"inner": {"sise": 1}}, "unknown field 'inner.sise'; did you mean 'inner.size'"),
        ({"inner": 3}, "inner=3: expected a mapping"),
        ({"sizes": [1, "x"]}, r"sizes\[1\]=x: expected a whole number"),
        ({"ratio": "much"}, "ratio=much: expected a number"),
        ({"on": 3}, "on=3: expected true or false"),
        ({"name": [1]}, r"name=\[1\]: expected text"),
    ],
)
def test_plain_values_that_do_not_fit(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        outer(**values)


def test_fingerprint_ignores_what_does_not_change_the_run() -> None:
    base = config.fingerprint(config.load("train", ["threads=2"]))
    assert base == config.fingerprint(config.load("train", ["seed=5", "threads=2", "out=x", "save_every_s=7"]))
    assert base != config.fingerprint(config.load("train", ["threads=2", "algo.lr=0.5"]))
    assert base != config.fingerprint(config.load("train", ["threads=3"]))
