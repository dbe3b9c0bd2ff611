"""Cross-environment coordination (`method=cec`; Jha et al., ICML 2025): one ego for kitchens that it has never seen.

max E_{m ~ M} J(pi, pi, m): self-play PPO with a memory, in kitchens m drawn anew for every episode
(`coord.overcooked.generator`). Whoever learns to cook anywhere with itself cannot rely on conventions of one kitchen,
and so meets strangers better. The five classic kitchens are never drawn: evaluating there is zero-shot in both senses.

Deviations: the network reads Carroll's hand-made features (what lies how far away, by walking distance), which are the
same in every kitchen, in place of a 9x9x26 image, and is two dense layers and a GRU of 64 instead of convolutions, two
layers of 512 and an LSTM of 256: for two cores and 1e7 steps, not a GPU and 3e9. All kitchens of a batch change at the
end of their common episode. Kitchens are at most 9x7. Hyper-parameters are those of `algo`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from torch import Tensor

from coord.algos import ppo_recurrent
from coord.errors import UserError
from coord.limits import Count, Width
from coord.overcooked import OvercookedVectorEnv
from coord.overcooked.generator import GeneratorConfig, generate_layouts
from coord.partner_env import Episodes, RowStep, SelfPlayEnv
from coord.types import ANY_LAYOUT
from populations.pool import NewMember
from populations.training import Setup, Training, final_agents, make_learners


@dataclass(frozen=True, kw_only=True)
class CECConfig:
    """Which kitchens are drawn, and the memory."""

    width: int = 0  # columns of the kitchens, border included; 0: 5 to 9
    height: int = 0  # rows; 0: 4 to 7
    family: str = ""  # open, ring, corridor, divided or split; "": all of them
    memory: Width = 64  # width of the GRU between the dense layers and the heads
    chunk_len: Count = 25  # ticks through which gradients flow back; a divisor of algo.rollout_len

    def __post_init__(self) -> None:
        if self.memory < 1:
            raise UserError(f"memory={self.memory}: the published ego without a memory did not learn; at least 1")
        self.kitchens()

    def kitchens(self) -> GeneratorConfig:
        """What is drawn. Raises UserError for an unknown family or half a size."""
        return GeneratorConfig(width=self.width, height=self.height, family=self.family)


Config = CECConfig


class ChangingKitchens:
    """Self-play in a batch of kitchens that gives way to the next batch when its episode ends; a `RowEnv`."""

    def __init__(self, draw: Callable[[int], OvercookedVectorEnv], members: int, obs_kind: str) -> None:
        """draw: the batch of a round 0, 1, ...; all batches have the same number of kitchens and horizon."""
        self._draw, self._obs_kind, self.members = draw, obs_kind, members
        self._open(0)
        self._before, self.rows, self.kitchens = self._now, self._now.rows, self._now.kitchens

    def _open(self, number: int) -> None:
        self.round, self._now = number, SelfPlayEnv(self._draw(number), self.members, self._obs_kind)

    @property
    def env(self) -> OvercookedVectorEnv:
        """The kitchens of now."""
        return self._now.env

    def observe(self) -> Tensor:
        """See `RowEnv.observe`."""
        return self._now.observe()

    def final_observe(self) -> Tensor:
        """See `RowEnv.final_observe`."""
        return self._before.final_observe()

    def step(self, act: Tensor) -> RowStep:
        """See `RowEnv.step`."""
        self._before = self._now
        result = self._now.step(act)
        if bool(result.truncated.any()):
            self._open(self.round + 1)
        return result

    def finished(self) -> Episodes:
        """See `RowEnv.finished`."""
        return self._before.finished()

    def get_state(self) -> dict[str, np.ndarray]:
        """See `RowEnv.get_state`."""
        return self._now.get_state() | {"round": np.array(self.round)}

    def set_state(self, state: Mapping[str, np.ndarray]) -> None:
        """See `RowEnv.set_state`."""
        self._open(int(state["round"]))
        self._now.set_state({name: value for name, value in state.items() if name != "round"})


def make(cfg: CECConfig, setup: Setup) -> Training:
    """See `populations.training.TrainingMethod`; `setup.layout` only says where the ego is to be used first."""
    if setup.partners:
        raise UserError("method=cec trains with itself: leave out partners=")
    if setup.algo.network != "mlp_features":
        raise UserError(f"algo.network={setup.algo.network}: cec needs one that fits every kitchen, mlp_features")
    draw = partial(draw_kitchens, cfg.kitchens(), setup)
    state = make_learners(setup, draw(0), memory=cfg.memory)
    env = ChangingKitchens(draw, setup.members, state.net.obs_kind)
    memory = ppo_recurrent.RecurrentMemory(state, env, cfg.chunk_len)

    def agents() -> list[NewMember]:
        made = final_agents(setup, state, env.env)
        return [new._replace(card=replace(new.card, layouts={ANY_LAYOUT: ""})) for new in made]

    return Training(state, env, agents, extra=memory, loop=partial(ppo_recurrent.train, memory))


def draw_kitchens(config: GeneratorConfig, setup: Setup, number: int) -> OvercookedVectorEnv:
    """The kitchens of a round: as many as a learner has, all different, and the same ones for each learner."""
    seed = int(setup.generator("kitchens", number).integers(10**9))
    layouts = generate_layouts(setup.algo.num_envs, seed, config) * setup.members
    return OvercookedVectorEnv(layouts, len(layouts), horizon=setup.horizon, rules=setup.rules, seed=setup.seed)
