"""E3T: an ego that trains with a noisy copy of itself and predicts what it will do next (Yan et al., NeurIPS 2023).

One stage and no pool. In each kitchen the ego holds one seat; the other plays the mixture

    pi_partner = (1 - eps) copy + eps uniform,     copy <- (1 - copy_factor) copy + copy_factor ego

whose copy follows the ego's parameters after each update. A predictor reads the partner's last `history` (observation,
action) pairs and its present observation; it learns by cross-entropy what the partner then did, and its softmax is a
context of the ego (`coord.context`). The copy has such a context too: what the same predictor expects of the ego.

Deviations from the paper: index observations and a smaller predictor (`coord.context.action`), which has its own Adam
and one pass over half of each rollout instead of a term in PPO's loss. What the copy reads, predictions of the ego's
own actions, is no example to learn from: only the partner's noisy behaviour is what the ego has to foresee.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from coord import seeding
from coord.algos.ppo import Hooks, PPOState
from coord.context.action import ActionPredictor, PartnerAction
from coord.context.env import ContextEnv
from coord.errors import UserError
from coord.nets import PopulationNet
from coord.optim import PopulationAdam
from coord.partner_env import LivePartners
from coord.types import NUM_ACTIONS
from populations.training import Setup, Training, final_agents, make_kitchens, make_learners, partner_env


@dataclass(frozen=True, kw_only=True)
class E3TConfig:
    """Fields of configs/method/e3t.yaml, which says what each means."""

    eps: float = 0.5
    copy_factor: float = 0.1
    history: int = 5
    predictor_lr: float = 3e-3
    predictor_share: float = 0.5
    predictor_batch: int = 400

    def __post_init__(self) -> None:
        for name in ("eps", "copy_factor", "predictor_lr", "predictor_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"{name}={getattr(self, name)}: must be between 0 and 1")
        for name in ("history", "predictor_batch"):
            if getattr(self, name) < 1:
                raise UserError(f"{name}={getattr(self, name)}: must be at least 1")


class Lessons:
    """Trains the predictor on what the partners of the last rollout did."""

    MAX_GRAD_NORM = 0.5

    def __init__(self, context: PartnerAction, ego_seat: np.ndarray, seeds: list[int], cfg: E3TConfig) -> None:
        """ego_seat [M * N]: whose predictions are examples; seeds: one per member, for the order of the examples."""
        self.cfg, self.net, self.ego_seat = cfg, context.net, ego_seat
        self.optim = PopulationAdam(self.net)
        self.gens = [seeding.torch_generator(seed, "lessons") for seed in seeds]
        self._block = len(ego_seat) // self.net.members
        self._seen: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        context.on_label = self.note

    def note(self, kitchens: np.ndarray, seats: np.ndarray, windows: np.ndarray, acts: np.ndarray) -> None:
        """See `coord.context.action.Labelled`."""
        mine = seats == self.ego_seat[kitchens]
        self._seen.append((kitchens[mine] // self._block, windows[mine], acts[mine]))

    def learn(self) -> dict[str, Tensor]:
        """One pass over a share of the examples since the last call, which are then forgotten; metrics [M]."""
        member, windows, acts = (torch.from_numpy(np.concatenate(part)) for part in zip(*self._seen, strict=True))
        self._seen.clear()
        rows = [torch.nonzero(member == m)[:, 0] for m in range(self.net.members)]
        count = max(1, int(self.cfg.predictor_share * min(map(len, rows))))
        picked = [torch.randperm(len(r), generator=gen)[:count] for r, gen in zip(rows, self.gens, strict=True)]
        order = torch.stack([r[p] for r, p in zip(rows, picked, strict=True)])  # [M, count]
        history = [self._step(windows[part], acts[part]) for part in order.split(self.cfg.predictor_batch, 1)]
        loss, hits = torch.stack(history).mean(0)
        return {"method/predictor_loss": loss, "method/predictor_accuracy": hits}

    def _step(self, windows: Tensor, acts: Tensor) -> Tensor:
        """One minibatch [M, B, ...]; loss and share of right guesses [2, M]."""
        logits = self.net(windows)
        loss = F.cross_entropy(logits.flatten(0, 1), acts.flatten(), reduction="none").view_as(acts).mean(1)
        loss.sum().backward()
        self.optim.step(torch.full((self.net.members,), self.cfg.predictor_lr), self.MAX_GRAD_NORM)
        return torch.stack([loss.detach(), (logits.argmax(-1) == acts).float().mean(1)])


class NoisyCopy:
    """What E3T adds to PPO: the copy that follows the ego, and the lessons of the predictor."""

    def __init__(self, state: PPOState, copy: PopulationNet, lessons: Lessons, cfg: E3TConfig) -> None:
        self.state, self.copy, self.lessons, self.cfg = state, copy, lessons, cfg

    def on_update(self, state: PPOState, metrics: dict[str, Any]) -> None:
        """After every update of the ego."""
        for name, tensor in self.copy.tensors().items():
            tensor.lerp_(state.net.tensors()[name], self.cfg.copy_factor)
        metrics |= self.lessons.learn()

    def state_dict(self) -> dict[str, Tensor]:
        """Copy, predictor, its optimiser and generators; examples never outlive an update."""
        out = {f"copy.{k}": v for k, v in self.copy.tensors().items()}
        out |= {f"predictor.{k}": v for k, v in self.lessons.net.tensors().items()}
        out |= {f"optim.{k}": v for k, v in self.lessons.optim.state_dict().items()}
        return out | {f"gen.{m}": gen.get_state() for m, gen in enumerate(self.lessons.gens)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Inverse of `state_dict`."""
        for prefix, net in (("copy.", self.copy), ("predictor.", self.lessons.net)):
            for name, tensor in net.tensors().items():
                tensor.copy_(state[prefix + name])
        self.lessons.optim.load_state_dict({k[6:]: v for k, v in state.items() if k.startswith("optim.")})
        for m, gen in enumerate(self.lessons.gens):
            gen.set_state(state[f"gen.{m}"])


def make(cfg: E3TConfig, setup: Setup) -> Training:
    """See `populations.training.Method`; trains alone, without a pool."""
    if setup.partners:
        raise UserError("method=e3t trains with a noisy copy of itself: it takes no partners")
    kitchens = make_kitchens(setup)
    state = make_learners(setup, kitchens, extra=NUM_ACTIONS)
    seeds = [seeding.derive(setup.seed, "predictor", m) for m in range(setup.members)]
    gens = [seeding.torch_generator(seed, "net") for seed in seeds]
    context = PartnerAction(ActionPredictor.create(kitchens.spec.vocab_size, cfg.history, gens), kitchens.spec)
    copy = state.net.select(list(range(setup.members))).requires_grad_(False)
    inner = partner_env(setup, kitchens, LivePartners(copy, cfg.eps, context), "index")
    lessons = Lessons(context, inner.ego_seat, seeds, cfg)
    env = ContextEnv(inner, context, seed=setup.seed)
    method = NoisyCopy(state, copy, lessons, cfg)
    agents = partial(final_agents, setup, state, kitchens, context)
    return Training(state, env, agents, Hooks(on_update=method.on_update), method)
