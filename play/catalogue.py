"""What can be chosen in the menu, found without loading torch or any network."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class LayoutEntry:
    """A kitchen. `problem` is "" or the one line that says why it cannot be read."""

    name: str  # what load_layout takes: a name or a path
    grid: tuple[str, ...]
    num_players: int
    problem: str = ""


@dataclass(frozen=True)
class PartnerEntry:
    """An agent. `layout` "" means any. `problem` is "" or the one line that says why it cannot be chosen."""

    ref: str  # what load_agent takes
    title: str
    method: str  # "script", "human proxy", "sp", "fcp", ...
    score: float | None = None  # mean return noted when it was trained
    layout: str = ""
    rules: str = ""
    problem: str = ""

    def fits(self, layout: str, rules: str) -> bool:
        """Whether this partner can play that kitchen under these rules."""
        return not self.problem and self.layout in ("", layout) and self.rules in ("", rules)


def layouts(folders: Iterable[Path] = ()) -> list[LayoutEntry]:
    """All layouts of the package and the `.layout` files in `folders`, by name."""
    raise NotImplementedError


def partners(folders: Sequence[Path] = (Path("runs"),)) -> list[PartnerEntry]:
    """Built-in partners, then every pool member and trained agent found under `folders`."""
    raise NotImplementedError
