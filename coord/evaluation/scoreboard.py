"""The scoreboard: every method with the same unseen partners, in cells, so that a new method costs only its own.

Protocol A, human proxy (Carroll et al. 2019; Lou et al. 2023): games with the held-out clone of people, both seats,
under classic rules. The literature mixes two switches - a clone that may not stay, and actions without effect masked
- so each cell holds all four combinations (`VARIANTS`). Egos that may update what they make of their partner within
games, between them, or both, show what each gives in games in a row (`contexts`).
Protocol B, behaviour-preferring partners (ZSC-Eval): a folder of partners with the returns of their best responses
(`coord population method=bp`), scored by BR-Prox (`br_div`).
Protocol C, cross-play between methods: every seed of a method with every seed of another; the gap is self-play minus
play with the other seeds of the same method.

A cell is a JSON file that says which agents played (by the SHA-256 of their files) under which settings; it is played
again when any of these changes. Nothing is scored with a partner that it was trained with.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from coord import checkpoint
from coord.agents import files
from coord.agents.files import HELD_OUT_ID
from coord.agents.players import Agent
from coord.errors import UserError
from coord.evaluation import br_div, contexts, metrics
from coord.evaluation.agents import files_of, hashes_of, load_agents
from coord.evaluation.matches import Match, MatchRules, play_matches
from coord.evaluation.run_folder import Interval
from coord.evaluation.scores import ScoreRequest, score
from coord.files import atomic_write_json, parse_json
from coord.overcooked import load_layout
from coord.stats import bootstrap_ci, interval, nested_bootstrap

SCHEMA = 1
PROTOCOLS = ("A", "B", "C")
# name -> (the clone never stays, actions without effect are masked for everybody)
VARIANTS = {
    "standard": (False, False),
    "no_stay": (True, False),
    "masked": (False, True),
    "no_stay_masked": (True, True),
}


@dataclass(frozen=True, kw_only=True)
class GameSettings:
    """How games are played; part of what decides whether a cell is still valid."""

    rules: str = "classic"
    horizon: int = 400
    episodes: int = 100  # protocol A, per seat and ego seed
    pair_episodes: int = 20  # protocols B and C, per pair and seat
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class MethodEntry:
    """The egos of one method on one kitchen, one per training seed."""

    method: str
    layout: str
    refs: tuple[str, ...]  # agent files, run folders or pools
    human_data: bool = False  # whether it learned from human games
    training: Mapping[str, Any] = field(default_factory=dict)  # minutes, env steps, commands


def refuse_leaks(egos: Sequence[str], partners: Sequence[str]) -> None:
    """Raise `UserError` if an ego is one of the partners, was trained with one, or on the proxy's half of the games.

    What an ego was trained with stands on its card: the hashes of its partners' files, and its share of human data.
    """
    barred = set(hashes_of(partners))
    for ref in egos:
        if barred & set(hashes_of([ref])):
            raise UserError(f"{ref} holds a partner of this evaluation: nobody is scored with itself")
        for path in files_of(ref):
            _refuse_leak(path, barred)


def _refuse_leak(path: Path, barred: set[str]) -> None:
    card = files.read_agent(path).card
    shared = barred & set(card.extra.get("trained_with", ()))
    if shared:
        raise UserError(f"{path} was trained with a partner of this evaluation (SHA-256 {min(shared)[:12]}...)")
    if card.human_data == "test":
        raise UserError(f"{path} learned from the held-out half of the human games: it cannot be scored with them")


# --------------------------------------------------------------------------------------------------- cells


def cell_path(out: Path, protocol: str, layout: str, name: str) -> Path:
    """Where a cell lies; `name` is a method, or two joined by `--` in protocol C."""
    return out / "cells" / protocol / layout / f"{name}.json"


def read_cell(path: Path) -> dict[str, Any] | None:
    """A cell, or None if there is none.

    Raises:
        UserError: a damaged file, or one of a newer version.
    """
    if not path.is_file():
        return None
    try:
        cell = parse_json(path.read_text(encoding="utf-8"))
        schema = int(cell["schema"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is damaged ({error}): delete it to have it played again") from error
    if schema > SCHEMA:
        raise UserError(f"{path} has schema {schema}, this version reads up to {SCHEMA}: please update")
    return cell


def key_of(protocol: str, layout: str, settings: GameSettings, egos: Sequence[str], partners: Sequence[str]) -> str:
    """What a cell depends on, as 16 hexadecimal digits; the clones of people count by their files."""
    facts = [SCHEMA, protocol, vars(settings), hashes_of(egos, layout), hashes_of(partners, layout)]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def is_current(path: Path, key: str) -> bool:
    """Whether the cell was played by what `key` stands for."""
    cell = read_cell(path)
    return cell is not None and cell["key"] == key


def write_cell(path: Path, key: str, head: Mapping[str, Any], body: Mapping[str, Any], settings: GameSettings) -> None:
    """Write a cell: `head` says who played, `body` how it went."""
    facts = {"schema": SCHEMA, "key": key, **head, "settings": vars(settings)}
    atomic_write_json(path, {**facts, **body, "provenance": checkpoint.provenance()})


def _head(protocol: str, who: MethodEntry, partners: Sequence[str]) -> dict[str, Any]:
    return {
        "protocol": protocol,
        "layout": who.layout,
        "method": who.method,
        "human_data": who.human_data,
        "training": dict(who.training),
        "egos": hashes_of(who.refs, who.layout),
        "partners": hashes_of(partners, who.layout),
    }


def _where(layout: str, settings: GameSettings, *, masked: bool = False) -> MatchRules:
    home = load_layout(layout)
    return MatchRules(layout=home, rules=settings.rules, horizon=settings.horizon, mask_useless_actions=masked)


def play_with_proxy(out: Path, who: MethodEntry, settings: GameSettings, partner: str = HELD_OUT_ID) -> bool:
    """Protocol A for one method and kitchen; False if the cell was there already.

    Raises:
        UserError: a leak, unreadable agents, an unwritable folder.
    """
    path, key = cell_path(out, "A", who.layout, who.method), key_of("A", who.layout, settings, who.refs, [partner])
    if is_current(path, key):
        return False
    refuse_leaks(who.refs, [partner])
    variants = {name: _variant(who, settings, partner, *switches) for name, switches in VARIANTS.items()}
    request = ScoreRequest(where=_where(who.layout, settings), episodes=settings.episodes, seed=settings.seed)
    body = {"variants": variants, **contexts.played(who.refs, partner, request)}
    write_cell(path, key, _head("A", who, [partner]), body, settings)
    return True


def _variant(who: MethodEntry, settings: GameSettings, partner: str, no_stay: bool, masked: bool) -> dict[str, Any]:
    egos = load_agents(who.refs, who.layout, settings.rules)
    proxies = load_agents([partner], who.layout, settings.rules, drop_stay=no_stay)
    where = _where(who.layout, settings, masked=masked)
    request = ScoreRequest(where=where, episodes=settings.episodes, seed=settings.seed, drop_stay=no_stay)
    return _digest(score(egos, proxies, request))


def _digest(result: Mapping[str, Any]) -> dict[str, Any]:
    """What a cell keeps of a score: the returns of every game, and how the play went."""
    kept = ("ego", "partner", "ego_seat", "mean_return", "returns", "quarters", "idle_share", "collisions_per_100")
    rows = [{name: row[name] for name in (*kept, "work_balance")} for row in result["rows"]]
    balances = [row["work_balance"] for row in rows if row["work_balance"] is not None]
    quarters = np.array([row["quarters"] for row in rows])
    gains = quarters[:, -1] - quarters[:, 0]  # [rows] last quarter minus first
    conduct = {
        "collisions_per_100": float(np.mean([row["collisions_per_100"] for row in rows])),
        "ego_idle_share": float(np.mean([row["idle_share"]["ego"] for row in rows])),
        "work_balance": float(np.mean(balances)) if balances else None,
        "adaptation_gain": float(gains.mean()),
        "adaptation_ci95": list(bootstrap_ci([gains], seed=int(result["seed"]))),
    }
    return {"summary": result["summary"], "conduct": conduct, "rows": rows}


def play_with_preferring(out: Path, who: MethodEntry, settings: GameSettings, partners: str) -> bool:
    """Protocol B: BR-Prox with the partners of a pool whose cards say what their best responses earn.

    Raises:
        UserError: as `play_with_proxy`; a pool without best-response returns.
    """
    path, key = cell_path(out, "B", who.layout, who.method), key_of("B", who.layout, settings, who.refs, [partners])
    if is_current(path, key):
        return False
    refuse_leaks(who.refs, [partners])
    best = best_returns(partners)
    egos = load_agents(who.refs, who.layout, settings.rules)
    others = load_agents([partners], who.layout, settings.rules)
    request = ScoreRequest(where=_where(who.layout, settings), episodes=settings.pair_episodes, seed=settings.seed)
    result = score(egos, others, request)
    returns = {other.agent_id: _by_seat(result["rows"], other.agent_id, len(egos)) for other in others}
    value, interval = br_div.br_prox(returns, best, seed=settings.seed)
    body = {"br_prox": value, "br_prox_ci95": list(interval), "best_returns": {k: list(v) for k, v in best.items()}}
    write_cell(path, key, _head("B", who, [partners]), {**body, **_digest(result)}, settings)
    return True


def best_returns(pool: str) -> dict[str, tuple[float, ...]]:
    """Return of each member's own best response, for the ego's seats 0 and 1.

    Raises:
        UserError: no pool, or a member without that figure.
    """
    best = {}
    for card in (files.read_agent(path).card for path in files_of(pool)):
        returns = card.extra.get("best_returns")
        if not returns:
            raise UserError(f"{pool}: '{card.agent_id}' has no best response; make partners with population method=bp")
        best[card.agent_id] = tuple(float(r) for r in returns)
    return best


def _by_seat(rows: Sequence[Mapping[str, Any]], partner: str, egos: int) -> np.ndarray:
    """[egos, seats] mean returns with one partner."""
    mine = [row for row in rows if row["partner"] == partner]
    return np.array([row["mean_return"] for row in mine]).reshape(egos, -1)


def play_across(out: Path, one: MethodEntry, two: MethodEntry, settings: GameSettings) -> bool:
    """Protocol C for two methods (or one with itself) on a kitchen.

    `returns[a][b][s]` holds the games of seed a of `one` in seat s with seed b of `two` in the other. For a method
    with itself the diagonal is self-play.
    Raises:
        UserError: unreadable agents, an unwritable folder.
    """
    name = f"{one.method}--{two.method}"
    path, key = cell_path(out, "C", one.layout, name), key_of("C", one.layout, settings, one.refs, two.refs)
    if is_current(path, key):
        return False
    same = one.method == two.method
    if not same:
        refuse_leaks(one.refs, two.refs)
        refuse_leaks(two.refs, one.refs)
    firsts = load_agents(one.refs, one.layout, settings.rules)
    seconds = firsts if same else load_agents(two.refs, two.layout, settings.rules)
    returns, collisions = _cross(firsts, seconds, _where(one.layout, settings), settings, same)
    gap = (
        metrics.sp_xp_gap(returns[:, :, 0], [str(a) for a in range(len(firsts))], seed=settings.seed) if same else None
    )
    # A method with itself: only games of different training runs, where there are several.
    counted = returns[~np.eye(len(returns), dtype=bool)] if same and len(returns) > 1 else returns
    body = {
        "methods": [one.method, two.method],
        "mean_return": float(counted.mean()),
        "returns": returns.tolist(),
        "collisions_per_100": collisions,
        "gap": None if gap is None else gap._asdict(),
    }
    files = {"egos": hashes_of(one.refs, one.layout), "partners": hashes_of(two.refs, one.layout)}
    head = {"protocol": "C", "layout": one.layout, **files}
    write_cell(path, key, head, body, settings)
    return True


def _cross(
    firsts: list[Agent], seconds: list[Agent], where: MatchRules, settings: GameSettings, same: bool
) -> tuple[np.ndarray, float]:
    """[firsts, seconds, 2, E] returns with the first in seat 0 and 1, and collisions per 100 ticks."""
    players, shift = (firsts, 0) if same else ([*firsts, *seconds], len(firsts))
    matches = [Match(a, b + shift, seat) for a in range(len(firsts)) for b in range(len(seconds)) for seat in (0, 1)]
    games = play_matches(where, players, matches, episodes=settings.pair_episodes, seed=settings.seed)
    events = games.events.reshape(-1, *games.events.shape[2:])
    returns = games.returns.reshape(len(firsts), len(seconds), 2, settings.pair_episodes)
    return returns, metrics.collision_rate(events, settings.horizon)


# --------------------------------------------------------------------------------------------------- tables


def cells(out: Path, protocol: str) -> dict[tuple[str, str], dict[str, Any]]:
    """(name, layout) -> cell, for every cell of a protocol that has been played."""
    found = {}
    for path in sorted((out / "cells" / protocol).glob("*/*.json")):
        cell = read_cell(path)
        if cell is not None:
            found[path.stem, path.parent.name] = cell
    return found


def proxy_table(
    played: Mapping[tuple[str, str], Mapping[str, Any]], variant: str, layouts: Sequence[str]
) -> dict[str, dict[str, Interval]]:
    """method -> {layout: figure, "mean": figure}; the mean only for methods that have every layout.

    A figure is the mean over ego seeds, seats and games; its interval resamples seeds and, within them, games. That of
    the mean over layouts comes from the averages of the layouts' resamples.
    """
    table: dict[str, dict[str, Interval]] = {}
    for method in dict.fromkeys(method for method, _ in played):
        estimates, row = [], {}
        for number, layout in enumerate(layouts):
            cell = played.get((method, layout))
            if cell is None:
                continue
            returns = _by_run(cell["variants"][variant]["rows"])
            estimates.append(nested_bootstrap(returns, seed=number))
            row[layout] = Interval(float(returns.mean()), *interval(estimates[-1]))
        if len(estimates) == len(layouts):
            means = float(np.mean([figure.mean for figure in row.values()]))
            row["mean"] = Interval(means, *interval(np.mean(estimates, axis=0)))
        table[method] = row
    return table


def _by_run(rows: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """[ego seeds, partners x seats, games] returns of a cell."""
    egos = dict.fromkeys(row["ego"] for row in rows)
    return np.array([[row["returns"] for row in rows if row["ego"] == ego] for ego in egos])
