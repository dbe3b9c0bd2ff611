"""The model of annotators against tables worked by hand, finite differences and made-up people; no EM goes down."""

from __future__ import annotations

import math

import numpy as np
import pytest

from coord.preference.reward import annotators as an

GAPS = np.array([0.0, 1.0, -2.0, 0.5, 1.5, -0.3])
TARGETS = np.array([0.0, 1.0, 0.5, 0.75, 0.5, 1.0])
RELIABILITY = np.array([1.0, -0.5, 0.7, 2.0, 0.1, -1.0])
THRESHOLD = np.array([0.3, 0.2, 0.6, 1.0, 0.15, 0.4])


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


# ------------------------------------------------------------------------------------------------ one answer


def test_probabilities_by_hand() -> None:
    """x = 2 * .5 = 1, c = ln 2: with theta = 2, Rao and Kupper's e / (e + 2), 1 / (1 + 2 e), and the rest."""
    x, theta = math.exp(1.0), 2.0
    first, second = 1 / (1 + theta * x), x / (x + theta)
    found = [math.exp(float(an.log_prob(np.array(2.0), np.array(t), 0.5, np.array(math.log(2))))) for t in (0, 0.5, 1)]
    assert found == pytest.approx([first, 1 - first - second, second], abs=1e-12)
    assert found == pytest.approx([0.1554, 0.2685, 0.5761], abs=1e-4)


def test_the_three_answers_are_all_there_is_and_a_soft_target_mixes_two() -> None:
    for b in (-1.3, 0.0, 2.0):
        logs = [an.log_prob(GAPS, np.full(6, t), np.array(b), np.array(0.4)) for t in (0.0, 0.5, 1.0)]
        np.testing.assert_allclose(np.exp(logs).sum(0), 1.0, atol=1e-12)
        soft = an.log_prob(GAPS, np.full(6, 0.75), np.array(b), np.array(0.4))
        np.testing.assert_allclose(soft, 0.25 * logs[0] + 0.75 * logs[2], atol=1e-12)


def test_who_is_negative_answers_the_opposite() -> None:
    ours = an.log_prob(GAPS, np.ones(6), np.array(-0.7), np.array(0.2))
    np.testing.assert_allclose(ours, an.log_prob(GAPS, np.zeros(6), np.array(0.7), np.array(0.2)), atol=1e-12)


def test_derivatives_are_those_of_central_differences() -> None:
    h = 1e-5
    at = an.slopes(GAPS, TARGETS, RELIABILITY, THRESHOLD)

    def differences(of: object, which: int) -> np.ndarray:
        up, down = ([RELIABILITY.copy(), THRESHOLD.copy()] for _ in range(2))
        up[which] += h
        down[which] -= h
        return (of(GAPS, TARGETS, *up) - of(GAPS, TARGETS, *down)) / (2 * h)  # type: ignore[operator]

    np.testing.assert_allclose(at.x * GAPS, differences(an.log_prob, 0), atol=1e-8)
    np.testing.assert_allclose(at.c, differences(an.log_prob, 1), rtol=1e-6)
    np.testing.assert_allclose(at.xx * GAPS, differences(lambda *a: an.slopes(*a).x, 0), atol=1e-8)
    np.testing.assert_allclose(at.xc, differences(lambda *a: an.slopes(*a).x, 1), atol=1e-8)
    np.testing.assert_allclose(at.cc, differences(lambda *a: an.slopes(*a).c, 1), rtol=1e-5)


# ------------------------------------------------------------------------------------------------ annotators


def simulated(b: list[float], count: int, rng: np.random.Generator, c: float = 0.4) -> tuple[np.ndarray, ...]:
    """gap [n, 1], target [n], annotator [n] of `count` answers by each."""
    who = np.repeat(np.arange(len(b)), count)
    gap = 3 * rng.normal(size=len(who))
    ask = [np.exp(an.log_prob(gap, np.full(len(who), t), np.array(b)[who], np.array(c))) for t in (1.0, 0.0)]
    u = rng.random(len(who))
    return gap[:, None], np.where(u < ask[0], 1.0, np.where(u < ask[0] + ask[1], 0.0, 0.5)), who


def test_annotators_are_found_within_their_intervals() -> None:
    """Over many made-up people, 95 % intervals hold the truth about as often as they should."""
    truth = [1.0, 1.0, 0.6, 0.1, 0.0, -1.0]
    covered = []
    for seed in range(30):
        gap, target, who = simulated(truth, 150, np.random.default_rng(seed))
        people = an.fit_annotators(gap, target, who, len(truth))
        covered += list(np.abs(people.reliability[:, 0] - truth) < an.Z95 * people.reliability_sd[:, 0])
        covered += list(np.abs(people.threshold[:, 0] - 0.4) < an.Z95 * people.threshold_sd[:, 0])
    assert len(covered) == 360
    assert 0.91 < np.mean(covered) <= 0.99


def test_the_fit_is_the_maximum_of_the_penalised_likelihood() -> None:
    """Against a search over a grid that knows nothing of derivatives."""
    gap, target, who = simulated([0.8], 40, np.random.default_rng(3))
    people = an.fit_annotators(gap, target, who, 1)
    b, c = np.meshgrid(np.linspace(-1, 3, 401), np.linspace(0.01, 2, 400), indexing="ij")
    value = an.log_prob(gap, target[:, None], b.ravel(), c.ravel()).sum(0)
    value += -0.5 * (b.ravel() - 1) ** 2 + np.log(c.ravel()) - 4 * c.ravel()
    best = value.argmax()
    assert people.reliability[0, 0] == pytest.approx(b.ravel()[best], abs=0.011)
    assert people.threshold[0, 0] == pytest.approx(c.ravel()[best], abs=0.006)
    assert people.objective == pytest.approx(value.max(), abs=1e-3)


def test_without_answers_the_prior_is_what_is_known() -> None:
    people = an.fit_annotators(np.zeros((0, 1)), np.zeros(0), np.zeros(0, int), 2)
    np.testing.assert_allclose(people.reliability[:, 0], 1.0)
    np.testing.assert_allclose(people.threshold[:, 0], 0.25)
    np.testing.assert_allclose(people.reliability_sd[:, 0], 1.0)


def test_a_slip_on_an_easy_pair_costs_little_where_lapses_are_expected() -> None:
    gap = np.linspace(-8, 8, 60)[:, None]
    target = (gap[:, 0] > 0).astype(float)
    target[-1] = 0.0  # the easiest of all
    who = np.zeros(60, int)
    strict, lenient = (an.fit_annotators(gap, target, who, 1, lapse=lapse) for lapse in (0.0, 0.05))
    assert lenient.reliability[0, 0] > 1.3 * strict.reliability[0, 0]
    assert lenient.weight[-1, 0] < 0.1 < 0.9 < lenient.weight[:-1, 0].min()


def test_lapses_are_an_em_that_never_goes_down() -> None:
    gap, target, who = simulated([1.0, -0.5], 80, np.random.default_rng(5))
    answers = an._Answers(gap, target[:, None], who, np.arange(2)[:, None] == who, positive=False)
    theta: an.Floats = np.ones((2, 2, 1))
    weight: an.Floats = np.ones(gap.shape)
    values = []
    for _ in range(12):
        theta = an._climb(answers, theta, weight)
        values.append(answers.evidence(theta, 0.1).sum())
        weight = answers.weight(theta, 0.1)
    assert (np.diff(values) >= -1e-9).all()
    assert values[-1] > values[0] + 1e-4


def test_normalised_people_say_the_same_in_units_of_their_own() -> None:
    gap, target, who = simulated([2.0, 1.0, -1.0], 100, np.random.default_rng(6))
    people = an.fit_annotators(gap, target, who, 3)
    scaled, unit = an.normalised(people, who)
    assert (scaled.reliability[who, 0] ** 2).mean() == pytest.approx(1.0)
    np.testing.assert_allclose(scaled.reliability * unit, people.reliability)
    ours = an.log_prob(gap[:, 0], target, people.reliability[who, 0], people.threshold[who, 0])
    np.testing.assert_allclose(scaled.reliability[who, 0] * gap[:, 0] * unit, people.reliability[who, 0] * gap[:, 0])
    assert np.isfinite(ours).all()


@pytest.mark.parametrize(
    ("reliability", "sd", "kind"),
    [
        (1.0, 0.1, "reliable"),
        (0.2, 0.1, "careless"),
        (-0.3, 0.1, "careless"),
        (-1, 0.2, "adversarial"),
        (1, 1, "unclear"),
        (0, 1, "unclear"),
        (1.8, 0.5, "reliable"),
    ],
)
def test_kinds(reliability: float, sd: float, kind: str) -> None:
    assert an.kind(reliability, sd) == kind


# ------------------------------------------------------------------------------------------------- consensus


def test_consensus_by_hand() -> None:
    """One perfect voice on a gap that is +1 or -1 (two nodes): s(1)^2 + s(-1)^2; an adversary's is turned round."""
    saved = an.NODES
    try:
        an.NODES = 2  # nodes -1 and 1, equally likely
        tiny = np.array([[1e-9]])
        ones = np.ones((1, 1))
        for b, target in ((1.0, 1.0), (-1.0, 0.0)):
            people = an.People(b * ones, tiny, ones, ones, ones, np.ones(1), 0.0, ones)
            found = an.soft_targets(people, np.array([target]), np.array([0]), np.array([7]), 1.0)
            assert found[0] == pytest.approx(sigmoid(1) ** 2 + sigmoid(-1) ** 2, abs=1e-9)
    finally:
        an.NODES = saved


def test_consensus_weighs_voices_and_leaves_out_ones_own_where_asked() -> None:
    three = np.array([[1.5], [0.05], [-1.5]])
    ones = np.ones((3, 1))
    people = an.People(three, 0.2 * ones, ones, ones, ones, np.ones(1), 0.0, np.ones((5, 1)))
    target, who, query = np.array([1.0, 0.0, 1.0, 1.0, 0.5]), np.array([0, 1, 1, 2, 2]), np.array([0, 0, 1, 2, 3])
    found = an.soft_targets(people, target, who, query, 2.0)
    assert found[0] == found[1] > 0.7  # the careless voice hardly counts
    assert 0.5 < found[2] < 0.6
    assert found[3] < 0.3  # said by the adversary
    assert found[4] == pytest.approx(0.5)
    others = an.soft_targets(people, target, who, query, 2.0, others_only=True)
    assert others[1] > 0.7 > others[0]
    assert np.isnan(others[2:]).all()


def test_majority_by_hand() -> None:
    target, queries = an.majority(np.array([1, 1, 0, 0, 1, 0.5, 0, 0.5]), np.array([4, 4, 4, 2, 2, 2, 9, 9]))
    assert queries.tolist() == [2, 4, 9]
    assert target.tolist() == [0.5, 1.0, 0.0]


# ---------------------------------------------------------------------------------------------------- groups


def test_memberships_by_hand() -> None:
    evidence = np.log(np.array([[0.6, 0.2], [0.1, 0.1]]))
    np.testing.assert_allclose(an.memberships(evidence, np.array([0.5, 0.5])), [[0.75, 0.25], [0.5, 0.5]])
    np.testing.assert_allclose(an.memberships(evidence, np.array([0.25, 0.75])), [[0.5, 0.5], [0.25, 0.75]])


def test_shares_are_where_em_stands_still() -> None:
    evidence = np.array([[0.0, -9.0], [0.0, -9.0], [-9.0, 0.0], [0.0, -0.5]])
    share, group, objective = an.fit_groups(evidence, np.array([0.5, 0.5]))
    np.testing.assert_allclose(share, (group.sum(0) + 1) / 6, atol=1e-8)  # Dirichlet(2): one more of each
    for other in np.linspace(0.01, 0.99, 99):
        pair = np.array([other, 1 - other])
        assert np.logaddexp.reduce(evidence + np.log(pair), axis=1).sum() + np.log(pair).sum() <= objective + 1e-9


def two_groups(seed: int, other: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """features [n, 5], target, annotator and the group of each of 7; other: cosine-like share of the first's wish."""
    rng = np.random.default_rng(seed)
    wishes = 1.5 * rng.normal(size=(2, 5))
    wishes[1] = other * wishes[0] + (1 - abs(other)) * wishes[1]
    groups = np.array([0, 0, 0, 0, 1, 1, 1])
    features, who = rng.normal(size=(350, 5)), rng.integers(0, 7, 350)
    gap = (features * wishes[groups[who]]).sum(1)
    return features, (rng.random(350) < 1 / (1 + np.exp(-gap))).astype(float), who, groups


@pytest.mark.parametrize("other", [-1.0, 0.0])
def test_the_linear_mixture_finds_the_groups(other: float) -> None:
    features, target, who, groups = two_groups(1, other)
    found = an.linear_groups(features, target, who, 7, 2, np.random.default_rng(0), restarts=6)
    assert found.group.argmax(1).tolist() == groups.tolist()  # the larger group first
    assert found.group.max(1).min() > 0.9


def test_no_round_of_the_linear_em_lowers_its_objective() -> None:
    features, target, who, _ = two_groups(2, 0.0)
    own, rng = np.arange(7)[:, None] == who, np.random.default_rng(1)
    checked = 0
    for _ in range(3):
        start = rng.dirichlet(np.ones(2), size=7)
        values = [an.linear_em(features, target, own, start, rounds).objective for rounds in range(1, 9)]
        assert (np.diff(values) >= -1e-9).all()
        checked += values[-1] > values[0]
    assert checked


def test_groups_keep_their_places() -> None:
    known = np.array([[0.9, 0.1], [0.2, 0.8]])
    assert an.aligned(known[:, ::-1], known) == (1, 0)
    assert an.aligned(known, known) == (0, 1)
