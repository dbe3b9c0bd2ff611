"""Fictitious co-play (Strouse et al. 2021): partners of different skill for free.

Stage 1 trains M self-play agents and keeps three checkpoints of each: at the start, where the return first reached
half of its final value, and at the end. Stage 2 trains an ego with partners drawn uniformly from those 3 M frozen
agents (`populations.methods.uniform`: `coord train partners=<pool>`).

The final return is known only at the end, so stage 1 takes a snapshot whenever a member's mean return first passes a
multiple of `STEP`, and picks among them afterwards; the middle checkpoint is thus exact to `STEP` points.

Deviation: returns are those of training play (a member's last 50 episodes), not of separate evaluation games.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from coord.agents.files import AgentCard
from coord.algos.ppo import Hooks, PPOState
from coord.nets.population import PopulationNet
from coord.overcooked import OvercookedVectorEnv
from populations.pool import NewMember
from populations.training import Setup, Training, card, self_play

STEP = 10.0  # points of return between snapshots
MIDDLE = 0.5  # the middle checkpoint is the first at this share of the final return


@dataclass(frozen=True, kw_only=True)
class FCPConfig:
    """Stage 1 of fictitious co-play has no hyper-parameters beside PPO's."""


Config = FCPConfig


def make(cfg: FCPConfig, setup: Setup) -> Training:
    """Stage 1; see `populations.training.TrainingMethod`."""
    state, env = self_play(setup)
    history = FictitiousCoPlay(setup.members)
    history.observe(state)
    hooks = Hooks(on_update=lambda state, metrics: history.observe(state))
    return Training(state, env, lambda: history.members(setup, state, env.env), hooks, history)


@dataclass
class Snapshot:
    """One member as it was."""

    env_step: int
    ret: float
    tensors: dict[str, Tensor]  # [1, ...] each


@dataclass
class FictitiousCoPlay:
    """Stage 1: snapshots of every member along training, and the pool chosen from them."""

    size: int  # M
    kept: list[list[Snapshot]] = field(init=False)

    def __post_init__(self) -> None:
        self.kept = [[] for _ in range(self.size)]

    def observe(self, state: PPOState) -> None:
        """Call once before training and after every update."""
        for m, ret in enumerate(state.mean_returns()):
            mine = self.kept[m]
            if not mine:
                self._add(state, m, 0.0)
            elif ret >= STEP * (mine[-1].ret // STEP + 1):
                self._add(state, m, float(ret))
                # Whatever the final return will be, it will hardly fall below 0.8 of the best: drop what it rules out.
                mine[1:] = [s for s in mine[1:] if s.ret >= 0.8 * MIDDLE * ret - STEP]

    def _add(self, state: PPOState, member: int, ret: float) -> None:
        tensors = {k: v[member : member + 1].clone() for k, v in state.net.tensors().items()}
        self.kept[member].append(Snapshot(state.env_step, ret, tensors))

    def middle(self, member: int, final_return: float) -> Snapshot:
        """The first snapshot at half of the final return; the start if the member never got there."""
        goal = MIDDLE * final_return
        return next((s for s in self.kept[member] if s.ret >= goal and s.ret > 0), self.kept[member][0])

    def state_dict(self) -> dict[str, Tensor]:
        """Flat mapping of tensors."""
        out: dict[str, Tensor] = {}
        for m, mine in enumerate(self.kept):
            out[f"{m}.index"] = torch.tensor([[s.env_step, s.ret] for s in mine], dtype=torch.float64)
            for i, snapshot in enumerate(mine):
                out |= {f"{m}.{i}.{k}": v for k, v in snapshot.tensors.items()}
        return out

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Inverse of `state_dict`."""
        for m in range(self.size):
            self.kept[m] = []
            for i, (step, ret) in enumerate(state[f"{m}.index"].tolist()):
                prefix = f"{m}.{i}."
                tensors = {k[len(prefix) :]: v for k, v in state.items() if k.startswith(prefix)}
                self.kept[m].append(Snapshot(int(step), ret, tensors))

    def members(self, setup: Setup, state: PPOState, kitchens: OvercookedVectorEnv) -> list[NewMember]:
        """Start, middle and final agent of every member, ready for `populations.pool.add_members`."""
        out = []
        for m in range(self.size):
            agent_id = f"{setup.name}{setup.seed}-{m}-final"
            final = card(state, kitchens, m, agent_id=agent_id, method=setup.name, seed=setup.seed)
            start, middle = self.kept[m][0], self.middle(m, final.mean_return or 0.0)
            for kind, snapshot in (("init", start), ("mid", middle)):
                net = PopulationNet(state.net.arch, snapshot.tensors)
                out.append(NewMember(_card_of(final, kind, snapshot), net))
            out.append(NewMember(final, state.net.select([m])))
        return out


def _card_of(final: AgentCard, kind: str, snapshot: Snapshot) -> AgentCard:
    return replace(
        final,
        agent_id=f"{final.agent_id.removesuffix('final')}{kind}",
        checkpoint=kind,
        env_steps=snapshot.env_step,
        mean_return=snapshot.ret,
    )
