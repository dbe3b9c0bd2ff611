"""Cross-play: every member of a pool with every other, the self-play minus cross-play gap, and a heat map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coord.agents.players import Agent
from coord.evaluation import metrics
from coord.evaluation.matches import Match, MatchRules, play_matches
from coord.evaluation.scores import hashes_by_name
from coord.files import atomic_write_figure
from coord.stats import bootstrap_ci

SCHEMA = 1
LIGHT, DARK = "white", "black"


def cross_play(
    where: MatchRules, agents: Sequence[Agent], cards: Sequence[Mapping[str, Any]], *, episodes: int, seed: int = 0
) -> dict[str, Any]:
    """Play all ordered pairs; `seat_returns[i][j]` is the mean return of member i in seat 0 with j in the others.

    cards: manifest entries of the agents, from which each member's training run and checkpoint are taken. Means and
    gap count final checkpoints only, if the pool marks any: half-trained members would drown the gap.

    Returns: plain JSON: members, seat_returns, sp_mean, xp_mean, gap_mean with their intervals (None for a pool of
        a single training run).
    """
    size = len(agents)
    matches = [Match(i, j, 0) for i in range(size) for j in range(size)]
    games = play_matches(where, agents, matches, episodes=episodes, seed=seed)
    returns = games.returns.reshape(size, size, episodes)
    return {
        "schema": SCHEMA,
        "layout": where.layout.name,
        "layout_hash": where.layout.hash,
        "rules": where.rules,
        "horizon": where.horizon,
        "seats": where.layout.num_players,
        "episodes": episodes,
        "seed": seed,
        "members": [agent.agent_id for agent in agents],
        "files": hashes_by_name([agent.agent_id for agent in agents], agents),
        "seat_returns": returns.mean(axis=2).tolist(),
        "seat_ci95": [[list(bootstrap_ci([cell], seed=seed)) for cell in row] for row in returns],
        **_gap(returns, cards, seed),
    }


def _gap(returns: NDArray[np.float32], cards: Sequence[Mapping[str, Any]], seed: int) -> dict[str, Any]:
    finals = [i for i, card in enumerate(cards) if card["checkpoint"] == "final"]
    counted = finals if len(finals) > 1 else list(range(len(cards)))
    lineages = [f"{cards[i]['method']}/{cards[i]['seed']}/{cards[i]['member']}" for i in counted]
    gap = metrics.sp_xp_gap(returns[np.ix_(counted, counted)], lineages, seed=seed)
    names = ("sp_mean", "sp_ci95", "xp_mean", "xp_ci95", "gap_mean", "gap_ci95")
    values = (None,) * len(names) if gap is None else gap
    return {**dict(zip(names, values, strict=True)), "gap_members": [cards[i]["id"] for i in counted]}


def draw_heat_map(result: Mapping[str, Any], path: str | Path) -> None:
    """Write the matrix of `cross_play` as a PNG: rows sit in seat 0, columns in the other; numbers are mean returns.

    Raises:
        UserError: the file cannot be written.
    """
    import matplotlib.figure as figures

    means = np.asarray(result["seat_returns"])
    size = len(means)
    side = max(4.0, 1.5 + 0.45 * size)
    figure = figures.Figure(figsize=(side + 1.2, side), layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(means, cmap="viridis", vmin=0.0, vmax=max(float(means.max()), 1.0))
    axes.set_xticks(range(size), result["members"], rotation=90)
    axes.set_yticks(range(size), result["members"])
    axes.set_xlabel("partner (seat 1)" if result["seats"] == 2 else "partners (all other seats)")
    axes.set_ylabel("member (seat 0)")
    axes.set_title(_title(result))
    middle = (image.norm.vmin + image.norm.vmax) / 2
    for (i, j), value in np.ndenumerate(means):
        axes.text(j, i, f"{value:.0f}", ha="center", va="center", fontsize=8, color=LIGHT if value < middle else DARK)
    figure.colorbar(image, label="mean return per game")
    atomic_write_figure(path, figure)


def _title(result: Mapping[str, Any]) -> str:
    where = f"{result['layout']}, {result['rules']}, {result['episodes']} games per cell"
    if result["gap_mean"] is None:
        return where
    low, high = result["gap_ci95"]
    means = f"self-play {result['sp_mean']:.0f}, cross-play {result['xp_mean']:.0f}, gap {result['gap_mean']:.0f}"
    return f"{where}\n{means} [{low:.0f}, {high:.0f}]"
