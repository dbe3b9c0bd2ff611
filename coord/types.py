"""Small shared types. Axes: T time, N kitchens, P seats, M population members, B flat batch."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

ANY_LAYOUT = "any"  # in place of a layout's name on the card of an agent that can cook anywhere
NUM_ACTIONS = 6  # north, south, east, west, stay, interact
HEADS = NUM_ACTIONS + 1  # what an actor-critic puts out: six logits, one value
FIXED_POINT = 32767  # dense inputs x in [-1, 1] travel in a row of int16 indices as round(FIXED_POINT * x)

FloatArray = NDArray[np.float32]
IntArray = NDArray[np.integer]
BoolArray = NDArray[np.bool_]


class StepResult(NamedTuple):
    """What one tick of a batch of kitchens gives back."""

    rew: FloatArray  # [N] sparse task reward of the team
    shaped_rew: FloatArray  # [N, P] shaping reward of each seat, kept apart from the task reward
    terminated: BoolArray  # [N] ended by the rules (a kitchen never does)
    truncated: BoolArray  # [N] ended by the clock
