"""BR-Div and BR-Prox against sums worked by hand and against enumeration."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from coord.evaluation import br_div


def test_features_are_shares_of_the_largest_count() -> None:
    theta = br_div.features([[2, 0, 4], [1, 0, 8]])
    np.testing.assert_allclose(theta, [[1, 0.5], [0.5, 1]])  # the event that nobody caused is gone


def test_features_refuse_negative_counts() -> None:
    with pytest.raises(ValueError, match="not negative"):
        br_div.features([[1, -1]])


def test_br_div_is_the_squared_volume() -> None:
    theta = np.array([[1.0, 0.0], [0.5, 1.0], [2.0, 0.0]])
    assert br_div.br_div(theta, [0]) == pytest.approx(1)
    assert br_div.br_div(theta, [0, 1]) == pytest.approx(1)  # |det [[1, 0], [.5, 1]]|^2
    assert br_div.br_div(theta, [1, 2]) == pytest.approx(4)  # a parallelogram of area 2
    assert br_div.br_div(theta, [0, 2]) == pytest.approx(0)  # parallel


def test_a_published_style_selection_by_hand() -> None:
    """Five best responses, three events: the two near-copies of the first never appear together."""
    counts = [[10, 0, 0], [10, 1, 0], [0, 10, 0], [0, 0, 5], [5, 5, 2]]
    theta = br_div.features(counts)
    # theta rows: (1,0,0) (1,.1,0) (0,1,0) (0,0,1) (.5,.5,.4); the unit cube's corners span volume 1, as do
    # (1,.1,0) (0,1,0) (0,0,1); the first of equals is kept.
    assert br_div.select(theta, 3, np.random.default_rng(0)) == (0, 2, 3)
    assert br_div.br_div(theta, (0, 2, 3)) == pytest.approx(1)
    assert br_div.br_div(theta, (0, 1, 3)) == pytest.approx(0.01)


def test_sampling_and_exchange_find_what_enumeration_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    found = 0
    for seed in range(10):
        theta = np.random.default_rng(seed).random((12, 6))
        exact = br_div.select(theta, 4, np.random.default_rng(seed))
        with monkeypatch.context() as few:
            few.setattr(br_div, "MAX_ENUMERATED", 0)
            sampled = br_div.select(theta, 4, np.random.default_rng(seed), draws=200)
        found += sampled == exact
        assert br_div.br_div(theta, sampled) >= 0.8 * br_div.br_div(theta, exact)
    assert found >= 9


def test_select_refuses_more_than_the_features_span() -> None:
    with pytest.raises(ValueError, match="span 2 dimensions"):
        br_div.select(np.random.default_rng(0).random((9, 2)), 3, np.random.default_rng(0))


def test_symmetric_polynomials_by_hand() -> None:
    e = br_div.symmetric_polynomials(np.array([2.0, 3.0, 5.0]), 3)
    assert e[:, 3].tolist() == [1, 10, 31, 30]


def test_k_dpp_draws_sets_in_proportion_to_their_determinant() -> None:
    theta = np.random.default_rng(3).random((5, 4))
    subsets = list(itertools.combinations(range(5), 2))
    expected = np.array([br_div.br_div(theta, s) for s in subsets])
    expected /= expected.sum()
    drawn = np.sort(br_div.k_dpp(theta, 2, 20_000, np.random.default_rng(4)), axis=1)
    counts = np.array([(drawn == s).all(axis=1).sum() for s in subsets])
    assert counts.sum() == 20_000  # always two different rows
    error = np.sqrt(expected * (1 - expected) / 20_000)
    assert (np.abs(counts / 20_000 - expected) < 4.5 * error + 1e-9).all()


def test_proximity_is_capped_and_defined_for_useless_best_responses() -> None:
    np.testing.assert_allclose(br_div.proximity([50, 150, 0, 30], [100, 100, 100, 0]), [0.5, 1, 0, 1])


def test_br_prox_by_hand() -> None:
    """Two partners, two seats, two ego seeds: eight ratios, IQM of the middle four."""
    returns = {"a": [[50, 20], [60, 40]], "b": [[90, 10], [30, 300]]}
    best = {"a": [100, 80], "b": 100}
    # a: .5 .25 .6 .5, b: .9 .1 .3 1 (capped): sorted .1 .25 .3 .5 .5 .6 .9 1 -> (.3 + .5 + .5 + .6) / 4
    value, (low, high) = br_div.br_prox(returns, best)
    assert value == pytest.approx(0.475)
    assert low <= value <= high


def test_every_partner_is_divided_by_its_own_best_response() -> None:
    swapped = br_div.br_prox({"a": [[50.0]], "b": [[50.0]]}, {"a": 50, "b": 500})[0]
    assert swapped == pytest.approx((1 + 0.1) / 2)
    with pytest.raises(KeyError):
        br_div.br_prox({"a": [[1.0]]}, {"b": 1})
