"""The pool keeps the last episodes exactly, and pairs are cut only from what was really lived through."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coord.errors import UserError
from coord.preference.labels.segments import AnsweredPairs, SegmentPool, join, join_labels, labelled

MEMBERS, SLOTS = 2, 3


def row(m: int, j: int, episode: int, t: int) -> float:
    """A number that tells member, environment, episode of that environment, and step."""
    return m * 1e5 + j * 1e4 + episode * 100 + t


def fill(pool: SegmentPool, lengths: np.ndarray, steps: int) -> list[list[list[float]]]:
    """Play `steps` steps; lengths [M, n, k]: of each environment's episodes. Complete episodes per member, in order."""
    episode, t = np.zeros((MEMBERS, SLOTS), int), np.zeros((MEMBERS, SLOTS), int)
    done: list[list[list[float]]] = [[] for _ in range(MEMBERS)]
    for _ in range(steps):
        values = np.array([[row(m, j, episode[m, j], t[m, j]) for j in range(SLOTS)] for m in range(MEMBERS)])
        t += 1
        ended = t >= np.take_along_axis(lengths, episode[..., None] % lengths.shape[2], 2)[..., 0]
        pool.add(np.stack([values, -values], 2), values[..., None] + 0.5, values, ended)
        for m, j in np.argwhere(ended):
            done[m].append([row(m, j, episode[m, j], i) for i in range(t[m, j])])
            episode[m, j] += 1
            t[m, j] = 0
    return done


@given(st.integers(0, 2**32 - 1), st.integers(1, 90), st.integers(1, 8))
@settings(max_examples=40, deadline=None)
def test_the_last_episodes_are_kept_exactly(seed: int, steps: int, keep: int) -> None:
    lengths = np.random.default_rng(seed).integers(1, 30, (MEMBERS, SLOTS, 5))
    pool = SegmentPool(MEMBERS, keep)
    done = fill(pool, lengths, steps)
    for m in range(MEMBERS):
        kept = pool.episodes(m)
        assert [list(episode.rew) for episode in kept] == done[m][-keep:]
        assert [episode.number for episode in kept] == list(range(len(done[m])))[-keep:]
        for episode in kept:
            np.testing.assert_array_equal(episode.obs, np.stack([episode.rew, -episode.rew], 1))
            np.testing.assert_array_equal(episode.act[:, 0], (episode.rew + 0.5).astype(np.float32))
        np.testing.assert_allclose(pool.returns(m), [sum(values) for values in done[m][-keep:]])


def test_running_episodes_only_when_asked() -> None:
    pool = SegmentPool(MEMBERS, 10)
    fill(pool, np.full((MEMBERS, SLOTS, 1), 50), 70)
    assert [episode.length for episode in pool.episodes(0)] == [50] * SLOTS
    assert [(e.number, e.length) for e in pool.episodes(0, running=True)[SLOTS:]] == [(-1, 20), (-2, 20), (-3, 20)]


def test_an_episode_longer_than_the_first_store() -> None:
    pool = SegmentPool(MEMBERS, 2)
    done = fill(pool, np.full((MEMBERS, SLOTS, 1), 1000), 1100)
    assert [list(episode.rew) for episode in pool.episodes(1)] == done[1][-2:]


def test_pairs_are_pieces_of_stored_episodes() -> None:
    pool = SegmentPool(MEMBERS, 100)
    lengths = np.random.default_rng(0).integers(3, 30, (MEMBERS, SLOTS, 5))
    done = fill(pool, lengths, 300)
    queries = pool.sample_pairs(1, 500, 10, np.random.default_rng(1))
    assert (queries.size, queries.length) == (500, 10)
    for i, k in np.ndindex(500, 2):
        number, start = queries.episode[i, k], queries.start[i, k]
        assert list(queries.rew[i, k]) == done[1][number][start : start + 10]
    np.testing.assert_array_equal(queries.obs[..., 0], queries.rew)
    long_enough = {number for number, values in enumerate(done[1]) if len(values) >= 10}
    assert set(queries.episode.ravel()) == long_enough


def test_every_start_is_possible_and_equally_likely() -> None:
    pool = SegmentPool(MEMBERS, 100)
    fill(pool, np.full((MEMBERS, SLOTS, 1), 12), 12)
    queries = pool.sample_pairs(0, 6000, 10, np.random.default_rng(0))
    share = np.bincount(queries.start.ravel(), minlength=3) / queries.start.size
    np.testing.assert_allclose(share, 1 / 3, atol=0.02)
    together = (queries.episode[:, 0] == queries.episode[:, 1]).mean()
    assert together == pytest.approx(1 / SLOTS, abs=0.03)  # with replacement: they may coincide


def test_only_the_last_episodes() -> None:
    pool = SegmentPool(MEMBERS, 100)
    fill(pool, np.full((MEMBERS, SLOTS, 1), 10), 100)
    queries = pool.sample_pairs(0, 200, 5, np.random.default_rng(0), last=4)
    assert set(queries.episode.ravel()) == {26, 27, 28, 29}
    everything = pool.sample_pairs(0, 400, 5, np.random.default_rng(0), last=1000)
    assert set(everything.episode.ravel()) == set(range(30))


def test_pairs_of_one_group() -> None:
    """Episodes alternate between groups 0 and 1, and the last slot's are all of group 2; also after a restart."""
    pool, again = SegmentPool(MEMBERS, 100), SegmentPool(MEMBERS, 100)
    for t in range(60):
        group = np.full((MEMBERS, SLOTS), t // 10 % 2)
        group[:, -1] = 2
        values = np.zeros((MEMBERS, SLOTS), np.float32)
        pool.add(values[..., None], values[..., None], values, np.full(values.shape, t % 10 == 9), group=group)
    again.load_state_dict(pool.state_dict())
    group_of = {episode.number: episode.group for episode in again.episodes(0)}
    assert [group_of[number] for number in range(9)] == [0, 0, 2, 1, 1, 2, 0, 0, 2]
    pairs = again.sample_pairs(0, 3000, 5, np.random.default_rng(0), same_group=True).episode
    assert all(group_of[one] == group_of[two] for one, two in pairs.tolist())
    share = np.bincount(pairs.ravel(), minlength=18) / pairs.size
    np.testing.assert_allclose(share, 1 / 18, atol=0.015)  # every episode as often as without
    free = again.sample_pairs(0, 300, 5, np.random.default_rng(0)).episode
    assert any(group_of[one] != group_of[two] for one, two in free.tolist())


def test_no_episode_long_enough_is_one_clear_line() -> None:
    pool = SegmentPool(MEMBERS, 100)
    fill(pool, np.full((MEMBERS, SLOTS, 1), 10), 25)
    with pytest.raises(UserError, match="at least 11 steps"):
        pool.sample_pairs(0, 1, 11, np.random.default_rng(0))
    with pytest.raises(UserError, match="no complete episode"):
        SegmentPool(1).sample_pairs(0, 1, 1, np.random.default_rng(0))


def test_saved_and_restored_it_goes_on_the_same() -> None:
    lengths = np.random.default_rng(3).integers(5, 40, (MEMBERS, SLOTS, 4))
    whole, half, other = SegmentPool(MEMBERS, 6), SegmentPool(MEMBERS, 6), SegmentPool(MEMBERS, 6)
    fill(whole, lengths, 100)
    fill(half, lengths, 100)
    other.load_state_dict(half.state_dict())
    for pool in (whole, other):
        fill(pool, lengths, 77)
    for m in range(MEMBERS):
        for ours, theirs in zip(other.episodes(m, running=True), whole.episodes(m, running=True), strict=True):
            assert ours.number == theirs.number
            np.testing.assert_array_equal(ours.obs, theirs.obs)
            np.testing.assert_array_equal(ours.rew, theirs.rew)
    pairs = [pool.sample_pairs(0, 20, 5, np.random.default_rng(9)) for pool in (whole, other)]
    for ours, theirs in zip(*pairs, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    empty = SegmentPool(1)
    empty.load_state_dict(SegmentPool(1).state_dict())
    assert empty.complete(0) == 0


def test_a_state_of_other_members_is_refused() -> None:
    with pytest.raises(ValueError, match="2 members"):
        SegmentPool(1).load_state_dict(SegmentPool(2).state_dict())
    pool = SegmentPool(1)
    with pytest.raises(ValueError, match="1 members"):
        pool.add(np.zeros((2, 1, 3)), np.zeros((2, 1, 1)), np.zeros((2, 1)), np.zeros((2, 1), bool))


def test_the_centre_of_longer_segments() -> None:
    pool = SegmentPool(MEMBERS, 100)
    fill(pool, np.full((MEMBERS, SLOTS, 1), 40), 40)
    queries = pool.sample_pairs(0, 4, 30, np.random.default_rng(0))
    middle = queries.centre(20)
    np.testing.assert_array_equal(middle.rew, queries.rew[:, :, 5:25])
    np.testing.assert_array_equal(middle.start, queries.start + 5)
    with pytest.raises(ValueError, match="31 steps"):
        queries.centre(31)


def test_labels_leave_skipped_pairs_out() -> None:
    pool = SegmentPool(MEMBERS, 100)
    fill(pool, np.full((MEMBERS, SLOTS, 1), 20), 20)
    queries = pool.sample_pairs(0, 4, 5, np.random.default_rng(0))
    labels = labelled(queries, np.array([1.0, np.nan, 0.5, np.nan]))
    assert labels.target.tolist() == [1.0, 0.5]
    np.testing.assert_array_equal(labels.obs, queries.obs[[0, 2]])
    both = join_labels([AnsweredPairs.empty(5, 2, 1), labels, labels.select(np.array([1]))])
    assert both.target.tolist() == [1.0, 0.5, 0.5]
    assert join([queries, queries.select(slice(1, 3))]).size == 6
