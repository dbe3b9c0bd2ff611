"""What an annotator is asked, says and takes back: all of it in the store, none of it twice."""

from __future__ import annotations

import math
from contextlib import closing
from pathlib import Path

import pytest

from coord.errors import UserError
from coord.preference.labels.store import LabelStore
from play.labelling.answers import choice_of, standing, target_of
from play.labelling.report import Share, of_annotator, text
from play.labelling.store_queue import REPEAT_DISTANCE, StoreQueue, asking_is_over
from play.labelling.tasks import Response, checked_name
from tests.play.labelling.helpers import answer, judge, make_store


@pytest.fixture
def file(tmp_path: Path) -> Path:
    make_store(tmp_path / "labels.sqlite", 40).close()
    return tmp_path / "labels.sqlite"


def work(queue: StoreQueue, count: int) -> list[tuple[int, bool]]:
    """Answer `count` pairs; (query, whether it was a repeat) of each."""
    done = []
    for _ in range(count):
        task = queue.take()
        assert answer(queue, task)
        done.append((task.record.id, task.is_repeat))
    return done


@pytest.mark.parametrize(("choice", "left", "target"), [("left", 0, 0.0), ("left", 1, 1.0), ("right", 0, 1.0),
                                                        ("right", 1, 0.0), ("equal", 1, 0.5)])  # fmt: skip
def test_targets_follow_the_side(choice: str, left: int, target: float) -> None:
    assert target_of(choice, left) == target
    assert choice_of({"kind": "label", "target": target, "provenance": {"left": left}}) == choice


def test_a_skip_is_no_target() -> None:
    assert math.isnan(target_of("skip", 1))
    assert choice_of({"kind": "skip", "target": None, "provenance": {}}) == "skip"


def test_sides_are_a_coin_that_falls_the_same_way_again(file: Path) -> None:
    sides = {}
    for name in ("ann", "ann", "bob"):
        with closing(StoreQueue(file, name)) as queue:
            sides.setdefault(name, []).append([queue._side(i) for i in range(200)])
    assert sides["ann"][0] == sides["ann"][1] != sides["bob"][0]
    assert 70 <= sum(sides["ann"][0]) <= 130


def test_what_was_said_is_stored_by_segment(file: Path) -> None:
    with closing(StoreQueue(file, "ann", repeat_share=0)) as queue:
        for _ in range(8):
            task = queue.take()
            answer(queue, task, "left", unsafe=(True, False), reasons=("fall",), note="tips over")
        rows = standing(queue.store)
    assert {row["provenance"]["left"] for row in rows} == {0, 1}  # both happened, or this proves nothing
    for row in rows:
        shown_left = row["provenance"]["left"]
        assert row["target"] == float(shown_left == 1)
        assert (row["unsafe_first"], row["unsafe_second"]) == ((1, 0) if shown_left == 0 else (0, 1))
        assert (row["reasons"], row["note"], row["response_ms"]) == (["fall"], "tips over", 1000.0)


def test_two_pairs_in_hand_are_different_ones(file: Path) -> None:
    with closing(StoreQueue(file, "ann")) as queue:
        first = queue.take()
        second = queue.take([first])
        assert first.record.id != second.record.id


def test_undo_walks_back_over_sessions_and_repeats(file: Path) -> None:
    with closing(StoreQueue(file, "ann", repeat_share=0.1)) as queue:
        order = work(queue, 23)
        assert (queue.progress().done, queue.progress().repeats) == (21, 2)
    with closing(StoreQueue(file, "ann", repeat_share=0.1)) as queue:
        undone = [queue.undo() for _ in range(23)]
        assert queue.undo() is None
        assert [(task.record.id, task.is_repeat) for task in reversed(undone)] == order
        assert queue.progress().done == queue.progress().repeats == 0
        assert all(task.taken_back.choice == judge(task) for task in undone)
        for task in reversed(undone):
            assert answer(queue, task, "equal")
        assert {row["target"] for row in standing(queue.store)} == {0.5}
        assert queue.progress().done == 21


def test_an_undone_pair_that_was_not_answered_again_comes_back_after_a_crash(file: Path) -> None:
    with closing(StoreQueue(file, "ann", repeat_share=0)) as queue:
        work(queue, 3)
        taken_back = queue.undo()
    with closing(StoreQueue(file, "ann", repeat_share=0)) as queue:
        task = queue.take()
        assert (task.record.id, task.left, task.revision) == (taken_back.record.id, taken_back.left, 2)
        assert answer(queue, task)
        assert len(standing(queue.store)) == 3


def test_repeats_come_at_a_distance_by_turns_swapped(file: Path) -> None:
    seen: list[tuple[int, int, bool]] = []
    with closing(StoreQueue(file, "ann", repeat_share=0.2)) as queue:
        while (task := queue.take()) is not None:
            seen.append((task.record.id, task.left, task.is_repeat))
            answer(queue, task)
        report = of_annotator(queue.store, "ann")
        counts = queue.store.counts("run", 0)
    repeats = [i for i, entry in enumerate(seen) if entry[2]]
    assert len(repeats) == 8
    swaps = []
    for i in repeats:
        (at,) = (j for j, entry in enumerate(seen) if entry[0] == seen[i][0] and not entry[2])
        assert sum(not entry[2] for entry in seen[at + 1 : i]) >= REPEAT_DISTANCE
        swaps.append(seen[at][1] != seen[i][1])
    assert swaps == [True, False] * 4
    assert (counts.labelled, counts.pending) == (40, 0)  # repeats are no labels
    assert (report.agreement, report.agreement_swapped.total, report.repeats) == (Share(8, 8), 4, 8)


def test_somebody_who_always_says_left_shows_it(file: Path) -> None:
    with closing(StoreQueue(file, "lefty", repeat_share=0.2)) as queue:
        while (task := queue.take()) is not None:
            answer(queue, task, "left")
        report = of_annotator(queue.store, "lefty")
        shown = text(queue.store)
    assert report.left == Share(40, 40)
    assert report.left.interval[0] > 0.9
    assert (report.agreement_swapped, report.agreement_same) == (Share(0, 4), Share(4, 4))
    assert "lefty" in shown
    assert "100% [91%, 100%] (40 of 40)" in shown


def test_skips_equals_and_teachers_in_the_report(file: Path) -> None:
    with closing(StoreQueue(file, "ann", repeat_share=0)) as queue:
        with pytest.raises(UserError, match="no person has answered"):
            text(queue.store)
        for choice in ("skip", "equal", "left", "right"):
            answer(queue, queue.take(), choice)
        queue.undo()
        report = of_annotator(queue.store, "ann")
    assert (report.answers, report.undone, report.skipped, report.equal) == (3, 1, Share(1, 3), Share(1, 3))
    assert report.agreement.total == 0
    assert str(report.agreement) == "none yet"
    assert report.median_s == 1.0


def test_two_people_share_the_work(file: Path) -> None:
    ann, bob = (StoreQueue(file, name, repeat_share=0) for name in ("ann", "bob"))
    with closing(ann), closing(bob):
        given = 0
        while (pair := (ann.take(), bob.take())) != (None, None):
            for queue, task in zip((ann, bob), pair, strict=True):
                given += task is not None and answer(queue, task)
        rows = standing(ann.store)
    assert given == len(rows) == len({row["query"] for row in rows}) == 40


def test_who_leaves_gives_back_what_they_held(file: Path) -> None:
    ann = StoreQueue(file, "ann")
    first = ann.take()
    answer(ann, first)
    second = ann.take([first])
    with closing(StoreQueue(file, "bob")) as bob:
        assert bob.take().record.id not in (first.record.id, second.record.id)
        ann.close()
        assert bob.store.claim("cy").id == second.record.id


def test_an_answer_comes_too_late_after_the_lease(file: Path) -> None:
    with closing(StoreQueue(file, "ann", lease_s=0.0)) as ann, closing(StoreQueue(file, "bob")) as bob:
        late = ann.take()
        task = bob.take()
        assert task.record.id == late.record.id
        assert answer(bob, task)
        assert not answer(ann, late)
        assert [row["annotator"] for row in standing(bob.store)] == ["bob"]


def test_one_name_at_two_windows_answers_once(file: Path) -> None:
    with closing(StoreQueue(file, "ann")) as one, closing(StoreQueue(file, "ann")) as other:
        first, second = one.take(), other.take()
        assert first.record.id == second.record.id
        assert answer(one, first, "left")
        assert not answer(other, second, "right")
        assert len(standing(one.store)) == 1
        assert other.undo().record.id == first.record.id  # and either can take it back


@pytest.mark.parametrize("name", ["", "  ", "x" * 41, "teacher:oracle"])
def test_names_that_are_none(file: Path, name: str) -> None:
    with pytest.raises(UserError, match="annotator"):
        StoreQueue(file, name)
    assert checked_name(" ann ") == "ann"


def test_asking_is_over_without_a_trainer_or_after_it(file: Path) -> None:
    with closing(LabelStore(file)) as store:
        assert asking_is_over(store)
        config = file.parent / "config.yaml"
        for labels, is_over in ((41, False), (40, True)):
            config.write_text(f"labels: {labels}\nmembers: 1\n")
            assert asking_is_over(store) is is_over
        config.write_text("labels: [\n")
        assert not asking_is_over(store)
        (file.parent / "agents").mkdir()
        assert asking_is_over(store)


def test_no_store_no_session(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no label store"):
        StoreQueue(tmp_path / "labels.sqlite", "ann")
    assert Response(choice="skip").unsafe == (False, False)
