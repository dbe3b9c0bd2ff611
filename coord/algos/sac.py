"""Soft actor-critic over the population axis: one update trains M independent agents.

Haarnoja et al. (2018) with learned temperature and two critic heads, as B-Pref and MRN configure it (Lee et al. 2021;
Liu et al. 2022); and its exact form for discrete actions (Christodoulou 2019). The heads of all members go through one
batched product. Losses are pure functions, means over a member's own rows; the update computes their gradients by hand
(`coord.mlps`), and tests compare them with autograd.

Both action heads share every loss: where the continuous head has one sampled action, the discrete head has the
expectation over all actions, and the losses are linear in what is averaged.

Deviations from the published code: none in the defaults for control tasks. Options that it does not have: layer
normalisation and decoupled weight decay in the critic, several updates per environment step, a rarer actor update.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

from coord import heads, mlps, seeding
from coord.buffers import Batch
from coord.errors import Diverged, UserError
from coord.mlps import Params
from coord.optim import FusedAdam
from coord.returns import TIME_LIMITS

CHECK_EVERY = 100  # updates between looks at whether the losses are finite (NaN stays, and a look halts a GPU)


@dataclass(frozen=True, kw_only=True)
class SACConfig:
    """Hyper-parameters of SAC; the defaults are those published for DMControl's walker."""

    batch_size: int = 1024  # transitions per member and update, 32..1024
    hidden: tuple[int, ...] = (1024, 1024)  # widths of the hidden layers of actor and critics
    lr: float = 5e-4  # Adam step size of actor and critics, 1e-4..1e-3
    alpha_lr: float = 1e-4  # Adam step size of the temperature's logarithm
    init_alpha: float = 0.1  # entropy temperature at the start
    target_entropy: float = -1.0  # continuous actions: nats per action dimension
    target_entropy_share: float = 0.89  # discrete actions: share of the largest possible entropy, .5...98
    gamma: float = 0.99  # discount, .9...997
    tau: float = 0.005  # share of the critic that moves into the target, .001..1
    target_every: int = 2  # updates between two moves of the target
    actor_every: int = 1  # critic updates per update of actor and temperature
    replay_ratio: int = 1  # updates per environment step of a member, 1..4
    critic_layer_norm: bool = False  # layer normalisation before every ReLU of the critics
    critic_weight_decay: float = 0.0  # decoupled (AdamW) weight decay of the critics, 0...01
    time_limit: str = "bootstrap"  # what follows a time limit: bootstrap | terminate

    def __post_init__(self) -> None:
        object.__setattr__(self, "hidden", tuple(self.hidden))
        for name in ("batch_size", "target_every", "actor_every", "replay_ratio"):
            if getattr(self, name) < 1:
                raise UserError(f"{name}={getattr(self, name)}: must be at least 1")
        for name in ("lr", "alpha_lr", "gamma", "tau", "critic_weight_decay"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"{name}={getattr(self, name)}: must be between 0 and 1")
        if not self.hidden or min(self.hidden) < 1:
            raise UserError(f"hidden={list(self.hidden)}: needs at least one layer, each of width >= 1")
        if not self.init_alpha > 0:
            raise UserError(f"init_alpha={self.init_alpha}: must be above 0")
        if self.time_limit not in TIME_LIMITS:
            raise UserError(f"time_limit={self.time_limit}: allowed are {', '.join(TIME_LIMITS)}")


# ----------------------------------------------------------------------------------- policy and values (pure)


def policy(actor: Mapping[str, Tensor], obs: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Continuous head: actions [M, B, A] in (-1, 1) and log-densities [M, B] for obs [M, B, O], noise [M, B, A]."""
    return heads.tanh_gaussian(mlps.apply(actor, obs), noise)


def log_policy(actor: Mapping[str, Tensor], obs: Tensor) -> Tensor:
    """Discrete head: log-probabilities of all actions [M, B, A]."""
    return F.log_softmax(mlps.apply(actor, obs), -1)


def q_values(critic: Mapping[str, Tensor], obs: Tensor, act: Tensor) -> Tensor:
    """Values of both heads [M, 2, B]; act [M, B, A], or [M, B] int64 for the discrete head."""
    if act.dtype == torch.int64:
        index = act[:, None, :, None].expand(-1, 2, -1, -1)
        return q_all(critic, obs).gather(-1, index).squeeze(-1)
    return mlps.apply(critic, torch.cat([obs, act], -1)[:, None]).squeeze(-1)


def q_all(critic: Mapping[str, Tensor], obs: Tensor) -> Tensor:
    """Discrete head: values of all actions [M, 2, B, A]."""
    return mlps.apply(critic, obs[:, None])


# ------------------------------------------------------------------------------------- targets and losses (pure)


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


def target_entropy(cfg: SACConfig, act_dim: int, *, discrete: bool) -> float:
    """Entropy in nats that the temperature aims for."""
    return cfg.target_entropy_share * math.log(act_dim) if discrete else cfg.target_entropy * act_dim


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
    optims: dict[str, FusedAdam] = field(init=False)  # actor, critic, alpha
    grads: dict[str, Params] = field(init=False)  # buffers: actor, critic
    nets: dict[str, mlps.Net] = field(init=False)  # views of the networks and of their gradients
    tapes: dict[str, mlps.Tape] = field(init=False, default_factory=dict)  # actor, critic

    def __post_init__(self) -> None:
        self.optims = {
            "actor": FusedAdam(self.actor),
            "critic": FusedAdam(self.critic, weight_decay=self.cfg.critic_weight_decay),
            "alpha": FusedAdam({"log_alpha": self.log_alpha}),
        }
        nets = {"actor": self.actor, "critic": self.critic, "target": self.target}
        self.grads = {name: {k: torch.empty_like(v) for k, v in nets[name].items()} for name in ("actor", "critic")}
        nets |= {f"{name}_grads": grads for name, grads in self.grads.items()}
        self.nets = {name: mlps.Net.of(params) for name, params in nets.items()}

    def tape(self, name: str, batch: int) -> mlps.Tape:
        """The tape of actor or critic for that many rows."""
        if name not in self.tapes or self.tapes[name].batch != batch:
            self.tapes[name] = mlps.Tape(self.nets[name], batch)
        return self.tapes[name]

    @property
    def alpha(self) -> Tensor:
        """Temperature of each member, [M]."""
        return self.log_alpha.exp()

    @property
    def act_dim(self) -> int:
        """Numbers per continuous action, or number of discrete actions."""
        outputs = self.actor["head.bias"].shape[-1]
        return outputs if self.discrete else outputs // 2

    def _tensors(self) -> dict[str, Tensor]:
        """Every tensor that is restored in place."""
        nets = {"actor": self.actor, "critic": self.critic, "target": self.target}
        found = {f"{net}.{k}": v for net, params in nets.items() for k, v in params.items()}
        found |= {f"optim.{name}.{k}": v for name, optim in self.optims.items() for k, v in optim.tensors().items()}
        return found | {"log_alpha": self.log_alpha}

    def state_dict(self) -> dict[str, Tensor]:
        """Flat mapping of tensors (views, not copies); `load_state_dict` restores it exactly."""
        gens = {f"gen.{m}": gen.get_state() for m, gen in enumerate(self.gens)}
        counters = {"update_step": self.update_step, "critic_resets": self.critic_resets}
        return self._tensors() | gens | {k: torch.tensor(v) for k, v in counters.items()}

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Inverse of `state_dict`; KeyError if a tensor is missing."""
        for name, tensor in self._tensors().items():
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
    """A population with one member per seed; a member depends on its own seed only, not on its neighbours.

    act_dim: numbers per action, or with `discrete` the number of actions.
    """
    table = mlps.shapes(obs_dim, cfg.hidden, act_dim if discrete else 2 * act_dim)
    actor = mlps.stack([mlps.init(table, seeding.torch_generator(seed, "sac", "actor")) for seed in seeds])
    table = mlps.shapes(
        obs_dim if discrete else obs_dim + act_dim,
        cfg.hidden,
        act_dim if discrete else 1,
        layer_norm=cfg.critic_layer_norm,
    )
    critic = _new_critic(table, seeds, 0)
    actor, critic = ({k: v.to(device, dtype) for k, v in net.items()} for net in (actor, critic))
    target = {k: v.clone() for k, v in critic.items()}
    log_alpha = torch.full((len(seeds),), math.log(cfg.init_alpha), dtype=dtype, device=device)
    gens = [seeding.torch_generator(seed, "sac", "noise", device=device) for seed in seeds]
    return SACState(cfg, actor, critic, target, log_alpha, gens, list(seeds), discrete)


def _new_critic(table: Mapping[str, tuple[int, ...]], seeds: list[int], reset: int) -> Params:
    """Two fresh heads per member, [M, 2, ...]; `reset` counts the critics that a member had before."""
    gens = [seeding.torch_generator(seed, "sac", "critic", reset) for seed in seeds]
    return mlps.stack([mlps.stack([mlps.init(table, gen) for _ in range(2)]) for gen in gens])


@torch.no_grad()
def reset_critic(state: SACState) -> None:
    """Gives every member a new critic, target and critic optimiser; actor, temperature and their moments stay."""
    state.critic_resets += 1
    table = {name: tuple(tensor.shape[2:]) for name, tensor in state.critic.items()}
    for name, tensor in _new_critic(table, state.seeds, state.critic_resets).items():
        state.critic[name].copy_(tensor)
        state.target[name].copy_(tensor)
    state.optims["critic"].reset()


# ------------------------------------------------------------------------------------------------------ update


def draw_noise(state: SACState, batch_size: int) -> Tensor | None:
    """Standard normal noise [M, B, A] from each member's generator; None for the discrete head, which needs none."""
    if state.discrete:
        return None
    noise = state.log_alpha.new_empty(len(state.gens), batch_size, state.act_dim)
    for own, gen in zip(noise, state.gens, strict=True):
        own.normal_(generator=gen)
    return noise


def _actor_out(state: SACState, obs: Tensor) -> Tensor:
    """The actor's outputs [M, B, ...], kept on its tape."""
    tape = state.tape("actor", obs.shape[1])
    tape.x.copy_(obs)
    return tape.forward(state.nets["actor"])


def _critic_out(state: SACState, net: str, obs: Tensor, act: Tensor | None) -> Tensor:
    """Values [M, 2, B, 1] of critic or target, or with the discrete head [M, 2, B, A]; kept on the critics' tape."""
    tape = state.tape("critic", obs.shape[1])
    parts = obs if act is None else torch.cat([obs, act], -1)
    tape.x.copy_(parts[:, None])
    return tape.forward(state.nets[net])


@torch.no_grad()
def bootstrap(state: SACState, next_obs: Tensor, noise: Tensor | None) -> Tensor:
    """Soft value of next_obs [M, B, O] under actor and target critic, [M, B]: min over heads - alpha logp."""
    out = _actor_out(state, next_obs)
    if noise is None:
        return expected_soft_value(_critic_out(state, "target", next_obs, None), F.log_softmax(out, -1), state.alpha)
    act, logp = heads.tanh_gaussian(out, noise)
    return soft_value(_critic_out(state, "target", next_obs, act)[..., 0], logp, state.alpha)


@torch.no_grad()
def critic_step(state: SACState, batch: Batch, next_value: Tensor | None = None) -> dict[str, Tensor]:
    """One step of the critic; next_value [M, B] as `bootstrap` gives it (None: with noise drawn now). Metrics [M]."""
    if next_value is None:
        next_value = bootstrap(state, batch.next_obs, draw_noise(state, batch.rew.shape[1]))
    y = critic_target(batch.rew, batch.discount, state.cfg.gamma, next_value)
    if state.discrete:
        values = _critic_out(state, "critic", batch.obs, None)
        index = batch.act[:, None, :, None].expand(-1, 2, -1, -1)
        q = values.gather(-1, index)
    else:
        q = values = _critic_out(state, "critic", batch.obs, batch.act)
    error = q[..., 0] - y[:, None]
    grad = error[..., None] * (2 / error.shape[-1])  # of critic_loss by q
    if state.discrete:
        grad = torch.zeros_like(values).scatter_(-1, index, grad)
    state.tapes["critic"].backward(state.nets["critic"], grad, state.nets["critic_grads"])
    state.optims["critic"].step(state.grads["critic"], state.cfg.lr)
    return {"train/critic_loss": critic_loss(q[..., 0], y), "train/q": q.mean((1, 2, 3))}


@torch.no_grad()
def actor_step(state: SACState, obs: Tensor, noise: Tensor | None = None) -> dict[str, Tensor]:
    """One step of actor and temperature on obs [M, B, O]; noise as `draw_noise` gives it (None: drawn). Metrics [M]."""
    noise = draw_noise(state, obs.shape[1]) if noise is None else noise
    grad, value, logp = _discrete_gradient(state, obs) if noise is None else _gaussian_gradient(state, obs, noise)
    state.tapes["actor"].backward(state.nets["actor"], grad, state.nets["actor_grads"])
    goal = target_entropy(state.cfg, state.act_dim, discrete=state.discrete)
    temperature = alpha_loss(state.log_alpha, logp, goal)
    metrics = {"train/actor_loss": actor_loss(value), "train/entropy": -logp.mean(1), "train/alpha": state.alpha}
    state.optims["actor"].step(state.grads["actor"], state.cfg.lr)
    state.optims["alpha"].step({"log_alpha": temperature}, state.cfg.alpha_lr)  # its own derivative by log_alpha
    return metrics


def _gaussian_gradient(state: SACState, obs: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Gradient of the actor loss by the actor's outputs [M, B, 2A], soft value [M, B], log-density [M, B]."""
    out, rows = _actor_out(state, obs), obs.shape[1]
    act, logp = heads.tanh_gaussian(out, noise)
    q = _critic_out(state, "critic", obs, act)[..., 0]
    first = (q[:, :1] <= q[:, 1:]).to(q.dtype)  # whether the minimum is the first head's
    grad = torch.cat([first, 1 - first], 1) / -rows
    by_act = state.tapes["critic"].input_gradient(state.nets["critic"], grad[..., None], obs.shape[2])
    by_act = by_act.sum(1).transpose(1, 2)
    by_logp = state.alpha[:, None, None] / rows
    return heads.tanh_gaussian_gradient(out, noise, act, by_act, by_logp), soft_value(q, logp, state.alpha), logp


def _discrete_gradient(state: SACState, obs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """As `_gaussian_gradient`, with expectations over the actions; gradient [M, B, A] by the logits."""
    logp = F.log_softmax(_actor_out(state, obs), -1)
    q, alpha = _critic_out(state, "critic", obs, None), state.alpha
    soft = q.amin(1) - alpha[:, None, None] * logp
    grad = heads.categorical_gradient(logp, soft / -obs.shape[1])
    return grad, expected_soft_value(q, logp, alpha), (logp.exp() * logp).sum(-1)


@torch.no_grad()
def move_target(state: SACState) -> None:
    """target += tau (critic - target)."""
    torch._foreach_lerp_(list(state.target.values()), list(state.critic.values()), state.cfg.tau)


def update(state: SACState, batch: Batch, next_value: Tensor | None = None) -> dict[str, Tensor]:
    """One gradient step of everything that is due; next_value as in `critic_step`; metrics [M].

    Raises:
        Diverged: NaN or infinity.
    """
    cfg = state.cfg
    metrics = critic_step(state, batch, next_value)
    state.update_step += 1
    if state.update_step % cfg.actor_every == 0:
        metrics |= actor_step(state, batch.obs)
    if state.update_step % cfg.target_every == 0:
        move_target(state)
    if state.update_step % CHECK_EVERY == 0 and not bool(torch.isfinite(torch.stack(list(metrics.values()))).all()):
        raise Diverged(f"losses are not finite at SAC update {state.update_step}")
    return metrics


@torch.no_grad()
def act(state: SACState, obs: Tensor, *, deterministic: bool = False) -> Tensor:
    """Actions for obs [M, N, O]: [M, N, A] in [-1, 1], or [M, N] int64 for the discrete head.

    deterministic: tanh of the mean, or the likeliest action; else drawn with the members' generators.
    """
    out = mlps.apply(state.actor, obs)
    if not state.discrete:
        mean, log_std = heads.gaussian(out)
        return torch.tanh(
            mean if deterministic else torch.addcmul(mean, log_std.exp(), draw_noise(state, obs.shape[1]))
        )
    if not deterministic:  # the largest of logits plus Gumbel noise is a draw from their softmax
        for own, gen in zip(out, state.gens, strict=True):
            own -= torch.empty_like(own).exponential_(generator=gen).log_()
    return out.argmax(-1)
