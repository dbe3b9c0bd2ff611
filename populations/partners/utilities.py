"""Hidden utilities: which behaviours an agent may be paid for, drawn at random from published sets.

HSP (Yu et al. 2023) and ZSC-Eval (Wang et al. 2024) train agents on r_w = c r + w . phi, phi the counts of the agent's
own events. Both give every event a few possible weights; a utility is one choice per event with few non-zero weights.
The sets below are those of their training scripts for the classic rules.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np

from coord.algos.ppo import PPOState
from coord.errors import UserError
from coord.overcooked import LAYOUT_ALIASES
from coord.pair_env import PairEnv, Utility
from populations.training import Setup, make_kitchens, make_learners

Values = Mapping[str, tuple[float, ...]]

HSP_EVENTS: Values = {
    "onion_from_dispenser": (-10, 0, 3, 10),
    "dish_from_dispenser": (0, 2, 10),
    "soup_pickup": (-10, 0, 3, 10),
    "placement_in_pot": (-10, 0, 3, 10),
    "delivery": (-10, 0),
}
HSP_TASK = (0.0, 1.0)

# ZSC-Eval: the kitchens where both cooks reach everything, and the two where they depend on each other's counters.
BP_EVENTS: Values = {
    "onion_from_dispenser": (-20, 0, 10),
    "dish_from_dispenser": (-20, 0, 10),
    "delivery": (-20, 0),
    "stay": (-0.1, 0, 0.1),
}
BP_EVENTS_OF: Mapping[str, Values] = {
    "forced_coordination": {
        "onion_from_dispenser": (0, 10),
        "dish_from_dispenser": (0, 10),
        "pick_soup_from_counter": (-20, 0),
        "stay": (-0.1, 0, 0.1),
    },
    "bothway_coordination": {
        "pick_onion_from_counter": (-20, 0),
        "onion_from_dispenser": (-20, 0, 10),
        "dish_from_dispenser": (0, 10),
        "pick_soup_from_counter": (-20, 0),
        "stay": (-0.1, 0, 0.1),
    },
}
BP_TASK = (0.1, 1.0)


def bp_events(layout: str) -> Values:
    """The set of a layout under any of its names."""
    return BP_EVENTS_OF.get(LAYOUT_ALIASES.get(layout, layout), BP_EVENTS)


def every_utility(events: Values, task: Sequence[float], max_nonzero: int) -> list[Utility]:
    """All utilities of a set with 1 to `max_nonzero` weights that are not 0."""
    found = []
    for c, weights in itertools.product(task, itertools.product(*events.values())):
        chosen = {name: float(w) for name, w in zip(events, weights, strict=True) if w}
        if 1 <= len(chosen) <= max_nonzero:
            found.append(Utility(chosen, c))
    return found


def draw(
    events: Values, task: Sequence[float], count: int, max_nonzero: int, rng: np.random.Generator
) -> list[Utility]:
    """`count` different utilities.

    Raises:
        UserError: the set does not hold that many.
    """
    every = every_utility(events, task, max_nonzero)
    if not 1 <= count <= len(every):
        raise UserError(f"method.candidates={count}: there are {len(every)} utilities to choose from")
    return [every[i] for i in rng.choice(len(every), count, replace=False)]


def pairs(setup: Setup, utilities: Sequence[Utility]) -> tuple[PPOState, PairEnv]:
    """Two fresh learners per utility: member 2 i is paid by it, member 2 i + 1 plays for the task beside it."""
    kitchens = make_kitchens(setup, len(utilities))
    if kitchens.num_players != 2:
        raise UserError(f"layout '{setup.layout}' has {kitchens.num_players} seats: hidden utilities need pairs")
    state = make_learners(setup, kitchens, 2 * len(utilities))
    return state, PairEnv(kitchens, utilities, state.net.obs_kind)


def described(utility: Utility) -> dict[str, object]:
    """For the card of an agent."""
    return {"weights": dict(utility.weights), "task": utility.task}
