"""Objects of anybody's as agents: the protocol of visitors (populations/zoo/README.md), and ours behind one guard.

A visitor is an object with `obs` and `act(obs, info)`. It keeps whatever memory it likes for the seats that it serves,
in the order in which they are handed to it; `info["done"]` says which of them begin a new game.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coord.agents.players import Agent
from coord.agents.schemes.guard import FIRST_S, checked_actions, guarded
from coord.agents.views import KitchenView, Seeds
from coord.errors import UserError, shortened, unknown
from coord.overcooked import packed_row
from coord.types import NUM_ACTIONS

OBSERVATIONS: Mapping[str, Callable[[KitchenView, np.ndarray, np.ndarray], Any]] = {
    "features": lambda view, rows, seats: view.features()[rows, seats],  # float32 [N, F]
    "lossless": lambda view, rows, seats: view.lossless()[rows, seats],  # uint8 [N, W, H, 26]
    "index": lambda view, rows, seats: view.index()[rows, seats],  # int16 [N, K]
    "state": lambda view, rows, seats: view.states(rows),  # N mappings
}
MAX_GROUPS = 1024  # copies of one visitor: more come only of calls that no game makes


def is_agent(thing: Any) -> bool:
    """Whether an object follows our own protocol (`coord.agents.players.Agent`)."""
    return all(callable(getattr(thing, name, None)) for name in ("start", "begin_episode", "act"))


def seated(agent_id: str, make: Callable[[], Any], sha256: str = "") -> Agent:
    """The agent that plays with what `make()` gives: a visitor, or an agent of our own protocol.

    Raises:
        UserError: it is neither, or cannot be made.
    """
    first = guarded(agent_id, "making it", make, FIRST_S)
    if is_agent(first):
        return Guarded(agent_id, first, sha256)
    if not callable(getattr(first, "act", None)):
        raise UserError(f"agent {agent_id}: {shortened(repr(first))} has no act(obs, info)")
    kind = getattr(first, "obs", None)
    if kind not in OBSERVATIONS:
        raise UserError(f"agent {agent_id}: {unknown('obs', kind, OBSERVATIONS)}")
    return Visitor(agent_id, first, make, sha256)


class Guarded:
    """An agent of our own protocol whose code is not ours."""

    def __init__(self, agent_id: str, agent: Agent, sha256: str = "") -> None:
        self.agent_id, self.sha256, self._agent = agent_id, sha256, agent

    def start(self, num_envs: int, num_players: int, seed: Seeds) -> None:
        """See `Agent.start`."""
        guarded(self.agent_id, "start()", lambda: self._agent.start(num_envs, num_players, seed), FIRST_S)

    def begin_episode(self, rows: np.ndarray) -> None:
        """See `Agent.begin_episode`."""
        guarded(self.agent_id, "begin_episode()", lambda: self._agent.begin_episode(rows))

    def act(self, view: KitchenView, rows: np.ndarray, seats: np.ndarray) -> NDArray[np.int64]:
        """See `Agent.act`."""
        answer = guarded(self.agent_id, "act()", lambda: self._agent.act(view, rows, seats), FIRST_S)
        return checked_actions(self.agent_id, answer, len(rows))


class Visitor:
    """A visitor in any number of seats.

    Seats that are asked for together are served by one object, in one call; with `batched = False` on the object each
    seat has an object of its own. Nobody but `make` builds them, so that no memory is shared.
    """

    def __init__(self, agent_id: str, first: Any, make: Callable[[], Any], sha256: str = "") -> None:
        self.agent_id, self.sha256 = agent_id, sha256
        self._observe = OBSERVATIONS[first.obs]
        self._batched = bool(getattr(first, "batched", True))
        self._make, self._spares = make, [first]
        self._serving: dict[bytes, Any] = {}

    def start(self, num_envs: int, num_players: int, seed: Seeds) -> None:
        """See `Agent.start`."""
        self._spares += self._serving.values()
        self._serving = {}
        self._seed = int.from_bytes(hashlib.sha256(np.asarray(seed).astype(np.uint64).tobytes()).digest()[:4], "big")
        self._new = np.ones((num_envs, num_players), bool)  # whose game begins with the next decision

    def begin_episode(self, rows: np.ndarray) -> None:
        """See `Agent.begin_episode`."""
        self._new[rows] = True

    def act(self, view: KitchenView, rows: np.ndarray, seats: np.ndarray) -> NDArray[np.int64]:
        """See `Agent.act`."""
        parts = [slice(None)] if self._batched else [slice(i, i + 1) for i in range(len(rows))]
        acts = [self._decide(view, rows[part], seats[part]) for part in parts]
        self._new[rows, seats] = False
        return np.concatenate(acts) if acts else np.zeros(0, np.int64)

    def _decide(self, view: KitchenView, rows: np.ndarray, seats: np.ndarray) -> NDArray[np.int64]:
        key = np.stack((rows, seats)).tobytes()
        fresh = key not in self._serving
        if fresh:
            self._serving[key] = self._begin(len(rows))
        one, obs, info = self._serving[key], self._observe(view, rows, seats), self._info(view, rows, seats)
        limit = {"limit_s": FIRST_S} if fresh else {}
        answer = guarded(self.agent_id, "act()", lambda: one.act(obs, info), **limit)
        return checked_actions(self.agent_id, answer, len(rows))

    def _begin(self, count: int) -> Any:
        """An object that serves `count` seats from their beginning."""
        if self._batched and len(self._serving) >= MAX_GROUPS:
            raise UserError(f"agent {self.agent_id}: asked in more than {MAX_GROUPS} different groups of seats")
        one = self._spares.pop() if self._spares else guarded(self.agent_id, "making it", self._make, FIRST_S)
        if callable(reset := getattr(one, "reset", None)):
            seed = (self._seed + len(self._serving)) % 2**32
            guarded(self.agent_id, "reset()", lambda: reset(count, seed), FIRST_S)
        return one

    def _info(self, view: KitchenView, rows: np.ndarray, seats: np.ndarray) -> dict[str, Any]:
        masked = view.env.mask_useless_actions
        return {
            "seat": seats.copy(),  # [N]
            "legal": view.useful()[rows, seats] if masked else np.ones((len(rows), NUM_ACTIONS), bool),  # [N, 6]
            "layout": view.env.layouts[0].name,
            "tick": view.rows()[rows, packed_row.TIME].astype(np.int64),  # [N]
            "done": self._new[rows, seats].copy(),  # [N]: this observation begins a new game
        }
