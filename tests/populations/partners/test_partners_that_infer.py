"""Agents with a memory or a context of their own as partners: in training, in pools and in cross-play."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

from coord.agents.context.base import Context
from coord.agents.files import StoredAgent
from coord.agents.policy import FrozenPolicy
from coord.algos import ppo
from coord.errors import UserError
from coord.evaluation.agents import load_agents, load_training_partners
from coord.evaluation.matches import Match, MatchRules, play_matches
from coord.overcooked import load_layout
from coord.partner_env import MixedPartners
from populations.methods import belief, pecan, recurrent, state_aug, uniform
from populations.pool import NewMember, add_members, open_pool
from populations.training import Setup, Training
from tests.agent_fixtures import index_member
from tests.populations.methods import test_belief_ego, test_pecan, test_recurrent
from tests.resuming import check_resume

pytestmark = pytest.mark.usefixtures("one_thread")

HORIZON = 25
MAKERS = {"belief": test_belief_ego.training, "pecan": test_pecan.training, "recurrent": test_recurrent.training}


def members() -> list[NewMember]:
    """An untrained agent of each method with clear opinions about all it reads, and one that only sees."""
    found = []
    for name, make in MAKERS.items():
        (new,) = make(members=1).agents()
        with torch.no_grad():
            for key, tensor in new.net.tensors().items():
                if key in ("head.weight", "extra.weight"):
                    tensor *= 30
        found.append(new._replace(card=dataclasses.replace(new.card, agent_id=name)))
    return [*found, index_member("plain", 4)]


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pools") / "pool"
    add_members(folder, members())
    return folder


def partners(pool: Path) -> tuple[StoredAgent, ...]:
    return tuple(load_training_partners([str(pool)], "cramped_room", "classic"))


def setup(pool: Path, seed: int = 3) -> Setup:
    algo = ppo.PPOConfig(total_steps=1200, num_envs=10, rollout_len=30, num_epochs=1, num_minibatches=2)
    return Setup(
        algo=algo, layout="cramped_room", horizon=HORIZON, members=2, seed=seed, name="ego", partners=partners(pool)
    )


def training(pool: Path, seed: int = 3) -> Training:
    return uniform.make(uniform.Config(), setup(pool, seed))


def contexts(made: Training) -> Mapping[str, Context]:
    parts = made.env.partners.parts
    return {one.kind: one for part in parts if isinstance(part, FrozenPolicy) for one in part.contexts}


def test_an_ego_trains_among_them_and_its_resume_is_exact(pool: Path) -> None:
    whole = training(pool)
    assert isinstance(whole.env.partners, MixedPartners)
    assert whole.env.partners.size == 4
    check_resume(whole, training(pool, seed=8), at=2)
    found = contexts(whole)
    assert set(found) == {"partner_belief", "partner_group"}
    sure = found["partner_belief"]._weight
    assert np.abs(sure - sure.mean()).max() > 0.01  # it learned of the ego
    assert found["partner_group"]._filled.any()


def test_what_they_know_matters_to_the_ego_and_is_in_the_state(pool: Path) -> None:
    """Against the same training whose partners never learn what the ego does."""
    trained = []
    for blind in (False, False, True):
        made = training(pool)
        if blind:
            for one in contexts(made).values():
                one.observe = lambda view, kitchens, *_, one=one: np.zeros((len(kitchens), one.size), np.float32)
        made.run(made.state, made.env, made.hooks)
        trained.append(made.state.net.tensors()["head.weight"])
    assert torch.equal(trained[0], trained[1])
    assert not torch.equal(trained[0], trained[2])
    names = training(pool).env.get_state()
    assert {"last_joint_act", "partners.0.context0.weight", "partners.1.context0.evidence"} <= set(names)


def test_they_play_in_the_cross_play_of_their_pool(pool: Path) -> None:
    where = MatchRules(layout=load_layout("cramped_room"), horizon=HORIZON)
    alone = load_agents([str(pool)], "cramped_room", "classic")
    assert [agent.agent_id for agent in alone] == ["belief", "pecan", "recurrent", "plain"]
    played = [
        play_matches(where, agents, [Match(i, j, 0) for i in range(4) for j in range(4)], episodes=2, record=True)
        for agents in (alone, open_pool(pool).agents())
    ]
    np.testing.assert_array_equal(played[0].joint_acts, played[1].joint_acts)


def test_states_are_met_in_their_games(pool: Path) -> None:
    states = state_aug.met_states(setup(pool), games=4, every=10)
    assert len(states) == 4 * 2


@pytest.mark.parametrize("name", MAKERS)
def test_who_asks_a_pool_about_any_state_takes_networks_that_only_see(pool: Path, name: str) -> None:
    only = dataclasses.replace(setup(pool), partners=partners(pool)[list(MAKERS).index(name) :][:1])
    for make, cfg in ((belief.make, belief.BeliefConfig()), (pecan.make, pecan.PECANConfig())):
        with pytest.raises(UserError, match="neither remembers nor infers"):
            make(cfg, only)


def test_a_recurrent_ego_trains_among_them(pool: Path) -> None:
    made = recurrent.make(recurrent.RecurrentConfig(memory=8, chunk_len=10), setup(pool))
    made.run(made.state, made.env, ppo.Hooks(should_stop=lambda state: state.update_step == 2))
    assert all(tensor.isfinite().all() for tensor in made.state.net.tensors().values())
