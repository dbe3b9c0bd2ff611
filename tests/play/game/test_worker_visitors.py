"""Agents of anybody's beside the window: what they do wrong is one line, and the game goes on."""

from __future__ import annotations

import time

import pytest

from coord.errors import UserError
from coord.overcooked import OvercookedVectorEnv, load_layout
from play.game.seats import AgentSeat
from play.game.session import Session
from play.game.worker import GameSpec, PartnerSpec, PartnerWorker
from play.study.study_file import load_study
from tests.play import helpers

GOOD = "class Cook:\n obs = 'features'\n def act(self, obs, info): return info['tick'] % 6"
BAD = {
    "class Cook:\n obs = 'state'\n def act(self, obs, info): return [[4]]": "act() gave shape [1, 1]",
    "class Cook:\n obs = 'state'\n def act(self, obs, info): raise KeyError('soup')": "KeyError: 'soup'",
    "raise SystemExit(3)": "loading it failed: SystemExit",
}


def worker(tmp_path, text: str, mode: str = "thread", **options) -> PartnerWorker:
    (tmp_path / "cook.py").write_text(text)
    spec = PartnerSpec(f"python:{tmp_path / 'cook.py'}:Cook")
    game = GameSpec(load_layout("cramped_room"), "classic", 40, 1)
    return PartnerWorker(spec, game, 0.0, mode=mode, **options)


def until(one: PartnerWorker, *statuses: str) -> None:
    end = time.monotonic() + 60
    while one.status not in statuses and time.monotonic() < end:
        one.poll(0.0)
        time.sleep(0.01)
    assert one.status in statuses, one.message


def test_a_python_file_holds_a_seat_of_the_game(tmp_path):
    one = worker(tmp_path, GOOD)
    until(one, "ready")
    assert one.agent_id == "python:cook.py:Cook"
    assert len(one.checkpoint_sha256) == 64
    env = OvercookedVectorEnv("cramped_room", 1, horizon=40)
    env.reset()
    one.submit(0, env.state_dict(0), None, 0.0)
    end, reply = time.monotonic() + 30, None
    while reply is None and time.monotonic() < end:
        one.poll(0.0)
        reply = one.take(0)
    assert reply is not None
    assert reply.action == 0
    one.close()


@pytest.mark.parametrize("text", [GOOD, GOOD.replace("info['tick'] % 6", "[info['tick'][0] // 3 or 'soup']")])
def test_a_session_goes_on_whatever_its_partner_does(tmp_path, text):
    """Thirty ticks with a sound one, and with one that answers with a word from the beginning."""
    one = worker(tmp_path, text, hang_s=1e9)  # the clock runs faster than the thread
    until(one, "ready", "crashed")
    seats = [helpers.ScriptSeat(), AgentSeat(one)]
    session = Session(load_layout("cramped_room"), seats, ticks=30, tick_hz=5.0)
    helpers.run_session(session)
    assert session.tick == 30
    assert (one.status == "ready") == (text == GOOD)
    assert one.message == "" or "python:cook.py:Cook" in one.message


@pytest.mark.parametrize("text", BAD)
def test_a_broken_one_is_a_line_that_names_it(tmp_path, text):
    one = worker(tmp_path, text)
    until(one, "crashed")
    assert "python:cook.py:Cook" in one.message.replace(str(tmp_path) + "/", "")
    assert BAD[text] in one.message


@pytest.mark.slow
def test_one_that_ends_its_process_or_never_answers_leaves_the_window_alone(tmp_path):
    one = worker(tmp_path, "import os\nos._exit(3)", mode="process")
    until(one, "crashed")
    assert "ended unexpectedly" in one.message


STUDY = """study: 1
title: T
consent: "Yes?"
questionnaires: {}
blocks:
- {name: a, layouts: [cramped_room], partners: ["python:cook.py:Cook"], repeats: 1, ticks: 100}
"""


def test_a_study_file_names_code_only_with_leave(tmp_path):
    path = tmp_path / "study.yaml"
    path.write_text(STUDY)
    with pytest.raises(UserError, match=r"python:cook.py:Cook would run code; .* add --allow-code"):
        load_study(path)
    assert load_study(path, allow_code=True).partners == ["python:cook.py:Cook"]


def test_a_study_file_may_name_a_network_of_another_library(tmp_path):
    path = tmp_path / "study.yaml"
    path.write_text(STUDY.replace("python:cook.py:Cook", "onnx:cook.onnx,obs=lossless"))
    assert load_study(path).partners == ["onnx:cook.onnx,obs=lossless"]
