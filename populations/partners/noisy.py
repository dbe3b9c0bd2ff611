"""Noisy partners, whose attention lapses: what people and clones of people do, made without any data of people.

In each episode of a kitchen the partner has a share of ticks `eps` in which it does not follow its policy but a habit:
nothing in particular (uniform), something it prefers (drawn from a Dirichlet distribution), or standing still. Lapses
come in spells: a partner that is away stays away, on average for `spell` / (1 - eps) ticks; a stubborn one repeats in
all of them what it did first, as somebody who walks against a wall. With spells of 1 and a uniform habit this is
(1 - eps) pi + eps uniform (E3T), with a preference that of UPD.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from coord import seeding
from coord.agents.players import STAY
from coord.agents.views import KitchenView
from coord.partner_env import Partners
from coord.types import NUM_ACTIONS

STILL = 0.9  # probability of staying in the habit of standing still


class NoisyPartners:
    """`Partners`: those of `inner`, with lapses. In kitchens of more seats all partners lapse by the same numbers."""

    def __init__(self, inner: Partners, *, clean: float, max_eps: float, max_spell: float) -> None:
        """clean: share of episodes without lapses; eps is else uniform in [0, max_eps], the logarithm of a spell's
        scale uniform up to that of max_spell."""
        self.inner, self.size = inner, inner.size
        self.clean, self.max_eps, self.max_spell = clean, max_eps, max_spell

    def start(self, num_envs: int, num_players: int, seed: int) -> None:
        """See `Partners.start`."""
        self.inner.start(num_envs, num_players, seeding.derive(seed, "inner"))
        self._rng = seeding.rng(seed, "lapses")
        self.eps, self.spell = np.zeros(num_envs), np.ones(num_envs)
        self.habit = np.full((num_envs, NUM_ACTIONS), 1 / NUM_ACTIONS)
        self.stubborn = np.zeros(num_envs, np.bool_)
        self.away = np.zeros((num_envs, num_players), np.bool_)
        self.last = np.zeros((num_envs, num_players), np.int64)  # what was done in the last lapse

    def begin_episode(self, kitchens: np.ndarray) -> None:
        """Draws how noisy the partners of these episodes are."""
        self.inner.begin_episode(kitchens)
        rng, count = self._rng, len(kitchens)
        self.eps[kitchens] = rng.uniform(0, self.max_eps, count) * (rng.random(count) >= self.clean)
        self.spell[kitchens] = self.max_spell ** rng.random(count)
        self.stubborn[kitchens] = rng.random(count) < 0.5
        self.away[kitchens] = False
        self.habit[kitchens] = draw_habits(rng, count)

    def act(self, view: KitchenView, kitchens: np.ndarray, seats: np.ndarray, partner: np.ndarray) -> np.ndarray:
        """See `Partners.act`."""
        acts, at = self.inner.act(view, kitchens, seats, partner), (kitchens, seats)
        leave, choice = self._rng.random((2, len(kitchens)))
        was, eps, spell = self.away[at], self.eps[kitchens], self.spell[kitchens]
        # A two-state chain whose share of lapses is eps, whatever the spell: spell 1 forgets where it was.
        away = leave < np.where(was, 1 - (1 - eps) / spell, eps / spell)
        drawn = (self.habit[kitchens].cumsum(1) < choice[:, None]).sum(1).clip(max=NUM_ACTIONS - 1)
        again = was & self.stubborn[kitchens]
        self.last[at] = np.where(again, self.last[at], drawn)
        self.away[at] = away
        return np.where(away, self.last[at], acts)

    def get_state(self) -> dict[str, np.ndarray]:
        """See `Partners.get_state`."""
        own = {name: getattr(self, name).copy() for name in ("eps", "spell", "habit", "stubborn", "away", "last")}
        own["rng"] = seeding.to_bytes(self._rng)
        return own | {f"inner.{k}": v for k, v in self.inner.get_state().items()}

    def set_state(self, state: Mapping[str, np.ndarray]) -> None:
        """See `Partners.set_state`."""
        for name in ("eps", "spell", "habit", "stubborn", "away", "last"):
            getattr(self, name)[:] = state[name]
        seeding.from_bytes(self._rng, state["rng"])
        self.inner.set_state({k[6:]: v for k, v in state.items() if k.startswith("inner.")})


def draw_habits(rng: np.random.Generator, count: int) -> np.ndarray:
    """[count, 6]: a third each uniform, of some preference, and standing still."""
    uniform = np.full((count, NUM_ACTIONS), 1 / NUM_ACTIONS)
    still = np.full(NUM_ACTIONS, (1 - STILL) / (NUM_ACTIONS - 1))
    still[STAY] = STILL
    kind = rng.integers(3, size=count)[:, None]
    return np.where(kind == 0, uniform, np.where(kind == 1, rng.dirichlet(np.ones(NUM_ACTIONS), count), still))
