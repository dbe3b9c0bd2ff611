"""Kickstarting by the scripted cook: what it advises, that the ego follows, that they end, exact resume."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from coord.agents.greedy import GreedyAgent
from coord.agents.players import STAY
from coord.algos import ppo
from coord.errors import UserError
from coord.overcooked import OvercookedVectorEnv
from coord.partner_env import SelfPlayEnv
from coord.run import config
from populations.methods import belief
from populations.methods.belief import BeliefConfig
from populations.partners.kickstarting import KickstartedEnv, Kickstarting
from populations.training import Setup, Training
from tests.coord.test_partner_env import kitchens
from tests.populations.methods.test_pecan import TINY, untrained_pool
from tests.resuming import check_resume


def training(seed: int = 3, **own: object) -> Training:
    setup = Setup(algo=TINY, layout="cramped_room", horizon=25, members=2, seed=seed, name="belief")
    cfg = BeliefConfig(**{"hypotheses": 4, "kickstarting_horizon": TINY.total_steps, **own})
    return belief.make(cfg, dataclasses.replace(setup, partners=untrained_pool()))


def test_the_teacher_says_what_the_scripted_cook_would_do_in_the_learners_place() -> None:
    """It watches the same kitchens from the same seats, new episodes included."""
    env, own = kitchens(6, horizon=30), kitchens(6, horizon=30)
    inner = SelfPlayEnv(env)
    kickstarted = KickstartedEnv(inner, inner, seed=1)
    alone = GreedyAgent()
    alone.start(6, 2, 99)
    view = SelfPlayEnv(own).view
    kitchen, seat = inner.learners
    rng, compared = np.random.default_rng(0), 0
    for tick in range(45):
        expected = alone.act(view, kitchen, seat)
        acts = rng.integers(6, size=12)
        kickstarted.step(torch.from_numpy(acts)[None])
        joint = acts.reshape(6, 2)
        view.stepped(joint, own.step(joint).truncated)
        if tick == 29:
            alone.begin_episode(np.arange(6))
        if tick < 20:  # later on a stuck cook steps aside at random
            np.testing.assert_array_equal(kickstarted.advice[-1], expected)
            compared += 1
    assert compared == 20
    assert len(kickstarted.advice) == 45
    assert len(np.unique(kickstarted.advice)) > 3


def test_an_ego_follows_the_advice() -> None:
    steps = 40 * TINY.rollout_len * TINY.num_envs
    made = training(kickstarting=1.0, kickstarting_horizon=2 * steps)
    said: list[float] = []

    def on_update(_: ppo.PPOState, metrics: dict) -> None:
        said.append(float(metrics["method/agrees_with_teacher"].mean()))

    made.state.cfg = dataclasses.replace(TINY, total_steps=steps, lr=2e-3, num_epochs=4)
    made.run(made.state, made.env, ppo.Hooks(on_update=on_update))
    assert np.mean(said[-3:]) > np.mean(said[:2]) + 0.15


def test_the_gradient_of_the_loss_is_that_of_the_cross_entropy() -> None:
    """All rows that are drawn say `STAY`: the loss is minus the mean log-probability of it, times the weight."""
    made = training()
    kickstarting: Kickstarting = made.extra
    kickstarting._coef, kickstarting.agreed = 0.5, []
    obs = made.env.observe()
    kickstarting._obs = obs[:, :1].expand(-1, 64, -1)  # one state: whatever is drawn is the same
    kickstarting._advice = torch.full((2, 64), STAY)
    logp = made.state.net(obs[:, :1])[0].log_softmax(-1)[:, 0, STAY]
    assert float(kickstarting.loss(made.state).detach()) == pytest.approx(-0.5 * float(logp.sum()), rel=1e-5)


def test_kickstarting_ends() -> None:
    made = training(kickstarting_horizon=2 * TINY.rollout_len * TINY.num_envs)
    seen: list[dict] = []
    made.run(made.state, made.env, ppo.Hooks(on_update=lambda _, metrics: seen.append(dict(metrics))))
    taught = ["method/agrees_with_teacher" in metrics for metrics in seen]
    assert taught == [True, False, *[False] * (len(seen) - 2)]
    assert not made.env.listens
    assert made.extra.coef(0) == 1.0


def test_without_weight_nothing_is_asked_or_added() -> None:
    made = training(kickstarting=0.0)
    assert not made.env.listens
    made.run(made.state, made.env, ppo.Hooks())
    assert made.env.advice == []
    with pytest.raises(UserError, match="kickstarting"):
        config.from_dict(BeliefConfig, {"kickstarting": -1.0})


def test_a_killed_run_goes_on_with_the_same_bits() -> None:
    check_resume(training(), training(seed=8), at=2)


def test_the_cook_goes_on_where_it_was() -> None:
    """Its state, put into another one, gives the same actions, also where it draws."""
    env = OvercookedVectorEnv("coordination_ring", 8, horizon=400)
    env.reset()
    view, rows = SelfPlayEnv(env).view, np.arange(8)
    seats, one, two = np.zeros(8, np.int64), GreedyAgent(0.8), GreedyAgent(0.8)
    for seed, cook in enumerate((one, two)):
        cook.start(8, 2, seed)
    rng = np.random.default_rng(1)
    for tick in range(80):
        mine = one.act(view, rows, seats)
        if tick == 40:
            two.set_state(one.get_state())
        if tick > 40:
            np.testing.assert_array_equal(two.act(view, rows, seats), mine)
        joint = np.stack([mine, rng.integers(6, size=8)], 1)
        view.stepped(joint, env.step(joint).truncated)
