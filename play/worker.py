"""A partner that thinks beside the window: newest state in, action out, and no way to freeze the game.

The agent lives in a process of its own (or, in tests, a thread) at the other end of a pipe. At most one state is
with the agent at any time; while it thinks, only the newest further state is kept, so neither side's pipe can fill up
and nothing queues. A worker that does not answer for `hang_s` is killed, one that dies is noticed; both leave a status
that says so, and `restart` brings a fresh one. This module imports neither torch nor numba: the child does, after it
has set its own thread counts.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from coord.agents import Agent
    from coord.overcooked import Layout, OvercookedVectorEnv


@dataclass(frozen=True)
class PartnerSpec:
    """Which agent, how it draws its actions, and from which seed."""

    ref: str  # built-in name, checkpoint path, or pool#member
    stochastic: bool = True
    seed: int = 0


class GameSpec(NamedTuple):
    """What the worker must know of the game to rebuild its states."""

    layout: Layout
    rules: str
    ticks: int
    seat: int


class Answer(NamedTuple):
    """An action for the state before tick `tick`; `latency_ms` from receiving the state to having the action."""

    tick: int
    action: int
    latency_ms: float


Loader = Callable[[PartnerSpec, "GameSpec"], "Agent"]


def load_partner(spec: PartnerSpec, game: GameSpec) -> Agent:
    """The agent behind `spec.ref`. UserError if it cannot be loaded or does not fit the layout."""
    from coord.evaluation.agents import load_agent

    return load_agent(spec.ref, game.layout, game.rules, stochastic=spec.stochastic)


class PartnerWorker:
    """One agent at one seat, in its own process (`mode="process"`) or thread (`mode="thread"`, for tests).

    `status` is "loading" (not ready yet), "ready", "hung" (killed after `hang_s` without an answer), "crashed"
    (ended or raised; `message` has the reason) or "closed". No method blocks.
    """

    def __init__(
        self,
        spec: PartnerSpec,
        game: GameSpec,
        now_s: float,
        *,
        mode: str = "process",
        hang_s: float = 3.0,
        load_s: float = 120.0,
        loader: Loader = load_partner,
    ) -> None:
        self.spec = spec
        self.game = game
        self.status = "loading"
        self.message = ""  # one line for the player when hung or crashed
        self.agent_id = ""
        self.checkpoint_sha256 = ""
        self.latency_ms: float | None = None  # of the newest answer

    def submit(self, tick: int, state: Mapping[str, object], now_s: float) -> None:
        """The newest state; replaces one that was not sent yet."""

    def poll(self, now_s: float) -> None:
        """Read what arrived, send what waits, notice a hang or an end. Call every frame."""

    def take(self, tick: int) -> Answer | None:
        """The answer for `tick`, or None if it is not there (late answers to older ticks are dropped)."""

    def restart(self, now_s: float) -> None:
        """A fresh agent after a hang or crash."""

    def close(self) -> None:
        """End the worker (kill it if need be)."""
