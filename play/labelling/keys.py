"""Which keys mean what while labelling. Keys are strings as in `play.game.inputs`; pads are `pad0:a` and so on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from coord.errors import UserError, unknown


class KeyAction(NamedTuple):
    """One thing that keys do."""

    title: str
    keys: tuple[str, ...]  # as delivered; the first one is shown


ACTIONS: dict[str, KeyAction] = {
    "left": KeyAction("Left is better", ("left", "1", "pad0:left")),
    "right": KeyAction("Right is better", ("right", "2", "pad0:right")),
    "equal": KeyAction("Equally good", ("down", "e", "0", "pad0:down")),
    "skip": KeyAction("Cannot tell", ("up", "s", "pad0:up")),
    "unsafe_left": KeyAction("Left is unsafe", ("a", "pad0:l")),
    "unsafe_right": KeyAction("Right is unsafe", ("d", "pad0:r")),
    "reasons": KeyAction("Reasons", ("r",)),
    "note": KeyAction("Note", ("n",)),
    "undo": KeyAction("Undo", ("z", "backspace", "pad0:b")),
    "replay": KeyAction("Replay", ("space", "pad0:a")),
    "pause": KeyAction("Pause", ("p", "pad0:x")),
    "slower": KeyAction("Slower", ("-",)),
    "faster": KeyAction("Faster", ("+", "=")),
    "step_back": KeyAction("Step back", (",",)),
    "step_on": KeyAction("Step on", (".",)),
    "help": KeyAction("All keys", ("h", "f1", "pad0:y")),
    "leave": KeyAction("Break or leave", ("escape", "pad0:start")),
}
FIXED = ("leave", "help")  # these keep their keys, so that there is always a way out
TAKEN = ("f11",)  # the window's own


def bound(changed: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """Keys of every action: as delivered, where `changed` does not say otherwise."""
    return {name: changed.get(name, action.keys) for name, action in ACTIONS.items()}


def action_of(key: str, changed: Mapping[str, tuple[str, ...]]) -> str | None:
    """The action that a key stands for, None if it stands for none."""
    return next((name for name, keys in bound(changed).items() if key in keys), None)


def rebind(changed: Mapping[str, tuple[str, ...]], action: str, key: str) -> dict[str, tuple[str, ...]]:
    """`changed` with `key` as the only key of `action`, taken away from whatever it stood for.

    Raises:
        UserError: the key belongs to the window, or is the only one of another action.
    """
    if action not in ACTIONS:
        raise unknown("action", action, ACTIONS)
    owner = action_of(key, changed)
    if key in TAKEN or owner in FIXED or action in FIXED:
        raise UserError(f"'{key}' cannot be given to '{ACTIONS[action].title}': the window keeps it")
    new = {**changed, action: (key,)}
    if owner is not None and owner != action:
        rest = tuple(one for one in bound(changed)[owner] if one != key)
        if not rest:
            raise UserError(f"'{key}' is the only key of '{ACTIONS[owner].title}': give that another one first")
        new[owner] = rest
    return new


def checked(values: object) -> dict[str, tuple[str, ...]]:
    """Key bindings as they were read from a settings file. UserError: not of the form {action: [key, ...]}."""
    if not isinstance(values, Mapping):
        raise UserError(f"keys for labelling must be a mapping, got {values!r}")
    for name, keys in values.items():
        if name not in ACTIONS:
            raise unknown("labelling action", name, ACTIONS)
        if not isinstance(keys, list | tuple) or not keys or not all(isinstance(key, str) and key for key in keys):
            raise UserError(f"keys of '{name}' must be a list of key names, got {keys!r}")
    return {name: tuple(keys) for name, keys in values.items()}
