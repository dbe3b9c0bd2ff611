"""A participant led through a whole study by posted events: consent, questions, a game, a break, the end."""

from __future__ import annotations

import pytest

from coord.errors import UserError
from play.screens.study_pages import study_screen
from play.study.run import StudyRun, load_study
from tests.play.window_driver import use_threads, window

FILE = """
study: 1
title: A short study
consent: |
  May we keep your games?
tutorial: false
questionnaires:
  before:
    - {id: often, kind: choice, text: "How often?", options: [never, daily]}
  after:
    - {id: fluent, kind: likert, text: "Fluent?", low: no, high: yes}
    - {id: remarks, kind: text, text: "Remarks?", required: false}
before: [before]
blocks:
  - name: only
    layouts: [cramped_room]
    partners: [stay, random]
    ticks: 10
    tick_hz: 10
    after_game: [after]
    break_every: 1
    break_s: 5
"""


@pytest.fixture
def driver(tmp_path, monkeypatch):
    (tmp_path / "study.yaml").write_text(FILE)
    use_threads(monkeypatch)
    with window(tmp_path) as one:
        one.load()
        one.app.push(study_screen(one.app, tmp_path / "study.yaml"))
        one.post()
        yield one


def play_round(driver):
    assert driver.at == "study, game"
    driver.press("return")
    driver.until_at("0 points")
    driver.press("return")


def test_the_whole_way(driver):
    driver.press("return")
    assert driver.at == "study, consent"
    who = driver.app.top.run.participant
    driver.press("return", "space")
    assert driver.at == "study, consent"  # nothing is chosen beforehand
    driver.press("down", "return")
    assert driver.at == "study, questionnaire"
    driver.press("end", "return")
    assert driver.app.top.problem == '"How often?" needs an answer'
    assert driver.app.top.form.focus == 0
    driver.press("right", "right", "end", "return")
    play_round(driver)
    assert driver.at == "study, questionnaire"
    driver.press("home", "6", "down")
    driver.type("nice")
    driver.press("end", "return")
    assert driver.at == "study, break"
    driver.press("return")
    assert driver.at == "study, break"  # not over yet
    driver.run(5.5)
    driver.press("return")
    play_round(driver)
    driver.press("home", "2", "end", "return")
    driver.run(6.0)
    if driver.at == "study, break":
        driver.press("return")
    assert driver.at == "study, done"
    store = driver.app.preloader.store()
    rows = store.connection.execute("SELECT question, value FROM answers ORDER BY step, question")
    assert rows.fetchall() == [("often", '"daily"'), ("fluent", "6"), ("remarks", '"nice"'), ("fluent", "2")]
    games = store.games()
    assert [(game.participant, game.study_round, game.outcome) for game in games] == [
        (who, 0, "finished"),
        (who, 1, "finished"),
    ]
    assert {seat["label"] for game in games for seat in game.seats if seat["kind"] == "agent"} == {
        "Partner A",
        "Partner B",
    }


def test_declining_keeps_nothing(driver):
    driver.press("return", "down", "down", "return")
    assert driver.at == "study, done"
    count = driver.app.preloader.store().connection.execute("SELECT count(*) FROM participants").fetchone()
    assert count == (0,)


def test_leaving_asks_and_resumes_at_the_same_step(driver, tmp_path):
    driver.press("return", "down", "return")
    who = driver.app.top.run.participant
    driver.press("escape")
    assert driver.at == "Leave the study?"
    driver.press("return")
    assert driver.at == "study, questionnaire"
    driver.press("escape", "down", "return")
    assert driver.at == "menu"
    driver.app.push(study_screen(driver.app, tmp_path / "study.yaml"))
    driver.press("down", "return")
    assert driver.at == "study, questionnaire"
    assert driver.app.top.run.participant == who


def test_a_game_left_early_is_played_again(driver):
    driver.press("return", "down", "return", "right", "right", "end", "return", "return")
    driver.until_at("game, playing")
    driver.press("escape", "end", "return")
    assert driver.at == "study, game"
    play_round(driver)
    assert driver.at == "study, questionnaire"


def test_withdrawing_deletes_the_person(driver):
    driver.press("return", "down", "return")
    who = driver.app.top.run.participant
    driver.app.pop()
    driver.app.push(study_screen(driver.app, driver.app.options.folders[0] / "study.yaml"))
    driver.press("end", "up", "return")
    assert driver.at == "Withdraw"
    driver.type(who)
    driver.press("down", "return")
    assert driver.at == "Deleted"
    study = load_study(driver.app.options.folders[0] / "study.yaml")
    with pytest.raises(UserError, match="no participant"):
        StudyRun.resume(study, driver.app.preloader.store(), who)


def test_a_study_without_recordings_is_refused(tmp_path, monkeypatch):
    (tmp_path / "games.sqlite").write_bytes(b"junk" * 2000)
    (tmp_path / "study.yaml").write_text(FILE)
    use_threads(monkeypatch)
    with window(tmp_path) as driver:
        driver.load()
        page = study_screen(driver.app, tmp_path / "study.yaml")
        assert page.name == "Nothing can be recorded"


def test_a_wrong_study_file_is_one_clear_page(tmp_path, monkeypatch):
    (tmp_path / "study.yaml").write_text(FILE.replace("ticks: 10", "ticks: ten"))
    use_threads(monkeypatch)
    with window(tmp_path) as driver:
        page = study_screen(driver.load().app, tmp_path / "study.yaml")
        assert page.name == "This study cannot be opened"
        assert "ticks" in page.form.widgets[0].text
