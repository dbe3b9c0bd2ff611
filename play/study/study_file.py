"""The YAML file that is a study: what it may say, and errors that name the line.

study: 1                      # version of this format
title: ...
consent: |                    # shown first; its hash and the time of consent are stored
welcome: |                    # optional text after consent
tutorial: true                # lead through the controls first; must: no phase can be left out
comprehension: [...]          # questionnaires after the tutorial, shown until every answer is the one of `expect`
questionnaires:               # optional, by name; an item with `expect` is an attention check
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
partner_names: {runs/demo/fcp: FCP}                                            # optional, for check and report
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import yaml

from coord.errors import UserError, unknown
from coord.overcooked.loader import load_layout
from coord.plugins import entries
from coord.references import names_code, split_reference, split_scheme
from coord.yaml_files import compose_yaml, read_text
from play.game.catalogue import BUILT_IN
from play.study.spots import Mistakes, Spot, each, flag, gathered, number, one_of, text, whole, words

FORMAT_VERSION = 1
RULES = ("classic", "overcooked-ai")
ORDERS = ("balanced", "random", "fixed")
SEATS = ("alternate", "random", "0", "1")
KINDS = ("likert", "choice", "text")
MAX_PARTNERS = 26  # one letter each
MUST = "must"
_Part = TypeVar("_Part")


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

    def problem(self, answer: str | int | None) -> str:
        """ "" if the answer is allowed, else what is wrong with it."""
        if answer is None or answer == "":
            return "needs an answer" if self.required else ""
        if self.kind == "likert" and (not isinstance(answer, int) or not 1 <= answer <= self.points):
            return f"{answer!r} is not a number from 1 to {self.points}"
        if self.kind == "choice" and answer not in self.options:
            return f"{answer!r} is not one of {', '.join(self.options)}"
        return ""

    def is_right(self, answer: str | int | None) -> bool:
        """Whether it is the answer that is expected; without an expectation every answer is."""
        return not self.expect or str(answer) == self.expect


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
    comprehension_attempts: int = 0  # who needed more attempts than that at a comprehension check; 0: nobody


@dataclass(frozen=True, kw_only=True)
class Study:
    """A checked study file."""

    title: str
    consent: str
    blocks: tuple[Block, ...]
    questionnaires: Mapping[str, tuple[Question, ...]] = field(default_factory=dict)
    welcome: str = ""
    tutorial: bool | str = True  # MUST: no phase can be left out
    before: tuple[str, ...] = ()
    comprehension: tuple[str, ...] = ()  # after the tutorial; goes on once every answer is the expected one
    after: tuple[str, ...] = ()
    blocks_order: str = "fixed"
    exclude: Exclusion = Exclusion()
    partner_names: Mapping[str, str] = field(default_factory=dict)  # for check and report; participants see letters
    path: Path = Path()
    sha256: str = ""  # of the file

    @property
    def partners(self) -> list[str]:
        """All partners, each once, in the order of the file."""
        return list(dict.fromkeys(partner for block in self.blocks for partner in block.partners))

    def partner_name(self, ref: str) -> str:
        """What a partner is called in reports: as the file says, else its own name instead of its path."""
        if ref in self.partner_names:
            return self.partner_names[ref]
        short = {one: _short_name(one) for one in self.partners}
        return short[ref] if list(short.values()).count(short[ref]) == 1 else ref

    @property
    def consent_hash(self) -> str:
        """SHA-256 of the consent text."""
        return hashlib.sha256(self.consent.encode()).hexdigest()


def _short_name(ref: str) -> str:
    """ "fcp" for runs/demo/fcp/agent.safetensors, "pool sp0-mid" for runs/pool#sp0-mid, "greedy" for greedy."""
    scheme, rest = split_scheme(ref)
    if scheme:  # python:cook.py:Cook
        return rest.rpartition(":")[2]
    path, member = split_reference(ref)
    parts = [part for part in Path(path).with_suffix("").parts if part not in ("ckpt", "final", "agent", "agents")]
    return " ".join([*parts[-1:], *([member] if member else [])]) or ref


def load_study(path: str | Path, *, allow_code: bool = False) -> Study:
    """Read and check. Raises Mistakes: "<file>:<line>: <field>: <what is wrong, what is allowed>", in order of lines.

    allow_code: whether the file may name agents whose own code would run (`python:`); nothing runs here.
    """
    path = Path(path)
    top = Spot(path, "", compose_yaml(read_text(path), str(path)))
    try:
        fields, wrong = top.fields(("study", *_field_names(Study)))
        if "study" not in fields or fields.pop("study").value != FORMAT_VERSION:
            wrong = [top.wrong(f"needs 'study: {FORMAT_VERSION}' (the version of the format)"), *wrong]
        values = _values(top, Study, fields, [*wrong, *_wrong_names(fields, allow_code)])
    except Mistakes as error:
        lines = sorted(dict.fromkeys(error.lines), key=_line_of)
        more = f" (the first of {len(lines)} mistakes: coord study check lists them)" if len(lines) > 1 else ""
        raise Mistakes(lines, lines[0] + more) from None
    return Study(path=path, sha256=hashlib.sha256(path.read_bytes()).hexdigest(), **values)


def _line_of(mistake: str) -> int:
    """The line that a mistake names."""
    found = re.search(r":(\d+): ", mistake)
    return int(found[1]) if found else 0


def _field_names(cls: type) -> list[str]:
    """Fields of a part of the study that the file may give."""
    return [one.name for one in dataclasses.fields(cls) if one.name not in ("path", "sha256")]


def _values(spot: Spot, cls: type, fields: Mapping[str, Spot], wrong: Sequence[str]) -> dict[str, Any]:
    """Values of the fields of dataclass `cls`, each read by its entry in `_READERS`; `wrong`: what is known to be."""
    needed = [one.name for one in dataclasses.fields(cls) if one.default is one.default_factory is dataclasses.MISSING]
    missing = [spot.wrong(f"'{name}' is missing") for name in needed if name not in fields]
    readers = _READERS[cls]
    values = gathered((partial(readers[name], one) for name, one in fields.items()), [*wrong, *missing])
    return dict(zip(fields, values, strict=True))


def _part(cls: type[_Part], spot: Spot) -> _Part:
    """A dataclass of the study from its mapping."""
    fields, wrong = spot.fields(_field_names(cls))
    return cls(**_values(spot, cls, fields, wrong))


def _layout(spot: Spot) -> str:
    try:
        layout = load_layout(text(spot))
    except UserError as error:
        if str(error).startswith(str(spot.file)):
            raise
        spot.fail(str(error))
    if layout.num_players != 2:
        spot.fail(f"layout '{spot.value}' has {layout.num_players} seats, a study needs 2")
    return str(spot.value)


def _partner(spot: Spot) -> str:
    ref = text(spot)
    names = [entry.ref for entry in BUILT_IN]
    of_kind = split_scheme(ref)[0] in entries("coord.agents")
    if ref not in names and not of_kind and not Path(split_reference(ref)[0]).exists():
        spot.fail(f"{unknown('partner', ref, names)}; or a checkpoint file, or <pool folder>#<member>")
    return ref


def _question(spot: Spot) -> Question:
    question = _part(Question, spot)
    if question.kind == "choice" and len(question.options) < 2:
        spot.fail("a choice needs at least two options")
    if question.kind != "choice" and question.options:
        spot.fail(f"options belong to a choice, not to kind '{question.kind}'")
    answer = int(question.expect) if question.kind == "likert" and question.expect.isdigit() else question.expect
    if question.expect and (wrong := question.problem(answer)):
        spot.fail(f"expect: {wrong}")
    return question


def _questions(spot: Spot) -> tuple[Question, ...]:
    questions = each(_question, least=1)(spot)
    ids = [question.id for question in questions]
    doubled = [
        item.wrong(f"question id '{ids[i]}' occurs twice") for i, item in enumerate(spot.items()) if ids[i] in ids[:i]
    ]
    gathered((), doubled)
    return questions


def _questionnaires(spot: Spot) -> dict[str, tuple[Question, ...]]:
    if spot.value is None:
        return {}
    fields, wrong = spot.fields()
    return dict(zip(fields, gathered((partial(_questions, one) for one in fields.values()), wrong), strict=True))


def _names_of(spot: Spot) -> dict[str, str]:
    """What each partner is called in reports."""
    fields, wrong = spot.fields()
    return dict(zip(fields, gathered((partial(text, one) for one in fields.values()), wrong), strict=True))


def _tutorial(spot: Spot) -> bool | str:
    if spot.value not in (True, False, MUST):
        spot.fail(f"must be true, false or {MUST} (no phase can be left out), not {spot.value!r}")
    return spot.value


def _wrong_names(fields: Mapping[str, Spot], allow_code: bool) -> list[str]:
    """Lines about names that nothing in the file has: questionnaires, blocks, partners; and about too many partners.

    Read from the file itself, so that they are told beside whatever else is wrong.
    """
    blocks = [block for spot in _entries(fields.get("blocks")) if (block := _fields_of(spot))]
    wrong = _wrong_questionnaires(fields, blocks)
    names = [block["name"] for block in blocks if "name" in block]
    words_ = [spot.value for spot in names]
    doubled = [spot for i, spot in enumerate(names) if spot.value in words_[:i]]
    wrong += [spot.wrong(f"two blocks are named '{spot.value}'") for spot in doubled]
    partners = list(dict.fromkeys(str(item.value) for block in blocks for item in _entries(block.get("partners"))))
    if not allow_code and (refs := [ref for ref in partners if names_code(ref)]):
        what = f"{refs[0]} would run code; if you trust this file and that code, add --allow-code"
        wrong.append(fields["blocks"].wrong(what))
    if len(partners) > MAX_PARTNERS:
        what = f"{len(partners)} partners, at most {MAX_PARTNERS} can be blinded by a letter"
        wrong.append(fields["blocks"].wrong(what))
    strangers = [(n, s) for n, s in _fields_of(fields.get("partner_names")).items() if n not in partners]
    return wrong + [spot.wrong(str(unknown("partner", name, partners))) for name, spot in strangers]


def _wrong_questionnaires(fields: Mapping[str, Spot], blocks: Sequence[Mapping[str, Spot]]) -> list[str]:
    """Lines about questionnaires that are named and not there, or that cannot check comprehension."""
    known = _fields_of(fields.get("questionnaires"))
    uses = ("before", "comprehension", "after", "after_game", "after_block")
    named = [item for where in (fields, *blocks) for name in uses for item in _entries(where.get(name))]
    lost = [item for item in named if str(item.value) not in known]  # as text: any value may stand in the file
    wrong = [item.wrong(str(unknown("questionnaire", item.value, known))) for item in lost]
    for item in _entries(fields.get("comprehension")):
        if not all("expect" in _fields_of(question) for question in _entries(known.get(str(item.value)))):
            wrong.append(item.wrong("asks for comprehension, so each question of it needs 'expect'"))
    return wrong


def _entries(spot: Spot | None) -> list[Spot]:
    """Entries of a list; none of what is no list, which is told elsewhere."""
    return spot.items() if spot is not None and isinstance(spot.node, yaml.SequenceNode) else []


def _fields_of(spot: Spot | None) -> dict[str, Spot]:
    """Fields of a mapping; none of what is no mapping, which is told elsewhere."""
    return spot.fields()[0] if spot is not None and isinstance(spot.node, yaml.MappingNode) else {}


_NAMES = each(text)

_READERS: dict[type, dict[str, Callable[[Spot], Any]]] = {
    Study: {
        "title": text,
        "consent": text,
        "welcome": text,
        "tutorial": _tutorial,
        "questionnaires": _questionnaires,
        "before": _NAMES,
        "comprehension": _NAMES,
        "after": _NAMES,
        "blocks_order": one_of("blocks_order", ("balanced", "fixed")),
        "blocks": lambda spot: each(partial(_part, Block), least=1)(spot),
        "exclude": partial(_part, Exclusion),
        "partner_names": _names_of,
    },
    Block: {
        "name": text,
        "text": text,
        "layouts": each(_layout, least=1),
        "partners": each(_partner, least=1),
        "repeats": whole(1, 20),
        "order": one_of("order", ORDERS),
        "seat": one_of("seat", SEATS),
        "ticks": whole(1, 30_000),
        "tick_hz": number(0.5, 60),
        "rules": one_of("rules", RULES),
        "stochastic": flag,
        "after_game": _NAMES,
        "after_block": _NAMES,
        "moments": flag,
        "practice": flag,
        "break_every": whole(0, 1000),
        "break_s": number(0, 3600),
    },
    Question: {
        "id": text,
        "kind": one_of("kind of question", KINDS),
        "text": text,
        "options": each(words),
        "points": whole(2, 11),
        "low": words,
        "high": words,
        "required": flag,
        "expect": words,
    },
    Exclusion: {
        "failed_checks": whole(0, 100),
        "idle_share": number(0, 1),
        "unfinished": flag,
        "comprehension_attempts": whole(0, 100),
    },
}
