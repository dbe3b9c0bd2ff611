"""Arithmetic of the reward networks: forward and backward by hand, the preference loss, crops and Adam.

All functions are pure except where "in place" is said. M members times E ensemble members are G networks that go
through one batched matrix product. A network maps a row (observation, action) to one number: dense layers with leaky
ReLU of slope 0.01, and a last layer that is squashed (B-Pref: tanh). Parameters are named as in `coord.nets.mlps`
(``dense<i>.weight`` [M, E, H, I], ``head.weight`` [M, E, 1, H], ...), and are views of one flat tensor [M, E, P]:
Adam is one call, and a gradient can be added, scaled and measured as one vector per member. Within it weights lie
transposed, inputs first: all three matrix products of a layer then run at their fastest.

Gradients are written out instead of recorded: activations are overwritten by their non-linearity, gradients of a block
of rows are added while they are still in the cache, and the same few buffers serve all blocks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

from coord.nets import mlps
from coord.preference.reward import sparse_rows
from coord.preference.reward.sparse_rows import SparseRows

SLOPE = 0.01  # of the leaky ReLU
OUTPUTS = ("tanh", "sigmoid", "relu", "linear")
# Floats in one layer's activations of a block: a few MB stay in a CPU's cache, fewer rows would slow its matrix
# routines down; a GPU wants few large calls.
BLOCK_FLOATS = {"cpu": 1 << 20, "cuda": 1 << 25}
Layers = Sequence[tuple[Tensor, Tensor]]  # (weight [G, H, I], bias [G, H]) from input to output


# ------------------------------------------------------------------------------------------------ parameters


def size(table: Mapping[str, tuple[int, ...]]) -> int:
    """P, the number of parameters of one network."""
    return sum(torch.Size(shape).numel() for shape in table.values())


def views(flat: Tensor, table: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Name -> view [M, E, ...] of `flat` [M, E, P]; `table` as `mlps.shapes` gives it."""
    parts = flat.split([torch.Size(shape).numel() for shape in table.values()], dim=-1)
    named = zip(table.items(), parts, strict=True)
    return {
        name: part.view(*flat.shape[:2], *shape[::-1]).transpose(2, len(shape) + 1) for (name, shape), part in named
    }


def flatten(tensors: Mapping[str, Tensor]) -> Tensor:
    """[M, S] of a mapping name -> [M, E, ...], member for member; the inverse of `views` for its shapes."""
    first = next(iter(tensors.values()))
    parts = [tensor.transpose(2, tensor.dim() - 1).flatten(2) for tensor in tensors.values()]
    return torch.cat(parts, dim=2).reshape(first.shape[0], -1)


def layers(params: Mapping[str, Tensor]) -> Layers:
    """Weights and biases of the G = M E networks, as views."""
    names = [f"dense{i}" for i in range(mlps.depth(params))] + ["head"]
    pairs = [(params[f"{name}.weight"], params[f"{name}.bias"]) for name in names]
    return [(weight.view(-1, *weight.shape[2:]), bias.view(-1, bias.shape[2])) for weight, bias in pairs]


def init(table: Mapping[str, tuple[int, ...]], gen: torch.Generator) -> Tensor:
    """One network [P] as PyTorch starts a linear layer: weights and biases uniform within 1 / sqrt(inputs)."""
    parts = []
    for name, shape in table.items():
        fan_in = table[name.replace("bias", "weight")][1]
        parts.append((torch.rand(torch.Size(shape).numel(), generator=gen) * 2 - 1) / fan_in**0.5)
    return torch.cat(parts)


# -------------------------------------------------------------------------------------- forward and backward


def _squash(raw: Tensor, output: str) -> Tensor:
    if output == "tanh":
        return raw.tanh()
    if output == "sigmoid":
        return raw.sigmoid()
    return raw.relu() if output == "relu" else raw


def _squash_slope(out: Tensor, output: str) -> Tensor | float:
    """Derivative of the squashing where it gave `out`."""
    if output == "tanh":
        return 1.0 - out * out
    if output == "sigmoid":
        return out * (1.0 - out)
    return (out > 0).to(out.dtype) if output == "relu" else 1.0


class Buffers:
    """Memory that is used again and again: fresh pages for every layer of every block would cost more than the sums."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, torch.Size], Tensor] = {}

    def get(self, name: str, like: Tensor, width: int) -> Tensor:
        """An uninitialised tensor [*like.shape[:2], width]; the same one for the same name and shape."""
        shape = torch.Size((*like.shape[:2], width))
        found = self._kept.get((name, shape))
        if found is None:
            if len(self._kept) > 64:  # shapes that came and went
                self._kept.clear()
            found = self._kept[name, shape] = like.new_empty(shape)
        return found


Rows: TypeAlias = Tensor | SparseRows  # [G, R, I]


def forward(net: Layers, x: Rows, output: str, buffers: Buffers) -> tuple[list[Rows], Tensor]:
    """Rewards [G, R] of rows x [G, R, I], and the inputs of every layer, which `backward` needs.

    The inputs lie in `buffers` and are overwritten by the next call.
    """
    inputs: list[Any] = [x]
    like = x.value if isinstance(x, SparseRows) else x
    for layer, (weight, bias) in enumerate(net[:-1]):
        into = buffers.get(f"layer {layer}", like, weight.shape[1])
        if isinstance(inputs[-1], SparseRows):
            sparse_rows.forward(x, weight.mT, bias, into)
        else:
            torch.baddbmm(bias[:, None], inputs[-1], weight.mT, out=into)
        inputs.append(F.leaky_relu_(into, SLOPE))
    weight, bias = net[-1]
    raw = torch.baddbmm(bias[:, None], inputs[-1], weight.mT).squeeze(2)
    return inputs, _squash(raw, output)


def backward(
    net: Layers,
    grads: Layers,
    inputs: Sequence[Rows],
    out: Tensor,
    cotangent: Tensor,
    output: str,
    buffers: Buffers,
) -> None:
    """Add the gradient of sum(cotangent * out), both [G, R], to `grads`, in place; arguments as `forward` gave them."""
    grad = (cotangent * _squash_slope(out, output)).unsqueeze(2)  # [G, R, 1]
    for layer in range(len(net) - 1, -1, -1):
        by_weight, by_bias = grads[layer]
        if isinstance(x := inputs[layer], SparseRows):
            sparse_rows.add_gradient(x, grad, by_weight.mT)
        else:
            by_weight.mT.baddbmm_(x.mT, grad)
        by_bias.add_(grad.sum(1))
        if layer:
            weight = net[layer][0]
            grad = torch.bmm(grad, weight, out=buffers.get(f"gradient {layer % 2}", grad, weight.shape[2]))
            # A leaky ReLU keeps the sign, so its result tells the slope.
            torch.ops.aten.leaky_relu_backward.grad_input(grad, inputs[layer], SLOPE, True, grad_input=grad)


def block_rows(net: Layers) -> int:
    """Rows per block for this network and device."""
    weight = net[0][0]
    widest = max(w.shape[1] for w, _ in net)
    return max(1, BLOCK_FLOATS.get(weight.device.type, BLOCK_FLOATS["cuda"]) // (weight.shape[0] * widest))


# --------------------------------------------------------------------------------------- the preference loss


def preference_loss(gap: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy of the Bradley-Terry model per pair, in nats; any shape.

    gap: predicted return of the second segment minus that of the first (sums over steps, undiscounted); target:
    probability that the second is better. Equals -t log sigma(gap) - (1 - t) log sigma(-gap).
    """
    return F.softplus(gap) - target * gap


def smoothed(target: Tensor, smoothing: float) -> Tensor:
    """(1 - s) t + s / 2; B-Pref's label margin m is s / 2."""
    return (1.0 - smoothing) * target + 0.5 * smoothing


class NoiseTensors(NamedTuple):
    """How the people who answered err, [G, b, 1] each; see `coord.preference.reward.annotators`."""

    weight: Tensor
    reliability: Tensor
    threshold: Tensor


def answer_loss(gap: Tensor, target: Tensor, tie: Tensor, noise: NoiseTensors) -> tuple[Tensor, Tensor]:
    """Weighted -log P(answer) by Rao and Kupper's model, and its derivative by the gap; any shape.

    tie: where the answer was "equal"; the part of its loss that no gap changes is left out. With reliability 1 and
    threshold 0 this is `preference_loss`, but that a tie counts as two answers, one each way.
    """
    x, c = noise.reliability * gap, noise.threshold
    second, first = F.softplus(c - x), F.softplus(c + x)
    by_second, by_first = -(c - x).sigmoid(), (c + x).sigmoid()
    # -log P(equal) = softplus(-x - c) + softplus(x - c) + const, and softplus(-z) = softplus(z) - z
    loss = torch.where(tie, second + first - 2.0 * c, target * second + (1.0 - target) * first)
    slope = torch.where(tie, by_second + by_first, target * by_second + (1.0 - target) * by_first)
    return noise.weight * loss, noise.weight * noise.reliability * slope


class Crops(NamedTuple):
    """K windows per pair of segments: one length for both sides, each side with its own start."""

    start: Tensor  # [G, b, 2, K]
    length: Tensor  # [G, b, 1, K]

    def select(self, pairs: slice) -> Crops:
        """The windows of some pairs."""
        return Crops(self.start[:, pairs], self.length[:, pairs])


def returns(pred: Tensor, crops: Crops | None) -> Tensor:
    """Sums of the rewards pred [G, b, 2, S] over each window: [G, b, 2, K]; over everything (K = 1) without crops."""
    if crops is None:
        return pred.sum(3, keepdim=True)
    total = F.pad(pred.cumsum(3), (1, 0))
    return total.gather(3, crops.start + crops.length) - total.gather(3, crops.start)


def spread(cotangent: Tensor, crops: Crops | None, steps: int) -> Tensor:
    """The transpose of `returns`: [G, b, 2, K] -> [G, b, 2, steps], summed over the windows that a step is in."""
    if crops is None:
        return cotangent.expand(*cotangent.shape[:3], steps)
    edges = cotangent.new_zeros(*cotangent.shape[:3], steps + 1)
    edges.scatter_add_(3, crops.start, cotangent)
    edges.scatter_add_(3, crops.start + crops.length, -cotangent)
    return edges.cumsum(3)[..., :steps]


# ------------------------------------------------------------------------------------------------------ Adam


class AdamState:
    """Moments of Adam for parameters [M, S], and the number of steps that each member has taken."""

    def __init__(self, mean: Tensor, var: Tensor, count: Tensor) -> None:
        self.mean, self.var, self.count = mean, var, count  # [M, S], [M, S], [M] float32

    @staticmethod
    def zeros(flat: Tensor) -> AdamState:
        """Before the first step of parameters `flat` [M, ...]."""
        rows = flat.flatten(1)
        return AdamState(torch.zeros_like(rows), torch.zeros_like(rows), torch.zeros(rows.shape[0], device=flat.device))

    def tensors(self) -> dict[str, Tensor]:
        """The state by name, to be saved, copied and restored in place."""
        return {"mean": self.mean, "var": self.var, "count": self.count}

    def select(self, members: Tensor) -> AdamState:
        """A copy of these members' state."""
        return AdamState(*(tensor[members] for tensor in self.tensors().values()))

    def assign(self, members: Tensor, part: AdamState) -> None:
        """Write a copy made by `select` back."""
        for mine, theirs in zip(self.tensors().values(), part.tensors().values(), strict=True):
            mine[members] = theirs


@torch.no_grad()
def adam_step(flat: Tensor, grad: Tensor, state: AdamState, lr: float, *, weight_decay: float = 0.0) -> None:
    """One step of Adam (Kingma and Ba 2015; betas 0.9, 0.999, eps 1e-8) per member, in place.

    flat, grad: [M, ...] and contiguous; weight_decay: decoupled, as in AdamW. Members may differ in their step counts.
    """
    state.count += 1
    torch._fused_adamw_(
        *(list(tensor.view(tensor.shape[0], -1)) for tensor in (flat, grad, state.mean, state.var)),
        [],
        list(state.count),
        lr=lr,
        beta1=0.9,
        beta2=0.999,
        weight_decay=weight_decay,
        eps=1e-8,
        amsgrad=False,
        maximize=False,
    )
