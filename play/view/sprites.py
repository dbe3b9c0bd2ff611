"""overcooked-ai's sprite sheets as pygame surfaces, scaled without smoothing.

The sheets are found through the installed package's folder; the package itself is never imported (it would
bring scipy and gym into the window's start-up).
"""

from __future__ import annotations

import importlib.util
import json
from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pygame

from coord.errors import UserError

SHEETS = ("terrain", "objects", "soups", "chefs")
CELL = 15  # px of one sprite
SCALED_LIMIT = 600  # scaled sprites kept
SIDES = {(0, -1): "NORTH", (0, 1): "SOUTH", (1, 0): "EAST", (-1, 0): "WEST"}
PLATE_AT = {"NORTH": (0.84, 0.42), "SOUTH": (0.33, 0.58), "EAST": (0.76, 0.65), "WEST": (0.25, 0.52)}  # of a chef
STRIPE = (250, 250, 250, 255)


@cache
def data_folder() -> Path:
    """Folder `data` of the installed overcooked-ai. Raises UserError when it is not installed."""
    spec = importlib.util.find_spec("overcooked_ai_py")
    if spec is None or spec.origin is None:
        raise UserError("the game's pictures come from the package 'overcooked-ai', which is not installed")
    return Path(spec.origin).parent / "data"


def frame_boxes(description: Mapping[str, Any]) -> dict[str, tuple[int, int, int, int]]:
    """Name -> (x, y, w, h) of a sheet's JSON; the sheets come in two dialects of one tool's format."""
    frames = description["textures"][0]["frames"] if "textures" in description else description["frames"]
    if isinstance(frames, Mapping):
        frames = [{"filename": name, **body} for name, body in frames.items()]
    return {item["filename"].removesuffix(".png"): tuple(item["frame"][side] for side in "xywh") for item in frames}


class Sprites:
    """All sprites by name ("EAST-onion", "pot", "soup_done_tomato_0_onion_3", ...), at any size."""

    def __init__(self) -> None:
        self._base: dict[str, pygame.Surface] = {}
        for sheet in SHEETS:
            self._load(data_folder() / "graphics" / sheet)
        self._pattern_hats()
        self._scaled: OrderedDict[tuple[str, int], pygame.Surface] = OrderedDict()

    def _load(self, stem: Path) -> None:
        try:
            picture = pygame.image.load(f"{stem}.png")
            boxes = frame_boxes(json.loads(Path(f"{stem}.json").read_text()))
        except (OSError, ValueError, KeyError, pygame.error) as err:
            raise UserError(f"cannot read the sprite sheet {stem.name}: {err}") from err
        for name, box in boxes.items():
            tile = pygame.Surface((CELL, CELL), pygame.SRCALPHA)
            area = pygame.Rect(box).clip(picture.get_rect())
            tile.blit(picture, (0, 0), area)
            self._base[name] = tile

    def _pattern_hats(self) -> None:
        """Stripe the second, third and fourth seat's hats, each its own way, so that colour is not needed."""
        patterns = {
            "orange": lambda x, y: x % 2 == 0,
            "green": lambda x, y: y % 2 == 0,
            "purple": lambda x, y: (x + y) % 2 == 0,
        }
        for side in ("NORTH", "SOUTH", "EAST", "WEST"):
            for color, is_white in patterns.items():
                _paint(self._base[f"{side}-{color}hat"], is_white)

    def __contains__(self, name: str) -> bool:
        return name in self._base

    def at(self, name: str, px: int) -> pygame.Surface:
        """The sprite `px` pixels wide, nearest-neighbour."""
        key = (name, px)
        if key in self._scaled:
            self._scaled.move_to_end(key)
            return self._scaled[key]
        piece = pygame.transform.scale(self._base[name], (px, px))
        if pygame.display.get_surface() is not None:
            piece = piece.convert_alpha()
        self._scaled[key] = piece
        if len(self._scaled) > SCALED_LIMIT:
            self._scaled.popitem(last=False)
        return piece


def _paint(hat: pygame.Surface, is_white: Callable[[int, int], bool]) -> None:
    for x in range(CELL):
        for y in range(CELL):
            if hat.get_at((x, y)).a and is_white(x, y):
                hat.set_at((x, y), STRIPE)


def object_sprite(item: Mapping[str, Any], in_pot: bool = False) -> str:
    """Sprite name of a loose object in overcooked-ai's dictionary form."""
    if item["name"] != "soup":
        return item["name"]
    tomatoes, onions = soup_counts(item)
    if not in_pot:
        status = "done"
    else:
        status = "cooked" if item.get("is_ready") else "idle"
    return f"soup_{status}_tomato_{tomatoes}_onion_{onions}"


def soup_counts(soup: Mapping[str, Any]) -> tuple[int, int]:
    """(tomatoes, onions) of a soup."""
    names = [part["name"] if isinstance(part, Mapping) else part for part in soup.get("_ingredients", ())]
    return names.count("tomato"), names.count("onion")


def recipe_sprite(ingredients: tuple[str, ...] | list[str]) -> str:
    """Sprite of a served dish of this recipe."""
    return f"soup_done_tomato_{ingredients.count('tomato')}_onion_{ingredients.count('onion')}"


def chef_sprites(player: Mapping[str, Any], seat: int, hats: tuple[str, ...]) -> tuple[str, str]:
    """(body, hat) sprite names of a player in overcooked-ai's dictionary form.

    A chef with soup holds a plate: the sheet knows only two soups, so the painter lays the recipe on the plate.
    """
    side = side_of(player)
    held = player.get("held_object")
    item = {"soup": "dish"}.get(held["name"], held["name"]) if held else ""
    return f"{side}-{item}" if item else side, f"{side}-{hats[seat % len(hats)]}hat"


def side_of(player: Mapping[str, Any]) -> str:
    """The way a player faces, as the sheets name it."""
    return SIDES[tuple(player["orientation"])]
