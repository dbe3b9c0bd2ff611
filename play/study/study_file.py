"""The YAML file that is a study: what it may say, and errors that name the line.

study: 1                      # version of this format
title: ...
consent: |                    # shown first; its hash and the time of consent are stored
welcome: |                    # optional text after consent
tutorial: true                # lead through the controls first
questionnaires:               # by name; an item with `expect` is an attention check
  opinion:
    - {id: fluent, kind: likert, text: "...?", points: 7, low: never, high: always}
    - {id: check, kind: choice, text: ..., options: [a, b, c], expect: b}
    - {id: remarks, kind: text, text: ..., required: false}
before: [...]                 # names of questionnaires before the first block
after: [...]                  # and after the last
blocks_order: fixed           # or balanced
blocks:
  - {name: ..., layouts: [...], partners: [...], after_game: [opinion], ...}   # see `Block`
exclude: {failed_checks: 1, idle_share: 0.9, unfinished: true}                 # see `Exclusion`
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import yaml

from coord.errors import UserError, unknown
from coord.overcooked.loader import load_layout
from coord.plugins import entries
from coord.references import names_code, split_reference, split_scheme
from coord.yaml_files import compose_yaml, read_text, value_of
from play.game.catalogue import BUILT_IN

FORMAT_VERSION = 1
RULES = ("classic", "overcooked-ai")
ORDERS = ("balanced", "random", "fixed")
SEATS = ("alternate", "random", "0", "1")
KINDS = ("likert", "choice", "text")
MAX_PARTNERS = 26  # one letter each


@dataclass(frozen=True, kw_only=True)
class Question:
    """One item. kind: "likert" (answers 1..points), "choice" (one of options) or "text" (free)."""

    id: str
    kind: str
    text: str
    options: tuple[str, ...] = ()
    points: int = 7
    low: str = ""  # words at the ends of a Likert scale
    high: str = ""
    required: bool = True
    expect: str = ""  # attention check: the right answer

    def check(self, answer: str | int | None) -> str:
        """ "" if the answer is allowed, else what is wrong with it."""
        if answer is None or answer == "":
            return f"'{self.id}' needs an answer" if self.required else ""
        if self.kind == "likert" and (not isinstance(answer, int) or not 1 <= answer <= self.points):
            return f"'{self.id}': {answer!r} is not a number from 1 to {self.points}"
        if self.kind == "choice" and answer not in self.options:
            return f"'{self.id}': {answer!r} is not one of {', '.join(self.options)}"
        return ""


@dataclass(frozen=True, kw_only=True)
class Block:
    """Games that belong together: every layout with every partner, `repeats` times each."""

    name: str
    layouts: tuple[str, ...]
    partners: tuple[str, ...]
    text: str = ""  # shown before the block
    repeats: int = 1
    order: str = "balanced"  # balanced: Williams square over participants; random per participant; fixed
    seat: str = "alternate"  # of the participant: alternate (balanced over participants), random, 0 or 1
    ticks: int = 400
    tick_hz: float = 6.67
    rules: str = "classic"
    stochastic: bool = True
    after_game: tuple[str, ...] = ()  # questionnaires after each game
    after_block: tuple[str, ...] = ()
    moments: bool = False  # after each game, moments of it may be compared (kept in a label store); nobody has to
    practice: bool = False  # recorded, but not part of the report's scores
    break_every: int = 0  # games between two breaks inside the block; 0: none
    break_s: float = 0.0  # length of those breaks, and of one after the block; 0: none

    @property
    def conditions(self) -> list[tuple[str, str]]:
        """(layout, partner) of each game, in the order of the file."""
        return [(layout, partner) for layout in self.layouts for partner in self.partners] * self.repeats


@dataclass(frozen=True, kw_only=True)
class Exclusion:
    """Who does not count in the report; decided before the data are looked at."""

    failed_checks: int = 1  # that many failed attention checks exclude; 0: never
    idle_share: float = 1.0  # a larger share of idle ticks over all games excludes
    unfinished: bool = False  # whether those who stopped early are excluded


@dataclass(frozen=True, kw_only=True)
class Study:
    """A checked study file."""

    title: str
    consent: str
    blocks: tuple[Block, ...]
    questionnaires: Mapping[str, tuple[Question, ...]]
    welcome: str = ""
    tutorial: bool = True
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    blocks_order: str = "fixed"
    exclude: Exclusion = Exclusion()
    path: Path = Path()
    sha256: str = ""  # of the file

    @property
    def partners(self) -> list[str]:
        """All partners, each once, in the order of the file."""
        return list(dict.fromkeys(partner for block in self.blocks for partner in block.partners))

    @property
    def consent_hash(self) -> str:
        """SHA-256 of the consent text."""
        return hashlib.sha256(self.consent.encode()).hexdigest()


def load_study(path: str | Path, *, allow_code: bool = False) -> Study:
    """Read and check. UserError "<file>:<line>: <field>: <what is wrong and what is allowed>".

    allow_code: whether the file may name agents whose own code would run (`python:`); nothing runs here.
    """
    path = Path(path)
    text = read_text(path)
    node = compose_yaml(text, str(path))
    top = _Spot(path, "", node)
    fields = top.mapping(("study", *_field_names(Study)))
    if "study" not in fields or fields["study"].value != FORMAT_VERSION:
        top.fail(f"needs 'study: {FORMAT_VERSION}' (the version of the format)")
    del fields["study"]
    study = Study(path=path, sha256=hashlib.sha256(path.read_bytes()).hexdigest(), **_read(top, Study, fields))
    _check_references(study, fields)
    if not allow_code and (refs := [ref for ref in study.partners if names_code(ref)]):
        fields["blocks"].fail(f"{refs[0]} would run code; if you trust this file and that code, add --allow-code")
    return study


class _Spot(NamedTuple):
    """A value of the file and where it stands."""

    file: Path
    name: str  # "blocks[1].ticks"
    node: yaml.Node | None

    @property
    def value(self) -> Any:
        """What the YAML stands for; None for an empty file."""
        return value_of(self.node, str(self.file))

    def fail(self, what: str) -> NoReturn:
        line = 1 if self.node is None else self.node.start_mark.line + 1
        raise UserError(f"{self.file}:{line}: {f'{self.name}: ' if self.name else ''}{what}")

    def mapping(self, allowed: Sequence[str] | None = None) -> dict[str, _Spot]:
        """The fields of a mapping; names outside `allowed` (if given) and doubled names are refused."""
        if not isinstance(self.node, yaml.MappingNode):
            self.fail(f"must be a mapping of fields, not {self.value!r}")
        spots: dict[str, _Spot] = {}
        prefix = f"{self.name}." if self.name else ""
        for key, node in self.node.value:
            if not isinstance(key, yaml.ScalarNode):
                _Spot(self.file, self.name, key).fail("a list or a mapping is no name of a field")
            name = str(key.value)
            if allowed is not None and name not in allowed:
                _Spot(self.file, prefix + name, key).fail(str(unknown("field", name, allowed)))
            if name in spots:
                _Spot(self.file, prefix + name, key).fail("is given twice")
            spots[name] = _Spot(self.file, prefix + name, node)
        return spots

    def items(self) -> list[_Spot]:
        """The entries of a list."""
        if not isinstance(self.node, yaml.SequenceNode):
            self.fail(f"must be a list, not {self.value!r}")
        return [_Spot(self.file, f"{self.name}[{i}]", node) for i, node in enumerate(self.node.value)]


def _field_names(cls: type) -> list[str]:
    """Fields of a part of the study that the file may give."""
    return [field.name for field in dataclasses.fields(cls) if field.name not in ("path", "sha256")]


def _read(spot: _Spot, cls: type, fields: Mapping[str, _Spot]) -> dict[str, Any]:
    """Values of the fields of dataclass `cls`, each read by its entry in `_READERS`."""
    for field in dataclasses.fields(cls):
        needed = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if needed and field.name not in fields:
            spot.fail(f"'{field.name}' is missing")
    return {name: _READERS[cls][name](one) for name, one in fields.items()}


def _text(spot: _Spot) -> str:
    if not isinstance(spot.value, str) or not spot.value.strip():
        spot.fail(f"must be text, not {spot.value!r}")
    return spot.value.strip()


def _words(spot: _Spot) -> str:
    """Text that may have been written as a number or as yes or no: as it stands in the file."""
    if not isinstance(spot.node, yaml.ScalarNode):
        spot.fail(f"must be text, not {spot.value!r}")
    return str(spot.node.value)


def _flag(spot: _Spot) -> bool:
    if not isinstance(spot.value, bool):
        spot.fail(f"must be true or false, not {spot.value!r}")
    return spot.value


def _whole(low: int, high: int) -> Callable[[_Spot], int]:
    def read(spot: _Spot) -> int:
        if not isinstance(spot.value, int) or isinstance(spot.value, bool) or not low <= spot.value <= high:
            spot.fail(f"must be a whole number from {low} to {high}, not {spot.value!r}")
        return spot.value

    return read


def _number(low: float, high: float) -> Callable[[_Spot], float]:
    def read(spot: _Spot) -> float:
        if not isinstance(spot.value, int | float) or isinstance(spot.value, bool) or not low <= spot.value <= high:
            spot.fail(f"must be a number from {low:g} to {high:g}, not {spot.value!r}")
        return float(spot.value)

    return read


def _one_of(what: str, allowed: Sequence[str]) -> Callable[[_Spot], str]:
    def read(spot: _Spot) -> str:
        if str(spot.value) not in allowed:
            spot.fail(str(unknown(what, spot.value, allowed)))
        return str(spot.value)

    return read


def _list(read: Callable[[_Spot], Any], *, least: int = 0) -> Callable[[_Spot], tuple[Any, ...]]:
    def read_all(spot: _Spot) -> tuple[Any, ...]:
        values = tuple(read(item) for item in spot.items())
        if len(values) < least:
            spot.fail(f"needs at least {least} entries")
        if len(set(map(str, values))) < len(values):
            spot.fail("has the same entry twice")
        return values

    return read_all


def _layout(spot: _Spot) -> str:
    try:
        layout = load_layout(_text(spot))
    except UserError as error:
        if str(error).startswith(str(spot.file)):
            raise
        spot.fail(str(error))
    if layout.num_players != 2:
        spot.fail(f"layout '{spot.value}' has {layout.num_players} seats, a study needs 2")
    return str(spot.value)


def _partner(spot: _Spot) -> str:
    ref = _text(spot)
    names = [entry.ref for entry in BUILT_IN]
    of_kind = split_scheme(ref)[0] in entries("coord.agents")
    if ref not in names and not of_kind and not Path(split_reference(ref)[0]).exists():
        spot.fail(f"{unknown('partner', ref, names)}; or a checkpoint file, or <pool folder>#<member>")
    return ref


def _question(spot: _Spot) -> Question:
    question = Question(**_read(spot, Question, spot.mapping(_field_names(Question))))
    if question.kind == "choice" and len(question.options) < 2:
        spot.fail("a choice needs at least two options")
    if question.kind != "choice" and question.options:
        spot.fail(f"options belong to a choice, not to kind '{question.kind}'")
    answer = int(question.expect) if question.kind == "likert" and question.expect.isdigit() else question.expect
    if question.expect and (wrong := question.check(answer)):
        spot.fail(f"expect: {wrong}")
    return question


def _questionnaires(spot: _Spot) -> dict[str, tuple[Question, ...]]:
    found: dict[str, tuple[Question, ...]] = {}
    for name, one in spot.mapping().items():
        questions = _list(_question, least=1)(one)
        for i, (item, question) in enumerate(zip(one.items(), questions, strict=True)):
            if question.id in [other.id for other in questions[:i]]:
                item.fail(f"question id '{question.id}' occurs twice")
        found[name] = questions
    return found


def _part(cls: type) -> Callable[[_Spot], Any]:
    return lambda spot: cls(**_read(spot, cls, spot.mapping(_field_names(cls))))


def _check_references(study: Study, fields: Mapping[str, _Spot]) -> None:
    """Questionnaires named exist; block names are unique; letters suffice."""
    blocks = fields["blocks"].items()
    for name in ("before", "after"):
        _check_questionnaires(study, fields, name)
    for spot, block in zip(blocks, study.blocks, strict=True):
        inner = spot.mapping()
        for name in ("after_game", "after_block"):
            _check_questionnaires(study, inner, name)
        if [one.name for one in study.blocks].count(block.name) > 1:
            inner["name"].fail(f"two blocks are named '{block.name}'")
    if len(study.partners) > MAX_PARTNERS:
        fields["blocks"].fail(f"{len(study.partners)} partners, at most {MAX_PARTNERS} can be blinded by a letter")


def _check_questionnaires(study: Study, fields: Mapping[str, _Spot], name: str) -> None:
    for item in fields[name].items() if name in fields else ():
        if item.value not in study.questionnaires:
            item.fail(str(unknown("questionnaire", item.value, study.questionnaires)))


_NAMES = _list(_text)

_READERS: dict[type, dict[str, Callable[[_Spot], Any]]] = {
    Study: {
        "title": _text,
        "consent": _text,
        "welcome": _text,
        "tutorial": _flag,
        "questionnaires": _questionnaires,
        "before": _NAMES,
        "after": _NAMES,
        "blocks_order": _one_of("blocks_order", ("balanced", "fixed")),
        "blocks": lambda spot: _list(_part(Block), least=1)(spot),
        "exclude": _part(Exclusion),
    },
    Block: {
        "name": _text,
        "text": _text,
        "layouts": _list(_layout, least=1),
        "partners": _list(_partner, least=1),
        "repeats": _whole(1, 20),
        "order": _one_of("order", ORDERS),
        "seat": _one_of("seat", SEATS),
        "ticks": _whole(1, 30_000),
        "tick_hz": _number(0.5, 60),
        "rules": _one_of("rules", RULES),
        "stochastic": _flag,
        "after_game": _NAMES,
        "after_block": _NAMES,
        "moments": _flag,
        "practice": _flag,
        "break_every": _whole(0, 1000),
        "break_s": _number(0, 3600),
    },
    Question: {
        "id": _text,
        "kind": _one_of("kind of question", KINDS),
        "text": _text,
        "options": _list(_words),
        "points": _whole(2, 11),
        "low": _words,
        "high": _words,
        "required": _flag,
        "expect": _words,
    },
    Exclusion: {
        "failed_checks": _whole(0, 100),
        "idle_share": _number(0, 1),
        "unfinished": _flag,
    },
}
