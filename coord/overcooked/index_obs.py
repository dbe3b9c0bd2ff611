"""The index observation of kitchens seen from each seat: the numbers of the facts that hold (`IndexSpec`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numba import prange

from coord.errors import UserError
from coord.overcooked import packed_row as pr
from coord.overcooked.compiled import OBS_CHUNK, is_split, loop, parallel_loop, scalar
from coord.overcooked.index_spec import (
    FACES_CHEF,
    FACES_COUNTER,
    FACES_DISPENSER,
    FACES_FLOOR,
    FACES_POT,
    FACES_SERVING,
    NUM_HOLDS,
    NUM_RECIPES,
    IndexSpec,
)
from coord.overcooked.layouts import Layout
from coord.overcooked.lossless import URGENT_TICKS, padded_cells
from coord.overcooked.packed_row import (
    CONTENT,
    FACING,
    HELD,
    NUM_LOOSE,
    PLAYER,
    POS,
    SEQ_MASK,
    SOUP,
    TIME,
    Array,
    Tables,
)


class IndexCode(NamedTuple):
    """What the compiled encoder needs to know of a spec, for the layouts of one batch (first axis L)."""

    cell: np.ndarray  # int16 [L, C] cell of the spec's grid
    layout_fact: np.ndarray  # int16 [L] row of the layout
    objects: np.ndarray  # int16 [32] row offset in units of cells by object code, 0 onion .. 11
    cells: int
    max_time: int
    pose: int
    obj: int
    pot_idle: int
    pot_soup: int
    pot_time: int
    urgency: int
    holds: int
    faces: int
    pad: int


def index_code(spec: IndexSpec, layouts: Sequence[Layout], rule_set: str) -> IndexCode:
    """Encoder tables. Raises UserError if the spec is for other rules, another number of seats, or lacks a layout."""
    if spec.rules != rule_set:
        raise UserError(f"the index observation is for rules '{spec.rules}', the kitchens follow '{rule_set}'")
    if spec.num_players != layouts[0].num_players:
        raise UserError(f"the index observation is for {spec.num_players} seats, not {layouts[0].num_players}")
    largest = max(layout.width * layout.height for layout in layouts)
    cell = np.zeros((len(layouts), largest), np.int16)
    for number, layout in enumerate(layouts):
        cell[number, : layout.width * layout.height] = padded_cells(layout, spec.height)
    at = spec.offsets
    numbers = [at["layout"] + spec.number_of(layout) for layout in layouts]
    return IndexCode(
        cell=cell,
        layout_fact=np.array(numbers, np.int16),
        objects=_object_numbers(),
        cells=spec.cells,
        max_time=spec.max_time,
        pose=at["pose"],
        obj=at["object"],
        pot_idle=at["pot_idle"],
        pot_soup=at["pot_soup"],
        pot_time=at["pot_time"],
        urgency=at["urgency"],
        holds=at["holds"],
        faces=at["faces"],
        pad=spec.pad,
    )


def _object_numbers() -> np.ndarray:
    """int16 [32]: 0 onion, 1 tomato, 2 dish, 3 + recipe for a soup, by object code; -1 where no fact exists."""
    numbers = np.full(32, -1, np.int16)
    numbers[1:4] = range(3)
    recipe = pr.recipe_numbers()
    numbers[SOUP:] = np.where(recipe >= 0, 3 + recipe, -1)
    return numbers


@scalar
def facing_kind(row: Array, seat: int, tab: Tables, layout: int, num_players: int) -> int:
    """What a seat faces, 0..15 (see IndexSpec, block faces)."""
    chef = PLAYER + 3 * seat
    cell = tab.facing[layout, row[chef + POS], row[chef + FACING]]
    terrain, content = tab.terrain[layout, cell], row[CONTENT + cell]
    if terrain == pr.FLOOR:
        for other in range(num_players):
            if row[PLAYER + 3 * other + POS] == cell:
                return FACES_CHEF
        return FACES_FLOOR
    if terrain == pr.COUNTER:
        return FACES_COUNTER + pr.object_kind(content) + 1
    if terrain == pr.SERVING:
        return FACES_SERVING
    if terrain != pr.POT:
        return FACES_DISPENSER + terrain - pr.ONION_DISPENSER
    if pr.cooking_tick(content) >= 0:
        return FACES_POT + 3 + pr.is_ready(content, tab, layout)
    amount = pr.num_ingredients(content & SEQ_MASK)
    return FACES_POT + (amount > 0) + (amount >= tab.max_ingredients[layout])


@scalar
def _pot_facts(content: int, k: int, tab: Tables, layout: int, code: IndexCode, out: Array, end: int) -> int:
    """Facts of the k-th pot; returns the new end of the list."""
    recipe = tab.recipe[content & SEQ_MASK]
    if recipe < 0:
        return end
    tick = pr.cooking_tick(content)
    if tick < 0:
        out[end] = code.pot_idle + k * NUM_RECIPES + recipe
        return end + 1
    remaining = max(tab.cook_time[layout, content & SEQ_MASK] - tick, 0)
    out[end] = code.pot_soup + k * NUM_RECIPES + recipe
    out[end + 1] = code.pot_time + k * (code.max_time + 1) + remaining
    return end + 2


@scalar
def _shared_facts(
    row: Array, tab: Tables, layout: int, num_players: int, code: IndexCode, horizon: int, out: Array, end: int
) -> int:
    """Facts that are the same from every seat; returns the new end of the list."""
    cells = tab.terrain.shape[1]
    for k in range(row[NUM_LOOSE]):
        cell = row[CONTENT + cells + k]
        if tab.terrain[layout, cell] == pr.COUNTER:
            number = code.objects[row[CONTENT + cell] & pr.CODE_MASK]
            out[end] = code.obj + number * code.cells + code.cell[layout, cell]
            end += number >= 0
    for seat in range(num_players):
        chef = PLAYER + 3 * seat
        number = code.objects[row[chef + HELD] & pr.CODE_MASK]
        out[end] = code.obj + number * code.cells + code.cell[layout, row[chef + POS]]
        end += number >= 0
    for k in range(tab.num_pots[layout]):
        end = _pot_facts(row[CONTENT + tab.pots[layout, k]], k, tab, layout, code, out, end)
    if horizon - row[TIME] < URGENT_TICKS:
        out[end] = code.urgency
        end += 1
    out[end] = code.layout_fact[layout]
    return end + 1


@scalar
def _own_facts(
    row: Array, seat: int, tab: Tables, layout: int, num_players: int, code: IndexCode, out: Array
) -> None:
    """Facts that depend on who looks: poses, what each chef holds, what the observer faces."""
    for r in range(num_players):
        chef = PLAYER + 3 * _relative_seat(seat, r)
        cell = code.cell[layout, row[chef + POS]]
        out[r] = code.pose + (r * code.cells + cell) * 4 + row[chef + FACING]
        held = code.objects[row[chef + HELD] & pr.CODE_MASK] + 1
        out[num_players + r] = code.holds + r * NUM_HOLDS + held
    out[2 * num_players] = code.faces + facing_kind(row, seat, tab, layout, num_players)


@scalar
def _relative_seat(seat: int, r: int) -> int:
    """Seat that is r-th from the observer's viewpoint: itself first, then the others in seat order."""
    if r == 0:
        return seat
    return r - 1 if r <= seat else r


@scalar
def index_kitchen(row: Array, tab: Tables, layout: int, code: IndexCode, horizon: int, out: Array) -> None:
    """Index observation of one kitchen; out int16 [P, K]."""
    num_players, most = out.shape
    own = 2 * num_players + 1
    end = _shared_facts(row, tab, layout, num_players, code, horizon, out[0], own)
    out[0, end:] = code.pad
    for seat in range(1, num_players):
        for k in range(own, most):
            out[seat, k] = out[0, k]
    for seat in range(num_players):
        _own_facts(row, seat, tab, layout, num_players, code, out[seat])


@loop
def _index_range(
    low: int, high: int, state: Array, layout_index: Array, tab: Tables, code: IndexCode, horizon: int, out: Array
) -> None:
    for n in range(low, high):
        index_kitchen(state[n], tab, layout_index[n], code, horizon, out[n])


@parallel_loop
def _index_parallel(
    state: Array, layout_index: Array, tab: Tables, code: IndexCode, horizon: int, out: Array
) -> None:
    total = len(state)
    for piece in prange((total + OBS_CHUNK - 1) // OBS_CHUNK):
        high = min(total, (piece + 1) * OBS_CHUNK)
        _index_range(piece * OBS_CHUNK, high, state, layout_index, tab, code, horizon, out)


def encode_index(
    state: np.ndarray, layout_index: np.ndarray, tab: Tables, code: IndexCode, horizon: int, out: np.ndarray
) -> None:
    """Index observations of all kitchens; out int16 [N, P, K]."""
    if is_split(len(state), OBS_CHUNK):
        _index_parallel(state, layout_index, tab, code, horizon, out)
    else:
        _index_range(0, len(state), state, layout_index, tab, code, horizon, out)
