"""From `name=value` words and YAML files to frozen dataclasses.

A command's dataclass and those of its choices (`algo=ppo`, see `coord.plugins.choice`) are the one place of every
default and its meaning (`coord.run.fields`). Hydra puts the presets and overlays of `configs/` on top of them
(`coord.run.config_files`), words of the command line come last; `from_dict` then turns the plain result into the
dataclasses, checking every name; `coord.run.convert` does types and bounds. Below this module nobody sees OmegaConf.
Words stand as they were typed until they meet the type of their field.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import operator
import re
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from coord import plugins, yaml_files
from coord.errors import UserError, shortened, unknown
from coord.places import CONFIG_FOLDER
from coord.references import names_code
from coord.run import renames
from coord.run.config_files import files_on_top, own_files_on_top
from coord.run.fields import fields_of, fields_of_choice
from coord.run.merging import check_names, merge
from coord.threads import resolve
from coord.yaml_files import read_yaml

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
    """Defaults, YAML files by Hydra, and `words` (field -> text) on top; names are checked, types not yet."""
    cls = config_class(command)
    values = defaults_of(cls)
    groups = _chosen(cls, words, values.get("learner"))
    for group, choice in groups.items():
        rows = fields_of_choice(plugins.choices_of(cls)[group], choice, group)
        values[group] = {row.name: row.default for row in rows}
    merged = _composed(values, files_on_top(command, values, groups, words))
    for file, place in own_files_on_top(command, values, groups, words):
        merge(merged, read_yaml(file) or {}, str(file), () if place == "_global_" else (place,))
    typed = {key: text for key, text in words.items() if key not in groups}
    check_names(command, groups, typed, merged)
    for key, text in typed.items():
        *path, leaf = key.split(".")
        functools.reduce(operator.getitem, path, merged)[leaf] = text
    merged = _interpolated(merged, typed)
    _refuse_code({key: value for key, value in merged.items() if key not in typed})
    return merged | {group: {"name": choice, **(merged.get(group) or {})} for group, choice in groups.items()}


def _refuse_code(untyped: Mapping[str, Any]) -> None:
    """UserError for an agent whose own code would run, or leave to name one, that a file gives and nobody typed."""
    for field, value in untyped.items():
        if field == "allow_code" and value:
            raise UserError("allow_code is set by a configuration file: only who types it may allow code to run")
        for text in _texts(value):
            for piece in text.replace("=", ",").split(","):
                if names_code(piece.strip()):
                    raise UserError(
                        f"{field}: a configuration file names {shortened(piece.strip())}, whose code would run; "
                        f"only who types it may name it: {field}={shortened(text)}"
                    )


def _texts(value: Any) -> Iterator[str]:
    """Every text in a value, however deep."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _texts(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _texts(part)


def defaults_of(cls: type) -> dict[str, Any]:
    """The defaults of a dataclass as plain values, without its choices."""
    return {row.name: row.default for row in fields_of(cls)}


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


def _composed(values: Mapping[str, Any], files: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """What Hydra makes of plain values and the files of configs/ (name, part that it is about) that lie on top."""
    import hydra
    from hydra.core.config_store import ConfigStore
    from omegaconf import OmegaConf

    on_top = [f"{name}@{place}" for name, place in files]
    ConfigStore.instance().store("coord_defaults", {"defaults": ["_self_", *on_top], **values})
    with hydra.initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
        node = hydra.compose("coord_defaults")
    return typing.cast("dict[str, Any]", OmegaConf.to_container(node, resolve=True))


def from_dict(cls: type, values: Mapping[str, Any], where: str = "") -> Any:
    """Build dataclass `cls` from plain values, checking that names and types fit.

    A field that is a choice (such as `algo`) becomes the dataclass that its entry `name` chooses.

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
    """Field -> type; what is imported for types only is found among the choices."""
    offered = [one.offered for one in plugins.choices_of(cls).values() if isinstance(one.offered, Mapping)]
    classes = [plugins.imported(name) for names in offered for name in names.values()]
    return typing.get_type_hints(cls, localns={one.__name__: one for one in classes}, include_extras=True)


def _part(field: dataclasses.Field[Any], hint: Any, value: Any, where: str) -> Any:
    """A field's value; one that is a choice, or a part of its own, becomes a dataclass."""
    from coord.run.convert import convert

    choice: plugins.Offer | None = field.metadata.get("choice")
    if choice is None and not dataclasses.is_dataclass(hint):
        return convert(hint, value, where)
    rest = {"name": value} if choice and isinstance(value, str) else value  # a choice with its defaults
    if not isinstance(rest, Mapping):
        raise UserError(f"{where}={shortened(value)}: expected a mapping")
    if choice is None:
        return from_dict(typing.cast("type", hint), rest, f"{where}.")
    cls = choice.config(str(rest.get("name")), field.name)
    return from_dict(cls, {key: one for key, one in rest.items() if key != "name"}, f"{where}.")


def to_dict(config: Any) -> dict[str, Any]:
    """Plain values of a config dataclass, tuples as lists; `from_dict` of it gives an equal config."""
    values = json.loads(json.dumps(dataclasses.asdict(config)))
    for field in plugins.choices_of(type(config)):
        if name := chosen(config, field):
            values[field] = {"name": name, **values[field]}
    return values


def chosen(config: Any, field: str) -> str:
    """The name of what a choice of a configuration is set to: `chosen(cfg, "algo") == "ppo"`."""
    return plugins.choices_of(type(config))[field].name_of(type(getattr(config, field)))


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


def config_class(command: str) -> type:
    """The dataclass of a command; imported now."""
    return plugins.config_of(plugins.find("coord.commands", command, "command"))


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
    """The choices of a command and what is chosen when nothing is said, e.g. `{"algo": "ppo"}`."""
    return {field: choice.default for field, choice in plugins.choices_of(config_class(command)).items()}


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
    """What a choice of a command may be, `choices("train", "algo") == ["bc", "ppo"]`."""
    return plugins.choices_of(config_class(command))[group].names()


def _chosen(cls: type, words: Mapping[str, str], learner: str | None) -> dict[str, str]:
    """What each choice of a command is set to; `learner` is the default of its field of that name, where it has one.

    Raises:
        UserError: a choice that does not exist.
    """
    offered = plugins.choices_of(cls)
    groups = {group: choice.default for group, choice in offered.items()}
    learner = words.get("learner", learner)
    if learner is not None:  # it decides whose fields algo has
        groups["algo"] = learner
        if learner not in offered["algo"].names():
            raise unknown("learner", learner, offered["algo"].names())
    for group in groups:
        choice = groups[group] = words.get(group, groups[group])
        if choice not in offered[group].names():
            raise unknown(group, choice, offered[group].names())
    if learner is not None and groups["algo"] != learner:
        raise UserError(f"algo={groups['algo']} goes with learner={groups['algo']}: say that instead")
    return groups
