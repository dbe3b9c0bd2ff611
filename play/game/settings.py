"""What the client remembers: keys, display, last choice. A JSON file in the user's configuration folder."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from coord.errors import UserError
from coord.files import atomic_write_text, parse_json, read_text
from play.game.inputs import PRESETS, Bindings
from play.labelling import keys as label_keys

TEXT_SCALES = (1.0, 1.25, 1.5)
THEMES = ("dark", "light")


@dataclass(frozen=True)
class GameChoice:
    """What to play: the last choice in the menu."""

    layout: str = "cramped_room"
    partner: str = "greedy"
    stochastic: bool = True
    seat: int = 0
    ticks: int = 400
    tick_hz: float = 6.67
    rules: str = "classic"
    blinded: bool = False
    second_human: bool = False  # a second person holds the other seat


@dataclass(frozen=True)
class PlaySettings:
    """All preferences. Change with `dataclasses.replace`, keep with `save`."""

    bindings: tuple[Bindings, Bindings] = (PRESETS["arrows"], PRESETS["wasd"])  # player 1, player 2
    hold_to_repeat: bool = True
    fullscreen: bool = False
    window: tuple[int, int] = (1280, 720)
    sound: bool = False
    reduced_motion: bool = False
    theme: str = "dark"  # one of THEMES
    text_scale: float = 1.0  # size of texts and buttons, one of TEXT_SCALES
    whole_pixels: bool = True  # kitchen tiles only in whole multiples of the pictures' pixels
    menu: str = "play"  # entry of the main menu used last
    study: str = ""  # study file opened last
    annotator: str = ""  # pseudonym used last for labelling
    label_keys: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # keys of labelling that were changed
    tutorial_done: bool = False
    last: GameChoice = field(default_factory=GameChoice)


def default_path() -> Path:
    """`$COORD_CONFIG` if set, else `coord/settings.json` in the user's configuration folder."""
    if path := os.environ.get("COORD_CONFIG"):
        return Path(path)
    base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(base) / "coord" / "settings.json"


def load(path: Path | None = None) -> tuple[PlaySettings, str]:
    """Settings and a note: "" or one line that says what was damaged and replaced by defaults. Never raises."""
    path = default_path() if path is None else path
    try:
        if not os.path.lexists(path):
            return PlaySettings(), ""
        values = parse_json(read_text(path))
    except (UserError, ValueError) as error:
        return PlaySettings(), f"settings in {path} could not be read, defaults are used: {error}"
    if not isinstance(values, Mapping):
        return PlaySettings(), f"settings in {path} are damaged, defaults are used"
    settings, damaged = _merge(PlaySettings(), values)
    note = f"settings in {path}: {', '.join(damaged)} damaged, defaults are used for these" if damaged else ""
    return settings, note


def save(settings: PlaySettings, path: Path | None = None) -> None:
    """Write atomically. UserError if the folder cannot be written."""
    values = asdict(settings)
    values["bindings"] = [bindings.to_dict() for bindings in settings.bindings]
    atomic_write_text(default_path() if path is None else path, json.dumps(values, indent=2) + "\n")


def _merge(defaults: Any, values: Mapping[str, Any]) -> tuple[Any, list[str]]:
    """`defaults` with every field that `values` has in good form, and the names of those in bad form.

    Names that no field has (from a newer version) are passed over.
    """
    good: dict[str, Any] = {}
    damaged: list[str] = []
    for one in fields(defaults):
        if one.name not in values:
            continue
        default = getattr(defaults, one.name)
        try:
            good[one.name] = _READERS.get(one.name, _plain)(values[one.name], default)
        except (UserError, TypeError, ValueError):
            damaged.append(one.name)
    return replace(defaults, **good), damaged


def _plain(value: Any, default: Any) -> Any:
    """A value of the default's type; a whole number will do for a fraction."""
    if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not type(default):
        raise TypeError(f"expected {type(default).__name__}, got {value!r}")
    return value


def _positive(value: Any, default: Any) -> Any:
    number = _plain(value, default)
    if not 0 < number < 1e6:
        raise ValueError(f"expected a number above 0, got {value!r}")
    return number


def _within(low: float, high: float) -> Callable[[Any, Any], Any]:
    def read(value: Any, default: Any) -> Any:
        number = _plain(value, default)
        if not low <= number <= high:
            raise ValueError(f"expected a number from {low} to {high}, got {value!r}")
        return number

    return read


def _window(value: Any, default: tuple[int, int]) -> tuple[int, int]:
    width, height = (_positive(one, 1) for one in value)
    return width, height


def _text_scale(value: Any, default: float) -> float:
    if value not in TEXT_SCALES:
        raise ValueError(f"expected one of {TEXT_SCALES}, got {value!r}")
    return float(value)


def _theme(value: Any, default: str) -> str:
    if value not in THEMES:
        raise ValueError(f"expected one of {THEMES}, got {value!r}")
    return str(value)


def _bindings(value: Any, default: Any) -> tuple[Bindings, Bindings]:
    first, second = (Bindings.from_dict(one) for one in value)
    return first, second


def _label_keys(value: Any, default: Any) -> dict[str, tuple[str, ...]]:
    return label_keys.checked(value)


def _last(value: Any, default: GameChoice) -> GameChoice:
    choice, damaged = _merge(default, value)
    if damaged:
        raise ValueError(f"damaged: {damaged}")
    return choice


_READERS: dict[str, Callable[[Any, Any], Any]] = {
    "bindings": _bindings,
    "window": _window,
    "text_scale": _text_scale,
    "theme": _theme,
    "ticks": _within(1, 30_000),
    "tick_hz": _within(0.5, 60),
    "last": _last,
    "label_keys": _label_keys,
}
