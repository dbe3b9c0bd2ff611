"""Walking in a kitchen: step counts from a chef to every cell it can face, and routes around moving chefs.

A pose is `cell * 4 + orientation`. A chef faces a cell when it stands beside it and looks at it; a press towards floor
walks (and looks that way), a press towards anything else only turns. All functions are compiled code on small arrays.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from coord.errors import UserError
from coord.overcooked.compiled import compiled
from coord.overcooked.packed_row import FLOOR, Array

FAR = 10_000  # steps to a cell that cannot be reached
HORIZON = 20  # ticks a route looks ahead
MAX_CELLS = 8191  # poses are numbered in 16 bits
MAX_LEGS = 2**28  # entries of Floorplan.leg, half a gigabyte

# Called from compiled code only: without the wrappers for Python, which for arguments of many arrays take most of the
# time to compile, and `inner` (no allocation) without reference counts either.
inner_alloc = compiled(no_cpython_wrapper=True, no_cfunc_wrapper=True)
inner = compiled(no_cpython_wrapper=True, no_cfunc_wrapper=True, _nrt=False)


class Floorplan(NamedTuple):
    """What walking needs to know of one layout; C cells, R rooms (connected pieces of floor)."""

    facing: np.ndarray  # int16 [C, 4] neighbour cell of each floor cell by orientation
    floor: np.ndarray  # bool [C]
    room: np.ndarray  # int16 [C] number of the piece of floor, -1 off the floor
    leg: np.ndarray  # int16 [R, C, C] steps in that room between facing the one and the other cell, FAR if none
    spine: np.ndarray  # int16 [C] place along a room that is one lane, where nobody can pass; -1 elsewhere
    size: np.ndarray  # int16 [R] cells of each room


def build_floorplan(terrain: np.ndarray, facing: np.ndarray) -> Floorplan:
    """Floorplan of one layout from its rows of `packed_row.Tables`: terrain int8 [C] and facing int16 [C, 4].

    Raises:
        UserError: the kitchen is too large for the steps between all its cells.
    """
    floor = terrain == FLOOR
    room = _number_rooms(facing, floor)
    if len(floor) > MAX_CELLS or (room.max() + 1) * len(floor) ** 2 > MAX_LEGS:
        extent = f"{len(floor)} cells in {room.max() + 1} rooms, allowed: {MAX_CELLS} cells in one room"
        raise UserError(f"the kitchen is too large for the scripted cook: {extent}")
    leg = np.full((room.max() + 1, len(floor), len(floor)), FAR, np.int16)
    _fill_legs(facing, floor, room, leg)
    size = np.bincount(room[floor]).astype(np.int16)
    return Floorplan(facing, floor, room, leg, _find_lanes(facing, floor, room, size), size)


@compiled()
def _find_lanes(facing: Array, floor: Array, room: Array, size: Array) -> Array:
    """int16 [C]: places along rooms without a fork or a loop, counted from one end; -1 in other rooms."""
    ways = np.zeros(len(floor), np.int64)
    for cell in range(len(floor)):
        if floor[cell]:
            for way in range(4):
                ways[cell] += floor[facing[cell, way]]
    spine = np.full(len(floor), -1, np.int16)
    for number in range(len(size)):
        mine = np.flatnonzero(room == number)
        if ways[mine].max() > 2 or ways[mine].sum() != 2 * (len(mine) - 1):
            continue
        cell = mine[np.argmin(ways[mine])]
        for place in range(len(mine)):
            spine[cell] = place
            for way in range(4):
                ahead = facing[cell, way]
                if floor[ahead] and spine[ahead] < 0:
                    cell = ahead
                    break
    return spine


@inner
def keep_order(plan: Floorplan, cells: Array, i: int, open_floor: Array) -> None:
    """Closes to chef `i` the ends of its lane that belong to the chefs before and behind it; cells int64 [P]."""
    place = plan.spine[cells[i]]
    if place < 0:
        return
    room = plan.room[cells[i]]
    before, behind = 0, 0
    for cell in cells:
        if plan.room[cell] == room:
            before += plan.spine[cell] < place
            behind += plan.spine[cell] > place
    for cell in range(len(open_floor)):
        if plan.room[cell] == room and not before <= plan.spine[cell] < plan.size[room] - behind:
            open_floor[cell] = False


@compiled()
def _number_rooms(facing: Array, floor: Array) -> Array:
    """int16 [C]: connected pieces of floor, numbered in the order of their first cell."""
    room = np.full(len(floor), -1, np.int16)
    queue = np.empty(len(floor), np.int64)
    number = 0
    for first in range(len(floor)):
        if not floor[first] or room[first] >= 0:
            continue
        room[first], queue[0], head, tail = number, first, 0, 1
        while head < tail:
            cell = queue[head]
            head += 1
            for way in range(4):
                ahead = facing[cell, way]
                if floor[ahead] and room[ahead] < 0:
                    room[ahead], queue[tail] = number, ahead
                    tail += 1
        number += 1
    return room


@compiled()
def _fill_legs(facing: Array, floor: Array, room: Array, leg: Array) -> None:
    """For every floor cell and orientation: the walk from there improves the legs of the cell it faces."""
    steps = np.empty(len(floor), np.int16)
    for cell in range(len(floor)):
        if not floor[cell]:
            continue
        for way in range(4):
            seen = facing[cell, way]
            if floor[seen]:
                continue
            walk(facing, floor, cell, way, steps)
            for goal in range(len(floor)):
                leg[room[cell], seen, goal] = min(leg[room[cell], seen, goal], steps[goal])


@inner_alloc
def walk(facing: Array, open_floor: Array, cell: int, way: int, steps: Array) -> None:
    """Writes into steps int16 [C] the ticks until a chef in this pose faces each cell that is not open floor.

    open_floor bool [C] is where it may walk; floor that is not open (somebody is there) counts as something to face.
    """
    steps[:] = FAR
    depth = np.full(4 * len(open_floor), -1, np.int16)
    queue = np.empty(4 * len(open_floor), np.int64)
    queue[0], depth[4 * cell + way], head, tail = 4 * cell + way, 0, 0, 1
    while head < tail:
        pose = queue[head]
        head += 1
        here, ahead = pose // 4, facing[pose // 4, pose % 4]
        if not open_floor[ahead] and steps[ahead] == FAR:
            steps[ahead] = depth[pose]
        for press in range(4):
            to = facing[here, press]
            after = 4 * (to if open_floor[to] else here) + press
            if depth[after] < 0:
                depth[after] = depth[pose] + 1
                queue[tail] = after
                tail += 1


@inner
def is_beside(facing: Array, cell: int, goal: int) -> bool:
    """Whether a floor cell has `goal` as a neighbour."""
    return facing[cell, 0] == goal or facing[cell, 1] == goal or facing[cell, 2] == goal or facing[cell, 3] == goal


@inner_alloc
def cells_to_go(facing: Array, open_floor: Array, goal: int, away: Array) -> None:
    """Writes into away int16 [C] the cells between each open cell and one beside `goal`; FAR where there is no way."""
    away[:] = FAR
    queue = np.empty(len(open_floor), np.int64)
    head, tail = 0, 0
    for cell in range(len(open_floor)):
        if open_floor[cell] and is_beside(facing, cell, goal):
            away[cell], queue[tail] = 0, cell
            tail += 1
    while head < tail:
        cell = queue[head]
        head += 1
        for way in range(4):
            ahead = facing[cell, way]
            if open_floor[ahead] and away[ahead] == FAR:
                away[ahead], queue[tail] = away[cell] + 1, ahead
                tail += 1


@inner
def is_clear(busy: Array, tick: int, here: int, to: int) -> bool:
    """Whether a chef may be on `to` after the tick that begins at `tick`, with the routes in busy in mind.

    busy int8 [HORIZON + 1, C] holds who stands where at each tick (0 nobody): neither share a cell nor trade cells.
    """
    if busy[tick + 1, to] != 0:
        return False
    return to == here or busy[tick, to] == 0 or busy[tick, to] != busy[tick + 1, here]


@inner
def is_arrived(facing: Array, busy: Array, shun: Array, tick: int, pose: int, goal: int, hold: int) -> bool:
    """Whether the pose faces the goal (with -1: is not to be shunned) and its cell stays free for `hold` ticks."""
    if shun[pose // 4] if goal < 0 else facing[pose // 4, pose % 4] != goal:
        return False
    for later in range(tick, min(tick + hold + 1, len(busy))):
        if busy[later, pose // 4] != 0:
            return False
    return True


@inner_alloc
def find_route(
    facing: Array, floor: Array, busy: Array, shun: Array, start: int, goal: int, hold: int, away: Array, route: Array
) -> int:
    """Earliest arrival among other chefs' routes, breadth first over (tick, pose).

    start pose; goal cell to face, or -1 to end anywhere outside shun bool [C]; hold ticks to remain there; away from
    `cells_to_go` for that goal; route int16 [HORIZON + 1] receives the pose at each tick. Returns the tick of arrival;
    HORIZON when it comes no further than nearest to the goal by then; -1 when there is no pose that nobody runs into.
    """
    came = np.full((HORIZON + 1, 4 * len(floor)), -1, np.int16)
    layer, after = np.empty(4 * len(floor), np.int64), np.empty(4 * len(floor), np.int64)
    layer[0], size, came[0, start] = start, 1, start
    for tick in range(HORIZON):
        for n in range(size):
            if is_arrived(facing, busy, shun, tick, layer[n], goal, hold):
                return _trace(came, tick, layer[n], route)
        size = _expand(facing, floor, busy, tick, layer, size, came, after)
        layer, after = after, layer
        if size == 0:
            return -1
    best = layer[0]
    for n in range(size):
        if away[layer[n] // 4] < away[best // 4]:
            best = layer[n]
    return _trace(came, HORIZON, best, route)


@inner
def _expand(
    facing: Array, floor: Array, busy: Array, tick: int, layer: Array, size: Array, came: Array, after: Array
) -> int:
    """Poses one tick later into `after` with their origin in came; returns how many."""
    grown = 0
    for n in range(size):
        here = layer[n] // 4
        for press in range(5):
            to, pose = here, layer[n]
            if press < 4:
                ahead = facing[here, press]
                to = ahead if floor[ahead] else here
                pose = 4 * to + press
            if came[tick + 1, pose] < 0 and is_clear(busy, tick, here, to):
                came[tick + 1, pose] = layer[n]
                after[grown] = pose
                grown += 1
    return grown


@inner
def _trace(came: Array, tick: int, pose: int, route: Array) -> int:
    """Writes the way back from a pose at a tick; the route rests at its end. Returns the tick."""
    for t in range(tick, len(route)):
        route[t] = pose
    for t in range(tick, 0, -1):
        pose = came[t, pose]
        route[t - 1] = pose
    return tick


@inner
def reserve(busy: Array, route: Array, until: int, who: int) -> None:
    """Marks who's cells along a route up to and with tick `until`."""
    for tick in range(min(until, len(busy) - 1) + 1):
        busy[tick, route[tick] // 4] = who
