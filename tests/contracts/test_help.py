"""Every command explains itself: one line, examples that are valid, every field with default and meaning."""

from __future__ import annotations

import re
import shlex

import pytest

from coord import plugins
from coord.run import cli, config
from coord.run.fields import fields_of
from tests.contracts.house import ROOT

COMMANDS = tuple(plugins.entries(cli.COMMANDS))


def printed(argv: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert cli.main(argv) == 0
    return capsys.readouterr().out


def test_every_command_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    folders = [ROOT / place / "commands" for place in ("coord/run", "populations", "play")]
    files = [path for folder in folders for path in folder.glob("*.py")]
    assert {*COMMANDS} == {path.stem for path in files} - {"__init__"}
    text = printed(["--help"], capsys)
    for name in COMMANDS:
        assert f"  {name} " in text
    assert text == printed([], capsys) == printed(["help"], capsys)
    assert all(len(line) <= 120 for line in text.splitlines())


@pytest.mark.parametrize("name", COMMANDS)
def test_help_shows_examples_and_every_field(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    module = cli.command_module(name)
    text = printed([name, "--help"], capsys)
    assert module.HELP in text
    assert "\n" not in module.HELP
    assert module.EXAMPLES
    for example in module.EXAMPLES:
        assert example in text
    for row in fields_of(config.config_class(name)):
        assert re.search(rf"^  {row.name} = {re.escape(row.shown)} +{re.escape(row.explained)}$", text, re.MULTILINE)


@pytest.mark.parametrize("example", [line for name in COMMANDS for line in cli.command_module(name).EXAMPLES])
def test_examples_are_valid(example: str) -> None:
    program, command, *words = shlex.split(example)
    assert program == "coord"
    assert command in COMMANDS
    if not any(word.startswith("resume=") for word in words):
        check_words(command, words)


def check_words(command: str, words: list[str]) -> None:
    """The words compose; leading words without `=` stand for the fields that the command takes by position."""
    named = [word for word in words if "=" in word]
    config.from_dict(config.config_class(command), config.compose(command, config.split_overrides(named)))


def test_help_of_another_choice_shows_its_fields(capsys: pytest.CaptureFixture[str]) -> None:
    ppo, bc = printed(["train", "--help"], capsys), printed(["train", "algo=bc", "--help"], capsys)
    assert "algo.clip_coef" in ppo
    assert "algo.clip_coef" not in bc
    assert "fields of algo=bc (choices: algo=bc, algo=ppo)" in bc
