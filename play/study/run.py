"""Leads a participant through a study, keeps every answer, and deletes a person on request.

Nothing here draws: screens ask `StudyRun.step` what to show, and hand back what the participant did. Where a
participant stands is stored with every answer in one transaction, so a crash or restart goes on at the same step;
only a game that was cut off is played again.
"""

from __future__ import annotations

import dataclasses
import json
import re
import secrets
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

from coord.errors import UserError
from coord.preference.labels.store import LabelStore
from play.game.moments import beside
from play.game.record import Store, utc_now
from play.study.plan import PlannedGame, StudyStep, completion_code, plan_games, plan_steps, williams
from play.study.study_file import Question, Study, load_study

__all__ = [
    "ONE_STATION",
    "PlannedGame",
    "Question",
    "Station",
    "Study",
    "StudyRun",
    "StudyStep",
    "WrongAnswer",
    "called",
    "find",
    "load_study",
    "plan_games",
    "unfinished",
    "williams",
    "withdraw",
]

CODE = re.compile(r"[\w.-]{1,40}")
OWN = re.compile(r"p-[0-9a-f]{8}", re.IGNORECASE)  # what `enrol` gives out


@dataclass(frozen=True)
class Station:
    """One of a lab's computers, 1..count; each hands out its share of the balanced orders."""

    number: int = 1
    count: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.count:
            raise UserError(f"station={self.number}: must be from 1 to stations={self.count}")


ONE_STATION = Station()


class WrongAnswer(UserError):
    """An answer that is missing or not allowed; `question` is the id of what it was to answer."""

    def __init__(self, question: Question, problem: str) -> None:
        super().__init__(f'"{question.text}" {problem}')
        self.question = question.id


class StudyRun:
    """One participant's way through a study, kept in the recordings file after every step.

    Attributes: study, participant (pseudonymous id), slot (row of the balanced orders), games (the plan), letters
    (partner -> blinded letter), declined.
    """

    def __init__(self, study: Study, store: Store, participant: str, slot: int, index: int) -> None:
        """Use `enrol` or `resume`."""
        self.study, self.participant, self.slot, self.declined = study, participant, slot, False
        self._store, self._index = store, index
        self.games, self.letters = plan_games(study, participant, slot)
        self._steps = plan_steps(study, self.games, participant)

    @classmethod
    def enrol(cls, study: Study, store: Store, *, code: str = "", station: Station = ONE_STATION) -> StudyRun:
        """A new participant with a random id and the lowest free slot of the balanced orders that is this station's.

        code: what the lab calls the participant. UserError if it is no code, or somebody of this study has it.
        """
        participant, code = f"p-{secrets.token_hex(4)}", code.strip()
        if code and (not CODE.fullmatch(code) or OWN.fullmatch(code)):
            raise UserError(f"'{code}' is no participant code: 1 to 40 letters, digits, dots and dashes, not p-...")
        with store.transaction() as connection:
            rows = connection.execute("SELECT slot, code FROM participants WHERE study_hash = ?", (study.sha256,))
            taken = dict(rows.fetchall())
            if code and code.casefold() in [(other or "").casefold() for other in taken.values()]:
                raise UserError(f"participant code '{code}' is taken: the experimenter can resume or withdraw it")
            slot = next(slot for slot in range(station.number - 1, 10**9, station.count) if slot not in taken)
            run = cls(study, store, participant, slot, 0)
            connection.execute(
                "INSERT INTO participants (id, study, study_hash, slot, plan, letters, step, enrolled_utc, code, "
                "station) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (*run._origin(), utc_now(), code, station.number),
            )
        return run

    def _origin(self) -> tuple[str | int, ...]:
        """id .. step of a new row."""
        plan = json.dumps([dataclasses.asdict(game) for game in self.games])
        study = self.study
        return (self.participant, study.title, study.sha256, self.slot, plan, json.dumps(self.letters), 0)

    @classmethod
    def resume(cls, study: Study, store: Store, word: str) -> StudyRun:
        """Go on where a participant stopped; `word` is an id or code, see `find`.

        UserError for nobody, or a study file that has changed since.
        """
        participant = find(store, word)
        row = store.connection.execute(
            "SELECT study_hash, slot, step FROM participants WHERE id = ?", (participant,)
        ).fetchone()
        study_hash, slot, index = row
        if study_hash != study.sha256:
            raise UserError(f"{study.path} has changed since '{word}' began: resume with the file of then")
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

    def submit(self, answers: Mapping[str, str | int | None], shown_s: float, now_s: float) -> tuple[Question, ...]:
        """Answers of a questionnaire by question id; shown_s, now_s: monotonic times of showing and handing in.

        Returns: questions of a comprehension check that were answered wrongly; the attempt is kept, and the step stays.
        WrongAnswer for the first question that lacks an answer or has one that is not allowed; nothing is kept then.
        """
        step = self._expect("questionnaire", "comprehension")
        for question in step.questions:
            if wrong := question.problem(answers.get(question.id)):
                raise WrongAnswer(question, wrong)
        mistaken = tuple(one for one in step.questions if not one.is_right(answers.get(one.id)))
        if step.kind == "comprehension" and mistaken:
            self._keep_attempt(answers)
            return mistaken
        took_ms = round((now_s - shown_s) * 1e3)
        rows = [
            (self.participant, self._index, step.round, name, json.dumps(value), utc_now(), took_ms)
            for name, value in self._given(answers)
        ]
        with self._store.transaction() as connection:
            connection.executemany("INSERT INTO answers VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
            self._advance(connection)
        self._store.make_durable()
        return ()

    def _given(self, answers: Mapping[str, str | int | None]) -> list[tuple[str, str | int]]:
        """(question id, answer) of what was answered of the current step."""
        given = [(one.id, answers.get(one.id)) for one in self.step.questions]
        return [(name, value) for name, value in given if value is not None and value != ""]

    def _keep_attempt(self, answers: Mapping[str, str | int | None]) -> None:
        with self._store.transaction() as connection:
            (number,) = connection.execute(
                "SELECT coalesce(max(attempt), 0) + 1 FROM attempts WHERE participant = ? AND step = ?",
                (self.participant, self._index),
            ).fetchone()
            connection.executemany(
                "INSERT INTO attempts VALUES (?, ?, ?, ?, ?, ?)",
                [
                    (self.participant, self._index, number, name, json.dumps(value), utc_now())
                    for name, value in self._given(answers)
                ],
            )
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


def unfinished(study: Study, store: Store) -> list[str]:
    """Participants of this study who can resume, newest first."""
    rows = store.connection.execute(
        "SELECT id FROM participants WHERE study_hash = ? AND finished_utc IS NULL ORDER BY enrolled_utc DESC",
        (study.sha256,),
    )
    return [row[0] for row in rows]


def called(store: Store, participant: str) -> str:
    """The participant's number, with the code of the lab's if there is one."""
    (code,) = store.connection.execute("SELECT code FROM participants WHERE id = ?", (participant,)).fetchone()
    return f"{code} ({participant})" if code else participant


def find(store: Store, word: str) -> str:
    """The participant's id that `word` stands for: an id, a code of the lab's, or a completion code.

    UserError for none, and for a code that several people have (of several studies in one file).
    """
    wanted = word.strip().casefold()
    rows = store.connection.execute("SELECT * FROM participants")
    names = [column[0] for column in rows.description]
    people = [dict(zip(names, row, strict=True)) for row in rows]
    found = [one["id"] for one in people if wanted and wanted in _words_for(one)]
    if not found:  # games alone are left, say of a file that was put together by hand
        games = store.connection.execute("SELECT DISTINCT participant FROM games WHERE participant <> ''")
        found = [who for (who,) in games if who.casefold() == wanted]
    if not found:
        raise UserError(f"no participant '{word.strip()}' in {store.path}: say the number or the code of the last page")
    if len(found) > 1:
        raise UserError(f"'{word.strip()}' stands for {len(found)} participants ({', '.join(found)}): say the number")
    return str(found[0])


def _words_for(person: Mapping[str, str | None]) -> Sequence[str]:
    """What a row of the table participants may be called."""
    proof = completion_code(str(person["study_hash"]), str(person["id"]))
    return [str(one).casefold() for one in (person["id"], proof, person.get("code")) if one]


def withdraw(store: Store, word: str) -> dict[str, int]:
    """Delete everything of a person, in the file, its log, and the label store beside it; how much of what went.

    word: an id or code, see `find`. UserError for nobody.
    """
    participant = find(store, word)
    counts: dict[str, int] = {}
    with store.transaction() as connection:
        connection.execute("DELETE FROM attempts WHERE participant = ?", (participant,))
        for table, column in (("answers", "participant"), ("games", "participant"), ("participants", "id")):
            deleted = connection.execute(f"DELETE FROM {table} WHERE {column} = ?", (participant,))
            counts[table] = deleted.rowcount
    store.scrub()
    if beside(store.path).is_file():
        with closing(LabelStore(beside(store.path))) as labels:
            counts["moments"] = labels.forget(participant)
    return counts
