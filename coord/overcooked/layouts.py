"""Kitchen layouts: the files of overcooked-ai by name, own files, and grid strings.

A grid is a rectangle of characters: `X` counter, `O` onion dispenser, `T` tomato dispenser, `D` dish dispenser, `P`
pot, `S` serving hatch, a blank for floor, and the digits 1..4 for the chefs' start tiles (a chef starts facing
north). Cells are numbered row by row, `cell = y * width + x`, which is also the order in which overcooked-ai lists
its pots.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import json
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from coord.errors import UserError, unknown

MAX_PLAYERS = 4
MAX_COOK_TIME = 255
RECIPES: tuple[tuple[str, ...], ...] = (  # in overcooked-ai's sorted order
    ("onion",),
    ("onion", "onion"),
    ("onion", "onion", "onion"),
    ("tomato",),
    ("tomato", "tomato"),
    ("tomato", "tomato", "tomato"),
    ("onion", "tomato"),
    ("onion", "onion", "tomato"),
    ("onion", "tomato", "tomato"),
)
CLASSIC_TIME = 20
CLASSIC_VALUE = 20.0
CLASSIC_ITEMS = 3
BASE_SHAPING = {"PLACEMENT_IN_POT_REW": 3, "DISH_PICKUP_REWARD": 3, "SOUP_PICKUP_REWARD": 5}
LAYOUT_ALIASES: Mapping[str, str] = {  # names of 2019 whose grids are those of a file shipped today
    "simple": "cramped_room",
    "unident_s": "asymmetric_advantages",
    "random0": "forced_coordination",
    "random1": "coordination_ring",
}
HISTORICAL_GRIDS: Mapping[str, str] = {  # of 2019; this one differs from counter_circuit_o_1order in its start tiles
    "random3": "XXXPPXXX\nX      X\nD XXXX S\nX2    1X\nXXXOOXXX",
}
_TILES = "XOTDPS "
_MAPPINGS = ("rew_shaping_params", "start_state")
_NUMBERS = (
    "order_bonus",
    "max_num_ingredients",
    "num_items_for_soup",
    "cook_time",
    "delivery_reward",
    "recipe_values",
    "recipe_times",
    "onion_value",
    "tomato_value",
    "onion_time",
    "tomato_time",
)
_FIELDS = ("grid", "start_bonus_orders", "start_all_orders", *_MAPPINGS, *_NUMBERS)


@dataclass(frozen=True)
class Layout:
    """One kitchen: its grid, and what its soups take and pay.

    `grid` keeps the start digits, `terrain` shows floor in their place. `times` (ticks) and `values` (points) hold
    one entry per row of RECIPES, whether the recipe is ordered or not. `shaping` holds the shaping rewards for a
    placement in a pot, a useful dish pick-up and a soup pick-up. `start_state` is an overcooked-ai state mapping or
    None. These hold under the rules "overcooked-ai"; under the classic ones every soup takes `classic_time` ticks, pays
    `classic_value` points and holds `classic_items` of one ingredient.
    """

    name: str
    grid: tuple[str, ...]
    all_orders: tuple[tuple[str, ...], ...] = ()
    bonus_orders: tuple[tuple[str, ...], ...] = ()
    times: tuple[int, ...] = (CLASSIC_TIME,) * len(RECIPES)
    values: tuple[float, ...] = (CLASSIC_VALUE,) * len(RECIPES)
    order_bonus: float = 2.0
    max_ingredients: int = 3
    shaping: tuple[float, float, float] = (3.0, 3.0, 5.0)
    start_state: Mapping[str, Any] | None = field(default=None, compare=False)
    classic_time: int = CLASSIC_TIME
    classic_value: float = CLASSIC_VALUE
    classic_items: int = CLASSIC_ITEMS

    @property
    def width(self) -> int:
        return len(self.grid[0])

    @property
    def height(self) -> int:
        return len(self.grid)

    @cached_property
    def num_players(self) -> int:
        return sum(char.isdigit() for row in self.grid for char in row)

    @cached_property
    def terrain(self) -> tuple[str, ...]:
        return tuple("".join(" " if char.isdigit() else char for char in row) for row in self.grid)

    @cached_property
    def start_positions(self) -> tuple[tuple[int, int], ...]:
        """(x, y) of each seat's start tile."""
        tiles = {char: (x, y) for y, row in enumerate(self.grid) for x, char in enumerate(row) if char.isdigit()}
        return tuple(tiles[digit] for digit in sorted(tiles))

    @cached_property
    def hash(self) -> str:
        """SHA-256 of everything but the name; parameters of 2019 only where a layout sets them, as hashes are kept."""
        parts = [self.grid, self.all_orders, self.bonus_orders, self.times, self.values, self.order_bonus]
        parts += [self.max_ingredients, self.shaping, self.start_state]
        classic = (self.classic_time, self.classic_value, self.classic_items)
        if classic != (CLASSIC_TIME, CLASSIC_VALUE, CLASSIC_ITEMS):
            parts.append(classic)
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def cells(self, tile: str) -> list[int]:
        """Numbers of the cells of one kind, in row order."""
        return [i for i, char in enumerate("".join(self.terrain)) if char == tile]


def load_layout(source: str | Path | Layout) -> Layout:
    """A layout by name or alias, from a file (.layout mapping or bare grid), or from a grid string (has line breaks).

    `generated:<seed>` names a random kitchen (see `coord.overcooked.generator`).

    Raises UserError naming the row, the column and the reason for a bad grid, or the closest name for an unknown one.
    """
    if isinstance(source, Layout):
        return source
    if source in HISTORICAL_GRIDS:
        return from_grid(_split_rows(HISTORICAL_GRIDS[str(source)]), str(source))
    if isinstance(source, str) and "\n" in source:
        digest = hashlib.sha256("\n".join(_split_rows(source)).encode()).hexdigest()
        return _from_text(source, f"grid-{digest[:8]}")
    if str(source).startswith("generated:"):
        from coord.overcooked.generator import generate_layout, parse_name  # which builds on this module

        return generate_layout(*parse_name(str(source)))
    folder, names = _package_files()
    name = LAYOUT_ALIASES.get(str(source), str(source))
    if name in names:
        return _load_file(folder / f"{name}.layout")
    path = Path(source)
    if path.suffix or path.is_file():
        return _load_file(path)
    raise unknown("layout", str(source), [*names, *LAYOUT_ALIASES, *HISTORICAL_GRIDS, "generated:<seed>"])


def from_grid(grid: tuple[str, ...], name: str = "") -> Layout:
    """A layout of three-onion soups, as the classic ones are; without a name it is called by a digest of its grid."""
    text = "\n".join(grid)
    name = name or f"grid-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
    return _build(name, {"grid": text, "start_all_orders": [{"ingredients": RECIPES[2]}]})


def layout_names() -> list[str]:
    """Names of all layouts that ship with overcooked-ai."""
    return list(_package_files()[1])


@lru_cache(maxsize=1)
def _package_files() -> tuple[Path, tuple[str, ...]]:
    """Folder and names of overcooked-ai's layout files, found without importing the package (it imports gym)."""
    spec = importlib.util.find_spec("overcooked_ai_py")
    if spec is None or not spec.submodule_search_locations:
        raise UserError("the package overcooked-ai is not installed: its layout files are needed")
    folder = Path(spec.submodule_search_locations[0]) / "data" / "layouts"
    return folder, tuple(sorted(path.stem for path in folder.glob("*.layout")))


def _load_file(path: Path) -> Layout:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read layout file '{path}': {error}") from error
    return _from_text(text, path.stem)


def _from_text(text: str, name: str) -> Layout:
    params = _parse_mapping(text, name) if text.lstrip().startswith("{") else {"grid": text}
    for key in params:
        if key not in _FIELDS:
            raise unknown(f"field in layout '{name}'", key, _FIELDS)
    if not isinstance(params.get("grid"), str):
        raise UserError(f"layout '{name}' has no grid")
    return _build(name, params)


def _parse_mapping(text: str, name: str) -> dict[str, Any]:
    """A .layout file is the text of a Python mapping; `float('inf')` is the one call that occurs in it."""
    try:
        tree = _InfinityLiteral().visit(ast.parse(text.strip(), mode="eval"))
        params = ast.literal_eval(tree)
    except (SyntaxError, ValueError) as error:
        raise UserError(f"layout '{name}' is not a mapping of plain values: {error}") from error
    if not isinstance(params, dict):
        raise UserError(f"layout '{name}' is not a mapping")
    return params


class _InfinityLiteral(ast.NodeTransformer):
    """Replaces the call `float('inf')` by its value, so that literal_eval can read the rest."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        if ast.unparse(node) == "float('inf')":
            return ast.Constant(value=float("inf"))
        return node


def _build(name: str, params: Mapping[str, Any]) -> Layout:
    grid = _split_rows(params["grid"])
    check_grid(grid, name)
    _check_types(name, params)
    limit = params.get("max_num_ingredients", 3)
    if limit not in (1, 2, 3):
        raise UserError(f"layout '{name}': max_num_ingredients is {limit!r}, allowed: 1, 2, 3")
    every = tuple(recipe for recipe in RECIPES if len(recipe) <= limit)
    listed = _orders(name, params.get("start_all_orders") or ())
    all_orders = listed or every
    bonus_orders = _orders(name, params.get("start_bonus_orders") or ())
    if stray := [recipe for recipe in bonus_orders if recipe not in all_orders]:
        raise UserError(f"layout '{name}': bonus order {list(stray[0])} is not among start_all_orders")
    shaping = BASE_SHAPING if params.get("rew_shaping_params") is None else params["rew_shaping_params"]
    return Layout(
        name=name,
        grid=grid,
        all_orders=tuple(recipe for recipe in RECIPES if recipe in all_orders),
        bonus_orders=tuple(recipe for recipe in RECIPES if recipe in bonus_orders),
        times=_times(name, params, listed),
        values=tuple(float(v) for v in _per_recipe(name, params, listed, "value", "delivery_reward")),
        order_bonus=float(params.get("order_bonus", 2)),
        max_ingredients=limit,
        shaping=tuple(float(_shaping(name, shaping, key)) for key in BASE_SHAPING),  # type: ignore[arg-type]
        start_state=params.get("start_state"),
    )


def _check_types(name: str, params: Mapping[str, Any]) -> None:
    """Numbers where numbers are due, lists of numbers beside the orders, mappings where mappings are due."""
    for key, value in params.items():
        listed = key in ("recipe_values", "recipe_times")
        numbers = value if listed and isinstance(value, list | tuple) else [value]
        if key in _NUMBERS and value is not None and not all(isinstance(n, int | float) for n in numbers):
            needed = "a list of numbers" if listed else "a number"
            raise UserError(f"layout '{name}': {key} is {value!r}, {needed} is needed")
        if key in _MAPPINGS and value is not None and not isinstance(value, Mapping):
            raise UserError(f"layout '{name}': {key} is {value!r}, a mapping is needed")


def _shaping(name: str, shaping: Mapping[str, float], key: str) -> float:
    if key not in shaping:
        raise UserError(f"layout '{name}': rew_shaping_params lacks {key}")
    return shaping[key]


def _orders(name: str, orders: Iterable[Any]) -> tuple[tuple[str, ...], ...]:
    """Recipes of an order list, in its order; each order is {"ingredients": [...]}."""
    recipes = []
    for order in orders:
        ingredients = order.get("ingredients") if isinstance(order, Mapping) else None
        recipe = tuple(sorted(ingredients or ()))
        if recipe not in RECIPES:
            raise UserError(f"layout '{name}': {order!r} is no order, e.g. {{'ingredients': ['onion', 'tomato']}}")
        if recipe in recipes:
            raise UserError(f"layout '{name}': order {list(recipe)} is listed twice")
        recipes.append(recipe)
    return tuple(recipes)


def _times(name: str, params: Mapping[str, Any], listed: tuple[tuple[str, ...], ...]) -> tuple[int, ...]:
    times = _per_recipe(name, params, listed, "time", "cook_time")
    for time in times:
        if time != int(time) or not 0 <= time <= MAX_COOK_TIME:
            raise UserError(f"layout '{name}': cooking time {time} is not a whole number in 0..{MAX_COOK_TIME}")
    return tuple(int(time) for time in times)


def _per_recipe(
    name: str, params: Mapping[str, Any], listed: tuple[tuple[str, ...], ...], what: str, flat: str
) -> list[float]:
    """Time or value of every recipe: the flat figure, else the list beside the orders, else per ingredient, else 20.

    A flat or per-ingredient figure of 0 counts as absent there, so it does here.
    """
    given = params.get(f"recipe_{what}s")
    if given is not None and len(given) != len(listed):
        raise UserError(f"layout '{name}': recipe_{what}s has {len(given)} entries for {len(listed)} orders")
    table = dict(zip(listed, given or (), strict=False))
    onion, tomato = params.get(f"onion_{what}"), params.get(f"tomato_{what}")
    if (onion is None) != (tomato is None):
        raise UserError(f"layout '{name}': give both onion_{what} and tomato_{what}, or neither")
    clashes = [key for key in (flat, f"recipe_{what}s", f"onion_{what}") if params.get(key) is not None]
    if len(clashes) > 1:
        raise UserError(f"layout '{name}': {clashes[0]} and {clashes[1]} exclude each other")

    amounts = []
    for recipe in RECIPES:
        summed = recipe.count("onion") * onion + recipe.count("tomato") * tomato if onion and tomato else 20
        amounts.append(params.get(flat) or table.get(recipe, summed))
    return amounts


def _split_rows(text: str) -> tuple[str, ...]:
    """Rows of a grid string; indentation goes, floor at a row's end stays if the rows then have one length."""
    lines = [line for line in textwrap.dedent(text).splitlines() if line.strip()]
    if len({len(line) for line in lines}) == 1:
        return tuple(lines)
    return tuple(line.strip() for line in lines)


def check_grid(grid: tuple[str, ...], name: str) -> None:
    """Raises UserError for a grid that is no kitchen; rows and columns are counted from 1."""
    if not grid:
        raise UserError(f"layout '{name}' has an empty grid")
    for y, row in enumerate(grid):
        if len(row) != len(grid[0]):
            reason = f"the row has {len(row)} columns, the first has {len(grid[0])}"
            _refuse(name, y, min(len(row), len(grid[0])), reason)
    for y, row in enumerate(grid):
        for x, char in enumerate(row):
            _check_tile(grid, name, y, x, char)
    _check_contents("".join(grid), name)


def _check_tile(grid: tuple[str, ...], name: str, y: int, x: int, char: str) -> None:
    if char not in _TILES and char not in "123456789":
        _refuse(name, y, x, f"unknown character '{char}', allowed: {_TILES!r} and the digits 1 to {MAX_PLAYERS}")
    if char.isdigit() and int(char) > MAX_PLAYERS:
        _refuse(name, y, x, f"start tile {char}, a kitchen has at most {MAX_PLAYERS} chefs")
    if char.isdigit() and char in "".join(grid[:y]) + grid[y][:x]:
        _refuse(name, y, x, f"start tile {char} occurs twice")
    on_border = y in (0, len(grid) - 1) or x in (0, len(grid[0]) - 1)
    if on_border and char in " 123456789":
        _refuse(name, y, x, "the border must not be floor")


def _check_contents(tiles: str, name: str) -> None:
    digits = sorted(char for char in tiles if char.isdigit())
    for seat in range(1, max(len(digits), 1) + 1):
        if str(seat) not in digits:
            raise UserError(f"layout '{name}': start tile {seat} is missing")
    for kinds, what in (("D", "dish dispenser (D)"), ("S", "serving hatch (S)"), ("P", "pot (P)")):
        if kinds not in tiles:
            raise UserError(f"layout '{name}': no {what}")
    if "O" not in tiles and "T" not in tiles:
        raise UserError(f"layout '{name}': no ingredient dispenser (O or T)")


def _refuse(name: str, y: int, x: int, reason: str) -> None:
    raise UserError(f"layout '{name}', row {y + 1}, column {x + 1}: {reason}")
