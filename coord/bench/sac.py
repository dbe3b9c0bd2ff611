"""Speed of SAC: the figures of `coord bench sac`.

Each case is timed in turns with two other things in the same run: the product of one hidden layer, whose rate times the
operations of an update gives the floor; and an update with the structure of the official code, written here.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions import Normal, TanhTransform, TransformedDistribution
from torch.nn import functional as F

from coord.algos import sac
from coord.bench.config import BenchConfig
from coord.buffers import ReplayBatch, ReplayBuffer
from coord.nets import heads

BUFFER_ROWS = 10_000
REFERENCE = "official-style reference, written here: separate critics, autograd, torch.optim.Adam, member after member"


class SACCase(NamedTuple):
    """A size at which an update is timed."""

    members: int
    hidden: tuple[int, ...]
    batch: int
    obs_dim: int
    act_dim: int


CASES = {
    "walker": SACCase(1, (1024, 1024), 1024, 24, 6),  # as published for DMControl
    "metaworld": SACCase(1, (256, 256, 256), 512, 39, 4),  # as published for Meta-World
    "metaworld_m4": SACCase(4, (256, 256, 256), 512, 39, 4),
    "small": SACCase(1, (128, 128), 128, 24, 6),
    "small_m3": SACCase(3, (128, 128), 128, 24, 6),
}


def bench(cfg: BenchConfig) -> dict[str, Any]:
    """`coord bench sac`."""
    return bench_sac(threads=(cfg.threads,) if cfg.threads else (1, 2), seed=cfg.seed)


def bench_sac(
    cases: dict[str, SACCase] | None = None, *, threads: tuple[int, ...] = (1, 2), seconds: float = 8.0, seed: int = 0
) -> dict[str, Any]:
    """ms per update of every case and thread count with its floor and the reference, plain JSON."""
    before = torch.get_num_threads()
    rows: dict[str, dict[str, Any]] = {}
    for count in threads:
        torch.set_num_threads(count)
        rows[f"threads_{count}"] = {name: time_case(case, seconds, seed) for name, case in (cases or CASES).items()}
    torch.set_num_threads(before)
    return {"bench": "sac", "reference": REFERENCE, **rows}


def time_case(case: SACCase, seconds: float, seed: int) -> dict[str, float]:
    """One update of all members, sampling included; best of several turns. Rates are per member."""
    state, buffer = build(case, seed)
    references = [ReferenceSAC(state, member) for member in range(case.members)]

    def ours() -> None:
        sac.update(state, buffer.sample(case.batch, state.gens))

    def theirs() -> None:
        batch = buffer.sample(case.batch, state.gens)
        for member, reference in enumerate(references):
            reference.update(ReplayBatch(*(part[member] for part in batch)))

    product, operations = hidden_product(case)
    took = best_of((ours, theirs, product), seconds)
    rate = operations / took[2]
    work, ms = update_operations(case), took[0] * 1e3
    return {
        "ms": ms,
        "updates_per_s": case.members / took[0],
        "gflop": work / 1e9,
        "matmul_gflop_per_s": rate / 1e9,
        "floor_ms": work / rate * 1e3,
        "share_of_floor": work / rate / took[0],
        "reference_ms": took[1] * 1e3,
        "times_reference": took[1] / took[0],
    }


def build(case: SACCase, seed: int) -> tuple[sac.SACState, ReplayBuffer]:
    """Fresh learners and a buffer of random transitions."""
    cfg = sac.SACConfig(hidden=case.hidden, batch_size=case.batch)
    state = sac.create(cfg, case.obs_dim, case.act_dim, [seed + m for m in range(case.members)])
    buffer = ReplayBuffer(case.members, BUFFER_ROWS, case.obs_dim, case.act_dim)
    gen = torch.Generator().manual_seed(seed)
    obs, next_obs = torch.randn(2, case.members, BUFFER_ROWS, case.obs_dim, generator=gen)
    act = torch.rand(case.members, BUFFER_ROWS, case.act_dim, generator=gen) * 2 - 1
    rew = torch.rand(case.members, BUFFER_ROWS, generator=gen)
    never = torch.zeros(case.members, BUFFER_ROWS, dtype=torch.bool)
    buffer.add(obs, act, rew, next_obs, never, never)
    return state, buffer


def best_of(calls: tuple[Callable[[], None], ...], seconds: float) -> list[float]:
    """Shortest time of each call in seconds; they take turns for about `seconds`, at least three times each."""
    for call in calls:
        call()
    best = [float("inf")] * len(calls)
    began, turns = time.perf_counter(), 0
    while turns < 3 or time.perf_counter() - began < seconds:
        for i, call in enumerate(calls):
            start = time.perf_counter()
            call()
            best[i] = min(best[i], time.perf_counter() - start)
        turns += 1
    return best


def hidden_product(case: SACCase) -> tuple[Callable[[], None], float]:
    """The product of one hidden layer of all critics, and its operations."""
    width, networks = case.hidden[-1], 2 * case.members
    x, weight = torch.randn(networks, case.batch, width), torch.randn(networks, width, width)
    out = torch.empty_like(x)

    def product() -> None:
        torch.bmm(x, weight, out=out)

    return product, 2.0 * networks * case.batch * width * width


def update_operations(case: SACCase) -> float:
    """Floating-point operations of the matrix products that one update of all members cannot do without."""
    actor = _layer_products(case.obs_dim, case.hidden, 2 * case.act_dim)
    critic = _layer_products(case.obs_dim + case.act_dim, case.hidden, 1)
    below = sum(critic[1:])  # gradients by the inputs of every layer but the first
    by_actor = 2 * sum(actor) + sum(actor) + sum(actor[1:])  # two passes, parameters, inputs
    by_critic = 3 * sum(critic) + (sum(critic) + below)  # three passes, parameters, inputs
    by_smaller = below + case.act_dim * case.hidden[0]  # the actor's gradient comes through one critic per row
    return 2.0 * case.members * case.batch * (by_actor + 2 * by_critic + by_smaller)


def _layer_products(inputs: int, hidden: tuple[int, ...], outputs: int) -> list[int]:
    widths = (inputs, *hidden, outputs)
    return [a * b for a, b in itertools.pairwise(widths)]


# --------------------------------------------------------------------------------------------------- reference


class ReferenceSAC:
    """One member of a state as the official code updates it, for continuous actions without the options of ours.

    Written after the description of B-Pref's agent: two critic networks, a target computed with its graph and then
    detached, an actor loss whose backward pass also fills the critics' gradients, and loops over parameters.
    """

    def __init__(self, state: sac.SACState, member: int) -> None:
        self.cfg, self.count = state.cfg, state.update_step
        own = {name: tensor[member] for name, tensor in state.actor.items()}
        self.actor = _sequential(own)
        self.critic, self.target = (
            nn.ModuleList([_sequential({k: v[member, head] for k, v in net.items()}) for head in range(2)])
            for net in (state.critic, state.target)
        )
        self.log_alpha = state.log_alpha[member].clone().requires_grad_()
        self.target_entropy = state.target_entropy
        self.actor_optim = torch.optim.Adam(self.actor.parameters(), lr=self.cfg.lr)
        self.critic_optim = torch.optim.Adam(self.critic.parameters(), lr=self.cfg.lr)
        self.alpha_optim = torch.optim.Adam([self.log_alpha], lr=self.cfg.alpha_lr)

    def _sample(self, obs: Tensor, noise: Tensor | None) -> tuple[Tensor, Tensor]:
        mean, raw = self.actor(obs).chunk(2, -1)
        low, high = heads.LOG_STD_BOUNDS
        std = (low + 0.5 * (high - low) * (torch.tanh(raw) + 1)).exp()
        dist = TransformedDistribution(Normal(mean, std), TanhTransform(cache_size=1))
        act = dist.rsample() if noise is None else dist.transforms[0](mean + std * noise)
        return act, dist.log_prob(act).sum(-1)

    def _values(self, critics: nn.ModuleList, obs: Tensor, act: Tensor) -> tuple[Tensor, Tensor]:
        x = torch.cat([obs, act], -1)
        return critics[0](x).squeeze(-1), critics[1](x).squeeze(-1)

    def update(self, batch: ReplayBatch, noises: Sequence[Tensor | None] = (None, None)) -> None:
        """One update on [B, ...]; noises: standard normal, for the target's and for the actor's action."""
        self._update_critic(batch, self.next_value(batch.next_obs, noises[0]))
        self._update_actor(batch.obs, noises[1])
        self.count += 1
        if self.count % self.cfg.target_every == 0:
            for target, param in zip(self.target.parameters(), self.critic.parameters(), strict=True):
                target.data.copy_(self.cfg.tau * param.data + (1 - self.cfg.tau) * target.data)

    def next_value(self, next_obs: Tensor, noise: Tensor | None) -> Tensor:
        """Soft value [B] of the target critics, detached."""
        act, logp = self._sample(next_obs, noise)
        value = torch.min(*self._values(self.target, next_obs, act)) - self.log_alpha.exp().detach() * logp
        return value.detach()

    def _update_critic(self, batch: ReplayBatch, next_value: Tensor) -> None:
        y = batch.rew + self.cfg.gamma * batch.discount * next_value
        q1, q2 = self._values(self.critic, batch.obs, batch.act)
        self.critic_optim.zero_grad()
        (F.mse_loss(q1, y) + F.mse_loss(q2, y)).backward()
        self.critic_optim.step()

    def _update_actor(self, obs: Tensor, noise: Tensor | None) -> None:
        act, logp = self._sample(obs, noise)
        value = torch.min(*self._values(self.critic, obs, act))
        self.actor_optim.zero_grad()
        (self.log_alpha.exp().detach() * logp - value).mean().backward()
        self.actor_optim.step()
        self.alpha_optim.zero_grad()
        (self.log_alpha.exp() * (-logp - self.target_entropy).detach()).mean().backward()
        self.alpha_optim.step()


def _sequential(params: dict[str, Tensor]) -> nn.Sequential:
    """A plain copy of one network."""
    modules: list[nn.Module] = []
    for name in [name.removesuffix(".weight") for name in params if name.endswith(".weight")]:
        weight, bias = params[f"{name}.weight"], params[f"{name}.bias"]
        linear = nn.Linear(weight.shape[1], weight.shape[0], dtype=weight.dtype)
        linear.load_state_dict({"weight": weight, "bias": bias})
        modules += [linear, nn.ReLU()]
    return nn.Sequential(*modules[:-1])
