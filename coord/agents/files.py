"""Agents on disk: a safetensors file per agent, whose header carries a card; and the manifest of a pool of them.

The card says what the agent is, where it may play and what it learned from. Whatever a training run is about to
learn from passes `refuse_held_out`, so that the human proxy made from the held-out games stays unseen.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch

from coord import checkpoint
from coord.agents.context import kinds
from coord.agents.context.base import Context
from coord.agents.policy import FrozenPolicy
from coord.errors import Diverged, UserError, unknown
from coord.files import read_text
from coord.nets.population import Arch, PopulationNet
from coord.overcooked import IndexSpec, Layout
from coord.types import ANY_LAYOUT

CARD_KIND = "agent"
MANIFEST = "manifest.json"
AGENT_FILE = "agent.safetensors"  # what a training run leaves in its folder
MANIFEST_SCHEMA = 1
HELD_OUT_ID = "human_proxy"
_CONTEXT = "context."  # prefix of a context's tensors in the file
# Ids are file names and parts of references (`pool#id`); letters beyond these are spelt in two ways by file systems.
_SAFE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
ID_LENGTH = 100
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class AgentCard:
    """What a stored agent is.

    layouts: name -> hash of the kitchens it was trained for, or `ANY_LAYOUT` alone; spec: `IndexSpec.to_dict()` of an
    index network;
    human_data: the human games it learned from: half of the packaged ones, "train" or "test" (held out), "recorded"
    for games of the game client, "" for none; checkpoint:
    "init", "mid" or "final" of its training run; context: what its network reads beside the kitchen
    (`Context.settings`), None for nothing; extra: anything else worth keeping (JSON).
    """

    agent_id: str
    layouts: Mapping[str, str]
    rules: str
    method: str
    arch: Arch
    seed: int = 0
    member: int = 0
    checkpoint: str = "final"
    env_steps: int = 0
    mean_return: float | None = None
    spec: Mapping[str, Any] | None = None
    human_data: str = ""
    unstick: bool = False
    context: Mapping[str, Any] | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain mapping for JSON; `context` only where there is one, so that other files stay as they always were."""
        values = {**asdict(self), "arch": self.arch.to_dict(), "kind": CARD_KIND}
        return {k: v for k, v in values.items() if k != "context" or v is not None}

    @staticmethod
    def from_dict(values: Mapping[str, Any], source: str) -> AgentCard:
        """Inverse of `to_dict`; `source` names the file in the error for anything that is no card."""
        fields = dict(values) if isinstance(values, Mapping) else {}
        if fields.pop("kind", None) != CARD_KIND:
            raise UserError(f"{source} is a checkpoint, but not an agent: it cannot hold a seat")
        try:
            card = AgentCard(**{**fields, "arch": Arch.from_dict(fields["arch"])})
            _check_card(card)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, UserError) as error:
            raise UserError(f"{source}: the agent's card is incomplete or from another version: {error}") from error
        return card


_NUMBER = (int, float, type(None))
_MAPPING = (Mapping, type(None))
_CARD_TYPES: Mapping[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("agent_id", "rules", "method", "checkpoint", "human_data"), str),
    **dict.fromkeys(("seed", "member", "env_steps"), int),
    **dict.fromkeys(("layouts", "extra"), Mapping),
    **dict.fromkeys(("spec", "context"), _MAPPING),
    "mean_return": _NUMBER,
    "unstick": bool,
}


def _check_card(card: AgentCard) -> None:
    """Raise TypeError, ValueError or LookupError for a card that no training writes."""
    for name, kinds_ in _CARD_TYPES.items():
        if not isinstance(getattr(card, name), kinds_):
            raise TypeError(f"{name} is {getattr(card, name)!r:.60}")
    for home in (*card.layouts, *card.layouts.values()):
        if not isinstance(home, str):
            raise TypeError(f"layouts holds {home!r:.60}")
    reads_features = card.arch.kind.endswith("_features")
    if card.unstick and not reads_features:
        raise ValueError(f"unstick is for networks on features, not for {card.arch.kind}")
    if card.spec is not None:
        IndexSpec.from_dict(card.spec)
    elif card.arch.kind == "mlp_index":
        raise ValueError("a network on indices needs a spec")
    if card.arch.extra and card.context is None:
        raise ValueError("a network that reads a context needs one")


@dataclass(frozen=True)
class StoredAgent:
    """An agent read from disk: its card, its network (M = 1) and the tensors of its context, if it has one."""

    card: AgentCard
    net: PopulationNet
    context: Mapping[str, torch.Tensor] = field(default_factory=dict)
    sha256: str = ""  # of the file it was read from

    @property
    def spec(self) -> IndexSpec | None:
        """Vocabulary of an index network."""
        return None if self.card.spec is None else IndexSpec.from_dict(self.card.spec)

    def player(self, *, stochastic: bool = True, drop_stay: bool = False) -> FrozenPolicy:
        """The agent as a player. Raises `UserError` for a context that cannot be built from its tensors."""
        context = self.new_context()
        return FrozenPolicy(
            self.net,
            self.spec,
            agent_id=self.card.agent_id,
            stochastic=stochastic,
            unstick=self.card.unstick,
            drop_stay=drop_stay,
            contexts=() if context is None else (context,),
            sha256=self.sha256,
        )

    def new_context(self) -> Context | None:
        """What its network reads beside the kitchen, None for nothing; each has its own memory.

        Raises:
            UserError: it cannot be built from its tensors.
        """
        if self.card.context is None:
            return None
        context, reads = kinds.build(self.context, self.card.context, self.spec), self.card.arch.extra
        if context.size != reads:
            raise UserError(
                f"agent '{self.card.agent_id}' is from another version: it reads {reads} numbers about its partner, "
                f"context '{self.card.context['kind']}' now has {context.size}; train it again"
            )
        return context

    def check_kitchen(self, layout: Layout, rules: str) -> None:
        """Raise `UserError` unless the agent was trained for this layout under these rules."""
        if rules != self.card.rules:
            raise UserError(
                f"agent '{self.card.agent_id}' was trained with rules={self.card.rules}, not rules={rules}: "
                f"use rules={self.card.rules} or another agent"
            )
        if ANY_LAYOUT not in self.card.layouts and layout.hash not in self.card.layouts.values():
            raise UserError(
                f"agent '{self.card.agent_id}' was trained for layout {', '.join(self.card.layouts)}, "
                f"not for '{layout.name}' (hash {layout.hash[:12]})"
            )


class AgentGroup(NamedTuple):
    """Agents that one forward pass can serve: same architecture, same vocabulary, same un-stuck rule."""

    net: PopulationNet  # M = len(indices)
    spec: IndexSpec | None
    unstick: bool
    indices: tuple[int, ...]  # positions of the members in the list that was grouped


def stack_agents(agents: Sequence[StoredAgent]) -> list[AgentGroup]:
    """Group the agents into networks with a population axis; every agent is in exactly one group."""
    keys: dict[tuple[object, ...], list[int]] = {}
    for i, agent in enumerate(agents):
        keys.setdefault((agent.card.arch, spec_hash(agent.card.spec), agent.card.unstick), []).append(i)
    groups = []
    for indices in keys.values():
        first = agents[indices[0]]
        net = PopulationNet.stack([agents[i].net for i in indices])
        groups.append(AgentGroup(net, first.spec, first.card.unstick, tuple(indices)))
    return groups


def spec_hash(spec: Mapping[str, Any] | None) -> str:
    """SHA-256 of an observation vocabulary as stored on a card; "" for networks that need none."""
    return "" if spec is None else hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()


def check_id(agent_id: str, *, asked: str = "", room: int = 0) -> None:
    """Refuse what cannot be the id of an agent.

    asked: what was typed to have it, such as `name=ä`; room: how many characters are still to be appended.

    Raises:
        UserError: characters or a length that not every file system takes.
    """
    if _SAFE_ID.fullmatch(agent_id) and len(agent_id) <= ID_LENGTH - room:
        return
    shown = agent_id if len(agent_id) <= 60 else f"{agent_id[:57]}..."
    source = f" ({asked})" if asked and len(asked) <= 80 else ""
    raise UserError(
        f"agent id '{shown}'{source}: allowed are ASCII letters, digits, '.', '_' and '-', a letter or digit first, "
        f"at most {ID_LENGTH - room} in all"
    )


def save_agent(
    path: str | Path,
    card: AgentCard,
    net: PopulationNet,
    *,
    context: Mapping[str, torch.Tensor] | None = None,
    config: Mapping[str, Any] | None = None,
    origin: Mapping[str, Any] | None = None,
) -> str:
    """Write one agent, with the tensors [1, ...] of its context, atomically; the SHA-256 of the file.

    config, origin: see `checkpoint.save`.

    Raises:
        UserError: an id that is unfit for a file name, unwritable folder or full disk.
        Diverged: parameters that are not finite; nothing is written.
    """
    check_id(card.agent_id)
    if net.members != 1 or net.arch != card.arch:
        raise ValueError(f"an agent file holds one member of {card.arch}, got {net.members} of {net.arch}")
    if bool(context) != (card.context is not None):
        raise ValueError(f"the card of '{card.agent_id}' and its tensors disagree on whether it has a context")
    own = {f"{_CONTEXT}{name}": tensor for name, tensor in (context or {}).items()}
    tensors = net.tensors() | own
    try:
        checkpoint.refuse_non_finite(tensors, f"agent '{card.agent_id}'")
    except UserError as error:
        raise Diverged(f"{error}; {path} is not written") from error
    return checkpoint.save(path, tensors, card.to_dict(), config=config, origin=origin)


def read_agent(path: str | Path, *, sha256: str | None = None) -> StoredAgent:
    """Read an agent file; with `sha256` the whole file must have that hash.

    Raises:
        UserError: missing, cut short, altered, or not one agent with finite parameters.
    """
    tensors, meta = checkpoint.load(path, sha256=sha256)
    card = AgentCard.from_dict(meta, str(path))
    checkpoint.refuse_non_finite(tensors, str(path))
    for name, tensor in tensors.items():
        if name.startswith(_CONTEXT):
            continue
        if tensor.dtype != torch.float32 or tensor.shape[:1] != (1,):
            raise UserError(
                f"{path}: parameter '{name}' is {tensor.dtype} {list(tensor.shape)}; an agent file holds one member, "
                "float32 [1, ...]"
            )
    context = {name[len(_CONTEXT) :]: tensor for name, tensor in tensors.items() if name.startswith(_CONTEXT)}
    try:
        return StoredAgent(card, PopulationNet(card.arch, tensors), context, sha256 or checkpoint.file_hash(path))
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def content_hash(agent: StoredAgent) -> str:
    """SHA-256 of an agent's card and parameters, wherever it comes from."""
    digest = hashlib.sha256(json.dumps(agent.card.to_dict(), sort_keys=True).encode())
    for tensors in (agent.net.tensors(), agent.context):
        for name in sorted(tensors):
            digest.update(f"{name}{tuple(tensors[name].shape)}".encode())
            digest.update(tensors[name].detach().cpu().numpy().tobytes())
    return digest.hexdigest()


def refuse_held_out(agent: StoredAgent, source: str, held_out: Mapping[str, torch.Tensor] | None = None) -> None:
    """Raise `UserError` if training must not learn from `agent`.

    Three independent signs of the human proxy: the half of the human games recorded in its card, its name, and (if
    `held_out`, the parameters of the human proxy, is given) identical parameters under another name. Others that are
    made to evaluate with say so on their cards (`evaluation_only`).
    """
    if agent.card.human_data == "test":
        sign = "its card says that it was cloned from the held-out half of the human games"
    elif agent.card.agent_id.startswith(HELD_OUT_ID):
        sign = f"it is named '{agent.card.agent_id}'"
    elif held_out is not None and _equal_params(agent.net.tensors(), held_out):
        sign = "its parameters are those of the human proxy"
    elif agent.card.extra.get("evaluation_only"):
        sign = "its card says so"
    else:
        return
    raise UserError(f"{source} is for evaluation only ({sign}); training may use bc_train or a pool")


def _equal_params(a: Mapping[str, torch.Tensor], b: Mapping[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


# ------------------------------------------------------------------------------------------- pools


def read_manifest(folder: str | Path) -> list[dict[str, Any]]:
    """Entries of a pool: each has `id`, `file`, `sha256` and the fields of the member's card.

    Raises:
        UserError: no pool there, its manifest is damaged or from a newer version, or a member lies outside or has no
            hash.
    """
    path = Path(folder) / MANIFEST
    if not os.path.isfile(path):
        raise UserError(f"{folder} is not a pool: it has no {MANIFEST}")
    try:
        manifest = json.loads(read_text(path))
        schema, members = int(manifest["schema"]), list(manifest["members"])
        ids = [_checked_entry(entry, path) for entry in members]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"{path} is damaged: {type(error).__name__} {error}") from error
    if schema > MANIFEST_SCHEMA:
        raise UserError(f"{path} has schema {schema}, this version reads up to {MANIFEST_SCHEMA}: please update")
    if len(set(ids)) != len(ids):
        raise UserError(f"{path} is damaged: member ids are not unique")
    return members


def _checked_entry(entry: Mapping[str, Any], path: Path) -> str:
    """The id of a member; KeyError or TypeError for an entry that is none, UserError for one without a hash."""
    member_id, file, sha256 = entry["id"], entry["file"], entry.get("sha256")
    if not (isinstance(member_id, str) and isinstance(file, str)):
        raise TypeError(f"id and file of member {str(member_id)[:40]} are not text")
    if Path(file).name != file:
        raise UserError(f"{path}: file '{file}' of member '{member_id}' is not inside the pool")
    if not (isinstance(sha256, str) and _SHA256.fullmatch(sha256)):
        raise UserError(f"{path}: member '{member_id}' has no SHA-256 of its file, so it cannot be checked")
    return member_id


def read_member(folder: str | Path, entry: Mapping[str, Any]) -> StoredAgent:
    """Read the member of an entry of `read_manifest`, checked against the recorded hash.

    Raises:
        UserError: the file is missing, altered or cut short.
    """
    return read_agent(Path(folder) / entry["file"], sha256=entry["sha256"])


def read_pool_member(folder: str | Path, member_id: str) -> StoredAgent:
    """Read one member of a pool by its id.

    Raises:
        UserError: no such pool or member, or its file is missing, altered or cut short.
    """
    entries = {str(entry["id"]): entry for entry in read_manifest(folder)}
    if member_id not in entries:
        raise unknown(f"member of {folder}", member_id, entries)
    return read_member(folder, entries[member_id])
