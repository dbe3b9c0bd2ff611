"""From `name=value` words and YAML files to frozen dataclasses.

Each command has one YAML file in `configs/` that lists every field with its default and, as a comment, its
meaning; choices such as `algo=ppo` are folders (Hydra groups). Hydra composes them; `from_dict` then turns
the plain result into the dataclass named in `CONFIGS`, checking every name and type. Below this module nobody
sees OmegaConf. The conversion is our own because OmegaConf 2.3 refuses `Literal`, returns tuples as lists and
cannot take a frozen dataclass as a schema; ours also says what was expected.

A choice may be tuned per layout: `configs/algo/ppo/<layout>.yaml` replaces some defaults of `algo/ppo.yaml`
when that layout is asked for, and `configs/<command>/<method>.yaml` those of any part of a command when that method
is (see `_layout_overlays`). A command that trains on tasks is tuned as a whole: `configs/prefer/<method>.yaml`,
then `configs/prefer/<preset>/<suite>.yaml`, `.../<task>.yaml`, `.../<suite>/<method>.yaml` and
`.../<task>/<method>.yaml` replace fields of any of its parts, where they exist; the suite `overcooked_ppo` is that of
kitchens with learner=ppo. Words on the command line win.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import importlib
import json
import operator
import re
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from coord import plugins
from coord.errors import UserError, unknown
from coord.places import CONFIG_FOLDER

# What a choice of a group is turned into. Names, not classes: help must not import torch. Commands and the methods of
# other packages are plug-ins (see coord/plugins.py).
CONFIGS: dict[str, str] = {
    "crowd/pooled": "coord.preference.reward.annotators:PooledConfig",
    "crowd/reliability": "coord.preference.reward.annotators:ReliabilityConfig",
    "crowd/mixture": "coord.preference.reward.annotators:MixtureConfig",
    "algo/ppo": "coord.algos.ppo:PPOConfig",
    "algo/bc": "coord.algos.bc:BCConfig",
    "algo/sac": "coord.algos.sac:SACConfig",
    "reward/ensemble": "coord.preference.reward.model:RewardConfig",
    "query/pairs": "coord.preference.labels.queries:QueryConfig",
    "imitation/clone": "coord.preference.learners.imitation:ImitationConfig",
    "kl/penalty": "coord.preference.learners.kl:KLConfig",
    "teacher/bpref": "coord.preference.labels.answerers:TeacherConfig",
    "safety/hazards": "coord.preference.reward.safety:SafetyConfig",
}

OWN_SUITES = ("island", "overcooked")  # tasks of `coord prefer` that are no control tasks
# Fields that may differ when a saved run is continued; anything else would make it a different run.
RESUMABLE = ("resume", "threads", "save_every_s")
MENDABLE = ("name",)  # these may, too: a run that was named before names were checked must not be lost at its end


def load(command: str, overrides: Sequence[str], *, positional: Sequence[str] = ()) -> Any:
    """The configuration of one command as its dataclass `Config`.

    Args:
        command: a name of the group `coord.commands`, e.g. "train".
        overrides: words such as `layout=cramped_room`, `algo=bc`, `algo.lr=0.001`, `partners=a,b`.
        positional: fields that leading words without `=` fill, in order.

    Raises:
        UserError: an unknown field or choice, a value of the wrong type; or, with `resume=`, a field that a
            saved run does not let change.
    """
    words = split_overrides(overrides, positional)
    if words.get("resume"):
        return _load_resumed(command, words)
    return from_dict(config_class(command), compose(command, words))


def compose(command: str, words: Mapping[str, str]) -> dict[str, Any]:
    """Merge the YAML files by Hydra and put `words` (field -> text) on top; names are checked, types not yet."""
    groups = _choices(command, words)
    merged = _composed(command, groups, words) if _exists(command) else _plain_defaults(config_class(command))
    foreign = {group: choice for group, choice in groups.items() if not _exists(f"{group}/{choice}")}
    merged |= {group: _plain_defaults(_choice_class(command, group, choice)) for group, choice in foreign.items()}
    values = {key: text for key, text in words.items() if key not in groups}
    _check_names(command, values, merged)
    for key, text in values.items():
        *path, leaf = key.split(".")
        functools.reduce(operator.getitem, path, merged)[leaf] = _value(text)
    return merged | {group: {"name": choice, **(merged.get(group) or {})} for group, choice in groups.items()}


def _composed(command: str, groups: Mapping[str, str], words: Mapping[str, str]) -> dict[str, Any]:
    """What Hydra makes of our files; a choice of another package, which has none, is left out."""
    import hydra
    from omegaconf import OmegaConf

    chosen = [f"{group}={choice}" if _exists(f"{group}/{choice}") else f"~{group}" for group, choice in groups.items()]
    with hydra.initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
        node = hydra.compose(command, chosen + _overlays(command, groups, words))
    return typing.cast("dict[str, Any]", OmegaConf.to_container(node, resolve=True))


def _plain_defaults(cls: type) -> dict[str, Any]:
    """The defaults of a dataclass of another package, as a file of ours would hold them."""
    values = {}
    for item in dataclasses.fields(cls):
        if item.default_factory is not dataclasses.MISSING:
            values[item.name] = item.default_factory()
        else:
            values[item.name] = None if item.default is dataclasses.MISSING else item.default
    return json.loads(json.dumps(values))


def from_dict(cls: type, values: Mapping[str, Any], where: str = "") -> Any:
    """Build dataclass `cls` from plain values, checking that names and types fit.

    A field that is a group in `CONFIGS` (such as `algo`) becomes the dataclass that its entry `name` chooses.

    Raises:
        UserError: names the field, the value and what is allowed.
    """
    fields = {field.name: field for field in dataclasses.fields(cls)}
    for key in values:
        if key not in fields:
            raise unknown("field", where + key, [where + name for name in fields])
    scope = vars(importlib.import_module(cls.__module__))
    converted = {key: _convert_field(fields[key], scope, value, f"{where}{key}") for key, value in values.items()}
    try:
        return cls(**converted)
    except (TypeError, ValueError, UserError) as error:
        raise UserError(f"{where}{error}") from error


def to_dict(config: Any) -> dict[str, Any]:
    """Plain values of a config dataclass, tuples as lists; `from_dict` of it gives an equal config."""
    values = json.loads(json.dumps(dataclasses.asdict(config)))
    for key in values:
        group, choice = choice_of(getattr(config, key))
        if group == key:
            values[key] = {"name": choice, **values[key]}
    return values


def choice_of(part: Any) -> tuple[str, str]:
    """Group and choice that a part of a configuration stands for, ("algo", "ppo"); two empty texts if it is none."""
    names = {target: name for name, target in CONFIGS.items()}
    group, _, choice = names.get(f"{type(part).__module__}:{type(part).__qualname__}", "").partition("/")
    return (group, choice) if group else _plugin_of(type(part))


def _plugin_of(cls: type) -> tuple[str, str]:
    """("method", its name) if `cls` is the configuration of a method that some package offers."""
    offered = [(group, entry) for group in plugins.METHOD_GROUPS for entry in plugins.entries(group).values()]
    offered.sort(key=lambda pair: pair[1].module != cls.__module__)  # most stand in one file with their configuration
    for group, entry in offered if dataclasses.is_dataclass(cls) else ():
        if plugins.config_of(plugins.find(group, entry.name, "method")) is cls:
            return "method", entry.name
    return "", ""


def to_yaml(config: Any) -> str:
    """The resolved configuration as YAML text."""
    import yaml

    return yaml.safe_dump(to_dict(config), sort_keys=False, allow_unicode=True)


def load_saved(command: str, path: str | Path) -> Any:
    """The configuration that a run folder's `config.yaml` holds.

    Raises:
        UserError: the file is missing or does not fit this version's fields.
    """
    import yaml

    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is damaged: {error}") from error
    if not isinstance(values, dict):
        raise UserError(f"{path} is not the configuration of a run")
    try:
        return from_dict(config_class(command), values)
    except UserError as error:
        raise UserError(f"{path} does not fit coord {command}: {error}") from error


def fingerprint(config: Any, *, without: Sequence[str] = ("seed", "out", *RESUMABLE)) -> str:
    """Eight hexadecimal digits that differ between configurations; fields in `without` do not count."""
    values = {key: value for key, value in to_dict(config).items() if key not in without}
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:8]


def config_class(name: str) -> type:
    """The dataclass of a command, or of a key of `CONFIGS`; imported now."""
    if "/" not in name:
        return plugins.config_of(plugins.find("coord.commands", name, "command"))
    if name not in CONFIGS:
        raise unknown("configuration", name, CONFIGS)
    module, _, cls = CONFIGS[name].partition(":")
    return getattr(importlib.import_module(module), cls)


def split_overrides(overrides: Sequence[str], positional: Sequence[str] = ()) -> dict[str, str]:
    """`["x", "a=1"]` with positional `("what",)` gives `{"what": "x", "a": "1"}`; the last of equals wins."""
    words: dict[str, str] = {}
    names = list(positional)
    for text in overrides:
        match = re.fullmatch(r"([A-Za-z_][\w.]*)=(.*)", text, flags=re.DOTALL)
        if match:
            words[match[1]] = match[2]
        elif names and not text.startswith("-"):
            words[names.pop(0)] = text
        else:
            raise UserError(f"cannot read '{text}': expected name=value, for example layout=cramped_room")
    return words


def options(group: str) -> list[str]:
    """Choices of a group, e.g. `options("algo") == ["bc", "ppo"]`."""
    folder = CONFIG_FOLDER / group
    return sorted(item.name.removesuffix(".yaml") for item in folder.iterdir() if item.name.endswith(".yaml"))


def default_groups(command: str) -> dict[str, str]:
    """The groups of a command and what is chosen when nothing is said, e.g. `{"algo": "ppo"}`."""
    groups = [entry for entry in _command_file(command).get("defaults", []) if isinstance(entry, dict)]
    return {group: choice for entry in groups for group, choice in entry.items()}


@dataclasses.dataclass(frozen=True)
class FieldHelp:
    """One line of help: a field, its default as text, and what it means."""

    name: str
    default: str
    meaning: str


def choice_help(command: str, group: str, choice: str) -> list[FieldHelp]:
    """The fields of one choice of a command's group, named as on the command line."""
    name = f"{group}/{choice}"
    if _exists(name):
        return field_help(name, f"{group}.")
    return _class_help(_choice_class(command, group, choice), f"{group}.")


def field_help(name: str, prefix: str = "") -> list[FieldHelp]:
    """The fields of a command ("train") or of a choice ("algo/ppo") with the meaning from the comments of its file."""
    if not _exists(name):
        return _class_help(config_class(name), prefix)
    text = (CONFIG_FOLDER / f"{name}.yaml").read_text(encoding="utf-8")
    rows = re.findall(r"^(\w+):[ ]*(.*?)[ ]+#[ ](.*)$", text, flags=re.MULTILINE)
    return [FieldHelp(prefix + name, default, meaning) for name, default, meaning in rows if name != "defaults"]


def _class_help(cls: type, prefix: str) -> list[FieldHelp]:
    """The same of a dataclass of another package: the comment behind a field says what it means."""
    import inspect

    comments = dict(re.findall(r"^\s+(\w+):.*?#\s*(.*)$", inspect.getsource(cls), flags=re.MULTILINE))
    return [
        FieldHelp(prefix + name, "null" if value is None else str(value), comments.get(name, ""))
        for name, value in _plain_defaults(cls).items()
    ]


def _load_resumed(command: str, words: Mapping[str, str]) -> Any:
    """The saved configuration of the run folder `resume`, with the few fields replaced that may change."""
    for key in words:
        if key not in (*RESUMABLE, *MENDABLE):
            raise UserError(f"'{key}' cannot change when a run is resumed; allowed: {', '.join(RESUMABLE + MENDABLE)}")
    asked = compose(command, words)
    saved = load_saved(command, Path(words["resume"]) / "config.yaml")
    values = {key: asked[key] for key in words}
    return from_dict(type(saved), {**to_dict(saved), **values})


def choices(command: str, group: str) -> list[str]:
    """Choices of a group that a command has: those whose dataclass the annotation of its field names; else all."""
    field = next(field for field in dataclasses.fields(config_class(command)) if field.name == group)
    if "plugins" in field.metadata:
        return list(plugins.entries(field.metadata["plugins"]))
    named = re.findall(r"\w+", str(field.type))
    found = [name for name in options(group) if CONFIGS.get(f"{group}/{name}", "").partition(":")[2] in named]
    return found or options(group)


def _choice_class(command: str, group: str, choice: str) -> type:
    """The dataclass of one choice of a command's group."""
    return _class_of(next(item for item in dataclasses.fields(config_class(command)) if item.name == group), choice)


def _class_of(field: dataclasses.Field[Any], choice: str) -> type:
    if "plugins" in field.metadata:
        return plugins.config_of(plugins.find(field.metadata["plugins"], choice, field.name))
    return config_class(f"{field.name}/{choice}")


def _choices(command: str, words: Mapping[str, str]) -> dict[str, str]:
    """What each group of the command is set to.

    Raises:
        UserError: a choice that does not exist.
    """
    groups = default_groups(command)
    learner = words.get("learner", _command_file(command).get("learner"))
    if learner is not None:  # it decides whose fields algo has
        groups["algo"] = learner
        if learner not in choices(command, "algo"):
            raise unknown("learner", learner, choices(command, "algo"))
    for group in groups:
        choice = groups[group] = words.get(group, groups[group])
        if choice not in choices(command, group):
            raise unknown(group, choice, choices(command, group))
    if learner is not None and groups["algo"] != learner:
        raise UserError(f"algo={groups['algo']} goes with learner={groups['algo']}: say that instead")
    return groups


def _overlays(command: str, groups: Mapping[str, str], words: Mapping[str, str]) -> list[str]:
    """Hydra words that put files on top of the defaults: per task for commands with a field `env`, else per layout."""
    defaults = _command_file(command)
    if "env" in defaults:
        return _task_overlays(command, groups["method"], {**defaults, **words})
    return _layout_overlays(command, groups, words)


def _task_overlays(command: str, method: str, fields: Mapping[str, Any]) -> list[str]:
    """The files of a method and of a task under a preset, from general to particular.

    Raises:
        UserError: unknown preset, or one that says nothing about the task.
    """
    preset, task = str(fields["preset"]), str(fields["env"])
    root = CONFIG_FOLDER / command
    presets = sorted(item.name for item in root.iterdir() if item.is_dir())
    if preset not in presets:
        raise unknown("preset", preset, presets)
    # By how they write names: no simulator is loaded for this.
    suite = task if task in OWN_SUITES else "dmc" if "_" in task else "metaworld"
    if fields.get("learner") == "ppo":
        if task != "overcooked":
            raise UserError(f"learner=ppo is for env=overcooked, not for env={task}; see method=prefppo")
        suite = task = f"{task}_ppo"
    general, own = f"{command}/{preset}/{suite}", f"{command}/{preset}/{task}"
    if not (_exists(general) or _exists(own)):
        raise unknown(f"task with preset={preset}", task, options(f"{command}/{preset}"))
    files = (general, own, f"{command}/{method}", f"{general}/{method}", f"{own}/{method}")
    names = filter(_exists, dict.fromkeys(files))
    return [f"+{folder}@_global_={leaf}" for folder, _, leaf in (name.rpartition("/") for name in names)]


def _exists(name: str) -> bool:
    return (CONFIG_FOLDER / f"{name}.yaml").is_file()


def _layout_overlays(command: str, groups: Mapping[str, str], words: Mapping[str, str]) -> list[str]:
    """Hydra words that put files on top of the choices, from general to particular, where they exist.

    `<group>/<choice>/<layout>.yaml` has fields of that group; `<command>/<method>.yaml` and
    `<command>/<layout>/<method>.yaml` have fields of any part of the command. With `preset=<name>` the files in
    folders of that name (`<group>/<choice>/<name>/...`, `<command>/<name>/...`) apply instead; see `_check_preset`.
    """
    if not groups:
        return []
    from coord.overcooked import LAYOUT_ALIASES  # takes half a second, and help goes without it

    layout = str(words.get("layout", _command_file(command).get("layout", "")))
    layout = LAYOUT_ALIASES.get(layout, layout if re.fullmatch(r"\w+", layout) else "")
    preset, method = words.get("preset", "null"), groups.get("method", "")
    inside = "" if preset == "null" else f"/{preset}"
    if inside:
        _check_preset(command, groups, preset, layout)
    files = [(f"{group}/{choice}{inside}", layout, group) for group, choice in groups.items()]
    files += [(f"{command}{inside}", method, "_global_"), (f"{command}{inside}/{layout}", method, "_global_")]
    return [f"+{folder}@{place}={leaf}" for folder, leaf, place in files if leaf and _exists(f"{folder}/{leaf}")]


def _check_preset(command: str, groups: Mapping[str, str], preset: str, layout: str) -> None:
    """Raise UserError unless a preset has values for the layout and the method: a mixture would be nobody's."""
    root = CONFIG_FOLDER
    homes = [name for name in (command, *(f"{g}/{c}" for g, c in groups.items())) if (root / name).is_dir()]
    presets = {item.name for name in homes for item in (root / name).iterdir() if item.is_dir()}
    if preset not in presets:
        raise unknown("preset", preset, sorted(presets))
    for name in homes:
        if name != command and (root / name / preset).is_dir() and not _exists(f"{name}/{preset}/{layout}"):
            raise unknown(f"layout with preset={preset}", layout, options(f"{name}/{preset}"))
    home, method = f"{command}/{preset}", groups.get("method", "")
    if method and not (_exists(f"{home}/{method}") or _exists(f"{home}/{layout}/{method}")):
        raise unknown(f"method with preset={preset}", method, options(home))


def _check_names(command: str, values: Mapping[str, str], base: Mapping[str, Any]) -> None:
    """Refuse fields that the composed configuration does not have; a name without its group gets a hint."""
    names = _flat_names(base)
    for key in values:
        if key in names:
            continue
        inner = [name for name in names if name.rpartition(".")[2] == key]
        if inner:
            raise UserError(f"unknown field '{key}' of coord {command}; did you mean '{inner[0]}'?")
        raise unknown(f"field of coord {command}", key, names)


def _flat_names(values: Mapping[str, Any], prefix: str = "") -> list[str]:
    names = []
    for key, value in values.items():
        names.append(prefix + key)
        if isinstance(value, Mapping):
            names += _flat_names(value, f"{prefix}{key}.")
    return names


def _value(text: str) -> Any:
    """What `text` means in Hydra's grammar (numbers, lists, quotes); as it stands if that is no value of it."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        parsed = OverridesParser.create().parse_override(f"field={text}")
    except HydraException:
        return text  # for example a '#' or '=' inside a path
    # A sweep (a,b) is a list for us, and nobody means an interpolation within a path.
    return text if parsed.is_sweep_override() or "${" in text else parsed.value()


def _command_file(command: str) -> dict[str, Any]:
    """The file of a command; nothing for a command of another package."""
    import yaml

    if not _exists(command):
        return {}
    return yaml.safe_load((CONFIG_FOLDER / f"{command}.yaml").read_text(encoding="utf-8"))


def _convert_field(field: dataclasses.Field[Any], scope: dict[str, Any], value: Any, where: str) -> Any:
    if "plugins" in field.metadata or any(name.startswith(f"{field.name}/") for name in CONFIGS):
        value = {"name": value} if isinstance(value, str) else value  # a choice with its defaults
        _require(isinstance(value, Mapping), where, value, "a mapping")
        rest = dict(value)
        return from_dict(_class_of(field, str(rest.pop("name", None))), rest, f"{where}.")
    hint = eval(field.type, scope) if isinstance(field.type, str) else field.type
    return _convert(hint, value, where)


def _convert(hint: Any, value: Any, where: str) -> Any:
    """`value` as the type `hint`; see `_CONVERTERS` for what is accepted."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if dataclasses.is_dataclass(hint):
        _require(isinstance(value, Mapping), where, value, "a mapping")
        return from_dict(typing.cast("type", hint), value, f"{where}.")
    if origin is typing.Literal:
        if value not in args:
            raise unknown(where, value, args)
        return value
    if origin in (typing.Union, types.UnionType):
        return _convert_union(args, value, where)
    if origin is Mapping:
        _require(isinstance(value, Mapping), where, value, "a mapping, for example {collision: -5}")
        return {str(key): _convert(args[1], item, f"{where}.{key}") for key, item in value.items()}
    if origin is tuple:
        return tuple(_convert(args[0], item, where) for item in _items(value))
    return _convert_scalar(hint, value, where)


def _convert_union(args: tuple[Any, ...], value: Any, where: str) -> Any:
    """None where it is allowed, else the first type that fits."""
    kinds = [arg for arg in args if arg is not type(None)]
    if value is None and len(kinds) < len(args):
        return None
    for kind in kinds[:-1]:
        try:
            return _convert(kind, value, where)
        except UserError:
            continue
    return _convert(kinds[-1], value, where)


def _convert_scalar(hint: type, value: Any, where: str) -> Any:
    """A whole number may be written 1e6, a text may look like a number; yes and no are true and false."""
    number = _number(value)
    if hint is bool:
        _require(isinstance(value, bool), where, value, "true or false")
        return value
    if hint is int:
        _require(number is not None and number == int(number), where, value, "a whole number")
        return int(typing.cast("float", number)) if not isinstance(value, int) else value
    if hint is float:
        _require(number is not None, where, value, "a number")
        return number
    _require(
        hint is str and isinstance(value, str | int | float) and not isinstance(value, bool),
        where,
        value,
        "text",
    )
    return str(value)


def _number(value: Any) -> float | None:
    try:
        return None if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return None


def _items(value: Any) -> list[Any]:
    """A list as it is; `a,b` as two texts; nothing as an empty list; anything else as one item."""
    if isinstance(value, str):
        return [item.strip() for item in value.strip("[]").split(",") if item.strip()]
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


def _require(fits: bool, where: str, value: Any, expected: str) -> None:
    if not fits:
        raise UserError(f"{where}={value}: expected {expected}")
