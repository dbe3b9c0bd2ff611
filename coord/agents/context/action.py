"""The partner's next action, predicted from its last few (observation, action) pairs (E3T: Yan et al. 2023).

The context is the predictor's softmax over the six actions. Deviations from the published predictor: a step of the
history is the sum of table rows (its facts, seen from the partner's seat, and its action) with a rectifier instead of
three convolutions of 25 filters and three dense layers of 64; one layer of 64 joins the steps, as published.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numba as nb
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from coord.compile_cache import EXACT, FAST
from coord.kernels.fused import ROWS, WIDTH, bag_row
from coord.nets.population import dense, index_bag
from coord.overcooked import IndexSpec
from coord.types import NUM_ACTIONS

if TYPE_CHECKING:
    from coord.agents.views import KitchenView, Seeds

PAD = 32767  # beyond every table
NOW = NUM_ACTIONS  # stands where a past step has its action: the step whose action is asked for

# Kitchens, seats, what was known [n, k + 1, K + 1], and what the partner then did [n].
Labelled = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], None]


# ------------------------------------------------------------------------------------------------- kernels
# For playing: a few dozen rows per call, for which separate tensor operations cost five times as much.


@nb.njit(**EXACT)
def _push(windows, kitchens, seats, other, acts, facts, vocab, out):  # type: ignore[no-untyped-def]
    """Moves the windows [N, P, k + 1, K + 1] of the given seats on by one tick, and copies them to `out`.

    The present of the last tick becomes the past if it was seen and its action is known, else it is lost.
    """
    last = windows.shape[2] - 1
    for i in range(len(kitchens)):
        window = windows[kitchens[i], seats[i]]
        if acts[i] >= 0 and window[last, 0] == vocab + NOW:
            window[last, 0] = vocab + acts[i]
            for k in range(last):
                window[k] = window[k + 1]
        window[last, 0] = vocab + NOW
        for j in range(facts.shape[2]):
            fact = facts[kitchens[i], other[i], j]
            window[last, j + 1] = fact if fact < vocab else PAD
        out[i] = window


@nb.njit(**FAST)
def _softmax_rows(logits, bias, out):  # type: ignore[no-untyped-def]
    """out [n, 6] = softmax(logits + bias)."""
    for r in range(len(logits)):
        top = logits.dtype.type(-np.inf)
        for a in range(NUM_ACTIONS):
            out[r, a] = logits[r, a] + bias[a]
            top = max(top, out[r, a])
        total = logits.dtype.type(0)
        for a in range(NUM_ACTIONS):
            out[r, a] = np.exp(out[r, a] - top)
            total += out[r, a]
        for a in range(NUM_ACTIONS):
            out[r, a] /= total


@nb.njit(**FAST)
def _predict_block(windows, tensors, x, h, part, logits, out):  # type: ignore[no-untyped-def]
    """`ActionPredictor` of one member, [V, 64] and so on, on windows [n, k + 1, K + 1]; step by step of them."""
    table, table_bias, joint, joint_bias, head, head_bias = tensors
    n, steps, entries = windows.shape
    flat_windows, flat_table, flat_x = windows.reshape(-1), table.reshape(-1), x.reshape(-1)
    no_dense, acc = np.empty((0, WIDTH), x.dtype), np.empty(WIDTH, x.dtype)
    h[:] = joint_bias
    for k in range(steps):
        for r in range(n):
            at, o = np.uint64((r * steps + k) * entries), np.uint64(r * WIDTH)
            args = (flat_windows, at, np.uint64(entries), np.uint64(len(table)), acc, flat_x, o)
            bag_row(flat_table, table_bias, no_dense, *args)
        np.dot(x, joint[k].T, part)
        h += part
    for r in range(n):
        for j in range(WIDTH):
            h[r, j] = max(h[r, j], x.dtype.type(0))
    np.dot(h, head.T, logits)
    _softmax_rows(logits, head_bias, out)


@nb.njit(cache=True, fastmath=False, error_model="numpy")
def _predict(windows, member, tensors, out):  # type: ignore[no-untyped-def]
    """The forward pass of `ActionPredictor`, block by block of rows of one member."""
    table, table_bias, joint, joint_bias, head, head_bias = tensors
    x, h = np.empty((ROWS, WIDTH), out.dtype), np.empty((ROWS, WIDTH), out.dtype)
    part, logits = np.empty((ROWS, WIDTH), out.dtype), np.empty((ROWS, NUM_ACTIONS), out.dtype)
    first = 0
    while first < len(windows):
        m, last = member[first], first + 1
        while last < len(windows) and last - first < ROWS and member[last] == m:
            last += 1
        n = last - first
        own = (table[m], table_bias[m], joint[m], joint_bias[m], head[m], head_bias[m])
        _predict_block(windows[first:last], own, x[:n], h[:n], part[:n], logits[:n], out[first:last])
        first = last


# ------------------------------------------------------------------------------------------------- predictor


def _shapes(vocab: int, history: int) -> dict[str, tuple[int, ...]]:
    return {
        "table": (vocab + NUM_ACTIONS + 1, WIDTH),
        "table.bias": (WIDTH,),
        "joint.weight": (history + 1, WIDTH, WIDTH),  # one layer on all steps: a square for each
        "joint.bias": (WIDTH,),
        "head.weight": (NUM_ACTIONS, WIDTH),
        "head.bias": (NUM_ACTIONS,),
    }


def _init(name: str, shape: tuple[int, ...], gen: torch.Generator) -> Tensor:
    """As in `coord.nets`: orthogonal layers, rows that sum to unit variance, no biases, a near-uniform first guess."""
    if name.endswith("bias"):
        return torch.zeros(shape)
    if name == "table":
        return torch.randn(shape, generator=gen) / 12.0**0.5
    if name == "joint.weight":
        flat = nn.init.orthogonal_(torch.empty(WIDTH, shape[0] * WIDTH), gain=2.0**0.5, generator=gen)
        return flat.view(WIDTH, shape[0], WIDTH).transpose(0, 1).contiguous()
    return nn.init.orthogonal_(torch.empty(shape), gain=0.01 if name == "head.weight" else 2.0**0.5, generator=gen)


class ActionPredictor(nn.Module):
    """M predictors; `forward(windows [M, B, k + 1, K + 1]) -> logits [M, B, 6]`.

    A window holds k past steps, oldest first, and the present one. A step is int16: the table row of its action
    (V + action, or V + NOW), then its facts, then PAD; a step that never was is all PAD.
    """

    def __init__(self, tensors: Mapping[str, Tensor], vocab: int, history: int) -> None:
        """tensors: [M, ...] by plain name; vocab: V of the kitchen's facts. Raises ValueError for other shapes."""
        super().__init__()
        self.vocab, self.history = vocab, history
        for name, shape in _shapes(vocab, history).items():
            if tensors[name].shape[1:] != shape:
                raise ValueError(f"'{name}' of a member is {tuple(tensors[name].shape[1:])}, expected {shape}")
            self.register_parameter(name.replace(".", "_"), nn.Parameter(tensors[name].contiguous()))

    @staticmethod
    def create(vocab: int, history: int, gens: Sequence[torch.Generator]) -> ActionPredictor:
        """Fresh ones, each drawn from its own generator."""
        shapes = _shapes(vocab, history)
        drawn = [{name: _init(name, shape, gen) for name, shape in shapes.items()} for gen in gens]
        return ActionPredictor({name: torch.stack([d[name] for d in drawn]) for name in shapes}, vocab, history)

    @property
    def members(self) -> int:
        """M."""
        return int(self.head_bias.shape[0])

    def tensors(self) -> dict[str, Tensor]:
        """Plain name -> [M, ...], detached."""
        return {name: getattr(self, name.replace(".", "_")).detach() for name in _shapes(self.vocab, self.history)}

    def forward(self, windows: Tensor) -> Tensor:
        """Logits [M, B, 6] of the partner's next action."""
        members, batch = windows.shape[:2]
        steps = index_bag(self.table, self.table_bias, windows.flatten(1, 2))  # [M, B * (k + 1), 64]
        weight = self.joint_weight.transpose(1, 2).flatten(2)  # [M, 64, (k + 1) * 64]
        joint = dense(steps.view(members, batch, -1), weight, self.joint_bias, relu=True)
        return dense(joint, self.head_weight, self.head_bias, relu=False)

    def probs(self, windows: np.ndarray, member: np.ndarray) -> NDArray[np.float32]:
        """Probabilities [n, 6] by predictor `member[i]` for windows [n, k + 1, K + 1], in one compiled pass."""
        out = np.empty((len(windows), NUM_ACTIONS), np.float32)
        _predict(windows, member, tuple(tensor.numpy() for tensor in self.tensors().values()), out)
        return out


class PartnerAction:
    """The `Context` of E3T: probabilities of the next action of the seat after the learner's own.

    `on_label` is called with every prediction whose answer became known; training collects its examples there.
    """

    size = NUM_ACTIONS
    kind = "partner_action"

    def __init__(self, net: ActionPredictor, spec: IndexSpec, on_label: Labelled | None = None) -> None:
        self.net, self.spec, self.on_label = net, spec, on_label

    @staticmethod
    def from_tensors(tensors: Mapping[str, Tensor], settings: Mapping[str, Any], spec: IndexSpec) -> PartnerAction:
        """See `coord.agents.context.kinds.build`."""
        return PartnerAction(ActionPredictor(tensors, spec.vocab_size, int(settings["history"])), spec)

    def start(self, num_envs: int, num_players: int, seed: Seeds) -> None:
        """See `Context.start`; nothing is drawn at random."""
        self._block = num_envs // self.net.members
        shape = (num_envs, num_players, self.net.history + 1, self.spec.max_facts + 1)
        self._windows = np.full(shape, PAD, np.int16)

    def begin_episode(self, kitchens: np.ndarray) -> None:
        """See `Context.begin_episode`."""
        self._windows[kitchens] = PAD

    def forget(self, kitchens: np.ndarray) -> None:
        """See `Context.forget`; nothing is kept longer than an episode."""

    def observe(
        self, view: KitchenView, kitchens: np.ndarray, seats: np.ndarray, last_joint_act: np.ndarray
    ) -> NDArray[np.float32]:
        """See `Context.observe`."""
        other = (seats + 1) % view.env.num_players
        acts = last_joint_act[np.arange(len(seats)), other]
        if self.on_label is not None:
            known = np.flatnonzero((acts >= 0) & (self._windows[kitchens, seats, -1, 0] == self.spec.vocab_size + NOW))
            self.on_label(kitchens[known], seats[known], self._windows[kitchens[known], seats[known]], acts[known])
        facts = view.index(self.spec)
        seen = np.empty((len(seats), *self._windows.shape[2:]), np.int16)  # [n, k + 1, K + 1]
        _push(self._windows, kitchens, seats, other, acts, facts, self.spec.vocab_size, seen)
        return self.net.probs(seen, kitchens // self._block)

    def get_state(self) -> dict[str, np.ndarray]:
        """See `Context.get_state`."""
        return {"windows": self._windows.copy()}

    def set_state(self, state: Mapping[str, np.ndarray]) -> None:
        """See `Context.set_state`."""
        self._windows[:] = state["windows"]

    def tensors(self) -> dict[str, Tensor]:
        """See `Context.tensors`."""
        return self.net.tensors()

    def settings(self) -> dict[str, Any]:
        """See `Context.settings`."""
        return {"kind": self.kind, "history": self.net.history}
