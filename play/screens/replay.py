"""Watching one recorded game: tape keys, a timeline with what happened, the proof that it is the game, export."""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pygame

from coord.errors import UserError
from play.game import film
from play.game.inputs import ACTION_NAMES
from play.game.replay import SPEEDS, Replay, verify
from play.screens.base import FormScreen, message
from play.screens.host import Host
from play.screens.stage import wanted
from play.screens.ways import BACK, Open, Replace
from play.view import theme
from play.view.events import UiEvent
from play.view.frame import banner, cap_name
from play.view.hud import Hud, SeatLabel, draw_hud, draw_measurements, regions, whole_points
from play.view.kitchen import KitchenPainter
from play.view.ui import Ui
from play.view.widgets import Button, Choice, Text, TextField, Widget

STRIP = 64  # height of timeline and its captions, in units
HINTS = (
    ("Space", "play"), ("Left Right", "step"), ("Tab", "soup"), ("Up Down", "speed"), ("E", "export"), ("Esc", "back"),
)  # fmt: skip
SHIFT_STEP = 20  # ticks that a step with Shift takes
MARKED = ("delivery", "partner_hung", "partner_crashed", "pause")


class ReplayScreen:
    """A tape deck for one game."""

    name = "replay"

    def __init__(self, app: Host, replay: Replay):
        self.app, self.replay = app, replay
        self.layout = replay.game.header.kitchen()
        self._now_s = app.clock()
        self._painter: tuple[Ui, KitchenPainter] | None = None
        self._track = pygame.Rect(0, 0, 1, 1)
        self._is_dragging = False
        self._verification = app.preloader.submit(lambda: verify(replay.game))
        self._orders = wanted(self.layout, replay.game.header.rules)
        replay.play(self._now_s)

    @property
    def lively(self) -> bool:
        """While it plays, and until the proof is there."""
        return self.replay.playing or not self._verification.done()

    # -- what happens ----------------------------------------------------------------------------------------------

    def handle(self, event: UiEvent) -> None:
        if event.kind in ("click", "unclick", "move"):
            self._mouse(event)
        elif event.kind == "press":
            self._press(event)

    def _press(self, event: UiEvent) -> None:
        key = event.key.partition(":")[2] or event.key
        if key == "tab":
            self.replay.seek_event(-1 if event.shift else 1, self._now_s)
        elif key in ("l", "r") and event.from_pad:
            self.replay.seek_event(-1 if key == "l" else 1, self._now_s)
        elif key in ("e", "y"):
            self._export()
        elif key == "f3" and not event.repeat:
            self.app.show_measurements = not self.app.show_measurements
        elif event.nav == "confirm" and not event.repeat:
            self._toggle()
        elif event.nav in ("left", "right"):
            step = SHIFT_STEP if event.shift else 1
            self.replay.step(-step if event.nav == "left" else step)
        elif event.nav in ("up", "down"):
            self._faster(1 if event.nav == "up" else -1)
        elif event.nav in ("first", "last"):
            self.replay.seek(0 if event.nav == "first" else self.replay.length, self._now_s)
        elif event.nav == "back":
            self.app.go(BACK)

    def _toggle(self) -> None:
        if self.replay.playing:
            self.replay.pause()
        else:
            self.replay.play(self._now_s)

    def _faster(self, by: int) -> None:
        place = SPEEDS.index(self.replay.speed) + by
        self.replay.set_speed(SPEEDS[max(0, min(place, len(SPEEDS) - 1))], self._now_s)

    def _mouse(self, event: UiEvent) -> None:
        if event.kind == "click":
            self._is_dragging = self._track.inflate(0, self.app.ui.px(28)).collidepoint(event.pos)
            if not self._is_dragging:
                self._toggle()
        if self._is_dragging:
            part = (event.pos[0] - self._track.left) / max(1, self._track.width)
            self.replay.seek(round(part * self.replay.length), self._now_s)
        if event.kind == "unclick":
            self._is_dragging = False

    def _export(self) -> None:
        self.replay.pause()
        self.app.go(Open(export_screen(self.app, self.replay)))

    def update(self, now_s: float) -> None:
        """Let the tape run."""
        self._now_s = now_s
        self.replay.update(now_s)

    # -- what is seen ----------------------------------------------------------------------------------------------

    def draw(self, surface: pygame.Surface) -> None:
        ui, replay = self.app.ui, self.replay
        header = replay.game.header
        surface.fill(theme.BACKGROUND)
        hints = [(cap_name(ui, key), what) for key, what in HINTS]
        if self._painter is None or self._painter[0] is not ui:
            whole = self.app.settings.whole_pixels
            self._painter = (ui, KitchenPainter(self.layout.grid, ui, regions(ui, STRIP).kitchen, whole))
        left = header.ticks - replay.tick
        hud = Hud(
            score=whole_points(replay.score), seconds_left=left / header.tick_hz, part_left=left / max(1, header.ticks),
            orders=self._orders, seats=self._seats(), hints=hints,
        )  # fmt: skip
        draw_hud(surface, ui, hud, replay.state)
        painter = self._painter[1]
        alpha = replay.alpha(self._now_s)
        painter.draw(surface, replay.previous, replay.state, alpha, self._now_s, (), header.tick_hz)
        self._draw_strip(surface, ui)
        if self.app.show_measurements:
            draw_measurements(surface, ui, self._measurements())

    def _seats(self) -> list[SeatLabel]:
        return [
            SeatLabel("Human" if seat["kind"] == "human" else str(seat["label"]), seat["kind"] == "human", "")
            for seat in self.replay.game.header.seats
        ]

    def _measurements(self) -> list[str]:
        """Who did what in the tick that led here."""
        game, tick = self.replay.game, self.replay.tick - 1
        lines = [f"tick {self.replay.tick} of {self.replay.length}"]
        for seat in range(len(game.header.seats) if tick >= 0 else 0):
            line = f"seat {seat + 1}: {ACTION_NAMES[game.joint_act[tick, seat]]} ({game.sources[tick][seat]}"
            latency, key = game.latency_ms[tick, seat], game.key_ms[tick, seat]
            if latency == latency:  # not NaN
                line += f", thought {latency:.1f} ms"
            if key == key:
                line += f", key {game.at_ms[tick] - key:.0f} ms before"
            lines.append(line + ")")
        return lines

    def _draw_strip(self, surface: pygame.Surface, ui: Ui) -> None:
        bottom = regions(ui).bottom
        strip = pygame.Rect(ui.px(24), bottom.top - ui.px(STRIP), ui.size[0] - ui.px(48), ui.px(STRIP))
        self._track = pygame.Rect(strip.left, strip.top + ui.px(22), strip.width, ui.px(8))
        ui.box(surface, self._track, theme.RAISED, 4)
        done = self._track.copy()
        done.width = max(self._track.height, self._x(self.replay.tick) - self._track.left)
        ui.box(surface, done, theme.ORANGE, 4)
        for event in self.replay.game.events:
            if event.name in MARKED:
                self._draw_mark(surface, ui, event)
        knob = ui.icon("circle", ui.px(18), theme.TEXT)
        surface.blit(knob, knob.get_rect(center=(self._x(self.replay.tick), self._track.centery)))
        self._draw_captions(surface, ui, strip)

    def _x(self, tick: int) -> int:
        return self._track.left + self._track.width * tick // max(1, self.replay.length)

    def _draw_mark(self, surface: pygame.Surface, ui: Ui, event: Any) -> None:
        x = self._x(event.tick)
        if event.name == "delivery":
            ui.seat_mark(surface, event.seat or 0, (x, self._track.top - ui.px(10)), ui.px(16))
            return
        color = theme.MUTED if event.name == "pause" else theme.ALERT
        name = "pause" if event.name == "pause" else "cross"
        icon = ui.icon(name, ui.px(12), color)
        surface.blit(icon, icon.get_rect(center=(x, self._track.top - ui.px(10))))

    def _draw_captions(self, surface: pygame.Surface, ui: Ui, strip: pygame.Rect) -> None:
        y = self._track.bottom + ui.px(8)
        state = "playing" if self.replay.playing else "paused"
        left = f"{state} at {self.replay.speed:g}x, tick {self.replay.tick} of {self.replay.length}"
        ui.text(surface, left, (strip.left, y), theme.SMALL, theme.MUTED)
        text, color = "checking the record", theme.MUTED
        if self._verification.done():
            verification = self._verification.result()
            good = f"every state verified ({verification.checked})"
            text, color = (good, theme.GOOD) if verification.ok else (verification.message, theme.ALERT)
        ui.text(surface, text, (strip.right, y), theme.SMALL, color, "topright", width=strip.width * 6 // 10)

    def close(self) -> None:
        """Nothing to stop."""


def export_screen(app: Host, replay: Replay) -> FormScreen:
    """Asks for name and speed of a film."""
    header = replay.game.header
    wish: dict[str, Any] = {"name": f"game{header.id}.gif", "speed": replay.speed}

    def rename(ending: str) -> None:
        wish["name"] = str(Path(wish["name"]).with_suffix(ending))
        screen.refresh()

    def build() -> Sequence[Widget]:
        ending = film.FORMATS.index(Path(wish["name"]).suffix) if Path(wish["name"]).suffix in film.FORMATS else 0
        speeds = [f"{speed:g}x" for speed in SPEEDS]
        return [
            Choice("Format", ("GIF", "MP4"), ending, lambda i: rename(film.FORMATS[i])),
            Choice("Speed", speeds, SPEEDS.index(wish["speed"]), lambda i: wish.update(speed=SPEEDS[i])),
            TextField("File", wish["name"], lambda text: wish.update(name=text)),
            Button("Save", lambda: _save(app, replay, Path(wish["name"]).expanduser(), wish["speed"])),
            Text(f"Folders count from {Path.cwd()}", theme.SMALL, theme.MUTED),
        ]

    screen = FormScreen(app, f"Export game {header.id}", build)
    return screen


def _save(app: Host, replay: Replay, out: Path, speed: float) -> None:
    try:
        film.check_name(out)
    except UserError as err:
        app.go(Open(message(app, "This cannot be saved", str(err))))
        return
    app.go(Replace(SavingScreen(app, replay, out, speed)))


class SavingScreen:
    """Waits for a film that a process of its own makes, so that the window stays quick."""

    name = "saving"
    lively = True

    def __init__(self, app: Host, replay: Replay, out: Path, speed: float):
        self.app, self.out = app, out
        self._now_s = 0.0
        self._pool = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))
        self._film: Future[None] = self._pool.submit(film.save_game, replay.game, out, speed)

    def handle(self, event: UiEvent) -> None:
        """The film cannot be stopped halfway; it takes seconds."""

    def update(self, now_s: float) -> None:
        """Say how it went once it went."""
        self._now_s = now_s
        if not self._film.done():
            return
        error = self._film.exception()
        title = "Saved" if error is None else "This could not be saved"
        text = f"{self.out.resolve()}" if error is None else str(error)
        self.app.go(Replace(message(self.app, title, text)))

    def draw(self, surface: pygame.Surface) -> None:
        surface.fill(theme.BACKGROUND)
        dots = "." * (1 + int(self._now_s * 2) % 3)
        banner(surface, self.app.ui, f"Saving {self.out.name} {dots}", self.app.ui.size[1] // 2, theme.ORANGE)

    def close(self) -> None:
        """Let the process end by itself."""
        self._pool.shutdown(wait=False)
