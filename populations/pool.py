"""A pool of partners on disk: a folder with `manifest.json` and one safetensors file per member.

A member counts once its entry is in the manifest; the manifest is replaced atomically after all files are written,
so a crash while adding leaves the pool as it was. Opening a pool checks every file against its recorded hash.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from coord.agents.files import (
    MANIFEST,
    MANIFEST_SCHEMA,
    AgentCard,
    StoredAgent,
    check_id,
    read_manifest,
    read_member,
    save_agent,
    spec_hash,
)
from coord.agents.policy import FrozenPolicy
from coord.errors import UserError
from coord.files import atomic_write_json
from coord.locks import locked_folder
from coord.nets.population import PopulationNet


class NewMember(NamedTuple):
    """A member to be written: its card, its network (M = 1) and the tensors [1, ...] of its context, if it has one."""

    card: AgentCard
    net: PopulationNet
    context: Mapping[str, Tensor] | None = None


@dataclass(frozen=True)
class Pool:
    """An opened and verified pool; `entries[i]` is the manifest entry of `members[i]`."""

    folder: Path
    entries: tuple[Mapping[str, Any], ...]
    members: tuple[StoredAgent, ...]

    def __len__(self) -> int:
        return len(self.members)

    def agents(self, *, stochastic: bool = True) -> list[FrozenPolicy]:
        """One player per member, in manifest order."""
        return [member.player(stochastic=stochastic) for member in self.members]


def open_pool(folder: str | Path) -> Pool:
    """Read and verify a pool.

    Raises:
        UserError: no pool there, empty, or a file is missing, altered or cut short (named with both hashes).
    """
    entries = read_manifest(folder)
    if not entries:
        raise UserError(f"pool {folder} has no members")
    return Pool(Path(folder), tuple(entries), tuple(read_member(folder, entry) for entry in entries))


def add_members(folder: str | Path, members: Sequence[NewMember]) -> list[dict[str, Any]]:
    """Create the pool if need be, add the members and return their manifest entries.

    Safe against a crash (all or none are added) and against another process adding at the same time.

    Raises:
        UserError: unwritable folder, full disk, an id that is taken or unfit for a file name.
    """
    folder = Path(folder)
    with locked_folder(folder, on_wait=lambda who: None):
        entries = read_manifest(folder) if (folder / MANIFEST).exists() else []
        _check_ids([entry["id"] for entry in entries], [new.card.agent_id for new in members], folder)
        added = [_write_member(folder, new) for new in members]
        atomic_write_json(folder / MANIFEST, {"schema": MANIFEST_SCHEMA, "members": [*entries, *added]})
    return added


def _check_ids(taken: Sequence[str], new: Sequence[str], folder: Path) -> None:
    for i, member_id in enumerate(new):
        check_id(member_id)
        if member_id in taken or member_id in new[:i]:
            raise UserError(f"pool {folder} already has a member '{member_id}'")


def _write_member(folder: Path, new: NewMember) -> dict[str, Any]:
    card = new.card
    file = f"{card.agent_id}.safetensors"
    sha256 = save_agent(folder / file, card, new.net, context=new.context)
    return {
        "id": card.agent_id,
        "layout": "+".join(card.layouts),
        "layout_hash": "+".join(card.layouts.values()),
        "rules": card.rules,
        "method": card.method,
        "seed": card.seed,
        "member": card.member,
        "checkpoint": card.checkpoint,
        "env_steps": card.env_steps,
        "return": card.mean_return,
        "human_data": card.human_data,
        "arch": card.arch.to_dict(),
        "spec_hash": spec_hash(card.spec),
        "extra": dict(card.extra),
        "file": file,
        "sha256": sha256,
    }
