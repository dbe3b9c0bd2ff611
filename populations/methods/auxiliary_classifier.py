"""A small classifier that learns beside PPO: one pass over the examples of the last rollout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from coord import seeding
from coord.nets.optim import PopulationAdam


class Classifier(Protocol):
    """M classifiers, an `nn.Module` with `forward(inputs [M, B, ...]) -> logits [M, B, C]`."""

    members: int

    def __call__(self, inputs: Tensor) -> Tensor:
        """Logits [M, B, C]."""

    def tensors(self) -> dict[str, Tensor]:
        """Plain name -> [M, ...], detached."""


class AuxiliaryClassifier:
    """Trains the members' classifiers by cross-entropy; accuracy is measured before anything is learned.

    balanced: in both every class counts the same, however many examples it has.
    """

    MAX_GRAD_NORM = 0.5

    def __init__(
        self, net: Classifier, seeds: Sequence[int], *, lr: float, share: float, batch: int, balanced: bool
    ) -> None:
        """seeds: one per member, for the order of examples; share: of them that is used; batch: size of a minibatch."""
        self.balanced = balanced
        self.net, self.lr, self.share, self.batch = net, lr, share, batch
        self.optim = PopulationAdam(net)
        self.gens = [seeding.torch_generator(seed, "lessons") for seed in seeds]  # the name decides the numbers
        self._seen: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

    def note(self, member: np.ndarray, inputs: np.ndarray, labels: np.ndarray) -> None:
        """Examples for the classifiers of `member` [n]: inputs [n, ...], labels [n]."""
        self._seen.append((member, inputs, labels))

    def learn(self) -> tuple[Tensor, Tensor]:
        """Loss and accuracy [M] of the examples since the last call, which are forgotten; NaN if there were none."""
        nothing = torch.full((self.net.members,), torch.nan)
        if not self._seen:
            return nothing, nothing
        member, inputs, labels = (torch.from_numpy(np.concatenate(part)) for part in zip(*self._seen, strict=True))
        self._seen.clear()
        rows = [torch.nonzero(member == m)[:, 0] for m in range(self.net.members)]
        count = int(self.share * min(map(len, rows)))
        if not count:
            return nothing, nothing
        picked = [torch.randperm(len(r), generator=gen)[:count] for r, gen in zip(rows, self.gens, strict=True)]
        order = torch.stack([r[p] for r, p in zip(rows, picked, strict=True)])  # [M, count]
        history = [self._step(inputs[part], labels[part]) for part in order.split(self.batch, 1)]
        loss, hits = torch.stack(history).mean(0)
        return loss, hits

    def _step(self, inputs: Tensor, labels: Tensor) -> Tensor:
        """One minibatch [M, B, ...]; loss and accuracy before it [2, M]."""
        logits = self.net(inputs)
        weight = class_weights(labels, logits.shape[-1]) if self.balanced else None
        each = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none").view_as(labels)
        loss = _mean(each, weight)
        loss.sum().backward()
        self.optim.step(torch.full((self.net.members,), self.lr), self.MAX_GRAD_NORM)
        return torch.stack([loss.detach(), _mean((logits.argmax(-1) == labels).float(), weight)])

    def state_dict(self) -> dict[str, Tensor]:
        """Networks, optimiser and generators; examples never outlive an update."""
        out = {f"net.{k}": v for k, v in self.net.tensors().items()}
        out |= {f"optim.{k}": v for k, v in self.optim.state_dict().items()}
        return out | {f"gen.{m}": gen.get_state() for m, gen in enumerate(self.gens)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Inverse of `state_dict`."""
        for name, tensor in self.net.tensors().items():
            tensor.copy_(state[f"net.{name}"])
        self.optim.load_state_dict({k[6:]: v for k, v in state.items() if k.startswith("optim.")})
        for m, gen in enumerate(self.gens):
            gen.set_state(state[f"gen.{m}"])


def class_weights(labels: Tensor, classes: int) -> Tensor:
    """[M, B] weights of examples [M, B]: equal sums for all classes that occur, 1 in total for each member."""
    onehot = F.one_hot(labels, classes).float()  # [M, B, C]
    count = onehot.sum(1)
    each = 1 / (count.clamp(min=1) * (count > 0).sum(1, keepdim=True))
    return (onehot @ each[..., None])[..., 0]


def _mean(values: Tensor, weight: Tensor | None) -> Tensor:
    """[M] of values [M, B], weighted if there are weights."""
    return values.mean(1) if weight is None else (weight * values).sum(1)
