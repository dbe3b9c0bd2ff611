"""Two encodings of a kitchen seen from each seat: indices into a table, and overcooked-ai's lossless planes.

The index observation lists the facts that hold, each as the number of a row of a table [V + 1, H]; the sum of the
rows is what a first linear layer makes of the kitchen (`IndexSpec.table_from_dense` gives the table that equals a
linear layer on the lossless planes). Unused entries at the end of a list hold V, the number of a row of zeros.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from numba import prange

from coord.errors import UserError
from coord.overcooked import rules
from coord.overcooked.compiled import is_split, loop, parallel_loop, scalar
from coord.overcooked.layouts import RECIPES, Layout
from coord.overcooked.loader import load_layout
from coord.overcooked.rules import CONTENT, FACING, HELD, NUM_LOOSE, PLAYER, POS, SEQ_MASK, SOUP, TIME, Array

NUM_PLANES = 26
URGENT_TICKS = 40  # overcooked-ai raises the urgency plane when fewer ticks are left
NUM_RECIPES = len(RECIPES)
NUM_OBJECTS = 3 + NUM_RECIPES  # onion, tomato, dish, soups by recipe
NUM_HOLDS = 1 + NUM_OBJECTS  # nothing, or one of the objects
_CHUNK = 128  # kitchens per piece of parallel work; fewer than two pieces run on the calling thread

# First row of each family within the block `faces` (see IndexSpec).
FACES_FLOOR, FACES_CHEF, FACES_COUNTER, FACES_DISPENSER, FACES_SERVING, FACES_POT = 0, 1, 2, 7, 10, 11
NUM_FACES = 16

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


@dataclass(frozen=True)
class IndexSpec:
    """Vocabulary of the index observation for a set of layouts; equal specs have equal meaning row by row.

    Blocks of rows, in this order (r counts seats from the observer: itself 0, then the others in seat order; a cell is
    numbered x * height + y within a width x height grid that holds every layout):

    | block | rows | fact |
    |---|---|---|
    | pose | P * cells * 4 | chef r stands on a cell with an orientation |
    | object | 12 * cells | an onion, a tomato, a dish or a soup of recipe 0..8 lies on a counter or is held on a cell |
    | pot_idle | pots * 9 | the k-th pot holds a recipe's ingredients and is idle |
    | pot_soup | pots * 9 | the k-th pot cooks a recipe or has it ready |
    | pot_time | pots * (max_time + 1) | ticks the k-th pot still needs (0: ready) |
    | urgency | 1 | fewer than 40 ticks are left |
    | layout | layouts | which layout this is |
    | holds | P * 13 | chef r holds nothing or an object (wherever it stands) |
    | faces | 16 | what the observer faces: floor, a chef, a counter (empty, onion, tomato, dish, soup), the onion, |
    | | | tomato or dish dispenser, the hatch, a pot (empty, partly filled, full and idle, cooking, ready) |

    The blocks before `holds` say what the lossless planes say; the last two only spare a learner some work.
    """

    layouts: tuple[tuple[str, str], ...]  # (name, hash)
    rules: str
    num_players: int
    width: int
    height: int
    num_pots: int
    max_time: int
    max_facts: int  # K

    @classmethod
    def for_layouts(cls, layouts: Sequence[str | Layout], rules: str, num_players: int) -> IndexSpec:
        """Spec for these layouts in this order. Raises UserError for other numbers of seats or too large a table."""
        kitchens = [load_layout(layout) for layout in layouts]
        for kitchen in kitchens:
            if kitchen.num_players != num_players:
                raise UserError(f"layout '{kitchen.name}' has {kitchen.num_players} seats, not {num_players}")
        classic = rules == "classic"
        spec = cls(
            layouts=tuple((kitchen.name, kitchen.hash) for kitchen in kitchens),
            rules=rules,
            num_players=num_players,
            width=max(kitchen.width for kitchen in kitchens),
            height=max(kitchen.height for kitchen in kitchens),
            num_pots=max(len(kitchen.cells("P")) for kitchen in kitchens),
            max_time=max(kitchen.classic_time if classic else max(kitchen.times) for kitchen in kitchens),
            max_facts=max(_max_facts(kitchen) for kitchen in kitchens),
        )
        if spec.vocab_size > np.iinfo(np.int16).max:
            raise UserError(f"the layouts are too large for an index observation: {spec.vocab_size} rows")
        return spec

    @property
    def cells(self) -> int:
        return self.width * self.height

    @property
    def blocks(self) -> dict[str, int]:
        """Rows of each block, in table order."""
        return {
            "pose": self.num_players * self.cells * 4,
            "object": NUM_OBJECTS * self.cells,
            "pot_idle": self.num_pots * NUM_RECIPES,
            "pot_soup": self.num_pots * NUM_RECIPES,
            "pot_time": self.num_pots * (self.max_time + 1),
            "urgency": 1,
            "layout": len(self.layouts),
            "holds": self.num_players * NUM_HOLDS,
            "faces": NUM_FACES,
        }

    @property
    def offsets(self) -> dict[str, int]:
        """First row of each block."""
        sizes = list(self.blocks.values())
        return {name: sum(sizes[:i]) for i, name in enumerate(self.blocks)}

    @property
    def vocab_size(self) -> int:
        """V: number of facts; the table has one more row."""
        return sum(self.blocks.values())

    @property
    def pad(self) -> int:
        """Row of zeros that fills the unused end of a list of facts."""
        return self.vocab_size

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> IndexSpec:
        """Inverse of to_dict, also after a round trip through JSON."""
        layouts = tuple((str(name), str(digest)) for name, digest in values["layouts"])
        return cls(**{**values, "layouts": layouts})

    def number_of(self, layout: Layout) -> int:
        """Position of a layout in this spec. Raises UserError if it is not there."""
        hashes = [digest for _, digest in self.layouts]
        if layout.hash not in hashes:
            names = ", ".join(name for name, _ in self.layouts)
            raise UserError(f"layout '{layout.name}' is not among those of this index observation: {names}")
        return hashes.index(layout.hash)

    def possible(self, layout: Layout) -> np.ndarray:
        """int64 [F] rows, in rising order, of the facts that may differ between states of kitchens of this layout.

        Chefs stand on floor, things lie on counters or are held, and without tomatoes nothing is made of them.
        """
        cells, tiles = padded_cells(layout, self.height), np.array(list("".join(layout.terrain)))
        floor, place = (np.isin(np.arange(self.cells), cells[np.isin(tiles, list(kinds))]) for kinds in (" ", " X"))
        tomatoes = "T" in tiles or layout.start_state is not None
        things = np.array([True, tomatoes, True, *(tomatoes or "tomato" not in recipe for recipe in RECIPES)])
        pots = np.arange(self.num_pots) < len(layout.cells("P"))
        found = {
            "pose": np.tile(np.repeat(floor, 4), self.num_players),
            "object": np.outer(things, place),
            "pot_idle": np.outer(pots, things[3:]),
            "pot_soup": np.outer(pots, things[3:]),
            "pot_time": np.repeat(pots, self.max_time + 1),
            "urgency": np.ones(1, np.bool_),
            "layout": np.zeros(len(self.layouts), np.bool_),
            "holds": np.tile([True, *things], self.num_players),
            "faces": np.ones(NUM_FACES, np.bool_),
        }
        return np.flatnonzero(np.concatenate([found[name].ravel() for name in self.blocks]))

    def things(self, layout: Layout) -> np.ndarray:
        """int64, in rising order: those of `possible` about what lies on counters, is in pots, and is held by whom.

        The others change with chefs' steps and turns, and with the clocks.
        """
        cells, tiles = padded_cells(layout, self.height), np.array(list("".join(layout.terrain)))
        counter = np.isin(np.arange(self.cells), cells[tiles == "X"])
        blocks = {name: np.zeros(size, np.bool_) for name, size in self.blocks.items()}
        blocks["object"][:] = np.tile(counter, NUM_OBJECTS)
        for name in ("pot_idle", "pot_soup", "holds"):
            blocks[name][:] = True
        return np.intersect1d(self.possible(layout), np.flatnonzero(np.concatenate(list(blocks.values()))))

    def same_thing(self, layout: Layout) -> np.ndarray:
        """int64, for each row of `things` the first one that says the same of another place: of any counter, any pot.

        What a chef holds is the same thing as itself only.
        """
        rows, at = self.things(layout), self.offsets
        sizes = {"object": self.cells, "pot_idle": -NUM_RECIPES, "pot_soup": -NUM_RECIPES}  # -n: place first, of n
        kind = rows.copy()
        for name, size in sizes.items():
            mine = (rows >= at[name]) & (rows < at[name] + self.blocks[name])
            number = rows[mine] - at[name]
            kind[mine] = at[name] + (number // size if size > 0 else number % -size)
        _, first, which = np.unique(kind, return_index=True, return_inverse=True)
        return rows[first[which]]

    def table_from_dense(self, weight: np.ndarray, layout: Layout) -> np.ndarray:
        """Table [V + 1, H] whose rows sum to `weight @ lossless_obs.ravel()` for kitchens of this layout, two seats.

        weight: [H, width * height * 26] over the lossless planes of this spec's padded grid. Rows of the blocks `holds`
        and `faces` and of other layouts are zero.
        """
        if self.num_players != 2:
            raise UserError(f"the lossless planes exist for 2 seats, not {self.num_players}")
        planes = weight.T.reshape(self.cells, NUM_PLANES, -1)  # [cells, 26, H]
        table = np.zeros((self.vocab_size + 1, planes.shape[2]), weight.dtype)
        own_cells = padded_cells(layout, self.height)
        sizes, at = self.blocks, self.offsets
        parts = {
            "pose": _pose_rows(planes),
            "object": _object_rows(planes),
            "urgency": planes[own_cells, URGENCY].sum(0, keepdims=True),
            **_pot_rows(planes, own_cells[layout.cells("P")], self.max_time),
        }
        for name, rows in parts.items():
            table[at[name] : at[name] + sizes[name]][: len(rows)] = rows
        tiles = "".join(layout.terrain)
        for cell, tile in zip(own_cells, tiles, strict=True):
            if tile != " ":
                table[at["layout"] + self.number_of(layout)] += planes[cell, TERRAIN_PLANES[tile]]
        return table


def _pose_rows(planes: np.ndarray) -> np.ndarray:
    """[2 * cells * 4, H]: a location plane and an orientation plane for each relative seat."""
    locations = planes[:, (SELF_LOC, OTHER_LOC)].swapaxes(0, 1)  # [2, cells, H]
    turned = [planes[:, first : first + 4] for first in (SELF_FACING, OTHER_FACING)]  # 2 x [cells, 4, H]
    return (locations[:, :, None] + np.stack(turned)).reshape(-1, planes.shape[2])


def _object_rows(planes: np.ndarray) -> np.ndarray:
    """[12 * cells, H]: onion, tomato, dish, then soups, which count as done outside a pot."""
    plain = [planes[:, plane] for plane in (ONIONS, TOMATOES, DISHES)]
    soups = [_recipe_planes(planes, recipe, ONIONS_IN_SOUP) + planes[:, SOUP_DONE] for recipe in RECIPES]
    return np.concatenate(plain + soups)


def _pot_rows(planes: np.ndarray, pots: np.ndarray, max_time: int) -> dict[str, np.ndarray]:
    """Rows of the three pot blocks, pot by pot; `pots` are their cells."""
    at_pots = planes[pots]  # [pots, 26, H]
    idle = [_recipe_planes(at_pots, recipe, ONIONS_IN_POT) for recipe in RECIPES]
    soup = [_recipe_planes(at_pots, recipe, ONIONS_IN_SOUP) for recipe in RECIPES]
    time = [t * at_pots[:, TIME_REMAINING] for t in range(max_time + 1)]
    time[0] = at_pots[:, SOUP_DONE]
    rows = {"pot_idle": idle, "pot_soup": soup, "pot_time": time}
    return {name: np.stack(part, axis=1).reshape(-1, planes.shape[2]) for name, part in rows.items()}


def _recipe_planes(planes: np.ndarray, recipe: tuple[str, ...], onions: int) -> np.ndarray:
    """Planes `onions` and the next one (tomatoes), weighted by the recipe's amounts."""
    return recipe.count("onion") * planes[:, onions] + recipe.count("tomato") * planes[:, onions + 1]


def padded_cells(layout: Layout, height: int) -> np.ndarray:
    """int16: number x * height + y of each cell of a layout, in its own order, in a grid `height` rows tall."""
    own = np.arange(layout.width * layout.height)
    return (own % layout.width * height + own // layout.width).astype(np.int16)


def _max_facts(kitchen: Layout) -> int:
    """Most facts at a time: poses, held objects and holds, loose objects, two per pot, urgency, layout, faces."""
    return 3 * kitchen.num_players + len(kitchen.cells("X")) + 2 * len(kitchen.cells("P")) + 3


# --------------------------------------------------------------------------- index observation


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
    recipe = rules.recipe_numbers()
    numbers[SOUP:] = np.where(recipe >= 0, 3 + recipe, -1)
    return numbers


@scalar
def facing_kind(row: Array, seat: int, tab: rules.Tables, layout: int, num_players: int) -> int:
    """What a seat faces, 0..15 (see IndexSpec, block faces)."""
    chef = PLAYER + 3 * seat
    cell = tab.facing[layout, row[chef + POS], row[chef + FACING]]
    terrain, content = tab.terrain[layout, cell], row[CONTENT + cell]
    if terrain == rules.FLOOR:
        for other in range(num_players):
            if row[PLAYER + 3 * other + POS] == cell:
                return FACES_CHEF
        return FACES_FLOOR
    if terrain == rules.COUNTER:
        return FACES_COUNTER + rules.object_kind(content) + 1
    if terrain == rules.SERVING:
        return FACES_SERVING
    if terrain != rules.POT:
        return FACES_DISPENSER + terrain - rules.ONION_DISPENSER
    if rules.cooking_tick(content) >= 0:
        return FACES_POT + 3 + rules.is_ready(content, tab, layout)
    amount = rules.num_ingredients(content & SEQ_MASK)
    return FACES_POT + (amount > 0) + (amount >= tab.max_ingredients[layout])


@scalar
def _pot_facts(content: int, k: int, tab: rules.Tables, layout: int, code: IndexCode, out: Array, end: int) -> int:
    """Facts of the k-th pot; returns the new end of the list."""
    recipe = tab.recipe[content & SEQ_MASK]
    if recipe < 0:
        return end
    tick = rules.cooking_tick(content)
    if tick < 0:
        out[end] = code.pot_idle + k * NUM_RECIPES + recipe
        return end + 1
    remaining = max(tab.cook_time[layout, content & SEQ_MASK] - tick, 0)
    out[end] = code.pot_soup + k * NUM_RECIPES + recipe
    out[end + 1] = code.pot_time + k * (code.max_time + 1) + remaining
    return end + 2


@scalar
def _shared_facts(
    row: Array, tab: rules.Tables, layout: int, num_players: int, code: IndexCode, horizon: int, out: Array, end: int
) -> int:
    """Facts that are the same from every seat; returns the new end of the list."""
    cells = tab.terrain.shape[1]
    for k in range(row[NUM_LOOSE]):
        cell = row[CONTENT + cells + k]
        if tab.terrain[layout, cell] == rules.COUNTER:
            number = code.objects[row[CONTENT + cell] & rules.CODE_MASK]
            out[end] = code.obj + number * code.cells + code.cell[layout, cell]
            end += number >= 0
    for seat in range(num_players):
        chef = PLAYER + 3 * seat
        number = code.objects[row[chef + HELD] & rules.CODE_MASK]
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
    row: Array, seat: int, tab: rules.Tables, layout: int, num_players: int, code: IndexCode, out: Array
) -> None:
    """Facts that depend on who looks: poses, what each chef holds, what the observer faces."""
    for r in range(num_players):
        chef = PLAYER + 3 * _relative_seat(seat, r)
        cell = code.cell[layout, row[chef + POS]]
        out[r] = code.pose + (r * code.cells + cell) * 4 + row[chef + FACING]
        held = code.objects[row[chef + HELD] & rules.CODE_MASK] + 1
        out[num_players + r] = code.holds + r * NUM_HOLDS + held
    out[2 * num_players] = code.faces + facing_kind(row, seat, tab, layout, num_players)


@scalar
def _relative_seat(seat: int, r: int) -> int:
    """Seat that is r-th from the observer's viewpoint: itself first, then the others in seat order."""
    if r == 0:
        return seat
    return r - 1 if r <= seat else r


@scalar
def index_kitchen(row: Array, tab: rules.Tables, layout: int, code: IndexCode, horizon: int, out: Array) -> None:
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
    low: int, high: int, state: Array, layout_index: Array, tab: rules.Tables, code: IndexCode, horizon: int, out: Array
) -> None:
    for n in range(low, high):
        index_kitchen(state[n], tab, layout_index[n], code, horizon, out[n])


@parallel_loop
def _index_parallel(
    state: Array, layout_index: Array, tab: rules.Tables, code: IndexCode, horizon: int, out: Array
) -> None:
    total = len(state)
    for piece in prange((total + _CHUNK - 1) // _CHUNK):
        high = min(total, (piece + 1) * _CHUNK)
        _index_range(piece * _CHUNK, high, state, layout_index, tab, code, horizon, out)


def encode_index(
    state: np.ndarray, layout_index: np.ndarray, tab: rules.Tables, code: IndexCode, horizon: int, out: np.ndarray
) -> None:
    """Index observations of all kitchens; out int16 [N, P, K]."""
    if is_split(len(state), _CHUNK):
        _index_parallel(state, layout_index, tab, code, horizon, out)
    else:
        _index_range(0, len(state), state, layout_index, tab, code, horizon, out)


# --------------------------------------------------------------------------- lossless planes


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
def _draw_object(content: int, first: int, in_pot: bool, tab: rules.Tables, layout: int, out: Array, seat: int) -> None:
    """Enters an object into the planes of one seat; `first` is the flat position of its cell's planes."""
    if content & rules.CODE_MASK < SOUP:
        plane = (ONIONS, TOMATOES, DISHES)[content - 1]
        out[seat, first + plane] = 1
        return
    seq = content & SEQ_MASK
    tick = rules.cooking_tick(content)
    tomatoes = rules.num_tomatoes(seq)
    plane = ONIONS_IN_POT if in_pot and tick < 0 else ONIONS_IN_SOUP
    out[seat, first + plane] = rules.num_ingredients(seq) - tomatoes
    out[seat, first + plane + 1] = tomatoes
    if not in_pot:
        out[seat, first + SOUP_DONE] = 1
    elif tick >= 0:
        remaining = max(tab.cook_time[layout, seq] - tick, 0)
        out[seat, first + TIME_REMAINING] = remaining
        out[seat, first + SOUP_DONE] = remaining == 0


@scalar
def _draw_shared(row: Array, tab: rules.Tables, layout: int, code: PlaneCode, horizon: int, out: Array) -> None:
    """Objects and urgency, the same from both seats."""
    cells = tab.terrain.shape[1]
    for k in range(row[NUM_LOOSE]):
        cell = row[CONTENT + cells + k]
        first = code.cell[layout, cell] * NUM_PLANES
        in_pot = tab.terrain[layout, cell] == rules.POT
        for seat in range(2):
            _draw_object(row[CONTENT + cell], first, in_pot, tab, layout, out, seat)
    for chef in (PLAYER, PLAYER + 3):
        if row[chef + HELD] != rules.NOTHING:
            first = code.cell[layout, row[chef + POS]] * NUM_PLANES
            for seat in range(2):
                _draw_object(row[chef + HELD], first, False, tab, layout, out, seat)
    if horizon - row[TIME] < URGENT_TICKS:
        for k in range(code.num_cells[layout]):
            for seat in range(2):
                out[seat, code.cell[layout, k] * NUM_PLANES + URGENCY] = 1


@scalar
def planes_kitchen(row: Array, tab: rules.Tables, layout: int, code: PlaneCode, horizon: int, out: Array) -> None:
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
    low: int, high: int, state: Array, layout_index: Array, tab: rules.Tables, code: PlaneCode, horizon: int, out: Array
) -> None:
    for n in range(low, high):
        planes_kitchen(state[n], tab, layout_index[n], code, horizon, out[n])


@parallel_loop
def _planes_parallel(
    state: Array, layout_index: Array, tab: rules.Tables, code: PlaneCode, horizon: int, out: Array
) -> None:
    total = len(state)
    for piece in prange((total + _CHUNK - 1) // _CHUNK):
        high = min(total, (piece + 1) * _CHUNK)
        _planes_range(piece * _CHUNK, high, state, layout_index, tab, code, horizon, out)


def encode_planes(
    state: np.ndarray, layout_index: np.ndarray, tab: rules.Tables, code: PlaneCode, horizon: int, out: np.ndarray
) -> None:
    """Lossless planes of all kitchens; out uint8 [N, 2, W * H * 26]."""
    if is_split(len(state), _CHUNK):
        _planes_parallel(state, layout_index, tab, code, horizon, out)
    else:
        _planes_range(0, len(state), state, layout_index, tab, code, horizon, out)
