"""Proximal policy optimisation with a Gaussian head over the population axis, for control tasks.

Clipped surrogate with GAE (Schulman et al. 2017) in the settings of B-Pref's PrefPPO (Lee et al. 2021): observations
normalised by running statistics, a value loss without clipping, a clip range that falls to zero. Losses are per
member, [M]; members share no parameter, so each gets exactly its own gradient, clipped by its own norm.

The loop is not here: whoever owns the environments fills a `Rollout` (act [T, M, B, A], obs normalised) and calls
`update`.

Deviations from B-Pref: noise is drawn anew for every action with a deviation that does not depend on the state, where
B-Pref uses state-dependent exploration (gSDE); hidden layers are ReLU, not tanh; time limits bootstrap (`time_limit`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

import torch
from annotated_types import Ge, Le
from torch import Tensor

from coord import seeding
from coord.errors import Diverged, UserError
from coord.limits import Count, NotNegative, Positive, Share, Widths
from coord.nets import mlps
from coord.nets.mlps import Params
from coord.nets.optim import FusedAdam
from coord.returns import TIME_LIMITS
from coord.rollout import Rollout, advantages

OBS_CLIP = 10.0  # normalised observations stay within
HEAD_SCALE = 0.01  # of the policy's last layer at the start, so that first actions are nearly noise alone
_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


@dataclass(frozen=True, kw_only=True)
class PPOContinuousConfig:
    """Hyper-parameters; the defaults are those published for DMControl's walker."""

    rollout_len: Count = 500  # steps per environment and rollout, 250..500
    batch_size: Count = 64  # rows per minibatch and member, 64..256
    num_epochs: Count = 20  # passes over a rollout
    pretraining_epochs: Count = 50  # the same during unsupervised pretraining
    lr: Share = 5e-5  # Adam step size, 3e-5..1e-3
    gamma: Share = 0.99  # discount
    gae_lambda: Share = 0.92  # .9...97
    clip_coef: NotNegative = 0.4  # clip range of the ratio at the start
    clip_final: Share = 0.0  # share of it that is left at the end
    vf_coef: NotNegative = 0.5  # weight of the value loss
    ent_coef: NotNegative = 0.0  # entropy bonus
    max_grad_norm: Positive = 0.5  # per member
    init_log_std: Annotated[float, Ge(-20), Le(20)] = 0.0  # logarithm of the action noise at the start
    time_limit: str = "bootstrap"  # what follows a time limit: bootstrap | terminate
    hidden: Widths = (256, 256, 256)  # widths of the hidden layers of policy and value

    def __post_init__(self) -> None:
        object.__setattr__(self, "hidden", tuple(self.hidden))
        if self.time_limit not in TIME_LIMITS:
            raise UserError(f"time_limit={self.time_limit}: allowed are {', '.join(TIME_LIMITS)}")


# ------------------------------------------------------------------------------------------------ pure maths


def log_density(mean: Tensor, log_std: Tensor, act: Tensor) -> Tensor:
    """log N(act; mean, std) [M, B] of act, mean [M, B, A] and log_std [M, A]."""
    scaled = (act - mean) / log_std.exp()[:, None]
    return -(0.5 * scaled.square() + log_std[:, None] + _HALF_LOG_2PI).sum(-1)


def entropy(log_std: Tensor) -> Tensor:
    """Of the Gaussian in nats, [M]."""
    return (log_std + 0.5 + _HALF_LOG_2PI).sum(-1)


def policy_loss(logp: Tensor, old_logp: Tensor, adv: Tensor, clip_coef: float) -> Tensor:
    """Clipped surrogate, mean over each member's rows [M]; arguments [M, B]."""
    ratio = (logp - old_logp).exp()
    return -torch.minimum(ratio * adv, ratio.clamp(1 - clip_coef, 1 + clip_coef) * adv).mean(1)


def value_loss(val: Tensor, ret: Tensor) -> Tensor:
    """Mean square error [M]; arguments [M, B]."""
    return (val - ret).square().mean(1)


def clipped(grads: Mapping[str, Tensor], max_norm: float) -> tuple[dict[str, Tensor], Tensor]:
    """Gradients [M, ...] scaled so that no member's norm exceeds max_norm, and the norms before [M]."""
    norm = torch.stack([grad.flatten(1).square().sum(1) for grad in grads.values()]).sum(0).sqrt()
    scale = (max_norm / (norm + 1e-8)).clamp(max=1.0)
    return {k: g * scale.view(-1, *[1] * (g.dim() - 1)) for k, g in grads.items()}, norm


# ------------------------------------------------------------------------------------------------------ state


@dataclass
class Normaliser:
    """Running mean and variance of each member's observations (Chan et al. 1979, parallel form)."""

    mean: Tensor  # [M, O]
    var: Tensor  # [M, O]
    count: Tensor  # []

    def update(self, obs: Tensor) -> None:
        """Takes in obs [M, B, O]."""
        fresh, rows = obs.to(self.mean), obs.shape[1]
        mean, var = fresh.mean(1), fresh.var(1, unbiased=False)
        total = self.count + rows
        gap = mean - self.mean
        self.mean = self.mean + gap * rows / total
        self.var = (self.var * self.count + var * rows + gap.square() * self.count * rows / total) / total
        self.count = total

    def __call__(self, obs: Tensor) -> Tensor:
        """obs [M, B, O] with mean 0 and variance 1, clipped."""
        scaled = (obs - self.mean[:, None]) / (self.var[:, None] + 1e-8).sqrt()
        return scaled.clamp(-OBS_CLIP, OBS_CLIP).float()


@dataclass
class PPOContinuousState:
    """Everything that training changes, except the environments."""

    cfg: PPOContinuousConfig
    params: Params  # actor.*, critic.* [M, ...] and log_std [M, A]
    norm: Normaliser
    gens: list[torch.Generator]  # one per member: action noise and minibatch order
    seeds: list[int]  # one per member: where a new value head comes from
    value_resets: int = 0
    optim: FusedAdam = field(init=False)

    def __post_init__(self) -> None:
        self.optim = FusedAdam(self.params)

    def state_dict(self) -> dict[str, Tensor]:
        """Flat mapping of tensors; `load_state_dict` restores it exactly."""
        out = {f"params.{k}": v for k, v in self.params.items()}
        out |= {f"optim.{k}": v for k, v in self.optim.tensors().items()}
        out |= {f"gen.{m}": gen.get_state() for m, gen in enumerate(self.gens)}
        out |= {"norm.mean": self.norm.mean, "norm.var": self.norm.var, "norm.count": self.norm.count}
        return out | {"value_resets": torch.tensor(self.value_resets)}

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Inverse of `state_dict`; KeyError if a tensor is missing."""
        for name, tensor in self.params.items():
            tensor.copy_(state[f"params.{name}"])
        for name, tensor in self.optim.tensors().items():
            tensor.copy_(state[f"optim.{name}"])
        for m, gen in enumerate(self.gens):
            gen.set_state(state[f"gen.{m}"])
        self.norm = Normaliser(state["norm.mean"], state["norm.var"], state["norm.count"])
        self.value_resets = int(state["value_resets"])


def part(params: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """The tensors of one network, "actor" or "critic"."""
    return {k[len(name) + 1 :]: v for k, v in params.items() if k.startswith(f"{name}.")}


def create(cfg: PPOContinuousConfig, obs_dim: int, act_dim: int, seeds: list[int]) -> PPOContinuousState:
    """A population with one member per seed; a member depends on its own seed only."""
    table = mlps.shapes(obs_dim, cfg.hidden, act_dim)
    actor = mlps.stack([mlps.init(table, seeding.torch_generator(seed, "ppo", "actor")) for seed in seeds])
    actor["head.weight"] *= HEAD_SCALE
    critic = _new_critic(obs_dim, cfg, seeds, 0)
    params = {f"actor.{k}": v for k, v in actor.items()} | {f"critic.{k}": v for k, v in critic.items()}
    params["log_std"] = torch.full((len(seeds), act_dim), cfg.init_log_std)
    zeros = torch.zeros(len(seeds), obs_dim, dtype=torch.float64)
    norm = Normaliser(zeros, torch.ones_like(zeros), torch.tensor(1e-4, dtype=torch.float64))
    return PPOContinuousState(cfg, params, norm, [seeding.torch_generator(s, "ppo") for s in seeds], list(seeds))


def _new_critic(obs_dim: int, cfg: PPOContinuousConfig, seeds: list[int], reset: int) -> Params:
    table = mlps.shapes(obs_dim, cfg.hidden, 1)
    return mlps.stack([mlps.init(table, seeding.torch_generator(s, "ppo", "critic", reset)) for s in seeds])


@torch.no_grad()
def reset_value(state: PPOContinuousState) -> None:
    """Gives every member a new value network without moments; the policy stays."""
    state.value_resets += 1
    obs_dim = state.norm.mean.shape[1]
    for name, tensor in _new_critic(obs_dim, state.cfg, state.seeds, state.value_resets).items():
        state.params[f"critic.{name}"].copy_(tensor)
        state.optim.mean[f"critic.{name}"].zero_()
        state.optim.var[f"critic.{name}"].zero_()


# ------------------------------------------------------------------------------------------------------- play


def value(params: Mapping[str, Tensor], obs: Tensor) -> Tensor:
    """[M, B] of normalised obs [M, B, O]."""
    return mlps.apply(part(params, "critic"), obs).squeeze(-1)


@torch.no_grad()
def act(state: PPOContinuousState, obs: Tensor, *, deterministic: bool = False) -> tuple[Tensor, Tensor]:
    """Actions [M, B, A] (not clipped to the task's range) and log-densities [M, B] for normalised obs [M, B, O]."""
    mean, log_std = mlps.apply(part(state.params, "actor"), obs), state.params["log_std"]
    if deterministic:
        return mean, log_density(mean, log_std, mean)
    noise = torch.stack([torch.randn(mean.shape[1:], generator=gen) for gen in state.gens])
    drawn = mean + log_std.exp()[:, None] * noise
    return drawn, log_density(mean, log_std, drawn)


# ------------------------------------------------------------------------------------------------------ update


@torch.no_grad()
def prepare(state: PPOContinuousState, roll: Rollout) -> dict[str, Tensor]:
    """Rows [M, T*B, ...] of a rollout: obs, act, old_logp, ret, and adv normalised per member."""
    cfg = state.cfg
    adv, ret = advantages(roll, roll.rew, cfg.gamma, cfg.gae_lambda, cfg.time_limit)
    parts = {"obs": roll.obs, "act": roll.act, "old_logp": roll.logp, "adv": adv, "ret": ret}
    return {name: tensor.transpose(0, 1).flatten(1, 2) for name, tensor in parts.items()}


def losses(params: Mapping[str, Tensor], rows: Mapping[str, Tensor], clip_coef: float) -> dict[str, Tensor]:
    """Parts of the loss of each member, [M] each."""
    mean = mlps.apply(part(params, "actor"), rows["obs"])
    logp = log_density(mean, params["log_std"], rows["act"])
    return {
        "train/policy_loss": policy_loss(logp, rows["old_logp"], rows["adv"], clip_coef),
        "train/value_loss": value_loss(value(params, rows["obs"]), rows["ret"]),
        "train/entropy": entropy(params["log_std"]),
        "train/approx_kl": (rows["old_logp"] - logp).mean(1).detach(),
    }


def update(state: PPOContinuousState, roll: Rollout, *, progress: float, epochs: int) -> dict[str, Tensor]:
    """All epochs and minibatches on one rollout; metrics [M]. progress: share of the budget that is spent, 0..1.

    Raises:
        Diverged: NaN or infinity.
    """
    cfg, history = state.cfg, []
    clip_coef = cfg.clip_coef * (1 - (1 - cfg.clip_final) * progress)
    data = prepare(state, roll)
    size = data["adv"].shape[1]
    for _ in range(epochs):
        order = torch.stack([torch.randperm(size, generator=gen) for gen in state.gens])
        for rows in order.split(cfg.batch_size, 1):
            leaves = {k: v.detach().requires_grad_() for k, v in state.params.items()}
            parts = losses(leaves, {k: _take(v, rows) for k, v in data.items()}, clip_coef)
            loss = parts["train/policy_loss"] + cfg.vf_coef * parts["train/value_loss"]
            loss = loss - cfg.ent_coef * parts["train/entropy"]
            grads = dict(zip(leaves, torch.autograd.grad(loss.sum(), list(leaves.values())), strict=True))
            grads, norm = clipped(grads, cfg.max_grad_norm)
            state.optim.step(grads, cfg.lr)
            history.append({**parts, "train/loss": loss, "train/grad_norm": norm})
    metrics = {k: torch.stack([entry[k].detach() for entry in history]).mean(0) for k in history[0]}
    if not all(bool(torch.isfinite(tensor).all()) for tensor in metrics.values()):
        raise Diverged("losses of PPO are not finite")
    return metrics


def _take(rows: Tensor, index: Tensor) -> Tensor:
    """rows [M, S, ...] at index [M, B]: [M, B, ...]."""
    return torch.stack([member[picked] for member, picked in zip(rows, index, strict=True)])
