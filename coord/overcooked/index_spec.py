"""The vocabulary of the index observation: which facts about a kitchen have which numbers.

The index observation lists the facts that hold, each as the number of a row of a table [V + 1, H]; the sum of the
rows is what a first linear layer makes of the kitchen (`IndexSpec.table_from_dense` gives the table that equals a
linear layer on the lossless planes). Unused entries at the end of a list hold V, the number of a row of zeros.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from coord.errors import UserError
from coord.overcooked.layouts import RECIPES, Layout
from coord.overcooked.loader import load_layout
from coord.overcooked.lossless import (
    DISHES,
    NUM_PLANES,
    ONIONS,
    ONIONS_IN_POT,
    ONIONS_IN_SOUP,
    OTHER_FACING,
    OTHER_LOC,
    SELF_FACING,
    SELF_LOC,
    SOUP_DONE,
    TERRAIN_PLANES,
    TIME_REMAINING,
    TOMATOES,
    URGENCY,
    padded_cells,
)

NUM_RECIPES = len(RECIPES)
NUM_OBJECTS = 3 + NUM_RECIPES  # onion, tomato, dish, soups by recipe
NUM_HOLDS = 1 + NUM_OBJECTS  # nothing, or one of the objects
# First row of each family within the block `faces` (see IndexSpec).
FACES_FLOOR, FACES_CHEF, FACES_COUNTER, FACES_DISPENSER, FACES_SERVING, FACES_POT = 0, 1, 2, 7, 10, 11
NUM_FACES = 16


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


def _max_facts(kitchen: Layout) -> int:
    """Most facts at a time: poses, held objects and holds, loose objects, two per pot, urgency, layout, faces."""
    return 3 * kitchen.num_players + len(kitchen.cells("X")) + 2 * len(kitchen.cells("P")) + 3
