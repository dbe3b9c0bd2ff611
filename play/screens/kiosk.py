"""`coord study run`: one participant after another, the same study, and nothing else in reach.

The page at the bottom greets the next participant; whoever ends, leaves or declines comes back to it. Preferences are
those of the start for everybody. Ctrl+Shift+E, or closing the window, opens the experimenter's page, which asks for the
PIN if there is one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from coord.errors import UserError
from play.game.settings import PlaySettings
from play.screens.base import FormScreen
from play.screens.host import Host
from play.screens.study import StudyScreen
from play.screens.study_pages import withdraw_screen
from play.screens.ways import BACK, HOME, QUIT, Open, Replace
from play.study.run import ONE_STATION, Station, Study, StudyRun, called, unfinished
from play.view import theme
from play.view.events import UiEvent
from play.view.widgets import Button, Space, Text, TextField, Widget

SHOWN = 6  # participants who can be resumed by one key; others by number or code


@dataclass(frozen=True)
class Kiosk:
    """What a computer of the lab offers."""

    study: Study
    station: Station = ONE_STATION
    asks_code: bool = False
    pin: str = ""


def kiosk_screen(app: Host, kiosk: Kiosk) -> KioskScreen:
    """The page that greets participants. UserError if nothing can be recorded."""
    if app.preloader.store() is None:
        raise UserError(app.preloader.problem)
    return KioskScreen(app, kiosk)


class KioskScreen(FormScreen):
    """Greets the next participant, and keeps everybody in the study."""

    def __init__(self, app: Host, kiosk: Kiosk):
        self.kiosk, self.problem, self._code = kiosk, "", ""
        self._usual: PlaySettings = app.settings
        self._experimenter: list[object] = []  # pages that only the experimenter sees
        super().__init__(
            app, kiosk.study.title, self._rows, hints=(("Enter", "begin"),), on_back=lambda: None,
            note=lambda: self.problem,
        )  # fmt: skip

    def _rows(self) -> Sequence[Widget]:
        rows: list[Widget] = [Text("Welcome, and thank you for taking part.", theme.HEAD, center=True), Space(16)]
        if self.kiosk.asks_code:
            rows.append(TextField("Your participant code", self._code, self._take_code, limit=40, on_enter=self._begin))
        rows += [Button("Begin", self._begin), Space()]
        if self.kiosk.station.count > 1:
            where = f"Station {self.kiosk.station.number} of {self.kiosk.station.count}"
            rows.append(Text(where, theme.SMALL, theme.MUTED, center=True))
        return rows

    def _take_code(self, text: str) -> None:
        self._code = text

    def _begin(self) -> None:
        if self.kiosk.asks_code and not self._code.strip():
            self.problem = "Please type the participant code that you were given."
            return
        store = self.app.preloader.store()
        assert store is not None
        try:
            run = StudyRun.enrol(self.kiosk.study, store, code=self._code, station=self.kiosk.station)
        except UserError as error:
            self.problem = str(error)
            return
        self._enter(run)

    def _enter(self, run: StudyRun) -> None:
        """A participant takes the seat: preferences as at the start, the page ready for the next one."""
        self.app.go(HOME)
        self.app.change(**vars(self._usual))
        self.problem, self._code, self._experimenter = "", "", []
        self.refresh()
        self.form.focus = next(i for i, row in enumerate(self.form.widgets) if row.focusable)
        self.app.go(Open(StudyScreen(self.app, run)))

    # -- the experimenter ------------------------------------------------------------------------------------------

    def guard(self, event: UiEvent, top: object) -> bool:
        """Whether the event was the experimenter's key, or somebody closing the window; it opens their page."""
        is_key = event.kind == "press" and event.key == "e" and event.ctrl and event.shift
        if not is_key and event.kind != "quit":
            return False
        if top not in self._experimenter:
            if top is not self:
                top.handle(UiEvent("blur"))  # type: ignore[attr-defined]  # a game pauses
            self._show(self._pin_page() if self.kiosk.pin else self._lab_page())
        return True

    def _show(self, page: FormScreen, *, instead: bool = False) -> None:
        self._experimenter.append(page)
        self.app.go(Replace(page) if instead else Open(page))

    def _pin_page(self) -> FormScreen:
        wish = {"pin": "", "problem": ""}

        def enter() -> None:
            if wish["pin"] == self.kiosk.pin:
                self._show(self._lab_page(), instead=True)
            else:
                wish["problem"] = "This is not the PIN."

        def rows() -> Sequence[Widget]:
            field = TextField("PIN", "", lambda text: wish.update(pin=text), limit=40, secret=True, on_enter=enter)
            return [field, Button("Open", enter), Button("Back", partial(self.app.go, BACK))]

        return FormScreen(self.app, "Experimenter", rows, note=lambda: wish["problem"])

    def _lab_page(self) -> FormScreen:
        """Resume, withdraw, end the present session, close the window."""
        wish = {"who": "", "problem": ""}
        store = self.app.preloader.store()
        assert store is not None

        def resume(who: str) -> None:
            try:
                run = StudyRun.resume(self.kiosk.study, store, who)
            except UserError as error:
                wish["problem"] = str(error)
                return
            self._enter(run)

        def rows() -> Sequence[Widget]:
            found = unfinished(self.kiosk.study, store)
            return [
                Button("Back", partial(self.app.go, BACK)),
                Button("Next participant", partial(self.app.go, HOME), note="what was done so far is kept"),
                *[Button(f"Go on as {called(store, who)}", partial(resume, who)) for who in found[:SHOWN]],
                TextField(
                    "Another number or code",
                    "",
                    lambda text: wish.update(who=text),
                    limit=40,
                    on_enter=lambda: resume(wish["who"]),
                ),
                Button("Withdraw a participant", lambda: self._show(withdraw_screen(self.app))),
                Button("Close the window", partial(self.app.go, QUIT)),
            ]

        return FormScreen(self.app, "Experimenter", rows, note=lambda: wish["problem"])
