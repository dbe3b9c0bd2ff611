"""One value of a configuration, as typed or as YAML has it, to the type that its field declares.

pydantic converts and checks (Literal, tuples, unions, None, and the bounds of `coord.limits`); what is ours is which
readings of a typed word are tried: the word as it stands comes first, so that text is never taken for a number, then a
number (1e6 is a whole one), a list (`a,b` or `[a,b]`) and a mapping (`{collision: -5}`). The first that fits is meant.
"""

from __future__ import annotations

import functools
import re
import typing
from collections.abc import Callable, Iterator
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from coord.errors import UserError, unknown
from coord.references import join_options

_ITEM = re.compile(r"""(?:[^,\[\]'"]|\[[^\]]*\]|"[^"]*"|'[^']*')+""")  # up to a comma outside of quotes and brackets
_RULES = ConfigDict(coerce_numbers_to_str=True, allow_inf_nan=False)

# Kind of pydantic's error -> what the field expects, with the names of its bounds filled in.
_EXPECTED: dict[str, str] = {
    "greater_than_equal": "must be at least {ge}",
    "greater_than": "must be above {gt}",
    "less_than_equal": "must be at most {le}",
    "less_than": "must be below {lt}",
    "too_long": "must have at most {max_length} entries",
    "too_short": "must have at least {min_length} entries",
    "finite_number": "expected a finite number",
    "int_parsing_size": "must be a smaller number",
    "bool": "expected true or false",
    "int": "expected a whole number",
    "float": "expected a number",
    "string": "expected text",
    "tuple": "expected a list, for example [a, b]",
    "list": "expected a list, for example [a, b]",
    "mapping": "expected a mapping, for example {{collision: -5}}",
    "dict": "expected a mapping, for example {{collision: -5}}",
    "none": "expected null",
}


def convert(hint: Any, value: Any, where: str) -> Any:
    """`value` as the type `hint`.

    Raises:
        UserError: names the field `where`, the value and what is allowed.
    """
    adapter = _adapter(hint)
    failures: list[Any] = []
    for reading in _readings(value):
        try:
            return adapter.validate_python(reading, strict=True if isinstance(reading, bool) else None)
        except ValidationError as error:
            failures.append(error.errors(include_url=False)[0])
    raise _explained(hint, value, where, min(failures, key=_vagueness))


def _vagueness(failure: Any) -> int:
    """A bound that was missed says more than text that is no number, and that more than a value of another kind."""
    kind = failure["type"]
    return 2 if kind.endswith("_type") else 1 if kind.endswith("_parsing") or kind == "int_from_float" else 0


@functools.cache
def _adapter(hint: Any) -> TypeAdapter[Any]:
    return TypeAdapter(hint, config=_RULES)


def _readings(value: Any) -> Iterator[Any]:
    """What a value may mean, most literal first."""
    if not isinstance(value, str):
        yield value
        if isinstance(value, int | float):
            yield [value]
        elif value is None:
            yield []
        return
    if value == "null":
        yield None
    yield value
    yield from _tried(float, value)
    if re.fullmatch(r"\s*\{.*\}\s*", value, flags=re.DOTALL):
        from coord.yaml_files import parse_yaml

        yield from _tried(parse_yaml, re.sub(r":(?=\S)", ": ", value))  # as in Hydra, {collision:-5} will do
    yield split_items(value)


def _tried(read: Callable[[str], Any], text: str) -> Iterator[Any]:
    try:
        yield read(text)
    except (ValueError, UserError):
        return


def split_items(text: str) -> list[str]:
    """`a,b` and `[a,b]` as two texts; quotes keep a comma, brackets inside an item stay."""
    inside = text.strip()
    if inside[:1] == "[" and inside[-1:] == "]":
        inside = inside[1:-1]
    items = (item.strip() for item in _ITEM.findall(inside))
    plain = [
        item[1:-1] if item[0] in "'\"" and item[0] == item[-1] and len(item) > 1 else item for item in items if item
    ]
    return join_options(plain)


def _explained(hint: Any, value: Any, where: str, failure: dict[str, Any]) -> UserError:
    """One line about the first thing that pydantic found wrong."""
    kind = str(failure["type"])
    if kind == "literal_error":
        return unknown(where, failure["input"], _literals(hint))
    expected = _EXPECTED.get(kind) or _EXPECTED.get(kind.partition("_")[0], str(failure["msg"]).lower())
    inner = "".join(f"[{step}]" for step in failure["loc"] if isinstance(step, int))
    return UserError(
        f"{where}{inner}={failure['input'] if inner else value}: " + expected.format(**failure.get("ctx", {}))
    )


def _literals(hint: Any) -> list[Any]:
    """All values that `Literal`s within a type allow."""
    if typing.get_origin(hint) is typing.Literal:
        return list(typing.get_args(hint))
    return [value for part in typing.get_args(hint) for value in _literals(part)]
