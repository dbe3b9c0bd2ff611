"""From keys to one action per tick: bindings, presets, conflicts, and the latched intent.

Keys are plain strings ("up", "w", "space", "pad0:a"), so nothing here knows a window library. Pad names are
`pad<slot>:<control>`, slot 0 for the first connected pad, control one of up, down, left, right, a, b, x, y.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from coord.errors import UserError, unknown

ACTION_NAMES = ("north", "south", "east", "west", "stay", "interact")  # index = action number of the kitchen
STAY = ACTION_NAMES.index("stay")
BINDABLE = ("north", "south", "east", "west", "interact")
MOVES = frozenset(ACTION_NAMES.index(name) for name in ("north", "south", "east", "west"))


@dataclass(frozen=True)
class Bindings:
    """Which keys mean which action, for one player. `keys` maps each name of BINDABLE to its keys (at least one)."""

    name: str
    keys: Mapping[str, tuple[str, ...]]

    def action(self, key: str) -> int | None:
        """Action number bound to `key`, or None."""
        for action_name, keys in self.keys.items():
            if key in keys:
                return ACTION_NAMES.index(action_name)
        return None

    def rebind(self, action_name: str, keys: Iterable[str]) -> Bindings:
        """The same bindings with `action_name` on `keys` instead; named "custom". UserError for an unknown action."""
        if action_name not in BINDABLE:
            raise unknown("action", action_name, BINDABLE)
        return Bindings("custom", {**self.keys, action_name: tuple(keys)})

    def to_dict(self) -> dict[str, object]:
        """JSON form."""
        return {"name": self.name, "keys": {action: list(keys) for action, keys in self.keys.items()}}

    @classmethod
    def from_dict(cls, data: Mapping[str, object]) -> Bindings:
        """Inverse of `to_dict`. UserError if an action lacks a key or the form is wrong."""
        keys = data.get("keys") if isinstance(data, Mapping) else None
        if not isinstance(keys, Mapping):
            raise UserError(f"key bindings need a mapping 'keys', got {keys!r}")
        for action_name in keys:
            if action_name not in BINDABLE:
                raise unknown("action in key bindings", action_name, BINDABLE)
        for action_name in BINDABLE:
            bound = keys.get(action_name)
            if not isinstance(bound, list | tuple) or not bound or not all(isinstance(k, str) and k for k in bound):
                raise UserError(f"key bindings: '{action_name}' needs a list of key names, got {bound!r}")
        return cls(str(data.get("name", "custom")), {action: tuple(keys[action]) for action in BINDABLE})


def _preset(name: str, north: str, south: str, east: str, west: str, *interact: str) -> Bindings:
    keys = {"north": (north,), "south": (south,), "east": (east,), "west": (west,), "interact": interact}
    return Bindings(name, keys)


PRESETS: dict[str, Bindings] = {
    "arrows": _preset("arrows", "up", "down", "right", "left", "space"),
    "wasd": _preset("wasd", "w", "s", "d", "a", "e"),
    "ijkl": _preset("ijkl", "i", "k", "l", "j", "o"),
    "pad0": _preset("pad0", "pad0:up", "pad0:down", "pad0:right", "pad0:left", "pad0:a", "pad0:x"),
    "pad1": _preset("pad1", "pad1:up", "pad1:down", "pad1:right", "pad1:left", "pad1:a", "pad1:x"),
}


class Conflict(NamedTuple):
    """One key that means two things: `uses` lists (player index, action name)."""

    key: str
    uses: tuple[tuple[int, str], ...]

    def __str__(self) -> str:
        return f"'{self.key}' is " + " and ".join(f"{action} of player {player + 1}" for player, action in self.uses)


def conflicts(players: Iterable[Bindings], reserved: Mapping[str, str] | None = None) -> list[Conflict]:
    """Keys used more than once over all `players` bindings.

    `reserved` maps keys that the window keeps for itself to what they do ({"escape": "pause"}); they show up as a use
    of player -1.
    """
    uses: dict[str, list[tuple[int, str]]] = {key: [(-1, what)] for key, what in (reserved or {}).items()}
    for player, bindings in enumerate(players):
        for action_name, keys in bindings.keys.items():
            for key in keys:
                uses.setdefault(key, []).append((player, action_name))
    return [Conflict(key, tuple(found)) for key, found in uses.items() if len(found) > 1]


class Intent(NamedTuple):
    """What a player wants this tick. `key_s`: monotonic time of the key press; None if no key stands behind it."""

    action: int
    key_s: float | None


class PlayerInput:
    """Latches what one player pressed: newest key wins, one action per tick, nothing queues up.

    With `hold_to_repeat`, a direction that is still held when nothing new was pressed counts again; `interact` never
    repeats, because picking up and putting down alternate.
    """

    def __init__(self, bindings: Bindings, hold_to_repeat: bool = True) -> None:
        self.bindings = bindings
        self.hold_to_repeat = hold_to_repeat
        self._latched: Intent | None = None
        self._held: dict[str, Intent] = {}  # insertion order: the newest held direction is last

    def press(self, key: str, now_s: float) -> bool:
        """A key went down at `now_s`; True if it belongs to this player. Key repeats of the system are ignored."""
        action = self.bindings.action(key)
        if action is None:
            return False
        if key not in self._held:
            self._latched = Intent(action, now_s)
            self._held[key] = self._latched
        return True

    def release(self, key: str) -> bool:
        """A key went up; True if it belongs to this player. A latched press still counts for the next tick."""
        self._held.pop(key, None)
        return self.bindings.action(key) is not None

    def take(self) -> Intent:
        """The intent of this tick, consumed."""
        intent, self._latched = self._latched, None
        if intent is not None:
            return intent
        if self.hold_to_repeat:
            for held in reversed(self._held.values()):
                if held.action in MOVES:
                    return held
        return Intent(STAY, None)

    def clear(self) -> None:
        """Forget everything pressed (pause, focus lost, pad unplugged)."""
        self._latched = None
        self._held.clear()
