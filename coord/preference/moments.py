"""Moments of games that people compared: a recorded game as its agent's reward model reads it, and labels from there.

After a game a person may say which of two moments they liked better (`play.moments`). Both are stored as queries of the
run `RUN` in a label store: observations and actions are those of the agent's seat, written as `coord.preference.
kitchen_env` writes them, so that `coord prefer env=overcooked extra_labels=<store>` learns from them beside its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from coord.errors import UserError
from coord.overcooked import Layout, OvercookedVectorEnv
from coord.overcooked.recorded import RecordedGame
from coord.preference.label_store import LabelStore, StoredLabels
from coord.preference.segments import Labels, Queries, join_labels
from coord.types import NUM_ACTIONS

PREFIX = "moments"  # of the names of runs that are none; nobody else is asked their queries
TASK = "overcooked"  # what their provenance says


@dataclass(frozen=True)
class Course:
    """A game of T ticks as the agent at one seat met it."""

    obs: NDArray[np.float32]  # [T, F] facts, 0 or 1
    beside: NDArray[np.float32]  # [T, 6 (P - 1)] what the other seats did in the tick, one-hot, from the next seat on
    act: NDArray[np.float32]  # [T, 6] what it did, one-hot
    rew: NDArray[np.float32]  # [T] task reward
    events: NDArray[np.int64]  # [T, P, len(EVENTS)] what every seat did in each tick
    states: tuple[dict[str, object], ...]  # [T + 1]

    @property
    def length(self) -> int:
        """T."""
        return len(self.rew)


def follow(game: RecordedGame, seat: int) -> Course:
    """The game, played again by the rules.

    Raises:
        UserError: the stored layout is not the one that was played.
    """
    env = game.start()
    obs, counts, states = [], [env.event_counts()[0].copy()], [env.state_dict(0)]
    facts = env.spec.possible(env.layouts[0])
    for joint_act in game.joint_act:
        obs.append(written_out(env, seat, facts))
        env.step(joint_act[None])
        counts.append(env.event_counts(final=True)[0].copy())
        states.append(env.state_dict(0, final=True))
    acts = np.eye(NUM_ACTIONS, dtype=np.float32)[np.roll(game.joint_act, -seat, axis=1)]  # [T, P, 6], its own first
    beside = acts[:, 1:].reshape(len(acts), -1)
    events = np.diff(np.array(counts, np.int64), axis=0)
    return Course(np.array(obs), beside, acts[:, 0], game.rew.astype(np.float32), events, tuple(states))


def written_out(env: OvercookedVectorEnv, seat: int, facts: np.ndarray) -> NDArray[np.float32]:
    """The first kitchen as a reward model reads it: one number, 0 or 1, per row in `facts`, [F]."""
    return np.isin(facts, env.index_obs()[0, seat]).astype(np.float32)


def pair_of(course: Course, starts: tuple[int, int], length: int, game: int) -> Queries:
    """One query: `length` ticks from each of two starts of game number `game`: the facts, then what the others did."""
    cuts = [slice(start, start + length) for start in starts]
    seen = np.concatenate([course.obs, course.beside], axis=1)
    obs, act, rew = (np.stack([array[cut] for cut in cuts])[None] for array in (seen, course.act, course.rew))
    return Queries(obs, act, rew, np.full((1, 2), game), np.array([starts]))


def run_name(layout: Layout, rules: str, length: int) -> str:
    """The name under which moments of one kitchen and length lie in a store; all of them have the same shape."""
    return f"{PREFIX} {layout.name} {layout.hash[:8]} {rules} {length} with partner"


def is_moment(run: str) -> bool:
    """Whether a name in a store is one of `run_name`: no run asked these queries, and nobody else answers them."""
    return run.startswith(f"{PREFIX} ")


def labels(stores: Sequence[str], run: str, length: int, obs_dim: int, act_dim: int) -> StoredLabels:
    """What people said of the moments of `run_name` in these stores; numbers are -1, -2, ...: no query of the run.

    obs_dim: how much of a tick is read, from the front: facts alone, or what the others did, too.

    Raises:
        UserError: no store, or one without such moments.
    """
    nothing = Labels.empty(length, obs_dim, act_dim)
    parts = [StoredLabels(nothing, np.zeros(0, np.int64), [], np.zeros((0, 2), np.bool_))]
    for path in stores:
        with closing(LabelStore(path, create=False)) as store:
            names = [name for name in store.runs() if is_moment(name)]
            if run not in names:
                there = f"it has {', '.join(names)}" if names else "people compare them in coord play, after a game"
                raise UserError(f"{path} holds no '{run}' (kitchen, its hash, rules, stored steps): {there}")
            found = store.labels(run, 0)
        if not found.labels.size:  # skipped or taken back, all of them
            continue
        sizes = found.labels.obs.shape[3], found.labels.act.shape[3]
        if sizes[0] < obs_dim or sizes[1] != act_dim:
            raise UserError(f"{path}: moments are {sizes[0]} + {sizes[1]} numbers per step, not {obs_dim} + {act_dim}")
        parts.append(replace(found, labels=found.labels._replace(obs=found.labels.obs[..., :obs_dim])))
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
