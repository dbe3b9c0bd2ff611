"""Frozen networks as players: opponents in cross-play, partners in training, members of pools, agents in the window.

`FrozenPolicy` is all of these. As an `Agent` it is one network; as the `Partners` of a training it is a population of
networks, each row of a call played by a member of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from coord.agents.players import STAY, RowUniforms
from coord.agents.views import KitchenView, Seeds
from coord.nets.population import PopulationNet, append_dense, rows_by_member, sample_actions
from coord.types import NUM_ACTIONS

if TYPE_CHECKING:
    from coord.agents.context.base import Context
    from coord.overcooked import IndexSpec

STUCK_TICKS = 3  # Carroll et al. 2019


class StuckMemory:
    """Rule of Carroll et al. (2019) that frees a clone from walls: a seat whose pose (cell and orientation) is the
    same now as in its last three ticks may not repeat an action it chose in those ticks.
    """

    def __init__(self, num_envs: int, num_players: int) -> None:
        self._poses = np.full((num_envs, num_players, STUCK_TICKS), -1, np.int64)
        self._acts = np.zeros((num_envs, num_players, STUCK_TICKS), np.int64)

    def forget(self, rows: np.ndarray) -> None:
        """Start the history of these kitchens anew."""
        self._poses[rows] = -1

    def banned(self, rows: np.ndarray, seats: np.ndarray, poses: np.ndarray) -> NDArray[np.bool_]:
        """[n, 6] actions that a stuck seat may not choose; `poses` [n] are codes >= 0 of the present poses."""
        stuck = (self._poses[rows, seats] == poses[:, None]).all(axis=1)
        banned = np.zeros((len(rows), NUM_ACTIONS), np.bool_)
        np.put_along_axis(banned, self._acts[rows, seats], stuck[:, None], axis=1)
        return banned

    def record(self, rows: np.ndarray, seats: np.ndarray, poses: np.ndarray, acts: np.ndarray) -> None:
        """Add what each seat did from which pose."""
        slot = (rows, seats)
        self._poses[slot] = np.concatenate([self._poses[slot][:, 1:], poses[:, None]], axis=1)
        self._acts[slot] = np.concatenate([self._acts[slot][:, 1:], acts[:, None]], axis=1)

    def get_state(self) -> dict[str, np.ndarray]:
        """Everything remembered, for exact resume."""
        return {"poses": self._poses.copy(), "acts": self._acts.copy()}

    def set_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Inverse of `get_state`."""
        self._poses[:], self._acts[:] = state["poses"], state["acts"]


def feature_poses(features: np.ndarray) -> NDArray[np.int64]:
    """Pose codes [n] read from rows of `KitchenView.features` [n, F].

    The first four features are the orientation of the seat itself (one-hot), the last two its cell (x, y).
    """
    cell = np.rint(features[:, -2:]).astype(np.int64)
    return (cell[:, 1] * 1024 + cell[:, 0]) * 4 + features[:, :4].argmax(axis=1)


def _forbid(logits: torch.Tensor, banned: np.ndarray) -> None:
    """Take the banned actions (broadcast to [n, 6]) out of the policy, except where nothing would be left."""
    banned = torch.from_numpy(np.broadcast_to(banned, logits.shape).copy())
    left = (~banned & (logits > -torch.inf)).any(dim=-1, keepdim=True)
    logits[banned & left] = -torch.inf


class Uniforms(Protocol):
    """Numbers in [0, 1) to draw actions with."""

    def draw(self, rows: np.ndarray, seats: np.ndarray, /) -> NDArray[np.floating]:
        """One [n] for each seat `seats[i]` of kitchen `rows[i]`."""

    def get_state(self) -> dict[str, np.ndarray]:
        """For exact resume."""

    def set_state(self, state: Mapping[str, np.ndarray], /) -> None:
        """Inverse of `get_state`."""


class SharedUniforms:
    """One generator for all seats, quicker than `RowUniforms`: a number depends on who else was asked before."""

    def __init__(self, num_envs: int, num_players: int, seed: Seeds) -> None:
        """Seed: one number."""
        self._gen = torch.Generator().manual_seed(int(seed))

    def draw(self, rows: np.ndarray, seats: np.ndarray) -> NDArray[np.float32]:
        """See `Uniforms.draw`."""
        return torch.rand(len(rows), generator=self._gen).numpy()

    def get_state(self) -> dict[str, np.ndarray]:
        """See `Uniforms.get_state`."""
        return {"gen": self._gen.get_state().numpy()}

    def set_state(self, state: Mapping[str, np.ndarray]) -> None:
        """See `Uniforms.set_state`."""
        self._gen.set_state(torch.from_numpy(np.asarray(state["gen"])))


def observation(net: PopulationNet, spec: IndexSpec | None, view: KitchenView) -> np.ndarray:
    """What a network reads of every seat [N, P, ...]; spec: vocabulary of an index network, None for the env's own."""
    if net.obs_kind == "index":
        return view.index(spec)
    return view.lossless() if net.obs_kind == "lossless" else view.features()


def logits_of(net: PopulationNet, obs: np.ndarray, member: np.ndarray) -> torch.Tensor:
    """Logits [n, 6] of network `member[i]` on obs[i] [n, ...], by one forward pass."""
    if net.members == 1:
        return net(torch.from_numpy(obs)[None])[0][0]
    batch, column = rows_by_member(obs, member, net.members)
    return net(torch.from_numpy(batch))[0][member, column]


class FrozenPolicy:
    """M frozen networks of one architecture as players: each draws from its policy, or takes the likeliest action.

    What is remembered is kept per (kitchen, seat). A seat may pass from one member to another when an episode begins,
    never within one.
    """

    def __init__(
        self,
        net: PopulationNet,
        spec: IndexSpec | None = None,
        *,
        agent_id: str = "",
        stochastic: bool = True,
        unstick: bool = False,
        drop_stay: bool = False,
        contexts: Sequence[Context] = (),
        strangers: bool = False,
        uniforms: Callable[[int, int, Seeds], Uniforms] = RowUniforms,
        sha256: str = "",
    ) -> None:
        """Networks, and how they play.

        Args:
            net: M members; M = 1 for an `Agent`.
            spec: vocabulary of index networks (None: the kitchen's own), None for the other kinds.
            agent_id: see `Agent`.
            stochastic: draw, rather than take the likeliest action.
            unstick: apply `StuckMemory` (networks on features only).
            drop_stay: never choose to stay (as some published evaluations of clones do).
            contexts: what each member reads beside the kitchen (`Arch.extra` numbers), none or M.
            strangers: contexts begin every episode as if with somebody new; else they keep what they do from one to
                the next (`coord.agents.context.carry`).
            uniforms: makes what actions are drawn with from the arguments of `start`.
            sha256: of the file it was read from, for the documents that say who played.

        Raises:
            ValueError: a network that cannot be played so.
        """
        if unstick and net.obs_kind != "features":
            raise ValueError("the un-stuck rule reads poses from features: only for networks on features")
        if len(contexts) not in (0, net.members):
            raise ValueError(f"{len(contexts)} contexts for {net.members} members")
        if any(size != net.arch.extra for size in [context.size for context in contexts] or [0]):
            raise ValueError(f"the network reads {net.arch.extra} numbers beside the kitchen, the context has others")
        self.net, self.spec, self.size = net, spec, net.members
        self.agent_id, self.sha256 = agent_id, sha256
        self.stochastic, self.unstick, self.drop_stay = stochastic, unstick, drop_stay
        self.contexts, self._strangers, self._make_uniforms = tuple(contexts), strangers, uniforms
        self.keeps_memory = False  # a network's memory, from game to game; see `coord.agents.context.carry`

    def start(self, num_envs: int, num_players: int, seed: Seeds) -> None:
        """See `Agent.start` and `Partners.start`."""
        self._uniforms = self._make_uniforms(num_envs, num_players, seed)
        self._memory = StuckMemory(num_envs, num_players)
        self._hidden = torch.zeros(num_envs, num_players, self.net.arch.memory)
        for context in self.contexts:
            context.start(num_envs, num_players, seed)

    def begin_episode(self, rows: np.ndarray) -> None:
        """See `Agent.begin_episode` and `Partners.begin_episode`."""
        self._memory.forget(rows)
        if not self.keeps_memory:
            self._hidden[rows] = 0
        for context in self.contexts:
            context.begin_episode(rows)
            if self._strangers:
                context.forget(rows)

    def act(
        self, view: KitchenView, rows: np.ndarray, seats: np.ndarray, member: np.ndarray | None = None
    ) -> NDArray[np.int64]:
        """Actions [n] of network `member[i]` (None: the only one) on seat `seats[i]` of kitchen `rows[i]`."""
        if member is None:
            if self.size != 1:
                raise ValueError(f"which of {self.size} members plays?")
            member = np.zeros(len(rows), np.int64)
        obs = self._observe(view, rows, seats, member)
        logits = self._logits(obs, rows, seats, member)
        if view.env.mask_useless_actions:
            _forbid(logits, ~view.useful()[rows, seats])
        if self.drop_stay:
            _forbid(logits, np.arange(NUM_ACTIONS) == STAY)
        if not self.unstick:
            return self._choose(logits, rows, seats)
        poses = feature_poses(obs)
        _forbid(logits, self._memory.banned(rows, seats, poses))
        acts = self._choose(logits, rows, seats)
        self._memory.record(rows, seats, poses, acts)
        return acts

    def _observe(self, view: KitchenView, rows: np.ndarray, seats: np.ndarray, member: np.ndarray) -> np.ndarray:
        """[n, ...] what the networks read; each context sees the seats of its member."""
        own = observation(self.net, self.spec, view)[rows, seats]
        if not self.contexts:
            return own
        inferred = np.empty((len(rows), self.net.arch.extra), np.float32)
        for m in np.unique(member):
            mine = np.flatnonzero(member == m)
            at = rows[mine]
            inferred[mine] = self.contexts[m].observe(view, at, seats[mine], view.last_joint_act[at])
        return append_dense(own, inferred)

    @torch.no_grad()
    def _logits(self, obs: np.ndarray, rows: np.ndarray, seats: np.ndarray, member: np.ndarray) -> torch.Tensor:
        """[n, 6]; networks with a memory remember this tick."""
        if not self.net.arch.memory:
            return logits_of(self.net, obs, member)
        batch, column = rows_by_member(obs, member, self.size)
        hidden, _ = rows_by_member(self._hidden[rows, seats].numpy(), member, self.size)
        out, after = self.net.tick(torch.from_numpy(batch), torch.from_numpy(hidden))
        self._hidden[rows, seats] = after[member, column]
        return out[member, column, :NUM_ACTIONS]

    def _choose(self, logits: torch.Tensor, rows: np.ndarray, seats: np.ndarray) -> NDArray[np.int64]:
        if not self.stochastic:
            return logits.argmax(dim=-1).numpy()
        # As precise as it was drawn: a float64 close to 1 would become 1 in float32 and select the last action.
        uniform = torch.from_numpy(self._uniforms.draw(rows, seats))
        return sample_actions(logits.contiguous(), uniform)[0].numpy()

    def get_state(self) -> dict[str, np.ndarray]:
        """Everything that changes, for exact resume; the kitchens' last actions are saved by who steps them."""
        own = self._uniforms.get_state() | self._memory.get_state()
        if self.net.arch.memory:
            own["hidden"] = self._hidden.numpy().copy()
        theirs = {f"context{m}.{k}": v for m, one in enumerate(self.contexts) for k, v in one.get_state().items()}
        return own | theirs

    def set_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Inverse of `get_state`."""
        self._uniforms.set_state(state)
        self._memory.set_state(state)
        if self.net.arch.memory:
            self._hidden.copy_(torch.from_numpy(np.asarray(state["hidden"])))
        for m, context in enumerate(self.contexts):
            mine = f"context{m}."
            context.set_state({k.removeprefix(mine): v for k, v in state.items() if k.startswith(mine)})
