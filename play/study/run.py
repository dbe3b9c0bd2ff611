"""Leads a participant through a study, keeps every answer, and deletes a person on request.

Nothing here draws: screens ask `StudyRun.step` what to show, and hand back what the participant did. Where a
participant stands is stored with every answer in one transaction, so a crash or restart goes on at the same step;
only a game that was cut off is played again.

Orders are rows of a Williams square: every game comes in every position equally often, and follows every other equally
often (Williams 1949, "Experimental designs balanced for the estimation of residual effects of treatments").
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import secrets
import sqlite3
import string
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np

from coord.errors import UserError
from coord.preference.labels.store import LabelStore
from play.game.moments import beside
from play.game.record import Store, utc_now
from play.study.study_file import Block, Question, Study, load_study

__all__ = [
    "PlannedGame",
    "Question",
    "StudyStep",
    "Study",
    "StudyRun",
    "load_study",
    "plan_games",
    "unfinished",
    "williams",
    "withdraw",
]

NUM_SEATS = 2


@dataclass(frozen=True, kw_only=True)
class PlannedGame:
    """One game of a participant's plan. `label` is the blinded letter; show that, never `partner`."""

    round: int  # 0-based over the whole study
    block: str
    position: int  # 0-based within the block
    condition: int  # which of the block's conditions
    layout: str
    partner: str
    label: str
    seat: int  # of the participant
    ticks: int
    tick_hz: float
    rules: str
    stochastic: bool
    seed: int
    moments: bool = False  # whether moments of it may be compared afterwards


@dataclass(frozen=True, kw_only=True)
class StudyStep:
    """What the participant meets next.

    kind: "consent" (title, text), "text" (title, text), "questionnaire" (title, questions), "tutorial", "game" (see
    `game`), "break" (title, text, seconds), "done" (title, text with the completion code).
    """

    kind: str
    title: str = ""
    text: str = ""
    questions: tuple[Question, ...] = ()
    seconds: float = 0.0
    game: PlannedGame | None = None
    round: int | None = None  # of the game a questionnaire asks about


def williams(n: int) -> list[list[int]]:
    """Rows of a Williams square of n conditions: n rows if n is even, else 2n (the square and its mirror image).

    Every n consecutive rows hold each condition once in each position; over all rows each condition directly follows
    each other one equally often.
    """
    zigzag = [(i + 1) // 2 if i % 2 else (n - i // 2) % n for i in range(n)]  # 0, 1, n-1, 2, n-2, ...
    square = [[(first + row) % n for first in zigzag] for row in range(n)]
    return square if n % 2 == 0 else square + [row[::-1] for row in square]


def plan_games(study: Study, participant: str, slot: int) -> tuple[list[PlannedGame], dict[str, str]]:
    """All games of a participant in their order, and the blinded letter of each partner.

    slot: 0, 1, 2, ... over the participants of a study; balanced orders, seats and blocks follow from it. All else
    that is random follows from the participant's id.
    """
    rng = np.random.default_rng(_seed(study.sha256, participant))
    shuffled = rng.permutation(list(string.ascii_uppercase[: len(study.partners)]))
    letters = {partner: str(letter) for partner, letter in zip(study.partners, shuffled, strict=True)}
    block_rows = williams(len(study.blocks)) if study.blocks_order == "balanced" else [range(len(study.blocks))]
    games: list[PlannedGame] = []
    for number in block_rows[slot % len(block_rows)]:
        block = study.blocks[number]
        order = _order(block, slot, number, len(block_rows), rng)
        for position, condition in enumerate(order):
            layout, partner = block.conditions[condition]
            games.append(
                PlannedGame(
                    round=len(games),
                    block=block.name,
                    position=position,
                    condition=condition,
                    layout=layout,
                    partner=partner,
                    label=letters[partner],
                    seat=_seat(block, slot, condition, rng),
                    ticks=block.ticks,
                    tick_hz=block.tick_hz,
                    rules=block.rules,
                    stochastic=block.stochastic,
                    seed=int(rng.integers(2**31)),
                    moments=block.moments,
                )
            )
    return games, letters


def _order(block: Block, slot: int, number: int, num_block_rows: int, rng: np.random.Generator) -> Sequence[int]:
    """Order of a block's conditions.

    Each run of n participants gets the n rows of one Latin square, so that positions are balanced at every moment;
    where in the square a run starts, and which half of a mirrored square it gets, turns from cycle to cycle and from
    block to block, so that the order of one block is not tied to that of another or to the order of the blocks.
    """
    count = len(block.conditions)
    if block.order == "fixed":
        return range(count)
    if block.order == "random":
        return [int(condition) for condition in rng.permutation(count)]
    rows = williams(count)
    run, within = divmod(slot, count)
    cycle = slot // math.lcm(len(rows), num_block_rows)
    half = (run + cycle // count) % (len(rows) // count)
    return rows[half * count + (within + cycle + number) % count]


def _seat(block: Block, slot: int, condition: int, rng: np.random.Generator) -> int:
    if block.seat == "random":
        return int(rng.integers(NUM_SEATS))
    if block.seat != "alternate":
        return int(block.seat)
    # Per condition the seats alternate from participant to participant, and the pattern turns over after each
    # whole set of orders, so that a seat is not tied to an order.
    return (condition + slot + slot // len(williams(len(block.conditions)))) % NUM_SEATS


def _seed(*parts: str) -> int:
    return int.from_bytes(hashlib.sha256("/".join(parts).encode()).digest()[:8], "big")


def plan_steps(study: Study, games: Sequence[PlannedGame], code: str) -> list[StudyStep]:
    """The whole way of a participant."""
    steps = [StudyStep(kind="consent", title=study.title, text=study.consent)]
    if study.welcome:
        steps.append(StudyStep(kind="text", title=study.title, text=study.welcome))
    steps += _questionnaires(study, study.before)
    if study.tutorial:
        steps.append(StudyStep(kind="tutorial", title="Tutorial"))
    blocks = {block.name: block for block in study.blocks}
    for name in dict.fromkeys(game.block for game in games):
        steps += _block_steps(study, blocks[name], [game for game in games if game.block == name])
    steps += _questionnaires(study, study.after)
    return [*steps, StudyStep(kind="done", title="Thank you", text=f"You are done. Your completion code is {code}.")]


def _block_steps(study: Study, block: Block, games: Sequence[PlannedGame]) -> Iterator[StudyStep]:
    rest = StudyStep(kind="break", title="Break", text="Have a rest. Go on when you like.", seconds=block.break_s)
    if block.text:
        yield StudyStep(kind="text", title=block.name, text=block.text)
    for game in games:
        yield StudyStep(kind="game", title=f"Partner {game.label}", game=game, round=game.round)
        yield from _questionnaires(study, block.after_game, game)
        if block.break_every and (game.position + 1) % block.break_every == 0 and game is not games[-1]:
            yield rest
    yield from _questionnaires(study, block.after_block)
    if block.break_s and games[-1].block != study.blocks[-1].name:
        yield rest


def _questionnaires(study: Study, names: Sequence[str], game: PlannedGame | None = None) -> Iterator[StudyStep]:
    for name in names:
        title = "Questions" if game is None else f"About partner {game.label}"
        questions = study.questionnaires[name]
        yield StudyStep(kind="questionnaire", title=title, questions=questions, round=game.round if game else None)


class StudyRun:
    """One participant's way through a study, kept in the recordings file after every step.

    Attributes: study, participant (pseudonymous id), games (the plan), letters (partner -> blinded letter), declined.
    """

    def __init__(self, study: Study, store: Store, participant: str, slot: int, index: int) -> None:
        """Use `enrol` or `resume`."""
        self.study, self.participant, self.declined = study, participant, False
        self._store, self._index = store, index
        self.games, self.letters = plan_games(study, participant, slot)
        self._steps = plan_steps(study, self.games, completion_code(study, participant))

    @classmethod
    def enrol(cls, study: Study, store: Store) -> StudyRun:
        """A new participant with a random id and the lowest free slot of the balanced orders."""
        participant = f"p-{secrets.token_hex(4)}"
        with store.transaction() as connection:
            rows = connection.execute("SELECT slot FROM participants WHERE study_hash = ?", (study.sha256,))
            taken = {row[0] for row in rows}
            slot = next(slot for slot in range(len(taken) + 1) if slot not in taken)
            run = cls(study, store, participant, slot, 0)
            plan = json.dumps([dataclasses.asdict(game) for game in run.games])
            row = (participant, study.title, study.sha256, slot, plan, json.dumps(run.letters), 0, utc_now())
            connection.execute(
                "INSERT INTO participants (id, study, study_hash, slot, plan, letters, step, enrolled_utc) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                row,
            )
        return run

    @classmethod
    def resume(cls, study: Study, store: Store, participant: str) -> StudyRun:
        """Go on where `participant` stopped. UserError for an unknown id or a study file that has changed since."""
        row = store.connection.execute(
            "SELECT study_hash, slot, step FROM participants WHERE id = ?", (participant,)
        ).fetchone()
        if row is None:
            raise UserError(f"no participant '{participant}' in {store.path}")
        study_hash, slot, index = row
        if study_hash != study.sha256:
            raise UserError(f"{study.path} has changed since '{participant}' began: resume with the file of then")
        run = cls(study, store, participant, slot, index)
        run._skip_played_game()
        return run

    @property
    def step(self) -> StudyStep:
        """What to show now."""
        if self.declined:
            return StudyStep(kind="done", title="Thank you", text="You declined. Nothing about you was kept.")
        return self._steps[self._index]

    @property
    def progress(self) -> tuple[int, int]:
        """(steps done, steps in all)."""
        return self._index, len(self._steps) - 1

    def consent(self, accepted: bool) -> None:
        """Answer of the consent step; who declines is forgotten at once."""
        self._expect("consent")
        if not accepted:
            withdraw(self._store, self.participant)
            self.declined = True
            return
        with self._store.transaction() as connection:
            connection.execute(
                "UPDATE participants SET consent_utc = ?, consent_hash = ? WHERE id = ?",
                (utc_now(), self.study.consent_hash, self.participant),
            )
            self._advance(connection)
        self._store.make_durable()

    def submit(self, answers: Mapping[str, str | int | None], shown_s: float, now_s: float) -> None:
        """Answers of a questionnaire step by question id; shown_s, now_s: monotonic times of showing and handing in.

        UserError naming the first question that lacks an answer or has one that is not allowed; nothing is kept then.
        """
        step = self._expect("questionnaire")
        for question in step.questions:
            if wrong := question.check(answers.get(question.id)):
                raise UserError(wrong)
        given = [(one.id, answers.get(one.id)) for one in step.questions]
        took_ms = round((now_s - shown_s) * 1e3)
        rows = [
            (self.participant, self._index, step.round, name, json.dumps(value), utc_now(), took_ms)
            for name, value in given
            if value not in (None, "")
        ]
        with self._store.transaction() as connection:
            connection.executemany("INSERT INTO answers VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
            self._advance(connection)
        self._store.make_durable()

    def finish_game(self, game_id: int) -> None:
        """The game of the current step was played to its end, recorded for this participant and round."""
        step = self._expect("game")
        row = self._store.connection.execute(
            "SELECT participant, study_round, outcome FROM games WHERE id = ?", (game_id,)
        ).fetchone()
        if row != (self.participant, step.round, "finished"):
            raise UserError(f"game {game_id} is not round {step.round} of {self.participant}, played to its end")
        self._proceed()

    def proceed(self) -> None:
        """Leave a text, break or tutorial step."""
        self._expect("text", "break", "tutorial")
        self._proceed()

    def _expect(self, *kinds: str) -> StudyStep:
        if self.step.kind not in kinds:
            raise ValueError(f"the current step is a {self.step.kind}, not a {' or '.join(kinds)}")
        return self.step

    def _proceed(self) -> None:
        with self._store.transaction() as connection:
            self._advance(connection)

    def _advance(self, connection: sqlite3.Connection) -> None:
        self._index += 1
        connection.execute("UPDATE participants SET step = ? WHERE id = ?", (self._index, self.participant))
        if self.step.kind == "done":
            finished = (utc_now(), self.participant)
            connection.execute("UPDATE participants SET finished_utc = ? WHERE id = ?", finished)

    def _skip_played_game(self) -> None:
        """A crash between the end of a game and the note of it: the game is there, so it need not be played again."""
        if self.step.kind != "game":
            return
        row = self._store.connection.execute(
            "SELECT id FROM games WHERE participant = ? AND study_round = ? AND outcome = 'finished'",
            (self.participant, self.step.round),
        ).fetchone()
        if row is not None:
            self.finish_game(row[0])


def completion_code(study: Study, participant: str) -> str:
    """Proof of having finished, the same whenever it is asked for."""
    return f"{_seed(study.sha256, participant, 'done') % 16**8:08X}"


def unfinished(study: Study, store: Store) -> list[str]:
    """Participants of this study who can resume, newest first."""
    rows = store.connection.execute(
        "SELECT id FROM participants WHERE study_hash = ? AND finished_utc IS NULL ORDER BY enrolled_utc DESC",
        (study.sha256,),
    )
    return [row[0] for row in rows]


def withdraw(store: Store, participant: str) -> dict[str, int]:
    """Delete everything of that person, in the file, its log, and the label store beside it; how much of what went.

    UserError for an unknown id.
    """
    counts: dict[str, int] = {}
    with store.transaction() as connection:
        for table, column in (("answers", "participant"), ("games", "participant"), ("participants", "id")):
            deleted = connection.execute(f"DELETE FROM {table} WHERE {column} = ?", (participant,))
            counts[table] = deleted.rowcount
        if not any(counts.values()):
            raise UserError(f"no participant '{participant}' in {store.path}")
    store.scrub()
    if beside(store.path).is_file():
        with closing(LabelStore(beside(store.path))) as labels:
            counts["moments"] = labels.forget(participant)
    return counts
