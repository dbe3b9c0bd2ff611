"""Hand tables for every scripted teacher."""

from __future__ import annotations

import json

import numpy as np
import pytest

from coord import seeding
from coord.errors import UserError
from coord.preference.labels.answerers import KINDS, Answers, Teacher, TeacherConfig, margin, recency_weights
from coord.preference.labels.segments import Queries


def asked(*pairs: tuple[list[float], list[float]]) -> Queries:
    """Queries with these true rewards per step."""
    rew = np.array(pairs, np.float32)
    empty = np.zeros((*rew.shape, 1), np.float32)
    origin = np.zeros((len(pairs), 2), np.int64)
    return Queries(empty, empty, rew, origin, origin)


def teacher(kind: str, mean_return: float = 0.0, length: int = 50, horizon: int = 1000, **traits: float) -> Teacher:
    made = Teacher(TeacherConfig(kind=kind, **traits), np.random.default_rng(0))
    made.set_margin(mean_return, length, horizon)
    return made


def test_b_pref_traits() -> None:
    table = {kind: (t.beta, t.gamma, t.eps_mistake, t.eps_skip, t.eps_equal) for kind, t in KINDS.items()}
    assert table == {
        "oracle": (-1, 1, 0, 0, 0),
        "stochastic": (1, 1, 0, 0, 0),
        "myopic": (-1, 0.9, 0, 0, 0),
        "mistake": (-1, 1, 0.1, 0, 0),
        "skip": (-1, 1, 0, 0.1, 0),
        "equal": (-1, 1, 0, 0, 0.1),
    }


def test_oracle_prefers_the_larger_return_and_the_first_of_equal_ones() -> None:
    queries = asked(([1, 0], [0, 2]), ([3, 0], [0, 2]), ([1, 1], [2, 0]))
    assert teacher("oracle").answer(queries).target.tolist() == [1.0, 0.0, 0.0]
    assert teacher("oracle", ties="equal").answer(queries).target.tolist() == [1.0, 0.0, 0.5]


def test_a_large_margin_does_not_touch_a_teacher_without_thresholds() -> None:
    assert teacher("oracle", mean_return=1e9).answer(asked(([0, 0], [0, 1]))).target.tolist() == [1.0]


def test_recency_by_hand() -> None:
    np.testing.assert_allclose(recency_weights(3, 0.9), [0.81, 0.9, 1.0])
    np.testing.assert_allclose(recency_weights(3, 1.0), 1.0)


def test_myopic_counts_later_steps_more() -> None:
    # Weights .81, .9, 1: 1.0 early is .81, .85 late is .85; the oracle sees 1.0 > .85.
    queries = asked(([1.0, 0, 0], [0, 0, 0.85]), ([0, 0, 0.85], [1.0, 0, 0]))
    assert teacher("myopic").answer(queries).target.tolist() == [1.0, 0.0]
    assert teacher("oracle").answer(queries).target.tolist() == [0.0, 1.0]


def test_margin_by_hand() -> None:
    assert margin(400.0, 50, 1000) == 20.0


def test_skip_looks_at_the_better_segment() -> None:
    # margin 400 * 2 / 100 = 8, threshold 8 / 8 = 1: the better returns are 1, 1.25, .75, 1.5
    queries = asked(([0.5, 0.5], [0, 0.25]), ([0.5, 0.75], [0, 0]), ([0, 0], [0.75, 0]), ([0, 0], [1.5, 0]))
    got = teacher("skip", mean_return=400, length=2, horizon=100, eps_skip=0.125).answer(queries).target
    np.testing.assert_array_equal(got, [np.nan, 0.0, np.nan, 1.0])


def test_equal_needs_a_difference_below_the_threshold() -> None:
    # margin 8, threshold 2: differences 1.5, 2, 2.5
    queries = asked(([1.5, 0], [0, 0]), ([2, 0], [0, 0]), ([0, 0], [2.5, 0]))
    got = teacher("equal", mean_return=400, length=2, horizon=100, eps_equal=0.25).answer(queries).target
    assert got.tolist() == [0.5, 0.0, 1.0]


def test_equal_uses_plain_sums_also_for_a_myopic_teacher() -> None:
    both = teacher("myopic", mean_return=400, length=2, horizon=100, gamma=0.1, eps_equal=0.25)
    assert both.answer(asked(([3, 0], [0, 3]))).target.tolist() == [0.5]


def test_skip_comes_before_equal() -> None:
    both = teacher("skip", mean_return=400, length=2, horizon=100, eps_equal=0.25)
    np.testing.assert_array_equal(both.answer(asked(([0.1, 0], [0.1, 0]))).target, [np.nan])


def test_thresholds_are_scaled_once_in_every_session() -> None:
    made = teacher("equal")
    queries = asked(([1.5, 0], [0, 0]))
    for _ in range(3):  # the released code multiplies by eps again in later sessions
        made.set_margin(1000, 2, 100)
        assert made.answer(queries).target.tolist() == [0.5]


def test_a_negative_margin_skips_and_equals_nothing() -> None:
    made = teacher("skip", mean_return=-400, length=2, horizon=100, eps_equal=0.1)
    assert made.answer(asked(([-9, 0], [-9, 0.5]))).target.tolist() == [1.0]


def test_mistakes_flip_their_share() -> None:
    queries = asked(*[([0.0], [1.0])] * 4000)
    target = teacher("mistake").answer(queries).target
    assert set(target) == {0.0, 1.0}
    assert (target == 0).mean() == pytest.approx(0.1, abs=0.02)
    assert (teacher("mistake", eps_mistake=1.0).answer(queries).target == 0).all()


def test_mistakes_do_not_touch_ties() -> None:
    made = teacher("mistake", eps_mistake=1.0, ties="equal")
    assert made.answer(asked(([1.0], [1.0]))).target.tolist() == [0.5]


@pytest.mark.parametrize(("beta", "expected"), [(1.0, 0.7310586), (0.1, 0.5249792), (5.0, 0.9933071)])
def test_stochastic_frequency_is_the_sigmoid_of_the_scaled_difference(beta: float, expected: float) -> None:
    queries = asked(*[([1.0, 1.0], [1.0, 2.0])] * 20000)
    assert teacher("stochastic", beta=beta).answer(queries).target.mean() == pytest.approx(expected, abs=0.01)


def test_stochastic_with_huge_differences() -> None:
    target = teacher("stochastic").answer(asked(([0.0], [1e6]), ([1e6], [0.0]))).target
    assert target.tolist() == [1.0, 0.0]


def test_nothing_answered_is_an_answer() -> None:
    made = teacher("skip", mean_return=1e6)
    answers = made.answer(asked(([1.0], [2.0])))
    assert answers.labelled == 0
    assert Answers(np.array([0.5, np.nan, 1.0])).labelled == 2


def test_the_generator_is_saved() -> None:
    queries = asked(*[([0.0], [0.3])] * 50)
    first = Teacher(TeacherConfig(kind="stochastic"), seeding.rng(3, "teacher"))
    first.set_margin(7.0, 1, 1)
    first.answer(queries)
    second = Teacher(TeacherConfig(kind="stochastic"), seeding.rng(99))
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert second.margin == 7.0
    np.testing.assert_array_equal(first.answer(queries).target, second.answer(queries).target)


def test_a_trait_given_replaces_that_of_the_kind() -> None:
    traits = TeacherConfig(kind="myopic", beta=2.0, eps_skip=0.3).traits
    assert (traits.gamma, traits.beta, traits.eps_skip) == (0.9, 2.0, 0.3)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "orcale"}, "did you mean 'oracle'"),
        ({"ties": "second"}, "allowed: first, equal"),
        ({"beta": 0.0}, "beta=0.0"),
        ({"gamma": 0.0}, "gamma=0.0"),
        ({"eps_mistake": 1.5}, "eps_mistake=1.5"),
        ({"eps_skip": -0.1}, "eps_skip >= 0"),
    ],
)
def test_senseless_teachers_are_refused(fields: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        TeacherConfig(**fields)
