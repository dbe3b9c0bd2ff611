"""What scripted teachers want of a kitchen's ego: the return, shaped events, or behaviour that no return expresses.

`return`: the task reward. It is sparse, so short segments often tie: see `teacher.ties` and `query.length`.
`shaped`: the task reward and the ego's own shaping reward (an onion potted, a dish fetched in time, a soup taken).
`utility`: task x reward + w . phi with phi the ego's own events (`coord.overcooked.events`), as the hidden utilities of
HSP (Yu et al. 2023), but of a teacher instead of a partner. `UTILITIES` are by name; own weights take their place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from coord.errors import unknown
from coord.overcooked import EVENTS
from coord.pair_env import Utility
from coord.preference.labels.answerers import TeacherConfig

if TYPE_CHECKING:
    from coord.preference.tasks.config import TaskConfig

# A soup is worth 20 points. Beside it a good ego causes one to three of these events.
UTILITIES: dict[str, Utility] = {
    "tidy_counters": Utility({f"put_{thing}_on_counter": -10.0 for thing in ("onion", "tomato", "dish", "soup")}),
    "no_collisions": Utility({"collision": -5.0}),
    "own_plating": Utility(
        {"useful_dish_pickup": 5.0, "soup_pickup": 10.0, "delivery": 10.0, "placement_in_pot": -5.0}
    ),
}

MOVES = EVENTS[EVENTS.index("stay") :]  # events in which no thing is moved


def minds_moves(utility: Utility) -> bool:
    """Whether a reward that learns it must read chefs' steps too."""
    return any(utility.weights.get(name) for name in MOVES)


def sees_moves(cfg: TaskConfig) -> bool:
    """Whether the reward model reads chefs' steps: as told, else if the teacher has a utility that minds them."""
    if cfg.sees_moves is not None:
        return cfg.sees_moves
    return minds_moves(judgement(cfg.teacher).utility)


@dataclass(frozen=True)
class Judgement:
    """What a step of the ego is judged by: utility.task x task reward + shaped x shaping reward + weights . events."""

    utility: Utility
    shaped: float = 0.0


def judgement(cfg: TeacherConfig) -> Judgement:
    """What the configured teacher wants.

    Raises:
        UserError: unknown utility or event.
    """
    if cfg.wants != "utility":
        return Judgement(Utility(), cfg.shaped_weight if cfg.wants == "shaped" else 0.0)
    if cfg.weights:
        return Judgement(Utility(cfg.weights, cfg.task_weight))
    if cfg.utility not in UTILITIES:
        raise unknown("utility", cfg.utility, UTILITIES)
    return Judgement(UTILITIES[cfg.utility])
