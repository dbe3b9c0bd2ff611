"""PECAN: policy-ensemble partners and an ego that knows the group of its partner (Lou et al., AAMAS 2023).

The pool (of `coord population method=mep`, or any with start, middle and final agents) falls into groups by level; the
ego itself is the fourth: self, low, mid, high. Training is cut into `iterations`; iteration i is of the population
phase with probability

    alpha_i = max(alpha_min, 1 - i (1 - alpha_min) / alpha_iterations)

in which partners are single agents, drawn with p ~ rank(1 / return)^beta over all (partner, seat); else of the ensemble
phase, in which a partner acts from sum_i w_i pi_i(a|s) over a group, w uniform on the simplex, and the group is drawn
with p ~ (1 / ascending rank of the return)^beta over all (group, seat). The ego reads the probabilities of the groups
(`coord.agents.context.groups`), which an encoder infers from what the partner did; in a share `true_share` of the
episodes it is given the true group instead (privileged context).

Deviations: the encoder learns beside the ego, from its play with the pool, to the end (released: trained before on play
of another ego, then frozen; how was not released). Weights are uniform on the simplex (released: sorted uniforms over
their sum) and new in every episode. Partners stay for `rounds` episodes of a kitchen, which is the length of a released
run. Returns are running means over training play, of task reward; a seat is fixed per kitchen, so that probabilities
over (partner, seat) hold given the seat. The ego joins the pool instead of taking the place of one untrained agent.
Networks read indices (`coord.nets.population`). Encoder and context: see `coord.agents.context.groups`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from coord import seeding
from coord.agents.context.groups import GROUPS, GroupEncoder, PartnerGroup
from coord.agents.policy import logits_of
from coord.agents.views import KitchenView
from coord.algos.ppo import Hooks, PPOState
from coord.context_env import ContextEnv
from coord.errors import UserError
from coord.limits import Count, NotNegative, Share
from coord.nets.population import PopulationNet, sample_actions
from coord.partner_env import Episodes, LivePartners, PartnerEnv
from coord.types import NUM_ACTIONS
from populations.methods.auxiliary_classifier import AuxiliaryClassifier
from populations.methods.mep import rank_probabilities
from populations.partners.partner_returns import PartnerReturns
from populations.training import Setup, Training, final_agents, make_kitchens, make_learners, one_network, partner_env

if TYPE_CHECKING:
    from coord.agents.files import StoredAgent
    from coord.agents.views import Seeds
    from coord.overcooked import IndexSpec

SELF = 0  # row of the pool and group of the ego
LEVELS = {"init": 1, "mid": 2, "final": 3}  # group of an agent by the checkpoint on its card


@dataclass(frozen=True, kw_only=True)
class PECANConfig:
    """The policy ensemble of partners, and the encoder that infers the group of a partner."""

    iterations: Count = 100  # parts of the training, each of one phase
    alpha_min: Share = 0.3  # least probability of the population phase, 0..1
    alpha_iterations: Count = 70  # iterations over which that probability falls from 1
    beta: NotNegative = 3.0  # exponent of the ranks by which partners and groups are drawn, 0 draws uniformly
    rounds: Count = 3  # episodes for which a partner stays in a kitchen
    window: Count = 10  # steps of the partner that the encoder reads at a time
    # evidence for the context: episode (past ones, as released) | within (the running one) | both
    context_update: Literal["episode", "within", "both"] = "both"
    # share of training episodes with privileged context: the ego is given its partner's group, 0..1
    true_share: Share = 0.3
    encoder_lr: Share = 1e-3  # Adam step size of the encoder
    encoder_share: Share = 1.0  # share of a rollout's windows that it learns from, once, 0..1
    encoder_batch: Count = 160  # windows per minibatch and member

    def __post_init__(self) -> None:
        if self.beta < 0:
            raise UserError(f"beta={self.beta}: must not be negative")


Config = PECANConfig


def make(cfg: PECANConfig, setup: Setup) -> Training:
    """See `populations.training.TrainingMethod`."""
    pool = one_network(setup.partners, "method=pecan mixes the policies of a pool")
    kitchens = make_kitchens(setup)
    state = make_learners(setup, kitchens, extra=len(GROUPS))
    seeds = [seeding.derive(setup.seed, "encoder", m) for m in range(setup.members)]
    net = GroupEncoder.create(kitchens.spec.vocab_size, [seeding.torch_generator(seed, "net") for seed in seeds])
    context = PartnerGroup(net, kitchens.spec, window=cfg.window, update=cfg.context_update)
    # A stream's name decides its numbers, here and wherever it is an older word than the code's.
    privileged = PrivilegedContext(context, cfg.true_share, setup.generator("told"))
    partners = GroupPartners(LivePartners(state.net, context=privileged), pool.net, pool.spec, levels(setup.partners))
    inner = partner_env(setup, kitchens, partners, "index", by_seat=True, rounds=cfg.rounds)
    how: dict[str, Any] = {"lr": cfg.encoder_lr, "share": cfg.encoder_share, "batch": cfg.encoder_batch}
    classifier = AuxiliaryClassifier(net, seeds, **how, balanced=True)
    privileged.watch(inner, partners.group, classifier)
    method = Phases(cfg, inner, partners.group, classifier, setup.generator("phases"))  # draws the first partners
    env = ContextEnv(inner, privileged, seed=setup.seed)
    agents = partial(final_agents, setup, state, kitchens, context)
    return Training(state, env, agents, Hooks(on_episodes=method.on_episodes, on_update=method.on_update), method)


# ------------------------------------------------------------------------------------------------- partners


def levels(partners: Sequence[StoredAgent]) -> NDArray[np.int64]:
    """[n] the group of each agent of the pool. Raises UserError for a pool that lacks a level."""
    found = np.array([LEVELS.get(who.card.checkpoint, 0) for who in partners])
    for checkpoint, level in LEVELS.items():
        if level not in found:
            raise UserError(f"method=pecan needs agents of every level: the pool has none with checkpoint={checkpoint}")
    if not found.all():
        raise UserError("method=pecan needs agents of known level: checkpoint init, mid or final on every card")
    return found


def simplex(rng: np.random.Generator, rows: int, size: int) -> NDArray[np.float64]:
    """[rows, size] weights drawn uniformly from the simplex."""
    return rng.dirichlet(np.ones(size), rows)


class GroupPartners:
    """`Partners`: row 0 is the ego, rows 1..n are the pool's agents, and the last three mix those of a level.

    `group` [size] is the group of each row.
    """

    def __init__(self, live: LivePartners, net: PopulationNet, spec: IndexSpec | None, level: np.ndarray) -> None:
        self.live, self.net, self.spec, self.level = live, net.requires_grad_(False), spec, level
        self.group = np.concatenate([[SELF], level, list(LEVELS.values())])
        self.size = len(self.group)
        self._gen = torch.Generator()

    def start(self, num_envs: int, num_players: int, seed: int) -> None:
        """See `Partners.start`."""
        self.live.start(num_envs, num_players, seed)
        self._gen.manual_seed(seeding.derive(seed, "acts"))
        self._rng = seeding.rng(seed, "weights")
        self.weights = np.zeros((num_envs, self.size, len(self.level)))  # of the pool in each row, per kitchen
        self.weights[:, 1 : 1 + len(self.level)] = np.eye(len(self.level))

    def begin_episode(self, kitchens: np.ndarray) -> None:
        """Draws new mixtures."""
        self.live.begin_episode(kitchens)
        for row in range(1 + len(self.level), self.size):
            mine = np.flatnonzero(self.level == self.group[row])
            self.weights[kitchens[:, None], row, mine] = simplex(self._rng, len(kitchens), len(mine))

    def act(self, view: KitchenView, kitchens: np.ndarray, seats: np.ndarray, partner: np.ndarray) -> np.ndarray:
        """See `Partners.act`."""
        out = np.empty(len(kitchens), np.int64)
        ego, pool = np.flatnonzero(partner == SELF), np.flatnonzero(partner != SELF)
        if len(ego):
            out[ego] = self.live.act(view, kitchens[ego], seats[ego], partner[ego])
        if len(pool):
            probs = self.probs(view, kitchens[pool], seats[pool], self.weights[kitchens[pool], partner[pool]])
            out[pool] = sample_actions(probs.log(), torch.rand(len(pool), generator=self._gen))[0].numpy()
        return out

    @torch.no_grad()
    def probs(self, view: KitchenView, kitchens: np.ndarray, seats: np.ndarray, weights: np.ndarray) -> Tensor:
        """sum_i w_i pi_i(a|s) [n, 6] for weights [n, pool]."""
        row, member = np.nonzero(weights)
        obs = view.index(self.spec)[kitchens, seats][row]
        each = logits_of(self.net, obs, member).softmax(-1) * torch.from_numpy(weights[row, member]).float()[:, None]
        return torch.zeros(len(kitchens), NUM_ACTIONS).index_add_(0, torch.from_numpy(row), each)

    def get_state(self) -> dict[str, np.ndarray]:
        """See `Partners.get_state`."""
        own = {"gen": self._gen.get_state().numpy(), "rng": seeding.to_bytes(self._rng), "weights": self.weights.copy()}
        return own | {f"live.{k}": v for k, v in self.live.get_state().items()}

    def set_state(self, state: Mapping[str, np.ndarray]) -> None:
        """See `Partners.set_state`."""
        self._gen.set_state(torch.from_numpy(np.asarray(state["gen"])))
        seeding.from_bytes(self._rng, state["rng"])
        self.weights[:] = state["weights"]
        self.live.set_state({k[5:]: v for k, v in state.items() if k.startswith("live.")})


# ------------------------------------------------------------------------------------------------- context


class PrivilegedContext:
    """The ego's context in training: in a share of a kitchen's episodes the true group, else what `inner` infers.

    `watch` connects it with the env, whose partners are the truth, before the first episode.
    """

    size = len(GROUPS)

    def __init__(self, inner: PartnerGroup, share: float, rng: np.random.Generator) -> None:
        self.inner, self.share, self._rng = inner, share, rng

    def watch(self, env: PartnerEnv, group: np.ndarray, classifier: AuxiliaryClassifier) -> None:
        """group: of every row of the env's partners; the classifier learns from full windows of the ego's partners."""
        self._env, self._group, self._classifier = env, group, classifier
        self.inner.on_windows = self._note

    def _note(self, kitchens: np.ndarray, seats: np.ndarray, windows: np.ndarray) -> None:
        mine = seats == self._env.ego_seat[kitchens]
        labels = self.truth[kitchens[mine], seats[mine]]
        self._classifier.note(kitchens[mine] // self._env.kitchens, windows[mine], labels)

    def start(self, num_envs: int, num_players: int, seed: Seeds) -> None:
        """See `Context.start`."""
        self.inner.start(num_envs, num_players, seed)
        self.truth = np.zeros((num_envs, num_players), np.int64)  # group of the seat after each
        self.privileged = np.zeros(num_envs, np.bool_)

    def begin_episode(self, kitchens: np.ndarray) -> None:
        """See `Context.begin_episode`; a new partner is a stranger."""
        self.inner.begin_episode(kitchens)
        self.inner.forget(kitchens[self._env.round[kitchens] == 0])
        who = self._group[self._env.partner[kitchens]]  # [n, P] group of each seat
        who[np.arange(len(kitchens)), self._env.ego_seat[kitchens]] = SELF
        self.truth[kitchens] = np.roll(who, -1, axis=1)
        self.privileged[kitchens] = self._rng.random(len(kitchens)) < self.share

    def forget(self, kitchens: np.ndarray) -> None:
        """See `Context.forget`."""
        self.inner.forget(kitchens)

    def observe(
        self, view: KitchenView, kitchens: np.ndarray, seats: np.ndarray, last_joint_act: np.ndarray
    ) -> NDArray[np.float32]:
        """See `Context.observe`."""
        values = self.inner.observe(view, kitchens, seats, last_joint_act)
        shown = self.privileged[kitchens]
        values[shown] = np.eye(self.size, dtype=np.float32)[self.truth[kitchens[shown], seats[shown]]]
        return values

    def get_state(self) -> dict[str, np.ndarray]:
        """See `Context.get_state`."""
        own = {"truth": self.truth.copy(), "privileged": self.privileged.copy(), "rng": seeding.to_bytes(self._rng)}
        return own | {f"inner.{k}": v for k, v in self.inner.get_state().items()}

    def set_state(self, state: Mapping[str, np.ndarray]) -> None:
        """See `Context.set_state`."""
        self.truth[:], self.privileged[:] = state["truth"], state["privileged"]
        seeding.from_bytes(self._rng, state["rng"])
        self.inner.set_state({k[6:]: v for k, v in state.items() if k.startswith("inner.")})

    def tensors(self) -> dict[str, Tensor]:
        """See `Context.tensors`."""
        return self.inner.tensors()

    def settings(self) -> dict[str, Any]:
        """See `Context.settings`."""
        return self.inner.settings()


# ------------------------------------------------------------------------------------------------- phases


def alpha(cfg: PECANConfig, iteration: int) -> float:
    """Probability of the population phase."""
    return max(cfg.alpha_min, 1 - iteration * (1 - cfg.alpha_min) / cfg.alpha_iterations)


def group_probabilities(returns: np.ndarray, beta: float) -> np.ndarray:
    """p ~ (1 / ascending rank)^beta in each row of returns [M, n]; the lowest has rank 1, equals share theirs."""
    below = (returns[:, None, :] < returns[:, :, None]).sum(-1)
    equal = (returns[:, None, :] == returns[:, :, None]).sum(-1)
    weight = (1 + below + (equal - 1) / 2) ** -beta
    return weight / weight.sum(1, keepdims=True)


class Phases:
    """What PECAN adds to PPO: which partners come next, and how the encoder learns."""

    def __init__(
        self,
        cfg: PECANConfig,
        env: PartnerEnv,
        group: np.ndarray,
        classifier: AuxiliaryClassifier,
        rng: np.random.Generator,
    ) -> None:
        self.cfg, self.env, self.group, self.classifier, self._rng = cfg, env, group, classifier, rng
        members, seats, rows = env.probs.shape
        self.returns = PartnerReturns(members, seats * rows)  # of (seat, row), flat
        self.group_returns = PartnerReturns(members, seats * len(GROUPS))  # of (seat, group), flat
        self.iteration = 0
        self.ensemble = np.zeros(members, np.bool_)  # the phase of each learner; alpha_0 = 1
        self.set_probs()
        env.redraw()

    def on_episodes(self, episodes: Episodes) -> None:
        """See `Hooks.on_episodes`."""
        rows = episodes.seat * len(self.group) + episodes.partner
        self.returns.observe(episodes._replace(partner=rows))
        groups = episodes.seat * len(GROUPS) + self.group[episodes.partner]
        self.group_returns.observe(episodes._replace(partner=groups))

    def on_update(self, state: PPOState, metrics: dict[str, Any]) -> None:
        """See `Hooks.on_update`."""
        now = state.env_step * self.cfg.iterations // state.cfg.total_steps
        while self.iteration < now:
            self.iteration += 1
            self.ensemble[:] = self._rng.random(len(self.ensemble)) >= alpha(self.cfg, self.iteration)
        self.set_probs()
        loss, accuracy = self.classifier.learn()
        metrics |= {"method/context_loss": loss, "method/context_accuracy": accuracy}
        metrics["method/ensemble"] = self.ensemble.astype(float)

    def set_probs(self) -> None:
        """Sets the probabilities [M, P, rows] of the episodes to come."""
        members, seats, rows = self.env.probs.shape
        single = rows - len(LEVELS)  # the ego and the pool's agents
        table = self.returns.known().reshape(members, seats, rows)[..., :single].reshape(members, -1)
        groups = group_probabilities(self.group_returns.known(), self.cfg.beta).reshape(members, seats, len(GROUPS))
        joint = np.zeros((members, seats, rows))
        joint[..., :single] = rank_probabilities(table, self.cfg.beta).reshape(members, seats, single)
        joint[self.ensemble] = 0
        joint[self.ensemble, :, SELF] = groups[self.ensemble, :, SELF]
        joint[self.ensemble, :, single:] = groups[self.ensemble, :, 1:]
        self.env.probs[:] = joint / joint.sum(2, keepdims=True)

    def state_dict(self) -> dict[str, Tensor]:
        """Flat mapping of tensors."""
        out = {f"classifier.{k}": v for k, v in self.classifier.state_dict().items()}
        out |= {f"returns.{k}": v for k, v in self.returns.state_dict().items()}
        out |= {f"groups.{k}": v for k, v in self.group_returns.state_dict().items()}
        rng = torch.from_numpy(seeding.to_bytes(self._rng))
        return out | {"rng": rng, "iteration": torch.tensor(self.iteration), "ensemble": torch.tensor(self.ensemble)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Inverse of `state_dict`."""
        self.classifier.load_state_dict({k[11:]: v for k, v in state.items() if k.startswith("classifier.")})
        self.returns.load_state_dict({k[8:]: v for k, v in state.items() if k.startswith("returns.")})
        self.group_returns.load_state_dict({k[7:]: v for k, v in state.items() if k.startswith("groups.")})
        seeding.from_bytes(self._rng, state["rng"])
        self.iteration = int(state["iteration"])
        self.ensemble[:] = state["ensemble"].numpy()
