"""Policies for control tasks on disk: the tensors of one actor and a card that says what it is and learned from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from coord import checkpoint
from coord.errors import Diverged, UserError
from coord.nets import mlps

CARD_KIND = "control policy"
# Deterministic action: tanh of the first half of the outputs | the outputs, clipped | the largest output's number
HEADS = ("tanh", "clip", "argmax")


@dataclass(frozen=True, kw_only=True)
class PolicyCard:
    """What a stored policy is. labels: answered queries; teacher: who answered; preset: "fast" or "published"."""

    agent_id: str
    task: str
    method: str
    preset: str
    head: str
    seed: int
    member: int
    env_steps: int
    labels: int = 0
    skipped: int = 0
    teacher: str = ""
    eval_return: float | None = None
    eval_success: float | None = None


@dataclass(frozen=True)
class StoredPolicy:
    """A policy read from disk."""

    card: PolicyCard
    tensors: Mapping[str, Tensor]  # of one network as in `coord.nets.mlps`; norm.mean, norm.std [O] where it wants them

    def act(self, obs: Tensor) -> Tensor:
        """Deterministic actions [N, A] in [-1, 1] for obs [N, O]; numbers [N] where actions are discrete."""
        if "norm.mean" in self.tensors:
            obs = ((obs - self.tensors["norm.mean"]) / self.tensors["norm.std"]).clamp(-10, 10).float()
        net = {name: tensor[None] for name, tensor in self.tensors.items() if not name.startswith("norm.")}
        out = mlps.apply(net, obs[None])[0]
        if self.card.head == "argmax":
            return out.argmax(-1)
        return torch.tanh(out.chunk(2, -1)[0]) if self.card.head == "tanh" else out.clamp(-1, 1)


def save_policy(path: Path, card: PolicyCard, tensors: Mapping[str, Tensor], *, config: Mapping[str, Any]) -> str:
    """Writes one policy atomically; the SHA-256 of the file.

    Raises:
        UserError: an unwritable folder.
        Diverged: parameters that are not finite; nothing is written.
    """
    try:
        checkpoint.refuse_non_finite(tensors, f"policy '{card.agent_id}'")
    except UserError as error:
        raise Diverged(f"{error}; {path} is not written") from error
    return checkpoint.save(path, tensors, {"kind": CARD_KIND, **asdict(card)}, config=config)


def read_policy(path: Path) -> StoredPolicy:
    """Reads what `save_policy` wrote.

    Raises:
        UserError: missing, cut short, altered, not a control policy, or one whose parameters are not finite.
    """
    tensors, meta = checkpoint.load(path)
    checkpoint.refuse_non_finite(tensors, str(path))
    if meta.get("kind") != CARD_KIND:
        raise UserError(f"{path} is a checkpoint, but not a policy for a control task")
    names = {field.name for field in fields(PolicyCard)}
    try:
        card = PolicyCard(**{key: value for key, value in meta.items() if key in names})
    except TypeError as error:
        raise UserError(f"{path}: the policy's card is incomplete or from another version: {error}") from error
    return StoredPolicy(card, tensors)
