"""From `name=value` words and YAML files to frozen dataclasses.

Each command has one YAML file in `configs/` that lists every field with its default and, as a comment, its
meaning; choices such as `algo=ppo` are folders (Hydra groups). Hydra composes them; `from_dict` then turns
the plain result into the dataclass named in `CONFIGS`, checking every name; `coord.run.convert` does types and bounds.
Below this module nobody sees OmegaConf. Words stand as they were typed until they meet the type of their field.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import importlib
import json
import operator
import re
import typing
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from coord import plugins, yaml_files
from coord.errors import UserError, shortened, unknown
from coord.places import CONFIG_FOLDER
from coord.run import renames
from coord.run.config_files import command_file, exists, options, overlays, own_overlays
from coord.run.merging import check_names, merge
from coord.threads import resolve
from coord.yaml_files import read_yaml

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

# Fields that never change what a run computes, and with them those that may be given when a saved run is continued: the
# number of threads makes it another run, so it takes change_threads=true as well.
INCIDENTAL = ("resume", "save_every_s", "change_threads")
RESUMABLE = (*INCIDENTAL, "threads")
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
    cfg = _load_resumed(command, words) if words.get("resume") else _load_new(command, words)
    if _only_resolving.get():
        raise _Resolved(cfg)
    return cfg


class _Resolved(Exception):
    """What `resolved` waits for."""

    def __init__(self, cfg: Any) -> None:
        super().__init__()
        self.cfg = cfg


_only_resolving: ContextVar[bool] = ContextVar("only_resolving", default=False)


def resolved(run: Callable[[Sequence[str]], int], words: Sequence[str]) -> Any:
    """The configuration that a command's `run(words)` would go by; nothing is done.

    Raises:
        UserError: as `load`.
    """
    token = _only_resolving.set(True)
    try:
        run(words)
    except _Resolved as found:
        return found.cfg
    finally:
        _only_resolving.reset(token)
    raise UserError("this command has no configuration")


def _load_new(command: str, words: Mapping[str, str]) -> Any:
    """The configuration of a new run."""
    if "change_threads" in words:
        raise UserError("change_threads= goes with resume= and threads=: a new run just takes threads=")
    for key in ("out", "resume"):
        if words.get(key) == "":
            raise UserError(f"{key}= names no place: say which, or leave it out")
    cfg = from_dict(config_class(command), compose(command, words))
    _refuse_idle(command, cfg, words)
    return _settled(cfg)


def _refuse_idle(command: str, cfg: Any, words: Mapping[str, str]) -> None:
    """Refuse typed words that nothing reads under this configuration.

    `idle()` of the configuration, or `idle(cfg)` of the command's module, gives field -> why; a command need not have
    either. Defaults may be idle: nobody was led to expect anything of them.
    """
    of_module: Callable[[Any], Mapping[str, str]] = getattr(
        plugins.find("coord.commands", command, "command"), "idle", lambda cfg: {}
    )
    idle: Mapping[str, str] = cfg.idle() if hasattr(cfg, "idle") else of_module(cfg)
    for key, text in words.items():
        field = key.partition(".")[0]
        if field in idle:
            raise UserError(f"{key}={shortened(text)} would do nothing: {idle[field]}")


def _settled(cfg: Any) -> Any:
    """The configuration with the number of threads that `threads` comes to here: what is written down is a number."""
    threads = getattr(cfg, "threads", None)
    return cfg if threads is None else dataclasses.replace(cfg, threads=resolve(threads))


def compose(command: str, words: Mapping[str, str]) -> dict[str, Any]:
    """Merge the YAML files by Hydra and put `words` (field -> text) on top; names are checked, types not yet."""
    groups = _choices(command, words)
    merged = _composed(command, groups, words) if exists(command) else plain_defaults(config_class(command))
    foreign = {group: choice for group, choice in groups.items() if not exists(f"{group}/{choice}")}
    merged |= {group: plain_defaults(choice_class(command, group, choice)) for group, choice in foreign.items()}
    for file, place in own_overlays(command, groups, words):
        merge(merged, read_yaml(file) or {}, str(file), () if place == "_global_" else (place,))
    values = {key: text for key, text in words.items() if key not in groups}
    check_names(command, groups, values, merged)
    for key, text in values.items():
        *path, leaf = key.split(".")
        functools.reduce(operator.getitem, path, merged)[leaf] = text
    merged = _interpolated(merged, values)
    return merged | {group: {"name": choice, **(merged.get(group) or {})} for group, choice in groups.items()}


def _interpolated(values: dict[str, Any], words: Mapping[str, str]) -> dict[str, Any]:
    """`${seed}` in a typed word stands for the value of another field, as in Hydra; `\\${` for itself."""
    typed = [f"{key}={text}" for key, text in words.items() if "${" in text]
    if not typed:
        return values
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        return typing.cast("dict[str, Any]", OmegaConf.to_container(OmegaConf.create(values), resolve=True))
    except OmegaConfBaseException as error:
        reason = str(error).partition("\n")[0]
        raise UserError(f"cannot resolve {shortened(', '.join(typed))}: {reason}") from error


def _composed(command: str, groups: Mapping[str, str], words: Mapping[str, str]) -> dict[str, Any]:
    """What Hydra makes of our files; a choice of another package, which has none, is left out."""
    import hydra
    from omegaconf import OmegaConf

    chosen = [f"{group}={choice}" if exists(f"{group}/{choice}") else f"~{group}" for group, choice in groups.items()]
    with hydra.initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
        node = hydra.compose(command, chosen + overlays(command, groups, words))
    return typing.cast("dict[str, Any]", OmegaConf.to_container(node, resolve=True))


def plain_defaults(cls: type) -> dict[str, Any]:
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
    types = hints(cls)
    converted = {key: _part(fields[key], types[key], value, f"{where}{key}") for key, value in values.items()}
    for name, field in fields.items():
        if name not in values and field.default is field.default_factory is dataclasses.MISSING:
            raise UserError(f"{where}{name} is missing")
    try:
        return cls(**converted)
    except UserError as error:
        raise UserError(f"{where}{error}") from error


@functools.cache
def hints(cls: type) -> dict[str, Any]:
    """Field -> type; what is imported for types only is found among the choices of the groups."""
    groups = {field.name for field in dataclasses.fields(cls)}
    chosen = [config_class(name) for name in CONFIGS if name.partition("/")[0] in groups]
    return typing.get_type_hints(cls, localns={one.__name__: one for one in chosen}, include_extras=True)


def _part(field: dataclasses.Field[Any], hint: Any, value: Any, where: str) -> Any:
    """A field's value; one that is a group, or a part of its own, becomes a dataclass."""
    from coord.run.convert import convert

    is_group = "plugins" in field.metadata or any(key.startswith(f"{field.name}/") for key in CONFIGS)
    if not is_group and not dataclasses.is_dataclass(hint):
        return convert(hint, value, where)
    rest = {"name": value} if is_group and isinstance(value, str) else value  # a choice with its defaults
    if not isinstance(rest, Mapping):
        raise UserError(f"{where}={shortened(value)}: expected a mapping")
    if not is_group:
        return from_dict(typing.cast("type", hint), rest, f"{where}.")
    cls = _class_of(field, str(rest.get("name")))
    return from_dict(cls, {key: one for key, one in rest.items() if key != "name"}, f"{where}.")


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
    if not dataclasses.is_dataclass(cls):
        return "", ""
    for name, plugin in plugins.loaded(plugins.METHOD_GROUPS, "method", like=cls.__module__):  # most stand beside it
        with suppress(UserError):
            if plugins.config_of(plugin) is cls:
                return "method", name
    return "", ""


def to_yaml(config: Any) -> str:
    """The resolved configuration as YAML text."""
    return yaml_files.to_yaml(to_dict(config))


def load_saved(command: str, path: str | Path) -> Any:
    """The configuration that a run folder's `config.yaml` holds.

    Raises:
        UserError: the file is missing or does not fit this version's fields.
    """
    values = saved_values(path)
    try:
        return from_dict(config_class(command), renames.saved_fields(command, values))
    except UserError as error:
        raise UserError(f"{path} does not fit coord {command}: {error}") from error


def saved_values(path: str | Path) -> dict[str, Any]:
    """What stands in a run folder's `config.yaml`, unchecked.

    Raises:
        UserError: the file is missing or no such file.
    """
    values = read_yaml(path)
    if not isinstance(values, dict):
        raise UserError(f"{path} is not the configuration of a run")
    return values


def fingerprint(config: Any, *, without: Sequence[str] = ("seed", "out", *INCIDENTAL)) -> str:
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


def default_groups(command: str) -> dict[str, str]:
    """The groups of a command and what is chosen when nothing is said, e.g. `{"algo": "ppo"}`."""
    groups = [entry for entry in command_file(command).get("defaults", []) if isinstance(entry, dict)]
    return {group: choice for entry in groups for group, choice in entry.items()}


def _load_resumed(command: str, words: Mapping[str, str]) -> Any:
    """The saved configuration of the run folder `resume`, with the few fields replaced that may change."""
    for key in words:
        if key not in (*RESUMABLE, *MENDABLE):
            raise UserError(f"'{key}' cannot change when a run is resumed; allowed: {', '.join(RESUMABLE + MENDABLE)}")
    asked = compose(command, words)
    saved = load_saved(command, Path(words["resume"]) / "config.yaml")
    values = {key: asked[key] for key in words}
    resumed = _settled(from_dict(type(saved), {**to_dict(saved), **values}))
    _check_threads(saved, resumed, words)
    return resumed


def _check_threads(saved: Any, resumed: Any, words: Mapping[str, str]) -> None:
    """Refuse another number of threads that was not forced; runs older than the rule hold 0, which tells none."""
    if resumed.change_threads and "threads" not in words:
        raise UserError("change_threads=true goes with threads=<number>: to how many?")
    if saved.threads and resumed.threads != saved.threads and not resumed.change_threads:
        raise UserError(
            f"threads={words['threads']}: {words['resume']} was begun with threads={saved.threads}, and another number "
            f"gives another result; leave threads= out, or add change_threads=true"
        )


def choices(command: str, group: str) -> list[str]:
    """Choices of a group that a command has: those whose dataclass the annotation of its field names; else all."""
    field = next(field for field in dataclasses.fields(config_class(command)) if field.name == group)
    if "plugins" in field.metadata:
        return list(plugins.entries(field.metadata["plugins"]))
    named = re.findall(r"\w+", str(field.type))
    found = [name for name in options(group) if CONFIGS.get(f"{group}/{name}", "").partition(":")[2] in named]
    return found or options(group)


def choice_class(command: str, group: str, choice: str) -> type:
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
    learner = words.get("learner", command_file(command).get("learner"))
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
