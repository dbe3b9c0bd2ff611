"""Playing games between agents, many at once.

All games of a call run as kitchens of one vector env (in chunks that bound the memory). The random numbers of a game
depend on the root seed, the two agents' names, the seat and the number of the game - not on its neighbours: adding
a partner to a list, or another chunk size, leaves the other games as they were. (Agents that keep a generator of
their own for the whole batch are repeatable, but not independent of it.)

The same two may play several games in a row (`games_in_a_row`): to them it is a new episode with the partner they know,
and what they make of that is up to them (`coord.agents.context.carry`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from coord import seeding
from coord.agents.players import Agent
from coord.agents.views import KitchenView
from coord.errors import UserError
from coord.overcooked import EVENTS, Layout, OvercookedVectorEnv

MAX_KITCHENS = 4096  # per chunk
QUARTERS = 4


class Match(NamedTuple):
    """Who plays whom: positions in the list of agents. The partner takes every seat that is not the ego's."""

    ego: int
    partner: int
    ego_seat: int


@dataclass(frozen=True)
class Games:
    """Results of n matches of E games each."""

    returns: NDArray[np.float32]  # [n, E] task return of the team
    events: NDArray[np.int32]  # [n, E, P, len(EVENTS)] counts per seat
    quarters: NDArray[np.float32]  # [n, E, 4] task return of each quarter of the game's ticks
    joint_acts: NDArray[np.int8] | None = None  # [n, E, T, P] what everybody did, if it was recorded


@dataclass(frozen=True, kw_only=True)
class MatchRules:
    """Where and how games are played."""

    layout: Layout
    rules: str = "classic"
    horizon: int = 400
    mask_useless_actions: bool = False


def both_seats(ego: int, partners: Sequence[int], num_players: int = 2) -> list[Match]:
    """The ego in every seat with every partner, partner by partner."""
    return [Match(ego, partner, seat) for partner in partners for seat in range(num_players)]


def play_matches(
    where: MatchRules,
    agents: Sequence[Agent],
    matches: Sequence[Match],
    *,
    episodes: int,
    seed: int = 0,
    record: bool = False,
    games_in_a_row: int = 1,
    max_kitchens: int = MAX_KITCHENS,
) -> Games:
    """Play `episodes` games of each match, and keep their actions if `record` is set.

    Every `games_in_a_row` consecutive ones are played by the same two without a break: game e is number e %
    games_in_a_row of its series.

    Raises:
        UserError: no games asked for, a number that is no multiple of `games_in_a_row`, or a seat that does not exist.
    """
    _check(where, matches, episodes, games_in_a_row)
    series = [(match, number) for match in matches for number in range(episodes // games_in_a_row)]
    chunks = [
        _play(where, agents, series[first : first + max_kitchens], games_in_a_row, seed, record)
        for first in range(0, len(series), max_kitchens)
    ]
    shape = (len(matches), episodes)
    returns = np.concatenate([chunk[0] for chunk in chunks]).reshape(shape)
    events = np.concatenate([chunk[1] for chunk in chunks])
    joint_acts = np.concatenate([chunk[2] for chunk in chunks]) if record else None  # [series, games in a row, T, P]
    return Games(
        returns,
        events.reshape(*shape, where.layout.num_players, len(EVENTS)),
        np.concatenate([chunk[3] for chunk in chunks]).reshape(*shape, QUARTERS),
        None if joint_acts is None else joint_acts.reshape(*shape, *joint_acts.shape[2:]),
    )


def _check(where: MatchRules, matches: Sequence[Match], episodes: int, games_in_a_row: int) -> None:
    if episodes < 1 or not matches:
        raise UserError(f"nothing to play: {len(matches)} matches of episodes={episodes}")
    if games_in_a_row < 1 or episodes % games_in_a_row:
        raise UserError(
            f"episodes={episodes}: must be a multiple of games_in_a_row={games_in_a_row}, which is at least 1"
        )
    if where.horizon < 1:
        raise UserError(f"horizon={where.horizon}: a game lasts at least one tick")
    worst = max(match.ego_seat for match in matches)
    if worst >= where.layout.num_players:
        raise UserError(f"layout '{where.layout.name}' has {where.layout.num_players} seats, there is no seat {worst}")


def _play(
    where: MatchRules,
    agents: Sequence[Agent],
    series: Sequence[tuple[Match, int]],
    games_in_a_row: int,
    seed: int,
    record: bool,
) -> tuple[np.ndarray, ...]:
    """Returns, event counts, joint actions (T = 0: not recorded) and quarters of `Games`, [n, games_in_a_row, ...]."""
    env = OvercookedVectorEnv(
        where.layout,
        len(series),
        horizon=where.horizon,
        rules=where.rules,
        seed=seeding.derive(seed, "kitchens"),
        mask_useless_actions=where.mask_useless_actions,
    )
    env.reset()
    seated = _seating(series, env.num_players)
    seats_of = {int(who): np.nonzero(seated == who) for who in np.unique(seated)}
    keys = np.array([_game_seed(seed, agents, *one) for one in series], np.uint64)
    for who in seats_of:
        agents[who].start(len(series), env.num_players, keys)
    view = KitchenView(env)
    games = []
    for _ in range(games_in_a_row):
        for who in seats_of:
            agents[who].begin_episode(np.arange(len(series)))
        games.append(_play_once(where, agents, env, view, seats_of, record))
    return tuple(np.stack(part, axis=1) for part in zip(*games, strict=True))


def _play_once(
    where: MatchRules,
    agents: Sequence[Agent],
    env: OvercookedVectorEnv,
    view: KitchenView,
    seats_of: Mapping[int, tuple[np.ndarray, ...]],
    record: bool,
) -> tuple[NDArray[np.float32], NDArray[np.int32], NDArray[np.int8], NDArray[np.float32]]:
    """One game in every kitchen: returns [n], event counts [n, P, events], joint actions [n, T, P], quarters [n, 4]."""
    joint_act = np.empty((env.num_envs, env.num_players), np.int64)
    played = np.empty((env.num_envs, where.horizon if record else 0, env.num_players), np.int8)
    quarters = np.zeros((env.num_envs, QUARTERS), np.float32)
    for tick in range(where.horizon):
        for who, (rows, seats) in seats_of.items():
            joint_act[rows, seats] = agents[who].act(view, rows, seats)
        if record:
            played[:, tick] = joint_act
        result = env.step(joint_act)
        quarters[:, tick * QUARTERS // where.horizon] += result.rew
        view.stepped(joint_act, result.truncated)
    return env.episode_return(final=True).copy(), env.event_counts(final=True).astype(np.int32), played, quarters


def _seating(series: Sequence[tuple[Match, int]], num_players: int) -> NDArray[np.int64]:
    """[n, P] which agent holds which seat."""
    ego, partner, ego_seat = np.array([match for match, _ in series]).T
    return np.where(np.arange(num_players) == ego_seat[:, None], ego[:, None], partner[:, None])


def _game_seed(seed: int, agents: Sequence[Agent], match: Match, number: int) -> int:
    names = agents[match.ego].agent_id, agents[match.partner].agent_id
    return seeding.derive(seed, "game", *names, match.ego_seat, number)
