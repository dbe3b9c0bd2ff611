"""Plain reward model and bilevel step in the style of the published code: what `coord bench mrn` compares with.

One agent; torch modules, autograd and torch.optim; separate critics; one reward network after the other and one side of
a pair after the other; the bilevel gradient by a graph through a copied critic; nearest neighbours from broadcast
differences. Written for this comparison from the published descriptions; given the same parameters, batches and noise
it computes the same numbers as `coord`, which tests check.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from coord.bench.sac import ReferenceSAC
from coord.buffers import ReplayBatch
from coord.preference.reward.model import RewardModel

CHUNK = 500  # states of the buffer at a time, for distances
RELABEL_CHUNK = 200  # transitions at a time


def _network(params: Mapping[str, Tensor], activation: type[nn.Module]) -> nn.Sequential:
    """A network of dense layers with the given parameters (names as in `coord.nets.mlps`, without leading axes)."""
    names = sorted(name.removesuffix(".weight") for name in params if name.endswith("weight"))  # dense0.., head
    layers: list[nn.Module] = []
    for name in names:
        outputs, inputs = params[f"{name}.weight"].shape
        linear = nn.Linear(inputs, outputs, dtype=params[f"{name}.weight"].dtype)
        linear.weight.data.copy_(params[f"{name}.weight"])
        linear.bias.data.copy_(params[f"{name}.bias"])
        layers += [linear, activation()]
    return nn.Sequential(*layers[:-1])


def _member(params: Mapping[str, Tensor], *index: int) -> dict[str, Tensor]:
    return {name: tensor[index] for name, tensor in params.items()}


class PlainReward:
    """The ensemble of member 0 of a `RewardModel`; tanh."""

    def __init__(self, model: RewardModel) -> None:
        self.batch_size = model.config.batch_size
        networks = [_network(_member(model.params, 0, e), nn.LeakyReLU) for e in range(model.config.ensemble)]
        self.nets = nn.ModuleList(nn.Sequential(net, nn.Tanh()) for net in networks)
        self.optim = torch.optim.Adam(self.nets.parameters(), lr=model.config.lr)

    def mean(self, rows: Tensor) -> Tensor:
        """Reward [B, 1] of rows [B, O + A]."""
        return torch.stack([net(rows) for net in self.nets]).mean(0)

    def train_pass(self, segments: Tensor, target: Tensor, orders: Sequence[Tensor]) -> float:
        """One pass over n labels: segments [n, 2, L, O + A], target [n] 0 or 1, an order [n] per network; accuracy."""
        right = 0
        for first in range(0, len(target), self.batch_size):
            self.optim.zero_grad()
            loss = torch.zeros((), dtype=segments.dtype)
            for net, order in zip(self.nets, orders, strict=True):
                rows = order[first : first + self.batch_size]
                sides = [net(segments[rows, side]).sum(1) for side in range(2)]  # [b, 1] each
                logits = torch.cat(sides, -1)
                loss = loss + F.cross_entropy(logits, target[rows].long())
                right += int((logits.argmax(-1) == target[rows]).sum())
            loss.backward()
            self.optim.step()
        return right / (len(target) * len(self.nets))

    def probabilities(self, segments: Tensor) -> Tensor:
        """P(second better) by each network, [E, C]."""
        found = []
        with torch.no_grad():
            for net in self.nets:
                sides = [net(segments[:, side]).sum(1) for side in range(2)]
                found.append(torch.cat(sides, -1).softmax(-1)[:, 1])
        return torch.stack(found)

    def relabel(self, rows: Tensor) -> Tensor:
        """Rewards [n, 1] of rows [n, O + A], some at a time."""
        with torch.no_grad():
            return torch.cat([self.mean(part) for part in rows.split(RELABEL_CHUNK)])


def bilevel_step(
    agent: ReferenceSAC,
    reward: PlainReward,
    batch: ReplayBatch,
    segments: Tensor,
    target: Tensor,
    noise: Sequence[Tensor],
) -> None:
    """A released bilevel step and the update after it; noise for trial target, update's target and actor."""
    rows = torch.cat([batch.obs, batch.act], -1)
    following = batch.discount * agent.cfg.gamma * agent.next_value(batch.next_obs, noise[0])
    y = reward.mean(rows) + following[:, None]
    critic = copy.deepcopy(agent.critic)
    theta = [dict(net.named_parameters()) for net in critic]
    loss = sum((F.mse_loss(net(rows), y) for net in critic), torch.zeros((), dtype=y.dtype))
    flat = [tensor for params in theta for tensor in params.values()]
    slopes = iter(torch.autograd.grad(loss, flat, create_graph=True))
    stepped = [{name: tensor - agent.cfg.lr * next(slopes) for name, tensor in params.items()} for params in theta]
    outer = torch.zeros((), dtype=y.dtype)
    for net, params in zip(critic, stepped, strict=True):
        logits = [torch.func.functional_call(net, params, (segments[:, side, 0],)) for side in range(2)]
        outer = outer + F.cross_entropy(torch.cat(logits, -1), target.long())
    reward.optim.zero_grad()
    (0.1 * outer).backward()
    reward.optim.step()
    with torch.no_grad():
        rew = reward.mean(rows)[:, 0]
    agent.update(batch._replace(rew=rew), noise[1:])


def novelty(obs: Tensor, seen: Tensor, k: int) -> Tensor:
    """Distance of obs [B, O] to its k-th nearest other state of seen [K, O], [B]."""
    with torch.no_grad():
        parts = [torch.norm(obs[:, None] - part[None], dim=-1) for part in seen.split(CHUNK)]
        return torch.kthvalue(torch.cat(parts, 1), k + 1, dim=1).values
