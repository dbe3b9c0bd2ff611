"""Parts of the page about games: which are shown, and their frames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from coord.evaluation.report.replay import Game, replay
from coord.evaluation.report.score_parts import AgentNames
from coord.evaluation.run_folder import PROXY, RunFolder

MAX_PAIRS = 4  # pairs of agents whose games are shown, three games each


def shown_games(folder: RunFolder, label: AgentNames) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Frames of the shown games and, per pair of agents, which of them are its best, median and worst."""
    readable = []
    for data in folder.games:
        try:
            readable.append((data["source"], Game.from_json(data)))
        except (KeyError, TypeError, ValueError) as error:
            folder.problems.append(f"{data['source']}: {type(error).__name__}: {error}")
    frames: list[dict[str, Any]] = []
    pairs: list[dict[str, Any]] = []
    by_agents: dict[tuple[str, ...], list[tuple[str, Game]]] = {}
    for source, game in readable:
        by_agents.setdefault(tuple(sorted(game.agents)), []).append((source, game))
    for agents in sorted(by_agents, key=lambda names: PROXY not in names)[:MAX_PAIRS]:
        shown = _replayed(_pick(by_agents[agents]), folder, frames)
        if shown:
            heading = " with ".join(label(name) for name in sorted(agents, key=lambda name: name == PROXY))
            pairs.append({"heading": heading, "games": shown, "count": len(by_agents[agents])})
    return frames, pairs


def _pick(games: Sequence[tuple[str, Game]]) -> list[tuple[str, str, Game]]:
    """Best, median and worst by return as (title, source, game); fewer than three are all shown."""
    ranked = sorted(games, key=lambda pair: -pair[1].total)
    if len(ranked) < 3:
        return [("Game", source, game) for source, game in ranked]
    places = (("Best game", 0), ("Median game", len(ranked) // 2), ("Worst game", len(ranked) - 1))
    return [(title, *ranked[place]) for title, place in places]


def _replayed(
    picked: Sequence[tuple[str, str, Game]], folder: RunFolder, frames: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Append the frames of each game to `frames`; a game that cannot be replayed is named among the problems."""
    shown = []
    for title, source, game in picked:
        try:
            frames.append(replay(game))
        except (ValueError, KeyError) as error:
            folder.problems.append(f"{source}: not shown, {error}")
            continue
        shown.append({"title": title, "game": game, "source": source, "number": len(frames) - 1})
    return shown
