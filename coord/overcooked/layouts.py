"""Kitchen layouts: the files of overcooked-ai by name, own files, and grid strings.

A grid is a rectangle of characters: `X` counter, `O` onion dispenser, `T` tomato dispenser, `D` dish dispenser, `P`
pot, `S` serving hatch, a blank for floor, and the digits 1..4 for the chefs' start tiles (a chef starts facing
north). Cells are numbered row by row, `cell = y * width + x`, which is also the order in which overcooked-ai lists
its pots.

Files of 2019 and of ZSC-Eval carry that year's parameters: `cook_time` and `delivery_reward` (both rule sets heed
them), `num_items_for_soup` (the classic rules do) and `start_order_list`, which must be None: a queue of orders is not
supported. Such a file orders what 2019 knows as soups: pots full of one ingredient. Where 2019 took no shaping
parameters to mean none at all, and its training scripts filled in 3, 3 and 5, they are 3, 3 and 5 here, as in
overcooked-ai 1.1.0.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from coord.errors import UserError, unknown
from coord.overcooked.layout_text import check_grid, parse, read_file, split_rows

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
IDLE_SHAPING = ("DISH_DISP_DISTANCE_REW", "POT_DISTANCE_REW", "SOUP_DISTANCE_REW")  # in files, but never paid
MAX_POINTS = 1e9
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
_ORDERS = ("start_bonus_orders", "start_all_orders", "start_order_list")
_TERRAIN = ("random_terrain", "valid_grid")  # ZSC-Eval's: counters drawn anew, which is not supported
_FIELDS = ("grid", *_ORDERS, *_TERRAIN, *_MAPPINGS, *_NUMBERS)


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


def read_layout(source: str | Path | Layout) -> Layout:
    """A layout by name or alias, from a file (.layout mapping or bare grid), or from the text of one.

    A text has line breaks or begins with a brace.

    Whoever takes layouts from people calls `loader.load_layout`, which knows random kitchens as well.

    Raises UserError naming the row, the column and the reason for a bad grid, or the closest name for an unknown one.
    """
    if isinstance(source, Layout):
        return source
    if source in HISTORICAL_GRIDS:
        return from_grid(split_rows(HISTORICAL_GRIDS[str(source)]), str(source))
    if isinstance(source, str) and ("\n" in source or source.startswith("{")):
        digest = hashlib.sha256("\n".join(split_rows(source)).encode()).hexdigest()
        return _from_text(source, f"grid-{digest[:8]}")
    folder, names = _package_files()
    name = LAYOUT_ALIASES.get(str(source), str(source))
    if name in names:
        return _load_file(folder / f"{name}.layout")
    path = Path(source)
    if path.suffix or _is_there(path):
        return _load_file(path)
    raise unknown("layout", str(source)[:100], [*names, *LAYOUT_ALIASES, *HISTORICAL_GRIDS, "generated:<seed>"])


def _is_there(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # no file can have such a name
        return False


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
    return _from_text(read_file(path), path.stem)


def _from_text(text: str, name: str) -> Layout:
    params = parse(text, name)
    for key in params:
        if key not in _FIELDS:
            raise unknown(f"field in layout '{name}'", str(key)[:60], _FIELDS)
    grid = params.get("grid")
    if isinstance(grid, list) and all(isinstance(row, str) for row in grid):  # rows, as JSON has no long texts
        params["grid"] = "\n".join(grid)
    elif not isinstance(grid, str):
        raise UserError(f"layout '{name}' has no grid")
    return _build(name, params)


def _build(name: str, params: Mapping[str, Any]) -> Layout:
    grid = split_rows(params["grid"])
    check_grid(grid, name)
    _check_types(name, params)
    _check_supported(name, params)
    limit, items = (_amount(name, params, key) for key in ("max_num_ingredients", "num_items_for_soup"))
    every = tuple(recipe for recipe in RECIPES if len(recipe) <= limit)
    if "start_all_orders" not in params and {"start_order_list", "num_items_for_soup"} & set(params):
        every = tuple((kind,) * items for kind, tile in (("onion", "O"), ("tomato", "T")) if tile in "".join(grid))
    listed = _orders(name, params.get("start_all_orders") or ())
    all_orders = listed or every
    bonus_orders = _orders(name, params.get("start_bonus_orders") or ())
    if stray := [recipe for recipe in bonus_orders if recipe not in all_orders]:
        raise UserError(f"layout '{name}': bonus order {list(stray[0])} is not among start_all_orders")
    return Layout(
        name=name,
        grid=grid,
        all_orders=tuple(recipe for recipe in RECIPES if recipe in all_orders),
        bonus_orders=tuple(recipe for recipe in RECIPES if recipe in bonus_orders),
        times=_times(name, params, listed),
        values=tuple(float(v) for v in _per_recipe(name, params, listed, "value", "delivery_reward")),
        order_bonus=float(params.get("order_bonus", 2)),
        max_ingredients=limit,
        shaping=_shaping(name, params.get("rew_shaping_params")),
        start_state=params.get("start_state"),
        classic_time=_whole_time(name, _given(params, "cook_time", CLASSIC_TIME)),
        classic_value=float(_given(params, "delivery_reward", CLASSIC_VALUE)),
        classic_items=items,
    )


def _given(params: Mapping[str, Any], key: str, default: Any) -> Any:
    """A field's value; None is the same as not there."""
    return default if params.get(key) is None else params[key]


def _amount(name: str, params: Mapping[str, Any], key: str) -> int:
    amount = _given(params, key, 3)
    if amount not in (1, 2, 3):
        raise UserError(f"layout '{name}': {key} is {_shown(amount)}, allowed: 1, 2, 3")
    return int(amount)


def _shown(value: object) -> str:
    """A value as an error quotes it."""
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _check_supported(name: str, params: Mapping[str, Any]) -> None:
    """UserError for what other people's files may ask for and nobody here can do."""
    if params.get("start_order_list") is not None:
        given = _shown(params["start_order_list"])
        reason = "a queue of orders, after which the game ends, is not supported; allowed: None (any soup is paid)"
        raise UserError(f"layout '{name}': start_order_list is {given}: {reason}")
    if params.get("random_terrain"):
        reason = "counters drawn anew in every game are not supported; see 'coord layouts generate'"
        raise UserError(f"layout '{name}': random_terrain is {_shown(params['random_terrain'])}: {reason}")


def _check_types(name: str, params: Mapping[str, Any]) -> None:
    """Numbers where numbers are due, lists of numbers beside the orders, mappings where mappings are due."""
    for key, value in params.items():
        listed = key in ("recipe_values", "recipe_times")
        numbers = value if listed and isinstance(value, list | tuple) else [value]
        if key in _NUMBERS and value is not None and not all(_is_number(n) for n in numbers):
            needed = "a list of numbers" if listed else "a number"
            raise UserError(f"layout '{name}': {key} is {_shown(value)}, {needed} is needed")
        if key in _NUMBERS and value is not None and not all(_is_payable(key, n) for n in numbers):
            raise UserError(f"layout '{name}': {key} is {_shown(value)}, allowed: -{MAX_POINTS:g} to {MAX_POINTS:g}")
        if key in _MAPPINGS and value is not None and not isinstance(value, Mapping):
            raise UserError(f"layout '{name}': {key} is {_shown(value)}, a mapping is needed")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_payable(key: str, number: float) -> bool:
    """Whether a number can be counted with; a bonus may be without bounds (tutorial_3's is)."""
    return -MAX_POINTS <= number <= MAX_POINTS or (key == "order_bonus" and number == math.inf)


def _shaping(name: str, given: Mapping[str, Any] | None) -> tuple[float, float, float]:
    """Shaping rewards of a layout, in the order of BASE_SHAPING."""
    given = BASE_SHAPING if given is None else given
    for key, value in given.items():
        if key not in (*BASE_SHAPING, *IDLE_SHAPING):
            raise unknown(f"field of rew_shaping_params in layout '{name}'", str(key)[:60], BASE_SHAPING)
        if not _is_number(value) or not _is_payable(key, value):
            raise UserError(f"layout '{name}': {key} in rew_shaping_params is {_shown(value)}, a number is needed")
    if missing := [key for key in BASE_SHAPING if key not in given]:
        raise UserError(f"layout '{name}': rew_shaping_params lacks {missing[0]}")
    placement, dish, soup = (float(given[key]) for key in BASE_SHAPING)
    return placement, dish, soup


def _orders(name: str, orders: Iterable[Any]) -> tuple[tuple[str, ...], ...]:
    """Recipes of an order list, in its order; each order is {"ingredients": [...]}."""
    if not isinstance(orders, list | tuple):
        raise UserError(f"layout '{name}': {_shown(orders)} is no list of orders")
    recipes = []
    for order in orders:
        ingredients = order.get("ingredients") if isinstance(order, Mapping) else None
        recipe = tuple(sorted(map(str, ingredients))) if isinstance(ingredients, list | tuple) else ()
        if recipe not in RECIPES:
            example = {"ingredients": ["onion", "tomato"]}
            raise UserError(f"layout '{name}': {_shown(order)} is no order, e.g. {example}")
        if recipe in recipes:
            raise UserError(f"layout '{name}': order {list(recipe)} is listed twice")
        recipes.append(recipe)
    return tuple(recipes)


def _times(name: str, params: Mapping[str, Any], listed: tuple[tuple[str, ...], ...]) -> tuple[int, ...]:
    times = _per_recipe(name, params, listed, "time", "cook_time")
    return tuple(_whole_time(name, time) for time in times)


def _whole_time(name: str, time: float) -> int:
    if time != int(time) or not 0 <= time <= MAX_COOK_TIME:
        raise UserError(f"layout '{name}': cooking time {time} is not a whole number in 0..{MAX_COOK_TIME}")
    return int(time)


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
