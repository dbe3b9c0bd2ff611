"""Hidden-utility self-play (Yu et al. 2023): partners that like something else than soup.

Every candidate is paid a hidden utility and learns beside a partner who is paid for soups, and so learns to make the
best of it. Candidates with which hardly any soup gets served are dropped; of the others the pool keeps those whose
behaviour differs most: greedily, the candidate with the largest sum of L1 distances to those already kept, distances
between mean event counts per game, every event divided by its largest count.

The published pool joins these with checkpoints of MEP: `coord train partners=<hsp pool>,<mep pool>`.

Deviations: the first candidate kept is the one farthest from all others (the paper starts with an arbitrary one);
members that share nothing but kitchens train at once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from coord.agents.files import StoredAgent
from coord.algos.ppo import PPOState
from coord.errors import UserError
from coord.evaluation.matches import Games, Match, MatchRules, play_matches
from coord.limits import Count, Members, Real
from coord.overcooked import load_layout
from coord.pair_env import PairEnv, Utility
from populations.partners.utilities import HSP_EVENTS, HSP_TASK, described, draw, pairs
from populations.pool import NewMember
from populations.training import Setup, Training, card


@dataclass(frozen=True, kw_only=True)
class HSPConfig:
    """Candidates and which of them stay."""

    candidates: Members = 12  # hidden utilities that are tried; `members` of them stay in the pool
    max_nonzero: Count = 3  # events that a utility may pay or punish
    min_return: Real = 10.0  # candidates that earn less with their partner are dropped
    episodes: Count = 10  # games per seat to learn how a candidate behaves


Config = HSPConfig


def make(cfg: HSPConfig, setup: Setup) -> Training:
    """See `populations.training.TrainingMethod`."""
    check_counts(cfg.candidates, setup)
    utilities = draw(HSP_EVENTS, HSP_TASK, cfg.candidates, cfg.max_nonzero, setup.generator("utilities"))
    state, env = pairs(setup, utilities)
    return Training(state, env, partial(keep_different, cfg, setup, state, env, utilities))


def check_counts(candidates: int, setup: Setup) -> None:
    """Raise `UserError` if more are to stay than are tried."""
    if setup.members > candidates:
        raise UserError(f"members={setup.members} cannot stay of method.candidates={candidates}")


def keep_different(
    cfg: HSPConfig, setup: Setup, state: PPOState, env: PairEnv, utilities: list[Utility]
) -> list[NewMember]:
    """The pool.

    Raises:
        UserError: fewer candidates than `members` earn `min_return`.
    """
    agents = [stored(setup, state, env, m) for m in range(state.net.members)]
    games = play_pairs(setup, agents, cfg.episodes)
    returns = games.returns.mean(axis=1).reshape(-1, 2).mean(axis=1)  # [C]
    behaviour = behaviour_of(games, role=0)
    useful = np.flatnonzero(returns >= cfg.min_return)
    if len(useful) < setup.members:
        raise UserError(
            f"only {len(useful)} of {cfg.candidates} candidates earn method.min_return={cfg.min_return:g} points, "
            f"fewer than members={setup.members}: train longer (algo.total_steps) or try more (method.candidates)"
        )
    kept = [int(useful[i]) for i in farthest(behaviour[useful], setup.members)]
    return [_member(agents[2 * i], utilities[i], float(returns[i])) for i in kept]


def _member(agent: StoredAgent, utility: Utility, pair_return: float) -> NewMember:
    extra = {"utility": described(utility), "pair_return": pair_return}
    return NewMember(replace(agent.card, extra=extra), agent.net)


def stored(setup: Setup, state: PPOState, env: PairEnv, member: int) -> StoredAgent:
    """Learner `member` of the pairs as an agent: `...-i` for the one with utility i, `...-i-br` for its partner."""
    agent_id = f"{setup.name}{setup.seed}-{member // 2}" + ("-br" if member % 2 else "")
    mine = card(state, env.env, member, agent_id=agent_id, method=setup.name, seed=setup.seed)
    return StoredAgent(mine, state.net.select([member]))


def play_pairs(setup: Setup, agents: list[StoredAgent], episodes: int) -> Games:
    """Games of every pair: rows 2 i and 2 i + 1 with the one paid by utility in seat 0 and in seat 1."""
    where = MatchRules(layout=load_layout(setup.layout), rules=setup.rules, horizon=setup.horizon)
    matches = [Match(2 * i, 2 * i + 1, seat) for i in range(len(agents) // 2) for seat in (0, 1)]
    return play_matches(where, [a.player() for a in agents], matches, episodes=episodes, seed=setup.seed)


def behaviour_of(games: Games, role: int) -> np.ndarray:
    """[C, events] mean counts per game of the one paid by utility (role 0) or of its partner (role 1), per pair."""
    counts = games.events.mean(axis=1)  # [2 C, seats, events]; row 2 i + s has role 0 in seat s
    seat = (np.arange(len(counts)) + role) % 2
    return counts[np.arange(len(counts)), seat].reshape(-1, 2, counts.shape[-1]).mean(axis=1)


def farthest(behaviour: np.ndarray, count: int) -> list[int]:
    """Greedy: rows of [n, events] with the largest sum of L1 distances to those already chosen."""
    shares = behaviour / np.maximum(behaviour.max(axis=0), 1e-9)
    distance = np.abs(shares[:, None] - shares[None]).sum(axis=-1)  # [n, n]
    chosen = [int(distance.sum(axis=1).argmax())]
    while len(chosen) < count:
        gain = distance[:, chosen].sum(axis=1)
        gain[chosen] = -1.0
        chosen.append(int(gain.argmax()))
    return chosen
