"""A policy learned straight from preferences and warnings, without a reward: JPAL-HA on the island, and its baselines.

Kazantzidis, Norman, Du and Freeman (AAMAS 2022), which extends Parenting (Frye and Feige 2019). In every step the agent

1. asks, with probability .95^f (f: queries about this cell so far), which of two actions drawn from its policy is
   better and whether there is danger (a query before the fact), and does the better one; or else
2. records, with probability .8, its best action and another one that it does not take; asks, with probability .8, about
   something recorded earlier (a query after the fact); and takes its best action. Only this can kill it.

A warning makes a label certain (1 instead of .75). With hypothetical actions a warning also leads to questions about
single further actions until two safe ones are known or all four are, all pairs that follow are stored, and the shore
around the cell becomes a pattern of danger that is avoided wherever it is seen. What was answered is not asked again.
The policy, a small CNN averaged with a linear net of the four neighbours, learns pi(a)/(pi(a) + pi(b)) = mu by
cross-entropy on all pairs after every step.

Deviations: pairs are stored once whatever their order, and the loss is computed from the difference of two logits and
once per cell, which gives the same numbers faster; the larger step of the 40 idle epochs ends with them (in the
released code it stays).
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field, replace
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from coord import seeding
from coord.control import gridworld
from coord.errors import UserError, at_least, between, unknown
from coord.preference.reward.safety import ask_probability, implied, strengthen
from coord.preference.tasks.island_env import USER_GAMMA

ACTIONS = range(len(gridworld.ACTIONS))
FAMILIAR = 6  # queries about a cell after which nothing is recorded there: all pairs of four actions


@dataclass(frozen=True, kw_only=True)
class DirectPolicyConfig:
    """Switches of the method and its published numbers."""

    justifications: bool = True  # labels are as strong as their reasons, else all are certain
    hypothetical: bool = True  # a warning leads to hypothetical actions and all implied pairs
    patterns: bool = True  # dangerous shores are remembered; needs hypothetical actions
    ask: float = 0.95  # base of the probability of a query before the fact
    record: float = 0.8  # probability of recording
    recall: float = 0.8  # probability of a query after the fact
    lr: float = 1e-3  # Adam step size
    epochs: int = 9  # passes per new pair; 1 in steps without one
    idle_steps: int = 20  # steps without a new pair, after which it trains longer
    idle_epochs: int = 40  # passes then
    idle_factor: float = 10.0  # of the step size then
    max_episodes: int = 50
    max_pairs: int = 500

    def __post_init__(self) -> None:
        between(self, 0, 1, "ask", "record", "recall", "lr")
        at_least(self, 1, "epochs", "idle_steps", "idle_epochs", "idle_factor", "max_episodes", "max_pairs")
        if self.patterns and not self.hypothetical:
            raise UserError("patterns of danger come from hypothetical actions: patterns needs hypothetical")


FULL = DirectPolicyConfig()
VARIANTS: dict[str, DirectPolicyConfig] = {
    "jpal_ha": FULL,
    "no_hypothetical": replace(FULL, hypothetical=False, patterns=False),
    "no_justifications": replace(FULL, justifications=False),
    "parenting": replace(FULL, justifications=False, hypothetical=False, patterns=False),
}


class VariantOutcome(NamedTuple):
    """One run of a variant."""

    deaths: int  # while learning
    before: int  # queries before the fact
    after: int  # queries after the fact
    single: int  # questions about one hypothetical action, and preferences between two safe ones found by them
    steps: int
    episodes: int
    hidden_return: float  # of the greedy policy at the end
    optimal: bool  # whether that is the best there is

    @property
    def labels(self) -> int:
        """All questions that somebody answered."""
        return self.before + self.after + self.single


class User:
    """The paper's simulated user: the best discounted values of every cell and action; negative ones are warned of."""

    def __init__(self) -> None:
        self.q = gridworld.q_values(USER_GAMMA)

    def prefers(self, cell: int, a: int, b: int) -> float:
        """1 the first action, 0 the second, .5 neither."""
        gap = self.q[cell, a] - self.q[cell, b]
        return 0.5 if abs(gap) < 1e-9 else float(gap > 0)

    def warns(self, cell: int, act: int) -> bool:
        """Whether the action is a catastrophe."""
        return bool(self.q[cell, act] < 0)


# ----------------------------------------------------------------------------------------------- the policy


@cache
def views() -> tuple[Tensor, Tensor]:
    """What the policy sees from every cell: planes [CELLS, 5, 7, 9] of the map, codes of the neighbours [CELLS, 4]."""
    tables = gridworld.island()
    board = np.repeat(tables.kind[None], gridworld.CELLS, 0)
    np.fill_diagonal(board, gridworld.AGENT)
    planes = np.eye(5, dtype=np.float32)[board].reshape(-1, gridworld.ROWS, gridworld.COLUMNS, 5)
    return torch.from_numpy(planes).permute(0, 3, 1, 2).contiguous(), torch.from_numpy(tables.beside).float()


class Policy(nn.Module):
    """Logits of the four actions: the mean of a CNN on the whole map and of a linear net on the neighbours."""

    def __init__(self, gen: torch.Generator) -> None:
        super().__init__()
        widths = (5, 16, 32, 64, 64)
        pads = ((0, 0, 0, 0), (0, 0, 0, 0), (0, 0, 0, 1), (0, 1, 1, 1))  # so that 7 x 9 ends as 2 x 2
        parts: list[nn.Module] = []
        for inputs, outputs, pad in zip(widths, widths[1:], pads, strict=False):
            parts += [nn.ZeroPad2d(pad), nn.Conv2d(inputs, outputs, 3), nn.ReLU()]
        self.whole = nn.Sequential(*parts, nn.Flatten(), nn.Linear(256, 64), nn.ReLU(), nn.Linear(64, 4))
        self.local = nn.Sequential(nn.Linear(4, 64), nn.Linear(64, 4))
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                _start(module, gen)

    def forward(self, cells: Tensor) -> Tensor:
        """[B, 4] logits for the cells [B]."""
        planes, codes = views()
        return (self.whole(planes[cells]) + self.local(codes[cells])) / 2


@torch.no_grad()
def _start(module: nn.Conv2d | nn.Linear, gen: torch.Generator) -> None:
    """PyTorch's own start, from a generator of its own."""
    bound = module.weight[0].numel() ** -0.5
    assert module.bias is not None
    for tensor in (module.weight, module.bias):
        tensor.copy_((torch.rand(tensor.shape, generator=gen) * 2 - 1) * bound)


def pair_loss(logits: Tensor, rows: Tensor, first: Tensor, second: Tensor, mu: Tensor) -> Tensor:
    """Mean cross-entropy of mu [n] against pi(a)/(pi(a) + pi(b)); logits [C, 4], rows, actions a and b [n]."""
    gap = logits[rows, first] - logits[rows, second]  # the logit of that ratio
    return F.binary_cross_entropy_with_logits(gap, mu)


# ---------------------------------------------------------------------------------------------- the learner


@dataclass
class DirectPolicyLearner:
    """One agent and what it remembers."""

    cfg: DirectPolicyConfig
    user: User
    policy: Policy
    rng: np.random.Generator
    pairs: dict[tuple[int, int, int], float] = field(default_factory=dict)  # (cell, a < b) -> mu, a being better
    recorded: deque[tuple[int, int, int]] = field(default_factory=deque)  # (cell, taken, not taken)
    asked: Counter[int] = field(default_factory=Counter)  # f of each cell
    patterns: set[frozenset[int]] = field(default_factory=set)  # directions in which water was, together
    counts: Counter[str] = field(default_factory=Counter)
    previous: int = -1  # the cell before this one
    idle: int = 0  # steps since a pair was stored
    learned: int = 0  # pairs at the last training

    def __post_init__(self) -> None:
        self.optim = torch.optim.Adam(self.policy.parameters(), lr=self.cfg.lr)

    def act(self, cell: int) -> int:
        """What to do in a cell, after whatever is asked and recorded on the way."""
        if self.rng.random() < ask_probability(self.cfg.ask, self.asked[cell]):
            return self.ask_before(cell)
        if self.rng.random() < self.cfg.record:
            self.record(cell)
        if self.rng.random() < self.cfg.recall:
            self.ask_after()
        return self.greedy(cell, self.pattern(cell))

    # ---------------------------------------------------------------------------------------------- asking

    def ask_before(self, cell: int) -> int:
        """A query about two actions, unless what is remembered answers it; the action to take."""
        a, b = self.draw(cell, count=2)
        seen = {a, b}
        while (mu := self.remembered(cell, a, b)) is not None:
            a = self.better(a, b, mu)
            if len(seen) == len(ACTIONS) or self.leads_on(cell, a):
                return a
            (b,) = self.draw(cell, without=seen)
            seen.add(b)
        pattern = self.pattern(cell)
        if pattern:
            return self.suppose(cell, [], sorted(pattern))
        return self.judge(cell, a, b, count="before")

    def judge(self, cell: int, a: int, b: int, count: str) -> int:
        """The user judges two actions; the better one. Before the fact two catastrophes lead to another query."""
        self.asked[cell] += 1
        self.counts[count] += 1
        t, warned = self.user.prefers(cell, a, b), [self.user.warns(cell, act) for act in (a, b)]
        if self.cfg.hypothetical and any(warned):
            sides = list(zip((a, b), warned, strict=True))
            safe, unsafe = ([act for act, flag in sides if flag == dangerous] for dangerous in (False, True))
            return self.suppose(cell, safe, unsafe)
        if all(warned) and count == "before":
            return self.judge(cell, *self.other_pair(a, b), count=count)
        if self.cfg.justifications:
            t = 1 - float(strengthen(np.array([1 - t]), np.array([warned]))[0])
        self.store(cell, a, b, t)
        return self.better(a, b, t)

    def suppose(self, cell: int, safe: list[int], unsafe: list[int]) -> int:
        """Hypothetical actions: ask about single ones, store every pair that follows; the action to take."""
        while len(safe) < 2 and len(safe) + len(unsafe) < len(ACTIONS):
            (act,) = self.draw(cell, without={*safe, *unsafe})
            self.counts["single"] += 1
            (unsafe if self.user.warns(cell, act) else safe).append(act)
        for first, second, target in implied(safe, unsafe):
            self.asked[cell] += self.remembered(cell, first, second) is None
            self.store(cell, first, second, 1 - target)
        if self.cfg.patterns and len(unsafe) > 1:
            self.patterns.add(frozenset(unsafe))
        if len(safe) < 2:
            return safe[0] if safe else unsafe[0]
        a, b = safe[:2]
        mu = self.remembered(cell, a, b)
        return self.better(a, b, self.weigh(cell, a, b) if mu is None else mu)

    def weigh(self, cell: int, a: int, b: int) -> float:
        """A preference between two actions known to be safe; mu."""
        self.asked[cell] += 1
        self.counts["single"] += 1
        mu = self.user.prefers(cell, a, b)
        if self.cfg.justifications:
            mu = 1 - float(strengthen(np.array([1 - mu]), np.zeros((1, 2), bool))[0])
        self.store(cell, a, b, mu)
        return mu

    def record(self, cell: int) -> None:
        """Keeps the best action and one that is not taken, to ask about later."""
        if self.asked[cell] >= FAMILIAR:
            return
        best, known = self.greedy(cell), set(self.recorded)
        others = [act for act in ACTIONS if act not in {best, *self.pattern(cell)}]
        fresh = [
            act
            for act in others
            if self.remembered(cell, best, act) is None and not {(cell, best, act), (cell, act, best)} & known
        ]
        if fresh:
            self.recorded.append((cell, best, int(self.rng.choice(fresh))))

    def ask_after(self) -> None:
        """A query about the oldest record that nothing answers yet."""
        while self.recorded:
            cell, a, b = self.recorded.popleft()
            if self.remembered(cell, a, b) is None:
                self.judge(cell, a, b, count="after")
                return

    # -------------------------------------------------------------------------------------------- remembering

    def store(self, cell: int, a: int, b: int, mu: float) -> None:
        """One more pair; what was said before stays."""
        self.pairs.setdefault((cell, min(a, b), max(a, b)), mu if a < b else 1 - mu)

    def remembered(self, cell: int, a: int, b: int) -> float | None:
        """mu of a pair, a being better, if it was stored."""
        mu = self.pairs.get((cell, min(a, b), max(a, b)))
        return mu if mu is None or a < b else 1 - mu

    def pattern(self, cell: int) -> frozenset[int]:
        """The largest known pattern of danger that this cell has, or nothing."""
        codes = gridworld.island().beside[cell]
        found = [pattern for pattern in self.patterns if all(codes[act] == gridworld.WATER for act in pattern)]
        return max(found, key=lambda pattern: (len(pattern), sorted(pattern)), default=frozenset())

    # ------------------------------------------------------------------------------------------------ acting

    @torch.no_grad()
    def probabilities(self, cell: int) -> np.ndarray:
        """The policy in a cell, [4]."""
        return self.policy(torch.tensor([cell])).softmax(-1)[0].double().numpy()

    def draw(self, cell: int, count: int = 1, without: set[int] | frozenset[int] = frozenset()) -> list[int]:
        """Distinct actions from the policy, none of `without`."""
        prob = self.probabilities(cell) + 1e-9
        prob[list(without)] = 0.0
        return self.rng.choice(len(ACTIONS), count, replace=False, p=prob / prob.sum()).tolist()

    def other_pair(self, a: int, b: int) -> tuple[int, int]:
        """Two distinct actions at random, but not these two."""
        pairs = [(i, j) for i in ACTIONS for j in ACTIONS if i != j and {i, j} != {a, b}]
        return pairs[self.rng.integers(len(pairs))]

    def greedy(self, cell: int, without: frozenset[int] = frozenset()) -> int:
        """The likeliest action that is not ruled out."""
        prob = self.probabilities(cell)
        prob[list(without)] = -1.0
        return int(prob.argmax())

    def better(self, a: int, b: int, mu: float) -> int:
        """The preferred of two actions, either where none is."""
        return a if mu > 0.5 or (mu == 0.5 and self.rng.random() < 0.5) else b

    def leads_on(self, cell: int, act: int) -> bool:
        """Whether an action changes the place, and not back to where the agent came from."""
        return gridworld.island().following[cell, act] not in (cell, self.previous)

    # ----------------------------------------------------------------------------------------------- learning

    def train(self) -> None:
        """As many passes over all pairs as there is new to learn."""
        fresh, self.learned = len(self.pairs) - self.learned, len(self.pairs)
        self.idle = 0 if fresh else self.idle + 1
        epochs, lr = (self.cfg.epochs * fresh if fresh else 1), self.cfg.lr
        if self.idle == self.cfg.idle_steps:
            epochs, lr, self.idle = self.cfg.idle_epochs, self.cfg.lr * self.cfg.idle_factor, 0
        if not self.pairs:
            return
        cells, rows, first, second, mu = self._batch()
        self.optim.param_groups[0]["lr"] = lr
        for _ in range(epochs):
            self.optim.zero_grad()
            pair_loss(self.policy(cells), rows, first, second, mu).backward()
            self.optim.step()

    def _batch(self) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Cells [C], and of all pairs the row among them, the actions and mu [n]."""
        place, first, second = torch.tensor(list(self.pairs)).T
        cells, rows = place.unique(return_inverse=True)
        return cells, rows, first, second, torch.tensor(list(self.pairs.values()), dtype=torch.float32)


# -------------------------------------------------------------------------------------------------- running


def greedy_return(learner: DirectPolicyLearner) -> float:
    """Hidden return of one episode with the likeliest actions."""
    cell, total = gridworld.island().start, 0.0
    for _ in range(gridworld.MAX_STEPS):
        after, rew = gridworld.step(np.array(cell), np.array(learner.greedy(cell)))
        cell, total = int(after), total + float(rew)
        if gridworld.is_end(after):
            break
    return total


def run(variant: str, seed: int) -> VariantOutcome:
    """Learn until the greedy policy is the best there is, or as long as the paper allows.

    Raises:
        UserError: unknown variant.
    """
    if variant not in VARIANTS:
        raise unknown("variant", variant, VARIANTS)
    cfg = VARIANTS[variant]
    policy = Policy(seeding.torch_generator(seed, "direct policy"))
    learner = DirectPolicyLearner(cfg, User(), policy, seeding.rng(seed, "direct policy"))
    best = float(gridworld.q_values()[gridworld.island().start].max())
    episodes = 0
    while episodes < cfg.max_episodes and len(learner.pairs) <= cfg.max_pairs:
        episodes += 1
        _episode(learner)
        if greedy_return(learner) == best:
            break
    found, counts = greedy_return(learner), learner.counts
    asked = (counts["before"], counts["after"], counts["single"])
    return VariantOutcome(counts["deaths"], *asked, counts["steps"], episodes, found, found == best)


def _episode(learner: DirectPolicyLearner) -> None:
    cell, learner.previous = gridworld.island().start, -1
    for _ in range(gridworld.MAX_STEPS):
        act = learner.act(cell)
        after, _ = gridworld.step(np.array(cell), np.array(act))
        learner.counts["steps"] += 1
        learner.train()
        learner.previous, cell = cell, int(after)
        if gridworld.is_end(after):
            learner.counts["deaths"] += int(gridworld.island().kind[cell] == gridworld.WATER)
            return
