"""Soft actor-critic over the population axis: one update trains M independent agents.

Haarnoja et al. (2018) with learned temperature and two critics, as B-Pref and MRN set it (Lee et al. 2021; Liu et al.
2022), and its exact form for discrete actions (Christodoulou 2019). All critics of all members are one batched network.
The losses below are the definition; updates take their gradients by hand (`coord.kernels.sac_gradients`), and tests
compare these with autograd. Where the continuous head has one sampled action, the discrete head has the expectation
over all actions; the losses are linear in what is averaged, so both heads share them.

Deviations from the published code: none at the defaults. Options it lacks: layer normalisation and decoupled weight
decay of the critics, a rarer actor update, time limits that terminate.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

from coord import memory, seeding
from coord.buffers import ReplayBatch
from coord.errors import Diverged, UserError
from coord.kernels import sac_gradients
from coord.kernels.backprop import Net, TrainedNetwork
from coord.limits import Count, Positive, Real, Share, Widths
from coord.nets import heads, mlps
from coord.nets.mlps import Params
from coord.nets.optim import FusedAdam
from coord.returns import TIME_LIMITS

CHECK_EVERY = 100  # updates between looks at whether the losses are finite (NaN stays, and a look halts a GPU)


@dataclass(frozen=True, kw_only=True)
class SACConfig:
    """Hyper-parameters of SAC; the defaults are those published for DMControl's walker."""

    batch_size: Count = 1024  # transitions per member and update, 32..1024
    hidden: Widths = (1024, 1024)  # widths of the hidden layers of actor and critics
    lr: Share = 5e-4  # Adam step size of actor and critics, 1e-4..1e-3
    alpha_lr: Share = 1e-4  # Adam step size of the temperature's logarithm
    init_alpha: Positive = 0.1  # entropy temperature at the start
    target_entropy: Real = -1.0  # continuous actions: nats per action dimension
    target_entropy_share: Share = 0.89  # discrete actions: share of the largest possible entropy, .5...98
    gamma: Share = 0.99  # discount, .9...997
    tau: Share = 0.005  # share of the critic that moves into the target, .001..1
    target_every: Count = 2  # updates between two moves of the target
    actor_every: Count = 1  # critic updates per update of actor and temperature
    critic_layer_norm: bool = False  # layer normalisation before every ReLU of the critics
    critic_weight_decay: Share = 0.0  # decoupled (AdamW) weight decay of the critics, 0...01
    time_limit: str = "bootstrap"  # what follows a time limit: bootstrap | terminate

    def __post_init__(self) -> None:
        object.__setattr__(self, "hidden", tuple(self.hidden))
        if min(self.hidden, default=0) < 1:
            raise UserError(f"hidden={list(self.hidden)}: needs at least one layer, each of width >= 1")
        if not self.init_alpha > 0:
            raise UserError(f"init_alpha={self.init_alpha}: must be above 0")
        if self.time_limit not in TIME_LIMITS:
            raise UserError(f"time_limit={self.time_limit}: allowed are {', '.join(TIME_LIMITS)}")


# ------------------------------------------------------------------------------------------------------ losses
# Means over a member's own rows. Haarnoja et al. (2018), equations 3 to 6 with the minimum of two critics; equation 18
# for the temperature, whose multiplier is alpha as in the published code. M members, B rows of each, A actions.


def soft_value(q: Tensor, logp: Tensor, alpha: Tensor) -> Tensor:
    """min over the heads - alpha logp, [M, B]: q [M, 2, B] of one action, logp [M, B], alpha [M]."""
    return q.amin(1) - alpha[:, None] * logp


def expected_soft_value(q: Tensor, logp: Tensor, alpha: Tensor) -> Tensor:
    """The same in expectation over discrete actions, [M, B]: q [M, 2, B, A], logp [M, B, A], alpha [M]."""
    return (logp.exp() * (q.amin(1) - alpha[:, None, None] * logp)).sum(-1)


def critic_target(rew: Tensor, discount: Tensor, gamma: float, next_value: Tensor) -> Tensor:
    """rew + gamma discount next_value, [M, B]."""
    return rew + gamma * discount * next_value


def critic_loss(q: Tensor, y: Tensor) -> Tensor:
    """MSE(Q1, y) + MSE(Q2, y) of each member [M]; q [M, 2, B], y [M, B] without gradient."""
    return (q - y[:, None]).square().mean(-1).sum(-1)


def actor_loss(value: Tensor) -> Tensor:
    """Minus the mean soft value of each member [M]; value [M, B], of the current critic, alpha without gradient."""
    return -value.mean(-1)


def alpha_loss(log_alpha: Tensor, logp: Tensor, target_entropy: float) -> Tensor:
    """Mean of alpha (-logp - target_entropy) [M]; logp [M, B] without gradient, the gradient is by log_alpha [M]."""
    return log_alpha.exp() * (-logp - target_entropy).mean(-1)


# ------------------------------------------------------------------------------------------------------- state


@dataclass
class SACState:
    """Everything that training changes, except buffer and env."""

    cfg: SACConfig
    actor: Params  # [M, ...]
    critic: Params  # [M, 2, ...]: both heads
    target: Params  # as critic
    log_alpha: Tensor  # [M]
    gens: list[torch.Generator]  # one per member: action noise
    seeds: list[int]  # one per member: where a new critic comes from
    discrete: bool
    update_step: int = 0
    critic_resets: int = 0
    learners: dict[str, TrainedNetwork] = field(init=False)  # actor, critic
    alpha_optim: FusedAdam = field(init=False)
    target_net: Net = field(init=False)  # views of `target`

    def __post_init__(self) -> None:
        decay = self.cfg.critic_weight_decay
        self.learners = {"actor": TrainedNetwork(self.actor), "critic": TrainedNetwork(self.critic, weight_decay=decay)}
        self.alpha_optim = FusedAdam({"log_alpha": self.log_alpha})
        self.target_net = Net.of(self.target)

    @property
    def alpha(self) -> Tensor:
        """Temperature of each member, [M]."""
        return self.log_alpha.exp()

    @property
    def obs_dim(self) -> int:
        """Numbers per observation."""
        return self.actor["dense0.weight"].shape[-1]

    @property
    def act_dim(self) -> int:
        """Numbers per continuous action, or number of discrete actions."""
        outputs = self.actor["head.bias"].shape[-1]
        return outputs if self.discrete else outputs // 2

    @property
    def target_entropy(self) -> float:
        """Entropy in nats that the temperature aims for."""
        share, each = self.cfg.target_entropy_share, self.cfg.target_entropy
        return share * math.log(self.act_dim) if self.discrete else each * self.act_dim

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor that training changes in place, by name."""
        parts: dict[str, Mapping[str, Tensor]] = {"actor": self.actor, "critic": self.critic, "target": self.target}
        parts |= {f"optim.{name}": learner.optim.tensors() for name, learner in self.learners.items()}
        parts |= {"optim.alpha": self.alpha_optim.tensors(), "alpha": {"log": self.log_alpha}}
        return {f"{part}.{name}": tensor for part, tensors in parts.items() for name, tensor in tensors.items()}

    def state_dict(self) -> dict[str, Tensor]:
        """Flat mapping of tensors (not copies); `load_state_dict` restores it exactly."""
        gens = {f"gen.{m}": gen.get_state() for m, gen in enumerate(self.gens)}
        return self.tensors() | gens | {k: torch.tensor(getattr(self, k)) for k in ("update_step", "critic_resets")}

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Inverse of `state_dict`; KeyError if a tensor is missing."""
        for name, tensor in self.tensors().items():
            tensor.copy_(state[name])
        for m, gen in enumerate(self.gens):
            gen.set_state(state[f"gen.{m}"])
        self.update_step, self.critic_resets = int(state["update_step"]), int(state["critic_resets"])


def create(
    cfg: SACConfig,
    obs_dim: int,
    act_dim: int,
    seeds: list[int],
    *,
    discrete: bool = False,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> SACState:
    """One member per seed, which depends on that seed only; act_dim: numbers per action, or of actions (`discrete`)."""
    inputs, values, outputs = (obs_dim, act_dim, act_dim) if discrete else (obs_dim + act_dim, 1, 2 * act_dim)
    table = mlps.shapes(inputs, cfg.hidden, values, layer_norm=cfg.critic_layer_norm)
    numbers = memory.dense_numbers((inputs, *cfg.hidden, values)) * 2 + memory.dense_numbers((obs_dim, *cfg.hidden))
    memory.check({"networks": len(seeds) * numbers * memory.ADAM * memory.FLOAT}, "lower members or algo.hidden")
    critic = {name: tensor.to(device, dtype) for name, tensor in _new_critic(table, seeds, 0).items()}
    target = {name: tensor.clone() for name, tensor in critic.items()}
    table = mlps.shapes(obs_dim, cfg.hidden, outputs)
    actor = mlps.stack([mlps.init(table, seeding.torch_generator(seed, "sac", "actor")) for seed in seeds])
    actor = {name: tensor.to(device, dtype) for name, tensor in actor.items()}
    log_alpha = torch.full((len(seeds),), math.log(cfg.init_alpha), dtype=dtype, device=device)
    gens = [seeding.torch_generator(seed, "sac", "noise", device=device) for seed in seeds]
    return SACState(cfg, actor, critic, target, log_alpha, gens, list(seeds), discrete)


def _new_critic(table: Mapping[str, tuple[int, ...]], seeds: list[int], resets: int) -> Params:
    """Two fresh heads per member, [M, 2, ...]; `resets` counts the critics that a member had before."""
    gens = [seeding.torch_generator(seed, "sac", "critic", resets) for seed in seeds]
    return mlps.stack([mlps.stack([mlps.init(table, gen) for _ in range(2)]) for gen in gens])


@torch.no_grad()
def reset_critic(state: SACState) -> None:
    """Gives every member a new critic, target and critic optimiser; actor, temperature and their moments stay."""
    state.critic_resets += 1
    table = {name: tuple(tensor.shape[2:]) for name, tensor in state.critic.items()}
    for name, tensor in _new_critic(table, state.seeds, state.critic_resets).items():
        state.critic[name].copy_(tensor)
        state.target[name].copy_(tensor)
    state.learners["critic"].optim.reset()


# ------------------------------------------------------------------------------------------------------ update


def draw_noise(state: SACState, batch_size: int) -> Tensor | None:
    """Standard normal noise [M, B, A] from each member's generator; None for the discrete head, which needs none."""
    if state.discrete:
        return None
    return heads.draw_normal(state.log_alpha.new_empty(len(state.gens), batch_size, state.act_dim), state.gens)


@torch.no_grad()
def bootstrap(state: SACState, next_obs: Tensor, noise: Tensor | None) -> Tensor:
    """Soft value of next_obs [M, B, O] under actor and target critic, [M, B]: min over heads - alpha logp."""
    critic, (out, _) = state.learners["critic"], state.learners["actor"].forward(next_obs)
    if noise is None:
        q, _ = critic.forward(next_obs[:, None], state.target_net)
        return expected_soft_value(q, F.log_softmax(out, -1), state.alpha)
    act, logp = heads.tanh_gaussian(out, noise)
    q, _ = critic.forward(torch.cat([next_obs, act], -1)[:, None], state.target_net)
    return soft_value(q[..., 0], logp, state.alpha)


@torch.no_grad()
def critic_step(state: SACState, batch: ReplayBatch, next_value: Tensor | None = None) -> dict[str, Tensor]:
    """One step of the critic; next_value [M, B] as `bootstrap` gives it (None: with noise drawn now). Metrics [M]."""
    if next_value is None:
        next_value = bootstrap(state, batch.next_obs, draw_noise(state, batch.rew.shape[1]))
    y = critic_target(batch.rew, batch.discount, state.cfg.gamma, next_value)
    x = batch.obs if state.discrete else torch.cat([batch.obs, batch.act], -1)
    values, tape = state.learners["critic"].forward(x[:, None])
    index = batch.act[:, None, :, None].expand(-1, 2, -1, -1) if state.discrete else None
    q = (values if index is None else values.gather(-1, index))[..., 0]
    metrics = {"train/critic_loss": critic_loss(q, y), "train/q": q.mean((1, 2))}
    state.learners["critic"].step(tape, sac_gradients.of_critic(values, index, q, y), state.cfg.lr)
    return metrics


@torch.no_grad()
def actor_step(state: SACState, obs: Tensor, noise: Tensor | None = None) -> dict[str, Tensor]:
    """One step of actor and temperature on obs [M, B, O]; noise as `draw_noise` gives it (None: drawn). Metrics [M]."""
    noise = draw_noise(state, obs.shape[1]) if noise is None else noise
    (out, tape), critic, alpha = state.learners["actor"].forward(obs), state.learners["critic"], state.alpha
    if noise is None:
        (q, _), logp = critic.forward(obs[:, None]), F.log_softmax(out, -1)
        value, grad = expected_soft_value(q, logp, alpha), sac_gradients.of_discrete_actor(q, logp, alpha)
        logp = (logp.exp() * logp).sum(-1)
    else:
        act, logp = heads.tanh_gaussian(out, noise)
        values, way_back = critic.forward(torch.cat([obs, act], -1)[:, None])
        value = soft_value(values[..., 0], logp, alpha)
        grad = sac_gradients.of_gaussian_actor(out, noise, act, values[..., 0], critic, way_back, alpha)
    state.learners["actor"].step(tape, grad, state.cfg.lr)
    temperature = alpha_loss(state.log_alpha, logp, state.target_entropy)
    metrics = {"train/actor_loss": actor_loss(value), "train/entropy": -logp.mean(1), "train/alpha": state.alpha}
    state.alpha_optim.step({"log_alpha": temperature}, state.cfg.alpha_lr)  # its own derivative by log_alpha
    return metrics


@torch.no_grad()
def update(state: SACState, batch: ReplayBatch, next_value: Tensor | None = None) -> dict[str, Tensor]:
    """One gradient step of everything that is due; next_value as in `critic_step`; metrics [M]. Raises Diverged."""
    cfg, metrics = state.cfg, critic_step(state, batch, next_value)
    state.update_step += 1
    if state.update_step % cfg.actor_every == 0:
        metrics |= actor_step(state, batch.obs)
    if state.update_step % cfg.target_every == 0:
        target, critic = list(state.target.values()), list(state.critic.values())
        torch._foreach_lerp_(target, critic, cfg.tau)  # target += tau (critic - target)
    if state.update_step % CHECK_EVERY == 0 and not bool(torch.isfinite(torch.stack(list(metrics.values()))).all()):
        raise Diverged(f"losses are not finite at SAC update {state.update_step}")
    return metrics


@torch.no_grad()
def act(
    state: SACState, obs: Tensor, *, deterministic: bool = False, gens: list[torch.Generator] | None = None
) -> Tensor:
    """Actions for obs [M, N, O]: [M, N, A] in [-1, 1], or [M, N] int64 for the discrete head.

    deterministic: tanh of the mean, or the likeliest action; else drawn, by gens (discrete) or the members' generators.
    """
    out, _ = state.learners["actor"].forward(obs)
    if state.discrete:
        return out.argmax(-1) if deterministic else heads.draw_index(out, gens or state.gens)
    if deterministic:
        return torch.tanh(heads.gaussian(out)[0])
    return heads.tanh_gaussian(out, draw_noise(state, obs.shape[1]))[0]
