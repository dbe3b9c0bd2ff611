"""The protocol of a context: a few numbers in [-1, 1] per learner, inferred from its partner's recent behaviour.

A context is asked once per tick and seat, in training by `coord.context_env.ContextEnv` and in evaluation and
play by `coord.agents.policy.FrozenPolicy`, with the same arguments; so an agent reads the same numbers wherever it
plays. Its memory is kept per (kitchen, seat). Its networks may have a member axis [M, ...]; the kitchens of member m
are then the m-th of M equal blocks, as everywhere (M = 1 outside of training).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

    from coord.agents.views import KitchenView, Seeds


class Context(Protocol):
    """Infers `size` numbers per learner. `start` once, `begin_episode` for kitchens that (re)start, then `observe`."""

    size: int

    def start(self, num_envs: int, num_players: int, seed: Seeds) -> None:
        """Allocate memory per (kitchen, seat); `seed` is one number or one per kitchen, as for `Agent.start`."""

    def begin_episode(self, kitchens: np.ndarray) -> None:
        """Forget what was seen in these kitchens."""

    def forget(self, kitchens: np.ndarray) -> None:
        """Another partner is there: what was known of the last one is void. After `begin_episode`."""

    def observe(
        self, view: KitchenView, kitchens: np.ndarray, seats: np.ndarray, last_joint_act: np.ndarray
    ) -> NDArray[np.float32]:
        """The context [n, size] in [-1, 1] of seat `seats[i]` of kitchen `kitchens[i]`; once per tick and seat.

        view: the present states (at the end of an episode, once, the last ones); last_joint_act [n, P]: what was
        played in the tick before, `views.UNKNOWN` where nobody knows.
        """

    def get_state(self) -> dict[str, np.ndarray]:
        """What `observe` remembers, for exact resume."""

    def set_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Inverse of `get_state`."""

    def tensors(self) -> dict[str, Tensor]:
        """Plain name -> [M, ...] of everything learned; a slice [m : m + 1] of each goes into the file of member m."""

    def settings(self) -> dict[str, Any]:
        """What the file's card says: "kind", a key of `kinds.CONTEXTS` beside this file, plain values to build it."""
