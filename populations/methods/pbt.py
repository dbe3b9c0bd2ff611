"""Population-based training (Jaderberg et al. 2017; for Overcooked: Carroll et al. 2019).

M members learn from games with each other: kitchens hold all ordered pairs of members, a member's pair with itself
included, and both seats of a pair learn. Every `interval` steps the member with the worst mean return is replaced by a
copy of the best (parameters and Adam's moments), whose hyper-parameters mutate: each with probability `mutate_prob`,
by one of `mutate_factors`. What remains are M partners, any of which may be scored as an ego.

Deviations from Carroll et al.: selection looks at the returns of training play (a member's last 50 episodes, with all
partners and seats), not at six separate games per pair; updates per batch are shared by the members and so do not
mutate, while learning rate, clip range, entropy and value coefficients and GAE's lambda (at most 1) do; all pairs play
at the same time instead of in turn.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from coord import seeding
from coord.algos.ppo import Hooks, PPOState
from coord.errors import UserError
from coord.limits import Positive, Share, Steps
from coord.overcooked import OvercookedVectorEnv
from coord.partner_env import Episodes, KitchenRows, RowStep
from populations.pool import NewMember
from populations.training import Setup, Training, final_agents, make_kitchens, make_learners

MUTABLE = ("lr", "clip_coef", "ent_scale", "vf_coef", "gae_lambda")
UPPER = {"gae_lambda": 1.0}


@dataclass(frozen=True, kw_only=True)
class PBTConfig:
    """Selection and mutation."""

    interval: Steps = 100_000  # steps per member between selections
    mutate_prob: Share = 0.33  # of each hyper-parameter of the copy
    mutate_factors: tuple[Positive, ...] = (0.75, 1.25)  # one of them multiplies it

    def __post_init__(self) -> None:
        if not self.mutate_factors or min(self.mutate_factors) <= 0:
            raise UserError(f"mutate_factors={list(self.mutate_factors)}: positive numbers, at least one")


Config = PBTConfig


def make(cfg: PBTConfig, setup: Setup) -> Training:
    """See `populations.training.TrainingMethod`."""
    if setup.members < 2:
        raise UserError(f"members={setup.members}: method=pbt selects among at least 2")
    kitchens = make_kitchens(setup)
    state = make_learners(setup, kitchens)
    env = AllPairsEnv(kitchens, setup.members, state.net.obs_kind)
    selection = Selection(cfg, setup.generator("pbt"))
    hooks = Hooks(on_update=selection.on_update)
    return Training(state, env, lambda: _agents(setup, state, kitchens), hooks, selection)


class AllPairsEnv(KitchenRows):
    """All ordered pairs of members at once (in kitchens of more seats: all shifts); every seat is a learner's row.

    Kitchen n of block i, with M N kitchens in all, seats member (i + p n) mod M on seat p. So every member has N rows
    on every seat, and over n it meets every member, itself included, equally often (to within one kitchen).
    """

    def __init__(self, env: OvercookedVectorEnv, members: int, obs_kind: str = "index") -> None:
        super().__init__(env, members, obs_kind)
        seats = env.num_players
        self.rows = self.kitchens * seats
        member, n, seat = np.ogrid[:members, : self.kitchens, :seats]
        block = (member - seat * n) % members  # whose kitchen it is; a row is one seat of one kitchen
        self._slot = ((block * self.kitchens + n) * seats + seat).reshape(members, self.rows)
        holder = np.empty(env.num_envs * seats, np.int64)
        holder[self._slot] = np.arange(members)[:, None]
        self.member = holder.reshape(-1, seats)  # who holds each seat of each kitchen
        self._ended = np.empty(0, np.int64)

    def observe(self) -> Tensor:
        """See `RowEnv.observe`."""
        return self._rows_of(self._encode(final=False))

    def final_observe(self) -> Tensor:
        """See `RowEnv.final_observe`."""
        return self._rows_of(self._encode(final=True))

    def _rows_of(self, per_seat: np.ndarray) -> Tensor:
        """[M N, P, ...] of kitchens -> [M, B, ...]."""
        return torch.from_numpy(per_seat.reshape(-1, *per_seat.shape[2:])[self._slot])

    def step(self, act: Tensor) -> RowStep:
        """See `RowEnv.step`."""
        seats = self.env.num_players
        joint = np.empty(self.env.num_envs * seats, np.int64)
        joint[self._slot] = act.numpy()
        result, self._ended = self._advance(joint.reshape(-1, seats))
        rew, terminated, truncated = (
            self._rows_of(np.repeat(v[:, None], seats, 1)) for v in (result.rew, result.terminated, result.truncated)
        )
        return RowStep(rew, self._rows_of(result.shaped_rew), terminated, truncated)

    def finished(self) -> Episodes:
        """See `RowEnv.finished`; once for every seat's member, `partner` is the member on the next seat."""
        member = self.member[self._ended]
        seats = np.broadcast_to(np.arange(member.shape[1]), member.shape)
        ret = np.repeat(self.env.episode_return(final=True)[self._ended], member.shape[1])
        return Episodes(member.ravel(), ret, np.roll(member, -1, 1).ravel(), seats.ravel())


class Selection:
    """Exploit and explore, on tensors: the copy is an assignment of one row."""

    def __init__(self, cfg: PBTConfig, rng: np.random.Generator) -> None:
        self.cfg, self.rng = cfg, rng
        self.replaced = 0  # how often somebody was

    def on_update(self, state: PPOState, metrics: dict[str, Any]) -> None:
        """Selects if an interval has passed since the update before."""
        steps = state.cfg.rollout_len * state.cfg.num_envs
        if state.env_step // self.cfg.interval > (state.env_step - steps) // self.cfg.interval:
            self.select(state)
        metrics["method/replaced"] = self.replaced
        metrics["method/lr"] = state.hyper["lr"]

    def select(self, state: PPOState) -> None:
        """Replaces the worst member by a mutated copy of the best; nobody while returns are missing or all equal."""
        returns = state.mean_returns()
        if not np.isfinite(returns).all() or returns.min() == returns.max():
            return
        best, worst = int(returns.argmax()), int(returns.argmin())
        state.optim.copy_member(best, worst)
        state.returns[worst].clear()  # they were another's
        state.returns[worst].extend(state.returns[best])
        for name in MUTABLE:
            state.hyper[name][worst] = self._mutated(float(state.hyper[name][best]), UPPER.get(name, np.inf))
        self.replaced += 1

    def _mutated(self, value: float, upper: float) -> float:
        factor = self.rng.choice(self.cfg.mutate_factors) if self.rng.random() < self.cfg.mutate_prob else 1.0
        return min(value * factor, upper)

    def state_dict(self) -> dict[str, Tensor]:
        """Generator and count; the hyper-parameters are the learners' own."""
        return {"rng": torch.from_numpy(seeding.to_bytes(self.rng)), "replaced": torch.tensor(self.replaced)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Inverse of `state_dict`."""
        seeding.from_bytes(self.rng, state["rng"])
        self.replaced = int(state["replaced"])


def _agents(setup: Setup, state: PPOState, kitchens: OvercookedVectorEnv) -> list[NewMember]:
    """Final agents, with the hyper-parameters they ended with on their cards."""
    out = []
    for m, agent in enumerate(final_agents(setup, state, kitchens)):
        hyper = {name: float(state.hyper[name][m]) for name in MUTABLE}
        out.append(agent._replace(card=replace(agent.card, extra={**agent.card.extra, "hyper": hyper})))
    return out
