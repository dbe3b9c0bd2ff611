"""Maximum entropy population: the bonus and the diversity against slow sums, and what they do to a pool; priorities."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from coord.agents.files import StoredAgent
from coord.algos import ppo
from coord.errors import UserError
from coord.rollout import allocate, collect
from populations.methods import mep, self_play
from populations.methods.mep import MEPConfig
from populations.methods.self_play import SPConfig
from populations.training import Setup, Training

TINY = {"num_envs": 8, "rollout_len": 25, "network": "mlp_features", "hidden": (16,), "num_minibatches": 2}


def setup(updates: int = 4, members: int = 3, partners: tuple[StoredAgent, ...] = (), **algo: object) -> Setup:
    cfg = ppo.PPOConfig(total_steps=updates * 200, **{**TINY, **algo})
    return Setup(algo=cfg, layout="cramped_room", horizon=25, members=members, name="mep", partners=partners)


def sharpened(training: Training, gain: float = 300.0) -> Training:
    """Members that differ: fresh policies are all but uniform."""
    with torch.no_grad():
        training.state.net.head_weight *= gain
    return training


def test_the_bonus_is_minus_alpha_log_of_the_mean_policy_of_the_rows_own_state() -> None:
    training = sharpened(mep.make_pool(MEPConfig(alpha=0.5), setup()))
    state, env = training.state, training.env
    roll = allocate(env, 6)
    collect(state.net, env, state.gens, roll, lambda episodes: None)
    before = roll.rew.clone()
    training.hooks.on_rollout(state, roll)
    bonus = roll.rew - before
    members = [state.net.select([m]) for m in range(3)]
    compared = 0
    for t in range(6):
        for m in range(3):
            for b in (0, 3, 15):
                probs = [net(roll.obs[t, m, b][None, None])[0].softmax(-1)[0, 0].detach().numpy() for net in members]
                expected = -0.5 * np.log(np.mean([p[int(roll.act[t, m, b])] for p in probs]))
                assert float(bonus[t, m, b]) == pytest.approx(expected, abs=1e-4)
                compared += 1
    assert compared == 54
    assert bonus.std() > 0.01  # rows do not share one value


def test_diversity_is_mean_entropy_plus_mean_pairwise_divergence() -> None:
    logp = torch.randn(4, 5, 6, dtype=torch.float64).log_softmax(-1)
    p = logp.exp().numpy()
    for r, found in enumerate(mep.population_diversity(logp)):
        ent = np.mean([-(p[i, r] * np.log(p[i, r])).sum() for i in range(4)])
        kl = np.mean([(p[i, r] * np.log(p[i, r] / p[j, r])).sum() for i in range(4) for j in range(4)])
        assert float(found) == pytest.approx(ent + kl)
    same = torch.full((3, 1, 6), 1 / 6).log()
    assert float(mep.population_diversity(same)) == pytest.approx(np.log(6))


@pytest.mark.learn
def test_the_pool_is_more_diverse_than_that_of_self_play_by_its_own_measure() -> None:
    """Both are pushed to be deterministic by a reward for action 0..2; only the bonus keeps MEP's members apart."""
    found = {}
    for name, training in {
        "sp": self_play.make(SPConfig(), setup(updates=30, ent_coef=0.0, ent_coef_final=0.0, lr=0.01)),
        "mep": mep.make_pool(MEPConfig(alpha=2.0), setup(updates=30, ent_coef=0.0, ent_coef_final=0.0, lr=0.01)),
    }.items():
        hook = training.hooks.on_rollout

        def pay(state: ppo.PPOState, roll: object, hook: object = hook) -> None:
            roll.rew += (roll.act == 1).float()  # what every member is paid for: to go south
            hook(state, roll)

        training.hooks.on_rollout = pay
        training.run(training.state, training.env, ppo.Hooks())
        obs = training.env.observe().flatten(0, 1)
        found[name] = float(mep.population_diversity(mep.all_log_probs(training.state.net, obs)).mean())
    assert found["mep"] > 1.5 * found["sp"], found


def test_the_log_has_bonus_and_diversity_and_the_pool_three_agents_of_each() -> None:
    training = mep.make_pool(MEPConfig(), setup())
    rows: list[dict] = []
    training.run(training.state, training.env, ppo.Hooks(on_update=lambda state, metrics: rows.append(dict(metrics))))
    assert all(0.01 < float(row["method/bonus"].mean()) < 0.03 for row in rows)
    assert all(1.5 < row["method/diversity"] < 2.5 for row in rows)
    assert [agent.card.agent_id for agent in training.agents()][:4] == [
        "mep0-0-init",
        "mep0-0-mid",
        "mep0-0-final",
        "mep0-1-init",
    ]


# ------------------------------------------------------------------------------------------------- stage 2


def test_ranks_by_hand() -> None:
    """Returns 10, 30, 20: ranks 3, 1, 2."""
    returns = np.array([[10.0, 30.0, 20.0], [-np.inf, -np.inf, 5.0]])
    probs = mep.rank_probabilities(returns, 3.0)
    np.testing.assert_allclose(probs[0], np.array([27, 1, 8]) / 36)
    np.testing.assert_allclose(probs[1], np.array([2.5**3, 2.5**3, 1]) / (2 * 2.5**3 + 1))
    np.testing.assert_allclose(mep.rank_probabilities(returns, 0.0), 1 / 3)


def test_weak_partners_get_a_greater_share_of_the_games() -> None:
    pool = self_play.make(SPConfig(), setup(members=4)).agents()
    partners = tuple(StoredAgent(new.card, new.net) for new in pool)
    training = mep.make_ego(MEPConfig(), setup(updates=40, members=2, partners=partners, num_envs=16))
    env = training.env
    finished = env.finished

    def paid() -> object:
        """As if partner i of the pool were worth 10 i points."""
        episodes = finished()
        met.append(np.stack([episodes.member, episodes.partner]))
        return episodes._replace(ret=10.0 * episodes.partner.astype(np.float32))

    met: list[np.ndarray] = []
    env.finished = paid
    training.run(training.state, env, ppo.Hooks())
    np.testing.assert_allclose(env.probs, np.tile(np.array([64, 27, 8, 1]) / 100, (2, 1)))
    late = np.concatenate(met[10:], 1)[1]
    shares = np.bincount(late, minlength=4) / len(late)
    np.testing.assert_allclose(shares, np.array([64, 27, 8, 1]) / 100, atol=0.06)
    other = mep.make_ego(MEPConfig(), setup(members=2, partners=partners, num_envs=16))
    other.extra.load_state_dict(training.extra.state_dict())
    np.testing.assert_array_equal(other.extra.known(), training.extra.known())
    assert training.extra.var.max() == 0.0


def test_no_pool_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="partners=<pool>"):
        mep.make_ego(MEPConfig(), setup())
