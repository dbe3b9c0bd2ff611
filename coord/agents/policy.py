"""Frozen networks as players."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from coord.agents.players import STAY, RowUniforms
from coord.agents.views import KitchenView, Seeds
from coord.nets.population import PopulationNet, append_dense, sample_actions
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


class PolicyAgent:
    """A frozen network (one member) as a player: draws from its policy, or takes the likeliest action.

    net: M = 1; spec: vocabulary of an index network, None for the other kinds; unstick: apply `StuckMemory`
    (networks on features only); drop_stay: never choose to stay (as some published evaluations of clones do);
    context: what the network reads beside the kitchen (`Arch.extra` numbers); sha256: of the file it was read from, for
    the documents that say who played.
    """

    def __init__(
        self,
        agent_id: str,
        net: PopulationNet,
        spec: IndexSpec | None = None,
        *,
        stochastic: bool = True,
        unstick: bool = False,
        drop_stay: bool = False,
        context: Context | None = None,
        sha256: str = "",
    ) -> None:
        if net.members != 1:
            raise ValueError(f"a PolicyAgent plays one member, got {net.members}")
        if unstick and net.obs_kind != "features":
            raise ValueError("the un-stuck rule reads poses from features: only for networks on features")
        if net.arch.extra != (0 if context is None else context.size):
            raise ValueError(f"the network reads {net.arch.extra} numbers beside the kitchen, the context has others")
        self.agent_id = agent_id
        self.net = net
        self.spec = spec
        self.stochastic = stochastic
        self.unstick = unstick
        self.drop_stay = drop_stay
        self.context = context
        self.sha256 = sha256
        self.keeps_memory = False  # a network's memory, from game to game; see `coord.agents.context.carry`

    def start(self, num_envs: int, num_players: int, seed: Seeds) -> None:
        """See `Agent.start`."""
        self._uniforms = RowUniforms(num_envs, num_players, seed)
        self._memory = StuckMemory(num_envs, num_players)
        self._hidden = torch.zeros(num_envs, num_players, self.net.arch.memory)
        if self.context is not None:
            self.context.start(num_envs, num_players, seed)

    def begin_episode(self, rows: np.ndarray) -> None:
        """See `Agent.begin_episode`."""
        self._memory.forget(rows)
        if not self.keeps_memory:
            self._hidden[rows] = 0
        if self.context is not None:
            self.context.begin_episode(rows)

    def act(self, view: KitchenView, rows: np.ndarray, seats: np.ndarray) -> NDArray[np.int64]:
        """See `Agent.act`."""
        obs = self._observe(view, rows, seats)
        logits = self._logits(obs, rows, seats)
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

    def _observe(self, view: KitchenView, rows: np.ndarray, seats: np.ndarray) -> np.ndarray:
        obs = getattr(view, self.net.obs_kind)
        own = (obs(self.spec) if self.net.obs_kind == "index" else obs())[rows, seats]
        if self.context is None:
            return own
        return append_dense(own, self.context.observe(view, rows, seats, view.last_joint_act[rows]))

    @torch.no_grad()
    def _logits(self, obs: np.ndarray, rows: np.ndarray, seats: np.ndarray) -> torch.Tensor:
        """[n, 6]; a network with a memory remembers this tick."""
        batch = torch.from_numpy(obs)[None]
        if not self.net.arch.memory:
            return self.net(batch)[0][0]
        out, hidden = self.net.tick(batch, self._hidden[rows, seats][None])
        self._hidden[rows, seats] = hidden[0]
        return out[0, :, :NUM_ACTIONS]

    def _choose(self, logits: torch.Tensor, rows: np.ndarray, seats: np.ndarray) -> NDArray[np.int64]:
        if not self.stochastic:
            return logits.argmax(dim=-1).numpy()
        # float64: rounded to float32 a number close to 1 would become 1 and select the last action.
        uniform = torch.from_numpy(self._uniforms.draw(rows, seats))
        return sample_actions(logits.contiguous(), uniform)[0].numpy()
