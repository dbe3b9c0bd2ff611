"""`coord crossplay`: play every member of a pool, or any agents, with every other: matrix, gap, heat map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from coord.limits import Count, Horizon, Seed

HELP = "play every member of a pool, or any agents, with every other: matrix, gap, heat map"
EXAMPLES = (
    "coord crossplay runs/pool out=runs/xp",
    "coord crossplay agents=bc_train,greedy,python:cook.py:Cook layout=cramped_room out=runs/xp",
)


@dataclass(frozen=True, kw_only=True)
class CrossplayConfig:
    """Every member of a pool, or every agent of a list, with every other."""

    pool: str | None = None  # pool folder
    # instead of a pool: agents of any kind, such as bc_train,runs/ego,python:cook.py:Cook
    agents: tuple[str, ...] = ()
    layout: str | None = None  # kitchen, for a pool that was trained on several; null: the pool's, else cramped_room
    episodes: Count = 20  # games per pair and seat order
    stochastic: bool = True  # draw actions from the policies (true) or take the most likely one (false)
    horizon: Horizon = 400  # ticks per game
    seed: Seed = 0  # root of all randomness
    out: str | None = None  # folder for matrix and heat map; null: the pool's own


Config = CrossplayConfig


def run(overrides: Sequence[str]) -> int:
    """Do what the words say; the exit code."""
    from pathlib import Path

    from coord.checkpoint import provenance
    from coord.errors import UserError
    from coord.evaluation.crossplay import draw_heat_map
    from coord.files import atomic_write_json, check_folder
    from coord.run.config import load, to_dict

    cfg = load("crossplay", overrides, positional=("pool",))
    if (cfg.pool is None) == (not cfg.agents):
        raise UserError("which agents? give a pool's folder or agents=, not both: coord crossplay runs/pool")
    if cfg.out is None and cfg.pool is None:
        raise UserError("agents= needs out=, the folder for matrix and heat map")
    out = Path(str(cfg.out or cfg.pool))
    check_folder(out)
    result = crossplay(cfg)
    atomic_write_json(out / "crossplay.json", {**result, "provenance": provenance(to_dict(cfg))})
    draw_heat_map(result, out / "crossplay.png")
    print(table(result))
    print(f"written to {out / 'crossplay.json'} and {out / 'crossplay.png'}")
    return 0


def crossplay(cfg: CrossplayConfig) -> dict[str, Any]:
    """Open the pool and play; the JSON document without provenance.

    Raises:
        UserError: no such pool, a damaged one, or one whose members play different layouts and none was chosen.
    """
    from coord.agents.players import Agent
    from coord.evaluation.crossplay import cross_play
    from coord.evaluation.matches import MatchRules
    from coord.overcooked import load_layout
    from populations.pool import open_pool

    if cfg.agents:
        return crossplay_of_any(cfg)

    pool = open_pool(str(cfg.pool))
    card = pool.members[0].card
    layout = load_layout(cfg.layout or next(iter(card.layouts)))
    for member in pool.members:
        member.check_kitchen(layout, card.rules)
    players: list[Agent] = [member.player(stochastic=cfg.stochastic) for member in pool.members]
    where = MatchRules(layout=layout, rules=card.rules, horizon=cfg.horizon)
    result = cross_play(where, players, pool.entries, episodes=cfg.episodes, seed=cfg.seed)
    return {**result, "stochastic": cfg.stochastic}


def crossplay_of_any(cfg: CrossplayConfig) -> dict[str, Any]:
    """Load the agents of the list and play; each counts as a training run of its own.

    Raises:
        UserError: an agent that cannot be loaded, or two of one name.
    """
    from coord.errors import UserError
    from coord.evaluation.agents import load_agents
    from coord.evaluation.crossplay import cross_play
    from coord.evaluation.matches import MatchRules
    from coord.overcooked import load_layout

    layout = load_layout(cfg.layout or "cramped_room")
    players = load_agents(cfg.agents, layout, "classic", stochastic=cfg.stochastic)
    names = [player.agent_id for player in players]
    if twice := [name for name in names if names.count(name) > 1]:
        raise UserError(f"agents=: two of them are called '{twice[0]}'; give one of their files another name")
    cards = [{"id": name, "checkpoint": "final", "method": name, "seed": 0, "member": 0} for name in names]
    where = MatchRules(layout=layout, horizon=cfg.horizon)
    result = cross_play(where, players, cards, episodes=cfg.episodes, seed=cfg.seed)
    return {**result, "stochastic": cfg.stochastic}


def table(result: dict[str, Any]) -> str:
    """Means and gap as text."""
    lines = [f"{len(result['members'])} members on {result['layout']}, {result['episodes']} games per ordered pair"]
    for name, key in (("self-play", "sp"), ("cross-play", "xp"), ("gap", "gap")):
        if result[f"{key}_mean"] is None:
            return "\n".join([*lines, "all members are of one training run: there is no cross-play between runs"])
        low, high = result[f"{key}_ci95"]
        lines.append(f"{name:<12}{result[f'{key}_mean']:>8.1f}  [{low:.1f}, {high:.1f}]")
    return "\n".join(lines)
