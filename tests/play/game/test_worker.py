"""A partner answers from its own process; a hang, a crash or a missing file never stops the game."""

from __future__ import annotations

import time

import pytest

from coord.overcooked import load_layout
from play.game.inputs import STAY
from play.game.seats import AGENT, MISS, AgentSeat, ChosenAction
from play.game.worker import GameSpec, PartnerSpec, PartnerWorker
from tests.play import helpers

WAIT_S = 90.0  # a busy machine may take long to start a process


def make(loader=helpers.load_east, mode="thread", ref="east", **options) -> PartnerWorker:
    game = GameSpec(load_layout("cramped_room"), "classic", 400, 1)
    return PartnerWorker(PartnerSpec(ref, seed=3), game, 0.0, mode=mode, loader=loader, **options)


def until(condition, poll=lambda: None) -> None:
    """Wait in real time for another thread or process."""
    end_s = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < end_s, "nothing happened"
        poll()
        time.sleep(0.002)


def ready(worker: PartnerWorker, now_s: float = 0.0) -> PartnerWorker:
    until(lambda: worker.status != "loading", lambda: worker.poll(now_s))
    return worker


def answer(worker: PartnerWorker, tick: int, now_s: float = 0.0):
    """Submit the state of a tick and wait for what comes of it."""
    worker.submit(tick, helpers.state_at(tick), None, now_s)
    until(
        lambda: worker._answer is not None or worker.status != "ready", lambda: worker.poll(now_s)
    )
    return worker.take(tick)


def test_answers_the_state_it_was_sent():
    worker = ready(make())
    assert (worker.status, worker.agent_id, worker.checkpoint_sha256) == ("ready", "east", "")
    found = answer(worker, 5)
    assert (found.tick, found.action) == (5, helpers.E)
    assert 0 < found.latency_ms == worker.latency_ms
    assert worker.take(5) is None  # consumed
    worker.close()
    assert worker.status == "closed"


def test_a_late_answer_is_a_miss_and_the_next_state_is_served():
    worker = ready(make())
    seat = AgentSeat(worker, label="B")
    seat.observe(0, helpers.state_at(0), None, 0.0)
    until(lambda: worker._answer is not None, lambda: worker.poll(0.0))
    assert seat.choose(1, 0.0) == ChosenAction(STAY, MISS)  # the answer was for tick 0
    seat.observe(2, helpers.state_at(2), None, 0.0)
    until(lambda: worker._answer is not None, lambda: worker.poll(0.0))
    choice = seat.choose(2, 0.0)
    assert (choice.action, choice.source) == (helpers.E, AGENT)
    assert (seat.info.name, seat.info.label, seat.info.ref, seat.info.seed) == ("east", "B", "east", 3)
    seat.close()


def test_only_the_newest_state_waits():
    worker = make()  # still loading: nothing can be sent yet
    for tick in range(5):
        worker.submit(tick, helpers.state_at(tick), None, 0.0)
    ready(worker)
    until(lambda: worker._answer is not None, lambda: worker.poll(0.0))
    assert worker._answer.tick == 4
    worker.close()


def test_a_hang_is_noticed_by_the_clock_and_can_be_restarted():
    worker = ready(make(helpers.load_hangs, hang_s=2.0))
    worker.submit(3, helpers.state_at(3), None, 10.0)
    worker.poll(11.9)
    assert worker.status == "ready"
    worker.poll(12.1)
    assert worker.status == "hung"
    assert worker.message == "partner 'east' hung: no answer for 2 s"
    worker.submit(4, helpers.state_at(4), None, 12.2)
    assert worker.take(4) is None
    worker.restart(13.0)
    ready(worker, 13.0)
    until(lambda: worker._answer is not None, lambda: worker.poll(13.5))
    assert worker.take(4).action == helpers.E  # it went on from the newest state
    worker.close()


def test_loading_for_ever_is_a_hang():
    worker = make(load_s=5.0)
    worker._pipe.poll = lambda: False  # as if nothing ever came
    worker.poll(4.9)
    assert worker.status == "loading"
    worker.poll(5.1)
    assert worker.status == "hung"
    worker.close()


def test_an_exception_is_a_crash_with_its_reason():
    worker = ready(make(helpers.load_raises))
    assert answer(worker, 2) is None
    assert (worker.status, worker.message) == (
        "crashed", "partner 'east' crashed: RuntimeError: out of onions"
    )  # fmt: skip
    worker.close()


def test_what_cannot_be_loaded_is_told_in_one_line():
    worker = ready(make(helpers.load_fails, ref="nowhere.safetensors"))
    assert worker.status == "crashed"
    assert worker.message == "partner 'nowhere.safetensors' crashed: no agent at 'nowhere.safetensors'"


def test_a_missing_checkpoint_is_told_in_one_line(tmp_path):
    from play.game.worker import load_partner

    worker = ready(make(load_partner, ref=str(tmp_path / "gone.safetensors")))
    assert worker.status == "crashed"
    assert "no agent at" in worker.message
    assert "\n" not in worker.message


def test_an_unknown_mode_is_refused():
    with pytest.raises(ValueError, match="process"):
        make(mode="fork")


def test_processes_answer_hang_and_die_without_the_game():
    """Two processes at once, because each takes seconds to start."""
    hanging, dying = (
        make(loader, "process", hang_s=2.0) for loader in (helpers.load_hangs, helpers.load_dies)
    )
    for worker in (hanging, dying):
        ready(worker)
        assert worker.status == "ready", worker.message
        assert answer(worker, 1).action == helpers.E
    hanging.submit(3, helpers.state_at(3), None, 10.0)
    process = hanging._process
    hanging.poll(12.5)
    assert hanging.status == "hung"
    assert not process.is_alive()  # killed, not left behind
    assert answer(dying, 2) is None
    assert dying.message == "partner 'east' crashed: its process ended unexpectedly"
    for worker in (hanging, dying):
        worker.close()
        assert worker._process is None
