"""Interval estimates for returns: interquartile mean and stratified bootstrap (Agarwal et al. 2021).

The bootstrap is written out here, because rliable 1.2.0 cannot be imported beside pandas 3 (through `arch`), draws from
NumPy's global generator whatever `random_state` it is given and wants equally many runs in each stratum, and because
`scipy.stats.bootstrap` refuses strata of one value. The tests compare the figures with SciPy's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binomtest, trim_mean

Statistic = Callable[..., NDArray[np.float64]]

_VALUES_PER_BATCH = 4_000_000  # bounds the memory of one batch of resamples (float64: 32 MB)


def mean(values: ArrayLike, axis: int = -1) -> NDArray[np.float64]:
    """Arithmetic mean along `axis`."""
    return np.mean(np.asarray(values, np.float64), axis=axis)


def iqm(values: ArrayLike, axis: int = -1) -> NDArray[np.float64]:
    """Interquartile mean along `axis`: the mean after cutting floor(n/4) values at each end."""
    return np.asarray(trim_mean(np.asarray(values, np.float64), proportiontocut=0.25, axis=axis))


def bootstrap_ci(
    strata: Sequence[ArrayLike],
    statistic: Statistic = mean,
    *,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile bootstrap interval of `statistic` over the pooled values of all strata.

    Args:
        strata: one sequence of values per stratum (say, the returns of one partner in one seat); each stratum is
            resampled with replacement on its own, so every resample keeps its share of each stratum.
        statistic: maps [R, n] values to [R] (`mean`, `iqm`, or a function of the concatenated strata).
    Returns: (lower, upper) bound. One value per stratum gives an interval of width 0: nothing was resampled.
    Raises: ValueError for no strata or an empty one.
    """
    groups = [np.asarray(group, np.float64).ravel() for group in strata]
    if not groups or min(len(group) for group in groups) == 0:
        raise ValueError("bootstrap_ci needs at least one stratum, and at least one value in each")
    rng = np.random.default_rng(seed)
    batch = max(1, _VALUES_PER_BATCH // sum(len(group) for group in groups))
    estimates = [
        statistic(_resample(groups, min(batch, resamples - done), rng), axis=-1) for done in range(0, resamples, batch)
    ]
    return interval(np.concatenate(estimates), level)


def cluster_bootstrap_ci(
    values: ArrayLike, clusters: Sequence[object], *, level: float = 0.95, resamples: int = 4000, seed: int = 0
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean of `values` [n], whole clusters resampled with replacement.

    For values that come in groups, such as several games of one person: what one person does hangs together, so people
    are drawn, not games (Field and Welsh 2007). clusters: the group of each value [n].
    Returns: (lower, upper) bound. A single cluster gives an interval of width 0: nothing was resampled.
    Raises: ValueError without values.
    """
    values = np.asarray(values, np.float64).ravel()
    if not len(values):
        raise ValueError("cluster_bootstrap_ci needs at least one value")
    index = {cluster: i for i, cluster in enumerate(dict.fromkeys(clusters))}
    group = np.array([index[cluster] for cluster in clusters])
    sums, sizes = np.bincount(group, values), np.bincount(group)
    drawn = np.random.default_rng(seed).integers(len(index), size=(resamples, len(index)))
    return interval(sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1), level)


def nested_bootstrap_ci(
    values: ArrayLike, statistic: Statistic = mean, *, level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """Percentile bootstrap interval over training runs and games: values [runs, strata, games].

    Runs are drawn with replacement, then games within each stratum of the drawn runs, so the interval covers the
    chance of training as well as that of play (with few runs it is a rough one).
    Raises: ValueError unless all three sizes are at least 1.
    """
    return interval(nested_bootstrap(values, statistic, resamples=resamples, seed=seed), level)


def nested_bootstrap(
    values: ArrayLike, statistic: Statistic = mean, *, resamples: int = 2000, seed: int = 0
) -> NDArray[np.float64]:
    """[resamples] the estimates of `nested_bootstrap_ci`; those of several tasks may be averaged into one figure."""
    array = np.asarray(values, np.float64)
    if array.ndim != 3 or array.size == 0:
        raise ValueError(f"nested_bootstrap needs values [runs, strata, games], got shape {array.shape}")
    runs, strata, games = array.shape
    rng = np.random.default_rng(seed)
    batch = max(1, _VALUES_PER_BATCH // array.size)
    estimates = []
    for done in range(0, resamples, batch):
        count = min(batch, resamples - done)
        run = rng.integers(runs, size=(count, runs, 1, 1))
        game = rng.integers(games, size=(count, runs, strata, games))
        drawn = array[run, np.arange(strata)[:, None], game].reshape(count, -1)  # [R, n]
        estimates.append(statistic(drawn, axis=-1))
    return np.concatenate(estimates)


def bootstrap_band(
    values: ArrayLike, statistic: Statistic = iqm, *, level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Percentile bootstrap interval of every row of values [T, n], such as T evaluations of n training runs.

    Columns are drawn with replacement, the same ones for all rows: row t is `bootstrap_ci([values[t]], statistic)`.
    Returns: (lower, upper) bound, [T] each; NaN where a row holds one. One column gives a band of width 0.
    Raises: ValueError unless both sizes are at least 1.
    """
    array = np.asarray(values, np.float64)
    if array.ndim != 2 or array.size == 0:
        raise ValueError(f"bootstrap_band needs values [rows, columns], got shape {array.shape}")
    rows, columns = array.shape
    drawn = np.random.default_rng(seed).integers(columns, size=(resamples, columns))
    size = max(1, _VALUES_PER_BATCH // drawn.size)
    bounds = np.full((2, rows), np.nan)
    finite = np.nonzero(np.isfinite(array).all(axis=1))[0]
    for part in (finite[start : start + size] for start in range(0, len(finite), size)):
        tail = (1.0 - level) / 2.0
        bounds[:, part] = np.quantile(statistic(array[part][:, drawn], axis=-1), [tail, 1.0 - tail], axis=-1)
    return bounds[0], bounds[1]


def proportion_ci(count: int, total: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson's interval (1927) of a share: `count` of `total`; (0, 1) where total is 0.

    Raises: ValueError unless 0 <= count <= total.
    """
    if not 0 <= count <= total:
        raise ValueError(f"proportion_ci needs 0 <= count <= total, got {count} of {total}")
    if total == 0:
        return 0.0, 1.0
    bounds = binomtest(count, total).proportion_ci(level, method="wilson")
    return float(bounds.low), float(bounds.high)


def interval(estimates: ArrayLike, level: float = 0.95) -> tuple[float, float]:
    """(lower, upper) percentile bound of bootstrap estimates."""
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(np.asarray(estimates), [tail, 1.0 - tail])
    return float(low), float(high)


def _resample(groups: Sequence[NDArray[np.float64]], count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """[count, n] values drawn with replacement within each group, in the order of the groups."""
    return np.concatenate([group[rng.integers(len(group), size=(count, len(group)))] for group in groups], axis=1)
