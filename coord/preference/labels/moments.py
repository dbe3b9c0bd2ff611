"""Moments of games that people compared: a recorded game as its agent's reward model reads it, and labels from there.

After a game a person may say which of two moments they liked better (the game client). Both are stored as queries
of the run `RUN` in a label store: observations and actions are those of the agent's seat, written as `coord.preference.
kitchen_env` writes them, so that `coord prefer env=overcooked extra_labels=<store>` learns from them beside its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from coord.errors import UserError
from coord.overcooked import Layout, OvercookedVectorEnv
from coord.overcooked.recorded import RecordedGame
from coord.preference.labels.segments import AnsweredPairs, Queries, join_labels
from coord.preference.labels.store import LabelStore, StoredLabels
from coord.types import NUM_ACTIONS

PREFIX = "moments"  # of the names of runs that are none; nobody else is asked their queries
TASK = "overcooked"  # what their provenance says


@dataclass(frozen=True)
class SeatTrajectory:
    """A game of T ticks as the agent at one seat met it."""

    obs: NDArray[np.float32]  # [T, F] facts, 0 or 1
    beside: NDArray[np.float32]  # [T, 6 (P - 1)] what the other seats did in the tick, one-hot, from the next seat on
    change: NDArray[np.float32]  # [T, F] facts after the tick less those before
    act: NDArray[np.float32]  # [T, 6] what it did, one-hot
    rew: NDArray[np.float32]  # [T] task reward
    events: NDArray[np.int64]  # [T, P, len(EVENTS)] what every seat did in each tick
    states: tuple[dict[str, object], ...]  # [T + 1]

    @property
    def length(self) -> int:
        """T."""
        return len(self.rew)


def follow(game: RecordedGame, seat: int) -> SeatTrajectory:
    """The game, played again by the rules.

    Raises:
        UserError: the stored layout is not the one that was played.
    """
    env = game.start()
    obs, counts, states = [], [env.event_counts()[0].copy()], [env.state_dict(0)]
    facts, change = env.spec.possible(env.layouts[0]), []
    for joint_act in game.joint_act:
        obs.append(written_out(env, seat, facts))
        env.step(joint_act[None])
        change.append(written_out(env, seat, facts, final=True) - obs[-1])
        counts.append(env.event_counts(final=True)[0].copy())
        states.append(env.state_dict(0, final=True))
    acts = np.eye(NUM_ACTIONS, dtype=np.float32)[np.roll(game.joint_act, -seat, axis=1)]  # [T, P, 6], its own first
    beside = acts[:, 1:].reshape(len(acts), -1)
    events = np.diff(np.array(counts, np.int64), axis=0)
    rew = game.rew.astype(np.float32)
    return SeatTrajectory(np.array(obs), beside, np.array(change), acts[:, 0], rew, events, tuple(states))


def written_out(env: OvercookedVectorEnv, seat: int, facts: np.ndarray, *, final: bool = False) -> NDArray[np.float32]:
    """The first kitchen as a reward model reads it: one number, 0 or 1, per row in `facts`, [F]; final: at its end."""
    return np.isin(facts, env.index_obs(final=final)[0, seat]).astype(np.float32)


def pair_of(trajectory: SeatTrajectory, starts: tuple[int, int], length: int, game: int) -> Queries:
    """One query: `length` ticks from each of two starts of game number `game`, with all that a `Sight` may ask for."""
    cuts = [slice(start, start + length) for start in starts]
    seen = np.concatenate([trajectory.obs, trajectory.beside, trajectory.change], axis=1)
    obs, act, rew = (np.stack([array[cut] for cut in cuts])[None] for array in (seen, trajectory.act, trajectory.rew))
    return Queries(obs, act, rew, np.full((1, 2), game), np.array([starts]))


def run_name(layout: Layout, rules: str, length: int) -> str:
    """The name under which moments of one kitchen and length lie in a store; all of them have the same shape."""
    return f"{PREFIX} {layout.name} {layout.hash[:8]} {rules} {length} with partner and change"


def is_moment(run: str) -> bool:
    """Whether a name in a store is one of `run_name`: no run asked these queries, and nobody else answers them."""
    return run.startswith(f"{PREFIX} ")


@dataclass(frozen=True)
class Sight:
    """What a run keeps of a tick: `facts` numbers about the kitchen, and what its reward model reads beside them."""

    facts: int
    beside: int = 0  # how many it asks for
    partner: bool = False  # reward_sees_partner
    change: bool = False  # reward_sees_change
    changed: Callable[[NDArray[np.float32]], NDArray[np.float32]] = lambda change: change  # what it reads of [..., F]

    def columns(self, stored: int) -> NDArray[np.int64]:
        """Which of the `stored` numbers of a moment's tick: facts, what the others did, change."""
        everything, others = np.arange(stored), stored - self.facts
        kept = [everything[: self.facts]]
        kept += [everything[self.facts : others]] if self.partner else []
        kept += [everything[others:]] if self.change else []
        return np.concatenate(kept)

    def of(self, stored: NDArray[np.float32]) -> NDArray[np.float32]:
        """What a run keeps [..., facts + beside] of the numbers [..., S] of moments' ticks."""
        seen = stored[..., self.columns(stored.shape[-1])]
        if self.change:
            seen[..., -self.facts :] = self.changed(seen[..., -self.facts :])
        return seen


def labels(stores: Sequence[str], run: str, length: int, sight: Sight, act_dim: int) -> StoredLabels:
    """What people said of the moments of `run_name` in these stores; numbers are -1, -2, ...: no query of the run.

    Raises:
        UserError: no store, or one without such moments.
    """
    nothing = AnsweredPairs.empty(length, sight.facts + sight.beside, act_dim)
    parts = [StoredLabels(nothing, np.zeros(0, np.int64), [], np.zeros((0, 2), np.bool_))]
    for path in stores:
        with closing(LabelStore(path, create=False, writes=False)) as store:
            names = [name for name in store.runs() if is_moment(name)]
            if run not in names:
                there = f"it has {', '.join(names)}" if names else "people compare them in coord play, after a game"
                raise UserError(f"{path} holds no '{run}' (kitchen, its hash, rules, stored steps): {there}")
            found = store.labels(run, 0)
        if not found.labels.size:  # skipped or taken back, all of them
            continue
        stored, acts = found.labels.obs.shape[3], found.labels.act.shape[3]
        columns = sight.columns(stored)
        if stored < 2 * sight.facts or len(columns) != nothing.obs.shape[3] or acts != act_dim:
            raise UserError(
                f"{path}: moments are {stored} + {acts} numbers per step, not {sight.facts} facts, their change, "
                f"what the others did, and {act_dim} actions"
            )
        parts.append(replace(found, labels=found.labels._replace(obs=sight.of(found.labels.obs))))
    every = join_stored(parts)
    return replace(every, number=-1 - np.arange(every.labels.size))


def join_stored(parts: Sequence[StoredLabels]) -> StoredLabels:
    """All labels of `parts` in one; at least one part."""
    return StoredLabels(
        join_labels([part.labels for part in parts]),
        np.concatenate([part.number for part in parts]),
        [name for part in parts for name in part.annotator],
        np.concatenate([part.unsafe for part in parts]),
        [tags for part in parts for tags in part.reasons],
    )
