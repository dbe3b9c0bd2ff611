"""The belief about a partner: by hand, against slow sums, and on play of partners whose nature is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from coord.agents.context import kinds
from coord.agents.context.belief import (
    INFERRED,
    NOISE,
    REPEATS,
    SIZE,
    STAYS,
    UNIFORM,
    PartnerBelief,
    habit_prob,
    learn,
    summarise,
)
from coord.agents.views import UNKNOWN, KitchenView
from coord.errors import UserError
from coord.nets.population import Arch, PopulationNet
from coord.overcooked import IndexSpec, OvercookedVectorEnv, load_layout

SPEC = IndexSpec.for_layouts([load_layout("cramped_room")], "classic", 2)
AGENTS = 5


def agents(sharp: float = 300.0) -> PopulationNet:
    """Policies that differ from state to state and from one another."""
    arch = Arch(inputs=SPEC.vocab_size, hidden=(64, 64))
    net = PopulationNet.create(arch, [torch.Generator().manual_seed(70 + m) for m in range(AGENTS)])
    with torch.no_grad():
        net.head_weight *= sharp
    return net


def context(share: float = 0.01, num_envs: int = 1) -> PartnerBelief:
    made = PartnerBelief(agents(), SPEC, [0, 1, 1, 2, 2], share=share)
    made.start(num_envs, 2, 0)
    return made


# ------------------------------------------------------------------------------------------------- arithmetic


def test_one_tick_by_hand() -> None:
    """Two agents, two noises (eps 0 and 1/2, uniform); action 0 was seen; a tenth goes back to the prior."""
    weight = np.full((2, 2), 0.25)
    probs = np.array([[1.0, 0, 0, 0, 0, 0], [0.0, 1, 0, 0, 0, 0]], np.float32)
    learn(weight, probs, 0, UNKNOWN, np.array([UNIFORM, UNIFORM]), np.array([0.0, 0.5]), 0.1)
    likelihood = np.array([[1, 7 / 12], [0, 1 / 12]])
    np.testing.assert_allclose(weight, 0.9 * likelihood / (20 / 12) + 0.1 / 4)


def test_habits_are_distributions() -> None:
    for habit in (UNIFORM, STAYS, REPEATS):
        for before in range(-1, 6):
            assert sum(habit_prob(habit, act, before) for act in range(6)) == pytest.approx(1)
    assert habit_prob(STAYS, 4, 1) == habit_prob(REPEATS, 1, 1) == 0.9
    assert habit_prob(REPEATS, 1, UNKNOWN) == pytest.approx(1 / 6)


def test_the_summary_is_the_expectation_over_all_hypotheses() -> None:
    rng, compared = np.random.default_rng(0), 0
    level = np.array([0, 2, 1, 2])
    habit, eps = np.array([h for h, _ in NOISE]), np.array([e for _, e in NOISE])
    for before in (-1, 0, 4):
        weight = rng.dirichlet(np.ones(4 * len(NOISE))).reshape(4, -1)
        probs = rng.dirichlet(np.ones(6), 4).astype(np.float32)
        found = np.empty(SIZE, np.float32)
        summarise(weight, probs, before, habit, eps, level, found)
        act, by_habit, by_level = np.zeros(6), np.zeros(3), np.zeros(3)
        for k in range(4):
            for j, (h, e) in enumerate(NOISE):
                act += weight[k, j] * ((1 - e) * probs[k] + e * np.array([habit_prob(h, a, before) for a in range(6)]))
                by_habit[h] += weight[k, j] * e
                by_level[level[k]] += weight[k, j]
                compared += 1
        entropy = -(weight * np.log(weight)).sum() / np.log(weight.size)
        np.testing.assert_allclose(found[:INFERRED], [*act, *by_habit, *by_level, entropy], rtol=1e-4)
        assert found[:6].sum() == pytest.approx(1, abs=1e-5)
    assert compared == 3 * 4 * len(NOISE)


# ------------------------------------------------------------------------------------------------- play


def play(
    made: PartnerBelief, agent: int, habit: int, eps: float, ticks: int, games: int = 24, done: list | None = None
) -> np.ndarray:
    """Contexts [ticks, games, 17] of an ego at random with the given partner on seat 1; the belief is left as it was
    after the last tick. `done` collects the partner's actions [games] and their true probabilities."""
    env, rng = OvercookedVectorEnv("cramped_room", games, horizon=10_000), np.random.default_rng(3)
    env.reset()
    view, net, rows, seats = KitchenView(env), agents(), np.arange(games), np.zeros(games, np.int64)
    made.start(games, 2, 0)
    before, said = np.full(games, UNKNOWN), []
    for _ in range(ticks):
        said.append(made.observe(view, rows, seats, view.last_joint_act))
        obs = torch.from_numpy(view.index(SPEC)[:, 1])
        with torch.no_grad():
            policy = net.select([agent])(obs[None])[0][0].softmax(-1).numpy()
        stray = np.array([[habit_prob(habit, a, b) for a in range(6)] for b in before])
        mixed = ((1 - eps) * policy + eps * stray).cumsum(1)
        before = (mixed < rng.random(games)[:, None] * mixed[:, -1:]).sum(1)
        if done is not None:
            true = np.diff(mixed, axis=1, prepend=0) / mixed[:, -1:]
            done.append((before, true[rows, before]))
        joint = np.stack([rng.integers(6, size=games), before], 1)
        view.stepped(joint, env.step(joint).truncated)
    return np.array(said)


@pytest.mark.parametrize(("habit", "eps"), [(UNIFORM, 0.02), (UNIFORM, 0.6), (STAYS, 0.7), (REPEATS, 0.7)])
def test_the_belief_finds_agent_and_noise_within_an_episode(habit: int, eps: float) -> None:
    made = context(num_envs=24)
    said = play(made, agent=3, habit=habit, eps=eps, ticks=120)
    belief = made.belief(np.arange(24), np.zeros(24, np.int64)).mean(0)  # [K, J]
    assert belief.sum() == pytest.approx(1)
    assert belief[3].sum() > 0.7  # by chance 1/5
    true = NOISE.index((habit, eps))
    assert belief.sum(0).argmax() == true
    assert said[0, :, INFERRED - 1] == pytest.approx(1, abs=1e-5)  # at first it knows nothing
    assert said[-1, :, INFERRED - 1].mean() < 0.5
    assert said[-1, :, 11].mean() > 0.7  # agents 3 and 4 are of the last level
    assert said[-1, :, 6:9].sum(1).mean() == pytest.approx(eps, abs=0.12)


def test_it_follows_a_partner_that_changes() -> None:
    """With no share of the prior it would have to undo all that was seen before."""
    found = {}
    for share in (0.0, 0.02):
        made, rows, seats = context(share, 24), np.arange(24), np.zeros(24, np.int64)
        play(made, agent=1, habit=UNIFORM, eps=0.02, ticks=100)
        settled, kept = made.belief(rows, seats)[:, 1].sum(1).mean(), made.get_state()
        made.start = lambda num_envs, num_players, seed, made=made, kept=kept: (  # goes on where it was
            PartnerBelief.start(made, num_envs, num_players, seed),
            made.set_state(kept | {"asked": np.zeros_like(kept["asked"])}),
        )
        play(made, agent=4, habit=UNIFORM, eps=0.02, ticks=15)
        found[share] = made.belief(rows, seats)[:, 4].sum(1).mean()
        assert settled > 0.9
    assert found[0.02] > 0.7 > found[0.0]


def test_it_expects_what_the_partner_does() -> None:
    """Soon nearly as well as if it knew the partner."""
    done: list[tuple[np.ndarray, np.ndarray]] = []
    said = play(context(num_envs=24), agent=2, habit=UNIFORM, eps=0.02, ticks=80, done=done)
    expected = np.log([values[np.arange(24), acts] for values, (acts, _) in zip(said[..., :6], done, strict=True)])
    possible = np.log([true for _, true in done])
    assert (possible - expected)[40:].mean() < 0.05
    assert (possible - expected)[:2].mean() > 0.2


def test_a_missed_tick_teaches_nothing() -> None:
    env = OvercookedVectorEnv("cramped_room", 1)
    env.reset()
    view, made, row, seat = KitchenView(env), context(), np.array([0]), np.array([0])
    for joint in ([[4, 0]], [[UNKNOWN, UNKNOWN]]):
        before = made.belief(row, seat).copy()
        made.observe(view, row, seat, np.array(joint))
        assert np.array_equal(made.belief(row, seat), before)  # not asked before; not known now
    made.observe(view, row, seat, np.array([[4, 0]]))
    assert not np.array_equal(made.belief(row, seat), before)
    made.begin_episode(row)
    np.testing.assert_allclose(made.belief(row, seat), before)


def test_it_remembers_for_how_long_nothing_has_changed() -> None:
    """The partner takes the onion beside it, the ego first walks; then both stand still. By hand, for both seats."""
    env = OvercookedVectorEnv("cramped_room", 1)
    env.reset()
    view, made = KitchenView(env), context()
    both = np.array([0, 0]), np.array([0, 1])
    north, east, west, stay, interact = 0, 2, 3, 4, 5
    # tick -> joint action; the chefs start at (1, 2) facing north and at (3, 1) facing north, onions are east of (3, 1)
    acts = [[north, east], [stay, interact], *[[stay, stay]] * 50, [east, stay], [west, stay]]
    said = []
    for act in [None, *acts]:
        if act is not None:
            joint = np.array([act])
            view.stepped(joint, env.step(joint).truncated)
        last = np.repeat(view.last_joint_act, 2, 0)
        said.append(made.observe(view, *both, last)[:, INFERRED:])
    stood, held = 10, 40  # ticks for a full count
    np.testing.assert_allclose(said[0], 0)
    np.testing.assert_allclose(said[1][0], [0, 1 / stood, 1 / held, 1 / held])  # the ego walked
    np.testing.assert_allclose(said[2][0], [1 / stood, 2 / stood, 2 / held, 0])  # the partner holds an onion
    np.testing.assert_allclose(said[2][1], [2 / stood, 1 / stood, 0, 2 / held])  # as the other seat sees it
    np.testing.assert_allclose(said[20][0], [1, 1, 20 / held, 18 / held])
    np.testing.assert_allclose(said[52][0], 1)
    np.testing.assert_allclose(said[53][0], [0, 1, 1, 1])
    made.begin_episode(np.array([0]))
    np.testing.assert_allclose(made.observe(view, *both, last)[:, INFERRED:], 0)


def test_files_hold_the_agents_that_it_compares_with() -> None:
    made = context()
    made.members = 3
    own = {name: tensor[1:2] for name, tensor in made.tensors().items()}
    built = kinds.build(own, made.settings(), SPEC)
    assert isinstance(built, PartnerBelief)
    first, second = play(made, 0, UNIFORM, 0.25, 20), play(built, 0, UNIFORM, 0.25, 20)
    np.testing.assert_array_equal(first, second)
    with pytest.raises(UserError, match="incomplete or from another version"):
        kinds.build(own, made.settings() | {"level": [0]}, SPEC)
