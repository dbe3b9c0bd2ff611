"""A dataclass is the one place of its defaults and their meanings; what configs/ adds arrives and says more."""

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
from coord.run import config
from coord.run.fields import fields_of, fields_of_choice

CONFIGS = Path(__file__).parents[2] / "configs"
COMMANDS = {name: config.config_class(name) for name in plugins.entries("coord.commands")}
# "algo/ppo" -> the commands that may choose it
CHOICES: dict[str, list[str]] = {}
for command, cls in COMMANDS.items():
    for group, offered in plugins.choices_of(cls).items():
        for choice in offered.names():
            CHOICES.setdefault(f"{group}/{choice}", []).append(command)
NAMES = [*COMMANDS, *CHOICES]
# Studies (configs/study) are documents that a researcher writes, not fields of a command; play reads and checks them.
FILES = sorted(
    str(path.relative_to(CONFIGS).with_suffix("")) for path in CONFIGS.rglob("*.yaml") if path.parent.name != "study"
)
CLASSIC = [path.stem for path in (CONFIGS / "algo/ppo/published").glob("*.yaml")]  # layouts of the published presets
# configs/<command>/...: fields of any part of a command; configs/<group>/<choice>/...: fields of a choice.
OF_CHOICES = [name for name in FILES if "/".join(name.split("/")[:2]) in CHOICES and name.count("/") >= 2]
OF_COMMANDS = [name for name in FILES if name not in OF_CHOICES]

# Their bounds stand with what they mean: threads with the machine, sizes of drawn kitchens with the generator.
ELSEWHERE = {"threads", "width", "height", "players", "count"}


def class_of(name: str) -> type:
    """The dataclass of a command ("train") or of a choice ("algo/ppo")."""
    group, _, choice = name.partition("/")
    return plugins.choices_of(COMMANDS[CHOICES[name][0]])[group].config(choice, group) if choice else COMMANDS[name]


def values_of(file: str) -> dict[str, Any]:
    return yaml.safe_load((CONFIGS / f"{file}.yaml").read_text()) or {}


def leaves(values: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


@pytest.mark.parametrize("name", NAMES)
def test_dataclass_is_frozen_and_by_keyword(name: str) -> None:
    cls = class_of(name)
    assert cls.__dataclass_params__.frozen
    assert all(field.kw_only for field in dataclasses.fields(cls))


@pytest.mark.parametrize("name", NAMES)
def test_what_is_read_from_the_source_is_what_the_class_has(name: str) -> None:
    """Fields, order and defaults; read the same for a choice as for the class that it stands for."""
    cls = class_of(name)
    rows = fields_of(cls)
    for command in CHOICES.get(name, ()):
        group, _, choice = name.partition("/")
        assert fields_of_choice(plugins.choices_of(COMMANDS[command])[group], choice, group) == rows
    own = [field for field in dataclasses.fields(cls) if "choice" not in field.metadata]
    assert [row.name for row in rows] == [field.name for field in own]
    built = config.from_dict(cls, config.compose(name, {}) if name in COMMANDS else config.defaults_of(cls))
    for field in own:
        default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
        assert getattr(built, field.name) == default or name in FILES, field.name
        assert type(getattr(built, field.name)) is type(default), field.name


@pytest.mark.parametrize("name", NAMES)
def test_every_field_is_explained(name: str) -> None:
    for row in fields_of(class_of(name)):
        assert len(row.meaning) > 4, row.name
        assert all(word in row.explained for word in row.words), row.name


@pytest.mark.parametrize("name", CHOICES)
def test_every_choice_composes(name: str) -> None:
    group, choice = name.split("/")
    for command in CHOICES[name]:
        # In coord prefer the learner chooses the algo.
        by_learner = (command, name) == ("prefer", "algo/ppo")
        words = ["env=overcooked", "learner=ppo"] if by_learner else [f"{group}={choice}"]
        made = config.load(command, words)
        assert type(getattr(made, group)) is class_of(name)
        assert config.chosen(made, group) == choice


def test_no_file_is_a_list_of_defaults() -> None:
    """Whatever stands at the top of configs/, or names a choice, says what its dataclass does not."""
    for file in FILES:
        if file in COMMANDS:
            same = {key for key, value in leaves(values_of(file)) if values_below(file, [], {}).get(key, "") == value}
            assert not same, f"{file}: {same}"
        assert file not in CHOICES, f"{file}: the place of its defaults is the dataclass"


@pytest.mark.parametrize("name", OF_CHOICES)
def test_values_for_a_layout_fit_and_change_something(name: str) -> None:
    from coord.overcooked import layout_names

    choice, layout = "/".join(name.split("/")[:2]), name.rpartition("/")[2]
    assert layout in layout_names()
    values, cls = values_of(name), class_of(choice)
    default = config.from_dict(cls, {})
    tuned = config.from_dict(cls, values)
    assert tuned != default
    assert all(getattr(tuned, key) != getattr(default, key) for key in values), "a value equal to the default is dead"


def values_below(command: str, folders: list[str], words: dict[str, str]) -> dict[str, Any]:
    """Field -> value on a layout without what the method sets for the command."""
    values = config.defaults_of(COMMANDS[command])
    for group, default in config.default_groups(command).items():
        choice = words.get(group, default)
        part = config.defaults_of(class_of(f"{group}/{choice}"))
        tuned = "/".join([f"{group}/{choice}", *folders, words.get("layout", "")])
        values |= {f"{group}.{key}": v for key, v in {**part, **(values_of(tuned) if tuned in FILES else {})}.items()}
    return values


@pytest.mark.parametrize("name", [name for name in OF_COMMANDS if name.split("/")[0] in ("train", "population")])
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
    defaults = values_below(command, [], words)
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
