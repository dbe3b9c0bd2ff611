"""Direct policy learning on the island: what is asked, stored and avoided, the loss, and that it learns."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from coord import seeding
from coord.control import gridworld
from coord.errors import UserError
from coord.studies import direct_policy as dp

UP, DOWN, LEFT, RIGHT = range(4)
CORNER = 10  # the north-western corner: water below and to the left


def learner(variant: str = "jpal_ha", seed: int = 0) -> dp.DirectPolicyLearner:
    policy = dp.Policy(seeding.torch_generator(seed, "test"))
    return dp.DirectPolicyLearner(dp.VARIANTS[variant], dp.User(), policy, seeding.rng(seed, "test"))


def test_the_user_judges_by_best_values() -> None:
    user = dp.User()
    assert user.warns(CORNER, DOWN)
    assert user.warns(CORNER, LEFT)
    assert not user.warns(CORNER, UP)
    assert not user.warns(CORNER, RIGHT)
    assert user.prefers(CORNER, RIGHT, UP) == 1.0
    assert user.prefers(CORNER, UP, RIGHT) == 0.0
    assert user.prefers(CORNER, DOWN, LEFT) == 0.5  # two ways to drown
    assert user.prefers(gridworld.island().start, LEFT, DOWN) == 0.5  # two ways that are equally long


def test_loss_is_the_cross_entropy_of_two_actions_alone() -> None:
    """Worked from probabilities, as published: pi(a) / (pi(a) + pi(b)) against mu."""
    logits = torch.tensor([[0.0, 1.0, -1.0, 2.0], [0.5, 0.5, 3.0, -2.0]], dtype=torch.float64)
    rows, first, second = torch.tensor([0, 1, 1]), torch.tensor([1, 2, 0]), torch.tensor([3, 0, 1])
    mu = torch.tensor([1.0, 0.75, 0.5], dtype=torch.float64)
    pi = logits.softmax(-1)
    share = pi[rows, first] / (pi[rows, first] + pi[rows, second])
    expected = -(mu * share.log() + (1 - mu) * (1 - share).log()).mean()
    assert torch.allclose(dp.pair_loss(logits, rows, first, second, mu), expected)
    assert torch.allclose(share[2], torch.tensor(0.5, dtype=torch.float64))


def test_a_warning_brings_all_implied_pairs_and_a_pattern() -> None:
    """In the corner: two safe, two unsafe actions, so four pairs are certain, one is even, one is a preference."""
    agent = learner()
    best = agent.judge(CORNER, RIGHT, DOWN, count="before")
    for _ in range(3):  # until the second catastrophe has been met
        agent.suppose(CORNER, [UP], [DOWN, LEFT])
    found = {(a, b): mu for (cell, a, b), mu in agent.pairs.items() if cell == CORNER}
    assert found[UP, DOWN] == found[UP, LEFT] == 1.0
    assert found[DOWN, RIGHT] == found[LEFT, RIGHT] == 0.0
    assert found[DOWN, LEFT] == 0.5
    assert found[UP, RIGHT] == 0.25
    assert len(found) == 6
    assert best in (UP, RIGHT)
    assert agent.patterns == {frozenset({DOWN, LEFT})}
    # The same shore elsewhere: water below and to the left of cell 20, not of the start.
    assert agent.pattern(20) == frozenset({DOWN, LEFT})
    assert agent.pattern(gridworld.island().start) == frozenset()
    with torch.no_grad():  # a policy that wants to drown
        agent.policy.local[1].bias.copy_(torch.tensor([-10.0, 10.0, 5.0, -5.0]))
    assert agent.greedy(20) == DOWN
    assert agent.greedy(20, agent.pattern(20)) == RIGHT


@pytest.mark.parametrize(("variant", "safe", "plain"), [("no_hypothetical", 1.0, 0.75), ("parenting", 1.0, 1.0)])
def test_strength_of_labels_without_hypothetical_actions(variant: str, safe: float, plain: float) -> None:
    agent = learner(variant)
    agent.judge(CORNER, RIGHT, DOWN, count="after")
    agent.judge(CORNER, RIGHT, UP, count="after")
    agent.judge(CORNER, LEFT, DOWN, count="after")
    assert agent.remembered(CORNER, RIGHT, DOWN) == safe
    assert agent.remembered(CORNER, RIGHT, UP) == plain
    assert agent.remembered(CORNER, UP, RIGHT) == 1 - plain
    assert agent.remembered(CORNER, LEFT, DOWN) == 0.5
    assert (agent.counts["after"], agent.counts["single"], len(agent.patterns)) == (3, 0, 0)


def test_two_catastrophes_before_the_fact_are_never_done() -> None:
    acted = [learner("parenting", seed).judge(CORNER, DOWN, LEFT, count="before") for seed in range(20)]
    assert set(acted) <= {UP, RIGHT}


def test_what_was_answered_is_not_asked_again() -> None:
    agent = learner("parenting")
    for _ in range(30):
        agent.ask_before(CORNER)
    stored = [key for key in agent.pairs if key[0] == CORNER]
    assert len(stored) == len(set(stored)) <= 6
    drowning = agent.counts["before"] - len(stored)  # those of two catastrophes are asked, and not stored
    assert drowning <= agent.counts["before"] <= 6 + drowning
    before = agent.counts["before"]
    agent.recorded.extend([(CORNER, *pair) for pair in ((RIGHT, UP), (UP, RIGHT))])
    agent.ask_after()
    assert agent.remembered(CORNER, UP, RIGHT) is not None
    assert agent.counts["after"] + before - len(stored) <= 1 + drowning


def test_recording_does_nothing_but_record() -> None:
    agent = learner("no_hypothetical")
    for _ in range(10):
        agent.record(CORNER)
    taken = agent.greedy(CORNER)
    assert {(cell, best) for cell, best, _ in agent.recorded} == {(CORNER, taken)}
    assert sorted(other for _, _, other in agent.recorded) == [act for act in dp.ACTIONS if act != taken]
    assert not agent.pairs
    assert not agent.counts
    agent.asked[CORNER] = dp.FAMILIAR
    agent.recorded.clear()
    agent.record(CORNER)
    assert not agent.recorded


def test_every_parameter_learns_from_pairs() -> None:
    agent = learner()
    agent.judge(CORNER, RIGHT, DOWN, count="before")
    before = [tensor.clone() for tensor in agent.policy.parameters()]
    agent.train()
    moved = [not torch.equal(a, b) for a, b in zip(before, agent.policy.parameters(), strict=True)]
    assert all(moved)
    assert agent.learned == len(agent.pairs)


def test_idle_steps_train_longer_with_a_larger_step() -> None:
    agent = learner()
    agent.judge(CORNER, RIGHT, DOWN, count="before")
    agent.train()
    rates = []
    for _ in range(agent.cfg.idle_steps):
        agent.train()
        rates.append(agent.optim.param_groups[0]["lr"])
    assert rates == [1e-3] * (agent.cfg.idle_steps - 1) + [1e-2]
    agent.train()
    assert agent.optim.param_groups[0]["lr"] == 1e-3


@pytest.mark.parametrize("variant", ["jpal_ha", "parenting"])
def test_it_finds_the_best_way_with_few_questions(variant: str) -> None:
    """Both need some thirty answers; a run is a function of its seed."""
    found = dp.run(variant, seed=1)
    assert found.optimal
    assert found.hidden_return == 42
    assert found.deaths <= 1
    assert 10 <= found.labels <= 80
    assert np.isclose(found.labels, found.before + found.after + found.single)


def test_a_run_is_a_function_of_its_seed() -> None:
    assert dp.run("no_justifications", seed=1) == dp.run("no_justifications", seed=1)


def test_what_cannot_be() -> None:
    with pytest.raises(UserError, match="did you mean 'parenting'"):
        dp.run("parentng", seed=0)
    with pytest.raises(UserError, match="patterns needs hypothetical"):
        dp.DirectPolicyConfig(hypothetical=False)
