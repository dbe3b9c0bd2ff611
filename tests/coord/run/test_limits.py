"""Every number of a configuration has bounds, declared with its field and checked where text becomes values."""

from __future__ import annotations

import math

import pytest

from coord.errors import UserError
from coord.run import config
from coord.yaml_files import parse_yaml


@pytest.mark.parametrize(
    ("command", "word", "message"),
    [
        ("train", "algo.num_envs=1e9", "algo.num_envs=1e9: must be at most 1000000"),
        ("train", "algo.rollout_len=1000000000", "must be at most 1000000"),
        ("train", "members=1000000", "members=1000000: must be at most 1000"),
        ("train", "members=0", "members=0: must be at least 1"),
        ("prefer", "labels=1e9", "labels=1e9: must be at most 1000000"),
        ("train", "algo.max_grad_norm=-1", "algo.max_grad_norm=-1: must be above 0"),
        ("train", "algo.vf_coef=-0.5", "must be at least 0"),
        ("train", "algo.ent_coef=-0.01", "must be at least 0"),
        ("train", "algo.lr=nan", "algo.lr=nan: expected a finite number"),
        ("train", "algo.ent_coef=inf", "expected a finite number"),
        ("train", "algo.total_steps=inf", "expected a finite number"),
        ("train", "algo.total_steps=1e400", "expected a finite number"),
        ("train", f"algo.total_steps={'9' * 5000}", "algo.total_steps=999"),
        ("train", "seed=-1", "seed=-1: must be at least 0"),
        ("train", "horizon=0", "must be at least 1"),
        ("train", "save_every_s=nan", "expected a finite number"),
        ("play", "tick_hz=0", "tick_hz=0: must be at least 0.5"),
        ("play", "tick_hz=nan", "expected a finite number"),
        ("replay", "speed=nan", "expected a finite number"),
        ("label", "lease_s=1", "must be at least 10"),
        ("theory", "horizons=4,-1", r"horizons\[1\]=-1: must be at least 1"),
        ("prefer", "teacher.weights={collision: nan}", "teacher.weights"),
        ("train", "algo.hidden=64,0", r"algo.hidden\[1\]=0: must be at least 1"),
    ],
)
def test_what_is_out_of_bounds_is_one_line(command: str, word: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        config.load(command, [word])
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("text", ["1e3", "1.10", "2024_01", "1_2", "0x10", "true", "[a", "exp#1", "a,b", "007", "'q'"])
def test_text_fields_take_the_words_as_typed(text: str) -> None:
    assert config.load("train", [f"out={text}"]).out == text
    assert config.load("label", [f"annotator={text}"]).annotator == text
    saved = config.to_yaml(config.load("train", [f"name={text}"]))
    assert config.from_dict(config.config_class("train"), parse_yaml(saved)).name == text


def test_lists_keep_items_as_typed_and_quotes_keep_commas() -> None:
    assert config.load("evaluate", ["partners=[1e3,'a,b',x=[1,2]]"]).partners == ("1e3", "a,b", "x=[1,2]")
    assert config.load("prefer", ["teacher.weights={collision: -5}"]).teacher.weights == {"collision": -5.0}
    assert config.load("prefer", ["teacher.weights={collision:-5,movement:1}"]).teacher.weights["movement"] == 1.0
    assert math.isclose(config.load("train", ["algo.lr=1e-3"]).algo.lr, 0.001)
