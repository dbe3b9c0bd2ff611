"""Values of a YAML file and where they stand: readers that name file, line and field of what is wrong with one.

Mistakes are gathered: a reader that goes over several values tells all that is wrong with them at once (`Mistakes`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, TypeVar

import yaml

from coord.errors import UserError, unknown
from coord.yaml_files import value_of

Value = TypeVar("Value")


class Mistakes(UserError):
    """What is wrong with a file: `lines`, one for each mistake."""

    def __init__(self, lines: Sequence[str], message: str = "") -> None:
        super().__init__(message or lines[0])
        self.lines = list(lines)


def gathered(tasks: Iterable[Callable[[], Value]], wrong: Sequence[str] = ()) -> list[Value]:
    """What the tasks return. Mistakes with the lines of all that fail, after those in `wrong`, if there are any."""
    values, lines = [], list(wrong)
    for task in tasks:
        try:
            values.append(task())
        except UserError as error:
            lines += error.lines if isinstance(error, Mistakes) else [str(error)]
    if lines:
        raise Mistakes(lines)
    return values


class Spot(NamedTuple):
    """A value of the file and where it stands."""

    file: Path
    name: str  # "blocks[1].ticks"
    node: yaml.Node | None

    @property
    def value(self) -> Any:
        """What the YAML stands for; None for an empty file."""
        return value_of(self.node, str(self.file))

    def wrong(self, what: str) -> str:
        """One line that says what is wrong here."""
        line = 1 if self.node is None else self.node.start_mark.line + 1
        return f"{self.file}:{line}: {f'{self.name}: ' if self.name else ''}{what}"

    def fail(self, what: str) -> NoReturn:
        """Raise UserError for this value."""
        raise UserError(self.wrong(what))

    def fields(self, allowed: Sequence[str] | None = None) -> tuple[dict[str, Spot], list[str]]:
        """The fields of a mapping, and lines about names outside `allowed` (if given) and doubled ones."""
        if not isinstance(self.node, yaml.MappingNode):
            self.fail(f"must be a mapping of fields, not {self.value!r}")
        spots: dict[str, Spot] = {}
        wrong: list[str] = []
        prefix = f"{self.name}." if self.name else ""
        for key, node in self.node.value:
            if not isinstance(key, yaml.ScalarNode):
                wrong.append(Spot(self.file, self.name, key).wrong("a list or a mapping is no name of a field"))
                continue
            name = str(key.value)
            if allowed is not None and name not in allowed:
                wrong.append(Spot(self.file, prefix + name, key).wrong(str(unknown("field", name, allowed))))
            elif name in spots:
                wrong.append(Spot(self.file, prefix + name, key).wrong("is given twice"))
            else:
                spots[name] = Spot(self.file, prefix + name, node)
        return spots, wrong

    def items(self) -> list[Spot]:
        """The entries of a list."""
        if not isinstance(self.node, yaml.SequenceNode):
            self.fail(f"must be a list, not {self.value!r}")
        return [Spot(self.file, f"{self.name}[{i}]", node) for i, node in enumerate(self.node.value)]


def text(spot: Spot) -> str:
    """Text that says something, without spaces at its ends."""
    if not isinstance(spot.value, str) or not spot.value.strip():
        spot.fail(f"must be text, not {spot.value!r}")
    return spot.value.strip()


def words(spot: Spot) -> str:
    """Text that may have been written as a number or as yes or no: as it stands in the file."""
    if not isinstance(spot.node, yaml.ScalarNode):
        spot.fail(f"must be text, not {spot.value!r}")
    return str(spot.node.value)


def flag(spot: Spot) -> bool:
    """true or false."""
    if not isinstance(spot.value, bool):
        spot.fail(f"must be true or false, not {spot.value!r}")
    return spot.value


def whole(low: int, high: int) -> Callable[[Spot], int]:
    """A reader of whole numbers."""

    def read(spot: Spot) -> int:
        if not isinstance(spot.value, int) or isinstance(spot.value, bool) or not low <= spot.value <= high:
            spot.fail(f"must be a whole number from {low} to {high}, not {spot.value!r}")
        return spot.value

    return read


def number(low: float, high: float) -> Callable[[Spot], float]:
    """A reader of numbers."""

    def read(spot: Spot) -> float:
        if not isinstance(spot.value, int | float) or isinstance(spot.value, bool) or not low <= spot.value <= high:
            spot.fail(f"must be a number from {low:g} to {high:g}, not {spot.value!r}")
        return float(spot.value)

    return read


def one_of(what: str, allowed: Sequence[str]) -> Callable[[Spot], str]:
    """A reader of one word out of several."""

    def read(spot: Spot) -> str:
        if str(spot.value) not in allowed:
            spot.fail(str(unknown(what, spot.value, allowed)))
        return str(spot.value)

    return read


def each(read: Callable[[Spot], Any], *, least: int = 0) -> Callable[[Spot], tuple[Any, ...]]:
    """A reader of lists without doubles, each entry read by `read`."""

    def read_all(spot: Spot) -> tuple[Any, ...]:
        values = tuple(gathered(partial(read, item) for item in spot.items()))
        if len(values) < least:
            spot.fail(f"needs at least {least} entries")
        if len(set(map(str, values))) < len(values):
            spot.fail("has the same entry twice")
        return values

    return read_all
