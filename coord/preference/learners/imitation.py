"""The first step of learning from human feedback: policies that do what people did, to start from and to stay near.

Networks on index observations learn the games of the train half by cross-entropy with a small entropy bonus, which
keeps every action possible, as a later KL divergence from them needs. Part of these games is held back to watch the
loss on; the test half, from which the human proxy is made, is never read.

M members (seeds) learn side by side, and a killed training goes on from its last epoch, bit for bit. Unlike the clones
of `coord.algos.bc` the networks are those that PPO trains, and they have no rule against getting stuck.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from coord import seeding
from coord.algos import bc
from coord.algos.bc import Demonstrations
from coord.algos.ppo import Hooks
from coord.errors import Diverged
from coord.limits import Count, NotNegative, ShareAboveZero, ShareBelowOne
from coord.nets.optim import PopulationAdam
from coord.nets.population import Arch, PopulationNet
from coord.overcooked import Layout, OvercookedVectorEnv

SPLIT = "train"  # of the human games; the other half is for evaluation only


@dataclass(frozen=True, kw_only=True)
class ImitationConfig:
    """Cloning of the train half of the human games."""

    epochs: Count = 12  # passes over the games; more of them learn the games by heart
    batch_size: Count = 256  # decisions per Adam step
    lr: ShareAboveZero = 1e-3  # Adam step size
    ent_coef: NotNegative = 0.01  # entropy bonus, which keeps every action possible, 0...05
    val_fraction: ShareBelowOne = 0.15  # share of these games that is held back to watch the loss on


@dataclass(frozen=True)
class HumanGames:
    """What people did, split by game; what is learned from never changes."""

    fit: Demonstrations
    held: Demonstrations  # not learned from

    def get_state(self) -> dict[str, np.ndarray]:
        """Nothing: games are read anew."""
        return {}

    def set_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Nothing to restore."""


def read_games(layout: Layout, cfg: ImitationConfig, seed: int) -> HumanGames:
    """The train half on a layout, as networks on indices see it.

    Raises:
        UserError: a layout without human games, or a `val_fraction` that leaves none to learn from.
    """
    demos = bc.load_demonstrations(bc.recorded_layout(layout), SPLIT, "index")
    held = bc.held_back(demos, cfg.val_fraction, seed)
    return HumanGames(demos.rows(~held), demos.rows(held))


def arch_of(layout: Layout, rules: str, hidden: tuple[int, ...]) -> Arch:
    """The network that reads the index observation of a layout."""
    return Arch(kind="mlp_index", inputs=OvercookedVectorEnv(layout, 1, rules=rules).spec.vocab_size, hidden=hidden)


@dataclass(frozen=True)
class StepBudget:
    """How long the learners learn; a step is one recorded decision."""

    total_steps: int


@dataclass
class Imitators:
    """M policies on their way; everything that changes is in `state_dict`."""

    config: ImitationConfig
    net: PopulationNet
    optim: PopulationAdam
    gens: list[torch.Generator]  # one per member: the order of the rows
    rows: int  # decisions per epoch
    epoch: int = 0
    cfg: StepBudget = field(init=False)

    def __post_init__(self) -> None:
        self.cfg = StepBudget(self.config.epochs * self.rows)

    @staticmethod
    def create(config: ImitationConfig, arch: Arch, seeds: list[int], rows: int) -> Imitators:
        """Fresh networks; member m depends on seeds[m] only."""
        net = PopulationNet.create(arch, [seeding.torch_generator(seed, "imitation", "init") for seed in seeds])
        gens = [seeding.torch_generator(seed, "imitation", "order") for seed in seeds]
        return Imitators(config, net, PopulationAdam(net, eps=1e-8), gens, rows)

    @property
    def members(self) -> int:
        """M."""
        return self.net.members

    @property
    def env_step(self) -> int:
        """Decisions learned from per member, repeats counted."""
        return self.epoch * self.rows

    def state_dict(self) -> dict[str, Tensor]:
        """Flat mapping of tensors; `load_state_dict` restores it exactly."""
        net = {f"net.{k}": v for k, v in self.net.tensors().items()}
        optim = {f"optim.{k}": v for k, v in self.optim.state_dict().items()}
        gens = {f"gen.{m}": gen.get_state() for m, gen in enumerate(self.gens)}
        return net | optim | gens | {"epoch": torch.tensor(self.epoch)}

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Inverse of `state_dict`."""
        for name, tensor in self.net.tensors().items():
            tensor.copy_(state[f"net.{name}"])
        self.optim.load_state_dict({k[6:]: v for k, v in state.items() if k.startswith("optim.")})
        for m, gen in enumerate(self.gens):
            gen.set_state(state[f"gen.{m}"])
        self.epoch = int(state["epoch"])


def imitation_loss(logits: Tensor, acts: Tensor, ent_coef: float) -> tuple[Tensor, Tensor]:
    """Cross-entropy of `acts` [M, B] minus ent_coef times the entropy, and the cross-entropy alone, [M] each."""
    logp = logits.log_softmax(-1)  # [M, B, 6]
    cross = -logp.gather(-1, acts[..., None])[..., 0].mean(1)
    ent = -(logp.exp() * logp).sum(-1).mean(1)
    return cross - ent_coef * ent, cross


def learn_epoch(state: Imitators, demos: Demonstrations) -> Tensor:
    """One pass over the rows, every member in an order of its own; mean cross-entropy [M]."""
    config = state.config
    features, acts = torch.from_numpy(demos.features), torch.from_numpy(demos.acts)
    lr = torch.full((state.members,), config.lr)
    order = torch.stack([torch.randperm(len(acts), generator=gen) for gen in state.gens])  # [M, n]
    total = torch.zeros(state.members)
    for batch in order.split(config.batch_size, dim=1):
        loss, cross = imitation_loss(state.net(features[batch])[0], acts[batch], config.ent_coef)
        loss.sum().backward()
        state.optim.step(lr, max_grad_norm=float("inf"))
        total += cross.detach() * batch.shape[1]
    state.epoch += 1
    return total / len(acts)


@torch.no_grad()
def judge(net: PopulationNet, demos: Demonstrations) -> dict[str, Tensor]:
    """Cross-entropy [M] and accuracy [M] on rows that it did not learn from; nothing without rows."""
    if not len(demos.acts):
        return {}
    obs = torch.from_numpy(demos.features)[None].expand(net.members, -1, -1)
    acts = torch.from_numpy(demos.acts).expand(net.members, -1)
    logits = net(obs)[0]
    right = (logits.argmax(-1) == acts).float().mean(1)
    return {"eval/bc_loss": imitation_loss(logits, acts, 0.0)[1], "eval/bc_accuracy": right}


def train(state: Imitators, games: HumanGames, hooks: Hooks) -> Imitators:
    """All epochs; continues from wherever `state` is.

    Raises:
        Diverged: the loss is not finite.
    """
    while state.epoch < state.config.epochs and not hooks.should_stop(state):
        loss = learn_epoch(state, games.fit)
        if not bool(torch.isfinite(loss).all()):
            raise Diverged(f"train/bc_loss is not finite in epoch {state.epoch}")
        metrics: dict[str, Any] = {"train/bc_loss": loss, **judge(state.net, games.held)}
        hooks.on_update(state, metrics)
    return state
