"""The contexts that an agent's file can hold, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from coord.agents.context.action import PartnerAction
from coord.agents.context.base import Context
from coord.agents.context.belief import PartnerBelief
from coord.agents.context.groups import PartnerGroup
from coord.errors import UserError, unknown
from coord.overcooked import IndexSpec

Builder = Callable[[Mapping[str, Tensor], Mapping[str, Any], IndexSpec], Context]

CONTEXTS: dict[str, Builder] = {
    "partner_action": PartnerAction.from_tensors,
    "partner_group": PartnerGroup.from_tensors,
    "partner_belief": PartnerBelief.from_tensors,
}


def build(tensors: Mapping[str, Tensor], settings: Mapping[str, Any], spec: IndexSpec | None) -> Context:
    """The context of a file: its tensors [1, ...], its card's settings, and the agent's vocabulary.

    Raises:
        UserError: unknown kind, missing settings, or tensors of another shape.
    """
    kind = str(settings.get("kind"))
    if kind not in CONTEXTS:
        raise unknown("context", kind, CONTEXTS)
    if spec is None:
        raise UserError(f"context '{kind}' reads kitchens by index: the card names no vocabulary")
    try:
        return CONTEXTS[kind](tensors, settings, spec)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"context '{kind}' is incomplete or from another version: {error}") from error
