"""What has been seen lately, and pairs of segments cut from it: the material of preference queries.

The pool keeps the last complete episodes of every member, exactly as they were, beside the running ones. A query is
two segments of equal length (B-Pref, Lee et al. 2021): episodes drawn independently and with replacement, so the two
may come from one episode, and independent starts. Where episodes belong to groups (a kitchen's partner), the second
may be held to the group of the first, so that the two differ in what the ego did and not in whom it met.

Deviations from B-Pref: every start that fits is possible, the last one too; episodes may differ in length, and those
that are too short are left aside.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from coord.errors import UserError

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


class Queries(NamedTuple):
    """n pairs of segments. `rew`, the true reward, is for answerers and statistics only."""

    obs: Floats  # [n, 2, L, O]
    act: Floats  # [n, 2, L, A]; discrete actions as one-hot rows
    rew: Floats  # [n, 2, L]
    episode: Ints  # [n, 2] running number of the episode within its member
    start: Ints  # [n, 2] step of the episode at which the segment starts

    @property
    def size(self) -> int:
        """n; `len()` of a named tuple is its number of fields."""
        return self.obs.shape[0]

    @property
    def length(self) -> int:
        """L, steps per segment."""
        return self.obs.shape[2]

    def select(self, rows: NDArray[np.int64] | NDArray[np.bool_] | slice) -> Queries:
        """The pairs `rows`, in that order."""
        return type(self)._make(array[rows] for array in self)

    def centre(self, length: int) -> Queries:
        """The middle `length` steps of every segment; `start` moves along."""
        skip = (self.length - length) // 2
        if length < 1 or skip < 0:
            raise ValueError(f"cannot cut {length} steps out of segments of {self.length}")
        obs, act, rew = (array[:, :, skip : skip + length] for array in (self.obs, self.act, self.rew))
        return Queries(obs, act, rew, self.episode, self.start + skip)


class AnsweredPairs(NamedTuple):
    """Answered pairs: what the reward model learns from."""

    obs: Floats  # [n, 2, L, O]
    act: Floats  # [n, 2, L, A]
    target: Floats  # [n] probability that the second segment is the better one; 0.5: equally good

    @property
    def size(self) -> int:
        """n."""
        return self.obs.shape[0]

    def select(self, rows: NDArray[np.int64] | NDArray[np.bool_] | slice) -> AnsweredPairs:
        """The labels `rows`, in that order."""
        return type(self)._make(array[rows] for array in self)

    @staticmethod
    def empty(length: int, obs_dim: int, act_dim: int) -> AnsweredPairs:
        """No labels yet."""
        return AnsweredPairs(
            np.zeros((0, 2, length, obs_dim), np.float32),
            np.zeros((0, 2, length, act_dim), np.float32),
            np.zeros(0, np.float32),
        )


def join(parts: Sequence[Queries]) -> Queries:
    """All pairs of `parts` in one; at least one part."""
    return Queries._make(np.concatenate(arrays) for arrays in zip(*parts, strict=True))


def join_labels(parts: Sequence[AnsweredPairs]) -> AnsweredPairs:
    """All labels of `parts` in one; at least one part."""
    return AnsweredPairs._make(np.concatenate(arrays) for arrays in zip(*parts, strict=True))


def labelled(queries: Queries, target: NDArray[np.float64]) -> AnsweredPairs:
    """The pairs that were answered, with their answers; target [n] is nan where the pair was skipped."""
    kept = ~np.isnan(target)
    return AnsweredPairs(queries.obs[kept], queries.act[kept], target[kept].astype(np.float32))


_STORES = ("obs", "act", "rew", "played")  # what is kept of every step; the last one only where it is given


@dataclass(frozen=True)
class Episode:
    """One episode: obs [T, O], act [T, A], rew [T], its running number within the member, and its group.

    played [T, J] is what it takes to play it again, where that is not act.
    """

    obs: Floats
    act: Floats
    rew: Floats
    number: int
    group: int
    played: Floats | None = None

    @property
    def length(self) -> int:
        """T."""
        return self.rew.shape[0]


class SegmentPool:
    """The last `max_episodes` complete episodes of each of M members, and the running ones of their n environments."""

    def __init__(self, members: int, max_episodes: int = 100) -> None:
        if members < 1 or max_episodes < 1:
            raise ValueError(f"a pool needs members >= 1 and max_episodes >= 1, got {members} and {max_episodes}")
        self.members, self.max_episodes = members, max_episodes
        self._done: list[deque[Episode]] = [deque(maxlen=max_episodes) for _ in range(members)]
        self._started = np.zeros(members, np.int64)  # complete episodes so far, dropped ones included
        self._steps = np.zeros((members, 0), np.int64)  # [M, n] length of each running episode
        self._group = np.zeros((members, 0), np.int64)  # [M, n] group of each
        self._running: tuple[Floats, ...] = ()  # `_STORES`: obs [M, n, capacity, O], act [..., A], rew, played [..., J]

    def add(
        self,
        obs: Floats,
        act: Floats,
        rew: Floats,
        ended: NDArray[np.bool_],
        played: Floats | None = None,
        group: Ints | None = None,
    ) -> None:
        """One step of every environment.

        obs [M, n, O] is what the action act [M, n, A] was chosen on, rew [M, n] the true reward it brought, and
        ended [M, n] says that the episode ended with it (by rules or clock). Slot j is always environment j. played
        [M, n, J]: what it takes to play the step again, where that is not act; always or never given. group [M, n]: of
        each running episode, see `sample_pairs`; none: all are of one.
        """
        given = (obs, act, rew) if played is None else (obs, act, rew, played)
        rows = tuple(np.asarray(array, np.float32) for array in given)
        self._make_room(rows)
        if group is not None:
            self._group[:] = group
        m, j = np.indices(self._steps.shape)
        for store, row in zip(self._running, rows, strict=True):
            store[m, j, self._steps] = row
        self._steps += 1
        for slot in np.argwhere(np.asarray(ended, bool)):
            self._finish(int(slot[0]), int(slot[1]))

    def complete(self, m: int) -> int:
        """Complete episodes kept of member m."""
        return len(self._done[m])

    def returns(self, m: int) -> NDArray[np.float64]:
        """True returns of the complete episodes kept of member m, oldest first."""
        return np.array([episode.rew.sum(dtype=np.float64) for episode in self._done[m]])

    def episodes(self, m: int, *, last: int | None = None, running: bool = False) -> list[Episode]:
        """Complete episodes of member m, oldest first: all, or the last few; then, if asked, the running ones."""
        found = list(self._done[m])[-last:] if last else list(self._done[m])
        slots = range(self._steps.shape[1]) if running else ()
        return found + [self._episode(m, j, -1 - j) for j in slots if self._steps[m, j]]

    def sample_pairs(
        self,
        m: int,
        count: int,
        length: int,
        rng: np.random.Generator,
        *,
        last: int | None = None,
        running: bool = False,
        same_group: bool = False,
    ) -> Queries:
        """`count` pairs of segments of `length` steps of member m.

        last: only from that many newest complete episodes; running: also from the unfinished ones, whose number is
        negative (-1 - slot); same_group: both episodes of a pair are of one group, that of the first one drawn.

        Raises:
            UserError: no episode is long enough.
        """
        fits = [episode for episode in self.episodes(m, last=last, running=running) if episode.length >= length]
        if not fits:
            raise UserError(
                f"no complete episode of at least {length} steps to cut segments from; "
                f"ask for shorter segments or collect more (seen: {int(self._started[m])} complete episodes)"
            )
        chosen = rng.integers(len(fits), size=(count, 2))
        if same_group:
            group = np.array([episode.group for episode in fits])
            mates = [np.flatnonzero(group == group[first]) for first in chosen[:, 0]]
            chosen[:, 1] = [rng.choice(rows) for rows in mates]
        starts = rng.integers(np.array([episode.length for episode in fits])[chosen] - length + 1)
        return _cut(fits, chosen, starts, length)

    def state_dict(self) -> dict[str, NDArray[np.generic]]:
        """Everything as flat arrays; `load_state_dict` restores it exactly."""
        out: dict[str, NDArray[np.generic]] = {"started": self._started.copy(), "steps": self._steps.copy()}
        out["group"] = self._group.copy()
        longest = int(self._steps.max(initial=0))
        for name, store in zip(_STORES, self._running, strict=False):
            out[f"running.{name}"] = store[:, :, :longest].copy()
        for m, done in enumerate(self._done):
            if done:
                out[f"{m}.length"] = np.array([episode.length for episode in done])
                out[f"{m}.number"] = np.array([episode.number for episode in done])
                out[f"{m}.group"] = np.array([episode.group for episode in done])
                for name in _STORES[: 3 if done[0].played is None else 4]:
                    out[f"{m}.{name}"] = np.concatenate([getattr(episode, name) for episode in done])
        return out

    def load_state_dict(self, state: dict[str, NDArray[np.generic]]) -> None:
        """Inverse of `state_dict`; the pool must have as many members."""
        arrays = {name: np.array(value) for name, value in state.items()}
        if arrays["started"].shape[0] != self.members:
            raise ValueError(f"state of {arrays['started'].shape[0]} members given to a pool of {self.members}")
        self._started, self._steps, self._group = arrays["started"], arrays["steps"], arrays["group"]
        running = (f"running.{name}" for name in _STORES)
        self._running = tuple(arrays[name] for name in running if name in arrays)
        self._done = [self._load_member(arrays, m) for m in range(self.members)]

    def _load_member(self, arrays: dict[str, NDArray[np.generic]], m: int) -> deque[Episode]:
        if f"{m}.length" not in arrays:
            return deque(maxlen=self.max_episodes)
        cuts = np.cumsum(arrays[f"{m}.length"])[:-1]
        kept = [name for name in _STORES if f"{m}.{name}" in arrays]
        parts = zip(*(np.split(arrays[f"{m}.{name}"], cuts) for name in kept), strict=True)
        names = zip(arrays[f"{m}.number"].tolist(), arrays[f"{m}.group"].tolist(), strict=True)
        return deque(
            (
                Episode(obs, act, rew, number, group, rest[0] if rest else None)
                for (obs, act, rew, *rest), (number, group) in zip(parts, names, strict=True)
            ),
            maxlen=self.max_episodes,
        )

    def _make_room(self, rows: tuple[Floats, ...]) -> None:
        """Create the stores at the first step, and double them when an episode outgrows them."""
        members, slots = rows[2].shape
        if members != self.members or (self._running and slots != self._steps.shape[1]):
            raise ValueError(f"step of shape {rows[2].shape} given to a pool of {self.members} members")
        if not self._running:
            self._steps, self._group = np.zeros((2, members, slots), np.int64)
            self._running = tuple(np.zeros((members, slots, 0, *row.shape[2:]), np.float32) for row in rows)
        capacity = self._running[2].shape[2]
        if int(self._steps.max()) < capacity:
            return
        grown = max(256, 2 * capacity)
        fresh = tuple(np.zeros((members, slots, grown, *store.shape[3:]), np.float32) for store in self._running)
        for new, old in zip(fresh, self._running, strict=True):
            new[:, :, :capacity] = old
        self._running = fresh

    def _finish(self, m: int, j: int) -> None:
        self._done[m].append(self._episode(m, j, int(self._started[m])))
        self._started[m] += 1
        self._steps[m, j] = 0

    def _episode(self, m: int, j: int, number: int) -> Episode:
        obs, act, rew, *rest = (store[m, j, : self._steps[m, j]].copy() for store in self._running)
        return Episode(obs, act, rew, number, int(self._group[m, j]), rest[0] if rest else None)


def _cut(episodes: list[Episode], chosen: Ints, starts: Ints, length: int) -> Queries:
    """The segments starts[i, k] .. + length of the episodes chosen[i, k], [n, 2] each."""
    stores = [("obs", episodes[0].obs.shape[1:]), ("act", episodes[0].act.shape[1:]), ("rew", ())]
    out = {name: np.empty((*chosen.shape, length, *shape), np.float32) for name, shape in stores}
    for place in np.ndindex(*chosen.shape):
        episode, start = episodes[chosen[place]], starts[place]
        for name, array in out.items():
            array[place] = getattr(episode, name)[start : start + length]
    numbers = np.array([episode.number for episode in episodes], np.int64)
    return Queries(**out, episode=numbers[chosen], start=starts)
