"""Overcooked-ai's lossless planes of a kitchen with two seats, seen from each of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numba import prange

from coord.errors import UserError
from coord.overcooked import packed_row as pr
from coord.overcooked.compiled import OBS_CHUNK, is_split, loop, parallel_loop, scalar
from coord.overcooked.layouts import Layout
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

NUM_PLANES = 26
URGENT_TICKS = 40  # overcooked-ai raises the urgency plane when fewer ticks are left
# Planes of overcooked-ai's lossless encoding for two seats.
SELF_LOC, OTHER_LOC, SELF_FACING, OTHER_FACING = 0, 1, 2, 6
POT_LOC, COUNTER_LOC, ONION_DISP_LOC, TOMATO_DISP_LOC, DISH_DISP_LOC, SERVE_LOC = range(10, 16)
ONIONS_IN_POT, TOMATOES_IN_POT, ONIONS_IN_SOUP, TOMATOES_IN_SOUP = range(16, 20)
TIME_REMAINING, SOUP_DONE, DISHES, ONIONS, TOMATOES, URGENCY = range(20, 26)
TERRAIN_PLANES: Mapping[str, int] = {
    "P": POT_LOC,
    "X": COUNTER_LOC,
    "O": ONION_DISP_LOC,
    "T": TOMATO_DISP_LOC,
    "D": DISH_DISP_LOC,
    "S": SERVE_LOC,
}


def padded_cells(layout: Layout, height: int) -> np.ndarray:
    """int16: number x * height + y of each cell of a layout, in its own order, in a grid `height` rows tall."""
    own = np.arange(layout.width * layout.height)
    return (own % layout.width * height + own // layout.width).astype(np.int16)


class PlaneCode(NamedTuple):
    """What the compiled encoder of the lossless planes needs for the layouts of one batch (first axis L)."""

    terrain: np.ndarray  # uint8 [L, W * H * 26] planes that never change
    cell: np.ndarray  # int16 [L, C] cell of the padded grid
    num_cells: np.ndarray  # int16 [L] cells of the layout itself


def plane_code(layouts: Sequence[Layout], width: int, height: int) -> PlaneCode:
    """Encoder tables for planes of width x height. Raises UserError unless the kitchens have two seats."""
    if layouts[0].num_players != 2:
        name, seats = layouts[0].name, layouts[0].num_players
        raise UserError(f"the lossless planes exist for 2 seats, layout '{name}' has {seats}")
    sizes = [layout.width * layout.height for layout in layouts]
    terrain = np.zeros((len(layouts), width * height, NUM_PLANES), np.uint8)
    cell = np.zeros((len(layouts), max(sizes)), np.int16)
    for number, layout in enumerate(layouts):
        own = padded_cells(layout, height)
        cell[number, : len(own)] = own
        for tile, plane in TERRAIN_PLANES.items():
            terrain[number, own[layout.cells(tile)], plane] = 1
    return PlaneCode(terrain.reshape(len(layouts), -1), cell, np.array(sizes, np.int16))


@scalar
def _draw_object(content: int, first: int, in_pot: bool, tab: Tables, layout: int, out: Array, seat: int) -> None:
    """Enters an object into the planes of one seat; `first` is the flat position of its cell's planes."""
    if content & pr.CODE_MASK < SOUP:
        plane = (ONIONS, TOMATOES, DISHES)[content - 1]
        out[seat, first + plane] = 1
        return
    seq = content & SEQ_MASK
    tick = pr.cooking_tick(content)
    tomatoes = pr.num_tomatoes(seq)
    plane = ONIONS_IN_POT if in_pot and tick < 0 else ONIONS_IN_SOUP
    out[seat, first + plane] = pr.num_ingredients(seq) - tomatoes
    out[seat, first + plane + 1] = tomatoes
    if not in_pot:
        out[seat, first + SOUP_DONE] = 1
    elif tick >= 0:
        remaining = max(tab.cook_time[layout, seq] - tick, 0)
        out[seat, first + TIME_REMAINING] = remaining
        out[seat, first + SOUP_DONE] = remaining == 0


@scalar
def _draw_shared(row: Array, tab: Tables, layout: int, code: PlaneCode, horizon: int, out: Array) -> None:
    """Objects and urgency, the same from both seats."""
    cells = tab.terrain.shape[1]
    for k in range(row[NUM_LOOSE]):
        cell = row[CONTENT + cells + k]
        first = code.cell[layout, cell] * NUM_PLANES
        in_pot = tab.terrain[layout, cell] == pr.POT
        for seat in range(2):
            _draw_object(row[CONTENT + cell], first, in_pot, tab, layout, out, seat)
    for chef in (PLAYER, PLAYER + 3):
        if row[chef + HELD] != pr.NOTHING:
            first = code.cell[layout, row[chef + POS]] * NUM_PLANES
            for seat in range(2):
                _draw_object(row[chef + HELD], first, False, tab, layout, out, seat)
    if horizon - row[TIME] < URGENT_TICKS:
        for k in range(code.num_cells[layout]):
            for seat in range(2):
                out[seat, code.cell[layout, k] * NUM_PLANES + URGENCY] = 1


@scalar
def planes_kitchen(row: Array, tab: Tables, layout: int, code: PlaneCode, horizon: int, out: Array) -> None:
    """Lossless planes of one kitchen with two seats; out uint8 [2, W * H * 26]."""
    for seat in range(2):
        for k in range(out.shape[1]):
            out[seat, k] = code.terrain[layout, k]
    _draw_shared(row, tab, layout, code, horizon, out)
    for seat in range(2):
        for r in range(2):
            chef = PLAYER + 3 * ((seat + r) % 2)
            first = code.cell[layout, row[chef + POS]] * NUM_PLANES
            out[seat, first + SELF_LOC + r] = 1
            out[seat, first + SELF_FACING + 4 * r + row[chef + FACING]] = 1


@loop
def _planes_range(
    low: int, high: int, state: Array, layout_index: Array, tab: Tables, code: PlaneCode, horizon: int, out: Array
) -> None:
    for n in range(low, high):
        planes_kitchen(state[n], tab, layout_index[n], code, horizon, out[n])


@parallel_loop
def _planes_parallel(
    state: Array, layout_index: Array, tab: Tables, code: PlaneCode, horizon: int, out: Array
) -> None:
    total = len(state)
    for piece in prange((total + OBS_CHUNK - 1) // OBS_CHUNK):
        high = min(total, (piece + 1) * OBS_CHUNK)
        _planes_range(piece * OBS_CHUNK, high, state, layout_index, tab, code, horizon, out)


def encode_planes(
    state: np.ndarray, layout_index: np.ndarray, tab: Tables, code: PlaneCode, horizon: int, out: np.ndarray
) -> None:
    """Lossless planes of all kitchens; out uint8 [N, 2, W * H * 26]."""
    if is_split(len(state), OBS_CHUNK):
        _planes_parallel(state, layout_index, tab, code, horizon, out)
    else:
        _planes_range(0, len(state), state, layout_index, tab, code, horizon, out)
