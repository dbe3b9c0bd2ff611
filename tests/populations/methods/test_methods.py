"""Every published method is reachable, explained and configured in one place each."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from coord import plugins
from coord.run import config

POOL_METHODS, EGO_METHODS = (plugins.entries(f"coord.{kind}_methods") for kind in ("pool", "ego"))
README = (Path(__file__).parents[3] / "populations/README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("command", "methods"), [("population", POOL_METHODS), ("train", EGO_METHODS)])
def test_a_command_has_the_methods_that_exist(command: str, methods: Mapping[str, Any]) -> None:
    assert set(config.choices(command, "method")) == set(methods)
    listed = re.findall(rf"^\| `(\w+)` \| {command} \|", README, flags=re.MULTILINE)
    assert sorted(listed) == sorted(methods)


@pytest.mark.parametrize("name", sorted({*POOL_METHODS, *EGO_METHODS}))
def test_a_choice_of_the_configuration_has_its_name(name: str) -> None:
    command = "population" if name in POOL_METHODS else "train"
    cfg = config.load(command, [f"method={name}"])
    assert config.chosen(cfg, "method") == name
    assert config.from_dict(type(cfg), config.to_dict(cfg)) == cfg
