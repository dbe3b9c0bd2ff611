"""An ego that infers its partner online and acts on it (ours).

The ego reads a Bayesian belief over agents of the pool, their level and their noise, renewed every tick, and for how
long it and its partner have got nowhere (`coord.agents.context.belief`). Partners are those of the pool, untrained ones
in a share `low_share` of the episodes, in a share `biased_share` biased ones (`populations.partners.biased`), and in a
share `self_share` the ego itself; all of them are noisy to an extent that is drawn for each episode
(`populations.partners.noisy`): from flawless to hardly ever doing what it should. The ego thus meets what it will find
in people: partners that are slow, that stand around or get stuck, who like one task and never do another, with whom it
pays to see it early and to work around them, and partners that do their part, with whom it pays to share.

So many partners are too much to learn from at once for somebody who cannot cook: at first the scripted cook tells it in
every state what it would do there (kickstarting, `populations.partners.kickstarting`), with a weight that falls to 0.

The belief compares with at most `hypotheses` agents: of the untrained ones, whose policies are all but uniform, one; of
the others as many of each level as there is room for. They are part of the agent's file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated

import numpy as np
from annotated_types import Ge, Le

from coord.agents.context.belief import LEVELS, SIZE, PartnerBelief
from coord.algos.ppo import Hooks
from coord.context_env import ContextEnv
from coord.errors import UserError
from coord.limits import Count, NotNegative, ShareBelowOne, StepsOrNone
from coord.partner_env import LivePartners, MixedPartners, frozen_partners
from populations.partners.biased import BiasedPartners
from populations.partners.kickstarting import KickstartedEnv, Kickstarting
from populations.partners.noisy import NoisyPartners
from populations.training import Setup, Training, final_agents, make_kitchens, make_learners, one_network, partner_env

if TYPE_CHECKING:
    from coord.agents.files import StoredAgent


@dataclass(frozen=True, kw_only=True)
class BeliefConfig:
    """The belief over the partner's identity, skill and noise, and the noisy partners of a pool."""

    hypotheses: Count = 12  # agents of the pool that the belief compares with, at most; each costs a forward pass
    share: ShareBelowOne = 0.01  # part of the belief that returns to the prior every tick, 0..0.1
    low_share: ShareBelowOne = 0.15  # share of episodes with untrained agents of the pool
    self_share: ShareBelowOne = 0.2  # share of episodes with the ego itself
    biased_share: ShareBelowOne = 0.3  # share of episodes with biased partners (populations.partners.biased)
    clean: ShareBelowOne = 0.25  # share of episodes in which the partner never lapses
    max_eps: ShareBelowOne = 0.8  # largest share of ticks in which a partner does not follow its policy
    max_spell: Annotated[float, Ge(1), Le(1e6)] = 20.0  # largest scale of a spell of such ticks
    # weight of the kickstarting loss at the start: cross-entropy to what the scripted cook would do
    kickstarting: NotNegative = 1.0
    kickstarting_horizon: StepsOrNone = 1_500_000  # steps over which it falls to 0

    def __post_init__(self) -> None:
        if self.hypotheses < 2 or self.max_spell < 1 or self.low_share + self.self_share + self.biased_share > 1:
            shares = f"low_share={self.low_share}, self_share={self.self_share}, biased_share={self.biased_share}"
            raise UserError(
                f"hypotheses={self.hypotheses}, max_spell={self.max_spell}, {shares}: must be at least 2, "
                "at least 1, and at most 1 together"
            )


Config = BeliefConfig


def make(cfg: BeliefConfig, setup: Setup) -> Training:
    """See `populations.training.TrainingMethod`."""
    pool = one_network(setup.partners, "method=belief compares the policies of a pool")
    level = levels(setup.partners)
    kitchens = make_kitchens(setup)
    state = make_learners(setup, kitchens, extra=SIZE)
    spec, chosen = pool.spec or kitchens.spec, choose(level, cfg.hypotheses)
    agents = pool.net.select(chosen)
    context = PartnerBelief(agents, spec, level[chosen].tolist(), share=cfg.share, members=setup.members)
    company = MixedPartners(
        [LivePartners(state.net, context=context), frozen_partners(pool.net, pool.spec), BiasedPartners()]
    )
    partners = NoisyPartners(company, clean=cfg.clean, max_eps=cfg.max_eps, max_spell=cfg.max_spell)
    inner = partner_env(setup, kitchens, partners, "index")
    inner.probs[:] = probabilities(cfg, level)
    inner.redraw()
    env = KickstartedEnv(ContextEnv(inner, context, seed=setup.seed), inner, seed=setup.seed)
    rng = setup.generator("lessons")  # a stream's name decides its numbers
    kickstarting = Kickstarting(env, weight=cfg.kickstarting, horizon=cfg.kickstarting_horizon, rng=rng)
    hooks = Hooks(on_rollout=kickstarting.on_rollout, on_update=kickstarting.on_update, extra_loss=kickstarting.loss)
    return Training(state, env, partial(final_agents, setup, state, kitchens, context), hooks, kickstarting)


def levels(partners: Sequence[StoredAgent]) -> np.ndarray:
    """[n] the level of each agent by the checkpoint on its card; the last for any other word."""
    return np.array([LEVELS.index(c) if (c := who.card.checkpoint) in LEVELS else 2 for who in partners])


def choose(level: np.ndarray, count: int) -> list[int]:
    """Positions of at most `count` agents: one untrained, and alternately the next of the last and of the middle level.

    Those of a level are taken at even distances, so that each part of a pool is there.
    """
    low, mid, high = (np.flatnonzero(level == i) for i in range(3))
    room = count - len(low[:1])
    from_high = min(len(high), max(room - len(mid), (room + 1) // 2))
    taken = [low[:1], _spread(mid, room - from_high), _spread(high, from_high)]
    return sorted(int(i) for i in np.concatenate(taken))


def _spread(values: np.ndarray, count: int) -> np.ndarray:
    """At most `count` of the values, at even distances."""
    return values if len(values) <= count else values[np.arange(count) * len(values) // count]


def probabilities(cfg: BeliefConfig, level: np.ndarray) -> np.ndarray:
    """[1 + n + 1] of the ego itself, of the pool's agents, and of somebody biased in a new episode."""
    low, pool = level == 0, 1.0 - cfg.self_share - cfg.biased_share
    trained = pool - (cfg.low_share if low.any() else 0.0)
    each = np.where(low, cfg.low_share / max(1, low.sum()), trained / max(1, (~low).sum()))
    return np.r_[cfg.self_share, np.full(len(level), pool / len(level)) if low.all() else each, cfg.biased_share]
