"""What every method starts from and what it hands back: a `Setup` in, a `Training` out.

A method is one function `make(config, setup) -> Training`, found by an entry point (`coord.plugins`). It builds
learners and kitchens (the functions below do the usual ones), attaches what is its own as hooks of PPO, and says which
agents it
leaves. `coord population` and `coord train` do the rest: run folder, logs, checkpoints, Ctrl-C, exact resume, files.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from coord import seeding
from coord.agents.context.base import Context
from coord.agents.files import (
    AGENT_FILE,
    MANIFEST,
    AgentCard,
    AgentGroup,
    StoredAgent,
    check_id,
    save_agent,
    stack_agents,
)
from coord.algos import ppo
from coord.checkpoint import Savable
from coord.errors import UserError, at_least
from coord.overcooked import OvercookedVectorEnv
from coord.partner_env import PartnerEnv, Partners, RowEnv, SelfPlayEnv, as_pool
from populations.pool import NewMember, add_members

ID_ROOM = 20  # letters that methods append to `<name><seed>`: member and checkpoint


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What every method is given, whatever it does."""

    algo: ppo.PPOConfig
    layout: str
    rules: str = "classic"
    horizon: int = 400  # ticks per game
    members: int = 1  # learners that train side by side
    seed: int = 0
    name: str = "agent"  # prefix of the agents' ids, and the method on their cards
    partners: tuple[StoredAgent, ...] = ()  # whom egos may train with; none for a method that makes a pool
    trained_with: tuple[str, ...] = ()  # SHA-256 of the partners' files, or built-in names: goes onto the cards

    def __post_init__(self) -> None:
        at_least(self, 1, "members")
        check_id(f"{self.name}{self.seed}", asked=f"name={self.name} seed={self.seed}", room=ID_ROOM)

    def generator(self, *names: str | int) -> np.random.Generator:
        """The numpy generator of that name, the same in every run with this seed."""
        return seeding.rng(self.seed, *names)


@dataclass
class Training:
    """A training about to start. Whatever changes must be in `state`, `env` or `extra` for a resume to be exact."""

    state: ppo.PPOState
    env: RowEnv
    agents: Callable[[], list[NewMember]]  # called once, when training is over
    hooks: ppo.Hooks = field(default_factory=ppo.Hooks)  # of the method; metrics that on_update adds are logged
    extra: Savable | None = None  # what the method itself remembers
    loop: Callable[[Any, Any, ppo.Hooks], Any] = ppo.train  # another learner brings its own

    def run(self, state: Any, env: Any, hooks: ppo.Hooks) -> Any:
        """Trains with the method's hooks before those of the run (logs, checkpoints, Ctrl-C)."""

        def on_update(state: Any, metrics: dict[str, Any]) -> None:
            self.hooks.on_update(state, metrics)
            hooks.on_update(state, metrics)

        def should_stop(state: Any) -> bool:
            return self.hooks.should_stop(state) or hooks.should_stop(state)

        return self.loop(state, env, replace(self.hooks, on_update=on_update, should_stop=should_stop))


class Make(Protocol):
    """What builds the training of a published method."""

    def __call__(self, cfg: Any, setup: Setup, /) -> Training:
        """Builds everything; raises UserError for what cannot be built, before a folder is made."""


class TrainingMethod(NamedTuple):
    """What an entry point of `coord.pool_methods` or `coord.ego_methods` names, often a module with these two names."""

    Config: type  # frozen dataclass of the method's own fields
    make: Make


# ------------------------------------------------------------------------------------------------- the usual parts


def make_kitchens(setup: Setup, members: int | None = None) -> OvercookedVectorEnv:
    """`num_envs` kitchens for each of `members` (default: all) learners."""
    count = setup.algo.num_envs * (setup.members if members is None else members)
    return OvercookedVectorEnv(setup.layout, count, horizon=setup.horizon, rules=setup.rules, seed=setup.seed)


def make_learners(
    setup: Setup, kitchens: OvercookedVectorEnv, members: int | None = None, *, extra: int = 0, memory: int = 0
) -> ppo.PPOState:
    """Fresh learners (`extra` and `memory` as in `Arch`); member m depends on (seed, m) only."""
    count = setup.members if members is None else members
    seeds = seeding.member_seeds(setup.seed, count)
    return ppo.create(setup.algo, replace(ppo.make_arch(setup.algo, kitchens), extra=extra, memory=memory), seeds)


def self_play(setup: Setup) -> tuple[ppo.PPOState, SelfPlayEnv]:
    """Every learner on all seats of its own kitchens."""
    kitchens = make_kitchens(setup)
    state = make_learners(setup, kitchens)
    return state, SelfPlayEnv(kitchens, setup.members, state.net.obs_kind)


def with_partners(setup: Setup) -> tuple[ppo.PPOState, PartnerEnv]:
    """Every learner on one seat of its own kitchens, `setup.partners` on the others (see `PartnerEnv.probs`)."""
    if not setup.partners:
        raise UserError(f"method={setup.name} trains with partners: say partners=<pool>")
    kitchens = make_kitchens(setup)
    state = make_learners(setup, kitchens)
    return state, partner_env(setup, kitchens, as_pool(setup.partners), state.net.obs_kind)


def partner_env(
    setup: Setup, kitchens: OvercookedVectorEnv, partners: Partners, obs_kind: str, **how: Any
) -> PartnerEnv:
    """One seat of each kitchen for a learner; draws of partners and of their actions are shared among members.

    how: `by_seat` and `rounds` of `PartnerEnv`.
    """
    if kitchens.num_players < 2:
        raise UserError(f"layout '{setup.layout}' has one seat: there is no place for a partner")
    seed, members = seeding.derive(setup.seed, "partners"), kitchens.num_envs // setup.algo.num_envs
    return PartnerEnv(kitchens, partners, seed=seed, members=members, obs_kind=obs_kind, **how)


def one_network(partners: Sequence[StoredAgent], purpose: str) -> AgentGroup:
    """The agents as one network on indices without memory or context, whose members are asked together about any state.

    Raises:
        UserError: no partners, or partners whose networks differ or read something else.
    """
    if not partners:
        raise UserError(f"{purpose}: say partners=<pool>")
    groups = stack_agents(partners)
    arch = groups[0].net.arch
    if len(groups) > 1 or arch.kind != "mlp_index" or arch.memory or arch.extra:
        raise UserError(
            f"{purpose}: all partners must have the same network, one on indices (network=mlp_index) that neither "
            "remembers nor infers who its partner is"
        )
    return groups[0]


# ------------------------------------------------------------------------------------------------ what is left behind


def card(
    state: ppo.PPOState, kitchens: OvercookedVectorEnv, member: int, *, agent_id: str, method: str, seed: int
) -> AgentCard:
    """What the file of a trained member says about it."""
    ret = state.mean_returns()[member]
    return AgentCard(
        agent_id=agent_id,
        layouts={layout.name: layout.hash for layout in kitchens.layouts},
        rules=kitchens.rules,
        method=method,
        arch=state.net.arch,
        seed=seed,
        member=member,
        env_steps=state.env_step,
        mean_return=None if np.isnan(ret) else float(ret),
        spec=kitchens.spec.to_dict() if state.net.obs_kind == "index" else None,
    )


def final_agents(
    setup: Setup, state: ppo.PPOState, kitchens: OvercookedVectorEnv, context: Context | None = None
) -> list[NewMember]:
    """Every learner as it is now, called `<name><seed>-<member>`; without a number if it is alone.

    context: what the networks read beside the kitchen; each gets its own member of it.
    """
    out = []
    human_data = next((who.card.human_data for who in setup.partners if who.card.human_data), "")
    extra = {"trained_with": list(setup.trained_with)} if setup.trained_with else {}
    for m in range(state.net.members):
        agent_id = f"{setup.name}{setup.seed}" + (f"-{m}" if state.net.members > 1 else "")
        mine = card(state, kitchens, m, agent_id=agent_id, method=setup.name, seed=setup.seed)
        mine = replace(mine, human_data=human_data, extra=extra)
        if context is None:
            out.append(NewMember(mine, state.net.select([m])))
            continue
        own = {name: tensor[m : m + 1] for name, tensor in context.tensors().items()}
        out.append(NewMember(replace(mine, context=context.settings()), state.net.select([m]), own))
    return out


def egos_file(folder: Path, setup: Setup) -> Path:
    """The file that `write_egos` writes last."""
    return folder / (AGENT_FILE if setup.members == 1 else MANIFEST)


def write_egos(folder: Path, agents: Sequence[NewMember]) -> None:
    """A lone agent as `agent.safetensors`, several as a pool."""
    if len(agents) == 1:
        save_agent(folder / AGENT_FILE, agents[0].card, agents[0].net, context=agents[0].context)
    else:
        add_members(folder, agents)
