"""Whoever can hold a seat: one protocol for learned, cloned, scripted and human players, and the two simplest of them.

An agent answers for many seats of many kitchens in one call, so that a batch of games costs one forward pass.
Its memory (counters, recent poses) is kept per (kitchen, seat); its random numbers are a pure function of
(seed of the kitchen, seat, tick), so a game does not depend on which other games happen to share its batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from coord.agents.views import KitchenView, Seeds
from coord.types import NUM_ACTIONS

STAY = 4


class Agent(Protocol):
    """A player. `start` once per batch of kitchens, `begin_episode` for kitchens that (re)start, then `act`."""

    agent_id: str

    def start(self, num_envs: int, num_players: int, seed: Seeds) -> None:
        """Allocate memory per (kitchen, seat); `seed` is one number or one per kitchen [num_envs]."""

    def begin_episode(self, rows: np.ndarray) -> None:
        """Forget what was seen in the kitchens `rows`."""

    def act(self, view: KitchenView, rows: np.ndarray, seats: np.ndarray) -> NDArray[np.int64]:
        """Actions [n] for seat `seats[i]` of kitchen `rows[i]`, integer arrays [n]; once per tick and seat."""


def _mix64(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Finaliser of SplitMix64 (Steele, Lea and Flood 2014): a bijection whose output bits look independent."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


class RowUniforms:
    """Uniform numbers in [0, 1) that depend only on (seed of the kitchen, seat, how many were drawn there)."""

    _GOLDEN = np.uint64(0x9E3779B97F4A7C15)

    def __init__(self, num_envs: int, num_players: int, seed: Seeds) -> None:
        keys = np.asarray(seed).astype(np.uint64)
        if keys.ndim == 0:  # one seed for all: give every kitchen its own key
            keys = _mix64(keys + self._GOLDEN * np.arange(1, num_envs + 1, dtype=np.uint64))
        if keys.shape != (num_envs,):
            raise ValueError(f"seed must be one number or one per kitchen [{num_envs}], got shape {keys.shape}")
        seat_keys = self._GOLDEN * np.arange(1, num_players + 1, dtype=np.uint64)
        self._keys = _mix64(_mix64(keys)[:, None] + seat_keys[None])  # [N, P]
        self._drawn = np.zeros((num_envs, num_players), np.uint64)

    def draw(self, rows: np.ndarray, seats: np.ndarray) -> NDArray[np.float64]:
        """One number per (row, seat) pair [n]; a pair may appear once per call."""
        self._drawn[rows, seats] += np.uint64(1)
        bits = _mix64(self._keys[rows, seats] + self._GOLDEN * self._drawn[rows, seats])
        return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53

    def get_state(self) -> dict[str, np.ndarray]:
        """Seeds and counts, for exact resume; as int64, which every checkpoint can hold."""
        return {"keys": self._keys.view(np.int64).copy(), "drawn": self._drawn.view(np.int64).copy()}

    def set_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Inverse of `get_state`."""
        self._keys, self._drawn = (np.array(state[name], np.int64).view(np.uint64) for name in ("keys", "drawn"))


class RandomAgent:
    """Each of the six actions with equal probability."""

    agent_id = "random"

    def start(self, num_envs: int, num_players: int, seed: Seeds) -> None:
        """See `Agent.start`."""
        self._uniforms = RowUniforms(num_envs, num_players, seed)

    def begin_episode(self, rows: np.ndarray) -> None:
        """Nothing to forget: the stream of random numbers runs on."""

    def act(self, view: KitchenView, rows: np.ndarray, seats: np.ndarray) -> NDArray[np.int64]:
        """See `Agent.act`."""
        return (self._uniforms.draw(rows, seats) * NUM_ACTIONS).astype(np.int64)


class StayAgent:
    """Never moves."""

    agent_id = "stay"

    def start(self, num_envs: int, num_players: int, seed: Seeds) -> None:
        """Needs no memory."""

    def begin_episode(self, rows: np.ndarray) -> None:
        """Nothing to forget."""

    def act(self, view: KitchenView, rows: np.ndarray, seats: np.ndarray) -> NDArray[np.int64]:
        """See `Agent.act`."""
        return np.full(len(rows), STAY, np.int64)
