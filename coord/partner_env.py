"""Kitchens as the learner sees them: every seat that learns is a row of an ordinary single-agent vector env.

`SelfPlayEnv` puts the learner on all seats; `PartnerEnv` gives it one seat per kitchen and fills the others from a
pool of frozen partners, drawn anew for each episode. Both serve M learners at once: rows are [M, B], kitchens of
member m are the consecutive block [m N, (m+1) N).
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from coord.agents.context.base import Context
from coord.agents.files import StoredAgent, stack_agents
from coord.agents.policy import FrozenPolicy, SharedUniforms, logits_of, observation
from coord.agents.views import KitchenView
from coord.nets.population import PopulationNet, append_dense, sample_actions
from coord.overcooked import IndexSpec, OvercookedVectorEnv
from coord.seeding import derive
from coord.types import NUM_ACTIONS


class RowStep(NamedTuple):
    """One tick of [M, B] rows."""

    rew: Tensor  # [M, B] task reward of the row's team
    shaped_rew: Tensor  # [M, B] shaping reward of the row's seat
    terminated: Tensor  # [M, B] bool
    truncated: Tensor  # [M, B] bool


class Episodes(NamedTuple):
    """Episodes that ended in the last tick."""

    member: NDArray[np.int64]  # [n] which learner played it
    ret: NDArray[np.float32]  # [n] sum of task reward
    partner: NDArray[np.int64]  # [n] row of the pool, -1 in self-play
    seat: NDArray[np.int64]  # [n] seat of the learner, -1 if it held all


class RowEnv(Protocol):
    """What PPO needs: M learners, B rows each; overcooked or not."""

    members: int
    rows: int
    kitchens: int  # kitchens per member: env steps per tick

    def observe(self) -> Tensor:
        """Observations [M, B, ...] of the current tick; valid until the next `step`."""

    def final_observe(self) -> Tensor:
        """As `observe`, but rows that ended in the last tick show their last state."""

    def step(self, act: Tensor) -> RowStep:
        """Plays one tick with actions [M, B]."""

    def finished(self) -> Episodes:
        """Episodes that ended in the last tick."""

    def get_state(self) -> dict[str, np.ndarray]:
        """Everything that changes, for exact resume."""

    def set_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Inverse of `get_state`."""


class KitchenRows:
    """What both envs share: kitchens of M members, and observations of one kind as tensors."""

    def __init__(self, env: OvercookedVectorEnv, members: int, obs_kind: str) -> None:
        if env.num_envs % members:
            raise ValueError(f"{env.num_envs} kitchens cannot be shared equally by {members} members")
        self.env, self.members, self.kitchens = env, members, env.num_envs // members
        self.obs_kind = obs_kind
        self.view, self.final_view = KitchenView(env), KitchenView(env, final=True)
        env.reset()

    def _encode(self, final: bool) -> np.ndarray:
        """[M*N, P, ...] observations of all seats."""
        return getattr(self.final_view if final else self.view, self.obs_kind)()

    def _advance(self, joint_act: np.ndarray) -> tuple[Any, np.ndarray]:
        result = self.env.step(joint_act)
        ended = result.truncated | result.terminated
        for view in (self.view, self.final_view):
            view.stepped(joint_act, ended)
        return result, np.flatnonzero(ended)

    def get_state(self) -> dict[str, np.ndarray]:
        """See `RowEnv.get_state`."""
        return dict(self.env.get_state())

    def set_state(self, state: Mapping[str, np.ndarray]) -> None:
        """See `RowEnv.set_state`."""
        self.env.set_state(state)
        self._moved()

    def _moved(self) -> None:
        """The states were set from outside."""
        for view in (self.view, self.final_view):
            view.invalidate()

    def _per_row(self, values: np.ndarray, seats: int) -> Tensor:
        """[M*N] per kitchen -> [M, N*seats] per row."""
        per_member = torch.from_numpy(values).view(self.members, self.kitchens, 1)
        return per_member.expand(-1, -1, seats).flatten(1)


class SelfPlayEnv(KitchenRows):
    """The learner holds every seat; row (n, p) of member m is seat p of its kitchen n."""

    def __init__(self, env: OvercookedVectorEnv, members: int = 1, obs_kind: str = "index") -> None:
        super().__init__(env, members, obs_kind)
        self.rows = self.kitchens * env.num_players
        self.learners = tuple(np.indices((env.num_envs, env.num_players)).reshape(2, -1))  # kitchen and seat of a row
        self._ended = np.empty(0, np.int64)

    def observe(self) -> Tensor:
        """See `RowEnv.observe`."""
        obs = torch.from_numpy(self._encode(final=False))
        return obs.view(self.members, self.rows, *obs.shape[2:])

    def final_observe(self) -> Tensor:
        """See `RowEnv.final_observe`."""
        obs = torch.from_numpy(self._encode(final=True))
        return obs.view(self.members, self.rows, *obs.shape[2:])

    def step(self, act: Tensor) -> RowStep:
        """See `RowEnv.step`."""
        seats = self.env.num_players
        result, self._ended = self._advance(act.reshape(-1, seats).numpy())
        shaped = torch.from_numpy(result.shaped_rew).view(self.members, self.rows)
        rew, terminated, truncated = (
            self._per_row(v, seats) for v in (result.rew, result.terminated, result.truncated)
        )
        return RowStep(rew, shaped, terminated, truncated)

    def finished(self) -> Episodes:
        """See `RowEnv.finished`."""
        none = np.full(len(self._ended), -1)
        return Episodes(self._ended // self.kitchens, self.env.episode_return(final=True)[self._ended], none, none)


class Partners(Protocol):
    """A pool that can answer for many kitchens at once."""

    size: int

    def start(self, num_envs: int, num_players: int, seed: int, /) -> None:
        """Allocate memory per kitchen."""

    def begin_episode(self, kitchens: np.ndarray, /) -> None:
        """Kitchens that start anew."""

    def act(self, view: KitchenView, kitchens: np.ndarray, seats: np.ndarray, partner: np.ndarray, /) -> np.ndarray:
        """Actions [n] of pool row `partner[i]` on seat `seats[i]` of kitchen `kitchens[i]`."""

    def get_state(self) -> dict[str, np.ndarray]:
        """Everything that changes, for exact resume."""

    def set_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Inverse of `get_state`."""


class LivePartners:
    """The learners as partners of themselves: a kitchen of member m is answered by row m of `net` as it is now.

    With probability `eps` of the kitchen the action is drawn from its `habit` instead (see E3T, UPD): a partner plays
    (1 - eps) pi + eps habit. Whoever uses this sets both, per episode or for good.
    """

    size = 1

    def __init__(self, net: PopulationNet, eps: float = 0.0, context: Context | None = None) -> None:
        """net: of the learners, or another of as many members (an average of past ones) on the same observations.

        context: what it reads beside the kitchen, shared with the learners' `ContextEnv`, which starts and saves it.
        """
        self.net, self._eps, self.context = net, eps, context
        self._gen = torch.Generator()

    def start(self, num_envs: int, num_players: int, seed: int) -> None:
        """See `Partners.start`; habits begin uniform."""
        self._gen.manual_seed(seed)
        self._kitchens = num_envs // self.net.members
        self.eps = np.full(num_envs, self._eps, np.float32)
        self.habit = np.full((num_envs, NUM_ACTIONS), 1 / NUM_ACTIONS, np.float32)

    def begin_episode(self, kitchens: np.ndarray) -> None:
        """Nothing to forget."""

    @torch.no_grad()
    def act(self, view: KitchenView, kitchens: np.ndarray, seats: np.ndarray, partner: np.ndarray) -> np.ndarray:
        """See `Partners.act`."""
        obs = observation(self.net, None, view)[kitchens, seats]
        if self.context is not None:
            obs = append_dense(obs, self.context.observe(view, kitchens, seats, view.last_joint_act[kitchens]))
        probs = logits_of(self.net, obs, kitchens // self._kitchens).softmax(-1)
        eps = torch.from_numpy(self.eps[kitchens])[:, None]
        mixed = (1 - eps) * probs + eps * torch.from_numpy(self.habit[kitchens])
        return sample_actions(mixed.log(), torch.rand(len(kitchens), generator=self._gen))[0].numpy()

    def get_state(self) -> dict[str, np.ndarray]:
        """Generator and noise; the network belongs to the learners."""
        return {"gen": self._gen.get_state().numpy(), "eps": self.eps.copy(), "habit": self.habit.copy()}

    def set_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Inverse of `get_state`."""
        self._gen.set_state(torch.from_numpy(np.asarray(state["gen"])))
        self.eps[:], self.habit[:] = state["eps"], state["habit"]


class MixedPartners:
    """Several pools as one: rows of the first, then of the second, and so on."""

    def __init__(self, parts: list[Partners]) -> None:
        self.parts, self.size = parts, sum(part.size for part in parts)
        self._first = np.cumsum([0] + [part.size for part in parts])

    def start(self, num_envs: int, num_players: int, seed: int) -> None:
        """See `Partners.start`."""
        for i, part in enumerate(self.parts):
            part.start(num_envs, num_players, derive(seed, "part", i))

    def begin_episode(self, kitchens: np.ndarray) -> None:
        """See `Partners.begin_episode`."""
        for part in self.parts:
            part.begin_episode(kitchens)

    def act(self, view: KitchenView, kitchens: np.ndarray, seats: np.ndarray, partner: np.ndarray) -> np.ndarray:
        """See `Partners.act`."""
        out = np.empty(len(kitchens), np.int64)
        owner = np.searchsorted(self._first, partner, side="right") - 1
        for i, part in enumerate(self.parts):
            mine = np.flatnonzero(owner == i)
            if len(mine):
                out[mine] = part.act(view, kitchens[mine], seats[mine], partner[mine] - self._first[i])
        return out

    def get_state(self) -> dict[str, np.ndarray]:
        """See `Partners.get_state`."""
        return {f"{i}.{k}": v for i, part in enumerate(self.parts) for k, v in part.get_state().items()}

    def set_state(self, state: Mapping[str, np.ndarray]) -> None:
        """See `Partners.set_state`."""
        for i, part in enumerate(self.parts):
            part.set_state({k.partition(".")[2]: v for k, v in state.items() if k.partition(".")[0] == str(i)})


def as_pool(partners: Sequence[StoredAgent]) -> Partners:
    """Frozen agents, grouped so that each group is answered by one forward pass; rows in the order of the groups.

    To those with a context whoever learns is a stranger in every episode, as in an evaluation of single games.
    """
    parts: list[Partners] = [
        frozen_partners(
            group.net,
            group.spec,
            unstick=group.unstick,
            contexts=[one for i in group.indices if (one := partners[i].new_context()) is not None],
        )
        for group in stack_agents(partners)
    ]
    return parts[0] if len(parts) == 1 else MixedPartners(parts)


def frozen_partners(
    net: PopulationNet, spec: IndexSpec | None, *, unstick: bool = False, contexts: Sequence[Context] = ()
) -> FrozenPolicy:
    """Frozen networks as `Partners`, a row of the pool each; see `FrozenPolicy`."""
    return FrozenPolicy(net, spec, unstick=unstick, contexts=contexts, strangers=True, uniforms=SharedUniforms)


class PartnerEnv(KitchenRows):
    """One seat learns, the others belong to partners drawn from a pool; an ordinary single-agent vector env.

    The learner's seat is fixed per kitchen and balanced over kitchens; at each episode start a kitchen draws its
    partner with probabilities `probs` [M, size] (uniform until somebody sets them, e.g. MEP's prioritised sampling).
    `by_seat`: they depend on the learner's seat too, [M, P, size]; `rounds`: a partner stays for that many episodes,
    of which `round` [M * N] says which one it is, from 0.
    """

    def __init__(
        self,
        env: OvercookedVectorEnv,
        partners: Partners,
        *,
        seed: int,
        members: int = 1,
        obs_kind: str = "index",
        by_seat: bool = False,
        rounds: int = 1,
    ) -> None:
        super().__init__(env, members, obs_kind)
        self.partners, self.rows, self._rounds = partners, self.kitchens, rounds
        shape = (members, env.num_players, partners.size) if by_seat else (members, partners.size)
        self.probs = np.full(shape, 1 / partners.size)
        self.round = np.full(env.num_envs, rounds - 1)
        self._rng = np.random.default_rng(seed)
        self._all = np.arange(env.num_envs)
        self.ego_seat = self._all % self.kitchens % env.num_players  # [M*N]
        self.learners = self._all, self.ego_seat  # kitchen and seat of a row
        self.partner = np.zeros((env.num_envs, env.num_players), np.int64)  # [M*N, P], the ego's own entry unused
        self._others = np.nonzero(np.arange(env.num_players)[None] != self.ego_seat[:, None])  # kitchens, seats
        self._ended, self._ended_partner = np.empty(0, np.int64), np.empty(0, np.int64)
        partners.start(env.num_envs, env.num_players, int(self._rng.integers(2**62)))
        self._begin(self._all)

    def redraw(self) -> None:
        """Draws every kitchen's partner anew, for probabilities that were set before the first tick."""
        self.round[:] = self._rounds - 1
        self._begin(self._all)

    def _begin(self, kitchens: np.ndarray) -> None:
        """Draws partners for kitchens that start; systematic sampling keeps the counts close to the probabilities."""
        self.round[kitchens] = (self.round[kitchens] + 1) % self._rounds
        for mine, probs in self._tables(kitchens[self.round[kitchens] == 0]):
            need = len(mine) * self.env.num_players
            if need:
                points = (np.arange(need) + self._rng.random()) / need
                drawn = np.searchsorted(np.cumsum(probs), points).clip(max=self.partners.size - 1)
                self.partner[mine] = self._rng.permutation(drawn).reshape(len(mine), -1)
        self.partners.begin_episode(kitchens)

    def _tables(self, kitchens: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The kitchens that draw by the same probabilities [size], and these."""
        for member, table in enumerate(self.probs):
            mine = kitchens[kitchens // self.kitchens == member]
            if table.ndim == 1:
                yield mine, table
            else:
                yield from ((mine[self.ego_seat[mine] == seat], probs) for seat, probs in enumerate(table))

    def observe(self) -> Tensor:
        """See `RowEnv.observe`."""
        return self._ego(self._encode(final=False))

    def final_observe(self) -> Tensor:
        """See `RowEnv.final_observe`."""
        return self._ego(self._encode(final=True))

    def _ego(self, obs: np.ndarray) -> Tensor:
        mine = torch.from_numpy(obs[self._all, self.ego_seat])
        return mine.view(self.members, self.rows, *mine.shape[1:])

    def step(self, act: Tensor) -> RowStep:
        """See `RowEnv.step`; partners act on the same tick as the learner."""
        joint = np.empty((self.env.num_envs, self.env.num_players), np.int64)
        joint[self._all, self.ego_seat] = act.reshape(-1).numpy()
        kitchens, seats = self._others
        joint[self._others] = self.partners.act(self.view, kitchens, seats, self.partner[self._others])
        result, self._ended = self._advance(joint)
        self._ended_partner = self.partner[self._ended, (self.ego_seat[self._ended] + 1) % self.env.num_players]
        if len(self._ended):
            self._begin(self._ended)
        shaped = np.ascontiguousarray(result.shaped_rew[self._all, self.ego_seat])
        per_row = (self._per_row(v, 1) for v in (result.rew, shaped, result.terminated, result.truncated))
        return RowStep(*per_row)

    def finished(self) -> Episodes:
        """See `RowEnv.finished`."""
        ret = self.env.episode_return(final=True)[self._ended]
        return Episodes(self._ended // self.kitchens, ret, self._ended_partner, self.ego_seat[self._ended])

    def get_state(self) -> dict[str, np.ndarray]:
        """See `RowEnv.get_state`."""
        rng = np.frombuffer(repr(self._rng.bit_generator.state).encode(), np.uint8).copy()
        own = {"partner": self.partner.copy(), "probs": self.probs.copy(), "rng": rng}
        own["last_joint_act"] = self.view.last_joint_act.copy()  # partners with a context learn from it
        if self._rounds > 1:
            own["round"] = self.round.copy()
        theirs = {f"partners.{k}": v for k, v in self.partners.get_state().items()}
        return {f"env.{k}": v for k, v in self.env.get_state().items()} | own | theirs

    def set_state(self, state: Mapping[str, np.ndarray]) -> None:
        """See `RowEnv.set_state`."""
        self.partner[:], self.probs[:] = state["partner"], state["probs"]
        if self._rounds > 1:
            self.round[:] = state["round"]
        self._rng.bit_generator.state = ast.literal_eval(bytes(np.asarray(state["rng"])).decode())
        self.env.set_state({k[4:]: v for k, v in state.items() if k.startswith("env.")})
        self.partners.set_state({k[9:]: v for k, v in state.items() if k.startswith("partners.")})
        self._moved()
        if "last_joint_act" in state:  # else from before partners could have a context: nobody reads it
            self.view.last_joint_act[:] = state["last_joint_act"]
