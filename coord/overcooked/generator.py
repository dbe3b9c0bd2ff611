"""Random kitchens in which a soup can be served, so that training may meet a new one in every episode.

A kitchen is drawn from its seed alone: size, shape family, counters and stations, start tiles. It is kept only if a
delivery can be completed by its cooks together (`solvable.find_problem`): each of onion, pot, dish and hatch must be in
reach of the right hands, and where the floor falls into several rooms, things pass over counters that two rooms share.
The five classic kitchens, however mirrored or turned, are never drawn, so that they stay held out.

By name, wherever a layout is accepted: `generated:7`, or with any of size, family and number of cooks in front of the
seed: `generated:9x6:7`, `generated:divided:7`, `generated:7x5:ring:3p:7`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from coord import seeding
from coord.errors import UserError, share_below_one, unknown
from coord.overcooked.layout_text import MAX_PLAYERS
from coord.overcooked.layouts import Layout, from_grid, read_layout
from coord.overcooked.solvable import Cell, connected_rooms, problem_of, sides_of, survey_rooms

PREFIX = "generated"
HELD_OUT = (
    "cramped_room",
    "asymmetric_advantages",
    "coordination_ring",
    "forced_coordination",
    "counter_circuit_o_1order",
)
SET_SIZE = 1_000_000  # seeds that belong to one set of `generate_layouts`
MAX_TRIES = 3000  # drawings of one kitchen before its configuration is refused
SIDES = (3, 64)  # columns or rows: the least that has floor, the most that is drawn in a moment
MAX_COUNT = (SET_SIZE - 100) // 10  # kitchens of one set: a tenth of its seeds, as some draw the same one
MAX_SET = 10**11  # sets whose seeds a name can hold


@dataclass(frozen=True, kw_only=True)
class GeneratorConfig:
    """What kitchens are drawn. A range (low, high) includes both ends."""

    width: int = 0  # columns, border included; 0: drawn from `widths`
    height: int = 0  # rows, border included; 0: drawn from `heights`
    widths: tuple[int, int] = (5, 9)
    heights: tuple[int, int] = (4, 7)
    family: str = ""  # a key of FAMILIES; "": drawn
    players: int = 2
    pots: tuple[int, int] = (1, 2)
    onions: tuple[int, int] = (1, 2)  # dispensers
    dishes: tuple[int, int] = (1, 2)  # dispensers
    servings: tuple[int, int] = (1, 2)
    density: float = 0.15  # share of the floor that becomes single counters (never in a ring)
    allow_idle: bool = False  # whether a cook may stand where it can do nothing

    def __post_init__(self) -> None:
        if self.family and self.family not in FAMILIES:
            raise unknown("family of kitchens", self.family, FAMILIES)
        if not 1 <= self.players <= MAX_PLAYERS:
            raise UserError(f"players={self.players}: allowed are 1 to {MAX_PLAYERS}")
        self._check_sides()
        if (self.width == 0) != (self.height == 0):
            raise UserError(f"width={self.width}, height={self.height}: give both, or neither")
        share_below_one(self, "density")
        for name in ("widths", "heights", "pots", "onions", "dishes", "servings"):
            low, high = getattr(self, name)
            if not 1 <= low <= high:
                raise UserError(f"{name}={[low, high]}: a range (low, high) with 1 <= low <= high is needed")

    def _check_sides(self) -> None:
        sides = [(name, getattr(self, name)) for name in ("width", "height") if getattr(self, name)]
        sides += [(name, side) for name in ("widths", "heights") for side in getattr(self, name)]
        for name, side in sides:
            if not SIDES[0] <= side <= SIDES[1]:
                raise UserError(f"{name}={side}: allowed are {SIDES[0]} to {SIDES[1]}")


def _carve_open(rng: np.random.Generator, w: int, h: int) -> set[Cell]:
    """One room."""
    return {(x, y) for x in range(w) for y in range(h)}


def _carve_ring(rng: np.random.Generator, w: int, h: int) -> set[Cell]:
    """A way around a block of counters."""
    wide, high = int(rng.integers(1, w - 1)), int(rng.integers(1, h - 1))
    left, top = int(rng.integers(1, w - wide)), int(rng.integers(1, h - high))
    block = {(x, y) for x in range(left, left + wide) for y in range(top, top + high)}
    return _carve_open(rng, w, h) - block


def _carve_corridor(rng: np.random.Generator, w: int, h: int) -> set[Cell]:
    """Two rooms joined by a lane where nobody can pass."""
    long = int(rng.integers(1, w - 1))
    left, lane = int(rng.integers(1, w - long)), int(rng.integers(h))
    band = {(x, y) for x in range(left, left + long) for y in range(h) if y != lane}
    return _carve_open(rng, w, h) - band


def _carve_rooms(rng: np.random.Generator, w: int, h: int) -> set[Cell]:
    """Two rooms behind one line of counters, which may have a step."""
    step = int(rng.integers(2)) if w > 3 else 0
    left, turn = int(rng.integers(1, w - 1 - step)), int(rng.integers(1, h))
    wall = {(left + step * (y >= turn), y) for y in range(h)}
    return _carve_open(rng, w, h) - wall


class _Family(NamedTuple):
    carve: Callable[[np.random.Generator, int, int], set[Cell]]
    inner: Cell  # least size of the inner area, either way round
    clutter: bool  # whether single counters may stand in it
    complete: bool | None  # whether some room has all it takes to serve; None: it follows from the shape


FAMILIES: dict[str, _Family] = {
    "open": _Family(_carve_open, (2, 2), True, None),
    "ring": _Family(_carve_ring, (3, 3), False, None),
    "corridor": _Family(_carve_corridor, (3, 2), True, None),
    "divided": _Family(_carve_rooms, (3, 2), True, False),  # no room has everything: hand-over is forced
    "split": _Family(_carve_rooms, (3, 2), True, True),  # some room has everything, the other helps
}


def name_of(seed: int, config: GeneratorConfig) -> str:
    """The name by which `loader.load_layout` finds this kitchen; "" if the name cannot say all of the configuration."""
    size = f"{config.width}x{config.height}" if config.width else ""
    cooks = f"{config.players}p" if config.players != 2 else ""
    name = ":".join(part for part in (PREFIX, size, config.family, cooks, str(seed)) if part)
    return name if parse_name(name) == (seed, config) else ""


def parse_name(name: str) -> tuple[int, GeneratorConfig]:
    """Seed and configuration of a name such as `generated:9x6:ring:7`.

    Raises:
        UserError: no seed at the end, or a part that is neither a size, a family nor a number of cooks.
    """
    _, *parts, seed = name.split(":")
    if not re.fullmatch(r"\d{1,18}", seed):
        raise UserError(f"layout '{name}': the seed '{seed}' is not a whole number, e.g. {PREFIX}:7")
    config = GeneratorConfig()
    for part in parts:
        if match := re.fullmatch(r"(\d{1,3})x(\d{1,3})", part):
            config = replace(config, width=int(match[1]), height=int(match[2]))
        elif match := re.fullmatch(r"(\d{1,3})p", part):
            config = replace(config, players=int(match[1]))
        elif part in FAMILIES:
            config = replace(config, family=part)
        else:
            raise unknown(f"part of layout '{name}'", part, [*FAMILIES, "9x6", "2p"])
    return int(seed), config


def generate_layout(seed: int, config: GeneratorConfig | None = None) -> Layout:
    """The kitchen of this seed and configuration: always the same one.

    Raises:
        UserError: kitchens of this size and configuration do not exist, or hardly.
    """
    config = config or GeneratorConfig()
    rng = seeding.rng(seed, "kitchen")
    for _ in range(MAX_TRIES):
        grid = _draw(rng, config)
        if grid is None:
            continue
        layout = from_grid(grid, name_of(seed, config))
        if shape_key(layout) not in _held_out_keys():
            return layout
    raise UserError(f"found no kitchen in which a soup can be served in {MAX_TRIES} tries: {config}")


def generate_layouts(count: int, seed: int = 0, config: GeneratorConfig | None = None) -> list[Layout]:
    """`count` kitchens of which no two have the same terrain, however mirrored or turned.

    Their seeds are seed * SET_SIZE, seed * SET_SIZE + 1, ..., so sets of different seeds are drawn independently.

    Raises:
        UserError: fewer such kitchens were found (the configuration leaves too little choice), or more are asked for
            than a set has, or there is no set of that number.
    """
    if not 1 <= count <= MAX_COUNT:
        raise UserError(f"count={count}: allowed are 1 to {MAX_COUNT}")
    if not 0 <= seed < MAX_SET:
        raise UserError(f"seed={seed}: allowed are 0 to {MAX_SET - 1}")
    kitchens: dict[tuple[str, ...], Layout] = {}
    for number in range(seed * SET_SIZE, seed * SET_SIZE + 10 * count + 100):
        if len(kitchens) == count:
            break
        layout = generate_layout(number, config)
        kitchens.setdefault(shape_key(layout), layout)
    if len(kitchens) < count:
        raise UserError(f"count={count}: found only {len(kitchens)} different kitchens of this configuration")
    return list(kitchens.values())


def _draw(rng: np.random.Generator, config: GeneratorConfig) -> tuple[str, ...] | None:
    """One attempt: rows of a kitchen, or None if it is none that was asked for."""
    w, h = (size - 2 for size in _draw_size(rng, config))
    fitting = [name for name, family in FAMILIES.items() if _ways(family, w, h)]
    if config.family:
        fitting = [name for name in fitting if name == config.family]
    if not fitting:
        return None
    family = FAMILIES[fitting[int(rng.integers(len(fitting)))]]
    floor = _carve(rng, family, w, h)
    if family.clutter:
        _clutter(rng, floor, config.density)
    tiles = _place_stations(rng, floor, w, h, config)
    if tiles is None:
        return None
    starts = _place_cooks(rng, floor, config.players)
    rows = tuple("".join(starts.get((x, y), tiles[x, y]) for x in range(w + 2)) for y in range(h + 2))
    return rows if _is_wanted(rows, family, config) else None


def _draw_size(rng: np.random.Generator, config: GeneratorConfig) -> Cell:
    if config.width:
        return config.width, config.height
    (least_w, most_w), (least_h, most_h) = config.widths, config.heights
    return int(rng.integers(least_w, most_w + 1)), int(rng.integers(least_h, most_h + 1))


def _ways(family: _Family, w: int, h: int) -> list[bool]:
    """Which ways round the family fits: as it is (False), turned (True)."""
    least_w, least_h = family.inner
    return [turned for turned in (False, True) if (h if turned else w) >= least_w and (w if turned else h) >= least_h]


def _carve(rng: np.random.Generator, family: _Family, w: int, h: int) -> set[Cell]:
    """Floor of a w x h inner area, in cells of the whole grid."""
    ways = _ways(family, w, h)
    if ways[int(rng.integers(len(ways)))]:
        return {(y + 1, x + 1) for x, y in family.carve(rng, h, w)}
    return {(x + 1, y + 1) for x, y in family.carve(rng, w, h)}


def _clutter(rng: np.random.Generator, floor: set[Cell], density: float) -> None:
    """Turns some floor into counters, as long as no room is parted or lost."""
    rooms, cells = len(connected_rooms(floor)), sorted(floor)
    for i in rng.permutation(len(cells))[: rng.binomial(len(cells), density)]:
        floor.remove(cells[i])
        if len(connected_rooms(floor)) != rooms:
            floor.add(cells[i])


def _place_stations(
    rng: np.random.Generator, floor: set[Cell], w: int, h: int, config: GeneratorConfig
) -> dict[Cell, str] | None:
    """Every tile of the grid, with stations on counters that somebody can stand beside; None if there are too few."""
    tiles = {(x, y): " " if (x, y) in floor else "X" for x in range(w + 2) for y in range(h + 2)}
    ranges = {"P": config.pots, "O": config.onions, "D": config.dishes, "S": config.servings}
    wanted = [kind for kind, (low, high) in ranges.items() for _ in range(int(rng.integers(low, high + 1)))]
    places = [cell for cell, tile in tiles.items() if tile == "X" and any(side in floor for side in sides_of(cell))]
    if len(places) < len(wanted):
        return None
    for kind, i in zip(wanted, rng.permutation(len(places)), strict=False):
        tiles[places[i]] = kind
    return tiles


def _place_cooks(rng: np.random.Generator, floor: set[Cell], players: int) -> dict[Cell, str]:
    """Start tiles in a random order; no room gets a second cook while another has none."""
    queues = [[room[i] for i in rng.permutation(len(room))] for room in map(sorted, connected_rooms(floor))]
    turns = [queue[k] for k in range(max(map(len, queues))) for queue in queues if k < len(queue)][:players]
    digits = rng.permutation(len(turns)) + 1
    return {cell: str(digit) for cell, digit in zip(turns, digits, strict=True)}


def _is_wanted(rows: tuple[str, ...], family: _Family, config: GeneratorConfig) -> bool:
    kitchen = survey_rooms(rows)
    if sum(char.isdigit() for row in rows for char in row) < config.players or not all(kitchen.staffed):
        return False
    if family.complete is not None and family.complete != any({"O", "P", "D", "S"} <= t for t in kitchen.touched):
        return False
    return not problem_of(kitchen, allow_idle=config.allow_idle)


def shape_key(layout: Layout) -> tuple[str, ...]:
    """The terrain as it is for those who cook: equal for mirrored and turned kitchens.

    Tiles that nobody can stand beside count as counters, and rows and columns of nothing else are cut off. Start
    tiles do not count.
    """
    rows = layout.terrain
    floor = {(x, y) for y, row in enumerate(rows) for x, char in enumerate(row) if char == " "}
    known = {side for cell in floor for side in sides_of(cell)} | floor
    xs, ys = [x for x, _ in floor], [y for _, y in floor]
    cut = tuple(
        "".join(rows[y][x] if (x, y) in known else "X" for x in range(min(xs) - 1, max(xs) + 2))
        for y in range(min(ys) - 1, max(ys) + 2)
    )
    return min(_images(cut))


def _images(rows: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """The eight mirrored and turned images of a grid."""
    for _ in range(4):
        rows = tuple("".join(column) for column in zip(*rows[::-1], strict=True))  # a quarter turn
        yield rows
        yield rows[::-1]


@lru_cache(maxsize=1)
def _held_out_keys() -> frozenset[tuple[str, ...]]:
    return frozenset(shape_key(read_layout(name)) for name in HELD_OUT)
