"""Cooperative open-ended learning with Shapley values (COLE_SV; Li et al. 2023): an ego against its own past.

The population of an ego is what it was before. In every generation it trains with the member j drawn from q, and with
itself for a fixed share of the kitchens: max E_{j ~ q}[u(pi, pi_j)] + alpha u(pi, pi). Then it joins the population.
q favours whom the population cooperates with badly: with U the mean returns of all pairs,

    v(C)  = sum_{i != j in C} w_i w_j U_ij / sum_{i != j in C} w_i w_j,  w = softmax(-10 PageRank(U)),  v({i}) = U_ii
    phi_i = Shapley value of i in (population, v), by random orders
    q_i  ~  softmax(-10 normalised phi_i) + c sqrt(sum N) / (1 + N_i),   N_i how often i was met

An ego joins unless it is among the worst by preference centrality, 1 - in-degree in the graph in which everybody
points at its best partner; after `tries` refusals it joins anyway.

Deviations: one ego per seed goes on training where the authors start each generation from the last accepted one; N
counts expected, not drawn, meetings; the population is never cut, since it is made large enough for the whole run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import softmax
from torch import Tensor

from coord import seeding
from coord.agents.policy import FrozenPolicy
from coord.algos.ppo import Hooks, PPOState
from coord.errors import UserError
from coord.evaluation.matches import Match, MatchRules, play_matches
from coord.limits import Count, Members, Share, ShareBelowOne, Steps
from coord.nets.population import PopulationNet
from coord.overcooked import load_layout
from coord.partner_env import LivePartners, MixedPartners, PartnerEnv, frozen_partners
from populations.training import Setup, Training, final_agents, make_kitchens, make_learners, partner_env

SHARPNESS = 10.0  # of both softmaxes
DAMPING = 0.85  # of PageRank


@dataclass(frozen=True, kw_only=True)
class COLEConfig:
    """The population and how partners are drawn from it."""

    initial: Members = 3  # untrained agents that the population starts with
    generation_steps: Steps = 150_000  # environment steps between two additions to it
    self_play: ShareBelowOne = 0.25  # share of kitchens in which the ego meets itself
    games: Count = 2  # per seat, to measure how a new member gets on with each other
    permutations: Count = 200  # random orders for the Shapley values
    explore: Share = 0.1  # weight of rarely met partners
    worst_share: ShareBelowOne = 0.1  # the worst by centrality that may not join at once
    tries: Count = 3  # refusals in a row before one may join anyway


Config = COLEConfig


def make(cfg: COLEConfig, setup: Setup) -> Training:
    """See `populations.training.TrainingMethod`; partners are not used."""
    if setup.partners:
        raise UserError("method=cole makes its own partners: leave out partners=")
    kitchens = make_kitchens(setup)
    state = make_learners(setup, kitchens)
    cap = cfg.initial + setup.algo.total_steps // cfg.generation_steps + 1
    seeds = [seeding.derive(setup.seed, "untrained", i) for i in range(setup.members * cap)]
    past = PopulationNet.create(state.net.arch, [seeding.torch_generator(s, "net") for s in seeds])
    spec = kitchens.spec if state.net.obs_kind == "index" else None
    partners = MixedPartners([LivePartners(state.net), frozen_partners(past, spec)])
    env = partner_env(setup, kitchens, partners, state.net.obs_kind)
    generations = Generations(cfg, setup, env, state.net, past)
    hooks = Hooks(on_update=lambda state, metrics: generations.observe(state))
    return Training(state, env, lambda: final_agents(setup, state, env.env), hooks, generations)


class Generations:
    """The populations of all egos: who is in them, how their members get on, and whom to meet next."""

    def __init__(self, cfg: COLEConfig, setup: Setup, env: PartnerEnv, net: PopulationNet, past: PopulationNet) -> None:
        self.cfg, self.setup, self.env, self.net, self.past = cfg, setup, env, net, past
        members = setup.members
        self.cap = past.members // members
        self.count = np.full(members, cfg.initial)
        self.refused = np.zeros(members, np.int64)
        self.met = np.zeros((members, self.cap))
        self.payoff = np.zeros((members, self.cap, self.cap))  # U, mean of both seats
        self.done = 0  # generations
        for m in range(members):  # untrained agents earn nothing with each other
            self._draw(m)

    def observe(self, state: PPOState) -> None:
        """After every update: at the end of a generation, egos join and the draws change."""
        if state.env_step < (self.done + 1) * self.cfg.generation_steps:
            return
        self.done += 1
        for m in range(self.setup.members):
            self._join(m)
            self._draw(m)

    def _join(self, m: int) -> None:
        """Measures ego m with its population and adds it unless it is refused."""
        n = int(self.count[m])
        returns = self._measure(m, n)  # with every member and, last, with itself
        payoff = np.zeros((n + 1, n + 1))
        payoff[:n, :n] = self.payoff[m, :n, :n]
        payoff[n, :] = payoff[:, n] = returns
        if self.refused[m] < self.cfg.tries and is_refused(payoff, self.cfg.worst_share):
            self.refused[m] += 1
            return
        self.refused[m] = 0
        self.payoff[m, : n + 1, : n + 1] = payoff
        with torch.no_grad():
            for name, value in self.past.tensors().items():
                value[m * self.cap + n] = self.net.tensors()[name][m]
        self.count[m] += 1

    def _measure(self, m: int, n: int) -> np.ndarray:
        """[n + 1] mean return of ego m with its n members and with itself, both seats."""
        nets = [self.past.select([m * self.cap + i]) for i in range(n)] + [self.net.select([m])]
        spec = self.env.env.spec if self.net.obs_kind == "index" else None
        players = [FrozenPolicy(net, spec, agent_id=f"{m}-{i}") for i, net in enumerate(nets)]
        where = MatchRules(layout=load_layout(self.setup.layout), rules=self.setup.rules, horizon=self.setup.horizon)
        matches = [Match(n, i, seat) for i in range(n + 1) for seat in range(2)]
        seed = seeding.derive(self.setup.seed, "cole", m, self.done)
        games = play_matches(where, players, matches, episodes=self.cfg.games, seed=seed)
        return games.returns.mean(axis=1).reshape(n + 1, 2).mean(axis=1)

    def _draw(self, m: int) -> None:
        """Sets whom ego m meets from now on."""
        n = int(self.count[m])
        rng = seeding.rng(self.setup.seed, "shapley", m, self.done)
        values = shapley(self.payoff[m, :n, :n], self.cfg.permutations, rng)
        q = partner_probs(values, self.met[m, :n], self.cfg.explore)
        self.met[m, :n] += q
        first = 1 + m * self.cap
        self.env.probs[m] = 0.0
        self.env.probs[m, 0] = self.cfg.self_play
        self.env.probs[m, first : first + n] = (1 - self.cfg.self_play) * q

    def state_dict(self) -> dict[str, Tensor]:
        """Flat mapping of tensors; the draws themselves belong to the env."""
        numbers = {"count": self.count, "refused": self.refused, "met": self.met, "payoff": self.payoff}
        out = {name: torch.from_numpy(value.copy()) for name, value in numbers.items()}
        out["done"] = torch.tensor(self.done)
        return out | {f"past.{name}": value for name, value in self.past.tensors().items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Inverse of `state_dict`."""
        for name in ("count", "refused", "met", "payoff"):
            getattr(self, name)[...] = state[name].numpy()
        self.done = int(state["done"])
        with torch.no_grad():
            for name, value in self.past.tensors().items():
                value.copy_(state[f"past.{name}"])


# ------------------------------------------------------------------------------------------- graph and game


def pagerank(payoff: np.ndarray) -> np.ndarray:
    """[n] weighted PageRank of the graph whose edge from i to j weighs U_ij; nobody to like counts as liking all."""
    n = len(payoff)
    weight = payoff * (1 - np.eye(n))
    total = weight.sum(axis=1, keepdims=True)
    to_all = (1 - np.eye(n)) / max(n - 1, 1)
    step = np.divide(weight, total, out=to_all, where=total > 0)
    rank = np.full(n, 1 / n)
    for _ in range(100):
        rank = (1 - DAMPING) / n + DAMPING * rank @ step
    return rank / rank.sum()


def shapley(payoff: np.ndarray, permutations: int, rng: np.random.Generator) -> np.ndarray:
    """[n] mean marginal contribution of each member to v (see the module's docstring) over random orders."""
    n = len(payoff)
    w = softmax(-SHARPNESS * pagerank(payoff))
    pair = np.outer(w, w) * (1 - np.eye(n))
    phi = np.zeros(n)
    for _ in range(permutations):
        order = rng.permutation(n)
        block = np.ix_(order, order)
        gained, weight = (np.diag(x[block].cumsum(0).cumsum(1)) for x in (pair * payoff, pair))
        value = np.divide(gained, weight, out=np.zeros(n), where=weight > 0)
        value[0] = payoff[order[0], order[0]]
        phi[order] += np.diff(value, prepend=0.0)
    return phi / permutations


def partner_probs(values: np.ndarray, met: np.ndarray, explore: float) -> np.ndarray:
    """[n] q: large where the Shapley value is small, and for those who were met rarely."""
    spread = values.max() - values.min()
    normalised = (values - values.min()) / spread if spread > 0 else np.zeros_like(values)
    q = softmax(-SHARPNESS * normalised) + explore * np.sqrt(met.sum()) / (1 + met)
    return q / q.sum()


def centrality(payoff: np.ndarray) -> np.ndarray:
    """[n] preference centrality: 1 - share of the others whose best partner one is; the first of equals is best."""
    n = len(payoff)
    others = np.where(np.eye(n, dtype=bool), -np.inf, payoff)
    likes = np.bincount(others.argmax(axis=1), minlength=n)
    return 1 - likes / max(n - 1, 1)


def is_refused(payoff: np.ndarray, worst_share: float) -> bool:
    """Whether the last row is among the worst `worst_share` (at least one) by centrality, ties in its favour."""
    eta = centrality(payoff)
    not_better = int((eta[:-1] >= eta[-1]).sum())
    return not_better < max(1, int(worst_share * len(eta)))
