"""The exact bounds of what a seat observes, for the spaces of Gymnasium and PettingZoo.

Each entry's bounds are the least and the greatest value that it can take in the given kitchen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from gymnasium.spaces import Box

from coord.overcooked import lossless
from coord.overcooked.features import BLOCK, CLOSEST, POT_ENTRIES, POTS, SERVING_DELTA, SOUP_INGREDIENTS, WALLS

if TYPE_CHECKING:
    from coord.overcooked.vector_env import OvercookedVectorEnv


def lossless_space(kitchen: OvercookedVectorEnv) -> Box:
    """Space of `lossless_obs` for one seat: uint8 [W, H, 26].

    Raises UserError unless the kitchen has two seats.
    """
    shape = kitchen.lossless_obs().shape[2:]
    high = np.ones(shape, np.uint8)
    amounts = (lossless.ONIONS_IN_POT, lossless.TOMATOES_IN_POT, lossless.ONIONS_IN_SOUP, lossless.TOMATOES_IN_SOUP)
    high[..., amounts] = kitchen.tables.max_ingredients.max()
    high[..., lossless.TIME_REMAINING] = kitchen.tables.cook_time.max()
    return Box(np.zeros(shape, np.uint8), high, dtype=np.uint8)


def feature_space(kitchen: OvercookedVectorEnv) -> Box:
    """Space of `feature_obs` for one seat: float32 [48 P] (see the table in features.py)."""
    seats, reach = kitchen.num_players, (kitchen.width - 1, kitchen.height - 1)
    low, high = np.zeros(BLOCK, np.float32), np.ones(BLOCK, np.float32)
    amount, time = kitchen.tables.max_ingredients.max(), kitchen.tables.cook_time.max()
    high[SOUP_INGREDIENTS:SERVING_DELTA] = amount
    deltas = [*range(CLOSEST, SOUP_INGREDIENTS, 2), *range(SERVING_DELTA, POTS, 2)]
    for pot in range(POTS, WALLS, POT_ENTRIES):
        high[pot + 5 : pot + 7], high[pot + 7] = amount, time
        deltas.append(pot + 8)
    for at in deltas:
        low[at : at + 2], high[at : at + 2] = np.negative(reach), reach
    others = np.tile(np.array(reach, np.float32), seats - 1)
    return Box(
        np.concatenate([*[low] * seats, -others, np.zeros(2, np.float32)]),
        np.concatenate([*[high] * seats, others, np.array(reach, np.float32)]),
        dtype=np.float32,
    )


def stacked(space: Box, seats: int) -> Box:
    """Space of the observations of all seats together, [P, ...]."""
    return Box(np.stack([space.low] * seats), np.stack([space.high] * seats), dtype=space.dtype)
