"""One kitchen as a row of int16: where what stands, object codes, and the tables of its layout that never change.

Row layout (C = cells of the largest layout in the batch; cell = y * width + x of the kitchen's own layout):

    row[TIME]                   ticks since the episode began
    row[NUM_LOOSE]              number of loose objects (on counters and in pots, not in hands)
    row[ALL_ORDERS]             bit r set: recipe r of layouts.RECIPES is ordered
    row[BONUS_ORDERS]           bit r set: recipe r pays the bonus
    row[PLAYER + 3 * seat + 0]  (POS) cell of the chef
    row[PLAYER + 3 * seat + 1]  (FACING) its orientation, 0 north 1 south 2 east 3 west
    row[PLAYER + 3 * seat + 2]  (HELD) object code of what it holds, 0 nothing
    row[CONTENT + cell]         object code of what lies on the counter or stands in the pot, 0 nothing
    row[CONTENT + C + k]        cell of the k-th loose object, k < NUM_LOOSE, in the order in which they were put down:
                                the order of overcooked-ai's objects mapping (a new soup enters with its first
                                ingredient), on which its feature encoding breaks ties

Object code: 1 onion, 2 tomato, 3 dish, SOUP + seq for a soup, where seq in 1..15 spells the ingredients in the
order in which they went in: start at 1 and append one bit for each, 0 onion and 1 tomato (1 no ingredient, 8 three
onions). A soup also carries its cooking tick, in a pot or out of it: code + ((tick + 1) << TICK_SHIFT), tick -1
while it is idle; `code & CODE_MASK` drops it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from coord.overcooked.compiled import scalar
from coord.overcooked.layouts import RECIPES, Layout

Array = np.ndarray
RULES: tuple[str, ...] = ("classic", "overcooked-ai")
ACTIONS: tuple[str, ...] = ("north", "south", "east", "west", "stay", "interact")
NORTH, SOUTH, EAST, WEST, STAY, INTERACT = range(6)
TIME, NUM_LOOSE, ALL_ORDERS, BONUS_ORDERS, PLAYER = 0, 1, 2, 3, 4
POS, FACING, HELD = 0, 1, 2  # offsets within a chef's three entries
CONTENT = PLAYER + 3 * 4
NOTHING, ONION, TOMATO, DISH, SOUP = 0, 1, 2, 3, 16
TICK_SHIFT = 5
CODE_MASK = (1 << TICK_SHIFT) - 1
SEQ_MASK = 15
FLOOR, COUNTER, ONION_DISPENSER, TOMATO_DISPENSER, DISH_DISPENSER, POT, SERVING = range(7)
TILES = " XOTDPS"  # TILES[terrain] is the character in a grid


class Tables(NamedTuple):
    """Static tables of the layouts of a batch; the first axis is the layout's number."""

    terrain: np.ndarray  # int8 [L, C]
    facing: np.ndarray  # int16 [L, C, 4] neighbour cell in each direction (floor cells only, else 0)
    num_pots: np.ndarray  # int16 [L]
    pots: np.ndarray  # int16 [L, max pots] their cells
    max_ingredients: np.ndarray  # int16 [L]
    cook_time: np.ndarray  # int16 [L, 16] ticks by ingredient sequence
    value: np.ndarray  # float32 [L, 16] points by ingredient sequence, before orders
    order_bonus: np.ndarray  # float32 [L]
    shaping: np.ndarray  # float32 [L, 3] placement in pot, useful dish pick-up, soup pick-up
    recipe: np.ndarray  # int16 [16] row of layouts.RECIPES by ingredient sequence, -1 for none


def ingredients_of(seq: int) -> tuple[str, ...]:
    """Names of the ingredients of a sequence, in the order in which they went in."""
    return tuple("tomato" if bit == "1" else "onion" for bit in bin(seq)[3:])


def recipe_numbers() -> np.ndarray:
    """int16 [16]: recipe of each ingredient sequence, -1 where there is none."""
    found = [-1] * 16
    for seq in range(2, 16):
        found[seq] = RECIPES.index(tuple(sorted(ingredients_of(seq))))
    return np.array(found, dtype=np.int16)


def build_tables(layouts: Sequence[Layout], rules: str) -> Tables:
    """Tables for kitchens of these layouts, padded to the largest of them."""
    cells = max(layout.width * layout.height for layout in layouts)
    most_pots = max(len(layout.cells("P")) for layout in layouts)
    classic = rules == "classic"
    limits = [layout.classic_items if classic else layout.max_ingredients for layout in layouts]
    recipe = recipe_numbers()
    tables = Tables(
        terrain=np.full((len(layouts), cells), COUNTER, np.int8),
        facing=np.zeros((len(layouts), cells, 4), np.int16),
        num_pots=np.array([len(layout.cells("P")) for layout in layouts], np.int16),
        pots=np.zeros((len(layouts), most_pots), np.int16),
        max_ingredients=np.array(limits, np.int16),
        cook_time=np.zeros((len(layouts), 16), np.int16),
        value=np.zeros((len(layouts), 16), np.float32),
        order_bonus=np.array([layout.order_bonus for layout in layouts], np.float32),
        shaping=np.array([layout.shaping for layout in layouts], np.float32),
        recipe=recipe,
    )
    for number, layout in enumerate(layouts):
        _fill_grid(tables, number, layout)
        for seq in range(2, 16):
            tables.cook_time[number, seq] = layout.classic_time if classic else layout.times[recipe[seq]]
            tables.value[number, seq] = _classic_value(layout, seq) if classic else layout.values[recipe[seq]]
    return tables


def _classic_value(layout: Layout, seq: int) -> float:
    """Points of 2019: those of the layout for a full soup of one ingredient, the only soups there are."""
    ingredients = ingredients_of(seq)
    is_whole = len(ingredients) == layout.classic_items and len(set(ingredients)) == 1
    return layout.classic_value * is_whole


def _fill_grid(tables: Tables, number: int, layout: Layout) -> None:
    kinds = [TILES.index(char) for char in "".join(layout.terrain)]
    tables.terrain[number, : len(kinds)] = kinds
    pots = layout.cells("P")
    tables.pots[number, : len(pots)] = pots
    steps = (-layout.width, layout.width, 1, -1)  # north, south, east, west
    for cell in layout.cells(" "):
        tables.facing[number, cell] = [cell + step for step in steps]


@scalar
def num_ingredients(seq: int) -> int:
    """Ingredients in a sequence: its bit length less one."""
    return (seq > 1) + (seq > 3) + (seq > 7)


@scalar
def num_tomatoes(seq: int) -> int:
    """Tomatoes in a sequence: its bits below the leading one."""
    return (seq & 1) * (seq > 1) + (seq >> 1 & 1) * (seq > 3) + (seq >> 2 & 1) * (seq > 7)


@scalar
def cooking_tick(content: int) -> int:
    """Ticks a pot's soup has cooked; -1 while it is idle."""
    return (content >> TICK_SHIFT) - 1


@scalar
def is_ready(content: int, tab: Tables, layout: int) -> bool:
    """Whether a pot's content is a soup that has cooked for the time its sequence takes."""
    tick = cooking_tick(content)
    return tick >= 0 and tick >= tab.cook_time[layout, content & SEQ_MASK]


@scalar
def put_down(row: Array, cells: int, cell: int, content: int) -> None:
    """Lays an object on an empty cell; it becomes the last of the loose objects."""
    row[CONTENT + cell] = content
    row[CONTENT + cells + row[NUM_LOOSE]] = cell
    row[NUM_LOOSE] += 1


@scalar
def take_up(row: Array, cells: int, cell: int) -> int:
    """Removes the object on a cell and closes its gap in the list of loose objects; returns its content."""
    content = row[CONTENT + cell]
    row[CONTENT + cell] = NOTHING
    loose = CONTENT + cells
    last = row[NUM_LOOSE] - 1
    k = 0
    while row[loose + k] != cell:
        k += 1
    while k < last:
        row[loose + k] = row[loose + k + 1]
        k += 1
    row[loose + last] = 0  # equal kitchens have equal rows
    row[NUM_LOOSE] = last
    return content


@scalar
def object_kind(code: int) -> int:
    """0 onion, 1 tomato, 2 dish, 3 soup: offset within an event family."""
    return min(code, 4) - 1
