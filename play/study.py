"""A study is one YAML file; this leads a participant through it, keeps every answer, and reports.

Nothing here draws: screens ask `StudyRun.step` what to show, and hand back what the participant did.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from play.record import Store


@dataclass(frozen=True)
class Question:
    """One item. kind: "likert" (answers 1..points), "choice" (one of options), "text" (free)."""

    id: str
    kind: str
    text: str
    options: tuple[str, ...] = ()
    points: int = 7
    low: str = ""  # words at the ends of a Likert scale
    high: str = ""
    required: bool = True
    expect: str = ""  # attention check: the right answer


@dataclass(frozen=True)
class Step:
    """What the participant meets next.

    kind "consent" (text), "text" (title, text), "questionnaire" (title, questions), "tutorial", "game" (see `game`),
    "break" (title, text, seconds), "done" (text with the completion code).
    """

    index: int
    kind: str
    title: str = ""
    text: str = ""
    questions: tuple[Question, ...] = ()
    seconds: float = 0.0
    game: PlannedGame | None = None


@dataclass(frozen=True)
class PlannedGame:
    """One game of a participant's plan. `label` is the blinded letter; show that, never `partner`."""

    round: int  # 0-based over the whole study
    block: str
    position: int  # 0-based within the block
    layout: str
    partner: str
    label: str
    seat: int
    ticks: int
    tick_hz: float
    rules: str
    stochastic: bool
    seed: int


@dataclass(frozen=True)
class Study:
    """A checked study file."""

    title: str
    path: Path


def load_study(path: str | Path) -> Study:
    """Read and check. UserError "<file>:<line>: <field>: <what is wrong>; allowed: ..."."""
    raise NotImplementedError


class StudyRun:
    """One participant's way through a study, kept in the recordings file after every step.

    A crash or restart resumes at the same step; a game that was cut off is played again.
    """

    participant: str
    letters: dict[str, str]

    @classmethod
    def enrol(cls, study: Study, store: Store) -> StudyRun:
        """A new participant with a random id and the least used order."""
        raise NotImplementedError

    @classmethod
    def resume(cls, study: Study, store: Store, participant: str) -> StudyRun:
        """Go on where `participant` stopped. UserError for an unknown id or a changed study file."""
        raise NotImplementedError

    @property
    def step(self) -> Step:
        """What to show now."""
        raise NotImplementedError

    @property
    def progress(self) -> tuple[int, int]:
        """(steps done, steps in all)."""
        raise NotImplementedError

    def consent(self, accepted: bool) -> None:
        """Answer of the consent step; declining ends the study at once and keeps nothing but the refusal's count."""
        raise NotImplementedError

    def submit(self, answers: dict[str, str | int], shown_s: float, now_s: float) -> None:
        """Answers of a questionnaire step. UserError if a required one is missing or one is not allowed."""
        raise NotImplementedError

    def finish_game(self, game_id: int) -> None:
        """The game of the current step was played to its end."""
        raise NotImplementedError

    def proceed(self) -> None:
        """Leave a text, break or tutorial step."""
        raise NotImplementedError


def unfinished(study: Study, store: Store) -> list[str]:
    """Participants of this study who can resume."""
    raise NotImplementedError


def withdraw(store: Store, participant: str) -> dict[str, int]:
    """Delete everything of that person, beyond recovery; rows deleted per table. UserError for an unknown id."""
    raise NotImplementedError
