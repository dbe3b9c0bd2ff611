"""Methods that choose the ego's company: the anneal of PPO_BC, augmented start states, unsupervised partner design."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from coord import plugins
from coord.agents.files import StoredAgent
from coord.algos import ppo
from coord.errors import UserError
from coord.overcooked.packed_row import TIME
from coord.partner_env import Episodes
from populations.methods import ppo_bc, self_play, state_aug, upd
from populations.methods.ppo_bc import PPOBCConfig
from populations.methods.self_play import SPConfig
from populations.methods.state_aug import StateAugConfig
from populations.methods.upd import UPDConfig
from populations.partners.partner_returns import PartnerReturns
from populations.training import Setup, Training
from tests.resuming import check_resume

TINY = {"num_envs": 16, "rollout_len": 25, "network": "mlp_features", "hidden": (8,), "num_minibatches": 2}


def setup(updates: int = 8, members: int = 2, partners: tuple[StoredAgent, ...] = (), **other: object) -> Setup:
    algo = ppo.PPOConfig(total_steps=updates * 400, **TINY)
    where = {"layout": "cramped_room", "horizon": 25} | other
    return Setup(algo=algo, **where, members=members, name="ego", partners=partners)


def pool(size: int = 3) -> tuple[StoredAgent, ...]:
    """Untrained agents."""
    return tuple(StoredAgent(new.card, new.net) for new in self_play.make(SPConfig(), setup(members=size)).agents())


def trained(training: Training, stop_at: int = 10**9, on_update: object = lambda state, metrics: None) -> Training:
    hooks = ppo.Hooks(on_update=on_update, should_stop=lambda state: state.update_step >= stop_at)
    training.run(training.state, training.env, hooks)
    return training


CASES = {
    "ppo_bc": (PPOBCConfig(sp_until=400, sp_end=1600), pool),
    "state_aug": (StateAugConfig(games=8), pool),
    "upd": (UPDConfig(candidates=6, kept=3, interval=800), tuple),
}


@pytest.mark.parametrize("name", CASES)
def test_a_resume_is_exact(name: str) -> None:
    cfg, partners = CASES[name]
    make = plugins.find("coord.ego_methods", name, "method").make
    whole, second = (make(cfg, setup(partners=partners())) for _ in range(2))
    check_resume(whole, second, at=3)
    assert [agent.card.agent_id for agent in second.agents()] == ["ego0-0", "ego0-1"]


# --------------------------------------------------------------------------------------------------- PPO_BC


def test_self_play_gives_way_to_the_clone() -> None:
    training = ppo_bc.make(PPOBCConfig(sp_until=400, sp_end=2000), setup(updates=9, partners=pool(2)))
    met: list[list[int]] = []
    finished = training.env.finished

    def watched() -> Episodes:
        episodes = finished()
        met.append(episodes.partner.tolist())
        return episodes

    training.env.finished = watched
    shares: list[float] = []
    trained(training, on_update=lambda state, metrics: shares.append(metrics["method/self_play_share"]))
    assert shares == [1.0, 0.75, 0.5, 0.25, 0.0, 0.0, 0.0, 0.0, 0.0]
    alone = [row.count(0) / len(row) for row in met]  # an episode began with the last tick of the rollout before
    np.testing.assert_allclose(alone, [1.0, 1.0, 1.0, 0.75, 0.5, 0.25, 0.0, 0.0, 0.0], atol=0.07)
    assert met[-1].count(1) == met[-1].count(2) == 16


def test_without_self_play_the_clone_is_there_from_the_start() -> None:
    assert ppo_bc.self_play_share(PPOBCConfig(sp_until=0, sp_end=0))(0) == 0.0
    assert [ppo_bc.self_play_share(PPOBCConfig(sp_until=5, sp_end=5))(step) for step in (4, 5)] == [1.0, 0.0]
    with pytest.raises(UserError, match="sp_until"):
        PPOBCConfig(sp_until=2, sp_end=1)


def test_an_ego_that_learned_from_people_says_so() -> None:
    clones = tuple(StoredAgent(dataclasses.replace(a.card, human_data="train"), a.net) for a in pool(1))
    training = ppo_bc.make(PPOBCConfig(), setup(partners=clones))
    assert {agent.card.human_data for agent in training.agents()} == {"train"}
    assert {agent.card.human_data for agent in upd.make(UPDConfig(), setup()).agents()} == {""}


# ---------------------------------------------------------------------------------------------- start states


def test_states_are_met_in_games_between_different_agents() -> None:
    given = setup(partners=pool(3), horizon=60)
    states = state_aug.met_states(given, games=10, every=20)
    assert states.shape[0] == 20
    assert (states[:, TIME] == 0).all()
    assert len(np.unique(states, axis=0)) > 10
    assert np.array_equal(states, state_aug.met_states(given, games=10, every=20))


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_the_share_of_episodes_that_start_elsewhere(share: float) -> None:
    training = state_aug.make(StateAugConfig(share=share, games=16), setup(partners=pool(2)))
    env = training.env.inner.env
    usual = env._setting.start[0]
    seen = []
    for tick in range(25 * 8 + 1):
        if tick % 25 == 0:
            seen.append((env.state != usual).any(1))
            assert (env.state[:, TIME] == 0).all()
        training.env.step(torch.full((2, 32), 4))
        assert training.env.observe().shape[:2] == (2, 32)
    elsewhere = np.mean(seen)
    assert elsewhere == pytest.approx(share, abs=0.12)  # a state of a game may happen to be the usual start
    if share == 0.5:
        assert 0.3 < elsewhere < 0.7


def test_the_last_observation_of_an_episode_is_not_that_of_the_next_start() -> None:
    training = state_aug.make(StateAugConfig(share=1.0, games=16), setup(partners=pool(2)))
    env = training.env
    for _ in range(24):
        env.step(torch.full((2, 32), 4))
    before = env.observe().clone()
    result = env.step(torch.full((2, 32), 4))  # nobody moves in the last tick
    assert result.truncated.all()
    poses = slice(-2, None)  # the last two features are a seat's own cell
    assert torch.equal(env.final_observe()[..., poses], before[..., poses])
    assert not torch.equal(env.observe()[..., poses], before[..., poses])


def test_cross_play_needs_two() -> None:
    with pytest.raises(UserError, match="at least two agents"):
        state_aug.make(StateAugConfig(), setup(partners=pool(1)))


# --------------------------------------------------------------------------------------------------- UPD


def test_the_most_learnable_candidates_are_kept_and_met_most() -> None:
    training = upd.make(UPDConfig(candidates=6, kept=2, interval=800, explore=0.2), setup())
    table, env = training.extra, training.env
    table.returns.count[:] = 5
    table.returns.var[0] = [1, 9, 3, 0, 8, 2]
    table.returns.var[1] = [5, 0, 0, 7, 0, 0]
    eps, habit = table.eps.copy(), table.habit.copy()
    curriculum = upd.Curriculum(table, env)
    env.partner[:16, :] = 1
    env.partner[16:, :] = 1
    curriculum.select()
    assert table.kept.tolist() == [[False, True, False, False, True, False], [True, False, False, True, False, False]]
    assert np.array_equal(table.eps == eps, table.kept)
    assert np.array_equal(table.habit[table.kept], habit[table.kept])
    np.testing.assert_allclose(env.probs, np.where(table.kept, 0.4, 0.05))
    assert (env.partner[:16] == 1).all()  # kept by the first learner
    assert (env.partner[16:] == -1).all()  # gone for the second: what is running counts for nobody
    assert (table.returns.count == np.where(table.kept, 5, 0)).all()


def test_partners_have_the_noise_of_their_candidate() -> None:
    training = upd.make(UPDConfig(candidates=4, kept=2), setup(horizon=1000))
    table, env = training.extra, training.env
    table.eps[:] = [0.0, 1.0, 1.0, 1.0]
    table.habit[:] = np.eye(6)[[0, 1, 2, 3]]
    with torch.no_grad():
        training.state.net.head_bias[:, 5] = 1000.0  # the learners always interact
    joint = []
    step = env.env.step
    env.env.step = lambda act: (joint.append(act.copy()), step(act))[1]
    env.step(torch.full((2, 16), 4))
    kitchen = np.arange(32)
    candidate = env.partner[kitchen, 1 - env.ego_seat]
    assert joint[0][kitchen, 1 - env.ego_seat].tolist() == [[5, 1, 2, 3][c] for c in candidate]
    assert set(candidate) == {0, 1, 2, 3}
    table.eps[:] = 0.0  # a candidate that changes within an episode does not change the partner
    env.step(torch.full((2, 16), 4))
    assert np.array_equal(joint[0], joint[1])


def test_habits_are_biased_half_of_the_time() -> None:
    table = upd.PartnerCandidates(UPDConfig(candidates=2000, kept=1), 1, np.random.default_rng(0))
    biased = table.habit.max(-1) > 0.17
    assert biased.mean() == pytest.approx(0.5, abs=0.04)
    np.testing.assert_allclose(table.habit.sum(-1), 1, atol=1e-5)
    assert np.histogram(table.eps, 4, (0, 1))[0].min() > 400


def test_selection_happens_in_training() -> None:
    rows: list[dict] = []
    made = upd.make(UPDConfig(candidates=6, kept=3, interval=800), setup())
    trained(made, on_update=lambda state, metrics: rows.append(dict(metrics)))
    assert [bool(np.isnan(row["method/learnability"]).all()) for row in rows[:3]] == [True, False, False]
    assert made.extra.kept.sum(1).tolist() == [3, 3]


# ------------------------------------------------------------------------------------------- partner returns


def test_running_mean_and_variance() -> None:
    returns = PartnerReturns(1, 2, memory=0.1)
    values = np.array([20.0, 0.0, 40.0, 60.0])

    def episode(ret: float, partner: int) -> Episodes:
        return Episodes(np.array([0]), np.array([ret], np.float32), np.array([partner]), np.array([0]))

    for ret in values:
        returns.observe(episode(ret, 0))
        returns.observe(episode(99.0, -1))
    assert returns.mean[0, 0] == pytest.approx(values.mean())
    assert returns.var[0, 0] == pytest.approx(values.var())
    assert returns.known().tolist() == [[30.0, -np.inf]]
    for _ in range(200):
        returns.observe(episode(10.0, 0))
    assert returns.mean[0, 0] == pytest.approx(10.0, abs=0.1)
    returns.forget(np.array([[True, False]]))
    assert returns.known().max() == -np.inf
