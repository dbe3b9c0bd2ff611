"""The two ways a run may end badly, and one wording for names that do not exist."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

LINE = 300  # characters of an error; more is no help at a terminal
WORD = 120  # characters of one word in it, such as a value that was typed
LIST = 160  # characters of the names that are allowed


class UserError(Exception):
    """Something the person at the keyboard can mend; the message is one clear line (exit code 2)."""

    def __init__(self, message: object = "") -> None:
        super().__init__(one_line(str(message)))


class Diverged(Exception):
    """Training produced NaN or infinity (exit code 3)."""


def one_line(text: str, limit: int = LINE) -> str:
    """Text as it may stand in an error: on one line, without control characters, long words and the whole shortened."""
    text = re.sub(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]", _visible, text)
    words = (shortened(word, WORD) for word in text.split())
    line = " ".join(words)
    return line if len(line) <= limit else f"{line[: limit - 4]} ..."


def _visible(found: re.Match[str]) -> str:
    return " " if found[0].isspace() else repr(found[0])[1:-1]


def shortened(value: object, limit: int = 60) -> str:
    """The value as text, its middle left out if it is long."""
    text = str(value)
    if len(text) <= limit:
        return text
    end = limit // 3
    return f"{text[: limit - end - 3]}...{text[-end:]}"


def unknown(what: str, value: object, allowed: Iterable[object]) -> UserError:
    """Error for a name that is not among `allowed`, naming the closest valid one."""
    names = [str(name) for name in allowed]
    guesses = [name for name in names if not name.startswith("<")]  # "<file>" stands for any name
    close = difflib.get_close_matches(shortened(value), guesses, n=1, cutoff=0.5)
    hint = f"did you mean '{close[0]}'? " if close else ""
    return UserError(f"unknown {what} '{shortened(value)}'; {hint}allowed: {_listed(names)}")


def _listed(names: list[str]) -> str:
    """Names separated by commas; of very many the first, and how many more there are."""
    shown = 0
    for number, name in enumerate(names, start=1):
        shown += len(name) + 2
        if shown > LIST and number > 1:
            return f"{', '.join(names[: number - 1])} and {len(names) - number + 1} more"
    return ", ".join(names)


def at_least(config: object, least: float, *names: str) -> None:
    """Raise UserError unless every field of `config` in `names` is at least `least`."""
    for name in names:
        if getattr(config, name) < least:
            raise UserError(f"{name}={getattr(config, name)}: must be at least {least}")


def between(config: object, low: float, high: float, *names: str) -> None:
    """Raise UserError unless every field of `config` in `names` lies in [low, high]."""
    for name in names:
        if not low <= getattr(config, name) <= high:
            raise UserError(f"{name}={getattr(config, name)}: must be between {low} and {high}")


def share_below_one(config: object, *names: str) -> None:
    """Raise UserError unless every field of `config` in `names` lies in [0, 1)."""
    for name in names:
        if not 0 <= getattr(config, name) < 1:
            raise UserError(f"{name}={getattr(config, name)}: must be at least 0 and below 1")
