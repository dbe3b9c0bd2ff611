"""Warnings by hand: strength of labels, implied pairs, the gate, names of hazards."""

from __future__ import annotations

import numpy as np
import pytest

from coord.errors import UserError
from coord.preference.labels.segments import AnsweredPairs
from coord.preference.reward import safety
from coord.preference.reward.safety import Familiarity, SafetyConfig
from coord.run import config

NAN = float("nan")


@pytest.mark.parametrize(
    ("target", "unsafe", "expected"),
    [
        (1.0, (False, False), 0.75),  # a preference between safe ones
        (0.0, (False, False), 0.25),
        (0.5, (False, False), 0.5),  # equal
        (1.0, (True, False), 1.0),  # a warning makes it certain
        (0.0, (False, True), 0.0),
        (0.5, (True, False), 1.0),  # "equal", but one is unsafe
        (0.0, (True, False), 1.0),  # the unsafe one preferred: the warning decides
        (1.0, (True, True), 0.5),
        (NAN, (False, False), NAN),
    ],
)
def test_a_label_is_as_strong_as_its_reason(target: float, unsafe: tuple[bool, bool], expected: float) -> None:
    found = safety.strengthen(np.array([target]), np.array([unsafe]))
    assert np.allclose(found, expected, equal_nan=True)
    swapped = safety.strengthen(np.array([1 - target]), np.array([unsafe[::-1]]))
    assert np.allclose(swapped, 1 - found, equal_nan=True)


def test_reasons_may_have_strengths_of_their_own() -> None:
    """As in DROPJ: .75 without a reason, .95 for grass, 1 for a chuckhole; the largest where several are given."""
    strengths = safety.parse_strengths(("grass:0.95", "chuckhole:1.0"))
    reasons = [(), ("grass",), ("grass", "chuckhole"), ("unheard of",)]
    found = safety.strengthen(np.ones(4), np.zeros((4, 2), bool), reasons, strengths=strengths)
    assert np.allclose(found, [0.75, 0.95, 1.0, 0.75])
    weaker = safety.strengthen(np.zeros(1), np.array([[False, True]]), [("grass",)], strengths=strengths)
    assert np.allclose(weaker, 0.05)


@pytest.mark.parametrize("word", ["grass", "grass:x", ":0.9", "grass:0.4", "grass:1.1"])
def test_strengths_that_cannot_be(word: str) -> None:
    with pytest.raises(UserError, match="reason:strength"):
        SafetyConfig(reason_strengths=(word,))


def test_the_teacher_prefers_the_safe_one() -> None:
    target = np.array([0.0, 1.0, 0.0, 0.5, NAN])
    unsafe = np.array([[True, False], [False, True], [True, True], [False, False], [False, True]])
    assert np.allclose(safety.safe_first(target, unsafe), [1.0, 0.0, 0.0, 0.5, 0.0])


def test_one_warning_says_all_pairs() -> None:
    """Three safe actions and one warning: three pairs; two and two: four, and the two unsafe ones are equal."""
    assert safety.implied([0, 2, 3], [1]) == [(0, 1, 0.0), (2, 1, 0.0), (3, 1, 0.0)]
    assert safety.implied([0, 3], [1, 2]) == [(0, 1, 0.0), (0, 2, 0.0), (3, 1, 0.0), (3, 2, 0.0), (1, 2, 0.5)]
    assert safety.implied([], [4, 7, 9]) == [(4, 7, 0.5), (4, 9, 0.5), (7, 9, 0.5)]
    assert safety.implied([0, 1], []) == []
    assert safety.implied([0], [1], strong=0.75) == [(0, 1, 0.25)]


def judged(flags: list[tuple[bool, bool]]) -> tuple[AnsweredPairs, np.ndarray]:
    """Pairs whose segments are told apart by their one observation, 0, 1, 2, ..."""
    count = len(flags)
    obs = np.arange(2 * count, dtype=np.float32).reshape(count, 2, 1, 1)
    return AnsweredPairs(obs, np.ones((count, 2, 1, 2), np.float32), np.full(count, 0.5, np.float32)), np.array(flags)


def test_implied_labels_are_between_judged_segments_and_not_those_that_were_asked() -> None:
    labels, unsafe = judged([(False, True), (False, False), (True, False)])  # unsafe: 1 and 4
    found = safety.implied_labels(labels, unsafe, 100, np.random.default_rng(0))
    pairs = {(int(a), int(b)): float(t) for (a, b), t in zip(found.obs[:, :, 0, 0], found.target, strict=True)}
    over = {(good, bad): 0.0 for good in (0, 2, 3, 5) for bad in (1, 4) if good // 2 != bad // 2}
    assert pairs == over | {(1, 4): 0.5}
    fewer = safety.implied_labels(labels, unsafe, 3, np.random.default_rng(0))
    assert fewer.size == 3
    assert safety.implied_labels(labels, np.zeros((3, 2), bool), 9, np.random.default_rng(0)).size == 0


def test_probability_of_asking() -> None:
    assert safety.ask_probability(0.95, 0) == 1.0
    assert np.isclose(safety.ask_probability(0.95, 3), 0.857375)
    assert np.isclose(safety.ask_probability(0.95, 20), 0.3584859)
    assert np.isclose(safety.ask_probability(0.95, 20, 0.1), 0.4584859)
    assert safety.ask_probability(0.95, 1, 0.2) == 1.0
    assert safety.ask_probability(1.0, 1000) == 1.0


def test_familiarity_counts_queries_about_a_cell() -> None:
    visits = Familiarity(0.5)
    here, near, far = np.array([[1.0, 0.0]]), np.array([[1.1, 0.1]]), np.array([[2.0, 0.0]])
    assert visits.of(here) == 0
    visits.add(np.concatenate([here, here, far]))  # a query that stays in a cell counts once
    visits.add(here)
    assert (visits.of(here), visits.of(near), visits.of(far)) == (2, 2, 1)
    assert visits.of(np.concatenate([here, far])) == 1.5
    again = Familiarity(0.5)
    again.load_state_dict(visits.state_dict())
    assert again.counts == visits.counts


def test_the_gate_lets_through_as_many_as_its_probability_says() -> None:
    """The same query again and again: the expected number asked is the sum of .9^(those asked before)."""
    obs = np.zeros((30, 2, 1, 1), np.float32)
    asked = []
    for seed in range(100):
        mask = safety.gate(obs, np.zeros(30), Familiarity(1.0), 0.9, np.random.default_rng(seed))
        assert mask[0]  # what is new is always asked
        asked.append(mask.sum())
    chance = np.zeros(31)  # of having asked k, by hand
    chance[0] = 1.0
    for _ in range(30):
        ask = 0.9 ** np.arange(31)
        chance = chance * (1 - ask) + np.concatenate([[0.0], (chance * ask)[:-1]])
    expected = chance @ np.arange(31)
    assert abs(np.mean(asked) - expected) < 4 * np.std(asked) / np.sqrt(100)
    assert safety.gate(obs, np.ones(30), Familiarity(1.0), 0.9, np.random.default_rng(0)).all()  # disputed: all asked


def test_hazards_are_events_or_groups_of_them() -> None:
    from coord.overcooked import EVENTS

    found = safety.columns(("collision", "discarded_dish"), EVENTS)
    assert [[EVENTS[column] for column in columns] for columns in found] == [
        ["collision"],
        ["put_soup_on_counter", "delivery_unpaid"],
    ]
    with pytest.raises(UserError, match="did you mean 'collision'"):
        safety.columns(("colision",), EVENTS)
    with pytest.raises(UserError, match="unknown hazard 'discarded_dish'; allowed: drowned"):
        safety.columns(("discarded_dish",), ("drowned",))


@pytest.mark.parametrize(
    ("field", "value"),
    [("flags", "all"), ("strong", 0.4), ("gate", 1.5), ("limit", -1.0), ("cost_steps", 0), ("offset", 0.0)],
)
def test_fields_out_of_range(field: str, value: object) -> None:
    with pytest.raises(UserError, match=field):
        config.from_dict(SafetyConfig, {field: value})
