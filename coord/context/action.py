"""The partner's next action, predicted from its last few (observation, action) pairs (E3T: Yan et al. 2023).

The context is the predictor's softmax over the six actions. Deviations from the published predictor: a step of the
history is the sum of table rows (its facts, seen from the partner's seat, and its action) with a rectifier instead of
three convolutions of 25 filters and three dense layers of 64; one layer of 64 joins the steps, as published.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from coord.nets import dense, index_bag, rows_by_member
from coord.overcooked import IndexSpec
from coord.types import NUM_ACTIONS

if TYPE_CHECKING:
    from coord.agents import KitchenView, Seeds

WIDTH = 64
PAD = np.iinfo(np.int16).max  # beyond every table
NOW = NUM_ACTIONS  # stands where a past step has its action: the step whose action is asked for

# Kitchens, seats, what was known [n, k + 1, K + 1], and what the partner then did [n].
Labelled = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], None]


def _shapes(vocab: int, history: int) -> dict[str, tuple[int, ...]]:
    return {
        "table": (vocab + NUM_ACTIONS + 1, WIDTH),
        "table.bias": (WIDTH,),
        "joint.weight": (WIDTH, WIDTH * (history + 1)),
        "joint.bias": (WIDTH,),
        "head.weight": (NUM_ACTIONS, WIDTH),
        "head.bias": (NUM_ACTIONS,),
    }


def _init(name: str, shape: tuple[int, ...], gen: torch.Generator) -> Tensor:
    """As `coord.nets`: orthogonal layers, rows that sum to unit variance, no biases, a nearly uniform first guess."""
    if name.endswith("bias"):
        return torch.zeros(shape)
    if name == "table":
        return torch.randn(shape, generator=gen) / 12.0**0.5
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
        joint = dense(steps.view(members, batch, -1), self.joint_weight, self.joint_bias, relu=True)
        return dense(joint, self.head_weight, self.head_bias, relu=False)


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
        """See `coord.context.kinds.build`."""
        return PartnerAction(ActionPredictor(tensors, spec.vocab_size, int(settings["history"])), spec)

    def start(self, num_envs: int, num_players: int, seed: Seeds) -> None:
        """See `Context.start`; nothing is drawn at random."""
        self._block = num_envs // self.net.members
        shape = (num_envs, num_players, self.net.history + 1, self.spec.max_facts + 1)
        self._windows = np.full(shape, PAD, np.int16)

    def begin_episode(self, kitchens: np.ndarray) -> None:
        """See `Context.begin_episode`."""
        self._windows[kitchens] = PAD

    def observe(
        self, view: KitchenView, kitchens: np.ndarray, seats: np.ndarray, last_joint_act: np.ndarray
    ) -> NDArray[np.float32]:
        """See `Context.observe`."""
        other = (seats + 1) % view.env.num_players
        windows = self._windows[kitchens, seats]  # [n, k + 1, K + 1]
        self._append(windows, kitchens, seats, last_joint_act[np.arange(len(seats)), other])
        facts = view.index(self.spec)[kitchens, other]
        windows[:, -1, 0] = self.spec.vocab_size + NOW
        windows[:, -1, 1:] = np.where(facts < self.spec.vocab_size, facts, PAD)
        self._windows[kitchens, seats] = windows
        return self._predict(windows, kitchens)

    def _append(self, windows: np.ndarray, kitchens: np.ndarray, seats: np.ndarray, acts: np.ndarray) -> None:
        """The present of the last tick becomes the past, if it was seen and its action is known; else it is lost."""
        vocab = self.spec.vocab_size
        known = np.flatnonzero((acts >= 0) & (windows[:, -1, 0] == vocab + NOW))
        if self.on_label is not None:
            self.on_label(kitchens[known], seats[known], windows[known], acts[known])
        windows[known, -1, 0] = vocab + acts[known]
        windows[known, :-1] = windows[known, 1:]

    @torch.no_grad()
    def _predict(self, windows: np.ndarray, kitchens: np.ndarray) -> NDArray[np.float32]:
        member = kitchens // self._block
        batch, column = rows_by_member(windows, member, self.net.members)
        return self.net(torch.from_numpy(batch)).softmax(-1).numpy()[member, column]

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
