"""Proximal policy optimisation over the population axis: one update trains M independent agents.

Clipped surrogate with GAE (Schulman et al. 2017), clipped value loss, entropy bonus: `loss` is the definition. Training
takes its derivative by hand (`coord.kernels.ppo_loss`, `coord.kernels.fused`); tests hold values and gradients to it.
Losses are per member, [M]; their sum is differentiated once, and members share no parameter. Learning rate, clip range,
entropy and value coefficients are [M] tensors, so a method may give every member its own (PBT). Rows are [M, B] of any
`RowEnv`: self-play, an ego among partners, or a control task.

Deviations from the published Overcooked PPO (Carroll et al. 2019): the default network reads indices
(`coord.nets.population`), time limits bootstrap instead of terminating (`time_limit`), advantages are normalised per
member over the whole rollout, and the learning rate falls linearly to `lr_final` of its start.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from coord import memory, seeding
from coord.errors import Diverged, UserError
from coord.kernels import fused
from coord.kernels.ppo_loss import LOSS_PARTS, fast_loss, total_loss
from coord.limits import Count, Minibatches, NotNegative, Positive, RewardScale, Share, Steps, StepsOrNone, Widths
from coord.nets.optim import PopulationAdam
from coord.nets.population import Arch, PopulationNet
from coord.partner_env import Episodes, RowEnv
from coord.returns import TIME_LIMITS
from coord.rollout import Rollout, advantages, allocate, collect
from coord.schedules import linear
from coord.types import NUM_ACTIONS

Loss = Callable[["PPOState"], Tensor]  # a scalar that is added to the sum of the members' losses of a minibatch
RECENT_EPISODES = 50  # the window of `rollout/return`: the mean of a member's last 50 episodes


@dataclass(frozen=True, kw_only=True)
class PPOConfig:
    """Hyper-parameters of PPO; steps are environment steps (ticks x kitchens) per member."""

    total_steps: Steps = 2_000_000  # budget per member
    num_envs: Count = 64  # kitchens per member, 16..512
    rollout_len: Count = 100  # ticks per rollout, 32..400
    num_epochs: Count = 4  # passes over a rollout, 2..15
    num_minibatches: Minibatches = 8  # per pass, 1..16
    lr: Share = 2e-3  # Adam step size at the start, 2e-4..3e-3
    lr_final: Share = 0.1  # share of lr that is left at total_steps, 0..1
    gamma: Share = 0.99  # discount, .96...995
    gae_lambda: Share = 0.98  # .5...98
    clip_coef: NotNegative = 0.2  # clip range of ratio and value, .05...3
    vf_coef: NotNegative = 0.5  # weight of the value loss, .1..1
    ent_coef: NotNegative = 0.05  # entropy bonus at the start, .005...5
    ent_coef_final: NotNegative = 0.005  # entropy bonus at ent_horizon
    ent_horizon: StepsOrNone = 800_000  # steps over which the bonus falls
    shaping_horizon: StepsOrNone = 1_500_000  # steps over which shaping reward falls from 1 to 0
    max_grad_norm: Positive = 0.5  # per member
    rew_scale: RewardScale = 0.1  # rewards are multiplied by this for the learner only (20 per soup -> 2)
    time_limit: str = "bootstrap"  # what follows a time limit: bootstrap | terminate
    network: str = "mlp_index"  # mlp_index | cnn (published) | mlp_features
    hidden: Widths = (64, 64)  # widths of the dense layers

    def __post_init__(self) -> None:
        object.__setattr__(self, "hidden", tuple(self.hidden))
        if self.time_limit not in TIME_LIMITS:
            raise UserError(f"time_limit={self.time_limit}: allowed are {', '.join(TIME_LIMITS)}")
        Arch(kind=self.network, hidden=self.hidden)  # refuses impossible ones


# --------------------------------------------------------------------------------------------------- loss


def loss(out: Tensor, act: Tensor, scalars: Tensor, coefs: Tensor) -> tuple[Tensor, Tensor]:
    """What PPO minimises, of each member [M], and its parts [M, 5] (`LOSS_PARTS`), means over the member's own rows.

    Schulman et al. (2017), equations 7 and 9, and a value clipped likewise. out [M, B, 7]: logits and
    value; act [M, B]; scalars [M, B, 4]: old_logp, old_val, adv, ret; coefs [M, 3]: clip_coef, vf_coef, ent_coef.
    """
    clip_coef, vf_coef, ent_coef = (coef[:, None] for coef in coefs.unbind(1))
    old_logp, old_val, adv, ret = scalars.unbind(-1)
    policy, val = out[..., :NUM_ACTIONS].log_softmax(-1), out[..., NUM_ACTIONS]
    logp = policy.gather(-1, act[..., None]).squeeze(-1)
    ratio = (logp - old_logp).exp()
    surrogate = torch.minimum(ratio * adv, ratio.clamp(1 - clip_coef, 1 + clip_coef) * adv)
    near = old_val + (val - old_val).clamp(-clip_coef, clip_coef)
    value_loss = torch.maximum((val - ret).square(), (near - ret).square()) / 2
    entropy = -(policy.exp() * policy).sum(-1)
    parts = [-surrogate, value_loss, entropy, old_logp - logp, (surrogate < ratio * adv).to(out.dtype)]
    return (-surrogate + vf_coef * value_loss - ent_coef * entropy).mean(1), torch.stack(parts, -1).mean(1)


# -------------------------------------------------------------------------------------------------- state


@dataclass
class PPOState:
    """Everything that training changes, except the env."""

    cfg: PPOConfig
    net: PopulationNet
    optim: PopulationAdam
    gens: list[torch.Generator]  # one per member: action draws and minibatch order
    hyper: dict[str, Tensor]  # [M] each: lr, clip_coef, vf_coef, ent_scale, gae_lambda
    env_step: int = 0
    update_step: int = 0
    returns: list[deque[float]] = field(default_factory=list)  # last episodes of each member
    learner: fused.FusedGradients | None = field(init=False)  # the quick path, for architectures that it knows

    def __post_init__(self) -> None:
        self.learner = fused.FusedGradients(self.net.tensors(), self.net.parameters()) if self.net.is_fused else None

    @property
    def members(self) -> int:
        """M."""
        return self.net.members

    def log_episodes(self, episodes: Episodes) -> None:
        """Adds finished episodes to the members' windows."""
        for member, ret in zip(episodes.member, episodes.ret, strict=True):
            self.returns[member].append(float(ret))

    def mean_returns(self) -> np.ndarray:
        """[M] mean return of each member's recent episodes, NaN before the first."""
        return np.array([np.mean(r) if r else math.nan for r in self.returns])

    def state_dict(self) -> dict[str, Tensor]:
        """Flat mapping of tensors; `load_state_dict` restores it exactly."""
        windows = {f"returns.{m}": torch.tensor(list(r), dtype=torch.float64) for m, r in enumerate(self.returns)}
        gens = {f"gen.{m}": gen.get_state() for m, gen in enumerate(self.gens)}
        counters = {"env_step": torch.tensor(self.env_step), "update_step": torch.tensor(self.update_step)}
        net = {f"net.{k}": v for k, v in self.net.tensors().items()}
        optim = {f"optim.{k}": v for k, v in self.optim.state_dict().items()}
        return net | optim | gens | windows | counters | {f"hyper.{k}": v for k, v in self.hyper.items()}

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Inverse of `state_dict`."""
        for name, tensor in self.net.tensors().items():
            tensor.copy_(state[f"net.{name}"])
        self.optim.load_state_dict({k[6:]: v for k, v in state.items() if k.startswith("optim.")})
        for member, gen in enumerate(self.gens):
            gen.set_state(state[f"gen.{member}"])
            self.returns[member] = deque(state[f"returns.{member}"].tolist(), RECENT_EPISODES)
        self.hyper = {k: state[f"hyper.{k}"].clone() for k in self.hyper}
        self.env_step, self.update_step = int(state["env_step"]), int(state["update_step"])


def memory_parts(cfg: PPOConfig, arch: Arch, members: int) -> dict[str, float]:
    """Bytes that training will hold at least: networks with Adam, and a rollout with its advantages and returns."""
    rows = members * cfg.num_envs * cfg.rollout_len
    seen = {"cnn": math.prod(arch.board), "mlp_features": arch.inputs * memory.FLOAT}.get(arch.kind, 32)
    layers = (arch.inputs, *arch.hidden, arch.memory, 6)
    networks = members * memory.dense_numbers(layers) * memory.ADAM * memory.FLOAT
    return {"networks with Adam": networks, f"rollouts of {rows} rows": rows * (seen + 9 * memory.FLOAT)}


def create(cfg: PPOConfig, arch: Arch, seeds: list[int]) -> PPOState:
    """A population with one member per seed; a member depends on its own seed only, not on its neighbours."""
    memory.check(memory_parts(cfg, arch, len(seeds)), "lower members, algo.num_envs, algo.rollout_len or algo.hidden")
    net = PopulationNet.create(arch, [seeding.torch_generator(s, "net") for s in seeds])
    full = {name: getattr(cfg, name) for name in ("lr", "clip_coef", "vf_coef", "gae_lambda")} | {"ent_scale": 1.0}
    return PPOState(
        cfg,
        net,
        PopulationAdam(net),
        [seeding.torch_generator(s, "ppo") for s in seeds],
        {k: torch.full((len(seeds),), v) for k, v in full.items()},
        returns=[deque(maxlen=RECENT_EPISODES) for _ in seeds],
    )


# ------------------------------------------------------------------------------------------------- update


@dataclass(frozen=True)
class RolloutBatch:
    """A rollout flattened to [M, T*B]."""

    obs: Tensor  # [M*T*B, ...]
    act: Tensor  # [M*T*B]
    scalars: Tensor  # [M*T*B, 4]: old_logp, old_val, adv, ret
    size: int  # T*B


def shaping_coef(cfg: PPOConfig, env_step: int) -> float:
    """Weight of the shaping reward: 1 at the start, 0 from `shaping_horizon` on."""
    return linear(1.0, 0.0, cfg.shaping_horizon)(env_step)


def prepare(state: PPOState, roll: Rollout) -> RolloutBatch:
    """Rewards, advantages and returns of a rollout; advantages normalised per member."""
    cfg = state.cfg
    rew = (roll.rew + shaping_coef(cfg, state.env_step) * roll.shaped_rew) * cfg.rew_scale
    adv, ret = advantages(roll, rew, cfg.gamma, state.hyper["gae_lambda"][:, None], cfg.time_limit)
    scalars = torch.stack([roll.logp, roll.val, adv, ret], -1)
    obs, act, scalars = (x.transpose(0, 1).flatten(0, 2) for x in (roll.obs, roll.act, scalars))
    return RolloutBatch(obs, act, scalars, roll.act.shape[0] * roll.act.shape[2])


Gradients = Callable[[PPOState, RolloutBatch, Tensor, Tensor], Tensor]


def row_gradients(state: PPOState, batch: RolloutBatch, rows: Tensor, coefs: Tensor) -> Tensor:
    """Sets every `.grad` for the rows [M, B] of a batch; returns the parts of the loss [M, 5]."""
    if state.learner is not None:
        return state.learner.gradients(batch.obs, rows, batch.act, batch.scalars, coefs)
    out = state.net.outputs(batch.obs[rows])
    total, parts = fast_loss(out, batch.act[rows], batch.scalars[rows], coefs)
    total.sum().backward()
    return parts


def update(
    state: PPOState,
    roll: Rollout,
    extra_loss: Loss | None = None,
    gradients: Gradients = row_gradients,
    ticks: int = 1,
) -> dict[str, Tensor]:
    """All epochs and minibatches on one rollout; returns metrics [M]. Raises Diverged on NaN or infinity.

    gradients: what a minibatch of rows is turned into; ticks: rows that stay together, as one number for `gradients`.
    """
    cfg, batch = state.cfg, prepare(state, roll)
    lr = state.hyper["lr"] * linear(1.0, cfg.lr_final, cfg.total_steps)(state.env_step)
    ent_coef = state.hyper["ent_scale"] * linear(cfg.ent_coef, cfg.ent_coef_final, cfg.ent_horizon)(state.env_step)
    coefs = torch.stack([state.hyper["clip_coef"], state.hyper["vf_coef"], ent_coef], 1)
    units = batch.size // ticks
    offset = torch.arange(state.net.members)[:, None] * units
    history = []
    for _ in range(cfg.num_epochs):
        order = torch.stack([torch.randperm(units, generator=gen) for gen in state.gens]) + offset
        for rows in order.chunk(cfg.num_minibatches, 1):
            parts = gradients(state, batch, rows.contiguous(), coefs)
            if extra_loss is not None:
                extra_loss(state).backward()
            norm = state.optim.step(lr, cfg.max_grad_norm)
            history.append(torch.cat([parts, total_loss(parts, coefs)[:, None], norm[:, None]], 1))
    state.update_step += 1
    names = [f"train/{name}" for name in (*LOSS_PARTS, "loss", "grad_norm")]
    metrics = dict(zip(names, torch.stack(history).mean(0).unbind(1), strict=True))
    for name in ("train/loss", "train/grad_norm"):
        if not bool(torch.isfinite(metrics[name]).all()):
            raise Diverged(f"{name} is not finite at update {state.update_step}, env step {state.env_step}")
    return metrics | {"train/lr": lr, "train/ent_coef": ent_coef}


# -------------------------------------------------------------------------------------------------- train


@dataclass
class Hooks:
    """What a caller may attach to training; every default does nothing."""

    on_update: Callable[[Any, dict[str, Any]], None] = lambda state, metrics: None
    should_stop: Callable[[Any], bool] = lambda state: False
    on_rollout: Callable[[PPOState, Rollout], None] = lambda state, roll: None  # before the update; may change rewards
    on_episodes: Callable[[Episodes], None] = lambda episodes: None  # whenever some have ended
    extra_loss: Loss | None = None  # called for every minibatch


def make_arch(cfg: PPOConfig, env: Any) -> Arch:
    """The network that fits a kitchen env: table rows from its index vocabulary, board from its layouts."""
    if cfg.network == "cnn":
        return Arch(kind="cnn", hidden=cfg.hidden, board=env.lossless_obs().shape[2:4])
    inputs = env.spec.vocab_size if cfg.network == "mlp_index" else env.feature_obs().shape[-1]
    return Arch(kind=cfg.network, inputs=inputs, hidden=cfg.hidden)


def train(
    state: PPOState,
    env: RowEnv,
    hooks: Hooks | None = None,
    play: Callable[..., None] = collect,
    learn: Callable[..., dict[str, Tensor]] = update,
) -> PPOState:
    """Collect and update until `total_steps` per member; continues from wherever `state` and `env` are.

    play, learn: what takes the place of `collect` and `update` for another kind of network.
    """
    cfg, hooks = state.cfg, hooks or Hooks()
    roll = allocate(env, cfg.rollout_len)

    def on_episodes(episodes: Episodes) -> None:
        state.log_episodes(episodes)
        hooks.on_episodes(episodes)

    while state.env_step < cfg.total_steps and not hooks.should_stop(state):
        play(state.net, env, state.gens, roll, on_episodes)
        state.env_step += cfg.rollout_len * env.kitchens
        hooks.on_rollout(state, roll)
        metrics: dict[str, Any] = learn(state, roll, hooks.extra_loss)
        metrics |= {"rollout/return": state.mean_returns(), "rollout/shaping_coef": shaping_coef(cfg, state.env_step)}
        hooks.on_update(state, metrics)
    return state
