"""Speed of preference learning at published sizes: the figures of `coord bench mrn`.

Every figure stands beside two others of the same run: its floor, which is the number of multiplications and additions
that the computation needs over the rate at which this machine multiplies large float32 matrices, and the time of a
plain version in the style of the published code (`coord.bench.mrn_reference`). Ours and the plain one take
turns, so that whatever else the machine does falls on both. What the official MRN code took on a machine of this kind,
on another day, is quoted as "official_ms_elsewhere"; compare ratios, not times.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from coord import seeding
from coord.algos import sac
from coord.bench import mrn_reference as plain
from coord.bench.config import BenchConfig
from coord.bench.sac import ReferenceSAC
from coord.buffers import ReplayBatch
from coord.errors import unknown
from coord.preference.labels.queries import Chooser, QueryConfig
from coord.preference.labels.segments import AnsweredPairs, SegmentPool
from coord.preference.learners.intrinsic import knn_reward
from coord.preference.methods.mrn.config import MRNConfig
from coord.preference.methods.mrn.mrn import MRN
from coord.preference.methods.mrn.pairs import LabelBatch
from coord.preference.reward.model import RewardConfig, RewardModel

SEGMENT = 50  # steps
SESSION = 10  # labels of one session, the outer batch of a released bilevel step
NEIGHBOUR = 5
POOL_EPISODES = 20
RELABELLED = 1000  # transitions
MATRIX = 1024  # side of the matrices whose product sets the floor


@dataclass(frozen=True, kw_only=True)
class Size:
    """A published configuration."""

    obs_dim: int
    act_dim: int
    hidden: tuple[int, ...]
    batch: int
    lr: float
    labels: tuple[int, ...]  # numbers of labels that a pass of the reward model is measured on
    seen: tuple[int, ...] = (2000, 9000)  # states in the buffer of an unsupervised update


SIZES = {
    "walker": Size(obs_dim=24, act_dim=6, hidden=(1024, 1024), batch=1024, lr=5e-4, labels=(10, 100)),
    "metaworld": Size(obs_dim=39, act_dim=4, hidden=(256, 256, 256), batch=512, lr=3e-4, labels=(10, 500, 1000)),
}
# (size, case) -> how many times faster than the plain version one thread should be
BARS = {
    ("walker", "reward_pass_100"): 1.2,
    ("metaworld", "reward_pass_500"): 1.2,
    ("metaworld", "reward_pass_1000"): 1.2,
    ("walker", "meta_step"): 1.6,
    ("metaworld", "meta_step"): 1.6,
    ("walker", "unsupervised_update_9000"): 2.0,
    ("metaworld", "unsupervised_update_9000"): 6.0,
}
# Milliseconds of the official code with one thread, measured on 2 cores of an AMD EPYC; ranges by their lower end.
OFFICIAL_MS = {
    ("walker", "reward_pass_10"): 55.0,
    ("walker", "reward_pass_100"): 646.0,
    ("walker", "meta_step"): 1533.0,
    ("walker", "relabel_1000"): 19.0,
    ("walker", "unsupervised_update_2000"): 951.0,
    ("walker", "unsupervised_update_9000"): 1731.0,
    ("metaworld", "reward_pass_10"): 55.0,
    ("metaworld", "reward_pass_500"): 2704.0,
    ("metaworld", "reward_pass_1000"): 5655.0,
    ("metaworld", "meta_step"): 140.0,
    ("metaworld", "relabel_1000"): 18.0,
    ("metaworld", "unsupervised_update_2000"): 131.0,
    ("metaworld", "unsupervised_update_9000"): 683.0,
}


class MRNCase(NamedTuple):
    """One thing to measure."""

    ours: Callable[[], object]
    plain: Callable[[], object]
    flops: float  # multiplications and additions that it needs
    done: int = 1  # what one call does: updates, transitions


# -------------------------------------------------------------------------------------------------- operations


class RowCost(NamedTuple):
    """Multiply-adds of one row through a network."""

    all: float
    first: float  # of the first layer, whose inputs need no gradient

    @staticmethod
    def of(inputs: int, hidden: Sequence[int], outputs: int) -> RowCost:
        """Of a network of dense layers."""
        products = [a * b for a, b in itertools.pairwise((inputs, *hidden, outputs))]
        return RowCost(sum(products), products[0])

    @property
    def learn(self) -> float:
        """Forward, and backward by parameters."""
        return 3 * self.all - self.first

    @property
    def signals(self) -> float:
        """Forward, and backward by the pre-activations only."""
        return 2 * self.all - self.first


class Works(NamedTuple):
    """The networks of a size: actor, one critic head, one reward network."""

    actor: RowCost
    critic: RowCost
    reward: RowCost

    @staticmethod
    def of(size: Size, model: RewardConfig) -> Works:
        """Those of this size."""
        both = size.obs_dim + size.act_dim
        critic = RowCost.of(both, size.hidden, 1)
        return Works(RowCost.of(size.obs_dim, size.hidden, 2 * size.act_dim), critic, RowCost.of(both, model.hidden, 1))


def sac_flops(size: Size, works: Works) -> float:
    """Of one SAC update: targets, critic, actor with the critic's gradient by its action."""
    actor, critic = works.actor, works.critic
    targets = actor.all + 2 * critic.all
    by_action = critic.signals + size.act_dim * size.hidden[0]
    return 2.0 * size.batch * (targets + 2 * critic.learn + actor.learn + 2 * by_action)


def reward_flops(works: Works, ensemble: int, labels: int) -> float:
    """Of one gradient of the preference loss on that many labels."""
    return 2.0 * ensemble * works.reward.learn * labels * 2 * SEGMENT


def meta_flops(size: Size, works: Works, ensemble: int) -> float:
    """Of one bilevel step and the update after it: rewards before and after, their gradient, the tangent kernel."""
    rows = 2 * SESSION
    sides = sum(a + b for a, b in itertools.pairwise((size.obs_dim + size.act_dim, *size.hidden, 1)))
    kernel = 2 * size.batch * rows * 2 * sides
    critic = 2 * size.batch * works.critic.signals + 2 * rows * works.critic.signals
    reward = ensemble * size.batch * (2 * works.reward.all + works.reward.learn)
    return sac_flops(size, works) + 2.0 * (kernel + critic + reward)


# ------------------------------------------------------------------------------------------------------- cases


class Bench:
    """Our learner and the plain one at one size, with the same parameters and the same made-up data."""

    def __init__(self, size: Size, seed: int = 0, dtype: torch.dtype = torch.float32) -> None:
        self.size, self.dtype, self.gen = size, dtype, seeding.torch_generator(seed, "bench")
        cfg = sac.SACConfig(hidden=size.hidden, batch_size=size.batch, lr=size.lr)
        self.config = RewardConfig(train_amount=1, stop_accuracy=1.0)
        self.state = sac.create(cfg, size.obs_dim, size.act_dim, [seed], dtype=dtype)
        self.model = RewardModel.create(self.config, size.obs_dim, size.act_dim, [seed], dtype=dtype)
        self.agent, self.reward = ReferenceSAC(self.state, 0), plain.PlainReward(self.model)
        self.mrn = MRN(MRNConfig(form="released", compare=False), self.model, [seed])
        self.works = Works.of(size, self.config)
        self.batch = self.make_batch()

    def draw(self, *shape: int) -> Tensor:
        """Standard normal numbers."""
        return torch.randn(*shape, generator=self.gen, dtype=self.dtype)

    def make_batch(self) -> ReplayBatch:
        """Transitions with a member axis of one."""
        size, discount = self.size, torch.ones(1, self.size.batch, dtype=self.dtype)
        obs, next_obs = (self.draw(1, size.batch, size.obs_dim) for _ in range(2))
        act, rew = torch.tanh(self.draw(1, size.batch, size.act_dim)), self.draw(1, size.batch)
        return ReplayBatch(obs, act, rew, next_obs, discount)

    def make_labels(self, count: int) -> tuple[AnsweredPairs, Tensor]:
        """Random labels, and their segments as [n, 2, L, O + A]."""
        size = self.size
        obs = self.draw(count, 2, SEGMENT, size.obs_dim)
        act = torch.tanh(self.draw(count, 2, SEGMENT, size.act_dim))
        target = torch.randint(2, (count,), generator=self.gen).to(self.dtype)
        return AnsweredPairs(obs.numpy(), act.numpy(), target.numpy()), torch.cat([obs, act], -1)

    def noise(self) -> list[Tensor]:
        """What the plain version draws for a step: trial target, target, actor."""
        return [self.draw(self.size.batch, self.size.act_dim) for _ in range(3)]

    def single(self) -> ReplayBatch:
        """The batch without member axis."""
        return ReplayBatch(*(tensor[0] for tensor in self.batch))

    def cases(self) -> dict[str, MRNCase]:
        """Name -> what to measure."""
        found = {f"reward_pass_{count}": self.reward_pass(count) for count in self.size.labels}
        found |= {"meta_step": self.meta_step(), f"relabel_{RELABELLED}": self.relabel()}
        found |= {"select_queries": self.select()}
        return found | {f"unsupervised_update_{count}": self.unsupervised(count) for count in self.size.seen}

    def reward_pass(self, count: int) -> MRNCase:
        """One pass of the reward model over that many labels."""
        labels, segments = self.make_labels(count)
        target = torch.from_numpy(labels.target)

        def ordinary() -> None:
            orders = [torch.randperm(count, generator=self.gen) for _ in self.reward.nets]
            self.reward.train_pass(segments, target, orders)

        flops = reward_flops(self.works, self.config.ensemble, count)
        return MRNCase(lambda: self.model.fit([labels]), ordinary, flops)

    def meta_step(self) -> MRNCase:
        """A released bilevel step and the update after it, without the supervised gradient, which is only reported."""
        labels, segments = self.make_labels(SESSION)
        target = torch.from_numpy(labels.target)
        ours = LabelBatch(*(torch.from_numpy(array)[None] for array in labels))
        return MRNCase(
            lambda: self.mrn.step(self.state, self.model, self.batch, ours),
            lambda: plain.bilevel_step(self.agent, self.reward, self.single(), segments, target, self.noise()),
            meta_flops(self.size, self.works, self.config.ensemble),
        )

    def relabel(self) -> MRNCase:
        """New rewards for transitions of the replay."""
        obs, act = self.draw(1, RELABELLED, self.size.obs_dim), self.draw(1, RELABELLED, self.size.act_dim)
        rows = torch.cat([obs, act], -1)[0]
        flops = 2.0 * RELABELLED * self.config.ensemble * self.works.reward.all
        return MRNCase(lambda: self.model.reward(obs, act), lambda: self.reward.relabel(rows), flops, RELABELLED)

    def select(self) -> MRNCase:
        """The queries of a session by disagreement. The plain version is given its candidates."""
        size, pool = self.size, SegmentPool(1, POOL_EPISODES)
        steps = 2 * SEGMENT
        for t in range(steps):
            obs, act = self.draw(1, POOL_EPISODES, size.obs_dim), self.draw(1, POOL_EPISODES, size.act_dim)
            ended = np.full((1, POOL_EPISODES), t == steps - 1)
            pool.add(obs.numpy(), act.numpy(), np.zeros((1, POOL_EPISODES), np.float32), ended)
        config, rng = QueryConfig(selector="disagreement", length=SEGMENT), np.random.default_rng(0)
        chooser = Chooser(config, pool, lambda queries: self.model.prob(0, queries))
        candidates = SESSION * config.candidates
        _, segments = self.make_labels(candidates)
        flops = 2.0 * candidates * 2 * SEGMENT * self.config.ensemble * self.works.reward.all
        return MRNCase(
            lambda: chooser.choose(0, SESSION, rng, first=False),
            lambda: self.reward.probabilities(segments).std(0, unbiased=False).topk(SESSION),
            flops,
        )

    def unsupervised(self, count: int) -> MRNCase:
        """An update on the distance to the k-th neighbour among `count` states."""
        seen = torch.cat([self.batch.obs, self.draw(1, count - self.size.batch, self.size.obs_dim)], 1)

        def ours() -> None:
            sac.update(self.state, self.batch._replace(rew=knn_reward(self.batch.obs, seen, NEIGHBOUR)))

        def ordinary() -> None:
            batch = self.single()
            rew = plain.novelty(batch.obs, seen[0], NEIGHBOUR)
            self.agent.update(batch._replace(rew=rew), self.noise()[1:])

        products = 2.0 * self.size.batch * count * self.size.obs_dim
        return MRNCase(ours, ordinary, sac_flops(self.size, self.works) + products)


# -------------------------------------------------------------------------------------------------- measuring


def seconds(call: Callable[[], object]) -> float:
    """How long one call takes."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def matrix_rate(repeats: int = 8) -> float:
    """Multiplications and additions per second in the fastest of some products of large float32 matrices."""
    a, b = torch.ones(MATRIX, MATRIX), torch.ones(MATRIX, MATRIX)
    seconds(lambda: a @ b)
    return 2.0 * MATRIX**3 / min(seconds(lambda: a @ b) for _ in range(repeats))


def measure(case: MRNCase, rate: float, repeats: int) -> dict[str, float]:
    """The fastest turn of ours and of plain, after one that is not counted: what else runs can only add to a time."""
    turns = [(seconds(case.ours), seconds(case.plain)) for _ in range(repeats + 1)][1:]
    ours, ordinary = (min(times) for times in zip(*turns, strict=True))
    floor = case.flops / rate
    return {
        "ms": 1e3 * ours,
        "per_s": case.done / ours,
        "floor_ms": 1e3 * floor,
        "share_of_floor": floor / ours,
        "plain_ms": 1e3 * ordinary,
        "times_faster": ordinary / ours,
    }


def bench(cfg: BenchConfig) -> dict[str, Any]:
    """`coord bench mrn`."""
    return bench_mrn(cfg.sizes, (cfg.threads,) if cfg.threads else (1, 2), cfg.repeats, cfg.seed)


def bench_mrn(
    sizes: Sequence[str] = tuple(SIZES), threads: Sequence[int] = (1, 2), repeats: int = 5, seed: int = 0
) -> dict[str, Any]:
    """All figures as plain JSON: threads -> size -> case -> figures, and which bars are reached.

    Raises:
        UserError: an unknown size.
    """
    for name in sizes:
        if name not in SIZES:
            raise unknown("size", name, SIZES)
    before = torch.get_num_threads()
    found: dict[str, Any] = {}
    try:
        for count in threads:
            torch.set_num_threads(count)
            found[str(count)] = _one_setting(sizes, count, repeats, seed)
    finally:
        torch.set_num_threads(before)
    return {"bench": "mrn", "segment": SEGMENT, "session": SESSION, "repeats": repeats, "threads": found}


def _one_setting(sizes: Sequence[str], threads: int, repeats: int, seed: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in sizes:
        rate, figures = matrix_rate(), {}
        for case_name, case in Bench(SIZES[name], seed).cases().items():
            figures[case_name] = measure(case, rate, repeats) | _context((name, case_name), threads)
            if "bar" in figures[case_name]:
                figures[case_name]["reached"] = figures[case_name]["times_faster"] >= figures[case_name]["bar"]
        found[name] = {"matrix_gflop_per_s": rate / 1e9, **figures}
    return found


def _context(key: tuple[str, str], threads: int) -> dict[str, float]:
    """Bar and official time of a case; both are for one thread."""
    known = {"bar": BARS.get(key, math.nan), "official_ms_elsewhere": OFFICIAL_MS.get(key, math.nan)}
    return {name: value for name, value in known.items() if threads == 1 and not math.isnan(value)}
