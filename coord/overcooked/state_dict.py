"""Between packed rows and the mappings of overcooked-ai's `OvercookedState.to_dict` / `from_dict`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from coord.errors import UserError
from coord.overcooked import packed_row as pr
from coord.overcooked.layouts import CLASSIC_TIME, RECIPES, Layout

Row = np.ndarray  # int16 [S], see packed_row.py
ORIENTATIONS: tuple[tuple[int, int], ...] = ((0, -1), (0, 1), (1, 0), (-1, 0))  # north, south, east, west
_LOOSE_NAMES = ("onion", "tomato", "dish")  # object codes 1, 2, 3
MAX_TICK = 1000  # what fits beside the code in 16 bits


def row_size(cells: int) -> int:
    """Entries of a packed row for layouts of at most `cells` cells."""
    return pr.CONTENT + 2 * cells


def start_row(layout: Layout, number: int, tables: pr.Tables, classic: bool) -> Row:
    """The row an episode begins with: chefs on their start tiles facing north, or the layout's own start state."""
    state = layout.start_state or {
        "players": [{"position": p, "orientation": ORIENTATIONS[0]} for p in layout.start_positions],
        "objects": [],
        "all_orders": [{"ingredients": recipe} for recipe in layout.all_orders],
        "bonus_orders": [{"ingredients": recipe} for recipe in layout.bonus_orders],
    }
    try:
        return pack(state, layout, number, tables, classic)
    except ValueError as error:
        raise UserError(f"layout '{layout.name}', start_state: {error}") from error


# --------------------------------------------------------------------------- row to mapping


def unpack(row: Row, layout: Layout, number: int, tables: pr.Tables) -> dict[str, Any]:
    """The mapping that overcooked-ai's own state would give for this row, objects in the order they were put down."""
    cells = tables.terrain.shape[1]
    times = tables.cook_time[number]
    loose = row[pr.CONTENT + cells :][: row[pr.NUM_LOOSE]]
    return {
        "players": [_player(row, seat, layout, times) for seat in range(layout.num_players)],
        "objects": [_object(int(row[pr.CONTENT + cell]), _xy(int(cell), layout), times) for cell in loose],
        "bonus_orders": _orders(int(row[pr.BONUS_ORDERS])),
        "all_orders": _orders(int(row[pr.ALL_ORDERS])),
        "timestep": int(row[pr.TIME]),
    }


def _xy(cell: int, layout: Layout) -> tuple[int, int]:
    return cell % layout.width, cell // layout.width


def _player(row: Row, seat: int, layout: Layout, times: np.ndarray) -> dict[str, Any]:
    cell, facing, held = (int(v) for v in row[pr.PLAYER + 3 * seat :][:3])
    position = _xy(cell, layout)
    held_object = _object(held, position, times) if held else None
    return {"position": position, "orientation": ORIENTATIONS[facing], "held_object": held_object}


def _object(content: int, position: tuple[int, int], times: np.ndarray) -> dict[str, Any]:
    if content < pr.SOUP:
        return {"name": _LOOSE_NAMES[content - 1], "position": position}
    seq, tick = content & pr.SEQ_MASK, (content >> pr.TICK_SHIFT) - 1
    idle, ready = tick < 0, 0 <= tick >= times[seq]
    return {
        "name": "soup",
        "position": position,
        "_ingredients": [{"name": name, "position": position} for name in pr.ingredients_of(seq)],
        "cooking_tick": tick,
        "is_cooking": not idle and not ready,
        "is_ready": bool(ready),
        "is_idle": idle,
        "cook_time": -1 if idle else int(times[seq]),
        "_cooking_tick": tick,
    }


def _orders(mask: int) -> list[dict[str, Any]]:
    return [{"ingredients": recipe} for r, recipe in enumerate(RECIPES) if mask >> r & 1]


# --------------------------------------------------------------------------- mapping to row


def pack(state: Mapping[str, Any], layout: Layout, number: int, tables: pr.Tables, classic: bool) -> Row:
    """A packed row from a state mapping, also of the 2019 form (soups as `"state": ["onion", 3, 12]`, no orders).

    As in overcooked-ai's `from_dict`, a state without orders allows every recipe, and a cook time of a soup's own
    does not outlive the next tick, so it is not kept. Raises ValueError naming what does not fit the kitchen.
    """
    try:
        return _pack(state, layout, number, tables, classic)
    except (TypeError, LookupError, AttributeError, OverflowError) as error:
        # of a mapping from elsewhere: a list where a mapping belongs, a missing key, a text for a number
        reason = f"no '{error.args[0]}'" if isinstance(error, KeyError) else f"{error!r:.120}"
        raise ValueError(f"it has not the form of a state, as OvercookedState.to_dict gives it: {reason}") from error


def _pack(state: Mapping[str, Any], layout: Layout, number: int, tables: pr.Tables, classic: bool) -> Row:
    cells = tables.terrain.shape[1]
    row = np.zeros(row_size(cells), np.int16)
    for key in ("players", "objects"):
        if key not in state:
            raise ValueError(f"the state has no '{key}'")
    players = list(state["players"])
    if len(players) != layout.num_players:
        raise ValueError(f"state has {len(players)} chefs, layout '{layout.name}' has {layout.num_players}")
    row[pr.TIME] = _in_range("timestep", state.get("timestep", 0), 0, 32766)
    row[pr.ALL_ORDERS] = _order_mask(state.get("all_orders") or ()) or _every_recipe(layout)
    row[pr.BONUS_ORDERS] = _order_mask(state.get("bonus_orders") or ())
    packer = _Packer(layout, tables.cook_time[number], classic)
    for seat, player in enumerate(players):
        row[pr.PLAYER + 3 * seat :][:3] = packer.player(player)
    if len({tuple(player["position"]) for player in players}) != len(players):
        raise ValueError("two chefs stand on one tile")
    for k, obj in enumerate(state["objects"]):
        cell, content = packer.loose(obj)
        if row[pr.CONTENT + cell]:
            raise ValueError(f"two objects lie at {tuple(obj['position'])}")
        row[pr.CONTENT + cell] = content
        row[pr.CONTENT + cells + k] = cell
    row[pr.NUM_LOOSE] = len(state["objects"])
    return row


def _in_range(what: str, value: Any, low: int, high: int) -> int:
    if int(value) != value or not low <= value <= high:
        raise ValueError(f"{what} is {value!r}, allowed: {low} to {high}")
    return int(value)


def _every_recipe(layout: Layout) -> int:
    return sum(1 << r for r, recipe in enumerate(RECIPES) if len(recipe) <= layout.max_ingredients)


def _order_mask(orders: Any) -> int:
    recipes = [tuple(sorted(order["ingredients"])) for order in orders]
    if stray := [recipe for recipe in recipes if recipe not in RECIPES]:
        raise ValueError(f"order {list(stray[0])} is no recipe")
    numbers = [RECIPES.index(recipe) for recipe in recipes]
    if len(set(numbers)) != len(numbers):
        raise ValueError("an order is listed twice")
    return sum(1 << number for number in numbers)


@dataclass(frozen=True)
class _Packer:
    """Codes of chefs and objects of one kitchen; `times` int16 [16] cook time by ingredient sequence."""

    layout: Layout
    times: np.ndarray
    classic: bool

    def player(self, player: Mapping[str, Any]) -> tuple[int, int, int]:
        """(cell, orientation, held object code) of a chef."""
        cell = self.cell(player["position"])
        if self.tile(cell) != " ":
            raise ValueError(f"a chef stands at {tuple(player['position'])}, which is no floor")
        if tuple(player["orientation"]) not in ORIENTATIONS:
            raise ValueError(f"orientation {player['orientation']} is none of {ORIENTATIONS}")
        held = player.get("held_object")
        return cell, ORIENTATIONS.index(tuple(player["orientation"])), self.content(held) if held else pr.NOTHING

    def loose(self, obj: Mapping[str, Any]) -> tuple[int, int]:
        """(cell, content) of an object on a counter or in a pot."""
        cell, content = self.cell(obj["position"]), self.content(obj)
        allowed = "XP" if content >= pr.SOUP else "X"
        if self.tile(cell) not in allowed:
            raise ValueError(f"{obj['name']} at {tuple(obj['position'])}: there is '{self.tile(cell)}', not {allowed}")
        if self.tile(cell) == "P" and self.classic and content >> pr.TICK_SHIFT == 0:
            full = len(pr.ingredients_of(content & pr.SEQ_MASK)) >= self.layout.classic_items
            content += full << pr.TICK_SHIFT  # under the classic rules a full pot is never idle
        return cell, content

    def cell(self, position: Sequence[int]) -> int:
        x, y = position
        if not (0 <= x < self.layout.width and 0 <= y < self.layout.height):
            raise ValueError(f"position {tuple(position)} is outside layout '{self.layout.name}'")
        return y * self.layout.width + x

    def tile(self, cell: int) -> str:
        return "".join(self.layout.terrain)[cell]

    def content(self, obj: Mapping[str, Any]) -> int:
        """Code of an object, with the tick if it is a soup."""
        if obj["name"] != "soup":
            if obj["name"] not in _LOOSE_NAMES:
                raise ValueError(f"object '{obj['name']}' is none of {(*_LOOSE_NAMES, 'soup')}")
            return 1 + _LOOSE_NAMES.index(obj["name"])
        if "state" in obj:
            return self.legacy_soup(*obj["state"])
        names = [item["name"] for item in obj["_ingredients"]]
        if self.classic and len(set(names)) > 1:
            raise ValueError(f"a soup of {names}: under the classic rules a soup has one kind of ingredient")
        return _soup(_sequence(names), int(obj.get("cooking_tick", -1)))

    def legacy_soup(self, kind: str, amount: int, time: int) -> int:
        """Soup of the 2019 form: idle at time 0; under the classic rules ready when its time is over, else from time
        20 on whatever its recipe takes, as overcooked-ai reads it.
        """
        seq = _sequence(["tomato" if kind == "tomato" else "onion"] * amount)
        ready = max(1, int(self.times[seq])) if self.classic else CLASSIC_TIME
        return _soup(seq, int(self.times[seq]) if time >= ready else time or -1)


def _sequence(names: Sequence[str]) -> int:
    if len(names) > 3 or not set(names) <= {"onion", "tomato"}:
        raise ValueError(f"a soup cannot consist of {list(names)}")
    seq = 1
    for name in names:
        seq = seq << 1 | (name == "tomato")
    return seq


def _soup(seq: int, tick: int) -> int:
    _in_range("cooking tick", tick, -1, MAX_TICK)
    if seq == 1 and tick >= 0:
        raise ValueError("a soup without ingredients cannot cook")
    return pr.SOUP + seq + (tick + 1 << pr.TICK_SHIFT)
