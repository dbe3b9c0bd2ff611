"""What a study found: scores and ratings per partner, order effects, exclusions, as tables.

Method. The unit of sampling is the person: every interval is a 95 % percentile bootstrap in which participants are
drawn with replacement, each with all their games or answers, so that several games of one person do not pass for
independent ones. Differences between partners are taken within participants who met both. The order effect is the
slope of score over round, with the means of participants and of (block, layout, partner) cells taken out of both.
Games of practice blocks do not count; who is excluded follows from the rules in the study file.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from coord.errors import UserError
from coord.evaluation.human_games import agent_seat, events_by_role, is_mixed, miss_share
from coord.overcooked import EVENTS
from coord.overcooked.recorded import RecordedGame
from coord.stats import cluster_bootstrap_ci
from play.game.record import Store
from play.study.run import PlannedGame
from play.study.study_file import Study

Row = dict[str, Any]
IDLE, COLLISION = EVENTS.index("idle"), EVENTS.index("collision")


@dataclass(frozen=True)
class StudyReport:
    """The tables of a study. Every row is a flat mapping; `games` and `answers` name the participant."""

    study: Study
    participants: list[Row]
    games: list[Row]
    answers: list[Row]
    scores: list[Row]  # per block, layout and partner
    differences: list[Row]  # per block and pair of partners
    ratings: list[Row]  # per Likert question and partner
    order: list[Row]  # mean score per round
    order_slope: Row | None
    others: int  # participants of another version of the file, who are not in any table


def make_report(study: Study, store: Store) -> StudyReport:
    """Read everything of this study and summarise it. UserError if nobody took part."""
    people = _participants(study, store)
    if not people:
        raise UserError(f"nobody took part in '{study.title}' yet (in {store.path})")
    plans = {one["participant"]: one.pop("plan") for one in people}
    games = _games(store, plans)
    answers = _answers(study, store, plans)
    practice = {block.name for block in study.blocks if block.practice}
    counted = [game for game in games if game["block"] not in practice]
    for one in people:
        one["excluded"] = _reason(study, one, counted, answers)
    out = {one["participant"] for one in people if one["excluded"]}
    counted = [game for game in counted if game["participant"] not in out]
    others = store.connection.execute(
        "SELECT count(*) FROM participants WHERE study = ? AND study_hash != ?", (study.title, study.sha256)
    )
    return StudyReport(
        study=study,
        participants=people,
        games=games,
        answers=answers,
        scores=_in_file_order(study, _scores(counted)),
        differences=_differences(study, counted),
        ratings=_in_file_order(study, _ratings([row for row in answers if row["participant"] not in out])),
        order=_order(counted),
        order_slope=_order_slope(counted),
        others=others.fetchone()[0],
    )


def _participants(study: Study, store: Store) -> list[Row]:
    names = ("id", "slot", "letters", "plan", "enrolled_utc", "consent_utc", "consent_hash", "finished_utc")
    rows = store.connection.execute(
        f"SELECT {', '.join(names)} FROM participants WHERE study_hash = ? AND consent_utc IS NOT NULL ORDER BY slot",
        (study.sha256,),
    )
    people = [dict(zip(("participant", *names[1:]), row, strict=True)) for row in rows]
    for one in people:
        one["plan"] = [PlannedGame(**game) for game in json.loads(one["plan"])]
    return people


def _games(store: Store, plans: Mapping[str, Sequence[PlannedGame]]) -> list[Row]:
    """One row per finished game, in the order of participants and rounds."""
    found = [
        store.load(header)
        for header in store.games()
        if header.participant in plans and header.outcome == "finished"
    ]
    rows = [_game_row(game, plans[game.header.participant]) for game in found if is_mixed(game)]
    return sorted(rows, key=lambda row: (row["participant"], row["round"]))


def _game_row(game: RecordedGame, plan: Sequence[PlannedGame]) -> Row:
    head = game.header
    assert head.study_round is not None  # the recorder of a study always says the round
    planned = plan[head.study_round]
    partner, person = events_by_role(game)
    return {
        "participant": head.participant,
        "game": head.id,
        "round": planned.round,
        "block": planned.block,
        "position": planned.position,
        "layout": planned.layout,
        "partner": planned.partner,
        "label": planned.label,
        "checkpoint_sha256": head.seats[agent_seat(game)]["checkpoint_sha256"],
        "seat": planned.seat,
        "score": head.score,
        "idle_share_person": idle_share(person, head.ticks),
        "idle_share_partner": idle_share(partner, head.ticks),
        "collisions": int(person[COLLISION] + partner[COLLISION]),
        "miss_share": miss_share(game),
    }


def idle_share(counts: np.ndarray, ticks: int) -> float:
    """Share of the ticks that a seat was idle, from its event counts."""
    return float(counts[IDLE]) / ticks


def _answers(study: Study, store: Store, plans: Mapping[str, Sequence[PlannedGame]]) -> list[Row]:
    questions = {one.id: one for items in study.questionnaires.values() for one in items}
    rows = store.connection.execute(
        "SELECT participant, step, study_round, question, value, response_ms FROM answers ORDER BY participant, step"
    )
    table = []
    for participant, step, study_round, question, value, response_ms in rows:
        if participant not in plans:
            continue
        planned = None if study_round is None else plans[participant][study_round]
        answer = json.loads(value)
        expect = questions[question].expect
        table.append(
            {
                "participant": participant,
                "step": step,
                "round": study_round,
                "block": planned.block if planned else "",
                "layout": planned.layout if planned else "",
                "partner": planned.partner if planned else "",
                "question": question,
                "kind": questions[question].kind,
                "answer": answer,
                "check": "" if not expect else "passed" if str(answer) == expect else "failed",
                "response_ms": response_ms,
            }
        )
    return table


def _reason(study: Study, person: Row, games: Sequence[Row], answers: Sequence[Row]) -> str:
    """Why a participant does not count; "" if they do."""
    who, rules = person["participant"], study.exclude
    failed = sum(one["check"] == "failed" for one in answers if one["participant"] == who)
    idle = [game["idle_share_person"] for game in games if game["participant"] == who]
    if rules.failed_checks and failed >= rules.failed_checks:
        return f"failed {failed} attention checks"
    if idle and np.mean(idle) > rules.idle_share:
        return f"idle in {np.mean(idle):.0%} of the ticks"
    if rules.unfinished and person["finished_utc"] is None:
        return "did not finish"
    return ""


def _grouped(rows: Iterable[Row], *names: str) -> dict[tuple[Any, ...], list[Row]]:
    groups: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in rows:
        groups[tuple(row[name] for name in names)].append(row)
    return dict(groups)


def _estimate(rows: Sequence[Row], value: str) -> Row:
    """Mean of a column with its interval over participants."""
    values, people = [float(row[value]) for row in rows], [row["participant"] for row in rows]
    low, high = cluster_bootstrap_ci(values, people)
    return {"people": len(set(people)), "n": len(values), "mean": float(np.mean(values)), "low": low, "high": high}


def _scores(games: Sequence[Row]) -> list[Row]:
    return [
        {
            "block": block,
            "layout": layout,
            "partner": partner,
            **_estimate(group, "score"),
            **{name: float(np.mean([row[name] for row in group])) for name in BEHAVIOUR},
        }
        for (block, layout, partner), group in _grouped(games, "block", "layout", "partner").items()
    ]


BEHAVIOUR = ("idle_share_person", "idle_share_partner", "collisions", "miss_share")


def _in_file_order(study: Study, rows: list[Row]) -> list[Row]:
    """Rows sorted by block, question, layout and partner, each in the order of the study file."""
    names = [block.name for block in study.blocks]
    names += [one.id for items in study.questionnaires.values() for one in items]
    names += [layout for block in study.blocks for layout in block.layouts] + study.partners
    place = {name: i for i, name in reversed(list(enumerate(names)))}
    keys = ("block", "question", "layout", "partner")
    return sorted(rows, key=lambda row: [place[row[key]] for key in keys if key in row])


def _differences(study: Study, games: Sequence[Row]) -> list[Row]:
    """Mean score with one partner minus that with another, within each participant."""
    table = []
    for (block,), group in _grouped(games, "block").items():
        means = {
            key: float(np.mean([row["score"] for row in rows]))
            for key, rows in _grouped(group, "partner", "participant").items()
        }
        partners = [one for one in study.partners if any(one == partner for partner, _ in means)]
        for one, other in combinations(partners, 2):
            pairs = [
                {"participant": who, "gain": score - means[other, who]}
                for (partner, who), score in means.items()
                if partner == one and (other, who) in means
            ]
            if pairs:
                table.append({"block": block, "partner": one, "minus": other, **_estimate(pairs, "gain")})
    return table


def _ratings(answers: Sequence[Row]) -> list[Row]:
    """Mean answer per Likert question and partner, for questions about a game."""
    likert = [row for row in answers if row["kind"] == "likert" and row["partner"]]
    return [
        {"question": question, "partner": partner, **_estimate(group, "answer")}
        for (question, partner), group in _grouped(likert, "question", "partner").items()
    ]


def _order(games: Sequence[Row]) -> list[Row]:
    groups = _grouped(games, "round")
    return [{"round": key[0], **_estimate(groups[key], "score")} for key in sorted(groups)]


def _order_slope(games: Sequence[Row]) -> Row | None:
    """Points per round by which scores rise, with what was met and who met it taken out."""
    if len({game["round"] for game in games}) < 2:
        return None
    score = _residuals([float(game["score"]) for game in games], games)
    place = _residuals([float(game["round"]) for game in games], games)
    people = sorted({game["participant"] for game in games})
    index = np.array([people.index(game["participant"]) for game in games])
    top, bottom = np.bincount(index, score * place), np.bincount(index, place**2)  # per person
    if bottom.sum() < 1e-9:
        return None
    drawn = np.random.default_rng(0).integers(len(people), size=(4000, len(people)))
    tops, bottoms = top[drawn].sum(axis=1), bottom[drawn].sum(axis=1)
    slopes = tops[bottoms > 1e-9] / bottoms[bottoms > 1e-9]
    low, high = np.quantile(slopes, [0.025, 0.975])
    mean = float(top.sum() / bottom.sum())
    return {"people": len(people), "n": len(games), "mean": mean, "low": float(low), "high": float(high)}


def _residuals(values: Sequence[float], games: Sequence[Row], sweeps: int = 50) -> np.ndarray:
    """[n] values after the means of participants and of (block, layout, partner) cells are taken out in turn."""
    left = np.array(values)
    factors = []
    for names in (("participant",), ("block", "layout", "partner")):
        keys = [tuple(game[name] for name in names) for game in games]
        levels = {key: i for i, key in enumerate(dict.fromkeys(keys))}
        factors.append(np.array([levels[key] for key in keys]))
    for _ in range(sweeps):
        for factor in factors:
            left = left - (np.bincount(factor, left) / np.bincount(factor))[factor]
    return left


# ------------------------------------------------------------------------------------------------- writing
