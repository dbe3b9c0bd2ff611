"""Actor-critic networks with a leading population axis: M independent agents in one forward pass.

Every parameter is a tensor [M, ...]; copying an agent is copying row m of each. M = 1 is the ordinary case, not
another code path.

The first layer of the default network reads *indices* (`coord.overcooked.IndexSpec`): a linear layer on a lossless
kitchen encoding equals the sum of the table rows of its few dynamic facts. Forward is a gather; backward is a
scatter-add whose tasks own disjoint (member, column block) parts of the table, so it needs neither locks nor
reduction and gives the same bits for any number of threads. Behind its indices a row may carry a few dense inputs
(`Arch.extra`, `append_dense`), so that a policy can read what was inferred beside the kitchen.

Architectures (`ARCHS`): ``mlp_index`` (bag, then dense layers), ``mlp_features`` (dense layers on hand-made
features), ``cnn`` (the published Overcooked network: 3 convolutions of 25 filters - 5x5 same, 3x3 same, 3x3 valid,
leaky ReLU - and dense layers of 64; Carroll et al. 2019).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numba as nb
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from coord import memory
from coord.compile_cache import EXACT, FAST
from coord.errors import UserError, unknown
from coord.forks import one_thread_after_fork
from coord.kernels import fused
from coord.kernels.gru import gru
from coord.types import FIXED_POINT, HEADS, NUM_ACTIONS

CNN_CHANNELS = 26
CNN_FILTERS = 25
BLOCK = 64  # columns that the bag kernels handle at a time; the first layer's width is a multiple of it


@dataclass(frozen=True, kw_only=True)
class Arch:
    """What fixes the shape of a network.

    kind: a key of `ARCHS`; inputs: table rows without padding (mlp_index) or features (mlp_features), ignored by
    cnn; board: (W, H) of the encoding, cnn only; hidden: widths of the dense layers; extra: dense inputs at the end
    of an index row (`append_dense`), mlp_index only; memory: width of a GRU between the dense layers and the heads.
    """

    kind: str = "mlp_index"
    inputs: int = 0
    hidden: tuple[int, ...] = (64, 64)
    board: tuple[int, int] = (0, 0)
    extra: int = 0
    memory: int = 0

    def __post_init__(self) -> None:
        if self.kind not in ARCHS:
            raise unknown("network", self.kind, ARCHS)
        object.__setattr__(self, "hidden", tuple(int(h) for h in self.hidden))
        object.__setattr__(self, "board", tuple(int(b) for b in self.board))
        if not self.hidden or min(self.hidden) < 1:
            raise UserError(f"hidden={list(self.hidden)}: a network needs at least one layer, each of width >= 1")
        if self.kind == "mlp_index" and self.hidden[0] % BLOCK:
            raise UserError(f"hidden={list(self.hidden)}: the first width of mlp_index must be a multiple of {BLOCK}")
        if self.extra < 0 or (self.extra and self.kind != "mlp_index"):
            raise UserError(f"extra={self.extra}: dense inputs beside the kitchen are for mlp_index, not {self.kind}")
        if self.memory < 0:
            raise UserError(f"memory={self.memory}: the width of a memory is 0 (none) or more")

    def to_dict(self) -> dict[str, Any]:
        """Plain mapping for JSON; `extra` and `memory` only where there are any: older files stay as they were."""
        return {k: v for k, v in asdict(self).items() if k not in ("extra", "memory") or v}

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> Arch:
        """Inverse of `to_dict`."""
        plain: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        return Arch(**plain)


# ----------------------------------------------------------------------------------------------- index bag


# Flat arrays, unsigned indices, a constant trip count and a local accumulator: each of the four is needed for the
# compiler to emit straight vector code (together 2-10 times faster than the obvious loops over 3-D arrays).
_U = np.uint64
_ROWS_PER_TASK = _U(128)


@nb.njit(**FAST)
def _add_dense(acc, weight, at, width, idx, first, extra):  # type: ignore[no-untyped-def]
    """Adds x_e weight[at + e width :][:BLOCK] for the `extra` fixed-point numbers x_e at idx[first:]."""
    for e in range(extra):
        x = acc.dtype.type(idx[first + _U(e)]) * acc.dtype.type(1 / FIXED_POINT)
        for j in range(BLOCK):
            acc[j] += x * weight[at + _U(e) * width + _U(j)]


@one_thread_after_fork
@nb.njit(parallel=True, **FAST)
def _bag_forward(  # type: ignore[no-untyped-def]
    table, bias, weight, idx, out, members, batch, facts, extra, rows, width
):
    """out[m, b] = relu(bias[m] + sum_k table[m, idx[m, b, k]] + sum_e weight[m, e] x_e).

    The indices end at the first one >= rows; x_e are the last `extra` entries of a row, as fixed-point numbers.
    """
    stride = facts + extra
    tasks = (batch + _ROWS_PER_TASK - _U(1)) // _ROWS_PER_TASK
    for task in nb.prange(members * tasks):
        m = _U(task) // tasks
        first = (_U(task) - m * tasks) * _ROWS_PER_TASK
        acc = np.empty(BLOCK, dtype=out.dtype)
        for b in range(first, min(first + _ROWS_PER_TASK, batch)):
            row_of_b = m * batch + _U(b)
            for j0 in range(_U(0), width, _U(BLOCK)):
                for j in range(BLOCK):
                    acc[j] = bias[m * width + _U(j0) + _U(j)]
                for k in range(facts):
                    row = _U(idx[row_of_b * stride + _U(k)])
                    if row >= rows:
                        break
                    at = (m * rows + row) * width + _U(j0)
                    for j in range(BLOCK):
                        acc[j] += table[at + _U(j)]
                _add_dense(acc, weight, m * extra * width + _U(j0), width, idx, row_of_b * stride + facts, extra)
                for j in range(BLOCK):
                    out[row_of_b * width + _U(j0) + _U(j)] = max(acc[j], out.dtype.type(0))


@one_thread_after_fork
@nb.njit(parallel=True, **FAST)
def _bag_backward(  # type: ignore[no-untyped-def]
    idx, out, grad_out, grad_table, grad_bias, grad_weight, members, batch, facts, extra, rows, width
):
    """Adds the gradient of `_bag_forward`; every task owns BLOCK columns of one member's table."""
    stride, unit = facts + extra, out.dtype.type(1 / FIXED_POINT)
    blocks = width // _U(BLOCK)
    for task in nb.prange(members * blocks):
        m = _U(task) // blocks
        j0 = (_U(task) - m * blocks) * _U(BLOCK)
        g = np.empty(BLOCK, dtype=out.dtype)
        total = np.zeros(BLOCK, dtype=out.dtype)
        for b in range(batch):
            row_of_b = m * batch + _U(b)
            at = row_of_b * width + j0
            for j in range(BLOCK):
                g[j] = grad_out[at + _U(j)] if out[at + _U(j)] > 0 else out.dtype.type(0)
                total[j] += g[j]
            for k in range(facts):
                row = _U(idx[row_of_b * stride + _U(k)])
                if row >= rows:
                    break
                at = (m * rows + row) * width + j0
                for j in range(BLOCK):
                    grad_table[at + _U(j)] += g[j]
            for e in range(extra):
                x = unit * out.dtype.type(idx[row_of_b * stride + facts + _U(e)])
                at = (m * extra + _U(e)) * width + j0
                for j in range(BLOCK):
                    grad_weight[at + _U(j)] += x * g[j]
        for j in range(BLOCK):
            grad_bias[m * width + j0 + _U(j)] += total[j]


def _flat(*tensors: Tensor) -> list[np.ndarray]:
    return [t.detach().view(-1).numpy() for t in tensors]


def _sizes(table_shape: torch.Size, idx: Tensor, extra: int) -> list[np.uint64]:
    """Members, batch, facts, dense inputs, rows and width as the kernels want them."""
    members, batch, entries = idx.shape
    return [_U(n) for n in (members, batch, entries - extra, extra, *table_shape[1:])]


class _IndexBag(torch.autograd.Function):
    """relu(bias + sum of table rows + dense inputs): the first layer of ``mlp_index``."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, bias: Tensor, weight: Tensor, idx: Tensor) -> Tensor:
        out = torch.empty(*idx.shape[:2], table.shape[2], dtype=table.dtype)
        _bag_forward(*_flat(table, bias, weight, idx, out), *_sizes(table.shape, idx, weight.shape[1]))
        ctx.save_for_backward(idx, out)
        ctx.shapes = table.shape, bias.shape, weight.shape
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        idx, out = ctx.saved_tensors
        grad_out = grads[0].contiguous()
        table, bias, weight = (torch.zeros(shape, dtype=grad_out.dtype) for shape in ctx.shapes)
        sizes = _sizes(table.shape, idx, weight.shape[1])
        _bag_backward(*_flat(idx, out, grad_out, table, bias, weight), *sizes)
        return table, bias, weight, None


def index_bag(table: Tensor, bias: Tensor, idx: Tensor, weight: Tensor | None = None) -> Tensor:
    """relu(bias[m] + sum_k table[m, idx[m, b, k]] + sum_e x[m, b, e] weight[m, e]).

    table [M, V, H], bias [M, H], weight [M, E, H] (None: no dense inputs), idx [M, B, K + E] integer: K indices with
    padding >= V at their end, then E fixed-point numbers x (see `append_dense`) -> [M, B, H].
    """
    if weight is None:
        weight = table.new_empty(table.shape[0], 0, table.shape[2])
    return _IndexBag.apply(table.contiguous(), bias.contiguous(), weight.contiguous(), idx.contiguous())


def append_dense(idx: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Rows of indices [..., K] with dense inputs [..., E] in [-1, 1] behind them: int16 [..., K + E]."""
    fixed = np.rint(FIXED_POINT * np.clip(values, -1, 1)).astype(np.int16)
    return np.concatenate([idx, fixed], axis=-1)


def rows_by_member(rows: np.ndarray, member: np.ndarray, members: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows [n, ...] in any order, gathered by the member they belong to.

    Returns: [members, most rows of one member, ...], padded with zeros, and the column [n] of each row in it.
    """
    order = np.argsort(member, kind="stable")
    count = np.bincount(member, minlength=members)
    column = np.empty(len(order), np.int64)
    column[order] = np.arange(len(order)) - (np.cumsum(count) - count)[member[order]]
    batch = np.zeros((members, count.max(initial=0), *rows.shape[1:]), rows.dtype)
    batch[member, column] = rows
    return batch, column


# -------------------------------------------------------------------------------------------- dense layer


class _Dense(torch.autograd.Function):
    """x W^T + b, optionally rectified. Own backward because grad^T x on the narrow heads is six times faster than the
    x^T grad that autograd forms, and because one node replaces four."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, relu: bool) -> Tensor:
        out = torch.baddbmm(bias[:, None], x, weight.transpose(1, 2))
        if relu:
            out.relu_()
        ctx.save_for_backward(x, weight, out if relu else None)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor, Tensor, None]:
        x, weight, out = ctx.saved_tensors
        grad = grads[0] if out is None else torch.ops.aten.threshold_backward(grads[0], out, 0)
        grad_x = torch.bmm(grad, weight) if ctx.needs_input_grad[0] else None
        return grad_x, torch.bmm(grad.transpose(1, 2), x), grad.sum(1), None


def dense(x: Tensor, weight: Tensor, bias: Tensor, *, relu: bool) -> Tensor:
    """A linear layer per member: x [M, B, I], weight [M, O, I], bias [M, O] -> [M, B, O]."""
    return _Dense.apply(x, weight, bias, relu)


# ------------------------------------------------------------------------------------------- action choice


@nb.njit(**EXACT)
def _sample(logits, uniform, act, logp):  # type: ignore[no-untyped-def]
    rows, actions = logits.shape
    for i in range(rows):
        top = logits[i, 0]
        for a in range(1, actions):
            top = max(top, logits[i, a])
        total = 0.0
        for a in range(actions):
            total += math.exp(logits[i, a] - top)
        goal = uniform[i] * total
        chosen = actions - 1
        running = 0.0
        for a in range(actions):
            running += math.exp(logits[i, a] - top)
            if running > goal:
                chosen = a
                break
        act[i] = chosen
        logp[i] = logits[i, chosen] - top - math.log(total)


def sample_actions(logits: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor]:
    """Draws from softmax(logits) by inversion: logits [..., A], uniform [...] in [0, 1) -> act int64, logp [...]."""
    act = torch.empty(logits.shape[:-1], dtype=torch.int64)
    logp = torch.empty(logits.shape[:-1], dtype=torch.float32)
    _sample(
        logits.reshape(-1, logits.shape[-1]).numpy(),
        uniform.reshape(-1).numpy(),
        act.view(-1).numpy(),
        logp.view(-1).numpy(),
    )
    return act, logp


# ----------------------------------------------------------------------------------------------- networks

Shapes = dict[str, tuple[int, ...]]
Views = Mapping[str, Tensor]


def _dense_shapes(inputs: int, hidden: tuple[int, ...]) -> Shapes:
    shapes: Shapes = {}
    for layer, width in enumerate(hidden):
        shapes[f"dense{layer}.weight"] = (width, inputs)
        shapes[f"dense{layer}.bias"] = (width,)
        inputs = width
    return shapes


def _head_shapes(arch: Arch) -> Shapes:
    """The heads, and the memory they read from if there is one."""
    width, gates = arch.hidden[-1], 3 * arch.memory
    if not arch.memory:
        return {"head.weight": (HEADS, width), "head.bias": (HEADS,)}
    return {
        "gru_x.weight": (gates, width),
        "gru_x.bias": (gates,),
        "gru_h.weight": (gates, arch.memory),
        "gru_h.bias": (gates,),
        "head.weight": (HEADS, arch.memory),
        "head.bias": (HEADS,),
    }


def _mlp_index_shapes(arch: Arch) -> Shapes:
    first, rest = arch.hidden[0], arch.hidden[1:]
    return {
        "table": (arch.inputs, first),
        "table.bias": (first,),
        **_dense_shapes(first, rest),
        **_head_shapes(arch),
        # Last, so that the other parameters are drawn as if there were no dense inputs.
        **({"extra.weight": (arch.extra, first)} if arch.extra else {}),
    }


def _mlp_features_shapes(arch: Arch) -> Shapes:
    return {**_dense_shapes(arch.inputs, arch.hidden), **_head_shapes(arch)}


def _cnn_shapes(arch: Arch) -> Shapes:
    kernels = ((CNN_CHANNELS, 5), (CNN_FILTERS, 3), (CNN_FILTERS, 3))
    shapes: Shapes = {}
    for layer, (channels, size) in enumerate(kernels):
        shapes[f"conv{layer}.weight"] = (CNN_FILTERS, channels, size, size)
        shapes[f"conv{layer}.bias"] = (CNN_FILTERS,)
    flat = CNN_FILTERS * (arch.board[0] - 2) * (arch.board[1] - 2)
    return {**shapes, **_dense_shapes(flat, arch.hidden), **_head_shapes(arch)}


def _heads(views: Views, x: Tensor) -> Tensor:
    return dense(x, views["head.weight"], views["head.bias"], relu=False)


def _mlp(views: Views, layers: int, x: Tensor) -> Tensor:
    for layer in range(layers):
        x = dense(x, views[f"dense{layer}.weight"], views[f"dense{layer}.bias"], relu=True)
    return x


def _mlp_index_trunk(views: Views, arch: Arch, obs: Tensor) -> Tensor:
    x = index_bag(views["table"], views["table.bias"], obs, views.get("extra.weight"))
    return _mlp(views, len(arch.hidden) - 1, x)


def _mlp_features_trunk(views: Views, arch: Arch, obs: Tensor) -> Tensor:
    return _mlp(views, len(arch.hidden), obs.to(views["dense0.weight"].dtype))


def _convolve(views: Views, member: int, x: Tensor) -> Tensor:
    """The three convolutions of one member on boards [B, 26, W, H], flattened to [B, features]."""
    for layer, padding in enumerate((2, 1, 0)):
        weight, bias = views[f"conv{layer}.weight"][member], views[f"conv{layer}.bias"][member]
        x = F.leaky_relu(F.conv2d(x, weight, bias, padding=padding))
    return x.flatten(1)


def _cnn_trunk(views: Views, arch: Arch, obs: Tensor) -> Tensor:
    """obs [M, B, W, H, 26]; member by member, because grouped convolutions are twice as slow on a CPU."""
    boards = obs.to(views["conv0.weight"].dtype).permute(0, 1, 4, 2, 3)
    x = torch.stack([_convolve(views, m, boards[m]) for m in range(obs.shape[0])])
    for layer in range(len(arch.hidden)):
        x = F.leaky_relu(dense(x, views[f"dense{layer}.weight"], views[f"dense{layer}.bias"], relu=False))
    return x


@dataclass(frozen=True)
class _Kind:
    shapes: Callable[[Arch], Shapes]
    trunk: Callable[[Views, Arch, Tensor], Tensor]
    obs: str  # which observation of a kitchen it reads: "index", "features" or "lossless"


ARCHS: dict[str, _Kind] = {
    "mlp_index": _Kind(_mlp_index_shapes, _mlp_index_trunk, "index"),
    "mlp_features": _Kind(_mlp_features_shapes, _mlp_features_trunk, "features"),
    "cnn": _Kind(_cnn_shapes, _cnn_trunk, "lossless"),
}


def param_shapes(arch: Arch) -> Shapes:
    """Name -> shape of one member's parameters, in the order in which `flat` holds them."""
    return ARCHS[arch.kind].shapes(arch)


def _init_tensor(name: str, shape: tuple[int, ...], gen: torch.Generator) -> Tensor:
    """Orthogonal with gain sqrt(2) (policy head 0.01, value head 1, each gate of a memory 1), biases zero."""
    if name.endswith("bias"):
        return torch.zeros(shape)
    if name == "table":
        # About a dozen rows are summed, so this keeps the variance of the sum near one.
        return torch.randn(shape, generator=gen) / math.sqrt(12.0)
    tensor = torch.empty(shape)
    if name.startswith("gru"):
        return torch.cat([nn.init.orthogonal_(gate, generator=gen) for gate in torch.empty(shape).chunk(3)])
    if name == "head.weight":
        nn.init.orthogonal_(tensor, generator=gen)
        tensor[:NUM_ACTIONS] *= 0.01
        return tensor
    return nn.init.orthogonal_(tensor, gain=math.sqrt(2.0), generator=gen)


class PopulationNet(nn.Module):
    """M actor-critics of one `Arch`; `forward(obs [M, B, ...]) -> (logits [M, B, 6], val [M, B])`.

    Parameters are registered under names with "_" for "."; `tensors()` gives them by their plain names.
    """

    def __init__(self, arch: Arch, tensors: Mapping[str, Tensor]) -> None:
        """tensors: plain name -> [M, ...] for every name of `param_shapes(arch)`."""
        super().__init__()
        self.arch = arch
        for name, shape in param_shapes(arch).items():
            if name not in tensors or tuple(tensors[name].shape[1:]) != shape:
                got = tuple(tensors[name].shape) if name in tensors else "nothing"
                raise UserError(f"parameter '{name}': expected [M, {', '.join(map(str, shape))}], got {got}")
            self.register_parameter(name.replace(".", "_"), nn.Parameter(tensors[name].contiguous()))

    @staticmethod
    def create(arch: Arch, gens: list[torch.Generator]) -> PopulationNet:
        """Fresh members, each initialised by its own generator, so that member m does not depend on M."""
        shapes = param_shapes(arch)
        numbers = len(gens) * sum(math.prod(shape) for shape in shapes.values())
        memory.check({f"networks of {len(gens)} members": numbers * memory.FLOAT}, "lower members or hidden")
        drawn = [{name: _init_tensor(name, shape, gen) for name, shape in shapes.items()} for gen in gens]
        return PopulationNet(arch, {name: torch.stack([d[name] for d in drawn]) for name in shapes})

    @staticmethod
    def stack(nets: list[PopulationNet]) -> PopulationNet:
        """One population out of several of equal architecture."""
        archs = {net.arch for net in nets}
        if len(archs) != 1:
            raise UserError(f"cannot stack networks of different architectures: {sorted(map(str, archs))}")
        return PopulationNet(
            nets[0].arch, {k: torch.cat([net.tensors()[k] for net in nets]) for k in nets[0].tensors()}
        )

    def tensors(self) -> dict[str, Tensor]:
        """Plain name -> [M, ...], detached."""
        return {name: getattr(self, name.replace(".", "_")).detach() for name in param_shapes(self.arch)}

    def select(self, members: list[int]) -> PopulationNet:
        """A new population holding copies of these members, in this order."""
        return PopulationNet(self.arch, {k: v[members].clone() for k, v in self.tensors().items()})

    @property
    def members(self) -> int:
        """M."""
        return int(self.head_bias.shape[0])

    @property
    def obs_kind(self) -> str:
        """Which observation it reads: index, features or lossless."""
        return ARCHS[self.arch.kind].obs

    @property
    def is_fused(self) -> bool:
        """Whether the kernels of `coord.kernels.fused` know this architecture."""
        return not self.arch.memory and fused.fits(self.arch.kind, self.arch.hidden)

    def outputs(self, obs: Tensor) -> Tensor:
        """Logits and value in one tensor [M, B, 7]."""
        if self.arch.memory:
            raise ValueError("a network with a memory is asked tick after tick: see `remember`")
        if self.is_fused and not torch.is_grad_enabled():
            return fused.forward(self.tensors(), obs)
        views = self._views()
        return _heads(views, ARCHS[self.arch.kind].trunk(views, self.arch, obs))

    def remember(self, obs: Tensor, start: Tensor, keep: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and value [M, T, B, 7], and states of the memory [M, T, B, H], over T ticks.

        obs [M, T, B, ...]; start [M, B, H]: the memory before the first tick; keep [M, T, B] bool: False at the first
        tick of an episode, where it is emptied.
        """
        views, shape = self._views(), keep.shape
        x = ARCHS[self.arch.kind].trunk(views, self.arch, obs.flatten(1, 2))
        gx = dense(x, views["gru_x.weight"], views["gru_x.bias"], relu=False).unflatten(1, shape[1:])
        states = gru(gx, views["gru_h.weight"], views["gru_h.bias"], start, keep)
        return _heads(views, states.flatten(1, 2)).unflatten(1, shape[1:]), states

    def tick(self, obs: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """`remember` for one tick: obs [M, B, ...] and the memory [M, B, H] -> out [M, B, 7], the memory after it."""
        out, states = self.remember(obs[:, None], hidden, torch.ones(*hidden.shape[:2], dtype=torch.bool)[:, None])
        return out[:, 0], states[:, 0]

    def _views(self) -> Views:
        return {name: getattr(self, name.replace(".", "_")) for name in param_shapes(self.arch)}

    def forward(self, obs: Tensor) -> tuple[Tensor, Tensor]:
        """Logits [M, B, 6] and values [M, B] of observations [M, B, ...]."""
        out = self.outputs(obs)
        return out[..., :NUM_ACTIONS], out[..., NUM_ACTIONS]
