"""YAML files and dataclasses say the same, in both directions, and every file in configs/ composes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from annotated_types import Ge, Gt, Le, Lt

from coord import plugins
from coord.errors import UserError
from coord.run import config, field_help

CONFIGS = Path(__file__).parents[2] / "configs"
METHODS = {f"method/{name}": group for group in plugins.METHOD_GROUPS for name in plugins.entries(group)}
CLASSES = {*plugins.entries("coord.commands"), *config.CONFIGS, *METHODS}
# Studies (configs/study) are documents that a researcher writes, not fields of a command; play reads and checks them.
FILES = sorted(
    str(path.relative_to(CONFIGS).with_suffix("")) for path in CONFIGS.rglob("*.yaml") if path.parent.name != "study"
)
CLASSIC = [path.stem for path in (CONFIGS / "algo/ppo/published").glob("*.yaml")]  # layouts of the published presets
# configs/<command>/...: fields of any part of a command; configs/<group>/<choice>/...: fields of a choice.
# A group may be named like a command (crowd).
OF_COMMANDS = [name for name in FILES if "/" in name and name.partition("/")[0] in CLASSES and name not in CLASSES]
OVERLAYS = [name for name in FILES if name.count("/") >= 2 and name not in OF_COMMANDS]
NAMES = [name for name in FILES if name not in (*OVERLAYS, *OF_COMMANDS)]

# Their bounds stand with what they mean: threads with the machine, sizes of drawn kitchens with the generator.
ELSEWHERE = {"threads", "width", "height", "players", "count"}


def class_of(name: str) -> type:
    """The dataclass that a file is the defaults of."""
    if name in METHODS:
        return plugins.config_of(plugins.find(METHODS[name], name.partition("/")[2], "method"))
    return config.config_class(name)


def values_of(name: str) -> dict:
    values = yaml.safe_load((CONFIGS / f"{name}.yaml").read_text()) or {}
    return {key: value for key, value in values.items() if key != "defaults"}


def test_every_file_has_its_dataclass_and_every_dataclass_its_file() -> None:
    assert set(NAMES) == set(CLASSES)


@pytest.mark.parametrize("name", NAMES)
def test_dataclass_is_frozen_and_by_keyword(name: str) -> None:
    cls = class_of(name)
    params = cls.__dataclass_params__
    assert params.frozen
    assert all(field.kw_only for field in dataclasses.fields(cls))


@pytest.mark.parametrize("name", NAMES)
def test_same_fields_in_the_same_order(name: str) -> None:
    groups = config.default_groups(name) if "/" not in name else {}
    fields = [field.name for field in dataclasses.fields(class_of(name)) if field.name not in groups]
    assert list(values_of(name)) == fields


@pytest.mark.parametrize("name", NAMES)
def test_same_defaults(name: str) -> None:
    cls = class_of(name)
    if "/" in name:
        built, from_code = config.from_dict(cls, values_of(name)), cls()
    else:
        built = config.from_dict(cls, config.compose(name, {}))  # as written: `load` settles the number of threads
        groups = {group: getattr(built, group) for group in config.default_groups(name)}
        from_code = cls(**groups)
    for field in dataclasses.fields(cls):
        ours, theirs = getattr(built, field.name), getattr(from_code, field.name)
        assert ours == theirs, field.name
        assert type(ours) is type(theirs), field.name


@pytest.mark.parametrize("name", NAMES)
def test_every_field_is_explained(name: str) -> None:
    explained = field_help.field_help(name)
    assert [row.name for row in explained] == list(values_of(name))
    assert all(len(row.meaning) > 4 for row in explained)


@pytest.mark.parametrize("name", [name for name in NAMES if "/" in name])
def test_every_choice_composes(name: str) -> None:
    group, choice = name.split("/")
    commands = [name for name in sorted(CLASSES) if "/" not in name and group in config.default_groups(name)]
    users = [command for command in commands if choice in config.choices(command, group)]
    assert users
    for command in users:
        # In coord prefer the learner chooses the algo.
        by_learner = (command, name) == ("prefer", "algo/ppo")
        words = ["env=overcooked", "learner=ppo"] if by_learner else [f"{group}={choice}"]
        assert type(getattr(config.load(command, words), group)) is class_of(name)


@pytest.mark.parametrize("name", OVERLAYS)
def test_values_for_a_layout_fit_and_change_something(name: str) -> None:
    from coord.overcooked import layout_names

    choice, layout = "/".join(name.split("/")[:2]), name.rpartition("/")[2]
    assert layout in layout_names()
    values = values_of(name)
    default = config.from_dict(class_of(choice), values_of(choice))
    tuned = config.from_dict(class_of(choice), {**values_of(choice), **values})
    assert tuned != default
    assert all(getattr(tuned, key) != getattr(default, key) for key in values), "a value equal to the default is dead"


def leaves(values: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def values_below(command: str, folders: list[str], words: dict[str, str]) -> dict[str, Any]:
    """Field -> value on a layout without what the method sets for the command."""
    values = {**values_of(command)}
    for group in ("algo", "method"):
        choice = words.get(group, config.default_groups(command)[group])
        for file in (f"{group}/{choice}", "/".join([f"{group}/{choice}", *folders, words["layout"]])):
            values |= {f"{group}.{key}": v for key, v in (values_of(file) if file in FILES else {}).items()}
    return values


@pytest.mark.parametrize("name", [name for name in OF_COMMANDS if name.partition("/")[0] in ("train", "population")])
def test_what_a_method_sets_for_its_command_arrives(name: str) -> None:
    """configs/<command>/[<preset>/][<layout>/]<method>.yaml; nothing in it is what would have been anyway."""
    from coord.overcooked import layout_names

    command, *folders, method = name.split("/")
    layout = folders.pop() if folders and folders[-1] in layout_names() else None
    words = {"method": method, "layout": layout or "cramped_room"} | ({"preset": folders[0]} if folders else {})
    made = config.from_dict(class_of(command), config.compose(command, words))  # every name and type fits
    asked, arrived = dict(leaves(values_of(name))), dict(leaves(config.to_dict(made)))
    particular = "/".join([command, *folders, words["layout"], method]) in FILES
    below = [values_below(command, folders, words | {"layout": name}) for name in ([layout] if layout else CLASSIC)]
    for key, value in asked.items():
        assert any(value != values[key] for values in below), f"{key}: a value equal to the default is dead"
        assert arrived[key] == value or (particular and layout is None), key


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
    with pytest.raises(UserError, match="unknown method with preset=published 'belief'"):
        config.load("train", ["preset=published", "method=belief"])


@pytest.mark.parametrize("name", [name for name in OF_COMMANDS if name.partition("/")[0] == "prefer"])
def test_what_a_task_or_a_method_sets_arrives_or_is_refined(name: str) -> None:
    """configs/prefer/[<preset>/<suite or task>[/]]<method>.yaml; every value is another than the defaults'."""
    suites = {"dmc": "cheetah_run", "metaworld": "door-open"}
    command, *places = name.split("/")
    words = {"preset": places[0]} if places[0] in ("fast", "published") else {"method": places[0]}
    if len(places) > 1:
        words["env"] = suites.get(places[1], places[1])
    if words.get("env") == "overcooked_ppo":
        words |= {"env": "overcooked", "learner": "ppo", "algo": "ppo"}
    if len(places) > 2:
        words["method"] = places[2]
    composed = config.compose(command, words)
    made = config.from_dict(class_of(command), composed)  # every name and type fits
    groups = config.default_groups(command)
    groups |= {group: words[group] for group in groups if group in words}
    defaults = dict(values_of(command))
    for group, choice in groups.items():
        defaults |= {f"{group}.{key}": value for key, value in values_of(f"{group}/{choice}").items()}
    arrived = dict(leaves(config.to_dict(made)))
    refined = [file for file in OF_COMMANDS if len(places) == 1 and file.endswith(f"/{places[0]}") and file != name]
    finer = {key for file in refined for key, _ in leaves(values_of(file))}
    for key, value in leaves(values_of(name)):
        assert arrived[key] == value or key in finer, key
        assert value != defaults[key] or len(places) > 1, f"{key}: a value equal to the default is dead"


def test_published_settings_of_walker_and_a_meta_world_task() -> None:
    walker = config.load("prefer", ["preset=published", "method=mrn"])
    assert (walker.algo.hidden, walker.algo.batch_size, walker.algo.lr) == ((1024, 1024), 1024, 5e-4)
    assert (walker.labels, walker.session_labels, walker.session_every, walker.unsup_steps) == (100, 10, 20_000, 9000)
    assert (walker.method.form, walker.method.every, walker.total_steps) == ("released", 1000, 1_000_000)
    door = config.load("prefer", ["preset=published", "env=door-open", "method=mrn"])
    assert (door.algo.hidden, door.algo.batch_size, door.algo.lr) == ((256, 256, 256), 512, 3e-4)
    assert (door.labels, door.session_every, door.reward.train_amount, door.method.every) == (1000, 5000, 10, 5000)


def test_a_method_brings_its_own_settings_of_other_parts() -> None:
    sac = config.load("prefer", ["preset=published", "method=sac"])
    assert (sac.unsup_steps, sac.labels, sac.seed_steps) == (0, 0, 5000)
    qpa = config.load("prefer", ["preset=published", "method=qpa"])
    assert (qpa.query.selector, qpa.reward.ensemble, qpa.reward.train_amount) == ("onpolicy", 1, 2000)
    surf = config.load("prefer", ["preset=published", "method=surf"])
    assert (surf.reward.crop_margin, surf.reward.train_amount, surf.method.unlabelled_per_label) == (5, 1000, 100)
    assert config.load("prefer", ["method=surf", "reward.train_amount=7"]).reward.train_amount == 7


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["preset=fats"], "did you mean 'fast'"),
        (["preset=published", "env=hopper_hop"], "unknown task with preset=published 'hopper_hop'"),
        (["preset=published", "env=walker_wlk"], "did you mean 'walker_walk'"),
        (["method=pebbles"], "did you mean 'pebble'"),
        (["method=fcp"], "unknown method 'fcp'"),
    ],
)
def test_prefer_refuses_what_it_does_not_know(words: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        config.load("prefer", words)


def numbers(hint: Any, bounds: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The bounds of every int and float within a type."""
    if hint in (int, float):
        return [bounds]
    own = getattr(hint, "__metadata__", ())
    parts = (hint.__origin__,) if own else getattr(hint, "__args__", ())
    return [found for part in parts for found in numbers(part, own or bounds)]


@pytest.mark.parametrize("name", NAMES)
def test_every_number_is_bounded_on_both_sides(name: str) -> None:
    for field, hint in config.hints(class_of(name)).items():
        if field in ELSEWHERE or "Config" in str(hint):
            continue
        for bounds in numbers(hint):
            assert any(isinstance(one, Ge | Gt) for one in bounds), f"{name}.{field}"
            assert any(isinstance(one, Le | Lt) for one in bounds), f"{name}.{field}"
