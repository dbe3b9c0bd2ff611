"""Who the partner may be: a Bayesian belief over the agents of a pool and over how noisy its play is.

A hypothesis is an agent k of the pool and a kind of noise j = (habit, eps): the partner acts from

    p_kj(a | s) = (1 - eps_j) pi_k(a | s) + eps_j h_j(a)

with a habit h that is uniform, mostly stays, or mostly repeats the last action. Each tick the belief takes in the
likelihood of what the partner did, and then a `share` of it goes back to the prior,

    w <- (1 - share) w p(a | s) / sum(w p(a | s)) + share w_0             (fixed share: Herbster and Warmuth 1998)

so that it never dies out where it is wrong now: partners change their ways, and unknown ones are like this agent here
and like another there. The context (17 numbers) is what an ego can act on:

    0..5    how probable each action of the partner is now
    6..8    expected eps by habit: uniform, stay, repeat
    9..11   level of the agent: start, middle or end of its training
    12      entropy of the belief, 1 for the uniform one
    13, 14  for how long the ego and its partner have stood on their cell, 1 from 10 ticks on
    15, 16  for how long what they hold has not changed, 1 from 40 ticks on

The last four are no inference but memory: without it two who want past each other try the same for ever.

Sources: Albatross (Mahlau et al. 2024) infers one rationality per tick, TALENTS (2025) a cluster by fixed share; this
is one belief over population, skill and noise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numba as nb
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from coord.compile_cache import EXACT
from coord.nets.population import Arch, PopulationNet
from coord.overcooked import IndexSpec
from coord.overcooked.index_spec import NUM_HOLDS
from coord.types import NUM_ACTIONS

if TYPE_CHECKING:
    from coord.agents.views import KitchenView, Seeds

STAY = 4
UNIFORM, STAYS, REPEATS = range(3)  # habits
LEVELS = ("init", "mid", "final")  # as checkpoints on cards
MOSTLY = 0.9  # probability of the action that a habit prefers
NOISE = (
    (UNIFORM, 0.02),
    (UNIFORM, 0.25),
    (UNIFORM, 0.6),
    (STAYS, 0.3),
    (STAYS, 0.7),
    (REPEATS, 0.3),
    (REPEATS, 0.7),
)
MEMORY = ("weight", "probs", "asked", "before", "was", "ticks")
INFERRED = NUM_ACTIONS + 3 + len(LEVELS) + 1
LONGEST = (10, 40)  # ticks on a cell and with the same thing in hand beyond which no difference is seen
SIZE = INFERRED + 2 * len(LONGEST)


# ------------------------------------------------------------------------------------------------- kernels


@nb.njit(**EXACT)
def habit_prob(habit, act, before):  # type: ignore[no-untyped-def]
    """h(act) of a habit; before: the partner's last action, -1 if it is not known."""
    if habit == UNIFORM or (habit == REPEATS and before < 0):
        return 1.0 / NUM_ACTIONS
    preferred = STAY if habit == STAYS else before
    return MOSTLY if act == preferred else (1.0 - MOSTLY) / (NUM_ACTIONS - 1)


@nb.njit(**EXACT)
def learn(weight, probs, act, before, habit, eps, share):  # type: ignore[no-untyped-def]
    """One tick of the belief [K, J] about agents with probabilities [K, 6] whose action is now known; in place."""
    agents, noises = weight.shape
    total = 0.0
    for j in range(noises):
        stray = eps[j] * habit_prob(habit[j], act, before)
        for k in range(agents):
            weight[k, j] *= (1.0 - eps[j]) * probs[k, act] + stray
            total += weight[k, j]
    prior = share / (agents * noises)
    for k in range(agents):
        for j in range(noises):
            weight[k, j] = (1.0 - share) * weight[k, j] / total + prior


@nb.njit(**EXACT)
def summarise(weight, probs, before, habit, eps, level, out):  # type: ignore[no-untyped-def]
    """The first 13 numbers of the context `out` of a belief [K, J] about agents with probabilities [K, 6] now."""
    agents, noises = weight.shape
    out[:] = 0
    entropy = 0.0
    for k in range(agents):
        skilled = 0.0  # probability of agent k following its policy
        for j in range(noises):
            w = weight[k, j]
            skilled += w * (1.0 - eps[j])
            out[NUM_ACTIONS + habit[j]] += w * eps[j]
            out[NUM_ACTIONS + 3 + level[k]] += w
            entropy -= w * np.log(w + 1e-12)
        for a in range(NUM_ACTIONS):
            out[a] += skilled * probs[k, a]
    for h in range(3):
        for a in range(NUM_ACTIONS):
            out[a] += out[NUM_ACTIONS + h] * habit_prob(h, a, before)
    out[INFERRED - 1] = entropy / np.log(agents * noises)


@nb.njit(**EXACT)
def softmax(logits, out):  # type: ignore[no-untyped-def]
    """out [6] = softmax of the first six of logits [7]."""
    top = logits[:NUM_ACTIONS].max()
    total = 0.0
    for a in range(NUM_ACTIONS):
        out[a] = np.exp(logits[a] - top)
        total += out[a]
    for a in range(NUM_ACTIONS):
        out[a] /= total


@nb.njit(**EXACT)
def look(facts, cells, holds, was, ticks):  # type: ignore[no-untyped-def]
    """Counts the ticks [2] since a chef changed its cell and what it holds, from its own facts [F]; in place.

    cells: of the grid, times 4 the rows of its poses; holds: first row of what it holds; was [2]: cell and thing, -1 at
    the start of an episode.
    """
    for fact in facts:
        kind, now = -1, 0
        if fact < 4 * cells:
            kind, now = 0, fact // 4
        elif holds <= fact < holds + NUM_HOLDS:
            kind, now = 1, fact - holds
        if kind >= 0:
            ticks[kind] = ticks[kind] + 1 if now == was[kind] else 0
            was[kind] = now


@nb.njit(**EXACT)
def _tick(memory, kitchens, seats, acts, facts, rows, outputs, noise, level, share, out):  # type: ignore[no-untyped-def]
    """Learns from the last actions where they are known, then asks the agents about the present.

    memory: weight [N, P, K, J], probs [N, P, K, 6], asked [N, P], before [N, P], was and ticks [N, P, 2, 2] of the ego
    and its partner; facts: of both, [2, n, F]; rows: cells and first row of what is held; outputs [K, n, 7] of the
    agents now.
    """
    weight, probs, asked, before, was, ticks = memory
    habit, eps = noise
    for i in range(len(kitchens)):
        at, seat, act = kitchens[i], seats[i], acts[i]
        if act >= 0 and asked[at, seat]:
            learn(weight[at, seat], probs[at, seat], act, before[at, seat], habit, eps, share)
        before[at, seat] = act
        asked[at, seat] = True
        for k in range(outputs.shape[0]):
            softmax(outputs[k, i], probs[at, seat, k])
        summarise(weight[at, seat], probs[at, seat], act, habit, eps, level, out[i])
        for who in range(2):
            look(facts[who, i], rows[0], rows[1], was[at, seat, who], ticks[at, seat, who])
            for kind in range(2):
                long = min(ticks[at, seat, who, kind], LONGEST[kind]) / LONGEST[kind]
                out[i, INFERRED + 2 * kind + who] = long


# ------------------------------------------------------------------------------------------------- context


class PartnerBelief:
    """The `Context` of `method=belief`: what is known of the seat after the learner's own."""

    size = SIZE
    kind = "partner_belief"

    def __init__(self, net: PopulationNet, spec: IndexSpec, level: Sequence[int], *, share: float, members: int = 1):
        """net: the pool's agents, which all learners compare with; level [K]: of each, an index of `LEVELS`."""
        if len(level) != net.members or net.obs_kind != "index" or net.arch.memory or not 0 <= share < 1:
            raise ValueError(f"a belief about {net.members} agents of {net.arch}, {len(level)} levels, share {share}")
        self.net, self.spec, self.share, self.members = net.requires_grad_(False), spec, share, members
        self.level = np.array(level, np.int64)
        self.keeps = False  # what is believed, from episode to episode; see `coord.agents.context.carry`
        self._noise = np.array([h for h, _ in NOISE], np.int64), np.array([eps for _, eps in NOISE])

    @staticmethod
    def from_tensors(tensors: Mapping[str, Tensor], settings: Mapping[str, Any], spec: IndexSpec) -> PartnerBelief:
        """See `coord.agents.context.kinds.build`."""
        net = PopulationNet(Arch.from_dict(settings["arch"]), {name: tensor[0] for name, tensor in tensors.items()})
        level = [int(i) for i in settings["level"]]
        return PartnerBelief(net, IndexSpec.from_dict(settings["spec"]), level, share=float(settings["share"]))

    def start(self, num_envs: int, num_players: int, seed: Seeds) -> None:
        """See `Context.start`; nothing is drawn at random."""
        agents, shape = self.net.members, (num_envs, num_players)
        self._weight = np.full((*shape, agents, len(NOISE)), 1 / (agents * len(NOISE)))
        self._probs = np.zeros((*shape, agents, NUM_ACTIONS), np.float32)  # of the agents, when last asked
        self._asked = np.zeros(shape, np.bool_)  # whether that was in this episode
        self._before = np.full(shape, -1)  # the partner's last action
        self._was = np.full((*shape, 2, 2), -1)  # (ego, partner) x (cell, thing held) when last seen
        self._ticks = np.zeros((*shape, 2, 2), np.int64)  # since they changed
        self.begin_episode(np.arange(num_envs))

    def begin_episode(self, kitchens: np.ndarray) -> None:
        """See `Context.begin_episode`; whoever comes may be anybody, unless the partner is known to stay (`keeps`)."""
        if not self.keeps:
            self.forget(kitchens)
        self._asked[kitchens], self._before[kitchens], self._was[kitchens] = False, -1, -1

    def forget(self, kitchens: np.ndarray) -> None:
        """See `Context.forget`."""
        self._weight[kitchens] = 1 / self._weight[0, 0].size

    @torch.no_grad()
    def observe(
        self, view: KitchenView, kitchens: np.ndarray, seats: np.ndarray, last_joint_act: np.ndarray
    ) -> NDArray[np.float32]:
        """See `Context.observe`; one forward pass of all agents."""
        other = (seats + 1) % view.env.num_players
        acts = last_joint_act[np.arange(len(seats)), other]
        facts = np.stack([view.index(self.spec)[kitchens, who] for who in (seats, other)])  # [2, n, F]
        theirs = torch.from_numpy(facts[1])
        outputs = self.net.outputs(theirs.expand(self.net.members, *theirs.shape)).numpy()  # [K, n, 7]
        out = np.empty((len(seats), SIZE), np.float32)
        memory = tuple(getattr(self, f"_{name}") for name in MEMORY)
        rows = self.spec.cells, self.spec.offsets["holds"]
        _tick(memory, kitchens, seats, acts, facts, rows, outputs, self._noise, self.level, self.share, out)
        return out

    def belief(self, kitchens: np.ndarray, seats: np.ndarray) -> NDArray[np.float64]:
        """[n, K, J] probabilities of the hypotheses at present."""
        return self._weight[kitchens, seats]

    def get_state(self) -> dict[str, np.ndarray]:
        """See `Context.get_state`."""
        return {name: getattr(self, f"_{name}").copy() for name in MEMORY}

    def set_state(self, state: Mapping[str, np.ndarray]) -> None:
        """See `Context.set_state`."""
        for name in MEMORY:
            getattr(self, f"_{name}")[:] = state[name]

    def tensors(self) -> dict[str, Tensor]:
        """See `Context.tensors`; every learner has all agents, [M, K, ...]."""
        return {name: tensor.expand(self.members, *tensor.shape) for name, tensor in self.net.tensors().items()}

    def settings(self) -> dict[str, Any]:
        """See `Context.settings`."""
        own = {"arch": self.net.arch.to_dict(), "spec": self.spec.to_dict(), "level": self.level.tolist()}
        return {"kind": self.kind, "share": self.share, **own}
