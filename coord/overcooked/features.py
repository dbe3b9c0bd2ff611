"""The hand-made features on which Carroll et al. (2019) clone human play: overcooked-ai's `featurize_state`,
two pots.

A seat's vector, float32 of length 48 P (96 for two seats): its own block of 46, the blocks of the others in
seat order, the others' positions relative to its own (x, y each), its own position (x, y). A block:

| entries | content |
|---|---|
| 0-3 | orientation, one-hot: north, south, east, west |
| 4-7 | held object, one-hot: onion, soup, dish, tomato |
| 8-15 | (dx, dy) to the closest onion, tomato, dish and soup; (0, 0) if that is held or there is none |
| 16-17 | onions and tomatoes in that soup |
| 18-21 | (dx, dy) to the closest serving hatch and empty counter |
| 22-31 | closest pot: exists, empty, full, cooking, ready, onions, tomatoes, ticks left, dx, dy |
| 32-41 | the same of the second closest pot |
| 42-45 | whether the tile to the north, south, east, west is no floor |

"Closest" counts the actions of one chef alone in the kitchen to face the tile, the first in row order among
equals. The reference's default planner does not walk to counters, and neither does this: what lies on a
counter is never closest, so objects are found at dispensers only, the soup entries speak of a held soup, and
the empty counter stays at (0, 0). Everything but hands and pots thus depends on the chef's pose alone and is
looked up in one table per layout.

The reference refuses a single seat; here it gets the same vector without others.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numba import prange

from coord.overcooked import packed_row
from coord.overcooked.compiled import compiled, is_split, loop, parallel_loop, scalar
from coord.overcooked.layouts import Layout
from coord.types import FloatArray, IntArray

Array = np.ndarray
BLOCK = 46  # entries about one chef
NUM_POTS = 2
HELD_ONE_HOT, CLOSEST, SOUP_INGREDIENTS, SERVING_DELTA, POTS, WALLS = 4, 8, 16, 18, 22, 42
POT_ENTRIES = 10
UNREACHABLE = 10_000
_CHUNK = 64  # kitchens per piece of parallel work; fewer than two pieces run on the calling thread


class PoseTables(NamedTuple):
    """What a chef's pose alone decides, by layout number and pose (cell * 4 + orientation)."""

    block: np.ndarray  # float32 [L, C * 4, BLOCK] with empty hands; the state of the pots is left at zero
    pots: np.ndarray  # int16 [L, C * 4, NUM_POTS] cells of the closest pots, -1 for none
    width: np.ndarray  # int16 [L] columns of the layout


def num_features(num_players: int) -> int:
    """Length of one seat's feature vector."""
    return num_players * BLOCK + 2 * (num_players - 1) + 2


def encode(
    rows: IntArray, layouts: tuple[Layout, ...], layout_index: IntArray, tables: packed_row.Tables, num_players: int
) -> FloatArray:
    """Features of every seat, float32 [N, P, 48 P].

    rows: packed kitchens [N, R]; layout_index [N]: which of `layouts`, whose rules are `tables`, each of them has.
    """
    poses = _batch_tables(layouts)
    out = np.empty((len(rows), num_players, num_features(num_players)), np.float32)
    encode_all = _encode_parallel if is_split(len(rows), _CHUNK) else _encode_range
    encode_all(0, len(rows), rows, layout_index, tables, poses, out)
    return out


# --------------------------------------------------------------------------- tables per layout


@lru_cache(maxsize=64)
def _batch_tables(layouts: tuple[Layout, ...]) -> PoseTables:
    """Tables of several layouts, padded to the largest."""
    parts = [_layout_tables(layout) for layout in layouts]
    poses = max(len(block) for block, _ in parts)
    tables = PoseTables(
        block=np.zeros((len(layouts), poses, BLOCK), np.float32),
        pots=np.full((len(layouts), poses, NUM_POTS), -1, np.int16),
        width=np.array([layout.width for layout in layouts], np.int16),
    )
    for number, (block, pots) in enumerate(parts):
        tables.block[number, : len(block)] = block
        tables.pots[number, : len(pots)] = pots
    return tables


@lru_cache(maxsize=256)
def _layout_tables(layout: Layout) -> tuple[np.ndarray, np.ndarray]:
    """(block [C * 4, BLOCK], pots [C * 4, NUM_POTS]) of one layout."""
    tab = packed_row.build_tables([layout], "classic")
    facing, floor = tab.facing[0], tab.terrain[0] == packed_row.FLOOR
    steps = steps_to_cells(facing, floor)  # [C * 4, C]
    block = np.zeros((len(steps), BLOCK), np.float32)
    pots = np.full((len(steps), NUM_POTS), -1, np.int16)
    pot_cells = np.array(layout.cells("P"), np.int64)
    for pose in np.flatnonzero(np.repeat(floor, 4)):
        cell, orientation = divmod(pose, 4)
        block[pose, orientation] = 1
        for slot, tile in enumerate("OTD"):
            entry = CLOSEST + 2 * slot
            block[pose, entry : entry + 2] = _delta(layout, cell, _nearest(steps[pose], layout.cells(tile)))
        serving = _nearest(steps[pose], layout.cells("S"))
        block[pose, SERVING_DELTA : SERVING_DELTA + 2] = _delta(layout, cell, serving)
        order = np.argsort(steps[pose, pot_cells], kind="stable")
        near = [pot for pot in pot_cells[order] if steps[pose, pot] < UNREACHABLE][:NUM_POTS]
        for slot, pot in enumerate(near):
            entry = POTS + POT_ENTRIES * slot
            pots[pose, slot] = pot
            block[pose, entry] = 1
            block[pose, entry + 8 : entry + 10] = _delta(layout, cell, pot)
        block[pose, WALLS : WALLS + 4] = ~floor[facing[cell]]
    return block, pots


def _nearest(steps: np.ndarray, cells: list[int]) -> int | None:
    """The first of the cells with the fewest steps to it, None if there is none within reach."""
    best = min(cells, key=lambda cell: int(steps[cell]), default=None)
    return best if best is not None and steps[best] < UNREACHABLE else None


def _delta(layout: Layout, cell: int, other: int | None) -> tuple[int, int]:
    """(dx, dy) from one cell to another, (0, 0) to none."""
    if other is None:
        return 0, 0
    return int(other % layout.width - cell % layout.width), int(other // layout.width - cell // layout.width)


@compiled()
def steps_to_cells(facing: Array, floor: Array) -> Array:
    """int16 [C * 4, C]: actions from each pose until the chef faces a cell that is no floor, UNREACHABLE if
    never.

    facing int16 [C, 4] neighbours of floor cells, floor bool [C]. A direction turns the chef and walks onto floor.
    """
    cells = len(floor)
    steps = np.full((cells * 4, cells), UNREACHABLE, np.int16)
    queue = np.empty(cells * 4, np.int64)
    for start in range(cells * 4):
        if not floor[start // 4]:
            continue
        far = np.full(cells * 4, -1, np.int16)
        far[start], queue[0], head, tail = 0, start, 0, 1
        while head < tail:
            pose = queue[head]
            head += 1
            ahead = facing[pose // 4, pose % 4]
            if not floor[ahead]:
                steps[start, ahead] = min(steps[start, ahead], far[pose])
            for direction in range(4):
                target = facing[pose // 4, direction]
                after = (target if floor[target] else pose // 4) * 4 + direction
                if far[after] < 0:
                    far[after] = far[pose] + 1
                    queue[tail] = after
                    tail += 1
    return steps


# --------------------------------------------------------------------------- kernel


@scalar
def _write_held(held: int, block: Array) -> None:
    """Enters the held object (its code) into a block: what is in hand is closest, at (0, 0)."""
    if held == packed_row.NOTHING:
        return
    kind = packed_row.object_kind(held)  # onion, tomato, dish, soup: the order of the CLOSEST entries
    block[HELD_ONE_HOT + (0, 3, 2, 1)[kind]] = 1
    block[CLOSEST + 2 * kind] = 0
    block[CLOSEST + 2 * kind + 1] = 0
    if held >= packed_row.SOUP:
        seq = held & packed_row.SEQ_MASK
        block[SOUP_INGREDIENTS] = packed_row.num_ingredients(seq) - packed_row.num_tomatoes(seq)
        block[SOUP_INGREDIENTS + 1] = packed_row.num_tomatoes(seq)


@scalar
def _write_pot(content: int, tab: packed_row.Tables, layout: int, block: Array, entry: int) -> None:
    """Enters the state of one pot; its part of a block begins at `entry`. A pot that cooks counts as full."""
    if content == packed_row.NOTHING:
        block[entry + 1] = 1
        return
    seq, tick = content & packed_row.SEQ_MASK, packed_row.cooking_tick(content)
    ready = packed_row.is_ready(content, tab, layout)
    block[entry + 2] = tick >= 0 or packed_row.num_ingredients(seq) == tab.max_ingredients[layout]
    block[entry + 3] = tick >= 0 and not ready
    block[entry + 4] = ready
    block[entry + 5] = packed_row.num_ingredients(seq) - packed_row.num_tomatoes(seq)
    block[entry + 6] = packed_row.num_tomatoes(seq)
    if tick >= 0:
        block[entry + 7] = max(0, tab.cook_time[layout, seq] - tick)


@scalar
def _write_block(row: Array, seat: int, tab: packed_row.Tables, layout: int, poses: PoseTables, block: Array) -> None:
    """Everything about one chef but where it is. block float32 [BLOCK]."""
    chef = packed_row.PLAYER + 3 * seat
    pose = row[chef + packed_row.POS] * 4 + row[chef + packed_row.FACING]
    for k in range(BLOCK):
        block[k] = poses.block[layout, pose, k]
    _write_held(row[chef + packed_row.HELD], block)
    for slot in range(NUM_POTS):
        pot = poses.pots[layout, pose, slot]
        if pot >= 0:
            _write_pot(row[packed_row.CONTENT + pot], tab, layout, block, POTS + POT_ENTRIES * slot)


@scalar
def _write_others(row: Array, seat: int, width: int, vectors: Array) -> None:
    """Completes a seat's vector once every seat's own block stands. vectors float32 [P, F]."""
    num_players = len(vectors)
    cell = row[packed_row.PLAYER + 3 * seat + packed_row.POS]
    at, delta = BLOCK, num_players * BLOCK
    for other in range(num_players):
        if other == seat:
            continue
        for k in range(BLOCK):
            vectors[seat, at + k] = vectors[other, k]
        at += BLOCK
        there = row[packed_row.PLAYER + 3 * other + packed_row.POS]
        vectors[seat, delta] = there % width - cell % width
        vectors[seat, delta + 1] = there // width - cell // width
        delta += 2
    vectors[seat, delta] = cell % width
    vectors[seat, delta + 1] = cell // width


@loop
def _encode_range(
    low: int, high: int, state: Array, layout_index: Array, tab: packed_row.Tables, poses: PoseTables, out: Array
) -> None:
    """Features of kitchens low..high-1. out float32 [N, P, F]."""
    num_players = out.shape[1]
    for n in range(low, high):
        layout = layout_index[n]
        for seat in range(num_players):
            _write_block(state[n], seat, tab, layout, poses, out[n, seat])
        for seat in range(num_players):
            _write_others(state[n], seat, poses.width[layout], out[n])


@parallel_loop
def _encode_parallel(
    low: int, high: int, state: Array, layout_index: Array, tab: packed_row.Tables, poses: PoseTables, out: Array
) -> None:
    for piece in prange((high - low + _CHUNK - 1) // _CHUNK):
        first = low + piece * _CHUNK
        _encode_range(first, min(high, first + _CHUNK), state, layout_index, tab, poses, out)
