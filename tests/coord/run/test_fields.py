"""Fields are read from the source where it is plain, and from the imported class where it is not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from coord.run.fields import ConfigField, fields_of

SOURCE = """
from dataclasses import dataclass, field
from typing import Literal
from coord import plugins
{imports}
LIMIT = 7
Colour = Literal["red", "green"]

@dataclass(frozen=True, kw_only=True)
class {name}Base:
    first: int = 1  # behind

@dataclass(frozen=True, kw_only=True)
class {name}{base}:
    method: object = plugins.choice("ppo", "coord.ego_methods")
    what: str
    second: tuple[int, ...] = (1, 2)  # with a # inside
    # over two
    # lines
    third: int = LIMIT
    colour: Colour | None = None  # of it
    shade: Colour = "red"  # red or green
    empty: dict[str, float] = field(default_factory=dict)  # é
    word: str = ""  # text
    computed: float = {computed}  # sum
"""
OWN = (
    ConfigField("what", None, "", ()),
    ConfigField("second", [1, 2], "with a # inside", ()),
    ConfigField("third", 7, "over two lines", ()),
    ConfigField("colour", None, "of it", ("red", "green")),
    ConfigField("shade", "red", "red or green", ("red", "green")),
    ConfigField("empty", {}, "é", ()),
    ConfigField("word", "", "text", ()),
    ConfigField("computed", 3, "sum", ()),
)


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """A fresh module on the path with the text that the parameters make."""
    name, values = request.param
    (tmp_path / f"{name}.py").write_text(SOURCE.format(name="Config", **values), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    return name


PLAIN = ("fields_plain", {"base": "", "computed": "3", "imports": ""})
SUMMED = ("fields_summed", {"base": "", "computed": "1 + 2", "imports": ""})
DERIVED = ("fields_derived", {"base": "(ConfigBase)", "computed": "3", "imports": ""})


@pytest.mark.parametrize("module", [PLAIN], indirect=True)
def test_a_plain_class_is_not_imported(module: str) -> None:
    assert fields_of(f"{module}:Config") == OWN
    assert module not in sys.modules


@pytest.mark.parametrize("module", [SUMMED, DERIVED], indirect=True)
def test_another_is_and_keeps_its_meanings_and_words(module: str) -> None:
    found = fields_of(f"{module}:Config")
    assert found[-len(OWN) :] == OWN
    assert [row.meaning for row in found[: -len(OWN)]] == (["behind"] if module == "fields_derived" else [])


@pytest.mark.parametrize("row", OWN)
def test_words_that_the_meaning_lacks_are_added(row: ConfigField) -> None:
    shown = {"colour": "of it: red | green", "shade": "red or green", "second": "with a # inside"}
    assert row.explained == shown.get(row.name, row.meaning)
    assert row.shown == {"second": "[1, 2]", "word": '""', "empty": "{}", "what": "null"}.get(row.name, row.shown)


@pytest.mark.parametrize("words", [["prefer", "learner=ppo"], ["train", "method=mep"], ["rlhf"], ["population"]])
def test_help_and_a_wrong_name_need_no_torch(words: list[str]) -> None:
    code = (
        "import sys; from coord.run import cli; "
        f"assert cli.main([*{words!r}, '--help']) == 0; assert cli.main([*{words!r}, 'algo.nonsense=1']) == 2; "
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
