"""The methods that make pools, by name: what runs beside training, and which agents it leaves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from coord.algos.ppo import PPOState
from coord.partner_env import SelfPlayEnv
from populations import fcp, self_play
from populations.pool import NewMember


class Method(Protocol):
    """One training of a pool."""

    def observe(self, state: PPOState) -> None:
        """Called before training and after every update."""

    def members(self, state: PPOState, env: SelfPlayEnv, *, seed: int) -> list[NewMember]:
        """The pool, once training is over."""

    def state_dict(self) -> dict[str, Any]:
        """What must survive a kill."""

    def load_state_dict(self, state: Any) -> None:
        """Inverse of `state_dict`."""


class SelfPlay:
    """The final agent of every member."""

    def __init__(self, members: int) -> None:
        """members: how many train; nothing is kept along the way."""

    def observe(self, state: PPOState) -> None:
        """Nothing to note."""

    def members(self, state: PPOState, env: SelfPlayEnv, *, seed: int) -> list[NewMember]:
        """See `Method.members`."""
        return self_play.final_members(state, env, method="sp", seed=seed)

    def state_dict(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def load_state_dict(self, state: Any) -> None:
        """Nothing."""


METHODS: dict[str, Callable[[int], Method]] = {"sp": SelfPlay, "fcp": fcp.FictitiousCoPlay}
