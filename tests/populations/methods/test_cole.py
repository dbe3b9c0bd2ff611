"""COLE: the graph and the game by hand, and an ego whose population grows and draws the ones it fails with."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from coord.agents.files import read_agent
from coord.algos import ppo
from coord.run.cli import main
from populations.methods import cole
from populations.training import Setup, Training
from tests.resuming import check_resume


def test_shapley_values_equal_enumeration() -> None:
    payoff = np.array([[4.0, 6.0, 1.0], [6.0, 8.0, 2.0], [1.0, 2.0, 0.0]])
    w = cole.softmax(-10 * cole.pagerank(payoff))

    def value(members: tuple[int, ...]) -> float:
        if len(members) <= 1:
            return float(payoff[members[0], members[0]]) if members else 0.0
        pairs = list(itertools.permutations(members, 2))
        return sum(w[i] * w[j] * payoff[i, j] for i, j in pairs) / sum(w[i] * w[j] for i, j in pairs)

    exact = np.zeros(3)
    for order in itertools.permutations(range(3)):
        for k, i in enumerate(order):
            exact[i] += (value(order[: k + 1]) - value(order[:k])) / 6
    got = cole.shapley(payoff, 20_000, np.random.default_rng(0))
    np.testing.assert_allclose(got, exact, atol=0.06)
    assert got.sum() == pytest.approx(value((0, 1, 2)))  # efficiency holds for every order, so exactly


def test_pagerank_is_a_stationary_distribution() -> None:
    payoff = np.array([[0.0, 1.0, 0.0], [3.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
    rank = cole.pagerank(payoff)
    step = np.array([[0, 1, 0], [0.75, 0, 0.25], [0.5, 0.5, 0]])
    np.testing.assert_allclose(rank, 0.15 / 3 + 0.85 * rank @ step, atol=1e-9)
    assert rank.argmax() == 1


def test_the_incompatible_and_the_unknown_are_met_more() -> None:
    values = np.array([10.0, 5.0, 0.0])
    q = cole.partner_probs(values, np.zeros(3), explore=0.0)
    np.testing.assert_allclose(q, cole.softmax(np.array([-10.0, -5.0, 0.0])))
    shy = cole.partner_probs(np.zeros(3), np.array([9.0, 9.0, 0.0]), explore=1.0)
    assert shy[2] > 5 * shy[0]


def test_centrality_by_hand() -> None:
    # 0 and 2 like 1 best, 1 likes 0 best: in-degrees 1, 2, 0.
    payoff = np.array([[0.0, 9.0, 1.0], [8.0, 0.0, 2.0], [1.0, 5.0, 0.0]])
    np.testing.assert_allclose(cole.centrality(payoff), [0.5, 0.0, 1.0])
    assert cole.is_refused(payoff, 0.1)
    assert not cole.is_refused(payoff[::-1, ::-1], 0.1)


def build(members: int = 2) -> tuple[ppo.PPOState, cole.Generations, Training]:
    algo = ppo.PPOConfig(total_steps=4_000, num_envs=4, rollout_len=50, num_minibatches=2)
    setup = Setup(algo=algo, layout="cramped_room", members=members, horizon=60, seed=3, name="cole")
    training = cole.make(cole.COLEConfig(generation_steps=600, games=1, tries=1), setup)
    return training.state, training.extra, training


def test_the_population_grows_and_the_draws_follow_it() -> None:
    state, generations, training = build()
    before = generations.env.probs.copy()
    assert before[0, 0] == pytest.approx(0.25)
    assert (before[0] > 0).sum() == 1 + 3
    training.run(state, training.env, ppo.Hooks())
    assert (generations.count > 4).all()
    for m in range(2):
        n = int(generations.count[m])
        mine = slice(1 + m * generations.cap, 1 + m * generations.cap + n)
        assert generations.env.probs[m].sum() == pytest.approx(1)
        assert generations.env.probs[m, mine].sum() == pytest.approx(0.75)  # nobody of the other ego's population
        assert (generations.env.probs[m, mine] > 0).all()
    newest = int(generations.count[0]) - 1
    assert all(not np.array_equal(v[newest].numpy(), v[0].numpy()) for v in generations.past.tensors().values())


def test_resume_is_exact() -> None:
    check_resume(build()[2], build()[2], at=5)


def test_every_ego_is_written(tmp_path: Path) -> None:
    words = ["train", "method=cole", "members=2", "algo.num_envs=4", "algo.rollout_len=50", "algo.num_minibatches=2",
             "algo.total_steps=1000", "method.generation_steps=400", "method.games=1", "threads=1"]  # fmt: skip
    assert main([*words, f"out={tmp_path / 'a'}"]) == 0
    agents = sorted((tmp_path / "a").glob("*.safetensors"))
    assert [read_agent(path).card.method for path in agents] == ["cole", "cole"]


def test_partners_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "method=cole", "partners=bc_train", f"out={tmp_path / 'x'}"]) == 2
    assert "makes its own partners" in capsys.readouterr().err
