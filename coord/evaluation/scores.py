"""The score of an ego: games with every partner in every seat, as the JSON document of `coord evaluate`.

Schema 1: {"schema", "layout", "rules", "horizon", "rows": [...], "summary": {...}} and what is needed to repeat it.
A row is one (ego, partner, seat of the ego); `events` holds the mean count per game of every event, the ego's and each
partner's, `event_se` the standard errors of these means. Intervals are 95 % percentile bootstraps over games,
stratified by row in the summary: they are about this ego and these partners, not about training it again. Where the
ego is a pool of several (the same method from several seeds), the summary's intervals resample egos as well as games.
Who played is told by "files": for "egos" and "partners" name -> SHA-256 of the file, for all that have one (the human
proxy has).
Where the same two played several games in a row, "by_game" says how the first, second, ... of them went.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coord.agents.context.carry import carry
from coord.agents.players import Agent
from coord.agents.policy import FrozenPolicy
from coord.errors import UserError
from coord.evaluation import metrics
from coord.evaluation.matches import Games, Match, MatchRules, both_seats, play_matches
from coord.overcooked import EVENTS
from coord.stats import bootstrap_ci, iqm, mean, nested_bootstrap_ci

SCHEMA = 1


@dataclass(frozen=True, kw_only=True)
class ScoreRequest:
    """What to play; `coord evaluate` says what each field means."""

    where: MatchRules
    episodes: int
    stochastic: bool = True
    drop_stay: bool = False
    seed: int = 0
    games_in_a_row: int = 1
    context: str | None = None  # what egos keep of their partner meanwhile (`agents.context.carry`); None: as they do


def score(egos: Sequence[Agent], partners: Sequence[Agent], request: ScoreRequest) -> dict[str, Any]:
    """Play and summarise; the result is plain JSON (see the module's docstring). Several egos are seeds of one method.

    Raises:
        UserError: no egos, no partners or no games; egos that cannot keep what they are told to.
    """
    if not egos or not partners:
        raise UserError("no partners to play with: give partners=<agents or pools, comma separated>")
    seats = request.where.layout.num_players
    others = range(len(egos), len(egos) + len(partners))
    matches = [match for ego in range(len(egos)) for match in both_seats(ego, others, seats)]
    players = [*egos, *partners]
    for ego in egos if request.context is not None else ():
        carry(ego, str(request.context))
    games = play_matches(
        request.where,
        players,
        matches,
        episodes=request.episodes,
        seed=request.seed,
        games_in_a_row=request.games_in_a_row,
    )
    names = [*unique_names([e.agent_id for e in egos]), *unique_names([partner.agent_id for partner in partners])]
    rows = [_row(names, match, games, i, request) for i, match in enumerate(matches)]
    return {
        "schema": SCHEMA,
        "layout": request.where.layout.name,
        "layout_hash": request.where.layout.hash,
        "rules": request.where.rules,
        "horizon": request.where.horizon,
        "seed": request.seed,
        "stochastic": request.stochastic,
        "drop_stay": request.drop_stay,
        "mask_useless_actions": request.where.mask_useless_actions,
        "games_in_a_row": request.games_in_a_row,
        "context": request.context,
        "unstick": sorted({agent.agent_id for agent in players if _unsticks(agent)}),
        "files": {
            "egos": hashes_by_name(names[: len(egos)], egos),
            "partners": hashes_by_name(names[len(egos) :], partners),
        },
        "rows": rows,
        "summary": summarise(games.returns, egos=len(egos), seed=request.seed),
        "by_game": by_game(games.returns, request.games_in_a_row, egos=len(egos), seed=request.seed),
    }


def by_game(returns: NDArray[np.float32], games_in_a_row: int, *, egos: int = 1, seed: int = 0) -> list[dict[str, Any]]:
    """`summarise` of the first, second, ... game in a row, for returns [rows, E]."""
    return [summarise(returns[:, number::games_in_a_row], egos=egos, seed=seed) for number in range(games_in_a_row)]


def summarise(returns: NDArray[np.float32], *, egos: int = 1, seed: int = 0) -> dict[str, Any]:
    """Mean and interquartile mean over all games of [rows, E], rows in equal blocks per ego, with intervals."""
    if egos == 1:
        intervals = [bootstrap_ci(list(returns), statistic, seed=seed) for statistic in (mean, iqm)]
    else:
        nested = returns.reshape(egos, -1, returns.shape[-1])
        intervals = [nested_bootstrap_ci(nested, statistic, seed=seed) for statistic in (mean, iqm)]
    return {
        "mean_return": float(mean(returns.ravel())),
        "ci95": list(intervals[0]),
        "iqm": float(iqm(returns.ravel())),
        "iqm_ci95": list(intervals[1]),
        "episodes": int(returns.size),
        "egos": egos,
    }


def unique_names(names: Sequence[str]) -> list[str]:
    """The names, with ` (2)`, ` (3)`, ... behind repeated ones."""
    seen: Counter[str] = Counter()
    out = []
    for name in names:
        seen[name] += 1
        out.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return out


def hashes_by_name(names: Sequence[str], players: Sequence[Agent]) -> dict[str, str]:
    """Name -> SHA-256 of the file, for the players that were read from one."""
    found = {name: player for name, player in zip(names, players, strict=True) if isinstance(player, FrozenPolicy)}
    return {name: player.sha256 for name, player in found.items() if player.sha256}


def _unsticks(agent: Agent) -> bool:
    return isinstance(agent, FrozenPolicy) and agent.unstick


def _row(names: Sequence[str], match: Match, games: Games, i: int, request: ScoreRequest) -> dict[str, Any]:
    returns, events, horizon = games.returns[i], games.events[i], request.where.horizon
    order = [match.ego_seat, *(seat for seat in range(events.shape[1]) if seat != match.ego_seat)]
    counts = events[:, order].mean(axis=0)  # [P, events], the ego first
    errors = events[:, order].std(axis=0, ddof=min(1, len(events) - 1)) / len(events) ** 0.5  # 0 for a single game
    roles = ["ego", "partner", *(f"partner{k}" for k in range(2, events.shape[1]))][: events.shape[1]]
    return {
        "ego": names[match.ego],
        "partner": names[match.partner],
        "ego_seat": match.ego_seat,
        "episodes": len(returns),
        "mean_return": float(mean(returns)),
        "ci95": list(bootstrap_ci([returns], mean, seed=request.seed)),
        "returns": returns.tolist(),
        "quarters": games.quarters[i].mean(axis=0).tolist(),  # return of each quarter of the ticks
        "events": _by_event_and_role(counts, roles),
        "event_se": _by_event_and_role(errors, roles),
        "idle_share": dict(zip(roles, metrics.idle_share(events, horizon)[order].tolist(), strict=True)),
        "collisions_per_100": metrics.collision_rate(events, horizon),
        "work_balance": metrics.work_balance(events),
    }


def _by_event_and_role(values: NDArray[np.float64], roles: Sequence[str]) -> dict[str, dict[str, float]]:
    """[P, events] as event -> role -> value."""
    return {name: dict(zip(roles, values[:, k].tolist(), strict=True)) for k, name in enumerate(EVENTS)}
