"""Recorded games: one JSON file each, small because a game is its joint actions, and their replay for the report.

    {"schema": 1, "layout": name, "grid": [row, ...], "rules": "classic", "horizon": 400,
     "agents": [who sits in seat 0, who in seat 1], "return": 120.0, "joint_actions": [[a0, a1], ...]}

A replay steps the kitchen through the actions again and must earn the recorded return.
"""

from __future__ import annotations

import base64
import contextlib
import io
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from coord.errors import UserError
from coord.files import atomic_write_json
from coord.overcooked import Layout, OvercookedVectorEnv, load_layout, render


@dataclass(frozen=True, kw_only=True)
class Game:
    """One recorded game."""

    layout: str
    grid: list[str]
    rules: str
    horizon: int
    agents: list[str]  # by seat
    total: float  # return, "return" in the file
    joint_actions: list[list[int]]  # [T][P]

    def to_json(self) -> dict[str, Any]:
        """The content of its file."""
        data = asdict(self)
        return {"schema": 1, **{("return" if key == "total" else key): value for key, value in data.items()}}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Game:
        """Raises KeyError, TypeError or ValueError where a field is missing or wrong."""
        joint_actions = np.asarray(data["joint_actions"])
        is_table = joint_actions.ndim == 2 and joint_actions.dtype.kind in "iu"
        if not is_table or not np.isin(joint_actions, range(6)).all():
            raise ValueError("joint_actions must be rows of action numbers 0 ... 5, one row per tick")
        agents = [str(agent) for agent in data["agents"]]
        if joint_actions.shape[1] != len(agents):
            raise ValueError(f"{joint_actions.shape[1]} actions per tick, but {len(agents)} agents")
        return cls(
            layout=str(data["layout"]),
            grid=[str(row) for row in data["grid"]],
            rules=str(data["rules"]),
            horizon=int(data["horizon"]),
            agents=agents,
            total=float(data["return"]),
            joint_actions=joint_actions.tolist(),
        )


def save_game(game: Game, path: str | Path) -> None:
    """Write the game's file. Raises UserError where it cannot be written."""
    atomic_write_json(path, game.to_json())


def replay(game: Game) -> dict[str, Any]:
    """Step through `game` and describe every tick for the player in the report.

    Returns: size [W, H]; tiles: sprite number per cell, row by row; ticks: one entry per state, [score, actions taken
    next, players, objects], a player being [x, y, chef sprite, hat sprite], an object [x, y, sprite, ticks until it is
    cooked or -1].
    Raises: ValueError where the replay does not earn the recorded return: the rules or the layout have changed since.
    """
    layout = _kitchen(game)
    env = OvercookedVectorEnv(layout, 1, horizon=len(game.joint_actions) + 1, rules=game.rules)
    score, ticks = 0.0, []
    for joint_act in [*game.joint_actions, None]:
        ticks.append([score, joint_act, *_picture(env.state_dict(0), layout)])
        if joint_act is not None:
            score += float(env.step(np.asarray([joint_act])).rew[0])
    if abs(score - game.total) > 1e-3:
        raise ValueError(f"its replay earns {score:g} points, the recording says {game.total:g}")
    tiles = [[_numbers()[render.TERRAIN[cell]] for cell in row] for row in layout.terrain]
    return {"size": [layout.width, layout.height], "tiles": tiles, "ticks": ticks}


def _kitchen(game: Game) -> Layout:
    """The layout of that name where its grid is still the recorded one, else the recorded grid on its own."""
    with contextlib.suppress(UserError):
        layout = load_layout(game.layout)
        if list(layout.grid) == game.grid:
            return layout
    return load_layout("\n".join(game.grid))


def _picture(state: Mapping[str, Any], layout: Layout) -> list[list[list[int]]]:
    """Players and objects of one state as sprite numbers at cells."""
    players = [
        [*player["position"], *(_numbers()[name] for name in render.chef_sprites(player, seat))]
        for seat, player in enumerate(state["players"])
    ]
    objects = []
    for thing in state["objects"]:
        x, y = thing["position"]
        name = render.object_sprite(thing, layout.terrain[y][x] == "P", layout.classic_time)
        left = thing["cook_time"] - thing["cooking_tick"] if thing.get("is_cooking") else -1
        objects.append([x, y, _numbers()[name], left])
    return [players, objects]


@cache
def _numbers() -> dict[str, int]:
    """Sprite name -> its place in the sheet of `sprite_sheet`."""
    return {name: i for i, name in enumerate(render.sprites())}


def sprite_sheet() -> dict[str, Any]:
    """All sprites in one picture: its data URI, how many sprites a row holds, and pixels per sprite."""
    pictures = list(render.sprites().values())
    columns = math.isqrt(len(pictures) - 1) + 1
    size = render.SPRITE
    sheet = Image.new("RGBA", (columns * size, -(-len(pictures) // columns) * size))
    for i, picture in enumerate(pictures):
        sheet.paste(picture, (i % columns * size, i // columns * size))
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG", optimize=True)
    uri = "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
    return {"uri": uri, "columns": columns, "size": size}
