"""IQM and bootstrap against numbers worked by hand and SciPy."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from coord import stats
from coord.stats import Statistic, bootstrap_band, bootstrap_ci, cluster_bootstrap_ci, iqm, mean


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([5.0], 5.0),
        ([0.0, 10.0], 5.0),  # floor(2/4) = 0 values cut
        ([1.0, 2.0, 3.0, 100.0], 2.5),  # 1 and 100 cut
        ([9.0, 1.0, 5.0, 3.0, 7.0], 5.0),  # floor(5/4) = 1 cut at each end: 3, 5, 7
        ([0.0, 0.0, 1.0, 2.0, 3.0, 4.0, 50.0, 60.0], 2.5),  # 2 cut at each end: 1, 2, 3, 4
    ],
)
def test_iqm_by_hand(values: list[float], expected: float) -> None:
    assert iqm(values) == pytest.approx(expected)


def test_iqm_works_along_an_axis() -> None:
    scores = np.random.default_rng(0).normal(size=(13, 7))
    np.testing.assert_allclose(iqm(scores, axis=0), [iqm(column) for column in scores.T])


def test_bootstrap_of_all_resamples_by_hand() -> None:
    # Two values {0, 4}: the mean of a resample is 0, 2 or 4 with chances 1/4, 1/2, 1/4.
    assert bootstrap_ci([[0.0, 4.0]], level=0.95) == (0.0, 4.0)
    assert bootstrap_ci([[0.0, 4.0]], level=0.40) == (2.0, 2.0)


def test_strata_are_resampled_apart() -> None:
    # No spread within the strata: however far apart they are, the pooled mean cannot move.
    assert bootstrap_ci([[10.0] * 3, [90.0] * 5]) == (60.0, 60.0)
    low, high = bootstrap_ci([[10.0] * 3 + [90.0] * 5])
    assert low < 40.0 < 80.0 < high


@pytest.mark.parametrize("statistic", [mean, iqm])
def test_bootstrap_agrees_with_scipy(statistic: Statistic) -> None:
    rng = np.random.default_rng(3)
    strata = [rng.normal(loc, 20.0, size=40) for loc in (20.0, 100.0, 150.0)]
    ours = bootstrap_ci(strata, statistic, resamples=8000)
    theirs = scipy.stats.bootstrap(
        strata,
        lambda *s, axis: statistic(np.concatenate(s, axis=axis), axis=axis),
        n_resamples=8000,
        method="percentile",
        rng=0,
    ).confidence_interval
    assert theirs.high - theirs.low > 5.0
    np.testing.assert_allclose(ours, theirs, atol=0.5)  # Monte-Carlo error of 8000 resamples


def test_bootstrap_is_fixed_by_its_seed_and_leaves_the_global_generator_alone() -> None:
    values = [np.arange(30.0)]
    before = np.random.get_state()[1].copy()
    assert bootstrap_ci(values, seed=4) == bootstrap_ci(values, seed=4)
    assert bootstrap_ci(values, seed=4) != bootstrap_ci(values, seed=5)
    np.testing.assert_array_equal(np.random.get_state()[1], before)


def test_batches_do_not_change_the_number_of_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[int] = []

    def counting_mean(values: np.ndarray, axis: int) -> np.ndarray:
        counted.append(len(values))
        return values.mean(axis)

    monkeypatch.setattr("coord.stats._VALUES_PER_BATCH", 70)
    bootstrap_ci([[1.0, 2.0, 3.0]], counting_mean, resamples=100)
    assert sum(counted) == 100
    assert len(counted) == 5


def test_one_value_gives_a_point_and_none_is_refused() -> None:
    assert bootstrap_ci([[7.0]]) == (7.0, 7.0)
    with pytest.raises(ValueError, match="at least one"):
        bootstrap_ci([])
    with pytest.raises(ValueError, match="at least one"):
        bootstrap_ci([[1.0], []])


def test_cluster_bootstrap_draws_whole_clusters() -> None:
    assert cluster_bootstrap_ci([0, 0, 10, 10], ["a", "a", "b", "b"]) == (0.0, 10.0)  # a mean is 0, 5 or 10
    assert cluster_bootstrap_ci([1, 2, 6], ["a", "a", "a"]) == (3.0, 3.0)
    values = np.random.default_rng(0).normal(size=50)
    alone = cluster_bootstrap_ci(values, range(50))
    np.testing.assert_allclose(alone, bootstrap_ci([values], resamples=4000), atol=0.03)
    with pytest.raises(ValueError, match="at least one value"):
        cluster_bootstrap_ci([], [])


@pytest.mark.parametrize("statistic", [mean, iqm])
def test_a_band_is_the_interval_of_every_row(statistic: Statistic, monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(5).normal(size=(9, 6))
    values[4, 2] = np.nan
    expected = np.array([bootstrap_ci([row], statistic) for row in values[[0, 1, 2, 3, 5, 6, 7, 8]]])
    for room in (stats._VALUES_PER_BATCH, 30_000):  # all rows at once, and a few at a time
        monkeypatch.setattr(stats, "_VALUES_PER_BATCH", room)
        low, high = bootstrap_band(values, statistic)
        np.testing.assert_allclose(np.delete(np.stack([low, high], 1), 4, axis=0), expected)
        assert np.isnan([low[4], high[4]]).all()


def test_a_band_of_one_column_has_no_width_and_of_none_does_not_exist() -> None:
    low, high = bootstrap_band([[1.0], [2.0]])
    assert low.tolist() == high.tolist() == [1.0, 2.0]
    with pytest.raises(ValueError, match="rows, columns"):
        bootstrap_band([1.0, 2.0])


def test_proportion_ci_is_wilsons():
    low, high = stats.proportion_ci(8, 10)
    z, p, n = 1.959964, 0.8, 10
    middle, half = p + z * z / (2 * n), z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    np.testing.assert_allclose(
        (low, high), [(middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n)], rtol=1e-5
    )
    assert stats.proportion_ci(0, 0) == (0.0, 1.0)
    with pytest.raises(ValueError, match="3 of 2"):
        stats.proportion_ci(3, 2)
