"""What an agent keeps of its partner from one game to the next, where the two play several in a row.

    within     of the running game only: every game begins with a stranger
    between    of past games only: fixed while a game lasts (PECAN as released)
    both       of either

Egos with a context (PECAN's groups, a belief) and egos with a memory can be told; nobody else has anything to keep.
"""

from __future__ import annotations

from coord.agents.context.base import Context
from coord.agents.context.belief import PartnerBelief
from coord.agents.context.groups import PartnerGroup
from coord.agents.players import Agent
from coord.agents.policy import FrozenPolicy
from coord.errors import UserError, unknown

CARRIES = ("within", "between", "both")
_OF_GROUPS = {"within": "within", "between": "episode", "both": "both"}


def carry(agent: Agent, what: str) -> None:
    """Tell an agent what to keep; before its `start`.

    Raises:
        UserError: an agent that keeps nothing, or cannot do so in that way.
    """
    if what not in CARRIES:
        raise unknown("context", what, CARRIES)
    context = _context(agent)
    if isinstance(context, PartnerGroup):
        context.update = _OF_GROUPS[what]
        return
    has_memory = isinstance(agent, FrozenPolicy) and agent.net.arch.memory > 0
    if not has_memory and not isinstance(context, PartnerBelief):
        raise UserError(f"context={what}: {agent.agent_id} keeps nothing of its partner (pecan, belief, recurrent do)")
    if what == "between":
        raise UserError(f"context=between: {agent.agent_id} learns of its partner in every tick; say within or both")
    if isinstance(context, PartnerBelief):
        context.keeps = what == "both"
    if isinstance(agent, FrozenPolicy):
        agent.keeps_memory = what == "both"


def can_choose(agent: Agent) -> bool:
    """Whether all three ways of `carry` are open to an agent."""
    return isinstance(_context(agent), PartnerGroup)


def _context(agent: Agent) -> Context | None:
    return agent.contexts[0] if isinstance(agent, FrozenPolicy) and agent.contexts else None
