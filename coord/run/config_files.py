"""The files in configs/: presets and overlays, which lie on top of the defaults for a layout, a task or a method.

`configs/<command>.yaml` and `configs/<group>/<choice>.yaml` always apply, where they exist (`rlhf.yaml` has settings of
the parts that suit that command). A choice may be tuned per layout: `configs/algo/ppo/<layout>.yaml` replaces some of
its defaults when that layout is asked for, and `configs/<command>/<method>.yaml` those of any part of a command when
that method is (see `_layout_overlays`). A command that trains on tasks is tuned as a whole:
`configs/prefer/<preset>/<suite>.yaml`, `.../<task>.yaml`, `configs/prefer/<method>.yaml`, `.../<suite>/<method>.yaml`
and `.../<task>/<method>.yaml` replace fields of any of its parts, where they exist; the suite `overcooked_ppo` is that
of kitchens with learner=ppo. Words on the command line win.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from coord.errors import UserError, unknown
from coord.places import CONFIG_FOLDER

OWN_SUITES = ("island", "overcooked")  # tasks of `coord prefer` that are no control tasks


def options(group: str) -> list[str]:
    """Names of the files of a folder of configs/, e.g. `options("algo/ppo/published")`."""
    folder = CONFIG_FOLDER / group
    return sorted(item.name.removesuffix(".yaml") for item in folder.iterdir() if item.name.endswith(".yaml"))


_added: ContextVar[Path | None] = ContextVar("added", default=None)


@contextmanager
def added(folder: str | Path) -> Iterator[None]:
    """Inside, files of `folder` lie on top of those of the same names in configs/ (`--config-dir`).

    Raises:
        UserError: there is no such folder.
    """
    if not Path(folder).is_dir():
        raise UserError(f"--config-dir {folder}: there is no such folder")
    token = _added.set(Path(folder))
    try:
        yield
    finally:
        _added.reset(token)


def files_on_top(
    command: str, defaults: Mapping[str, Any], groups: Mapping[str, str], words: Mapping[str, str]
) -> list[tuple[str, str]]:
    """Files of configs/ that apply, and which part of the command each is about, from general to particular."""
    return [(name, place) for name, place in _layers(command, defaults, groups, words) if exists(name)]


def own_files_on_top(
    command: str, defaults: Mapping[str, Any], groups: Mapping[str, str], words: Mapping[str, str]
) -> list[tuple[Path, str]]:
    """The same of the added folder.

    Raises:
        UserError: none of its files applies.
    """
    root = _added.get()
    if root is None:
        return []
    names = _layers(command, defaults, groups, words)
    found = [(root / f"{name}.yaml", place) for name, place in names if (root / f"{name}.yaml").is_file()]
    if not found:
        looked = ", ".join(f"{name}.yaml" for name, _ in names)
        raise UserError(f"--config-dir {root} has nothing for this command; looked for {looked}")
    return found


def _layers(
    command: str, defaults: Mapping[str, Any], groups: Mapping[str, str], words: Mapping[str, str]
) -> list[tuple[str, str]]:
    """Names of files that may lie on top of the defaults, and the part that each is about.

    Per task for commands with a field `env`, else per layout.
    """
    always = [(command, "_global_"), *((f"{group}/{choice}", group) for group, choice in groups.items())]
    if "env" in defaults:
        return always + _task_overlays(command, groups["method"], {**defaults, **words})
    return always + _layout_overlays(command, groups, {"layout": defaults.get("layout"), **words})


def _task_overlays(command: str, method: str, fields: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The files of a method and of a task under a preset, from general to particular.

    Raises:
        UserError: unknown preset, or one that says nothing about the task.
    """
    preset, task = str(fields["preset"]), str(fields["env"])
    root = CONFIG_FOLDER / command
    presets = sorted(item.name for item in root.iterdir() if item.is_dir())
    if preset not in presets and not _is_own_preset([command], preset):
        raise unknown("preset", preset, presets)
    # By how they write names: no simulator is loaded for this.
    suite = task if task in OWN_SUITES else "dmc" if "_" in task else "metaworld"
    if fields.get("learner") == "ppo":
        if task != "overcooked":
            raise UserError(f"learner=ppo is for env=overcooked, not for env={task}; see method=prefppo")
        suite = task = f"{task}_ppo"
    general, own = f"{command}/{preset}/{suite}", f"{command}/{preset}/{task}"
    if not (exists(general) or exists(own) or _is_own_preset([command], preset)):
        raise unknown(f"task with preset={preset}", task, options(f"{command}/{preset}"))
    files = (general, own, f"{command}/{method}", f"{general}/{method}", f"{own}/{method}")
    return [(name, "_global_") for name in dict.fromkeys(files)]


def exists(name: str) -> bool:
    """Whether configs/ has a file of that name, such as "prefer/fast/dmc"."""
    return os.path.isfile(CONFIG_FOLDER / f"{name}.yaml")


def _layout_overlays(command: str, groups: Mapping[str, str], words: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Names of files that may lie on top of the choices, from general to particular.

    `<group>/<choice>/<layout>.yaml` has fields of that group; `<command>/<method>.yaml` and
    `<command>/<layout>/<method>.yaml` have fields of any part of the command. With `preset=<name>` the files in
    folders of that name (`<group>/<choice>/<name>/...`, `<command>/<name>/...`) apply instead; see `_check_preset`.
    """
    if not groups:
        return []
    from coord.overcooked import LAYOUT_ALIASES  # takes half a second, and help goes without it

    layout = str(words["layout"] or "")
    layout = LAYOUT_ALIASES.get(layout, layout if re.fullmatch(r"\w+", layout) else "")
    preset = words.get("preset", "null")
    method = "" if groups.get("algo") == "bc" else groups.get("method", "")  # of learners that play
    inside = "" if preset == "null" else f"/{preset}"
    if inside:
        _check_preset(command, groups, preset, layout)
    files = [(f"{group}/{choice}{inside}", layout, group) for group, choice in groups.items()]
    files += [(f"{command}{inside}", method, "_global_")]
    files += [(f"{command}{inside}/{layout}", method, "_global_")] if layout else []
    return [(f"{folder}/{leaf}", place) for folder, leaf, place in files if leaf]


def _check_preset(command: str, groups: Mapping[str, str], preset: str, layout: str) -> None:
    """Raise UserError unless a preset has values for the layout and the method: a mixture would be nobody's."""
    root = CONFIG_FOLDER
    homes = [name for name in (command, *(f"{g}/{c}" for g, c in groups.items())) if (root / name).is_dir()]
    presets = {item.name for name in homes for item in (root / name).iterdir() if item.is_dir()}
    if _is_own_preset([command, *(f"{g}/{c}" for g, c in groups.items())], preset):
        return
    if preset not in presets:
        raise unknown("preset", preset, sorted(presets))
    for name in homes:
        if name != command and (root / name / preset).is_dir() and not exists(f"{name}/{preset}/{layout}"):
            raise unknown(f"layout with preset={preset}", layout, options(f"{name}/{preset}"))
    home, method = f"{command}/{preset}", groups.get("method", "")
    if method and not (exists(f"{home}/{method}") or exists(f"{home}/{layout}/{method}")):
        raise unknown(f"method with preset={preset}", method, options(home))


def _is_own_preset(homes: Sequence[str], preset: str) -> bool:
    """Whether the added folder has a preset of that name for a command or one of its choices."""
    root = _added.get()
    return root is not None and any((root / home / preset).is_dir() for home in homes)
