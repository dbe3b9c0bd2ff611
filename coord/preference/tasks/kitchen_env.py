"""Kitchens with partners as a task of preference learning: the ego holds one seat, partners from a pool the others.

M members play N kitchens each (`coord.partner_env.PartnerEnv`). A kitchen is deterministic, so an episode is all that
its cooks did: `TaskStep.played` has the joint action of every step, and `TaskStep.seed` the ego's seat.

In training each kitchen draws its partner anew for every episode. In evaluation kitchen n is played with partner
n // P (modulo their number) on the other seats, and the ego on seat n modulo P: with 2 x partners kitchens every
partner is met once on either seat, and metrics name it.

Observations are the index observation written out: one number, 0 or 1, per fact that can occur in the layout
(`IndexSpec.possible`), so that a dense first layer on them is the table of an index network (`index_net`).

Deviations from `TaskEnv`: draws of partners and of their actions are shared among members, as in `coord train`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from coord import seeding
from coord.agents.files import StoredAgent, stack_agents
from coord.errors import UserError
from coord.overcooked import EVENTS, OvercookedVectorEnv
from coord.partner_env import PartnerEnv, as_pool
from coord.preference.tasks.kitchen_teachers import Judgement, judgement, sees_moves
from coord.preference.tasks.task_env import TaskEnvs, TaskStep
from coord.types import NUM_ACTIONS

if TYPE_CHECKING:
    from coord.preference.tasks.config import TaskConfig

FOR_GOOD = 2**31  # episodes that an evaluation's kitchen keeps its partner for


class KitchenTaskEnv:
    """A `TaskEnv` of kitchens; observations are facts, 0 or 1, float32 [M, N, F].

    Args:
        kitchens: M x N of them, of one layout with at least two seats.
        partners: whom the ego plays with, networks.
        members: M.
        seed: of the draws of partners and of their actions.
        judgement: what `TaskStep.wanted` is.
        partner_acts: whether the reward model reads what the other seats did, one-hot (`TaskStep.beside`).
        change: whether it reads the facts after the tick less those before.
        moves: whether these are all facts; else only things are, wherever they lie (`IndexSpec.same_thing`).
        evaluation: partners stay, and steps carry what an evaluation reports (`TaskStep.measured`).

    Raises:
        UserError: no partners, or no seat for them.
    """

    discrete = True
    act_dim = NUM_ACTIONS
    event_names = EVENTS  # of `events`, in the last tick

    def __init__(
        self,
        kitchens: OvercookedVectorEnv,
        partners: Sequence[StoredAgent],
        *,
        members: int,
        seed: int,
        judgement: Judgement,
        partner_acts: bool = False,
        change: bool = False,
        moves: bool = True,
        evaluation: bool = False,
    ) -> None:
        _check(kitchens, partners)
        rounds = FOR_GOOD if evaluation else 1
        self.env = PartnerEnv(kitchens, as_pool(partners), seed=seed, members=members, rounds=rounds)
        self.kitchens = kitchens
        self.members, self.rows = members, self.env.rows
        self.max_episode_steps = kitchens.horizon
        self.judgement, self.evaluation = judgement, evaluation
        self.names = [partners[i].card.agent_id for group in stack_agents(partners) for i in group.indices]
        if evaluation:
            self.env.partner[:] = _rotation(self.rows, kitchens.num_players, len(partners), members)[:, None]
        facts = kitchens.spec.possible(kitchens.layouts[0])
        self.facts, self.obs_dim = facts, len(facts)  # [F] numbers in the vocabulary
        self._column = torch.full((kitchens.spec.vocab_size + 1,), self.obs_dim)  # of each fact; the last is cut off
        self._column[torch.from_numpy(facts)] = torch.arange(self.obs_dim)
        self.events = torch.zeros(members, self.rows, len(EVENTS))  # [M, N, K] the ego's, in the last tick
        self.shaped_rew = torch.zeros(members, self.rows)  # the ego's, in the last tick
        self.last_partner_act = torch.zeros(members, self.rows, dtype=torch.int64)  # of the first seat after the ego's
        self._sees_others, self._sees_change = partner_acts, change
        others = NUM_ACTIONS * (kitchens.num_players - 1)
        self.beside_dim = others * partner_acts + self.obs_dim * change
        layout, spec = kitchens.layouts[0], kitchens.spec
        self._things = self._column[torch.from_numpy(spec.things(layout))]  # not where chefs stand, or clocks
        self._fold = None if moves else self._column[torch.from_numpy(spec.same_thing(layout))]
        self._before = self._counts()

    def observe(self) -> Tensor:
        """See `TaskEnv.observe`."""
        return self._written_out(self.env.observe())

    def _written_out(self, obs: Tensor) -> Tensor:
        """Lists of facts [..., K] as numbers [..., F]."""
        facts = torch.zeros(*obs.shape[:-1], self.obs_dim + 1)
        return facts.scatter_(-1, self._column[obs.long()], 1.0)[..., :-1]

    def step(self, act: Tensor) -> TaskStep:
        """See `TaskEnv.step`."""
        met = self.env.partner[np.arange(len(self.env.partner)), (self.env.ego_seat + 1) % self.kitchens.num_players]
        before = self.observe() if self._sees_change else None
        done = self.env.step(act)
        self.shaped_rew = done.shaped_rew
        self._look()
        final = self._written_out(self.env.final_observe())
        never = torch.zeros(self.members, self.rows, dtype=torch.bool)
        wanted = self._judge(done.rew)
        group = met.reshape(self.members, self.rows)
        step = TaskStep(
            final, done.rew, done.terminated, done.truncated, never, self._seats(), wanted, group, self._joint
        )
        beside = [self._others()] if self._sees_others else []
        beside += [self.changed(final - before)] if before is not None else []
        if beside:
            step = step._replace(beside=torch.cat(beside, -1))
        return step._replace(measured=self._measure(step)) if self.evaluation else step

    def changed(self, change: Tensor) -> Tensor:
        """What the reward model reads of a change [..., F] of the facts; 0 where it is not to look."""
        if self._fold is None:
            return change
        return torch.zeros_like(change).index_add_(-1, self._fold, change[..., self._things])

    def _look(self) -> None:
        """Takes down what the last tick brought."""
        self.events = self._per_row(self._counts(final=True) - self._before).float()
        self._before = self._counts()
        joint = torch.from_numpy(self.env.final_view.last_joint_act)  # [M*N, P]
        self._joint = joint.view(self.members, self.rows, -1).clone()
        other = (self.env.ego_seat + 1) % joint.shape[1]
        self.last_partner_act = joint[torch.arange(len(joint)), torch.from_numpy(other)].view(self.members, self.rows)

    def _others(self) -> Tensor:
        """[M, N, E] one-hot rows of what the other seats did, in seat order from the ego's on."""
        seats, ego = self._joint.shape[-1], torch.from_numpy(self._seats())[..., None]
        others = self._joint.gather(-1, (ego + torch.arange(1, seats)) % seats)
        return one_hot(others, NUM_ACTIONS).float().flatten(2)

    def _counts(self, final: bool = False) -> np.ndarray:
        """int32 [M*N, K] events of the ego in the running episode."""
        return self.env.env.event_counts(final)[np.arange(len(self.env.ego_seat)), self.env.ego_seat]

    def _per_row(self, values: np.ndarray) -> Tensor:
        """[M*N, ...] -> [M, N, ...]."""
        return torch.from_numpy(values).view(self.members, self.rows, *values.shape[1:])

    def _seats(self) -> np.ndarray:
        """[M, N] the ego's."""
        return self.env.ego_seat.reshape(self.members, self.rows)

    def _judge(self, rew: Tensor) -> Tensor:
        """[M, N] what a teacher judges the last tick by."""
        utility, shaped = self.judgement.utility, self.judgement.shaped * self.shaped_rew
        return utility.task * rew + shaped + self.events @ torch.from_numpy(utility.vector())

    def _measure(self, step: TaskStep) -> Mapping[str, Tensor]:
        """What an evaluation reports; NaN in kitchens that a figure is not about."""
        assert step.wanted is not None
        found = {"eval/teacher_score": step.wanted}
        found |= {f"eval/events/{name}": self.events[..., k] for k, name in enumerate(EVENTS)}
        with_whom = self._per_row(self.env.partner[:, 0])
        for name in dict.fromkeys(self.names):
            theirs = torch.tensor([name == other for other in self.names])[with_whom]
            found[f"eval/with/{name}"] = torch.where(theirs, step.rew, torch.nan)
        return found

    def get_state(self) -> dict[str, np.ndarray]:
        """See `TaskEnv.get_state`."""
        return self.env.get_state()

    def set_state(self, state: Mapping[str, np.ndarray]) -> None:
        """See `TaskEnv.set_state`."""
        self.env.set_state(state)
        self._before = self._counts()

    def close(self) -> None:
        """See `TaskEnv.close`; nothing runs on its behalf."""


def _check(kitchens: OvercookedVectorEnv, partners: Sequence[StoredAgent]) -> None:
    if not partners:
        raise UserError("env=overcooked is learned with partners: say partners=<pool>")
    if kitchens.num_players < 2:
        raise UserError(f"layout '{kitchens.layouts[0].name}' has one seat: there is no place for a partner")


def _rotation(rows: int, seats: int, partners: int, members: int) -> np.ndarray:
    """[M*N] who plays in which kitchen."""
    return np.tile(np.arange(rows) // seats % partners, members)


def kitchen_options(cfg: TaskConfig) -> dict[str, Any]:
    """What of a configuration `KitchenTaskEnv` is made with, whoever the partners are."""
    sight = {"partner_acts": cfg.sees_partner, "change": cfg.sees_change, "moves": sees_moves(cfg)}
    return {"members": cfg.members, "judgement": judgement(cfg.teacher), **sight}


def kitchen_envs(
    cfg: TaskConfig, partners: Sequence[StoredAgent], eval_partners: Sequence[StoredAgent] = ()
) -> TaskEnvs:
    """Where a run learns, and where it is evaluated: with `eval_partners`, or with the same partners.

    Raises:
        UserError: unknown layout, no partners or no seat for them, unknown utility or event.
    """
    options, met = kitchen_options(cfg), list(eval_partners) or list(partners)

    def kitchens(rows: int) -> OvercookedVectorEnv:
        return OvercookedVectorEnv(str(cfg.layout), cfg.members * rows, horizon=cfg.horizon, rules=cfg.rules)

    seeds = [seeding.derive(cfg.seed, name, "partners") for name in ("train", "evaluation")]
    return TaskEnvs(
        KitchenTaskEnv(kitchens(cfg.envs_per_member), partners, seed=seeds[0], **options),
        KitchenTaskEnv(kitchens(cfg.eval_episodes), met, seed=seeds[1], evaluation=True, **options),
    )
