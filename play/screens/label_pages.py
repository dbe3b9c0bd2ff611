"""The pages around the comparison of clips: who labels, reasons, note, keys, break."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import pygame

from coord.errors import UserError
from play.labelling import keys
from play.labelling.session import LabellingSession
from play.labelling.tasks import NAME_LIMIT, checked_name
from play.screens.base import FormScreen
from play.screens.host import Host
from play.screens.preferences import key_title
from play.screens.ways import BACK, Open, Replace, Screen, ToSettings
from play.view import theme
from play.view.events import UiEvent
from play.view.form import Form
from play.view.frame import draw_frame
from play.view.widgets import Button, Space, Text, TextField, Widget

INTRODUCTION = (
    "Two short clips run side by side. Say which one is better. What you answer is kept together with this name, the "
    "time you took, and the words that you write into notes. Use a pseudonym, the same one each time."
)


def start_page(app: Host, title: str, begin: Callable[[str], Screen], problem: str = "") -> FormScreen:
    """Asks who labels; `begin` makes the screen for that pseudonym."""
    wish = {"name": app.settings.annotator, "problem": problem}

    def start() -> None:
        try:
            name = checked_name(wish["name"])
            screen = begin(name)
        except UserError as error:
            wish["problem"] = str(error)
            return
        app.change(annotator=name)
        app.go(Replace(screen))

    def build() -> Sequence[Widget]:
        return [
            TextField("Your pseudonym", wish["name"], lambda text: wish.update(name=text), limit=NAME_LIMIT),
            Button("Start", start),
            Button("Keys", lambda: app.go(Open(KeysPage(app)))),
            Button("Settings", partial(app.go, Open(ToSettings()))),
            Button("Quit", partial(app.go, BACK)),
            Space(),
            Text(INTRODUCTION, theme.SMALL, theme.MUTED),
        ]

    hints = [("Up Down", "choose"), ("Enter", "take"), ("Esc", "leave")]
    return FormScreen(app, title, build, hints=hints, note=lambda: wish["problem"])


class ReasonsPage:
    """Reasons by number; Enter or Esc goes back to the clips."""

    name = "label, reasons"
    lively = False

    def __init__(self, app: Host, session: LabellingSession, reasons: tuple[str, ...]):
        self.app, self.session, self.reasons = app, session, reasons
        self.form = Form(self._rows(), len(reasons), width=420)

    def _rows(self) -> list[Widget]:
        chosen = self.session.draft.reasons
        rows: list[Widget] = [
            Button(
                f"{number}  {tag.replace('_', ' ')}", partial(self._toggle, tag), note="yes" if tag in chosen else ""
            )
            for number, tag in enumerate(self.reasons, 1)
        ]
        return [*rows, Button("Back to the clips", partial(self.app.go, BACK))]

    def _toggle(self, tag: str) -> None:
        self.session.reason(tag)
        self.form = Form(self._rows(), self.form.focus, width=420)

    def handle(self, event: UiEvent) -> None:
        if event.kind == "press" and event.key.isdigit() and 1 <= int(event.key) <= len(self.reasons):
            if not event.repeat:
                self._toggle(self.reasons[int(event.key) - 1])
        elif not self.form.handle(event) and event.nav == "back":
            self.app.go(BACK)

    def update(self, now_s: float) -> None:
        """Nothing moves by itself."""

    def draw(self, surface: pygame.Surface) -> None:
        left, right = self.session.draft.unsafe
        side = "both clips" if left and right else "the left clip" if left else "the right clip"
        hints = [("1", "to"), (str(len(self.reasons)), "choose"), ("Enter", "back")]
        area = draw_frame(surface, self.app.ui, f"What is unsafe in {side}?", hints)
        self.form.draw(surface, self.app.ui, area)

    def close(self) -> None:
        """Nothing to stop."""


class NotePage:
    """A note that goes with the answer."""

    name = "label, note"
    lively = False

    def __init__(self, app: Host, session: LabellingSession):
        self.app, self.session = app, session
        field = TextField("Kept with your answer", session.draft.note, session.note, limit=500, lines=4)
        self.form = Form([field, Button("Back to the clips", partial(app.go, BACK))])

    def handle(self, event: UiEvent) -> None:
        is_done = event.nav == "confirm" and event.key != "space" and self.form.focus == 0
        if is_done or (not self.form.handle(event) and event.nav == "back"):
            self.app.go(BACK)

    def update(self, now_s: float) -> None:
        """Nothing moves by itself."""

    def draw(self, surface: pygame.Surface) -> None:
        area = draw_frame(surface, self.app.ui, "Note", [("Enter", "back to the clips")])
        self.form.draw(surface, self.app.ui, area)

    def close(self) -> None:
        """Nothing to stop."""


class KeysPage:
    """All keys; Enter on a row, then the new key."""

    name = "label, keys"
    lively = False

    def __init__(self, app: Host):
        self.app = app
        self.problem = ""
        self._waiting = ""  # the action that gets the next key
        self.form = Form(self._rows(), width=560)

    def _rows(self) -> list[Widget]:
        bound = keys.bound(self.app.settings.label_keys)
        rows: list[Widget] = []
        for name, action in keys.ACTIONS.items():
            note = "press a key" if name == self._waiting else "  ".join(key_title(key) for key in bound[name])
            if name in keys.FIXED:
                rows.append(Button(action.title, lambda: None, note=note, enabled=False))
            else:
                rows.append(Button(action.title, partial(self._ask, name), note=note))
        return [*rows, Button("As delivered", self._reset), Button("Back", partial(self.app.go, BACK))]

    def _refill(self) -> None:
        focus, scroll = self.form.focus, self.form.scroll
        self.form = Form(self._rows(), focus, width=560)
        self.form.scroll = scroll

    def _ask(self, action: str) -> None:
        self._waiting, self.problem = action, ""
        self._refill()

    def _reset(self) -> None:
        self.app.change(label_keys={})
        self.problem = ""
        self._refill()

    def handle(self, event: UiEvent) -> None:
        if self._waiting:
            self._take(event)
        elif not self.form.handle(event) and event.nav == "back":
            self.app.go(BACK)

    def _take(self, event: UiEvent) -> None:
        """The key that was asked for; Esc and a click leave things as they were."""
        if event.kind not in ("press", "click") or event.repeat:
            return
        action, self._waiting = self._waiting, ""
        if event.kind == "press" and event.key != "escape":
            try:
                self.app.change(label_keys=keys.rebind(self.app.settings.label_keys, action, event.key))
            except UserError as error:
                self.problem = str(error)
        self._refill()

    def update(self, now_s: float) -> None:
        """Nothing moves by itself."""

    def draw(self, surface: pygame.Surface) -> None:
        hints = [("Up Down", "choose"), ("Enter", "new key"), ("Esc", "back")]
        if self._waiting:
            hints = [("Esc", "leave it as it is")]
        area = draw_frame(surface, self.app.ui, "Keys", hints, self.problem)
        self.form.draw(surface, self.app.ui, area)

    def close(self) -> None:
        """Nothing to stop."""


def break_page(app: Host, session: LabellingSession) -> FormScreen:
    """Stops the clock; the way out."""

    def go_on() -> None:
        session.took_break()
        app.go(BACK)

    def leave() -> None:
        app.go(BACK)
        app.go(BACK)

    def build() -> Sequence[Widget]:
        done = f"{session.answered} answers in this session. Every answer is kept as soon as the next pair shows."
        return [
            Text(done, theme.BODY, center=True),
            Button("Go on", go_on),
            Button("Keys", lambda: app.go(Open(KeysPage(app)))),
            Button("Settings", partial(app.go, Open(ToSettings()))),
            Button("Leave", leave),
        ]

    return FormScreen(app, "Break", build, hints=(("Enter", "choose"), ("Esc", "go on")), on_back=go_on)
