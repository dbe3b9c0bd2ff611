"""Choose kitchen, partner, seat, length and speed; a picture shows what is chosen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pygame

from play.game.settings import GameChoice
from play.screens.base import PickScreen, message
from play.screens.host import Host
from play.screens.preferences import TICK_RATES
from play.screens.ways import BACK, Open, ToGame
from play.view import theme
from play.view.events import UiEvent
from play.view.form import Form
from play.view.frame import draw_frame
from play.view.hud import clock_text
from play.view.kitchen import KitchenPainter, start_state
from play.view.widgets import Button, Choice, toggle

if TYPE_CHECKING:
    from play.game.catalogue import LayoutEntry, PartnerEntry

LENGTHS = (100, 200, 400, 600, 800, 1200)
RULES = {"classic": "classic: pots start by themselves", "overcooked-ai": "overcooked-ai: start pots by hand"}
HINTS = (("Up Down", "choose"), ("Left Right", "change"), ("Enter", "list"), ("F5", "look again"), ("Esc", "back"))


class SetupScreen:
    """The choice of a game. It is kept at every change."""

    name = "choose a game"
    lively = False

    def __init__(self, app: Host):
        self.app = app
        self.problem = ""
        self._picture: tuple[object, pygame.Surface] | None = None
        self.form = Form(self._rows(), 0, width=460)

    @property
    def choice(self) -> GameChoice:
        """What is chosen now."""
        return self.app.settings.last

    # -- rows ------------------------------------------------------------------------------------------------------

    def _rows(self) -> list[Button | Choice]:
        return [
            Button("Start", self._start, units=theme.HEAD),
            self._layout_row(),
            *self._partner_rows(),
            self._seat_row(),
            self._length_row(),
            self._speed_row(),
            self._rules_row(),
        ]

    def _refill(self) -> None:
        focus, scroll = self.form.focus, self.form.scroll
        self.form = Form(self._rows(), focus, width=460)
        self.form.focus = min(focus, len(self.form.widgets) - 1)
        self.form.scroll = scroll
        self._picture = None

    def _change(self, **fields: Any) -> None:
        self.problem = ""
        chosen = replace(self.choice, **fields)
        fitting = self.partners(chosen)
        if fitting and chosen.partner not in [entry.ref for entry in fitting]:
            chosen = replace(chosen, partner=fitting[0].ref)
        self.app.change(last=chosen)
        self._refill()

    def _layout_row(self) -> Choice:
        entries = self.app.preloader.layouts
        names = [entry.name for entry in entries]
        index = names.index(self.choice.layout) if self.choice.layout in names else 0
        titles = [layout_title(entry.name) for entry in entries]

        def pick() -> None:
            rows = [(layout_title(entry.name), layout_note(entry)) for entry in entries]
            self.app.go(Open(PickScreen(self.app, "Kitchen", rows, index, lambda i: self._take_layout(i))))

        return Choice("Kitchen", titles, index, self._take_layout, pick=pick)

    def _take_layout(self, index: int) -> None:
        entry = self.app.preloader.layouts[index]
        seat = min(self.choice.seat, max(0, entry.num_players - 1))
        self._change(layout=entry.name, seat=seat)

    def partners(self, choice: GameChoice) -> list[PartnerEntry]:
        """Who can play in that kitchen under those rules, in a blinded order if names are hidden."""
        fitting = [one for one in self.app.preloader.partners if one.fits(choice.layout, choice.rules)]
        if choice.blinded:
            fitting.sort(key=lambda one: self.app.blinded_letter(one.ref))
        return fitting

    def _partner_rows(self) -> list[Button | Choice]:
        choice = self.choice
        if choice.second_human:
            return [self._second_row()]
        entries = self.partners(choice)
        refs = [entry.ref for entry in entries]
        index = refs.index(choice.partner) if choice.partner in refs else 0
        titles = [self._partner_title(entry) for entry in entries]

        def pick() -> None:
            rows = [(title, self._partner_note(entry)) for title, entry in zip(titles, entries, strict=True)]
            self.app.go(Open(PickScreen(self.app, "Partner", rows, index, lambda i: self._change(partner=refs[i]))))

        return [
            self._second_row(),
            Choice("Partner", titles, index, lambda i: self._change(partner=refs[i]), pick=pick),
            toggle("Hide its name", choice.blinded, lambda on: self._change(blinded=on)),
        ]

    def _partner_title(self, entry: PartnerEntry) -> str:
        return f"Partner {self.app.blinded_letter(entry.ref)}" if self.choice.blinded else entry.title

    def _partner_note(self, entry: PartnerEntry) -> str:
        return "" if self.choice.blinded else partner_note(entry)

    def _second_row(self) -> Choice:
        index = int(self.choice.second_human)
        return Choice("With", ("an agent", "a second person"), index, lambda i: self._change(second_human=bool(i)))

    def _seat_row(self) -> Choice:
        count = self._players()
        hats = theme.SEAT_HATS
        titles = [f"{seat + 1}, {hats[seat % len(hats)]} hat" for seat in range(count)]
        return Choice("Your seat", titles, min(self.choice.seat, count - 1), lambda i: self._change(seat=i))

    def _length_row(self) -> Choice:
        values = sorted({*LENGTHS, self.choice.ticks})
        titles = [f"{clock_text(ticks / self.choice.tick_hz)} ({ticks} ticks)" for ticks in values]
        return Choice("Length", titles, values.index(self.choice.ticks), lambda i: self._change(ticks=values[i]))

    def _speed_row(self) -> Choice:
        values = sorted({*TICK_RATES, self.choice.tick_hz})
        titles = [f"{rate:g} ticks per second" for rate in values]
        return Choice("Speed", titles, values.index(self.choice.tick_hz), lambda i: self._change(tick_hz=values[i]))

    def _rules_row(self) -> Choice:
        names = list(RULES)
        index = names.index(self.choice.rules) if self.choice.rules in names else 0
        return Choice("Rules", list(names), index, lambda i: self._change(rules=names[i]))

    # -- screen ----------------------------------------------------------------------------------------------------

    def entry(self) -> LayoutEntry | None:
        """The chosen kitchen, None when it is not there any more."""
        return next((one for one in self.app.preloader.layouts if one.name == self.choice.layout), None)

    def _players(self) -> int:
        entry = self.entry()
        return max(1, entry.num_players) if entry else 2

    def _start(self) -> None:
        entry = self.entry()
        if entry is not None and entry.problem:
            self.app.go(Open(message(self.app, "This kitchen cannot be read", entry.problem)))
            return
        self.app.go(Open(ToGame(self.choice)))

    def handle(self, event: UiEvent) -> None:
        if event.kind == "press" and event.key == "f5":
            self.app.preloader.refresh()
            self._refill()
        elif not self.form.handle(event) and event.nav == "back":
            self.app.go(BACK)

    def update(self, now_s: float) -> None:
        """Nothing moves by itself."""

    def draw(self, surface: pygame.Surface) -> None:
        ui = self.app.ui
        area = draw_frame(surface, ui, "Choose a game", HINTS)
        split = min(area.width * 11 // 20, ui.px(508))
        self.form.draw(surface, ui, pygame.Rect(area.left + ui.px(8), area.top, split, area.height))
        side = pygame.Rect(area.left + split + ui.px(16), area.top, area.width - split - ui.px(40), area.height)
        self._draw_side(surface, side)

    def _draw_side(self, surface: pygame.Surface, side: pygame.Rect) -> None:
        ui, entry = self.app.ui, self.entry()
        if entry is None or entry.problem:
            text = entry.problem if entry else f"The kitchen {self.choice.layout} is not there any more."
            ui.paragraph(surface, text, side, theme.BODY, theme.ALERT)
            return
        lines = self._about(entry)
        picture = self._thumbnail(entry, (side.width, side.height - ui.px(30) * (len(lines) + 1)))
        height = picture.get_height() + ui.px(16) + len(lines) * ui.line_height(theme.BODY)
        top = side.top + (side.height - height) // 2
        surface.blit(picture, (side.centerx - picture.get_width() // 2, top))
        y = top + picture.get_height() + ui.px(16)
        for line, color in lines:
            ui.text(surface, line, (side.centerx, y), theme.BODY, color, "midtop", width=side.width)
            y += ui.line_height(theme.BODY)

    def _about(self, entry: LayoutEntry) -> list[tuple[str, theme.Color]]:
        lines = [(f"{layout_title(entry.name)}, {layout_note(entry)}", theme.TEXT)]
        partner = next((one for one in self.app.preloader.partners if one.ref == self.choice.partner), None)
        if partner and not self.choice.second_human and not self.choice.blinded:
            lines.append((f"{partner.title}: {partner_note(partner)}", theme.MUTED))
        lines.append((RULES.get(self.choice.rules, self.choice.rules), theme.MUTED))
        return lines

    def _thumbnail(self, entry: LayoutEntry, room: tuple[int, int]) -> pygame.Surface:
        key = (entry.name, room, self.choice.seat, self.app.ui)
        if self._picture is None or self._picture[0] != key:
            canvas = pygame.Surface((max(1, room[0]), max(1, room[1])))
            canvas.fill(theme.BACKGROUND)
            painter = KitchenPainter(entry.grid, self.app.ui, canvas.get_rect())
            state = start_state(entry.grid)
            painter.draw(canvas, state, state, 1.0, mine=(self.choice.seat,))
            box = painter.box.inflate(8, painter.tile // 2).clip(canvas.get_rect())
            self._picture = (key, canvas.subsurface(box).copy())
        return self._picture[1]

    def close(self) -> None:
        """Nothing to stop."""


def layout_title(name: str) -> str:
    """A kitchen's name as a person would write it."""
    return (Path(name).stem if name.endswith(".layout") else name).replace("_", " ")


def layout_note(entry: LayoutEntry) -> str:
    """Size and seats of a kitchen in few words."""
    if entry.problem:
        return "cannot be read"
    return f"{max(map(len, entry.grid))} x {len(entry.grid)}, {entry.num_players} cooks"


def partner_note(entry: PartnerEntry) -> str:
    """Method, labels and score of a partner in few words."""
    score = "" if entry.score is None else f"{entry.score:.0f} points in training"
    return ", ".join(part for part in (entry.method, entry.taught, score) if part)
