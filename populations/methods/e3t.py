"""E3T: an ego that trains with a noisy copy of itself and predicts what it will do next (Yan et al., NeurIPS 2023).

One stage and no pool. In each kitchen the ego holds one seat; the other plays the mixture

    pi_partner = (1 - eps) copy + eps uniform,     copy <- (1 - copy_factor) copy + copy_factor ego

whose copy follows the ego's parameters after each update. A predictor reads the partner's last `history` (observation,
action) pairs and its present observation; it learns by cross-entropy what the partner then did, and its softmax is a
context of the ego (`coord.context`). The copy has such a context too: what the same predictor expects of the ego.

Deviations from the paper: index observations and a smaller predictor (`coord.agents.context.action`), which has its
own Adam
and one pass over half of each rollout instead of a term in PPO's loss. What the copy reads, predictions of the ego's
own actions, is no example to learn from: only the partner's noisy behaviour is what the ego has to foresee.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from torch import Tensor

from coord import seeding
from coord.agents.context.action import ActionPredictor, PartnerAction
from coord.algos.ppo import Hooks, PPOState
from coord.context_env import ContextEnv
from coord.errors import UserError
from coord.limits import Count, Share
from coord.nets.population import PopulationNet
from coord.partner_env import LivePartners
from coord.types import NUM_ACTIONS
from populations.methods.auxiliary_classifier import AuxiliaryClassifier
from populations.training import Setup, Training, final_agents, make_kitchens, make_learners, partner_env


@dataclass(frozen=True, kw_only=True)
class E3TConfig:
    """The noisy copy of the ego that is its partner, and the prediction of its next action."""

    eps: Share = 0.5  # share of uniformly random actions in the partner's play, 0..1 (released: .3, cramped_room .7)
    copy_factor: Share = 0.1  # how far the copy moves towards the ego after each update, 0..1
    history: Count = 5  # (observation, action) pairs of the partner that the predictor reads
    predictor_lr: Share = 3e-3  # Adam step size of the predictor
    predictor_share: Share = 0.5  # share of a rollout that it learns from, once, 0..1
    predictor_batch: Count = 400  # examples per minibatch and member


Config = E3TConfig


class NoisyCopy:
    """What E3T adds to PPO: the copy that follows the ego, and how the predictor learns."""

    def __init__(self, state: PPOState, copy: PopulationNet, classifier: AuxiliaryClassifier, cfg: E3TConfig) -> None:
        self.state, self.copy, self.classifier, self.cfg = state, copy, classifier, cfg

    def on_update(self, state: PPOState, metrics: dict[str, Any]) -> None:
        """After every update of the ego."""
        for name, tensor in self.copy.tensors().items():
            tensor.lerp_(state.net.tensors()[name], self.cfg.copy_factor)
        loss, accuracy = self.classifier.learn()
        metrics |= {"method/predictor_loss": loss, "method/predictor_accuracy": accuracy}

    def state_dict(self) -> dict[str, Tensor]:
        """Copy, and predictor with its optimiser and generators."""
        out = {f"copy.{k}": v for k, v in self.copy.tensors().items()}
        return out | {f"classifier.{k}": v for k, v in self.classifier.state_dict().items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Inverse of `state_dict`."""
        for name, tensor in self.copy.tensors().items():
            tensor.copy_(state[f"copy.{name}"])
        self.classifier.load_state_dict({k[11:]: v for k, v in state.items() if k.startswith("classifier.")})


def make(cfg: E3TConfig, setup: Setup) -> Training:
    """See `populations.training.TrainingMethod`; trains alone, without a pool."""
    if setup.partners:
        raise UserError("method=e3t trains with a noisy copy of itself: it takes no partners")
    kitchens = make_kitchens(setup)
    state = make_learners(setup, kitchens, extra=NUM_ACTIONS)
    seeds = [seeding.derive(setup.seed, "predictor", m) for m in range(setup.members)]
    gens = [seeding.torch_generator(seed, "net") for seed in seeds]
    context = PartnerAction(ActionPredictor.create(kitchens.spec.vocab_size, cfg.history, gens), kitchens.spec)
    copy = state.net.select(list(range(setup.members))).requires_grad_(False)
    inner = partner_env(setup, kitchens, LivePartners(copy, cfg.eps, context), "index")
    how: dict[str, Any] = {"lr": cfg.predictor_lr, "share": cfg.predictor_share, "batch": cfg.predictor_batch}
    classifier = AuxiliaryClassifier(context.net, seeds, **how, balanced=False)

    def on_label(kitchens: np.ndarray, seats: np.ndarray, windows: np.ndarray, acts: np.ndarray) -> None:
        mine = seats == inner.ego_seat[kitchens]
        classifier.note(kitchens[mine] // inner.kitchens, windows[mine], acts[mine])

    context.on_label = on_label
    env = ContextEnv(inner, context, seed=setup.seed)
    method = NoisyCopy(state, copy, classifier, cfg)
    agents = partial(final_agents, setup, state, kitchens, context)
    return Training(state, env, agents, Hooks(on_update=method.on_update), method)
