"""Leading a participant through a study: consent, questionnaires, games with blinded partners, breaks, the end."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pygame

from coord.errors import UserError
from play.game.cast import Cast
from play.game.moments import is_offered
from play.game.session import Session
from play.game.settings import GameChoice
from play.screens.base import FormScreen, message
from play.screens.host import Host
from play.screens.ways import BACK, HOME, Open, Replace, Screen, ToGame, ToMoments, ToStudy, ToTutorial
from play.study.run import Question, Study, StudyRun, StudyStep, load_study, unfinished, withdraw
from play.view import theme
from play.view.events import UiEvent
from play.view.form import Form
from play.view.frame import banner, draw_frame
from play.view.hud import clock_text, whole_points
from play.view.widgets import Button, Choice, Likert, Space, Text, TextField, Widget

CHOOSE = "please choose"


def study_menu(app: Host) -> Screen:
    """Open a study file by name."""
    wish = {"file": app.settings.study or _first_file()}

    def start() -> None:
        app.change(study=wish["file"])
        app.go(Open(ToStudy(Path(wish["file"]).expanduser())))

    def build() -> Sequence[Widget]:
        return [
            Text("A study is one file that leads a person through consent, games and questions.", color=theme.MUTED),
            TextField("Study file", wish["file"], lambda text: wish.update(file=text)),
            Button("Open", start),
            Button("Back", partial(app.go, BACK)),
        ]

    return FormScreen(app, "Study", build)


def _first_file() -> str:
    """A study file that lies close by, else the example that ships, as a suggestion."""
    nearby = sorted(Path.cwd().glob("*study*.y*ml"))
    shipped = importlib.util.find_spec("configs")
    folders = shipped.submodule_search_locations if shipped else None
    examples = sorted(Path(folders[0]).glob("study/*.yaml")) if folders else []
    return str(next(iter([*nearby, *examples]), ""))


def study_screen(app: Host, path: Path, *, allow_code: bool = False) -> Screen:
    """The first page of a study, or why it cannot be run."""
    store = app.preloader.store()
    if store is None:  # a study without a record is no study
        return message(app, "Nothing can be recorded", app.preloader.problem)
    try:
        study = load_study(path, allow_code=allow_code)
        waiting = unfinished(study, store)
    except UserError as err:
        return message(app, "This study cannot be opened", str(err))

    def build() -> Sequence[Widget]:
        rows: list[Widget] = [Button("New participant", lambda: _begin(app, study))]
        rows += [Button(f"Go on as {who}", partial(_resume, app, study, who)) for who in waiting]
        return [
            *rows,
            Button("Withdraw a participant", lambda: app.go(Open(withdraw_screen(app)))),
            Button("Back", partial(app.go, BACK)),
        ]

    return FormScreen(app, study.title, build)


def _begin(app: Host, study: Study) -> None:
    _guarded(app, lambda: StudyScreen(app, StudyRun.enrol(study, app.preloader.store())))


def _resume(app: Host, study: Study, who: str) -> None:
    _guarded(app, lambda: StudyScreen(app, StudyRun.resume(study, app.preloader.store(), who)))


def _guarded(app: Host, make: Callable[[], Screen]) -> None:
    try:
        screen = make()
    except UserError as err:
        app.go(Open(message(app, "This study cannot go on", str(err))))
        return
    app.go(Replace(screen))


def withdraw_screen(app: Host) -> FormScreen:
    """Delete all that is kept of one participant."""
    wish = {"who": ""}

    def delete() -> None:
        store = app.preloader.store()
        assert store is not None
        try:
            gone = withdraw(store, wish["who"].strip())
        except UserError as err:
            app.go(Open(message(app, "Nothing was deleted", str(err))))
            return
        app.go(Replace(message(app, "Deleted", ", ".join(f"{count} {table}" for table, count in gone.items()))))

    def build() -> Sequence[Widget]:
        return [
            Text("Everything kept of this person is deleted for good: games, answers and consent.", color=theme.MUTED),
            TextField("Participant's id", wish["who"], lambda text: wish.update(who=text)),
            Button("Delete it all", delete, note="cannot be undone", color=theme.ALERT),
            Button("Back", partial(app.go, BACK)),
        ]

    return FormScreen(app, "Withdraw", build)


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
    def lively(self) -> bool:
        """A break shows a running clock."""
        return self.step.kind == "break"

    def _show(self) -> None:
        """Take up the next step."""
        self.step: StudyStep = self.run.step
        self.answers: dict[str, str | int] = {}
        self._shown_s = self.app.clock()
        self.form = Form(BUILDERS[self.step.kind](self), width=720)
        self.app.redraw()

    def _do(self, act: Callable[[], None]) -> None:
        """Hand something to the study and go on to what it asks for next."""
        try:
            act()
        except UserError as err:
            self.problem = str(err)
            return
        self.problem = ""
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
        rows = [row for question in self.step.questions for row in self._question(question)]
        return [*rows, Space(), Button("Hand in", self._hand_in)]

    def break_rows(self) -> list[Widget]:
        return [Text(self.step.text or "Time for a short break."), Space(16), Button("Go on", self._after_break)]

    def done_rows(self) -> list[Widget]:
        return [Text(self.step.text, theme.HEAD, center=True), Space(16), Button("Close", partial(self.app.go, HOME))]

    def _question(self, question: Question) -> list[Widget]:
        def answer(value: str | int) -> None:
            self.answers[question.id] = value

        text = question.text if question.required else f"{question.text} (may be left out)"
        if question.kind == "likert":
            return [Likert(text, question.points, question.low, question.high, 0, answer)]
        if question.kind == "choice":
            return [Text(text), Choice("Answer", (CHOOSE, *question.options), 0, lambda i: self._pick(question, i))]
        return [Text(text), TextField("", "", answer, limit=2000, lines=3)]

    def _pick(self, question: Question, index: int) -> None:
        if index:
            self.answers[question.id] = question.options[index - 1]
        else:
            self.answers.pop(question.id, None)

    def _hand_in(self) -> None:
        given = {name: value for name, value in self.answers.items() if value != ""}
        self._do(lambda: self.run.submit(given, self._shown_s, self.app.clock()))

    def _after_break(self) -> None:
        if self._break_left() <= 0:
            self._do(self.run.proceed)

    def _break_left(self) -> float:
        return self.step.seconds - (self._now_s - self._shown_s)

    def _tutorial(self) -> None:
        def done() -> None:
            self.app.go(BACK)
            self._do(self.run.proceed)

        self.app.go(Open(ToTutorial(done)))

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
        if not self.form.handle(event) and event.nav == "back":
            self.app.go(Open(leave_screen(self.app)))

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
    "break": StudyScreen.break_rows,
    "done": StudyScreen.done_rows,
}
TITLES = {
    "consent": "Before we begin", "text": "Please read", "tutorial": "Tutorial", "game": "Next game",
    "questionnaire": "Questions", "break": "Break", "done": "Thank you",
}  # fmt: skip


def leave_screen(app: Host) -> FormScreen:
    """Ask before a participant leaves."""
    ways = [("Stay", partial(app.go, BACK)), ("Leave", partial(app.go, HOME))]
    return message(app, "Leave the study?", "What was done so far is kept; the study can be taken up again.", ways)
