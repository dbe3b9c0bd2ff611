"""The two ways a run may end badly, and one wording for names that do not exist."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Something the person at the keyboard can mend; the message is one clear line (exit code 2)."""


class Diverged(Exception):
    """Training produced NaN or infinity (exit code 3)."""


def unknown(what: str, value: object, allowed: Iterable[object]) -> UserError:
    """Error for a name that is not among `allowed`, naming the closest valid one."""
    names = [str(name) for name in allowed]
    guesses = [name for name in names if not name.startswith("<")]  # "<file>" stands for any name
    close = difflib.get_close_matches(str(value), guesses, n=1, cutoff=0.5)
    hint = f"did you mean '{close[0]}'? " if close else ""
    return UserError(f"unknown {what} '{value}'; {hint}allowed: {', '.join(names)}")


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
