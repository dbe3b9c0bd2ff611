"""What can be chosen in the menu, found without torch: names, manifests and the headers of files."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coord.errors import UserError
from coord.files import parse_json
from coord.overcooked.human_data import HUMAN_LAYOUTS
from coord.overcooked.layouts import layout_names
from coord.overcooked.loader import load_layout
from coord.types import ANY_LAYOUT

MAX_HEADER_BYTES = 8_000_000  # of a safetensors file; more is no agent of ours
_SKIPPED_FOLDERS = frozenset({"ckpt", "tb"})  # of a run: its training state and its curves


@dataclass(frozen=True)
class LayoutEntry:
    """A kitchen. `problem` is "" or the one line that says why it cannot be read."""

    name: str  # what load_layout takes: a name or a path
    grid: tuple[str, ...]
    num_players: int
    problem: str = ""


@dataclass(frozen=True)
class PartnerEntry:
    """An agent. `problem` is "" or the one line that says why it cannot be chosen."""

    ref: str  # what load_agent takes
    title: str
    method: str  # "script", "clone of people", or the training method: sp, fcp, ...
    score: float | None = None  # mean return noted when it was trained
    taught: str = ""  # what it learned its reward from, in few words: "100 labels by oracle"; "" for all others
    layouts: tuple[str, ...] = ()  # names of the kitchens it can play in; () means any
    rules: str = ""  # "" means any
    problem: str = ""

    def fits(self, layout: str, rules: str) -> bool:
        """Whether this partner can play in that kitchen under these rules."""
        return not self.problem and layout in (self.layouts or (layout,)) and self.rules in ("", rules)


BUILT_IN = (
    PartnerEntry("greedy", "Greedy cook", "script"),
    PartnerEntry("human_proxy", "Human proxy", "clone of people", layouts=HUMAN_LAYOUTS, rules="classic"),
    PartnerEntry("bc_train", "Human clone", "clone of people", layouts=HUMAN_LAYOUTS, rules="classic"),
    PartnerEntry("random", "Random", "script"),
    PartnerEntry("stay", "Stands still", "script"),
)


def layouts(folders: Iterable[Path] = ()) -> list[LayoutEntry]:
    """All layouts of the package, then the `.layout` files under `folders`, each in order of name."""
    own = sorted(str(path) for folder in folders for path in _files(folder) if path.suffix == ".layout")
    return [_layout_entry(name) for name in [*layout_names(), *own]]


def partners(folders: Sequence[Path] = (Path("runs"),)) -> list[PartnerEntry]:
    """Built-in partners, then every pool member and trained agent found under `folders`, in order of their place."""
    found: list[PartnerEntry] = []
    for folder in folders:
        files = sorted(_files(folder))
        pools = [path.parent for path in files if path.name == "manifest.json"]
        for pool in pools:
            found += _pool_entries(pool)
        lone = [path for path in files if path.suffix == ".safetensors" and path.parent not in pools]
        found += [entry for path in lone if (entry := _agent_entry(path)) is not None]
    return [*BUILT_IN, *found]


def _files(folder: Path) -> Iterator[Path]:
    for base, subfolders, names in os.walk(folder):
        subfolders[:] = [name for name in subfolders if name not in _SKIPPED_FOLDERS and name[0] != "."]
        found = (Path(base) / name for name in names if name[0] != ".")
        yield from (path for path in found if path.is_file())  # no pipe, no endless device


def _layout_entry(name: str) -> LayoutEntry:
    try:
        layout = load_layout(name)
    except UserError as error:
        return LayoutEntry(name, (), 0, str(error))
    return LayoutEntry(name, layout.grid, layout.num_players)


def _pool_entries(folder: Path) -> list[PartnerEntry]:
    try:
        members = parse_json((folder / "manifest.json").read_text(encoding="utf-8"))["members"]
        return [_member_entry(folder, member) for member in members]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return [PartnerEntry(str(folder), folder.name, "pool", problem=f"{folder} is a damaged pool: {error!r}")]


def _member_entry(folder: Path, member: Mapping[str, Any]) -> PartnerEntry:
    missing = not (folder / member["file"]).is_file()
    return PartnerEntry(
        ref=f"{folder}#{member['id']}",
        title=f"{folder.name} {member['id']}",
        method=str(member["method"]),
        score=member["return"],
        taught=_taught(member),
        layouts=_places(member["layout"].split("+")),
        rules=str(member["rules"]),
        problem=f"{folder / member['file']} is missing" if missing else "",
    )


def _places(names: Iterable[str]) -> tuple[str, ...]:
    """Kitchens of a card as `PartnerEntry.layouts` has them."""
    return tuple(name for name in names if name != ANY_LAYOUT)


def _agent_entry(path: Path) -> PartnerEntry | None:
    """The agent in a safetensors file; None for another kind of checkpoint."""
    try:
        card = _read_card(path)
        if card.get("kind") != "agent":
            return None
        return PartnerEntry(
            ref=str(path),
            title=str(card["agent_id"]),
            method=str(card["method"]),
            score=card["mean_return"],
            taught=_taught(card),
            layouts=_places(card["layouts"]),
            rules=str(card["rules"]),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return PartnerEntry(str(path), path.stem, "agent", problem=f"{path} is damaged: {error!r}")


def _taught(card: Mapping[str, Any]) -> str:
    """What the card of an ego of `coord prefer`, or its row in a manifest, says of its labels."""
    learned = card.get("extra", {})
    if not learned.get("teacher"):
        return ""
    teacher = "people" if learned["teacher"] == "human" else learned["teacher"]
    return f"{learned['labels']} labels by {teacher}"


def _read_card(path: Path) -> Mapping[str, Any]:
    """What `coord.checkpoint.save` wrote as "meta" into the header: 8 bytes of length, then JSON."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        if size > MAX_HEADER_BYTES:
            raise ValueError("no safetensors header")
        return parse_json(parse_json(file.read(size))["__metadata__"]["coord"])["meta"]
