"""Moments of a game: which ones, what is kept of an answer, and the page in the window by posted events."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import yaml

from coord.errors import UserError
from coord.overcooked import EVENTS
from coord.preference.labels import moments
from coord.preference.labels.store import LabelStore
from play.game.moments import LENGTH, GameMoments, MomentsQueue, Place, judged_seat, pick, place_of
from play.game.record import Store
from play.game.seats import SeatInfo
from play.game.session import Session
from play.labelling.answers import standing
from play.labelling.store_queue import StoreQueue
from play.labelling.tasks import Response
from play.screens.label import LabelScreen
from play.screens.study_pages import study_screen
from play.study.run import withdraw
from tests.play.helpers import COOK, HELPER, STAY, ScriptSeat, run_session
from tests.play.window_driver import Driver, use_threads, window

TICKS = 4 * LENGTH


def play_game(folder: Path, ref: str = "", ticks: int = TICKS) -> int:
    """A recorded game of a person who cooks from the second moment on with an agent; its number."""
    store = Store(folder / "games.sqlite")
    seats = [ScriptSeat([STAY] * LENGTH + COOK * 20), ScriptSeat(HELPER)]
    seats[1].info = SeatInfo("agent", "mrn0", "Partner A", ref=ref, checkpoint_sha256="c0ffee")
    recorder = store.recorder()
    session = Session("cramped_room", seats, ticks=ticks, tick_hz=10, recorder=recorder)
    session.close(run_session(session))
    store.close()
    assert session.game_id is not None
    return session.game_id


@pytest.fixture
def queue(tmp_path: Path) -> Any:
    made = open_queue(tmp_path, play_game(tmp_path))
    yield made
    made.close()


def open_queue(folder: Path, game_id: int, annotator: str = "ann") -> MomentsQueue:
    return MomentsQueue(GameMoments(folder / "games.sqlite", game_id), annotator)


def events_of(*moments_: dict[str, int]) -> np.ndarray:
    """[T, 2, K]: what seat 0 does in the first tick of each moment."""
    events = np.zeros((len(moments_) * LENGTH, 2, len(EVENTS)), np.int64)
    for i, happened in enumerate(moments_):
        for name, count in happened.items():
            events[i * LENGTH, 0, EVENTS.index(name)] = count
    return events


# -- which moments -------------------------------------------------------------------------------------------------


def test_the_two_moments_that_differ_most_come_first() -> None:
    place = Place(Path("labels.sqlite"))
    events = events_of({"idle": 40}, {"delivery": 1, "collision": 2}, {"idle": 20}, {"collision": 1})
    # Shares (delivery, collision, idle): (0, 0, 1), (1, 1, 0), (0, 0, .5), (0, .5, 0): 3 apart; of the rest 1.
    assert pick(events, place) == [(0, LENGTH), (2 * LENGTH, 3 * LENGTH)]
    assert pick(events, place, count=1) == [(0, LENGTH)]
    assert pick(events_of({"stay": 9}, {"movement": 3}), place) == []  # nothing that counts tells them apart
    assert pick(events[: 2 * LENGTH - 1], place) == []  # too short for two


def test_a_margin_leaves_room_at_both_ends() -> None:
    place = Place(Path("labels.sqlite"), length=20, margin=5)
    found = pick(np.random.default_rng(0).integers(0, 2, (100, 2, len(EVENTS))), place)
    starts = sorted(start for pair in found for start in pair)
    assert len(starts) == 4
    assert all(start % 20 == 5 and start + 25 <= 100 for start in starts)


def test_who_is_judged() -> None:
    person, agent = {"kind": "human"}, {"kind": "agent"}
    assert [judged_seat(seats) for seats in ([person, agent], [agent, person], [person, person], [agent, agent])] == [
        1, 0, None, None,
    ]  # fmt: skip


def test_where_answers_go(tmp_path: Path) -> None:
    games, run = tmp_path / "data" / "games.sqlite", tmp_path / "run"
    assert place_of("greedy", games) == Place(tmp_path / "data" / "labels.sqlite")
    run.mkdir()
    (run / "config.yaml").write_text(yaml.safe_dump({"query": {"length": 25}, "reward": {"crop_margin": 5}}))
    ref = str(run / "agent.safetensors")
    assert place_of(ref, games) == Place(tmp_path / "data" / "labels.sqlite")  # no run that learns from labels
    LabelStore(run / "labels.sqlite").close()
    assert place_of(ref, games) == place_of(f"{run}#mrn0-1", games) == Place(run / "labels.sqlite", 25, 5)
    assert place_of(ref, games, tmp_path / "mine.sqlite") == Place(tmp_path / "mine.sqlite", 25, 5)
    (run / "config.yaml").write_text("- nothing")
    with pytest.raises(UserError, match="is no configuration of coord prefer"):
        place_of(ref, games)


# -- what is kept --------------------------------------------------------------------------------------------------


def test_an_answer_is_kept_with_what_was_seen_and_where_it_comes_from(queue: MomentsQueue) -> None:
    task = queue.take()
    assert task is not None
    assert queue.take([task]).record.number == 1
    assert queue.give(task, Response(choice="left", response_ms=1234.0, note="quick", shown={"replays": 2}))
    (name,) = queue.store.runs()
    (query,) = queue.store.queries(name, 0)
    assert name.startswith("moments cramped_room ")
    game, ticks = queue.game.game, query.provenance["ticks"]
    assert (query.provenance["game"], query.provenance["partner_sha256"]) == (game.header.uid, "c0ffee")
    assert [stop - start for start, stop in ticks] == [LENGTH, LENGTH]
    assert query.start == tuple(start for start, _ in ticks) == queue.game.pairs[0]
    (row,) = standing(queue.store)
    assert (row["annotator"], row["response_ms"], row["note"]) == ("ann", 1234.0, "quick")
    assert row["provenance"]["left"] == task.left
    assert row["target"] == float(task.left)
    assert not queue.store.pending()  # nobody else is asked
    stored = queue.store.segments([query.id])
    for side, start in enumerate(query.start):
        assert (stored.act[0, side].argmax(-1) == game.joint_act[start : start + LENGTH, 1]).all()
        assert (stored.rew[0, side] == game.rew[start : start + LENGTH]).all()


def test_observations_are_what_a_reward_model_reads(queue: MomentsQueue) -> None:
    """The same game in the env that `coord prefer env=overcooked` learns in, tick by tick."""
    import torch

    from coord.overcooked import OvercookedVectorEnv
    from coord.preference.labels.answerers import TeacherConfig
    from coord.preference.tasks.kitchen_env import KitchenTaskEnv
    from coord.preference.tasks.kitchen_teachers import judgement
    from coord.types import NUM_ACTIONS
    from tests.agent_fixtures import clone_like

    game = queue.game.game
    kitchens = OvercookedVectorEnv("cramped_room", 1, horizon=TICKS)
    env = KitchenTaskEnv(
        kitchens, [clone_like("a0", queue.game.kitchen)], members=1, seed=0, judgement=judgement(TeacherConfig())
    )
    env.env.ego_seat[:] = 1
    for tick in range(60):
        kitchens.load_state_dict(0, queue.game.trajectory.states[tick])
        env.env.view.invalidate()
        seen = env._written_out(torch.from_numpy(kitchens.index_obs()[:, 1]))[0]
        assert (seen.numpy() == queue.game.trajectory.obs[tick]).all(), tick
    assert queue.game.trajectory.act.shape == (TICKS, NUM_ACTIONS)
    assert queue.game.trajectory.obs.shape == (TICKS, env.obs_dim)
    assert game.rew.sum() > 0


def test_what_the_person_did_is_kept_for_rewards_that_see_the_partner(tmp_path: Path) -> None:
    run = tmp_path / "run"
    LabelStore(run / "labels.sqlite").close()
    asked = {"query": {"length": 30}, "reward": {"crop_margin": 5}}
    (run / "config.yaml").write_text(yaml.safe_dump(asked))
    with closing(open_queue(tmp_path, play_game(tmp_path, ref=str(run / "agent.safetensors")))) as queue:
        queue.give(queue.take(), Response(choice="right"))
        (query,) = queue.store.queries(queue.game.run, 0)
        stored, acts = queue.store.segments([query.id]), queue.game.game.joint_act
    assert query.run.endswith(" 40 with partner and change")
    assert (query.length, query.margin, queue.store.path) == (40, 5, run / "labels.sqlite")
    for side, start in enumerate(query.start):
        after_facts = stored.obs[0, side, :, (facts := queue.game.trajectory.obs.shape[1]) :]
        assert (after_facts[:, :6].argmax(-1) == acts[start : start + 40, 0]).all()  # the person's
        seen = stored.obs[0, side, :, :facts]
        assert np.array_equal(after_facts[:-1, 6:], seen[1:] - seen[:-1])
        assert (stored.act[0, side].argmax(-1) == acts[start : start + 40, 1]).all()
    assert query.provenance["ticks"] == [[start + 5, start + 35] for start in query.start]


def test_undo_and_the_same_game_once_more(tmp_path: Path) -> None:
    game_id = play_game(tmp_path)
    with closing(open_queue(tmp_path, game_id)) as queue:
        total = len(queue.game.pairs)
        assert total >= 2
        for choice in ("left", "skip"):
            queue.give(queue.take(), Response(choice=choice))
        back = queue.undo()
        assert (back.record.number, back.revision, back.taken_back.choice) == (1, 2, "skip")
        assert [row["kind"] for row in standing(queue.store)] == ["label"]
        queue.give(back, Response(choice="right"))
    with closing(open_queue(tmp_path, game_id)) as queue:  # nothing is asked twice, and undo goes on
        assert (queue.progress().done, queue.progress().open) == (2, total - 2)
        assert queue.undo().record.number == 1
        assert queue.undo().record.number == 0
        assert queue.undo() is None
        assert standing(queue.store) == []
        assert len(queue.store.queries(queue.game.run, 0)) == 2
    with closing(open_queue(tmp_path, game_id, "bob")) as queue:
        assert queue.progress().done == 0
        assert queue.take().record.number == 0


def test_what_is_taken_back_later_comes_with_its_flags_and_note(tmp_path: Path) -> None:
    game_id = play_game(tmp_path)
    with closing(open_queue(tmp_path, game_id)) as queue:
        task = queue.take()
        given = Response(choice="right", unsafe=(True, False), reasons=("idle",), note="stood about")
        queue.give(task, given)
    with closing(open_queue(tmp_path, game_id)) as queue:  # another day
        again = queue.undo()
        assert (again.left, again.taken_back) == (task.left, given)


def die_while_answering(folder: Path, game_id: int) -> None:
    """The process is killed between the pair and its answer."""
    queue = open_queue(folder, game_id)
    cast("Any", queue.store).add_answer = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    queue.give(queue.take(), Response(choice="left"))


def test_a_pair_and_its_answer_are_one_transaction(tmp_path: Path) -> None:
    game_id = play_game(tmp_path)
    process = multiprocessing.get_context("spawn").Process(target=die_while_answering, args=(tmp_path, game_id))
    process.start()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL
    with closing(LabelStore(tmp_path / "labels.sqlite")) as store:
        assert store.runs() == []


def test_who_labels_clips_of_the_same_store_does_not_meet_them(queue: MomentsQueue) -> None:
    queue.give(queue.take(), Response(choice="right"))
    with closing(StoreQueue(queue.store.path, "ann", repeat_share=1.0)) as other:
        assert other.take() is None  # nothing to answer, nothing to see again
        assert other.undo() is None
        assert other.progress().done == 0


def test_labels_for_a_run(tmp_path: Path, queue: MomentsQueue) -> None:
    queue.give(queue.take(), Response(choice="right"))
    queue.give(queue.take(), Response(choice="skip"))
    file, (facts, acts) = str(tmp_path / "labels.sqlite"), (queue.game.trajectory.obs.shape[1], 6)
    sight = moments.Sight(facts)
    found = moments.labels([file], queue.game.run, LENGTH, sight, acts)
    assert found.labels.obs.shape == (1, 2, LENGTH, facts)
    assert found.labels.target.tolist() == [standing(queue.store)[0]["target"]]
    assert (found.number.tolist(), found.annotator) == ([-1], ["ann"])
    assert moments.labels([], queue.game.run, LENGTH, sight, acts).labels.size == 0
    with pytest.raises(UserError, match=r"holds no 'moments .* 25 with .*it has moments cramped_room"):
        moments.labels([file], moments.run_name(queue.game.kitchen, "classic", 25), 25, sight, acts)
    with pytest.raises(UserError, match=rf"are {2 * facts + 6} \+ 6 numbers per step, not {facts} facts.* 12 actions"):
        moments.labels([file], queue.game.run, LENGTH, sight, 12)
    with pytest.raises(UserError, match="no label store"):
        moments.labels([str(tmp_path / "none.sqlite")], queue.game.run, LENGTH, sight, acts)


# -- the window ----------------------------------------------------------------------------------------------------


def finish_game(driver: Driver) -> None:
    """From the menu to the result of a short game with an agent."""
    driver.load().choose(partner="stay", ticks=TICKS, tick_hz=30.0)
    driver.press("return")
    driver.until(lambda: driver.at == "game, playing")
    for _ in range(40):  # some bumping into walls, some standing still
        driver.press("left", "space")
    driver.until_at("result")


def page(driver: Driver) -> LabelScreen:
    assert isinstance(driver.app.top, LabelScreen)
    return driver.app.top


def ready(driver: Driver) -> str:
    driver.until(lambda: page(driver).session.phase in ("showing", "over"))
    return page(driver).session.phase


def test_from_the_result_to_an_answer_and_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_threads(monkeypatch)
    with window(tmp_path) as driver:
        finish_game(driver)
        driver.press("m")
        assert ready(driver) == "showing"
        task = page(driver).session.task
        driver.run(1.0)
        driver.press("left")
        driver.until(lambda: page(driver).session.task is not task)
        ready(driver)
        driver.press("z")  # taken back, and said otherwise
        driver.until(lambda: page(driver).session.task is not None and page(driver).session.task.revision == 2)
        ready(driver)
        driver.run(1.0)
        driver.press("e")
        driver.until(lambda: page(driver).session.task is None or page(driver).session.task.record.number == 1)
        driver.press("escape")
        assert driver.at == "Break"
        driver.press("end", "return")
        assert driver.at == "result"
        pseudonym = driver.app.settings.annotator
    with closing(LabelStore(tmp_path / "labels.sqlite")) as store:
        (row,) = standing(store)
        assert (row["annotator"], row["target"], row["revision"]) == (pseudonym, 0.5, 2)
        assert pseudonym.startswith("player-")
        assert row["response_ms"] >= 1000


def test_it_is_offered_only_where_there_is_something_to_compare(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_threads(monkeypatch)
    with window(tmp_path) as driver:
        driver.load().choose(partner="stay", ticks=LENGTH, tick_hz=30.0)  # too short for two moments
        driver.press("return")
        driver.until_at("result")
        driver.press("m")
        assert driver.at == "result"
    assert not (tmp_path / "labels.sqlite").exists()


STUDY = f"""
study: 1
title: A short study
consent: May we keep your games?
tutorial: false
questionnaires: {{}}
blocks:
  - {{name: only, layouts: [cramped_room], partners: [stay], ticks: {2 * LENGTH}, tick_hz: 30, moments: true}}
"""


def test_a_study_offers_it_where_its_file_says_so_and_a_participant_can_have_it_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "study.yaml").write_text(STUDY)
    use_threads(monkeypatch)
    with window(tmp_path, moments=tmp_path / "elsewhere.sqlite") as driver:
        driver.load().app.push(study_screen(driver.app, tmp_path / "study.yaml"))
        driver.post()
        driver.press("return")
        assert driver.at == "study, consent"
        who = cast("Any", driver.app.top).run.participant
        driver.press("down", "return")
        assert driver.at == "study, game"
        driver.press("return")
        driver.until_at("game, playing")
        driver.press("left", "left", "space")  # so that the first moment is not like the second
        driver.until_at("0 points")
        driver.press("down", "return")
        assert ready(driver) == "showing"
        driver.run(1.0)
        driver.press("left")
        driver.until(lambda: page(driver).session.phase == "over")
        driver.press("escape", "end", "return")
        assert driver.at == "study, done"
        store = driver.app.preloader.store()
        assert store is not None
        with closing(LabelStore(tmp_path / "labels.sqlite")) as labels:
            assert [row["annotator"] for row in standing(labels)] == [who]
        assert withdraw(store, who)["moments"] == 1
    assert not (tmp_path / "elsewhere.sqlite").exists()
    for file in tmp_path.glob("labels.sqlite*"):
        assert who.encode() not in file.read_bytes()


def test_forgetting_one_person_leaves_the_others_and_the_store_closed_to_changes(queue: MomentsQueue) -> None:
    queue.give(queue.take(), Response(choice="left"))
    bob = MomentsQueue(queue.game, "bob")
    bob.give(bob.take(), Response(choice="left"))
    queue.give(queue.take(), Response(choice="left"))
    assert len(queue.store.queries(queue.game.run, 0)) == 2  # bob answered the query that was there
    assert queue.store.forget("ann") == 2
    assert [row["annotator"] for row in bob.store.answers()] == ["bob"]
    assert [query.number for query in bob.store.queries(queue.game.run, 0)] == [0]
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        queue.store._connection.execute("DELETE FROM answers")
    bob.close()
