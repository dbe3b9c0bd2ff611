"""Leading a participant through a study: consent, questionnaires, games with blinded partners, breaks, the end."""

from __future__ import annotations

import math
from collections.abc import Callable, Sized
from functools import partial

import pygame

from coord.errors import UserError
from play.game.cast import Cast
from play.game.moments import is_offered
from play.game.session import Session
from play.game.settings import GameChoice
from play.screens.base import FormScreen, message
from play.screens.host import Host
from play.screens.ways import BACK, HOME, Open, Replace, ToGame, ToMoments, ToTutorial
from play.study.run import Question, StudyRun, StudyStep, WrongAnswer
from play.view import theme
from play.view.events import UiEvent
from play.view.form import Form
from play.view.frame import banner, draw_frame
from play.view.hud import clock_text, whole_points
from play.view.widgets import Button, Likert, Radio, Space, Text, TextField, Widget


class StudyScreen:
    """Shows the step a participant has reached, and hands back what they did."""

    def __init__(self, app: Host, run: StudyRun):
        self.app, self.run = app, run
        self.problem = ""
        self._now_s = app.clock()
        self._show()

    @property
    def name(self) -> str:
        """Which kind of step."""
        return f"study, {self.step.kind}"

    @property
    def page(self) -> object:
        """Changes with the step: keys of one must not answer the next."""
        return self.run.progress

    @property
    def lively(self) -> bool:
        """A break shows a running clock."""
        return self.step.kind == "break"

    def _show(self) -> None:
        """Take up the next step."""
        self.step: StudyStep = self.run.step
        self.answers: dict[str, str | int] = {}
        self._shown_s = self.app.clock()
        self._rows_of: dict[str, int] = {}  # question id -> its row
        rows = BUILDERS[self.step.kind](self)
        self.form = Form(rows, -1 if self.step.kind == "consent" else None, width=720)  # nobody agrees by a slip
        self.app.redraw()

    def _do(self, act: Callable[[], None], keeps: Sized = ()) -> None:
        """Hand something to the study and go on to what it asks for next, unless `keeps` is no longer empty."""
        try:
            act()
        except UserError as err:
            self.problem = str(err)
            if isinstance(err, WrongAnswer):
                self.form.go_to(self._rows_of[err.question])
            return
        self.problem = ""
        if not keeps:
            self._show()

    # -- steps -----------------------------------------------------------------------------------------------------

    def consent_rows(self) -> list[Widget]:
        return [
            Text(self.step.text),
            Space(16),
            Button("I agree and take part", lambda: self._do(lambda: self.run.consent(True))),
            Button("I do not agree", lambda: self._do(lambda: self.run.consent(False))),
        ]

    def text_rows(self) -> list[Widget]:
        return [Text(self.step.text), Space(16), Button("Go on", lambda: self._do(self.run.proceed))]

    def tutorial_rows(self) -> list[Widget]:
        text = self.step.text or "First a short tutorial. Take your time; nothing of it is kept."
        return [Text(text), Space(16), Button("Begin", self._tutorial)]

    def game_rows(self) -> list[Widget]:
        game = self.step.game
        assert game is not None
        length = clock_text(game.ticks / game.tick_hz)
        text = self.step.text or f"Next you cook with Partner {game.label}, for {length}."
        return [Text(text, theme.HEAD, center=True), Space(16), Button("Begin", self._play)]

    def question_rows(self) -> list[Widget]:
        rows: list[Widget] = []
        if self.step.kind == "comprehension" and self.run.study.welcome:
            rows = [Text(self.run.study.welcome, color=theme.MUTED), Space()]
        for question in self.step.questions:
            own = self._question(question)
            self._rows_of[question.id] = len(rows) + len(own) - 1
            rows += own
        return [*rows, Space(), Button("Hand in", self._hand_in)]

    def break_rows(self) -> list[Widget]:
        return [Text(self.step.text or "Time for a short break."), Space(16), Button("Go on", self._after_break)]

    def done_rows(self) -> list[Widget]:
        step = self.step
        rows: list[Widget] = [Text(step.text, theme.HEAD, center=True), Space()]
        if step.participant:
            rows += [
                Text(f"Your number: {step.participant}", theme.HEAD, center=True),
                Text(f"Your completion code: {step.code}", theme.HEAD, center=True),
                Text(KEEP_THEM, color=theme.MUTED, center=True),
                Space(16),
            ]
        return [*rows, Button("Close", partial(self.app.go, HOME))]

    def _question(self, question: Question) -> list[Widget]:
        def answer(value: str | int) -> None:
            self.answers[question.id] = value

        text = question.text if question.required else f"{question.text} (may be left out)"
        if question.kind == "likert":
            return [Likert(text, question.points, question.low, question.high, 0, answer)]
        if question.kind == "choice":
            return [Radio(text, question.options, lambda i: answer(question.options[i]))]
        return [Text(text), TextField("", "", answer, limit=2000, lines=3)]

    def _hand_in(self) -> None:
        given = {name: value for name, value in self.answers.items() if value != ""}
        mistaken: list[Question] = []
        step = self.step
        self._do(lambda: mistaken.extend(self.run.submit(given, self._shown_s, self.app.clock())), keeps=mistaken)
        if mistaken and step is self.step:
            self.problem = f'Not right yet: "{mistaken[0].text}" Read again, and have another try.'
            self.form.go_to(self._rows_of[mistaken[0].id])

    def _after_break(self) -> None:
        if self._break_left() <= 0:
            self._do(self.run.proceed)

    def _break_left(self) -> float:
        return self.step.seconds - (self._now_s - self._shown_s)

    def _tutorial(self) -> None:
        def done() -> None:
            self.app.go(BACK)
            self._do(self.run.proceed)

        self.app.go(Open(ToTutorial(done, self.step.must_pass)))

    def _play(self) -> None:
        game = self.step.game
        assert game is not None
        choice = GameChoice(
            layout=game.layout, partner=game.partner, stochastic=game.stochastic, seat=game.seat,
            ticks=game.ticks, tick_hz=game.tick_hz, rules=game.rules, blinded=True,
        )  # fmt: skip
        cast = Cast(choice, f"Partner {game.label}", game.seed, (game.seat,), self.run.participant, game.round)
        self.app.go(Open(ToGame(choice, cast, self._after_game)))

    def _after_game(self, session: Session) -> None:
        game = self.step.game
        assert game is not None
        game_id, score = session.game_id, whole_points(session.score)
        self.app.go(BACK)
        if game_id is None or session.recording_error:
            self.problem = f"this game was not recorded and is to be played again: {session.recording_error}"
            return
        self._do(lambda: self.run.finish_game(game_id))
        ways: list[tuple[str, Callable[[], None]]] = [("Go on", partial(self.app.go, BACK))]
        if game.moments and is_offered(session):
            ways.append(("Which moment was better?", lambda: self._compare(game_id)))
        self.app.go(Open(message(self.app, f"{score} points", "Thank you.", ways)))

    def _compare(self, game_id: int) -> None:
        """In place of the page with the score: whoever comes back goes on with the study."""
        self.app.go(Replace(ToMoments(game_id, self.run.participant)))

    # -- screen ----------------------------------------------------------------------------------------------------

    def handle(self, event: UiEvent) -> None:
        if self.form.handle(event):
            return
        if event.nav == "confirm" and self.form.focus >= 0:  # an answer is given already: on to the next question
            self.form.handle(UiEvent("press", "down"))
        elif event.nav == "back":
            is_over = self.step.kind == "done"
            self.app.go(HOME if is_over else Open(leave_screen(self.app, self.run.participant)))

    def update(self, now_s: float) -> None:
        """The break's clock runs."""
        self._now_s = now_s

    def draw(self, surface: pygame.Surface) -> None:
        ui = self.app.ui
        hints = (("Up Down", "choose"), ("Left Right", "answer"), ("Enter", "take"), ("Esc", "leave"))
        area = draw_frame(surface, ui, self.step.title or TITLES[self.step.kind], hints, self.problem)
        done, total = self.run.progress
        bar = pygame.Rect(0, 0, ui.size[0] * done // max(1, total), ui.px(4))
        surface.fill(theme.RAISED, pygame.Rect(0, 0, ui.size[0], ui.px(4)))
        surface.fill(theme.ORANGE, bar)
        self.form.draw(surface, ui, area)
        if self.step.kind == "break" and self._break_left() > 0:
            banner(surface, ui, f"Go on in {clock_text(math.ceil(self._break_left()))}", area.top, theme.ORANGE)

    def close(self) -> None:
        """Every step is kept as it is done; nothing is open."""


BUILDERS: dict[str, Callable[[StudyScreen], list[Widget]]] = {
    "consent": StudyScreen.consent_rows,
    "text": StudyScreen.text_rows,
    "tutorial": StudyScreen.tutorial_rows,
    "game": StudyScreen.game_rows,
    "questionnaire": StudyScreen.question_rows,
    "comprehension": StudyScreen.question_rows,
    "break": StudyScreen.break_rows,
    "done": StudyScreen.done_rows,
}
TITLES = {
    "consent": "Before we begin", "text": "Please read", "tutorial": "Tutorial", "game": "Next game",
    "questionnaire": "Questions", "comprehension": "Before you play", "break": "Break", "done": "Thank you",
}  # fmt: skip


KEEP_THEM = "Please note them. With either of them you can have everything about you deleted, at any time."


def leave_screen(app: Host, participant: str) -> FormScreen:
    """Ask before a participant leaves."""
    ways = [("Stay", partial(app.go, BACK)), ("Leave", partial(app.go, HOME))]
    text = (
        f"What was done so far is kept. With your number, {participant}, the study can be taken up again, or everything"
        " about you deleted."
    )
    return message(app, "Leave the study?", text, ways)
