"""When an ego makes up its mind about its partner: within a game, between games, or both (`agents.context.carry`).

Played where all three are open to an entry (PECAN, whose released code does it between games only): series of
`GAMES_IN_A_ROW` games with the same partner, as part of the cell of protocol A. Game 1 of "between" is played with the
first guess alone; what a way of updating is worth shows in how the later ones differ from it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from coord.agents.context.carry import CARRIES, can_choose
from coord.evaluation.agents import load_agents
from coord.evaluation.run_folder import Interval, combine
from coord.evaluation.scores import ScoreRequest, score

GAMES_IN_A_ROW = 4
Cells = Mapping[tuple[str, str], Mapping[str, Any]]  # (method, layout) -> cell of protocol A


def played(refs: Sequence[str], partner: str, request: ScoreRequest) -> dict[str, Any]:
    """{"contexts": {way: summary and `by_game`}} of an entry's egos; {} for those that cannot choose.

    request: how the games of protocol A are played; their number is rounded to whole series.
    """
    where = request.where
    if not all(can_choose(ego) for ego in load_agents(refs, where.layout, where.rules)):
        return {}
    found = {}
    for what in CARRIES:
        egos, partners = (load_agents(names, where.layout, where.rules) for names in (refs, [partner]))
        series = max(1, request.episodes // GAMES_IN_A_ROW)
        asked = replace(request, episodes=series * GAMES_IN_A_ROW, games_in_a_row=GAMES_IN_A_ROW, context=what)
        result = score(egos, partners, asked)
        found[what] = {name: result[name] for name in ("summary", "by_game")}
    return {"contexts": found}


def table(cells: Cells) -> dict[tuple[str, str], list[Interval]]:
    """(method, way) -> [mean, game 1, game 2, ...], each a mean over the layouts that were played."""
    parts: dict[tuple[str, str], list[list[Interval]]] = {}
    for (method, _), cell in cells.items():
        for what, one in cell.get("contexts", {}).items():
            figures = [one["summary"], *one["by_game"]]
            row = [Interval(each["mean_return"], *each["ci95"]) for each in figures]
            parts.setdefault((method, what), []).append(row)
    return {key: [combine(list(column)) for column in zip(*rows, strict=True)] for key, rows in parts.items()}
