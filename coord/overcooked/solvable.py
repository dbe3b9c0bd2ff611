"""Can the cooks of a kitchen serve a soup together? Rooms, who stands in them, and what they can hand on."""

from __future__ import annotations

from typing import NamedTuple

from coord.overcooked.layouts import Layout

Cell = tuple[int, int]  # (x, y)


class RoomSurvey(NamedTuple):
    """Rooms of a kitchen (pieces of connected floor), R of them."""

    staffed: list[bool]  # [R] whether a cook starts there
    touched: list[set[str]]  # [R] kinds of tiles beside the room's floor
    group: list[int]  # [R] rooms with cooks that can hand things on to each other have one number
    pots: list[set[int]]  # per pot the rooms beside it


def find_problem(layout: Layout, *, allow_idle: bool = False) -> str:
    """Why the cooks of a kitchen cannot serve a soup, or one of them cannot help; "" if all is well.

    A soup needs a pot p; ingredients that reach p; a dish that reaches the soup (at p, from whatever side) and the soup
    a hatch. Things go wherever a cook walks, and over a plain counter that two rooms with cooks share.
    """
    return problem_of(survey_rooms(layout.grid), allow_idle=allow_idle)


def problem_of(kitchen: RoomSurvey, *, allow_idle: bool) -> str:
    within: dict[int, set[str]] = {}
    for number, touched in zip(kitchen.group, kitchen.touched, strict=True):
        within.setdefault(number, set()).update(touched)
    busy = set()
    for rooms in kitchen.pots:
        groups = {kitchen.group[room] for room in rooms if kitchen.staffed[room]}
        supply = {g for g in groups if within[g] & {"O", "T"}}
        serve = {g for g in groups if {"D", "S"} <= within[g]}
        if supply and serve:
            busy |= supply | serve
    if not busy:
        return "no cooks can bring ingredients to a pot and its soup on a dish to a hatch"
    for number, (room, touched) in enumerate(zip(kitchen.group, kitchen.touched, strict=True)):
        if kitchen.staffed[number] and not allow_idle and (room not in busy or not touched - {"X"}):
            return f"a cook in room {number + 1} (from the top left) can do nothing"
    return ""


def survey_rooms(grid: tuple[str, ...]) -> RoomSurvey:
    tiles = {(x, y): char for y, row in enumerate(grid) for x, char in enumerate(row)}
    rooms = connected_rooms({cell for cell, char in tiles.items() if char == " " or char.isdigit()})
    beside: dict[Cell, set[int]] = {}
    for number, room in enumerate(rooms):
        for cell in room:
            for side in sides_of(cell):
                if side not in room:
                    beside.setdefault(side, set()).add(number)
    staffed = [any(tiles[cell].isdigit() for cell in room) for room in rooms]
    group = list(range(len(rooms)))
    for cell, neighbours in beside.items():
        joined = {group[n] for n in neighbours if staffed[n]}
        if tiles[cell] == "X" and len(joined) > 1:
            group = [min(joined) if g in joined else g for g in group]
    touched = [{tiles[cell] for cell, near in beside.items() if number in near} for number in range(len(rooms))]
    return RoomSurvey(staffed, touched, group, [near for cell, near in beside.items() if tiles[cell] == "P"])


def sides_of(cell: Cell) -> tuple[Cell, ...]:
    x, y = cell
    return (x, y - 1), (x, y + 1), (x + 1, y), (x - 1, y)


def connected_rooms(floor: set[Cell]) -> list[set[Cell]]:
    """Connected pieces, in the order of their first cell row by row."""
    left, rooms = set(floor), []
    for first in sorted(floor, key=lambda cell: cell[::-1]):
        if first not in left:
            continue
        room, queue = {first}, [first]
        left.remove(first)
        while queue:
            for side in sides_of(queue.pop()):
                if side in left:
                    left.remove(side)
                    room.add(side)
                    queue.append(side)
        rooms.append(room)
    return rooms
