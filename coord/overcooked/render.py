"""Pictures of a kitchen, drawn with overcooked-ai's own sprites; no window and no pygame.

Everything is composed at the sprites' 15 pixels per tile and then enlarged without smoothing. What the
sprites cannot show, how far a pot has cooked, is a bar along the pot's lower edge, drawn at full size.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from coord.errors import UserError
from coord.overcooked.layouts import CLASSIC_TIME, Layout

SPRITE = 15  # pixels of one tile in the sprite sheets
SHEETS = ("terrain", "objects", "soups", "chefs")
TERRAIN = {" ": "floor", "X": "counter", "O": "onions", "T": "tomatoes", "P": "pot", "D": "dishes", "S": "serve"}
DIRECTIONS = {(0, -1): "NORTH", (0, 1): "SOUTH", (1, 0): "EAST", (-1, 0): "WEST"}
SEAT_HATS = ("blue", "orange", "green", "purple")
HUD_BACKGROUND, HUD_TEXT = (155, 101, 0), (255, 255, 255)
BAR_BACKGROUND, BAR_COOKING, BAR_READY = (60, 60, 60), (255, 200, 60), (90, 220, 90)


class Soup(NamedTuple):
    """What a picture needs to know of a soup."""

    onions: int
    tomatoes: int
    tick: int  # -1 while nobody has started it
    cook_time: int

    @property
    def is_ready(self) -> bool:
        return 0 <= self.tick >= self.cook_time


def render_frame(
    layout: Layout, state: Mapping[str, Any], *, tile: int = 3 * SPRITE, hud: Mapping[str, Any] | None = None
) -> NDArray[np.uint8]:
    """Picture of one state, uint8 [H, W, 3]: the grid at `tile` pixels per tile, under a line of text if
    `hud` is given.

    state: mapping in the form of `OvercookedState.to_dict` (soups may have the 2019 form). hud: label ->
    value, shown in the given order. Raises UserError when overcooked-ai, which holds the sprites, is not
    installed.
    """
    scene = _terrain(layout).copy()
    pots = []
    for thing in state["objects"]:
        position = tuple(thing["position"])
        in_pot = layout.terrain[position[1]][position[0]] == "P"
        if in_pot:
            pots.append((position, read_soup(thing, layout.classic_time)))
        _paste(scene, position, object_sprite(thing, in_pot, layout.classic_time))
    for seat, player in enumerate(state["players"]):
        for name in chef_sprites(player, seat):
            _paste(scene, tuple(player["position"]), name)
    picture = scene.convert("RGB").resize((layout.width * tile, layout.height * tile), Image.Resampling.NEAREST)
    draw = ImageDraw.Draw(picture)
    for position, soup in pots:
        _draw_progress(draw, position, soup, tile)
    return np.asarray(_with_hud(picture, hud, tile) if hud else picture)


def read_soup(thing: Mapping[str, Any], classic_time: int = CLASSIC_TIME) -> Soup:
    """Contents and progress of a soup in today's or the 2019 form of a state mapping.

    The form of 2019 says nothing of the cook time: it is `classic_time`, in ticks.
    """
    if "state" in thing:
        kind, amount, ticks = thing["state"]
        tomatoes = amount if kind == "tomato" else 0
        return Soup(amount - tomatoes, tomatoes, ticks or -1, classic_time)
    names = [item["name"] for item in thing["_ingredients"]]
    tick = thing.get("cooking_tick", thing.get("_cooking_tick", -1))
    return Soup(names.count("onion"), names.count("tomato"), tick, thing["cook_time"])


# --------------------------------------------------------------------------- which sprite


def object_sprite(thing: Mapping[str, Any], in_pot: bool, classic_time: int = CLASSIC_TIME) -> str:
    """Name of the sprite of something that lies on a counter or is in a pot; `classic_time` as for `read_soup`."""
    if thing["name"] != "soup":
        return thing["name"]
    soup = read_soup(thing, classic_time)
    look = "done" if not in_pot else "cooked" if soup.is_ready else "idle"
    return f"soup_{look}_tomato_{soup.tomatoes}_onion_{soup.onions}"


def chef_sprites(player: Mapping[str, Any], seat: int) -> tuple[str, str]:
    """Names of the sprites of a chef, body and hat. The sheets know a held soup by its main ingredient only:
    with an onion it is an onion soup.
    """
    direction = DIRECTIONS[tuple(player["orientation"])]
    hat = f"{direction}-{SEAT_HATS[seat]}hat"
    held = player.get("held_object")
    if held is None:
        return direction, hat
    if held["name"] != "soup":
        return f"{direction}-{held['name']}", hat
    return f"{direction}-soup-{'onion' if read_soup(held).onions else 'tomato'}", hat


# --------------------------------------------------------------------------- drawing


def _paste(scene: Image.Image, position: tuple[int, ...], name: str) -> None:
    """Lay a sprite over a tile of the unscaled scene. A soup without ingredients has no sprite."""
    sprite = sprites().get(name)
    if sprite is not None:
        scene.alpha_composite(sprite, (position[0] * SPRITE, position[1] * SPRITE))


def _draw_progress(draw: ImageDraw.ImageDraw, position: tuple[int, ...], soup: Soup, tile: int) -> None:
    """Bar along a pot's lower edge: the part of the cooking time that has passed."""
    if soup.tick < 0:
        return
    height, margin = max(2, tile // 10), max(1, tile // 15)
    left, bottom = position[0] * tile + margin, (position[1] + 1) * tile - margin
    width = tile - 2 * margin
    done = 1.0 if soup.is_ready else soup.tick / soup.cook_time
    draw.rectangle((left, bottom - height, left + width - 1, bottom - 1), fill=BAR_BACKGROUND)
    if round(width * done):
        color = BAR_READY if soup.is_ready else BAR_COOKING
        draw.rectangle((left, bottom - height, left + round(width * done) - 1, bottom - 1), fill=color)


def _with_hud(picture: Image.Image, hud: Mapping[str, Any], tile: int) -> Image.Image:
    """The picture below its text, which takes as many lines as it needs."""
    size = max(10, tile // 3)
    font, gap = _font(size), size // 2
    lines: list[str] = []
    for label, value in hud.items():
        item = f"{label} {value}"
        joined = f"{lines[-1]}    {item}" if lines else item
        if lines and font.getlength(joined) <= picture.width - 2 * gap:
            lines[-1] = joined
        else:
            lines.append(item)
    top = gap + len(lines) * (size + gap)
    whole = Image.new("RGB", (picture.width, top + picture.height), HUD_BACKGROUND)
    draw = ImageDraw.Draw(whole)
    for number, line in enumerate(lines):
        draw.text((gap, gap // 2 + number * (size + gap)), line, font=font, fill=HUD_TEXT)
    whole.paste(picture, (0, top))
    return whole


# --------------------------------------------------------------------------- sprites


@lru_cache(maxsize=64)
def _terrain(layout: Layout) -> Image.Image:
    """The empty kitchen, unscaled."""
    scene = Image.new("RGBA", (layout.width * SPRITE, layout.height * SPRITE))
    for y, row in enumerate(layout.terrain):
        for x, char in enumerate(row):
            _paste(scene, (x, y), TERRAIN[char])
    return scene


@lru_cache(maxsize=1)
def sprites() -> dict[str, Image.Image]:
    """All sprites by name. The sheets' descriptions come in two dialects: a list of frames, or a mapping by
    file name.
    """
    sprites = {}
    for sheet in SHEETS:
        stem = _data_folder() / "graphics" / sheet
        with Image.open(f"{stem}.png") as picture:
            pixels = picture.convert("RGBA")
        description = json.loads(Path(f"{stem}.json").read_text(encoding="utf-8"))
        frames = description["frames"] if "frames" in description else description["textures"][0]["frames"]
        if isinstance(frames, Mapping):
            frames = [{"filename": name, **body} for name, body in frames.items()]
        for frame in frames:
            x, y, w, h = (frame["frame"][side] for side in "xywh")
            sprites[frame["filename"].removesuffix(".png")] = pixels.crop((x, y, x + w, y + h))
    return sprites


@lru_cache(maxsize=8)
def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(_data_folder() / "fonts" / "Roboto-Regular.ttf"), size)


def _data_folder() -> Path:
    """Folder `data` of the installed overcooked-ai, found without importing the package."""
    package = importlib.util.find_spec("overcooked_ai_py")
    if package is None or package.origin is None:
        raise UserError("the sprites come with the package overcooked-ai 1.1.0, which is not installed")
    return Path(package.origin).parent / "data"
