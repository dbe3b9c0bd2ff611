"""`coord study run` as a kiosk, by posted events: one participant after another, and nothing else in reach."""

from __future__ import annotations

import json
from contextlib import contextmanager

import pygame
import pytest

from coord.errors import UserError
from play.screens.kiosk import Kiosk, kiosk_screen
from play.study.run import Station, load_study
from tests.play.test_screens_study import FILE, play_round
from tests.play.window_driver import Driver, use_threads, window

TITLE = "A short study"


@contextmanager
def kiosk(folder, monkeypatch, text: str = FILE, **options):
    (folder / "study.yaml").write_text(text)
    use_threads(monkeypatch)
    kiosk = Kiosk(load_study(folder / "study.yaml"), **options)
    with window(folder, instead=lambda app: kiosk_screen(app, kiosk), kiosk=True, fullscreen=False) as driver:
        driver.load().post()
        assert driver.at == TITLE
        yield driver


def people(driver: Driver) -> list[tuple]:
    rows = driver.app.preloader.store().connection.execute(
        "SELECT code, station, slot, study FROM participants ORDER BY enrolled_utc"
    )
    return rows.fetchall()


def experimenter(driver: Driver) -> None:
    keys = pygame.KMOD_LCTRL | pygame.KMOD_LSHIFT
    driver.post(pygame.event.Event(pygame.KEYDOWN, key=pygame.K_e, mod=keys))
    driver.post(pygame.event.Event(pygame.KEYUP, key=pygame.K_e, mod=keys))


def test_two_participants_one_after_another(tmp_path, monkeypatch):
    with kiosk(tmp_path, monkeypatch) as driver:
        for _ in range(2):
            driver.press("return", "down", "return", "2", "end", "return")
            play_round(driver)
            driver.press("home", "4", "end", "return")
            driver.run(6.0)
            driver.press("return")
            play_round(driver)
            driver.press("home", "4", "end", "return")
            assert driver.at == "study, done"
            texts = " ".join(getattr(row, "text", "") for row in driver.app.top.form.widgets)
            run = driver.app.top.run
            assert run.participant in texts
            assert run.step.code in texts
            driver.press("return")
            assert driver.at == TITLE
        assert [(slot, study) for *_, slot, study in people(driver)] == [(0, TITLE), (1, TITLE)]


def test_declining_and_leaving_come_back_to_the_greeting(tmp_path, monkeypatch):
    with kiosk(tmp_path, monkeypatch) as driver:
        driver.press("return", "end", "return")
        assert driver.at == "study, done"
        driver.press("escape")
        assert driver.at == TITLE
        assert people(driver) == []
        driver.press("return", "down", "return", "escape", "down", "return")
        assert driver.at == TITLE
        assert len(people(driver)) == 1


@pytest.mark.parametrize("key", ["escape", "f11", "f3", "tab", "home", "backspace"])
def test_no_key_leads_out(tmp_path, monkeypatch, key):
    with kiosk(tmp_path, monkeypatch) as driver:
        driver.press(key)
        assert driver.at == TITLE
        assert len(driver.app.screens) == 1
        assert not driver.app.settings.fullscreen


def test_closing_the_window_is_the_experimenters(tmp_path, monkeypatch):
    with kiosk(tmp_path, monkeypatch, pin="0042") as driver:
        driver.post(pygame.event.Event(pygame.QUIT))
        driver.post(pygame.event.Event(pygame.QUIT))
        assert (driver.at, len(driver.app.screens)) == ("Experimenter", 2)
        driver.type("42")
        driver.press("return")
        assert driver.app.top.note() == "This is not the PIN."
        driver.press("backspace", "backspace")
        driver.type("0042")
        driver.press("return", "end", "return")
        assert driver.app.top is None


def test_the_experimenter_resumes_and_withdraws_in_the_middle_of_a_game(tmp_path, monkeypatch):
    with kiosk(tmp_path, monkeypatch, asks_code=True) as driver:
        driver.press("return")
        assert "type the participant code" in driver.app.top.note()
        driver.type("P-7")
        driver.press("return", "down", "return", "2", "end", "return", "return")
        first = driver.app.screens[1].run
        driver.until_at("game, playing")
        experimenter(driver)
        assert driver.at == "Experimenter"
        assert driver.app.screens[-2].name == "game, paused"
        labels = [getattr(row, "label", "") for row in driver.app.top.form.widgets]
        assert f"Go on as P-7 ({first.participant})" in labels
        driver.press("down", "return")  # next participant
        assert driver.at == TITLE
        driver.type("p-7")
        driver.press("return")
        assert "'p-7' is taken" in driver.app.top.note()
        experimenter(driver)
        driver.press("down", "down", "return")
        assert (driver.at, driver.app.top.run.participant) == ("study, game", first.participant)
        experimenter(driver)
        driver.press("end", "up", "return")
        assert driver.at == "Withdraw"
        driver.type("p-7")
        driver.press("down", "return")
        assert driver.at == "Deleted"
        assert people(driver) == []


def test_a_station_hands_out_its_share(tmp_path, monkeypatch):
    with kiosk(tmp_path, monkeypatch, station=Station(2, 3)) as driver:
        for _ in range(2):
            driver.press("return", "down", "return", "escape", "down", "return")
        assert people(driver) == [("", 2, 1, TITLE), ("", 2, 4, TITLE)]


def test_preferences_are_the_same_for_everybody(tmp_path, monkeypatch):
    (tmp_path / "settings.json").write_text(json.dumps({"text_scale": 1.25}))
    before = (tmp_path / "settings.json").read_text()
    with kiosk(tmp_path, monkeypatch) as driver:
        driver.press("return")
        driver.app.change(text_scale=1.5, theme="light")
        driver.press("end", "return", "return", "return")
        assert driver.at == "study, consent"
        assert (driver.app.settings.text_scale, driver.app.settings.theme) == (1.25, "dark")
    assert (tmp_path / "settings.json").read_text() == before


def test_without_a_record_there_is_no_kiosk(tmp_path, monkeypatch):
    (tmp_path / "games.sqlite").write_bytes(b"junk" * 2000)
    with pytest.raises(UserError, match=r"games\.sqlite"), kiosk(tmp_path, monkeypatch):
        pass


def test_a_tutorial_that_must_be_passed_offers_no_way_round(tmp_path, monkeypatch):
    with kiosk(tmp_path, monkeypatch, FILE.replace("tutorial: false", "tutorial: must")) as driver:
        driver.press("return", "down", "return", "2", "end", "return", "return")
        driver.until(lambda: driver.at == "tutorial" and driver.app.top.stage.phase == "playing")
        phase = driver.app.top.tutorial.phase
        driver.press("tab", "escape")
        assert driver.app.top.tutorial.phase is phase
        labels = [row.label for row in driver.app.top._menu.widgets]
        assert labels == ["Go on", "Leave the tutorial"]
        driver.press("down", "return")
        assert driver.at == "study, tutorial"
