"""Selectors by hand, k-center against brute force, and the whole choice from the pool."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coord.errors import UserError
from coord.preference.labels.queries import (
    SELECTORS,
    Chooser,
    QueryCandidates,
    QueryConfig,
    check,
    disagreement,
    entropy,
    k_center,
    top,
)
from coord.preference.labels.segments import Queries, SegmentPool
from coord.preference.reward.model import RewardConfig

PROB = np.array([[0.5, 0.9, 0.1, 1.0], [0.5, 0.1, 0.3, 1.0]])  # [E = 2, C = 4]


def no_prob() -> np.ndarray:
    raise AssertionError("this selector does not need predictions")


def candidates(obs: np.ndarray, prob: np.ndarray | None = None, anchors: np.ndarray | None = None) -> QueryCandidates:
    """obs [C] or [C, D]: one number, or one row, per candidate, as the first step of the first segment."""
    rows = np.reshape(obs, (len(obs), -1)).astype(np.float64)
    full = np.stack([rows, np.zeros_like(rows)], 1)[:, :, None]  # [C, 2, L = 1, O = D]
    known = np.zeros((0, *full.shape[1:])) if anchors is None else candidates(anchors).obs
    return QueryCandidates(full, no_prob if prob is None else lambda: prob, known)


def test_disagreement_by_hand() -> None:
    np.testing.assert_allclose(disagreement(PROB), [0.0, 0.4, 0.1, 0.0])  # population form


def test_entropy_by_hand() -> None:
    def of(p: float) -> float:
        return -p * np.log(p) - (1 - p) * np.log(1 - p)

    np.testing.assert_allclose(entropy(PROB), [np.log(2), of(0.1), (of(0.1) + of(0.3)) / 2, 0.0])


def test_top_takes_the_first_of_equal_scores() -> None:
    assert top(np.array([1.0, 3.0, 2.0, 3.0]), 3).tolist() == [1, 3, 2]


def test_k_center_by_hand() -> None:
    line = np.array([[0.0], [1.0], [9.0], [10.0], [5.4]])
    # Anchor 0: 10 is farthest, then 5.4 (at 4.6), then 9 and 1 (at 1): the first of equal ones.
    assert k_center(line, np.array([[0.0]]), 4).tolist() == [3, 4, 1, 2]
    # No anchor: mean 5.08, farthest from it is 0 (5.08 against 4.92).
    assert k_center(line, np.zeros((0, 1)), 2).tolist() == [0, 3]


def test_k_center_never_takes_a_row_twice() -> None:
    assert sorted(k_center(np.ones((4, 2)), np.ones((1, 2)), 4).tolist()) == [0, 1, 2, 3]
    with pytest.raises(ValueError, match="3 of 2"):
        k_center(np.ones((2, 2)), np.ones((1, 2)), 3)


def greedy_by_brute_force(features: np.ndarray, anchors: np.ndarray, count: int) -> list[int]:
    taken: list[int] = []
    for _ in range(count):
        best, best_at = -1.0, -1
        for i in range(len(features)):
            if i in taken:
                continue
            nearest = min(float(np.linalg.norm(features[i] - c)) for c in [*anchors, *features[taken]])
            if nearest > best:
                best, best_at = nearest, i
        taken.append(best_at)
    return taken


@given(st.integers(0, 2**32 - 1), st.integers(1, 25), st.integers(1, 10), st.integers(1, 12))
@settings(max_examples=60, deadline=None)
def test_k_center_against_brute_force(seed: int, rows: int, anchors: int, dims: int) -> None:
    rng = np.random.default_rng(seed)
    features, known = rng.normal(size=(rows, dims)) + 100, rng.normal(size=(anchors, dims)) + 100
    count = int(rng.integers(1, rows + 1))
    assert k_center(features, known, count).tolist() == greedy_by_brute_force(features, known, count)


def test_selectors_by_hand() -> None:
    # scores: disagreement [.4, 0, .1, .3], entropy [.33, .69, .5, .47]; positions 0, 1, 5, 10; labelled: 0
    prob = np.array([[0.9, 0.5, 0.2, 0.95], [0.1, 0.5, 0.2, 0.35]])
    seen = candidates(np.array([0.0, 1.0, 5.0, 10.0]), prob, np.array([0.0]))
    chosen = {name: select(seen, 2).tolist() for name, select in SELECTORS.items()}
    assert chosen == {
        "uniform": [0, 1],
        "onpolicy": [0, 1],
        "disagreement": [0, 3],
        "entropy": [1, 2],
        "kcenter": [3, 2],
        "kcenter_disagreement": [3, 0],  # of {0, 3}
        "kcenter_entropy": [2, 1],  # of {1, 2}
    }


def test_uniform_and_k_center_ask_for_no_prediction() -> None:
    seen = candidates(np.array([0.0, 1.0]))
    assert [SELECTORS[name](seen, 1).tolist() for name in ("uniform", "onpolicy", "kcenter")] == [[0], [0], [0]]


def test_standardising_changes_what_is_far() -> None:
    # Spreads sqrt(500 000) = 707 and sqrt(3 / 16) = .433: scaled, (0, 1) is at 2.31 from the origin, (1000, 0) at 1.41.
    rows = np.array([[0.0, 0.0], [1000.0, 0.0], [-1000.0, 0.0], [0.0, 1.0]])
    raw = candidates(rows, anchors=rows[:1])
    scaled = QueryCandidates(raw.obs, raw.prob, raw.anchors, standardise=True)
    assert SELECTORS["kcenter"](raw, 1).tolist() == [1]
    assert SELECTORS["kcenter"](scaled, 1).tolist() == [3]
    features, anchors = scaled.features()
    assert np.isfinite(features).all()  # dimensions without spread stay as they are
    np.testing.assert_allclose(features[3] - anchors[0], [0, 1 / 0.4330127, 0, 0], rtol=1e-6)


def filled_pool(episodes: int = 8) -> SegmentPool:
    pool = SegmentPool(1, 100)
    for t in range(episodes * 30):
        pool.add(np.full((1, 1, 2), t), np.zeros((1, 1, 1)), np.full((1, 1), t), np.array([[t % 30 == 29]]))
    return pool


def sure_of_late_ones(queries: Queries) -> np.ndarray:
    """Two members who disagree the more, the later the first segment was played."""
    late = queries.rew[:, 0, 0] / 1000
    return np.stack([0.5 + late, 0.5 - late])


def test_choose_takes_the_best_candidates_of_the_stored_length() -> None:
    chooser = Chooser(QueryConfig(length=10, candidates=20), filled_pool(), sure_of_late_ones, margin=3)
    chosen = chooser.choose(0, 5, np.random.default_rng(0), first=False)
    drawn = chooser.draw(0, 100, np.random.default_rng(0))
    assert chosen.length == drawn.length == 16
    best = np.sort(drawn.rew[:, 0, 0])[-5:]
    np.testing.assert_array_equal(np.sort(chosen.rew[:, 0, 0]), best)


def test_the_first_session_is_uniform() -> None:
    chooser = Chooser(QueryConfig(length=10), filled_pool(), lambda _: no_prob())
    chosen = chooser.choose(0, 5, np.random.default_rng(0), first=True)
    np.testing.assert_array_equal(chosen.rew, chooser.draw(0, 5, np.random.default_rng(0)).rew)


def test_on_policy_queries_come_from_the_last_episodes() -> None:
    config = QueryConfig(selector="onpolicy", length=10, last_episodes=2)
    chosen = Chooser(config, filled_pool(), lambda _: no_prob()).choose(0, 50, np.random.default_rng(0), first=False)
    assert set(chosen.episode.ravel()) == {6, 7}


def test_k_center_keeps_away_from_what_was_asked() -> None:
    pool = filled_pool()
    first = Chooser(QueryConfig(selector="kcenter", length=10), pool, lambda _: no_prob())
    asked = first.choose(0, 5, np.random.default_rng(0), first=True)
    again = Chooser(first.config, pool, first.prob, anchors=asked.obs).choose(
        0, 5, np.random.default_rng(1), first=False
    )
    features = again.obs.reshape(5, -1)
    assert np.linalg.norm(features[:, None] - asked.obs.reshape(5, -1)[None], axis=2).min() > 0


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"selector": "disagrement"}, "did you mean 'disagreement'"),
        ({"selector": "onpolicy"}, "last_episodes >= 1"),
        ({"length": 0}, "length >= 1"),
    ],
)
def test_senseless_queries_are_refused(fields: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        QueryConfig(**fields)


def test_parts_that_cannot_work_together() -> None:
    with pytest.raises(UserError, match=r"reward.ensemble=1; use an ensemble of at least 2"):
        check(QueryConfig(selector="disagreement"), RewardConfig(ensemble=1))
    with pytest.raises(UserError, match=r"make 50"):
        check(QueryConfig(length=50), RewardConfig(crops=1, crop_min=45, crop_max=55))
    check(QueryConfig(selector="entropy"), RewardConfig(ensemble=1))
    check(QueryConfig(length=50), RewardConfig(crops=1, crop_min=45, crop_max=55, crop_margin=5))
