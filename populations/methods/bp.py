"""Behaviour-preferring partners to evaluate with (ZSC-Eval, Wang et al. 2024; protocol B of the scoreboard).

Candidates are paid r_w = c r + w . phi and learn beside a partner who plays for the task, their approximate best
response (BR). Pairs that hardly serve a soup are dropped; of the others those are kept whose *best responses* differ
most (BR-Div, `coord.evaluation.br_div`). Every kept candidate gives two partners: as it is (expert) and from the time
when its pair first earned half as much (mid). Each partner's card says what its best response earns, per seat.

These agents are for evaluation: training refuses them.

Deviations: the best response to a partner is the best of *all* partners' responses (and for a mid partner, too),
chosen in one set of games and measured in another; ZSC-Eval takes the one trained beside an expert, and trains another
for each mid partner. What they earn is thus a lower bound of the best in both cases.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from coord.agents.files import AgentCard, StoredAgent
from coord.algos.ppo import Hooks, PPOState
from coord.errors import UserError
from coord.evaluation import br_div
from coord.evaluation.matches import Match, MatchRules, play_matches
from coord.limits import Count, Members, Real
from coord.nets.population import PopulationNet
from coord.overcooked import load_layout
from coord.pair_env import PairEnv, Utility
from populations.methods.fcp import FictitiousCoPlay
from populations.methods.hsp import behaviour_of, check_counts, play_pairs, stored
from populations.partners.utilities import BP_TASK, bp_events, described, draw, pairs
from populations.pool import NewMember
from populations.training import Setup, Training


@dataclass(frozen=True, kw_only=True)
class BPConfig:
    """Candidates, and which of them become partners."""

    candidates: Members = 20  # hidden utilities that are tried; `members` of them become partners
    max_nonzero: Count = 3  # events that a utility may pay or punish
    min_return: Real = 10.0  # candidates that earn less with their best response are dropped
    episodes: Count = 20  # games per seat, to learn how best responses behave and what they earn
    mid: bool = True  # also keep each partner from the time when its pair earned half as much


Config = BPConfig


def make(cfg: BPConfig, setup: Setup) -> Training:
    """See `populations.training.TrainingMethod`."""
    check_counts(cfg.candidates, setup)
    events = bp_events(setup.layout)
    utilities = draw(events, BP_TASK, cfg.candidates, cfg.max_nonzero, setup.generator("utilities"))
    state, env = pairs(setup, utilities)
    history = FictitiousCoPlay(state.net.members)
    history.observe(state)
    hooks = Hooks(on_update=lambda state, metrics: history.observe(state))
    return Training(state, env, partial(partners, cfg, setup, state, env, utilities, history), hooks, history)


def partners(
    cfg: BPConfig,
    setup: Setup,
    state: PPOState,
    env: PairEnv,
    utilities: list[Utility],
    history: FictitiousCoPlay,
) -> list[NewMember]:
    """The kept partners with what their best responses earn.

    Raises:
        UserError: too few candidates whose best responses differ.
    """
    agents = [stored(setup, state, env, m) for m in range(state.net.members)]
    kept = _select(cfg, setup, agents)
    chosen = [(i, agents[2 * i]) for i in kept]
    if cfg.mid:
        chosen += [(i, _mid(agents[2 * i], history, 2 * i)) for i in kept]
    best = _best_returns(cfg, setup, [partner for _, partner in chosen], agents[1::2])
    return [
        NewMember(_evaluation_card(partner, utilities[i], returns), partner.net)
        for (i, partner), returns in zip(chosen, best, strict=True)
    ]


def _select(cfg: BPConfig, setup: Setup, agents: list[StoredAgent]) -> list[int]:
    games = play_pairs(setup, agents, cfg.episodes)
    returns = games.returns.mean(axis=1).reshape(-1, 2).mean(axis=1)  # [C]
    useful = np.flatnonzero(returns > cfg.min_return)
    try:
        theta = br_div.features(behaviour_of(games, role=1)[useful])
        return [int(useful[i]) for i in br_div.select(theta, setup.members, setup.generator("k-dpp"))]
    except ValueError as error:
        raise UserError(
            f"{len(useful)} of {cfg.candidates} candidates earn more than method.min_return={cfg.min_return:g}, and "
            f"{error}: train longer (algo.total_steps), try more (method.candidates) or keep fewer (members)"
        ) from error


def _mid(expert: StoredAgent, history: FictitiousCoPlay, member: int) -> StoredAgent:
    """The candidate when its pair first earned half of its final return."""
    snapshot = history.middle(member, expert.card.mean_return or 0.0)
    mine = replace(
        expert.card,
        agent_id=f"{expert.card.agent_id}-mid",
        checkpoint="mid",
        env_steps=snapshot.env_step,
        mean_return=snapshot.ret,
    )
    return StoredAgent(mine, PopulationNet(expert.net.arch, snapshot.tensors))


def _best_returns(cfg: BPConfig, setup: Setup, chosen: list[StoredAgent], responses: list[StoredAgent]) -> np.ndarray:
    """[partners, 2] return of each partner's best response in seat 0 and in seat 1."""
    where = MatchRules(layout=load_layout(setup.layout), rules=setup.rules, horizon=setup.horizon)
    players = [agent.player() for agent in (*responses, *chosen)]
    count, first = len(responses), len(responses)
    tried = [Match(r, first + p, seat) for p in range(len(chosen)) for r in range(count) for seat in (0, 1)]
    games = play_matches(where, players, tried, episodes=cfg.episodes, seed=setup.seed + 1)
    best = games.returns.mean(axis=1).reshape(len(chosen), count, 2).mean(axis=-1).argmax(axis=1)  # [partners]
    again = [Match(int(best[p]), first + p, seat) for p in range(len(chosen)) for seat in (0, 1)]
    games = play_matches(where, players, again, episodes=cfg.episodes, seed=setup.seed + 2)
    return games.returns.mean(axis=1).reshape(len(chosen), 2)


def _evaluation_card(partner: StoredAgent, utility: Utility, returns: np.ndarray) -> AgentCard:
    extra = {"utility": described(utility), "best_returns": returns.tolist(), "evaluation_only": True}
    return replace(partner.card, extra=extra)
