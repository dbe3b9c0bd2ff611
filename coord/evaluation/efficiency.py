"""How much a label is worth in a kitchen: egos trained from few and many labels, scored with the held-out proxies.

A cell is one training run (all its seeds) on one kitchen, kept as a file like the cells of the scoreboard and played
again when an agent or a setting changes. It holds the return of every game with the proxies in both seats, and the
score of the same games under every hidden utility (`kitchen_teachers.UTILITIES`): task x return + w . phi, phi the
ego's own events. Parts: `curves` (return against the number of labels), `rlhf` (the three steps of `coord rlhf`, with
and without a KL penalty), `utilities` (teachers who want what the return does not express).

Zero labels: the same run whose reward model stays as it was initialised; the pretraining on novelty comes first, as in
the others. All methods are one there, since what tells them apart acts on labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from coord.agents.players import Agent
from coord.errors import UserError
from coord.evaluation import scoreboard
from coord.evaluation.agents import hashes_of, load_agents
from coord.evaluation.matches import Games, Match, MatchRules, both_seats, play_matches
from coord.evaluation.run_folder import Interval
from coord.evaluation.scoreboard import GameSettings
from coord.overcooked import EVENTS, load_layout
from coord.preference.tasks.kitchen_teachers import UTILITIES
from coord.stats import nested_bootstrap_ci

PARTS = ("curves", "rlhf", "utilities")
ORACLE = "oracle"  # method of runs that are given the reward that the teacher judges by
UNTRAINED = "no labels"  # method of runs whose reward model has learned nothing
WANTS = ("return", "shaped")  # what a teacher may want that has no utility
Cell = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Point:
    """One training run to be scored."""

    part: str
    name: str  # of its cell
    layout: str
    learner: str  # sac | ppo
    method: str
    labels: int | None = None  # per seed; None: it learns from none
    wants: str = "return"  # what the teacher judges by: one of `WANTS`, or a key of `UTILITIES`
    refs: tuple[str, ...] = ()  # its agents
    training: Mapping[str, Any] = field(default_factory=dict)  # minutes, steps, rank correlation, command


def play(out: Path, point: Point, settings: GameSettings, proxies: Sequence[str]) -> bool:
    """Games of a run's agents with the proxies; False if the cell was there already.

    Raises:
        UserError: agents that learned with a proxy or from its games, unreadable ones, an unwritable folder.
    """
    path = scoreboard.cell_path(out, point.part, point.layout, point.name)
    key = scoreboard.key_of(point.part, point.layout, settings, point.refs, proxies)
    if scoreboard.is_current(path, key):
        return False
    scoreboard.refuse_leaks(point.refs, proxies)
    egos, others = (load_agents(refs, point.layout, settings.rules) for refs in (point.refs, proxies))
    where = MatchRules(layout=load_layout(point.layout), rules=settings.rules, horizon=settings.horizon)
    about = {name: value for name, value in vars(point).items() if name != "refs"}
    hashes = {"egos": hashes_of(point.refs, point.layout), "partners": hashes_of(proxies, point.layout)}
    head = about | hashes | {"proxies": list(proxies)}
    scoreboard.write_cell(path, key, head, _scores(egos, others, where, settings), settings)
    return True


def _scores(
    egos: Sequence[Agent], others: Sequence[Agent], where: MatchRules, settings: GameSettings
) -> dict[str, Any]:
    """`returns` and, for each utility, `scores` [egos, proxies x seats, games]; mean events of the egos per game."""
    partners = range(len(egos), len(egos) + len(others))
    matches = [match for ego in range(len(egos)) for match in both_seats(ego, partners, where.layout.num_players)]
    games = play_matches(where, [*egos, *others], matches, episodes=settings.episodes, seed=settings.seed)
    shape = (len(egos), -1, settings.episodes)
    events = own_events(games, matches)
    scores = {
        name: (one.task * games.returns + events @ one.vector()).reshape(shape).tolist()
        for name, one in UTILITIES.items()
    }
    means = events.mean((0, 1)).tolist()
    return {
        "returns": games.returns.reshape(shape).tolist(),
        "scores": scores,
        "events": dict(zip(EVENTS, means, strict=True)),
    }


def own_events(games: Games, matches: Sequence[Match]) -> np.ndarray:
    """[n, E, events] how often the ego caused each event."""
    seats = np.array([match.ego_seat for match in matches])
    return games.events[np.arange(len(matches)), :, seats]


def figure(values: Sequence[Any]) -> Interval:
    """Mean of [seeds, strata, games], and an interval that resamples seeds and, within them, games."""
    array = np.asarray(values, float)
    return Interval(float(array.mean()), *nested_bootstrap_ci(array))


# ------------------------------------------------------------------------------------------------------- tables


@dataclass(frozen=True)
class Found:
    """All cells of a folder."""

    cells: Mapping[str, Mapping[tuple[str, str], Cell]]  # part -> (name, layout) -> cell

    def of(self, part: str, layout: str, **wanted: Any) -> list[Cell]:
        """Cells of a part and layout whose head has these values."""
        here = [cell for (_, home), cell in self.cells[part].items() if home == layout]
        return [cell for cell in here if all(cell[name] == value for name, value in wanted.items())]

    def layouts(self, part: str) -> list[str]:
        """Layouts that have cells of a part."""
        return list(dict.fromkeys(home for _, home in self.cells[part]))


def read(out: Path) -> Found:
    """All cells of a folder.

    Raises:
        UserError: there are none, or one is damaged.
    """
    found = Found({part: scoreboard.cells(out, part) for part in PARTS})
    if not any(found.cells.values()):
        raise UserError(f"{out} holds no cells yet: say coord efficiency run out={out}")
    return found


@dataclass(frozen=True)
class EfficiencyCurve:
    """Return against labels of one method with one learner on one kitchen."""

    layout: str
    learner: str
    method: str
    points: Mapping[int, Interval]  # labels -> return; that of no labels is shared by all methods
    oracle: Interval | None  # the same learner on the reward that the teacher judges by

    def share(self, labels: int) -> float | None:
        """Return as a share of the oracle's."""
        if self.oracle is None or labels not in self.points or self.oracle.mean <= 0:
            return None
        return self.points[labels].mean / self.oracle.mean


def curves(found: Found) -> list[EfficiencyCurve]:
    """All curves, by layout, learner and method; where no method has labels yet, that of the untrained reward."""
    out = []
    for layout in found.layouts("curves"):
        for learner in dict.fromkeys(cell["learner"] for cell in found.of("curves", layout)):
            methods = dict.fromkeys(cell["method"] for cell in found.of("curves", layout, learner=learner))
            named = [method for method in methods if method not in (ORACLE, UNTRAINED)]
            out += [_curve(found, layout, learner, method) for method in named or [UNTRAINED]]
    return out


def _curve(found: Found, layout: str, learner: str, method: str) -> EfficiencyCurve:
    where = {"layout": layout, "learner": learner}
    cells = [*found.of("curves", **where, method=UNTRAINED), *found.of("curves", **where, method=method)]
    points = {int(cell["labels"]): figure(cell["returns"]) for cell in cells}
    oracle = next((figure(cell["returns"]) for cell in found.of("curves", **where, method=ORACLE)), None)
    return EfficiencyCurve(layout, learner, method, dict(sorted(points.items())), oracle)


@dataclass(frozen=True)
class Wish:
    """A teacher with a hidden utility, and what egos are worth to it."""

    layout: str
    wants: str
    learner: str
    method: str
    labels: int
    taught: Interval  # score under the utility of the ego that learned from this teacher
    paid: Interval | None  # of the ego that was given the utility as its reward
    by_return: Interval | None  # of the ego of the same learner on the reward of the curves' teachers
    rank_correlation: float | None  # of predicted and judged returns of segments that the ego played
    returns: Interval  # what the taught ego earns for the team
    events: Mapping[str, tuple[float, float | None]]  # it is about and that occur: per game, taught and paid by return


def wishes(found: Found) -> list[Wish]:
    """All teachers with hidden utilities, by layout."""
    out = []
    for layout in found.layouts("utilities"):
        for cell in found.of("utilities", layout):
            if cell["method"] != ORACLE:
                out.append(_wish(found, layout, cell))
    return out


def _wish(found: Found, layout: str, cell: Cell) -> Wish:
    wants, learner = cell["wants"], cell["learner"]
    paid = found.of("utilities", layout, wants=wants, method=ORACLE, learner=learner)
    plain = found.of("curves", layout, method=ORACLE, learner=learner)
    scores = [next((figure(one["scores"][wants]) for one in some), None) for some in (paid, plain)]
    names = [name for name, weight in UTILITIES[wants].weights.items() if weight]
    pairs = {name: (cell["events"][name], plain[0]["events"][name] if plain else None) for name in names}
    return Wish(
        layout=layout,
        wants=wants,
        learner=learner,
        method=cell["method"],
        labels=cell["labels"],
        taught=figure(cell["scores"][wants]),
        paid=scores[0],
        by_return=scores[1],
        rank_correlation=cell["training"].get("rank_correlation"),
        returns=figure(cell["returns"]),
        events={name: pair for name, pair in pairs.items() if any(pair)},
    )


def pipelines(found: Found) -> list[tuple[str, str, Interval, Cell]]:
    """Layout, name, return and cell of the three-step pipelines and of the imitation that they start from."""
    return [(layout, name, figure(cell["returns"]), cell) for (name, layout), cell in found.cells["rlhf"].items()]
