"""YAML files and dataclasses say the same, in both directions, and every file in configs/ composes."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import yaml

from coord.errors import UserError
from coord.run import config

CONFIGS = Path(__file__).parents[2] / "configs"
# Studies (configs/study) are documents that a researcher writes, not fields of a command; play reads and checks them.
FILES = sorted(
    str(path.relative_to(CONFIGS).with_suffix("")) for path in CONFIGS.rglob("*.yaml") if path.parent.name != "study"
)
OVERLAYS = [name for name in FILES if name.count("/") >= 2]
NAMES = [name for name in FILES if name not in OVERLAYS]


def values_of(name: str) -> dict:
    values = yaml.safe_load((CONFIGS / f"{name}.yaml").read_text()) or {}
    return {key: value for key, value in values.items() if key != "defaults"}


def test_every_file_has_its_dataclass_and_every_dataclass_its_file() -> None:
    assert set(NAMES) == set(config.CONFIGS)


@pytest.mark.parametrize("name", NAMES)
def test_dataclass_is_frozen_and_by_keyword(name: str) -> None:
    cls = config.config_class(name)
    params = cls.__dataclass_params__
    assert params.frozen
    assert all(field.kw_only for field in dataclasses.fields(cls))


@pytest.mark.parametrize("name", NAMES)
def test_same_fields_in_the_same_order(name: str) -> None:
    groups = config.default_groups(name) if "/" not in name else {}
    fields = [field.name for field in dataclasses.fields(config.config_class(name)) if field.name not in groups]
    assert list(values_of(name)) == fields


@pytest.mark.parametrize("name", NAMES)
def test_same_defaults(name: str) -> None:
    cls = config.config_class(name)
    if "/" in name:
        built, from_code = config.from_dict(cls, values_of(name)), cls()
    else:
        built = config.load(name, [])
        groups = {group: getattr(built, group) for group in config.default_groups(name)}
        from_code = cls(**groups)
    for field in dataclasses.fields(cls):
        ours, theirs = getattr(built, field.name), getattr(from_code, field.name)
        assert ours == theirs, field.name
        assert type(ours) is type(theirs), field.name


@pytest.mark.parametrize("name", NAMES)
def test_every_field_is_explained(name: str) -> None:
    explained = config.field_help(f"{name}.yaml")
    assert [row.name for row in explained] == list(values_of(name))
    assert all(len(row.meaning) > 4 for row in explained)


@pytest.mark.parametrize("name", [name for name in NAMES if "/" in name])
def test_every_choice_composes(name: str) -> None:
    group, choice = name.split("/")
    users = [command for command in config.CONFIGS if "/" not in command and group in config.default_groups(command)]
    assert users
    for command in users:
        assert type(getattr(config.load(command, [f"{group}={choice}"]), group)) is config.config_class(name)


@pytest.mark.parametrize("name", OVERLAYS)
def test_values_for_a_layout_fit_and_change_something(name: str) -> None:
    from coord.overcooked import layout_names

    choice, layout = "/".join(name.split("/")[:2]), name.rpartition("/")[2]
    assert layout in layout_names()
    values = values_of(name)
    default = config.from_dict(config.config_class(choice), values_of(choice))
    tuned = config.from_dict(config.config_class(choice), {**values_of(choice), **values})
    assert tuned != default
    assert all(getattr(tuned, key) != getattr(default, key) for key in values), "a value equal to the default is dead"


def test_an_old_name_of_a_layout_brings_the_same_values() -> None:
    by_new, by_old = (config.compose("train", {"layout": name})["algo"] for name in ("forced_coordination", "random0"))
    assert by_old == by_new
    assert by_old != config.compose("train", {})["algo"]


def test_a_preset_replaces_what_is_tuned_for_the_layout() -> None:
    published = config.load("train", ["preset=published", "layout=random0"]).algo
    assert (published.network, published.num_envs, published.clip_coef) == ("cnn", 30, 0.05)
    assert published.total_steps == 7_500_000
    with pytest.raises(UserError, match="did you mean 'published'"):
        config.load("train", ["preset=publishd"])
    with pytest.raises(UserError, match="asymmetric_advantages"):
        config.load("train", ["preset=published", "layout=bottleneck"])
