"""Self-play from augmented start states (Gessler et al. 2025, OvercookedV2's baseline).

Much of what fails between strangers is that they reach kitchens that self-play never visits. So a share of the episodes
starts from states met in cross-play: pairs of different agents of a pool (`partners=`, best one that holds agents of
different skill) play games, and every `every` ticks the kitchens as they stand are kept. The learner itself only ever
plays with itself.

Deviations: the clock of such a state is set to 0, so that all episodes are equally long; the states are harvested once,
before training, with the same seed again when a run is resumed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from coord import seeding
from coord.agents.views import KitchenView
from coord.errors import UserError
from coord.limits import Count, Share
from coord.overcooked import OvercookedVectorEnv
from coord.overcooked.packed_row import TIME
from coord.partner_env import Episodes, RowStep, SelfPlayEnv, as_pool
from populations.training import Setup, Training, final_agents, self_play


@dataclass(frozen=True, kw_only=True)
class StateAugConfig:
    """Where states come from and how often episodes start there."""

    share: Share = 0.5  # of episodes that start from a state met in cross-play
    games: Count = 256  # of cross-play that are played for them
    every: Count = 10  # ticks between the states that are kept


Config = StateAugConfig


def make(cfg: StateAugConfig, setup: Setup) -> Training:
    """See `populations.training.TrainingMethod`."""
    if len(setup.partners) < 2:
        raise UserError("method=state_aug meets states in cross-play: say partners=<pool> of at least two agents")
    starts = met_states(setup, cfg.games, cfg.every)
    state, inner = self_play(setup)
    env = AugmentedStarts(inner, starts, cfg.share, setup.generator("state_aug"))
    return Training(state, env, lambda: final_agents(setup, state, inner.env))


def met_states(setup: Setup, games: int, every: int) -> np.ndarray:
    """int16 [S, row] kitchens in the middle of games between two different agents of the pool, their clocks at 0."""
    rng = setup.generator("state_aug", "games")
    kitchens = OvercookedVectorEnv(setup.layout, games, horizon=setup.horizon, rules=setup.rules)
    pool, view, seats = as_pool(setup.partners), KitchenView(kitchens), kitchens.num_players
    pool.start(games, seats, seeding.derive(setup.seed, "state_aug", "acts"))
    who = np.stack([rng.choice(pool.size, seats, replace=pool.size < seats) for _ in range(games)])  # [N, P]
    kitchen, seat = (index.ravel() for index in np.indices((games, seats)))
    pool.begin_episode(np.arange(games))
    kept = []
    for tick in range(1, setup.horizon):
        joint_act = pool.act(view, kitchen, seat, who.ravel()).reshape(games, seats)
        view.stepped(joint_act, kitchens.step(joint_act).truncated)
        if tick % every == 0:
            kept.append(kitchens.state.copy())
    if not kept:
        raise UserError(f"every={every}: no state is kept in games of {setup.horizon} ticks")
    states = np.concatenate(kept)
    states[:, TIME] = 0
    return states


class AugmentedStarts:
    """`SelfPlayEnv` whose episodes start, with probability `share`, from one of `starts`."""

    def __init__(self, inner: SelfPlayEnv, starts: np.ndarray, share: float, rng: np.random.Generator) -> None:
        self.inner, self.starts, self.share, self.rng = inner, starts, share, rng
        self.members, self.rows, self.kitchens = inner.members, inner.rows, inner.kitchens
        self._begin(np.arange(inner.env.num_envs))

    def _begin(self, kitchens: np.ndarray) -> None:
        chosen = kitchens[self.rng.random(len(kitchens)) < self.share]
        if len(chosen):
            self.inner.env.state[chosen] = self.starts[self.rng.integers(len(self.starts), size=len(chosen))]
            self.inner.view.invalidate()

    def observe(self) -> Tensor:
        """See `RowEnv.observe`."""
        return self.inner.observe()

    def final_observe(self) -> Tensor:
        """See `RowEnv.final_observe`."""
        return self.inner.final_observe()

    def step(self, act: Tensor) -> RowStep:
        """See `RowEnv.step`."""
        result = self.inner.step(act)
        ended = (result.truncated | result.terminated).view(self.inner.env.num_envs, -1)[:, 0]
        self._begin(np.flatnonzero(ended.numpy()))
        return result

    def finished(self) -> Episodes:
        """See `RowEnv.finished`."""
        return self.inner.finished()

    def get_state(self) -> dict[str, np.ndarray]:
        """See `RowEnv.get_state`; the start states are made again by whoever builds the env."""
        return self.inner.get_state() | {"starts_rng": seeding.to_bytes(self.rng)}

    def set_state(self, state: Mapping[str, np.ndarray]) -> None:
        """See `RowEnv.set_state`."""
        seeding.from_bytes(self.rng, state["starts_rng"])
        self.inner.set_state({name: array for name, array in state.items() if name != "starts_rng"})
