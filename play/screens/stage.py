"""A running game inside a screen: waiting for the partner, 3-2-1, ticks, pause, and the drawing of all that.

The game itself is a headless `Session`; this class feeds it keys and the clock and shows what it says. Screens that
hold a stage (a game, a phase of the tutorial, a round of a study) decide what happens around it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import pygame

from coord.errors import UserError
from play.game.cast import Cast, make_session
from play.screens.host import Host
from play.view import theme
from play.view.events import UiEvent
from play.view.frame import banner, draw_dots, draw_hints
from play.view.hud import Hud, Order, SeatLabel, draw_hud, draw_measurements, regions, whole_points
from play.view.kitchen import KitchenPainter
from play.view.ui import Ui

if TYPE_CHECKING:
    from coord.overcooked import Layout
    from play.game.session import Session, TickEvent

COUNT_FROM, COUNT_S = 3, 0.7  # 3-2-1 and how long each number stands
FLY_S = 1.2  # how long "+20" is seen
PATIENCE_S = 6.0  # waiting for longer needs an explanation
FIRST_START = "The first start after an installation compiles the kitchen's rules, which can take a minute."
TROUBLE = ("hung", "crashed")


class Flying(NamedTuple):
    """A number that rises from where it was earned."""

    text: str
    cell: tuple[float, float]
    born_s: float


class Stage:
    """One game on the screen. `phase`: loading, countdown, playing, paused, done or failed (see `problem`)."""

    def __init__(self, app: Host, cast: Cast, *, is_timed: bool = True):
        self.app, self.cast, self.is_timed = app, cast, is_timed
        self.phase = "loading"
        self.problem = ""
        self.session: Session | None = None
        self.latencies_ms: list[float] = []  # from key press to the tick it counted in, newest last
        self._flying: list[Flying] = []
        self._ready_pots = 0
        self._now_s = self._opened_s = app.clock()
        self._count_until_s = 0.0
        self._counted = 0
        self._painter: tuple[Ui, bool, KitchenPainter] | None = None
        store = app.preloader.store() if cast.is_recorded else None
        recorder = None if store is None else store.recorder(participant=cast.participant, study_round=cast.study_round)
        settings = app.settings
        self._making: Future[Session] = app.preloader.submit(
            lambda: make_session(
                cast, settings.bindings, settings.hold_to_repeat, recorder, app.preloader.spare, app.clock()
            )
        )

    @property
    def is_set_up(self) -> bool:
        """Whether the session is there (its partner may still be loading)."""
        return self._making.done()

    # -- what happens ----------------------------------------------------------------------------------------------

    def handle(self, event: UiEvent) -> bool:
        """Give keys to the people's seats; True if one of them uses the key."""
        if self.session is None or event.kind not in ("press", "release"):
            return False
        used = False
        for seat in self.cast.people:
            person: Any = self.session.seats[seat]  # a HumanSeat
            player = person.input
            if event.kind == "release":
                used |= player.release(event.key)
            elif self.phase in ("countdown", "playing"):
                used |= player.press(event.key, self.app.clock())
        return used

    def update(self, now_s: float) -> list[TickEvent]:
        """Move on; the ticks that were played."""
        self._now_s = now_s
        if self.phase == "loading":
            self._load(now_s)
        elif self.phase == "countdown":
            self._count(now_s)
        elif self.phase == "playing":
            return self._play(now_s)
        return []

    def _load(self, now_s: float) -> None:
        if not self._making.done():
            return
        if self.session is None:
            try:
                self.session = self._making.result()
            except UserError as err:
                self.phase, self.problem = "failed", str(err)
                return
        if not self.session.ready(now_s):
            return
        broken = self.broken_seats()
        if broken:
            self.phase, self.problem = "failed", self.session.seats[broken[0]].message
        else:
            self._begin_count(now_s)

    def _begin_count(self, now_s: float) -> None:
        self.phase, self._counted = "countdown", COUNT_FROM + 1
        self._count_until_s = now_s + COUNT_FROM * COUNT_S

    def _count(self, now_s: float) -> None:
        left = math.ceil((self._count_until_s - now_s) / COUNT_S)
        if left < self._counted:
            self._counted = left
            self.app.sound.play("count" if left > 0 else "go")
        assert self.session is not None
        if left > 0:
            self.session.ready(now_s)
            return
        self.phase = "playing"
        if self.session.started:
            self.session.resume(now_s)
        else:
            self.session.start(now_s)

    def _play(self, now_s: float) -> list[TickEvent]:
        assert self.session is not None
        ticks = self.session.advance(now_s)
        for tick in ticks:
            self._hear(tick)
            self._watch(tick, now_s)
        self._flying = [one for one in self._flying if now_s - one.born_s < FLY_S]
        if self.session.done:
            self.phase = "done"
        return ticks

    def _hear(self, tick: TickEvent) -> None:
        ready = sum(bool(item.get("is_ready")) for item in tick.state["objects"])
        if ready > self._ready_pots:
            self.app.sound.play("ready")
        self._ready_pots = ready
        self.app.sound.play_events({event.name for event in tick.events})

    def _watch(self, tick: TickEvent, now_s: float) -> None:
        for seat in self.cast.people:
            key_s = tick.choices[seat].key_s
            if key_s is not None:
                self.latencies_ms = [*self.latencies_ms[-199:], (tick.at_s - key_s) * 1000]
        if tick.reward:
            seat = next((event.seat for event in tick.events if event.name == "delivery"), None)
            player = tick.state["players"][seat or 0]
            cell = tuple(at + to for at, to in zip(player["position"], player["orientation"], strict=True))
            self._flying.append(Flying(f"+{tick.reward:g}", cell, now_s))

    def pause(self, reason: str) -> None:
        """Freeze the game, or stop counting."""
        if self.phase in ("playing", "countdown") and self.session is not None:
            self.session.pause(self._now_s, reason)
            self.phase = "paused"

    def resume(self) -> None:
        """Count down again and go on."""
        if self.phase == "paused":
            self._begin_count(self._now_s)

    def broken_seats(self) -> list[int]:
        """Seats whose partner hung or crashed."""
        seats = () if self.session is None else self.session.seats
        return [number for number, seat in enumerate(seats) if seat.status in TROUBLE]

    def restart_partner(self) -> None:
        """Give every broken partner a fresh start."""
        for number in self.broken_seats():
            partner: Any = self.session.seats[number]  # an AgentSeat: only those break
            partner.worker.restart(self._now_s)

    def close(self, outcome: str = "quit") -> None:
        """End the game; one that is still being set up is ended as soon as it is there."""
        self.app.preloader.spare.renew()
        if self.session is not None:
            self.session.close(self._now_s, outcome)
        elif not self._making.cancel():
            now_s = self._now_s

            def end(made: Future[Session]) -> None:
                if made.exception() is None:
                    made.result().close(now_s)

            self._making.add_done_callback(end)

    # -- what is seen ----------------------------------------------------------------------------------------------

    def draw(self, surface: pygame.Surface, hints: Sequence[tuple[str, str]] = (), extra_bottom: int = 0) -> None:
        """Paint HUD, kitchen and whatever the phase asks for; `extra_bottom` units stay free under the kitchen."""
        ui = self.app.ui
        surface.fill(theme.BACKGROUND)
        if self.session is None or self.phase == "loading":
            self._draw_waiting(surface, ui)
            return
        session = self.session
        draw_hud(surface, ui, replace(self._hud(session), hints=hints), session.state)
        painter = self._paint(ui, extra_bottom)
        alpha = 1.0 if ui.calm else session.alpha(self._now_s)
        painter.draw(
            surface, session.previous, session.state, alpha, self._now_s, self.cast.people, self.cast.choice.tick_hz
        )
        self._draw_flying(surface, ui, painter)
        self._draw_notice(surface, ui)
        if self.app.show_measurements:
            draw_measurements(surface, ui, self._measurements(session))
        if self.phase == "countdown":
            self._draw_count(surface, ui, painter.box)

    def _paint(self, ui: Ui, extra_bottom: int) -> KitchenPainter:
        whole = self.app.settings.whole_pixels
        if self._painter is None or self._painter[0] is not ui or self._painter[1] != whole:
            area = regions(ui, extra_bottom).kitchen
            self._painter = (ui, whole, KitchenPainter(self.session.layout.grid, ui, area, whole))
        return self._painter[2]

    def _draw_waiting(self, surface: pygame.Surface, ui: Ui) -> None:
        center = ui.rect.center
        line = f"{self.cast.label} puts on the apron" if len(self.cast.people) < 2 else "Heating the stoves"
        width = ui.size[0] - ui.px(48)
        ui.text(surface, line, (center[0], center[1] - ui.px(40)), theme.HEAD, theme.TEXT, "center", width=width)
        draw_dots(surface, ui, (center[0], center[1] + ui.px(16)), self._now_s)
        if self._now_s - self._opened_s > PATIENCE_S:
            at = (center[0], center[1] + ui.px(64))
            ui.text(surface, FIRST_START, at, theme.BODY, theme.MUTED, "center", width=width)
        draw_hints(surface, ui, [("Esc", "back")])

    def _draw_count(self, surface: pygame.Surface, ui: Ui, box: pygame.Rect) -> None:
        number = max(1, math.ceil((self._count_until_s - self._now_s) / COUNT_S))
        disc = ui.icon("circle", ui.px(140), theme.INK)
        surface.blit(disc, disc.get_rect(center=box.center))
        ui.text(surface, str(number), box.center, theme.HUGE, theme.PAPER, "center")

    def _draw_flying(self, surface: pygame.Surface, ui: Ui, painter: KitchenPainter) -> None:
        for one in self._flying:
            x, y = painter.at(one.cell)
            rise = 0 if ui.calm else round((self._now_s - one.born_s) / FLY_S * painter.tile * 0.6)
            at = (x + painter.tile // 2, y + painter.tile // 2 - rise)
            for shade, shift in ((theme.INK, 2), (theme.YELLOW, 0)):
                ui.text(surface, one.text, (at[0] + shift, at[1] + shift), 32, shade, "center")

    def _draw_notice(self, surface: pygame.Surface, ui: Ui) -> None:
        """One line over the kitchen when something is wrong but the game goes on."""
        top = regions(ui).top.bottom + ui.px(8)
        broken = self.broken_seats()
        if broken:
            seat = self.session.seats[broken[0]]
            state = "stopped answering" if seat.status == "hung" else "broke down"
            banner(surface, ui, f"{self.name(broken[0])} {state} and stands still. F5: a fresh start", top)
        elif self.session.recording_error:
            banner(surface, ui, f"Not recorded any more: {self.session.recording_error}", top)

    def name(self, seat: int) -> str:
        """What the person calls whoever sits at `seat`."""
        if seat not in self.cast.people:
            return self.cast.label
        if len(self.cast.people) == 1:
            return "You"
        return f"Player {self.cast.people.index(seat) + 1}"

    def _hud(self, session: Session) -> Hud:
        labels = [
            SeatLabel(self.name(seat), seat in self.cast.people, NOTES.get(source.status, ""))
            for seat, source in enumerate(session.seats)
        ]
        return Hud(
            is_timed=self.is_timed,
            score=whole_points(session.score),
            seconds_left=session.seconds_left,
            part_left=session.ticks_left / session.ticks,
            orders=wanted(session.layout, session.rules),
            seats=labels,
        )

    def _measurements(self, session: Session) -> list[str]:
        app = self.app
        lines = [
            f"{app.fps:.0f} frames/s, {app.frame_ms:.1f} ms to draw",
            f"tick {session.tick} of {session.ticks}, {session.clock.hz:g} per second",
        ]
        if self.latencies_ms:
            middle = sorted(self.latencies_ms)[len(self.latencies_ms) // 2]
            lines.append(f"key to tick {self.latencies_ms[-1]:.0f} ms, median {middle:.0f} ms")
        seats: Sequence[Any] = session.seats
        for number, seat in enumerate(seats):
            if number not in self.cast.people:
                spent = seat.worker.latency_ms
                thinks = "-" if spent is None else f"{spent:.1f} ms"
                lines.append(f"seat {number + 1} thinks {thinks}, late {session.misses[number]} times")
        return lines


NOTES = {"hung": "not answering", "crashed": "broke down", "loading": "coming back"}


def wanted(layout: Layout, rules: str) -> list[Order]:
    """The orders of a kitchen with what they pay under `rules`."""
    from coord.overcooked.layouts import RECIPES

    if rules == "classic":  # orders are not looked at: any full pot pays the same
        names = [name for name, tile in (("onion", "O"), ("tomato", "T")) if layout.cells(tile)]
        return [Order((name,) * layout.classic_items, whole_points(layout.classic_value), False) for name in names]
    orders = []
    for recipe in (*layout.bonus_orders, *(one for one in layout.all_orders if one not in layout.bonus_orders)):
        is_bonus = recipe in layout.bonus_orders
        value = layout.values[RECIPES.index(recipe)] * (layout.order_bonus if is_bonus else 1)
        orders.append(Order(recipe, whole_points(value), is_bonus))
    return orders
