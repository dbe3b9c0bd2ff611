"""pygame's events as small values the screens understand; keys and pad buttons become plain strings.

Keyboard keys carry pygame's names ("up", "w", "space", "return"), others what `key_name` says; pads are
`pad<slot>:<control>` with slot 0 for the first pad that was connected. Controllers SDL knows by model report true
labels; others use the usual button order.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

import pygame
from pygame._sdl2 import controller as sdl_controller

DEAD_ZONE, RELEASE_ZONE = 0.5, 0.35  # a stick counts as pushed above the first and as let go below the second
AXIS_FULL = 32767
PLAIN_BUTTONS = {0: "a", 1: "b", 2: "x", 3: "y", 4: "l", 5: "r", 6: "back", 7: "start"}
MODEL_BUTTONS = {
    0: "a", 1: "b", 2: "x", 3: "y", 4: "back", 5: "guide", 6: "start", 9: "l", 10: "r",
    11: "up", 12: "down", 13: "left", 14: "right",
}  # fmt: skip  # SDL_GameControllerButton
AXIS_NAMES = {0: ("left", "right"), 1: ("up", "down")}

NAV = {
    "up": "up", "down": "down", "left": "left", "right": "right",
    "return": "confirm", "enter": "confirm", "space": "confirm", "escape": "back", "tab": "down",
    "home": "first", "end": "last", "page up": "page_up", "page down": "page_down",
}  # fmt: skip
PAD_NAV = {
    "up": "up", "down": "down", "left": "left", "right": "right", "a": "confirm", "b": "back", "start": "confirm",
    "l": "page_up", "r": "page_down",
}  # fmt: skip


@dataclass(frozen=True)
class UiEvent:
    """One thing that happened. `kind`: press, release, text, move, click, unclick, wheel, blur, pad or quit."""

    kind: str
    key: str = ""  # press and release: the key; pad: what happened to which pad
    pos: tuple[int, int] = (0, 0)  # mouse events
    amount: int = 0  # wheel: steps up (+) or down (-)
    text: str = ""  # text: what was typed
    shift: bool = False
    ctrl: bool = False
    repeat: bool = False

    @property
    def nav(self) -> str:
        """What a press means in a menu: up, down, left, right, confirm, back, first, last, page_up, page_down or ""."""
        if self.kind != "press":
            return ""
        if self.key == "tab" and self.shift:
            return "up"
        pad, _, control = self.key.partition(":")
        return PAD_NAV.get(control, "") if control and pad.startswith("pad") else NAV.get(self.key, "")

    @property
    def from_pad(self) -> bool:
        return self.kind == "press" and self.key.startswith("pad") and ":" in self.key


def key_name(key: int, scancode: int) -> str:
    """The name that bindings know a key by; "" for one that has none.

    pygame names Latin keys only. A letter of another alphabet is the Latin one in its place, since the presets mean
    places (WASD); any other key is called by what it prints.
    """
    name = pygame.key.name(key)
    if name or not key:
        return name
    if pygame.KSCAN_A <= scancode <= pygame.KSCAN_Z and not _is_latin(chr(key) if key < 0x110000 else ""):
        return chr(ord("a") + scancode - pygame.KSCAN_A)
    return pygame.key.name(key, use_compat=False).lower()


def _is_latin(letter: str) -> bool:
    return unicodedata.name(letter, "").startswith("LATIN")


class Translator:
    """Turns pygame events into UiEvents; opens pads as they are plugged in and remembers which stick is pushed."""

    def __init__(self) -> None:
        self._slots: dict[int, int] = {}  # instance id -> pad slot
        self._pads: dict[int, object] = {}  # instance id -> open device (kept alive)
        self._models: set[int] = set()  # instance ids SDL knows the button layout of
        self._pushed: dict[tuple[int, int], str] = {}  # (instance id, axis) -> held direction
        self._keys: set[str] = set()
        self._names: dict[int, str] = {}  # place on the keyboard -> name of the key that is held there

    def translate(self, event: pygame.event.Event) -> list[UiEvent]:
        """The UiEvents of one pygame event, mostly none or one."""
        handler = HANDLERS.get(event.type)
        return handler(self, event) if handler else []

    def _key(self, event: pygame.event.Event) -> list[UiEvent]:
        place = getattr(event, "scancode", 0)
        name = key_name(event.key, place)
        if event.type == pygame.KEYUP:
            name = self._names.pop(place, name)  # the keyboard's layout may have changed since it went down
        elif place:
            self._names[place] = name
        if not name:
            return []
        if event.type == pygame.KEYUP:
            self._keys.discard(name)
            return [UiEvent("release", name)]
        repeat = name in self._keys
        self._keys.add(name)
        mod = getattr(event, "mod", 0)
        shift, ctrl = bool(mod & pygame.KMOD_SHIFT), bool(mod & pygame.KMOD_CTRL)
        return [UiEvent("press", name, shift=shift, ctrl=ctrl, repeat=repeat)]

    def _text(self, event: pygame.event.Event) -> list[UiEvent]:
        return [UiEvent("text", text=event.text)] if event.text.isprintable() else []

    def _mouse(self, event: pygame.event.Event) -> list[UiEvent]:
        if event.type == pygame.MOUSEMOTION:
            return [UiEvent("move", pos=event.pos)]
        if event.button != pygame.BUTTON_LEFT:
            return []
        return [UiEvent("click" if event.type == pygame.MOUSEBUTTONDOWN else "unclick", pos=event.pos)]

    def _wheel(self, event: pygame.event.Event) -> list[UiEvent]:
        return [UiEvent("wheel", pos=pygame.mouse.get_pos(), amount=event.y)]

    def _blur(self, event: pygame.event.Event) -> list[UiEvent]:
        self._keys.clear()
        self._names.clear()
        return [UiEvent("blur")]

    def _quit(self, event: pygame.event.Event) -> list[UiEvent]:
        return [UiEvent("quit")]

    def _plug(self, event: pygame.event.Event) -> list[UiEvent]:
        if event.type == pygame.JOYDEVICEREMOVED:
            return self._unplug(event.instance_id)
        try:
            is_model = sdl_controller.is_controller(event.device_index)
            pad = (sdl_controller.Controller if is_model else pygame.joystick.Joystick)(event.device_index)
            instance = (pad.as_joystick() if is_model else pad).get_instance_id()
        except pygame.error:
            return []
        if instance in self._slots:
            return []
        self._slots[instance] = min(set(range(len(self._slots) + 1)) - set(self._slots.values()))
        self._pads[instance] = pad
        if is_model:
            self._models.add(instance)
        return [UiEvent("pad", f"pad {self._slots[instance] + 1} connected")]

    def _unplug(self, instance: int) -> list[UiEvent]:
        slot = self._slots.pop(instance, None)
        self._pads.pop(instance, None)
        self._models.discard(instance)
        for key in [key for key in self._pushed if key[0] == instance]:
            del self._pushed[key]
        return [] if slot is None else [UiEvent("pad", f"pad {slot + 1} disconnected")]

    def _button(self, event: pygame.event.Event) -> list[UiEvent]:
        is_model = event.type in (pygame.CONTROLLERBUTTONDOWN, pygame.CONTROLLERBUTTONUP)
        if is_model != (event.instance_id in self._models):
            return []  # a known controller reports every button twice
        name = (MODEL_BUTTONS if is_model else PLAIN_BUTTONS).get(event.button)
        slot = self._slots.get(event.instance_id, 0)
        is_down = event.type in (pygame.CONTROLLERBUTTONDOWN, pygame.JOYBUTTONDOWN)
        return [UiEvent("press" if is_down else "release", f"pad{slot}:{name}")] if name else []

    def _axis(self, event: pygame.event.Event) -> list[UiEvent]:
        is_model = event.type == pygame.CONTROLLERAXISMOTION
        if event.axis not in AXIS_NAMES or is_model != (event.instance_id in self._models):
            return []
        value = event.value / AXIS_FULL if is_model else event.value
        return self._push(event.instance_id, event.axis, value)

    def _hat(self, event: pygame.event.Event) -> list[UiEvent]:
        if event.instance_id in self._models:
            return []
        x, y = event.value
        return self._push(event.instance_id, 0, float(x), 2) + self._push(event.instance_id, 1, float(-y), 2)

    def _push(self, instance: int, axis: int, value: float, bank: int = 0) -> list[UiEvent]:
        """Press or release of a stick's direction, with hysteresis; `bank` keeps stick and hat apart."""
        slot, key = self._slots.get(instance, 0), (instance, axis + bank)
        was = self._pushed.get(key)
        limit = RELEASE_ZONE if was else DEAD_ZONE
        now = AXIS_NAMES[axis][value > 0] if abs(value) >= limit else None
        if now == was:
            return []
        self._pushed.pop(key, None)
        out = [UiEvent("release", f"pad{slot}:{was}")] if was else []
        if now:
            self._pushed[key] = now
            out.append(UiEvent("press", f"pad{slot}:{now}"))
        return out


HANDLERS = {
    pygame.KEYDOWN: Translator._key,
    pygame.KEYUP: Translator._key,
    pygame.TEXTINPUT: Translator._text,
    pygame.MOUSEMOTION: Translator._mouse,
    pygame.MOUSEBUTTONDOWN: Translator._mouse,
    pygame.MOUSEBUTTONUP: Translator._mouse,
    pygame.MOUSEWHEEL: Translator._wheel,
    pygame.WINDOWFOCUSLOST: Translator._blur,
    pygame.WINDOWMINIMIZED: Translator._blur,
    pygame.QUIT: Translator._quit,
    pygame.JOYDEVICEADDED: Translator._plug,
    pygame.JOYDEVICEREMOVED: Translator._plug,
    pygame.JOYBUTTONDOWN: Translator._button,
    pygame.JOYBUTTONUP: Translator._button,
    pygame.CONTROLLERBUTTONDOWN: Translator._button,
    pygame.CONTROLLERBUTTONUP: Translator._button,
    pygame.JOYAXISMOTION: Translator._axis,
    pygame.CONTROLLERAXISMOTION: Translator._axis,
    pygame.JOYHATMOTION: Translator._hat,
}
