"""The ego with a belief: noisy partners, whom it compares with, exact resume, and files that play."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from coord.agents.context.belief import SIZE, PartnerBelief
from coord.agents.files import AGENT_FILE, StoredAgent
from coord.algos import ppo
from coord.errors import UserError
from coord.evaluation.agents import load_agent
from coord.evaluation.matches import MatchRules, both_seats, play_matches
from coord.overcooked import load_layout
from coord.partner_env import PartnerEnv, frozen_partners
from coord.run import config
from populations.methods import belief
from populations.methods.belief import BeliefConfig
from populations.partners.noisy import NoisyPartners, draw_habits
from populations.training import Setup, Training, write_egos
from tests.coord.test_partner_env import constant_pool, kitchens
from tests.populations.methods.test_pecan import TINY, untrained_pool
from tests.resuming import check_resume

INTERACT, STAY = 5, 4


def training(members: int = 2, seed: int = 3, **own: object) -> Training:
    setup = Setup(algo=TINY, layout="cramped_room", horizon=25, members=members, seed=seed, name="belief")
    return belief.make(BeliefConfig(**{"hypotheses": 4, **own}), dataclasses.replace(setup, partners=untrained_pool()))


# ------------------------------------------------------------------------------------------------- lapses


def noisy(num_envs: int = 400, **how: float) -> tuple[NoisyPartners, PartnerEnv]:
    """Partners that interact all the time unless they lapse."""
    env = kitchens(num_envs, horizon=200)
    how = {"clean": 0.0, "max_eps": 0.8, "max_spell": 20.0} | how
    partners = NoisyPartners(frozen_partners(constant_pool(env, [INTERACT]), env.spec), **how)
    return partners, PartnerEnv(env, partners, seed=0)


def lapses(partners: NoisyPartners, env: PartnerEnv, ticks: int) -> tuple[np.ndarray, np.ndarray]:
    """What partners did [ticks, N], and when they lapsed."""
    rows = np.arange(env.env.num_envs)
    acts, away = [], []
    for _ in range(ticks):
        acts.append(partners.act(env.view, rows, 1 - env.ego_seat, env.partner[rows, 1 - env.ego_seat]))
        away.append(partners.away[rows, 1 - env.ego_seat].copy())
    return np.array(acts), np.array(away)


@pytest.mark.parametrize("spell", [1.0, 10.0])
def test_lapses_take_their_share_in_spells_of_their_length(spell: float) -> None:
    partners, env = noisy()
    partners.eps[:], partners.spell[:], partners.stubborn[:] = 0.4, spell, False
    acts, away = lapses(partners, env, 400)
    assert away[100:].mean() == pytest.approx(0.4, abs=0.02)
    assert (acts[~away] == INTERACT).all()
    ends = away[100:-1] & ~away[101:]
    assert away[100:-1].sum() / ends.sum() == pytest.approx(spell / 0.6, rel=0.1)


def test_the_stubborn_repeat_themselves_and_others_follow_their_habit() -> None:
    partners, env = noisy()
    partners.eps[:], partners.spell[:] = 0.7, 10.0
    partners.stubborn[:] = np.arange(400) < 200
    partners.habit[:] = [0.3, 0.3, 0.2, 0.2, 0, 0]
    acts, away = lapses(partners, env, 200)
    running = away[1:] & away[:-1]
    same = acts[1:] == acts[:-1]
    assert same[:, :200][running[:, :200]].all()
    assert same[:, 200:][running[:, 200:]].mean() == pytest.approx(0.26, abs=0.03)
    shares = np.bincount(acts[away], minlength=6) / away.sum()
    np.testing.assert_allclose(shares, [0.3, 0.3, 0.2, 0.2, 0, 0], atol=0.03)


def test_how_noisy_they_are_is_drawn_for_each_episode() -> None:
    partners, _ = noisy(num_envs=3000, clean=0.25)
    assert (partners.eps == 0).mean() == pytest.approx(0.25, abs=0.03)
    some = partners.eps[partners.eps > 0]
    assert (some.max(), some.mean()) == (pytest.approx(0.8, abs=0.01), pytest.approx(0.4, abs=0.02))
    assert np.median(partners.spell) == pytest.approx(20**0.5, rel=0.1)
    habits = draw_habits(np.random.default_rng(0), 3000)
    np.testing.assert_allclose(habits.sum(1), 1)
    still, uniform = habits[:, STAY] == 0.9, np.ptp(habits, axis=1) == 0
    assert (still.mean(), uniform.mean()) == (pytest.approx(1 / 3, abs=0.03), pytest.approx(1 / 3, abs=0.03))


# ------------------------------------------------------------------------------------------------- company


def test_agents_of_every_level_are_compared_with() -> None:
    level = np.repeat([0, 1, 2], 6)
    chosen = belief.choose(level, 12)
    assert np.bincount(level[chosen]).tolist() == [1, 5, 6]
    assert chosen == sorted(set(chosen))
    assert belief.choose(np.array([0, 1, 2, 0, 1, 2]), 12) == [0, 1, 2, 4, 5]
    assert belief.choose(np.full(20, 2), 5) == [0, 4, 8, 12, 16]


def test_untrained_agents_and_the_ego_have_their_shares() -> None:
    cfg = BeliefConfig(low_share=0.1, self_share=0.2, biased_share=0.3)
    found = belief.probabilities(cfg, np.array([0, 1, 2, 0, 1, 2]))
    np.testing.assert_allclose(found, [0.2, 0.05, 0.1, 0.1, 0.05, 0.1, 0.1, 0.3])
    np.testing.assert_allclose(belief.probabilities(cfg, np.array([1, 2])), [0.2, 0.25, 0.25, 0.3])
    np.testing.assert_allclose(belief.probabilities(cfg, np.array([0, 0])), [0.2, 0.25, 0.25, 0.3])
    np.testing.assert_allclose(training().env.inner.inner.probs.sum(1), 1)


def test_what_cannot_be_compared_is_refused() -> None:
    setup = Setup(algo=TINY, layout="cramped_room")
    with pytest.raises(UserError, match="partners=<pool>"):
        belief.make(BeliefConfig(), setup)
    for fields in ({"hypotheses": 1}, {"max_spell": 0.5}, {"low_share": 0.6, "self_share": 0.6}, {"share": 1.0}):
        with pytest.raises(UserError, match=r"must be|at most"):
            config.from_dict(BeliefConfig, fields)


# ------------------------------------------------------------------------------------------------- whole runs


def test_a_killed_run_goes_on_with_the_same_bits() -> None:
    check_resume(training(), training(seed=8), at=2)


def test_what_was_trained_is_saved_small_and_plays_the_same(tmp_path) -> None:
    made = training(members=1)
    made.run(made.state, made.env, ppo.Hooks())
    write_egos(tmp_path, made.agents())
    assert (tmp_path / AGENT_FILE).stat().st_size < 3e6
    where, games = MatchRules(layout=load_layout("cramped_room"), horizon=60), []
    for _ in range(2):
        agent = load_agent(str(tmp_path), "cramped_room", "classic")
        (context,) = agent.contexts
        assert isinstance(context, PartnerBelief)
        assert (context.net.members, agent.net.arch.extra) == (4, SIZE)
        pair = [agent, load_agent("random", "cramped_room", "classic")]
        games.append(play_matches(where, pair, both_seats(0, [1]), episodes=2, record=True))
    assert (games[0].joint_acts == games[1].joint_acts).all()
    stored = made.agents()[0]
    older = dataclasses.replace(stored.card, arch=dataclasses.replace(stored.card.arch, extra=13))
    with pytest.raises(UserError, match=r"reads 13 numbers about its partner.*now has 17; train it again"):
        StoredAgent(older, stored.net, stored.context).player()
    for name, tensor in agent.contexts[0].net.tensors().items():
        assert torch.equal(tensor, made.env.inner.context.net.tensors()[name])
