"""What a study found: scores and ratings per partner, order effects, exclusions, as tables.

Method. The unit of sampling is the person: every interval is a 95 % percentile bootstrap in which participants are
drawn with replacement, each with all their games or answers, so that several games of one person do not pass for
independent ones; of one person there is no interval. Differences between partners are taken within participants who met
both. The order effect is the slope of score over round, with the means of participants and of (block, layout, partner)
cells taken out of both. Games of practice blocks and games that were broken off do not count; who is excluded follows
from the rules in the study file.
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
from coord.overcooked.recorded import GameHeader, RecordedGame
from coord.stats import cluster_bootstrap_ci
from play.game.record import Store
from play.study.plan import PlannedGame, completion_code
from play.study.study_file import Study

Row = dict[str, Any]
IDLE, COLLISION = EVENTS.index("idle"), EVENTS.index("collision")


@dataclass(frozen=True)
class StudyReport:
    """The tables of a study. Every row is a flat mapping; `games` and `answers` name the participant."""

    study: Study
    participants: list[Row]
    games: list[Row]  # finished ones
    interrupted: list[Row]  # games that were left or cut off; they were played again, and count for nothing
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
    games = _games(study, store, plans)
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
        interrupted=_interrupted(study, store, plans),
        answers=answers,
        scores=_in_file_order(study, _scores(counted)),
        differences=_differences(study, counted),
        ratings=_in_file_order(study, _ratings([row for row in answers if row["participant"] not in out])),
        order=_order(counted),
        order_slope=_order_slope(counted),
        others=others.fetchone()[0],
    )


def _participants(study: Study, store: Store) -> list[Row]:
    rows = store.connection.execute(
        "SELECT * FROM participants WHERE study_hash = ? AND consent_utc IS NOT NULL ORDER BY slot, enrolled_utc",
        (study.sha256,),
    )
    columns = [column[0] for column in rows.description]
    people = [_person(dict(zip(columns, row, strict=True))) for row in rows.fetchall()]
    attempts = _attempts(store)
    for one in people:
        one["comprehension_attempts"] = attempts.get(one["participant"], 0) + 1 if study.comprehension else None
        one["letters"] = json.dumps({study.partner_name(ref): letter for ref, letter in one["letters"].items()})
    return people


def _person(row: Mapping[str, Any]) -> Row:
    """One row of the table, from a row of the database; files of an earlier version lack code and station."""
    finished = row["finished_utc"]
    return {
        "participant": row["id"],
        "code": row.get("code", ""),
        "station": row.get("station", 1),
        "completion_code": completion_code(row["study_hash"], row["id"]) if finished else "",
        "slot": row["slot"],
        "letters": json.loads(row["letters"]),
        "plan": [PlannedGame(**game) for game in json.loads(row["plan"])],
        **{name: row[name] for name in ("enrolled_utc", "consent_utc", "consent_hash", "finished_utc")},
    }


def _attempts(store: Store) -> dict[str, int]:
    """The most wrong attempts of each participant at one comprehension check."""
    tables = store.connection.execute("SELECT name FROM sqlite_master WHERE name = 'attempts'").fetchall()
    if not tables:
        return {}
    rows = store.connection.execute("SELECT participant, max(attempt) FROM attempts GROUP BY participant")
    return dict(rows.fetchall())


def _games(study: Study, store: Store, plans: Mapping[str, Sequence[PlannedGame]]) -> list[Row]:
    """One row per finished game, in the order of participants and rounds."""
    found = [
        store.load(header) for header in store.games() if header.participant in plans and header.outcome == "finished"
    ]
    rows = [_game_row(study, game, plans[game.header.participant]) for game in found if is_mixed(game)]
    return sorted(rows, key=lambda row: (row["participant"], row["round"]))


def _game_row(study: Study, game: RecordedGame, plan: Sequence[PlannedGame]) -> Row:
    head = game.header
    assert head.study_round is not None  # the recorder of a study always says the round
    planned = plan[head.study_round]
    partner, person = events_by_role(game)
    return {
        **_where(study, head, planned),
        "checkpoint_sha256": head.seats[agent_seat(game)]["checkpoint_sha256"],
        "seat": planned.seat,
        "score": head.score,
        "idle_share_person": idle_share(person, head.ticks),
        "idle_share_partner": idle_share(partner, head.ticks),
        "collisions": int(person[COLLISION] + partner[COLLISION]),
        "miss_share": miss_share(game),
    }


def _where(study: Study, head: GameHeader, planned: PlannedGame) -> Row:
    """Whose game it is, and its place in their plan."""
    return {
        "participant": head.participant,
        "game": head.id,
        "round": planned.round,
        "block": planned.block,
        "position": planned.position,
        "layout": planned.layout,
        "partner": study.partner_name(planned.partner),
        "label": planned.label,
    }


def _interrupted(study: Study, store: Store, plans: Mapping[str, Sequence[PlannedGame]]) -> list[Row]:
    """One row per game that was left or cut off: how many of its ticks were played."""
    return [
        {
            **_where(study, head, plans[head.participant][head.study_round]),
            "outcome": head.outcome or "running",
            "ticks_played": head.ticks_played,
            "ticks": head.ticks,
            "score": head.score,
            "started_utc": head.started_utc,
        }
        for head in store.games()
        if head.participant in plans and head.study_round is not None and head.outcome != "finished"
    ]


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
                "partner": study.partner_name(planned.partner) if planned else "",
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
    attempts = person["comprehension_attempts"] or 0
    if rules.comprehension_attempts and attempts > rules.comprehension_attempts:
        return f"needed {attempts} attempts at a comprehension check"
    if rules.unfinished and person["finished_utc"] is None:
        return "did not finish"
    return ""


def _grouped(rows: Iterable[Row], *names: str) -> dict[tuple[Any, ...], list[Row]]:
    groups: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in rows:
        groups[tuple(row[name] for name in names)].append(row)
    return dict(groups)


def _estimate(rows: Sequence[Row], value: str) -> Row:
    """Mean of a column with its interval over participants; None where there is one participant to draw from."""
    values, people = [float(row[value]) for row in rows], [row["participant"] for row in rows]
    count = len(set(people))
    low, high = cluster_bootstrap_ci(values, people) if count > 1 else (None, None)
    return {"people": count, "n": len(values), "mean": float(np.mean(values)), "low": low, "high": high}


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
    names += [layout for block in study.blocks for layout in block.layouts]
    names += [study.partner_name(ref) for ref in study.partners]
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
        named = [study.partner_name(ref) for ref in study.partners]
        partners = [one for one in named if any(one == partner for partner, _ in means)]
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
    mean = float(top.sum() / bottom.sum())
    about: Row = {"people": len(people), "n": len(games), "mean": mean, "low": None, "high": None}
    if len(people) == 1:
        return about
    drawn = np.random.default_rng(0).integers(len(people), size=(4000, len(people)))
    tops, bottoms = top[drawn].sum(axis=1), bottom[drawn].sum(axis=1)
    slopes = tops[bottoms > 1e-9] / bottoms[bottoms > 1e-9]
    low, high = np.quantile(slopes, [0.025, 0.975])
    return {**about, "low": float(low), "high": float(high)}


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
