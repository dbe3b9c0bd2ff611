"""Settings, and the screen on which keys are bound."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pygame

from play.game.inputs import BINDABLE, PRESETS, Bindings, Conflict, conflicts
from play.game.settings import TEXT_SCALES, THEMES
from play.screens.base import FormScreen
from play.screens.host import Host
from play.screens.ways import BACK, Open
from play.view import theme
from play.view.events import UiEvent
from play.view.form import Form
from play.view.frame import draw_frame
from play.view.widgets import Button, Choice, Space, Text, Widget, toggle

TICK_RATES = (3.0, 4.0, 5.0, 6.67, 8.0, 10.0)
RESERVED = {"escape": "pause", "f3": "measurements", "f5": "fresh partner", "f11": "full screen"}  # the window's own
ACTION_TITLES = {
    "north": "Go up", "south": "Go down", "east": "Go right", "west": "Go left", "interact": "Take, put, serve",
}  # fmt: skip


def settings_screen(app: Host) -> FormScreen:
    """The list of preferences; every change counts at once and is kept."""

    def rebuild(**fields: object) -> None:
        app.change(**fields)
        screen.refresh()

    def choose_theme(index: int) -> None:
        rebuild(theme=THEMES[index])

    def build() -> Sequence[Widget]:
        now = app.settings
        rates = [f"{rate:g} per second" for rate in TICK_RATES]
        last = now.last
        rate = TICK_RATES.index(last.tick_hz) if last.tick_hz in TICK_RATES else TICK_RATES.index(6.67)
        scales = [f"{round(scale * 100)} %" for scale in TEXT_SCALES]
        scale = TEXT_SCALES.index(now.text_scale) if now.text_scale in TEXT_SCALES else 0
        return [
            *(_preset_row(app, player, rebuild) for player in range(2)),
            Button("Change single keys", lambda: app.go(Open(BindingsScreen(app))), note=conflict_line(app)),
            toggle("Hold to keep walking", now.hold_to_repeat, lambda on: app.change(hold_to_repeat=on)),
            Choice("Game speed", rates, rate, lambda i: _change_last(app, tick_hz=TICK_RATES[i])),
            toggle("Sound", now.sound, lambda on: rebuild(sound=on)),
            Choice("Text size", scales, scale, lambda i: app.change(text_scale=TEXT_SCALES[i])),
            Choice("Colours", [name.capitalize() for name in THEMES], THEMES.index(now.theme), choose_theme),
            toggle("Reduced motion", now.reduced_motion, lambda on: app.change(reduced_motion=on)),
            toggle("Full screen", now.fullscreen, lambda on: app.change(fullscreen=on)),
            toggle("Whole-pixel scaling", now.whole_pixels, lambda on: app.change(whole_pixels=on)),
            Button("Back", partial(app.go, BACK)),
        ]

    hints = [("Up Down", "choose"), ("Left Right", "change"), ("Esc", "back")]
    screen = FormScreen(app, "Settings", build, hints=hints, note=lambda: app.sound.problem)
    return screen


def _change_last(app: Host, **fields: Any) -> None:
    app.change(last=replace(app.settings.last, **fields))


def _preset_row(app: Host, player: int, rebuild: Callable[..., None]) -> Choice:
    bindings = app.settings.bindings[player]
    names = list(PRESETS)
    if bindings.name not in names:
        names.append(bindings.name)

    def choose(index: int) -> None:
        if names[index] in PRESETS:
            rebuild(bindings=with_player(app, player, PRESETS[names[index]]))

    titles = [PRESET_TITLES.get(name, name) for name in names]
    return Choice(f"Keys of player {player + 1}", titles, names.index(bindings.name), choose)


PRESET_TITLES = {
    "arrows": "Arrows + Space", "wasd": "W A S D + E", "ijkl": "I J K L + O", "pad0": "Gamepad 1",
    "pad1": "Gamepad 2", "custom": "My own",
}  # fmt: skip


def with_player(app: Host, player: int, bindings: Bindings) -> tuple[Bindings, Bindings]:
    """Both players' bindings with one of them exchanged."""
    both = list(app.settings.bindings)
    both[player] = bindings
    return both[0], both[1]


def conflict_line(app: Host) -> str:
    """The first key that is used twice, as a line; "" if there is none."""
    found = conflicts(app.settings.bindings, RESERVED)
    return "" if not found else conflict_text(found[0])


def conflict_text(conflict: Conflict) -> str:
    """A conflict in words."""
    uses = [what if player < 0 else f"player {player + 1} {what}" for player, what in conflict.uses]
    return f"{key_title(conflict.key)}: " + " and ".join(uses)


def key_title(key: str) -> str:
    """A key as it is printed on keyboards and pads."""
    pad, _, control = key.partition(":")
    if control:
        return f"Pad {int(pad[3:]) + 1} {control.upper() if len(control) == 1 else control}"
    return key.upper() if len(key) == 1 else key.capitalize()


class BindingsScreen:
    """Every action of both players; press Enter, then the new key."""

    name = "keys"
    lively = False

    def __init__(self, app: Host):
        self.app = app
        self._waiting: tuple[int, str] | None = None  # (player, action) that gets the next key
        self.form = Form(self._rows(), 1)

    def _rows(self) -> list[Widget]:
        clashes = {conflict.key for conflict in conflicts(self.app.settings.bindings, RESERVED)}
        rows: list[Widget] = []
        for player, bindings in enumerate(self.app.settings.bindings):
            rows.append(Text(f"Player {player + 1}", theme.HEAD))
            rows += [self._row(player, action, bindings.keys[action], clashes) for action in BINDABLE]
            rows.append(Space())
        return [*rows, Button("Reset both", self._reset), Button("Back", partial(self.app.go, BACK))]

    def _row(self, player: int, action: str, keys: tuple[str, ...], clashes: set[str]) -> Button:
        is_waiting = self._waiting == (player, action)
        is_clash = any(key in clashes for key in keys)
        note = "press a key" if is_waiting else " or ".join(key_title(key) for key in keys)
        if is_clash and not is_waiting:
            note += " (used twice)"
        color = theme.ALERT if is_clash else theme.TEXT
        return Button(ACTION_TITLES[action], lambda: self._ask(player, action), note=note, color=color)

    def _refill(self) -> None:
        focus, scroll = self.form.focus, self.form.scroll
        self.form = Form(self._rows(), focus)
        self.form.scroll = scroll

    def _ask(self, player: int, action: str) -> None:
        self._waiting = (player, action)
        self._refill()

    def _reset(self) -> None:
        self.app.change(bindings=(PRESETS["arrows"], PRESETS["wasd"]))
        self._refill()

    def handle(self, event: UiEvent) -> None:
        if self._waiting is not None:
            self._take(event)
        elif not self.form.handle(event) and event.nav == "back":
            self.app.go(BACK)

    def _take(self, event: UiEvent) -> None:
        """The key that was asked for; Esc and keys the window keeps for itself leave things as they were."""
        if event.kind == "click":
            self._waiting = None
            self._refill()
        if event.kind != "press" or event.repeat or self._waiting is None:
            return
        player, action = self._waiting
        self._waiting = None
        if event.key not in RESERVED:
            changed = self.app.settings.bindings[player].rebind(action, (event.key,))
            self.app.change(bindings=with_player(self.app, player, changed))
        self._refill()

    def update(self, now_s: float) -> None:
        """Nothing moves by itself."""

    def draw(self, surface: pygame.Surface) -> None:
        ui = self.app.ui
        hints = [("Up Down", "choose"), ("Enter", "new key"), ("Esc", "back")]
        if self._waiting is not None:
            hints = [("Esc", "leave it as it is")]
        area = draw_frame(surface, ui, "Keys", hints, conflict_line(self.app))
        self.form.draw(surface, ui, area)

    def close(self) -> None:
        """Nothing to stop."""
