"""Which group of partners the present one belongs to, by attention over what it did lately (PECAN: Lou et al. 2023).

A window is `window` consecutive (observation, action) pairs of the partner. An encoder turns each full window into
log-probabilities of the groups; a partner's windows add up to the evidence of an episode, in which older windows count
less (`MEMORY`). The context is the softmax of the evidence. `update` says which evidence that is:

    episode   of past episodes with this partner: fixed while one lasts (what was released)
    within    of the running episode: renewed with every full window
    both      of either

Deviations from the released encoder: a step is the sum of table rows (its facts, seen from the partner's seat, and its
action) with a rectifier instead of three convolutions; one layer of attention instead of five, with a residual path; an
episode counts with all of its windows, not with its first ten steps, and windows are joined by their log-probabilities,
not by summed features. The softmax of the attention runs over keys, and its weights are parameters like all others
(released: over queries, and missing from the file). `FIRST` leans to the middle group, as in the released code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from coord.nets.population import dense, index_bag, rows_by_member
from coord.overcooked import IndexSpec
from coord.types import NUM_ACTIONS

if TYPE_CHECKING:
    from coord.agents.views import KitchenView, Seeds

GROUPS = ("self", "low", "mid", "high")  # the learner itself, and a pool's agents by their training
UPDATES = ("episode", "within", "both")
FIRST = (0.2, 0.2, 0.4, 0.2)  # before anything was seen
EPISODES = 3  # past episodes that count
MEMORY = 0.9  # what is left of an episode's evidence when a window is added
WIDTH = 64
PAD = 32767  # beyond every table

# Kitchens, seats, and full windows [n, L, K + 1].
Windows = Callable[[np.ndarray, np.ndarray, np.ndarray], None]


def _shapes(vocab: int) -> dict[str, tuple[int, ...]]:
    square = (WIDTH, WIDTH)
    return {
        "table": (vocab + NUM_ACTIONS, WIDTH),
        "table.bias": (WIDTH,),
        "query.weight": square,
        "key.weight": square,
        "value.weight": square,
        "joint.weight": square,
        "joint.bias": (WIDTH,),
        "head.weight": (len(GROUPS), WIDTH),
        "head.bias": (len(GROUPS),),
    }


def _init(name: str, shape: tuple[int, ...], gen: torch.Generator) -> Tensor:
    """As in `coord.nets`: orthogonal layers, rows that sum to unit variance, no biases, a near-uniform first guess."""
    if name.endswith("bias"):
        return torch.zeros(shape)
    if name == "table":
        return torch.randn(shape, generator=gen) / 12.0**0.5
    gain = {"head.weight": 0.01, "joint.weight": 2.0**0.5}.get(name, 1.0)
    return nn.init.orthogonal_(torch.empty(shape), gain=gain, generator=gen)


class GroupEncoder(nn.Module):
    """M encoders; `forward(windows [M, B, L, K + 1]) -> logits [M, B, 4]`.

    A step of a window is int16: the table row of its action (V + action), then its facts, then PAD.
    """

    def __init__(self, tensors: Mapping[str, Tensor], vocab: int) -> None:
        """tensors: [M, ...] by plain name; vocab: V of the kitchen's facts. Raises ValueError for other shapes."""
        super().__init__()
        self.vocab = vocab
        for name, shape in _shapes(vocab).items():
            if tensors[name].shape[1:] != shape:
                raise ValueError(f"'{name}' of a member is {tuple(tensors[name].shape[1:])}, expected {shape}")
            self.register_parameter(name.replace(".", "_"), nn.Parameter(tensors[name].contiguous()))

    @staticmethod
    def create(vocab: int, gens: Sequence[torch.Generator]) -> GroupEncoder:
        """Fresh ones, each drawn from its own generator."""
        shapes = _shapes(vocab)
        drawn = [{name: _init(name, shape, gen) for name, shape in shapes.items()} for gen in gens]
        return GroupEncoder({name: torch.stack([d[name] for d in drawn]) for name in shapes}, vocab)

    @property
    def members(self) -> int:
        """M."""
        return int(self.head_bias.shape[0])

    def tensors(self) -> dict[str, Tensor]:
        """Plain name -> [M, ...], detached."""
        return {name: getattr(self, name.replace(".", "_")).detach() for name in _shapes(self.vocab)}

    def forward(self, windows: Tensor) -> Tensor:
        """Logits [M, B, 4] of the partner's group."""
        members, batch = windows.shape[:2]
        steps, attended = self._attend(windows)
        mixed = (steps + attended).mean(1).view(members, batch, WIDTH)
        joint = dense(mixed, self.joint_weight, self.joint_bias, relu=True)
        return dense(joint, self.head_weight, self.head_bias, relu=False)

    def attention(self, windows: Tensor) -> Tensor:
        """[M, B, L, L]: how much each step (row) takes from each (column); rows sum to 1."""
        return self._weights(self._embed(windows)).view(*windows.shape[:3], windows.shape[2])

    def _embed(self, windows: Tensor) -> Tensor:
        """Steps as [M, B * L, 64], beside the shape that their windows have."""
        return index_bag(self.table, self.table_bias, windows.flatten(1, 2)).unflatten(1, windows.shape[1:3])

    def _weights(self, steps: Tensor) -> Tensor:
        """Softmax over keys of the scaled products, [M * B, L, L], of steps [M, B, L, 64]."""
        query, key = (self._linear(steps, weight) for weight in (self.query_weight, self.key_weight))
        return (query @ key.transpose(1, 2) / WIDTH**0.5).softmax(-1)

    def _attend(self, windows: Tensor) -> tuple[Tensor, Tensor]:
        """Steps and what each takes from all, both [M * B, L, 64]."""
        steps = self._embed(windows)
        return steps.flatten(0, 1), self._weights(steps) @ self._linear(steps, self.value_weight)

    @staticmethod
    def _linear(steps: Tensor, weight: Tensor) -> Tensor:
        """[M, B, L, 64] times a square for each member -> [M * B, L, 64]."""
        return torch.bmm(steps.flatten(1, 2), weight.transpose(1, 2)).view(-1, *steps.shape[2:])


class PartnerGroup:
    """The `Context` of PECAN: probabilities of `GROUPS` for the seat after the learner's own.

    `on_windows` is called with every window that became full; training collects its examples there.
    """

    size = len(GROUPS)
    kind = "partner_group"

    def __init__(
        self, net: GroupEncoder, spec: IndexSpec, *, window: int, update: str, on_windows: Windows | None = None
    ) -> None:
        if update not in UPDATES or window < 1:
            raise ValueError(f"update '{update}' of a window of {window} steps")
        self.net, self.spec, self.window, self.update, self.on_windows = net, spec, window, update, on_windows

    @staticmethod
    def from_tensors(tensors: Mapping[str, Tensor], settings: Mapping[str, Any], spec: IndexSpec) -> PartnerGroup:
        """See `coord.agents.context.kinds.build`."""
        net = GroupEncoder(tensors, spec.vocab_size)
        return PartnerGroup(net, spec, window=int(settings["window"]), update=str(settings["update"]))

    def start(self, num_envs: int, num_players: int, seed: Seeds) -> None:
        """See `Context.start`; nothing is drawn at random."""
        self._block = num_envs // self.net.members
        shape = (num_envs, num_players)
        self._windows = np.full((*shape, self.window, self.spec.max_facts + 1), PAD, np.int16)
        self._filled = np.zeros(shape, np.int64)  # steps of the running window
        self._waiting = np.zeros(shape, np.bool_)  # the next step has its facts, but not yet its action
        self._evidence = np.zeros((*shape, 1 + EPISODES, self.size))  # newest episode first

    def begin_episode(self, kitchens: np.ndarray) -> None:
        """A new episode with the same partner; see `forget`."""
        self._evidence[kitchens, :, 1:] = self._evidence[kitchens, :, :-1]
        self._evidence[kitchens, :, 0] = 0
        self._filled[kitchens] = 0
        self._waiting[kitchens] = False

    def forget(self, kitchens: np.ndarray) -> None:
        """See `Context.forget`."""
        self._evidence[kitchens] = 0

    def observe(
        self, view: KitchenView, kitchens: np.ndarray, seats: np.ndarray, last_joint_act: np.ndarray
    ) -> NDArray[np.float32]:
        """See `Context.observe`."""
        other = (seats + 1) % view.env.num_players
        acts = last_joint_act[np.arange(len(seats)), other]
        known = (acts >= 0) & self._waiting[kitchens, seats]
        self._complete(kitchens[known], seats[known], acts[known])
        full = self._filled[kitchens, seats] == self.window
        if full.any():
            self._weigh(kitchens[full], seats[full])
        facts = view.index(self.spec)[kitchens, other]
        at = self._filled[kitchens, seats]
        self._windows[kitchens, seats, at, 1:] = np.where(facts < self.spec.vocab_size, facts, PAD)
        self._waiting[kitchens, seats] = True
        return self.probabilities(kitchens, seats)

    def _complete(self, kitchens: np.ndarray, seats: np.ndarray, acts: np.ndarray) -> None:
        """Steps whose action became known belong to their windows."""
        self._windows[kitchens, seats, self._filled[kitchens, seats], 0] = self.spec.vocab_size + acts
        self._filled[kitchens, seats] += 1

    def _weigh(self, kitchens: np.ndarray, seats: np.ndarray) -> None:
        """Full windows become evidence."""
        windows = self._windows[kitchens, seats]
        if self.on_windows is not None:
            self.on_windows(kitchens, seats, windows)
        self._filled[kitchens, seats] = 0
        self._evidence[kitchens, seats, 0] *= MEMORY
        self._evidence[kitchens, seats, 0] += self.log_probs(windows, kitchens // self._block)

    @torch.no_grad()
    def log_probs(self, windows: np.ndarray, member: np.ndarray) -> np.ndarray:
        """[n, 4] by encoder `member[i]` of windows [n, L, K + 1]."""
        batch, column = rows_by_member(windows, member, self.net.members)
        return self.net(torch.from_numpy(batch)).log_softmax(-1)[member, column].numpy()

    def probabilities(self, kitchens: np.ndarray, seats: np.ndarray) -> NDArray[np.float32]:
        """[n, 4] what the evidence says at present."""
        seen = self._evidence[kitchens, seats]  # [n, 1 + EPISODES, 4]
        part = {"episode": seen[:, 1:], "within": seen[:, :1], "both": seen}[self.update]
        logits = np.log(FIRST) + part.sum(1)
        weight = np.exp(logits - logits.max(1, keepdims=True))
        return (weight / weight.sum(1, keepdims=True)).astype(np.float32)

    def get_state(self) -> dict[str, np.ndarray]:
        """See `Context.get_state`."""
        return {name: getattr(self, f"_{name}").copy() for name in ("windows", "filled", "waiting", "evidence")}

    def set_state(self, state: Mapping[str, np.ndarray]) -> None:
        """See `Context.set_state`."""
        for name in ("windows", "filled", "waiting", "evidence"):
            getattr(self, f"_{name}")[:] = state[name]

    def tensors(self) -> dict[str, Tensor]:
        """See `Context.tensors`."""
        return self.net.tensors()

    def settings(self) -> dict[str, Any]:
        """See `Context.settings`."""
        return {"kind": self.kind, "window": self.window, "update": self.update}
