"""A function from observations to scores of the six actions, as an agent."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from coord.agents.players import RowUniforms
from coord.agents.schemes.guard import FIRST_S, checked_actions, guarded
from coord.agents.schemes.options import FileOptions
from coord.agents.schemes.visitor import OBSERVATIONS
from coord.agents.views import KitchenView, Seeds
from coord.errors import UserError
from coord.types import NUM_ACTIONS

Scores = Callable[[np.ndarray], np.ndarray]  # [N, ...] -> logits [N, 6], or whole numbers [N] that are actions


class ScoringAgent:
    """Draws from the softmax of the scores (`stochastic`), or takes the best; masked actions are left out."""

    def __init__(self, agent_id: str, options: FileOptions, scores: Scores, *, sample: bool = True) -> None:
        """sample: whether its scores are meant to be drawn from, where the reference does not say."""
        self.agent_id, self.sha256 = agent_id, options.sha256
        self._said = options.stochastic is not None or not sample
        self.stochastic = sample if options.stochastic is None else options.stochastic
        self._observe, self._scores = OBSERVATIONS[options.obs], scores

    def start(self, num_envs: int, num_players: int, seed: Seeds) -> None:
        """See `Agent.start`."""
        self._uniforms = RowUniforms(num_envs, num_players, seed)

    def prefer(self, *, stochastic: bool) -> None:
        """What the command asks for; `choose=` in the reference weighs more."""
        if not self._said:
            self.stochastic = stochastic

    def begin_episode(self, rows: np.ndarray) -> None:
        """Nothing to forget."""

    def act(self, view: KitchenView, rows: np.ndarray, seats: np.ndarray) -> NDArray[np.int64]:
        """See `Agent.act`."""
        obs = self._observe(view, rows, seats)
        out = guarded(self.agent_id, "its network", lambda: np.asarray(self._scores(obs)), FIRST_S)
        if out.ndim == 1:
            return checked_actions(self.agent_id, out, len(rows))
        if out.shape != (len(rows), NUM_ACTIONS):
            raise UserError(
                f"agent {self.agent_id}: its network gave shape {list(out.shape)}, expected scores "
                f"[{len(rows)}, {NUM_ACTIONS}] or actions [{len(rows)}]"
            )
        logits = out.astype(np.float64)
        if not np.isfinite(logits).all():
            raise UserError(f"agent {self.agent_id}: its network gave numbers that are not finite")
        if view.env.mask_useless_actions:
            logits[~view.useful()[rows, seats]] = -np.inf
        return self._choose(logits, rows, seats)

    def _choose(self, logits: NDArray[np.float64], rows: np.ndarray, seats: np.ndarray) -> NDArray[np.int64]:
        if not self.stochastic:
            return logits.argmax(axis=1)
        weights = np.exp(logits - logits.max(axis=1, keepdims=True)).cumsum(axis=1)  # [N, 6]
        drawn = self._uniforms.draw(rows, seats)[:, None] * weights[:, -1:]
        return (drawn >= weights).sum(axis=1)
