"""The score of agents with real people, from the games that the game client recorded.

Schema 1: {"schema", "source", "games", "left_out", "rows": [...]}; a row is one agent on one layout under one rule set
and game length. Roles are "agent" and "human"; `events` holds mean counts per game. The interval is a 95 % percentile
bootstrap over people (`cluster_bootstrap_ci`): games of one participant belong together, a game without a participant
stands for itself. Only games played to their end count.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from coord.errors import UserError
from coord.evaluation import metrics
from coord.overcooked import EVENTS
from coord.overcooked.recorded import RecordedGame, read_games
from coord.stats import cluster_bootstrap_ci

SCHEMA = 1
ROLES = ("agent", "human")


class GameKey(NamedTuple):
    """What games must share to be averaged."""

    agent: str
    checkpoint_sha256: str
    stochastic: bool
    layout: str
    layout_hash: str
    rules: str
    ticks: int


def score_recorded(path: str | Path, *, seed: int = 0) -> dict[str, Any]:
    """Plain JSON about every agent that people played with (see the module's docstring).

    Raises:
        UserError: the file cannot be read, or holds no finished game of a person with an agent.
    """
    games = read_games(path)
    whole = [game for game in games if game.header.outcome == "finished" and is_mixed(game)]
    if not whole:
        raise UserError(f"{path} holds no finished game of a person with an agent (of {len(games)} games)")
    groups: dict[GameKey, list[RecordedGame]] = {}
    for game in whole:
        groups.setdefault(key_of(game), []).append(game)
    rows = [_row(key, group, seed) for key, group in sorted(groups.items())]
    left_out = len(games) - len(whole)
    return {"schema": SCHEMA, "source": Path(path).name, "games": len(whole), "left_out": left_out, "rows": rows}


def is_mixed(game: RecordedGame) -> bool:
    """Whether one person and one agent played."""
    return sorted(str(seat["kind"]) for seat in game.header.seats) == sorted(ROLES)


def key_of(game: RecordedGame) -> GameKey:
    """The group of a mixed game."""
    head = game.header
    agent = head.seats[agent_seat(game)]
    identity = str(agent["name"]), str(agent["checkpoint_sha256"]), bool(agent["stochastic"])
    return GameKey(*identity, head.layout, head.layout_hash, head.rules, head.ticks)


def agent_seat(game: RecordedGame) -> int:
    """The seat of the agent in a mixed game."""
    return next(seat for seat, info in enumerate(game.header.seats) if info["kind"] == "agent")


def events_by_role(game: RecordedGame) -> NDArray[np.int32]:
    """[2, len(EVENTS)] event counts of a mixed game in the order of ROLES."""
    seat = agent_seat(game)
    return game.event_counts()[[seat, 1 - seat]]


def miss_share(game: RecordedGame) -> float:
    """Share of the ticks in which the agent's answer did not come in time."""
    seat = agent_seat(game)
    return float(np.mean([sources[seat] == "miss" for sources in game.sources]))


def _row(key: GameKey, games: Sequence[RecordedGame], seed: int) -> dict[str, Any]:
    returns = np.array([game.header.score for game in games])
    people = [game.header.participant or game.header.uid for game in games]
    events = np.stack([events_by_role(game) for game in games])  # [E, 2, events], the agent first
    counts = events.mean(axis=0)
    return {
        **key._asdict(),
        "episodes": len(games),
        "people": len(set(people)),
        "agent_seats": [agent_seat(game) for game in games],
        "mean_return": float(returns.mean()),
        "ci95": list(cluster_bootstrap_ci(returns, people, seed=seed)),
        "returns": returns.tolist(),
        "events": {name: dict(zip(ROLES, counts[:, k].tolist(), strict=True)) for k, name in enumerate(EVENTS)},
        "idle_share": dict(zip(ROLES, metrics.idle_share(events, key.ticks).tolist(), strict=True)),
        "collisions_per_100": metrics.collision_rate(events, key.ticks),
        "work_balance": metrics.work_balance(events),
        "miss_share": float(np.mean([miss_share(game) for game in games])),
    }


def table(result: dict[str, Any]) -> str:
    """The rows of `score_recorded` as text."""
    lines = [f"{result['games']} games of people with agents, {result['left_out']} other or unfinished games left out"]
    lines.append(
        f"{'agent':<24}{'layout':<28}{'games':>6}{'people':>7}{'return':>9}  {'95 % interval':<18}"
        f"{'idle a/h':>12}{'collisions/100':>16}{'missed':>8}"
    )
    for row in result["rows"]:
        low, high = row["ci95"]
        interval = f"[{low:.1f}, {high:.1f}]"
        idle = "/".join(f"{row['idle_share'][role]:.2f}" for role in ROLES)
        lines.append(
            f"{row['agent']:<24}{row['layout']:<28}{row['episodes']:>6}{row['people']:>7}{row['mean_return']:>9.1f}  "
            f"{interval:<18}{idle:>12}{row['collisions_per_100']:>16.1f}{row['miss_share']:>8.1%}"
        )
    return "\n".join(lines)
