"""Two encodings of a kitchen seen from each seat: indices into a table, and overcooked-ai's lossless planes.

The index observation lists the facts that hold, each as the number of a row of a table [V + 1, H]; the sum of the rows is
what a first linear layer makes of the kitchen (`IndexSpec.table_from_dense` gives the table that equals a linear layer on the
lossless planes). Unused entries at the end of a list hold V, the number of a row of zeros.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from numba import njit, prange

from coord.errors import UserError
from coord.overcooked import rules
from coord.overcooked.layouts import CLASSIC_TIME, RECIPES, Layout, load_layout
from coord.overcooked.rules import CONTENT, DISH, FACING, HELD, NUM_LOOSE, PLAYER, POS, SEQ_MASK, SOUP, TIME, scalar

NUM_PLANES = 26
URGENT_TICKS = 40  # overcooked-ai raises the urgency plane when fewer ticks are left
NUM_RECIPES = len(RECIPES)
NUM_OBJECTS = 3 + NUM_RECIPES  # onion, tomato, dish, soups by recipe
NUM_HOLDS = 1 + NUM_OBJECTS  # nothing, or one of the objects
_CHUNK = 64  # kitchens per piece of parallel work; fewer than two pieces run on the calling thread

# What a chef can face: floor, a chef, the four objects' kinds on a counter or nothing, dispensers, hatch, states of a pot.
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
    | object | 12 * cells | an object (onion, tomato, dish, soup of recipe 0..8) lies on a counter or is held on a cell |
    | pot_idle | pots * 9 | the k-th pot holds a recipe's ingredients and is idle |
    | pot_soup | pots * 9 | the k-th pot cooks a recipe or has it ready |
    | pot_time | pots * (max_time + 1) | ticks the k-th pot still needs (0: ready) |
    | urgency | 1 | fewer than 40 ticks are left |
    | layout | layouts | which layout this is |
    | holds | P * 13 | chef r holds nothing or an object (wherever it stands) |
    | faces | 16 | what the observer faces: floor, a chef, a counter (empty, onion, tomato, dish, soup), the onion, tomato or |
    | | | dish dispenser, the hatch, a pot (empty, partly filled, full and idle, cooking, ready) |

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
        """Spec for these layouts in this order. Raises UserError if one has another number of seats, or all is too large."""
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
            max_time=CLASSIC_TIME if classic else max(max(kitchen.times) for kitchen in kitchens),
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

    def table_from_dense(self, weight: np.ndarray, layout: Layout) -> np.ndarray:
        """Table [V + 1, H] whose rows sum to `weight @ lossless_obs.ravel()` for kitchens of this layout, two seats.

        weight: [H, width * height * 26] over the lossless planes of this spec's padded grid. Rows of the blocks `holds`
        and `faces` and of other layouts are zero.
        """
        planes = weight.T.reshape(self.width, self.height, NUM_PLANES, -1)
        return _DenseTable(self, layout, planes).build()


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
        for own in range(layout.width * layout.height):
            cell[number, own] = own % layout.width * spec.height + own // layout.width
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
def facing_kind(row, seat, tab, layout, num_players):
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
def _pot_facts(content, k, tab, layout, code, out, end):
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
def _shared_facts(row, tab, layout, num_players, code, horizon, out, end):
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
def _own_facts(row, seat, tab, layout, num_players, code, out):
    """Facts that depend on who looks: poses, what each chef holds, what the observer faces."""
    for r in range(num_players):
        chef = PLAYER + 3 * _relative_seat(seat, r)
        cell = code.cell[layout, row[chef + POS]]
        out[r] = code.pose + (r * code.cells + cell) * 4 + row[chef + FACING]
        held = code.objects[row[chef + HELD] & rules.CODE_MASK] + 1
        out[num_players + r] = code.holds + r * NUM_HOLDS + held
    out[2 * num_players] = code.faces + facing_kind(row, seat, tab, layout, num_players)


@scalar
def _relative_seat(seat, r):
    """Seat that is r-th from the observer's viewpoint: itself first, then the others in seat order."""
    if r == 0:
        return seat
    return r - 1 if r <= seat else r


@scalar
def index_kitchen(row, tab, layout, code, horizon, out):
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


@njit(nogil=True, cache=True, _nrt=False)
def _index_range(low, high, state, layout_index, tab, code, horizon, out):
    for n in range(low, high):
        index_kitchen(state[n], tab, layout_index[n], code, horizon, out[n])


@njit(nogil=True, cache=True, parallel=True)
def _index_parallel(state, layout_index, tab, code, horizon, out):
    total = len(state)
    for piece in prange((total + _CHUNK - 1) // _CHUNK):
        high = min(total, (piece + 1) * _CHUNK)
        _index_range(piece * _CHUNK, high, state, layout_index, tab, code, horizon, out)


def encode_index(
    state: np.ndarray, layout_index: np.ndarray, tab: rules.Tables, code: IndexCode, horizon: int, out: np.ndarray
) -> None:
    """Index observations of all kitchens; out int16 [N, P, K]."""
    if len(state) < 2 * _CHUNK:
        _index_range(0, len(state), state, layout_index, tab, code, horizon, out)
    else:
        _index_parallel(state, layout_index, tab, code, horizon, out)
