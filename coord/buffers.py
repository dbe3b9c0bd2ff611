"""Replay: a ring of transitions per member, filled in lock-step and sampled by each member's own generator.

One row holds a whole transition, so that sampling is one gather. Memory grows by doubling up to the capacity.
Rewards are stored as given and can be replaced for all rows at once (`relabel`), as preference learning needs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from coord import memory
from coord.errors import UserError
from coord.returns import TIME_LIMITS

FIRST_ROWS = 1024  # rows that a new buffer has room for


class ReplayBatch(NamedTuple):
    """Transitions of every member; discount is 0 where nothing follows, else 1 (not multiplied by gamma)."""

    obs: Tensor  # [M, B, O]
    act: Tensor  # [M, B, A]; discrete: [M, B] int64
    rew: Tensor  # [M, B]
    next_obs: Tensor  # [M, B, O]
    discount: Tensor  # [M, B]

    def narrowed(self, obs_dim: int) -> ReplayBatch:
        """The same with the first `obs_dim` numbers of every observation, as a learner reads it that sees no more."""
        obs, next_obs = (x[..., :obs_dim].contiguous() for x in (self.obs, self.next_obs))
        return self._replace(obs=obs, next_obs=next_obs)


class ReplayBuffer:
    """The last `capacity` transitions of each member, oldest overwritten first."""

    def __init__(
        self,
        members: int,
        capacity: int,
        obs_dim: int,
        act_dim: int,
        *,
        discrete: bool = False,
        device: str | torch.device = "cpu",
    ) -> None:
        """act_dim: numbers per action (a discrete action is one number, whatever act_dim says)."""
        if capacity < 1:
            raise UserError(f"capacity={capacity}: must be at least 1")
        self.members, self.capacity, self.discrete = members, capacity, discrete
        self.obs_dim, self.act_dim = obs_dim, 1 if discrete else act_dim
        # obs | act | rew | next_obs | discount with bootstrap | discount with terminate
        self._widths = (obs_dim, self.act_dim, 1, obs_dim, 1, 1)
        if torch.device(device).type == "cpu":
            size = members * capacity * sum(self._widths) * memory.FLOAT
            memory.check({f"replay of {members} x {capacity} transitions": size}, "lower buffer_size or members")
        self._rows = torch.empty(members, min(capacity, FIRST_ROWS), sum(self._widths), device=device)
        self.size = 0  # written rows per member
        self.position = 0  # the next row to write

    @property
    def rows_allocated(self) -> int:
        """Rows per member that memory is held for."""
        return self._rows.shape[1]

    def add(
        self, obs: Tensor, act: Tensor, rew: Tensor, next_obs: Tensor, terminated: Tensor, truncated: Tensor
    ) -> None:
        """Appends n transitions per member: obs [M, n, O], act [M, n, A] or [M, n], the others [M, n]."""
        goes_on, unended = ~terminated.bool(), ~(terminated.bool() | truncated.bool())
        act = act if not self.discrete else act[..., None]
        parts = (obs, act, rew[..., None], next_obs, goes_on[..., None], unended[..., None])
        rows = torch.cat([part.to(self._rows) for part in parts], -1)[:, -self.capacity :]
        count = rows.shape[1]
        self._reserve(min(self.capacity, self.size + count))
        first = min(count, self.capacity - self.position)
        self._rows[:, self.position : self.position + first] = rows[:, :first]
        self._rows[:, : count - first] = rows[:, first:]
        self.position = (self.position + count) % self.capacity
        self.size = min(self.capacity, self.size + count)

    def _reserve(self, rows: int) -> None:
        room = self.rows_allocated
        if rows > room:
            grown = self._rows.new_empty(self.members, min(self.capacity, max(rows, 2 * room)), self._rows.shape[2])
            grown[:, : self.size] = self._rows[:, : self.size]
            self._rows = grown

    def sample(
        self,
        batch_size: int,
        gens: Sequence[torch.Generator],
        recent: int | None = None,
        recent_share: float = 0.5,
        *,
        time_limit: str = "bootstrap",
    ) -> ReplayBatch:
        """Uniform rows with replacement, drawn for each member by its own generator.

        recent: with a number, `recent_share` of the batch comes from the newest `recent` rows (hybrid replay of QPA,
        Hu et al. 2023). time_limit: bootstrap or terminate, what follows a time limit.

        Raises:
            UserError: nothing has been added yet; an unknown `time_limit`; `recent` below 1.
        """
        if self.size == 0:
            raise UserError("cannot sample from an empty replay buffer")
        if recent is not None and recent < 1:
            raise UserError(f"recent={recent}: must be at least 1")
        window, share = (self.size, 0.0) if recent is None else (min(recent, self.size), recent_share)
        fresh = round(batch_size * share)
        rows = torch.cat([self._draw(m, gen, batch_size, fresh, window) for m, gen in enumerate(gens)])
        picked = self._rows.flatten(0, 1).index_select(0, rows.to(self._rows.device))
        return self._batch(picked.unflatten(0, (self.members, batch_size)), time_limit)

    def _draw(self, member: int, gen: torch.Generator, count: int, fresh: int, window: int) -> Tensor:
        """Rows of a member in the flattened memory, the first `fresh` of them among its newest `window`."""
        first = member * self.rows_allocated
        rows = torch.randint(first, first + self.size, (count,), generator=gen, device=gen.device)
        if fresh:
            age = torch.randint(window, (fresh,), generator=gen, device=gen.device)
            rows[:fresh] = first + (self.position - 1 - age) % self.capacity
        return rows

    def _batch(self, rows: Tensor, time_limit: str) -> ReplayBatch:
        if time_limit not in TIME_LIMITS:
            raise UserError(f"time_limit={time_limit}: allowed are {', '.join(TIME_LIMITS)}")
        obs, act, rew, next_obs, *discounts = rows.split(self._widths, -1)
        act = act[..., 0].long() if self.discrete else act
        return ReplayBatch(obs, act, rew[..., 0], next_obs, discounts[TIME_LIMITS.index(time_limit)][..., 0])

    def relabel(self, fn: Callable[[Tensor, Tensor], Tensor], chunk: int = 4096) -> None:
        """Replaces the reward of every written row: fn(obs [M, b, O], act [M, b, A] or [M, b]) -> rew [M, b]."""
        for first in range(0, self.size, chunk):
            rows = self._rows[:, first : min(first + chunk, self.size)]
            batch = self._batch(rows, "bootstrap")
            rows[..., self.obs_dim + self.act_dim] = fn(batch.obs, batch.act)

    def obs_view(self) -> Tensor:
        """Observations of all written rows, [M, size, O]; a view, in the order of the ring."""
        return self._rows[:, : self.size, : self.obs_dim]

    def state_dict(self) -> dict[str, Tensor]:
        """Written rows (a view, so take it before more is added) and where the ring stands."""
        return {"rows": self._rows[:, : self.size], "position": torch.tensor(self.position)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Inverse of `state_dict` for a buffer of the same shape.

        Raises:
            UserError: rows of another shape, or more than the capacity.
        """
        rows = state["rows"]
        if rows.shape[0] != self.members or rows.shape[2] != self._rows.shape[2] or rows.shape[1] > self.capacity:
            raise UserError(f"replay of shape {tuple(rows.shape)} does not fit this run's buffer")
        self._reserve(rows.shape[1])
        self.size, self.position = rows.shape[1], int(state["position"])
        self._rows[:, : self.size] = rows
