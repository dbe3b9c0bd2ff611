"""The labelling window by posted events, without a display: answers, undo, crash, several windows, noise."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pygame
import pytest

from coord.preference.labels.store import LabelStore
from play.app import Options
from play.labelling.answers import standing
from play.screens.label import LabelScreen
from play.screens.label_pages import start_page
from play.view import theme
from tests.play.labelling.helpers import judge, kitchen_pair, make_store, missing_pair, session, still_pair
from tests.play.window_driver import App, Clock, Driver, open_gate

REASONS = ("collision", "fall", "other")
NAMES = {"left": "left", "right": "right", "equal": "down", "skip": "up"}


@contextmanager
def label_window(file: Path, annotator: str = "ann", draw=still_pair, *, ask: bool = False, **rest) -> Iterator[Driver]:
    """The window on a store; `ask`: it begins with the question who labels."""

    def begin(app: App, name: str) -> LabelScreen:
        one = session(file, name, draw, **rest)
        return LabelScreen(app, one, title="walker", question="Which one is better?", reasons=REASONS)

    first = (lambda app: start_page(app, "walker", lambda name: begin(app, name))) if ask else None
    options = Options(
        settings=file.parent / "settings.json", instead=first or (lambda app: begin(app, annotator)), folders=(),
        cooks=False,
    )
    clock = Clock()
    app = App(options, clock)
    try:
        yield Driver(app, clock)
    finally:
        app.quit()
        app.preloader.close()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    make_store(tmp_path / "labels.sqlite", 8).close()
    return tmp_path / "labels.sqlite"


def screen(driver: Driver) -> LabelScreen:
    assert isinstance(driver.app.screens[0], LabelScreen)
    return driver.app.screens[0]


def ready(driver: Driver, *phases: str) -> str:
    """Frames until the next pair is there, or nothing is left."""
    wanted = phases or ("showing", "over", "waiting")
    driver.until(lambda: driver.app.screens and screen(driver).session.phase in wanted)
    return screen(driver).session.phase


def say(driver: Driver, choice: str | None = None) -> None:
    """Press the key of an answer, of the rule if none is named, and wait for the next pair."""
    ready(driver)
    task = screen(driver).session.task
    driver.press(NAMES[choice or judge(task)])
    driver.until(lambda: screen(driver).session.task is not task)
    ready(driver)


def answers(file: Path) -> list[dict]:
    with closing(LabelStore(file)) as store:
        return standing(store)


def test_a_session_from_the_name_to_the_end(file: Path) -> None:
    with label_window(file, ask=True, repeat_share=0.0) as driver:
        driver.press("down", "return")  # no name yet
        assert "pseudonym" in driver.app.top.note()
        driver.press("up")
        driver.type("ann")
        driver.press("down", "return")
        assert ready(driver) == "showing"
        assert driver.app.settings.annotator == "ann"
        for choice in ("left", "right", "equal", "skip"):
            say(driver, choice)
        assert driver.at == "label, showing, 4 done"
        for _ in range(4):
            say(driver)
        assert driver.at == "label, over, 8 done"
        driver.until(lambda: screen(driver).report is not None)
        driver.run(0.2)
        driver.press("escape", "end", "return")
        assert driver.app.top is None
    kinds = [row["kind"] for row in answers(file)]
    assert kinds == ["label", "label", "label", "skip", *["label"] * 4]


def test_flags_reasons_and_note_go_with_the_answer(file: Path) -> None:
    with label_window(file) as driver:
        ready(driver)
        driver.press("r")
        assert "unsafe first" in screen(driver).session.notice
        driver.press("a")
        assert driver.at == "label, reasons"
        driver.press("2", "3", "3", "escape", "n")
        assert driver.at == "label, note"
        driver.type("tips over")
        driver.press("return")
        left = screen(driver).session.task.left
        say(driver, "right")
        assert screen(driver).session.draft.unsafe == (False, False)
        driver.press("d", "return", "d")  # marked, and not any more
        say(driver, "left")
    first, second = answers(file)
    assert (first["reasons"], first["note"]) == (["fall"], "tips over")
    assert (first["unsafe_first"], first["unsafe_second"]) == ((1, 0) if left == 0 else (0, 1))
    assert (second["unsafe_first"], second["unsafe_second"], second["reasons"]) == (0, 0, [])


def test_the_letter_that_opens_the_note_is_not_part_of_it(file: Path) -> None:
    with label_window(file) as driver:
        ready(driver)
        key = pygame.event.Event(pygame.KEYDOWN, key=pygame.K_n, mod=0)
        driver.settle()
        driver.post(key, pygame.event.Event(pygame.TEXTINPUT, text="n"))
        driver.post(pygame.event.Event(pygame.KEYUP, key=pygame.K_n, mod=0))
        driver.type("now")
        driver.press("return")
        assert screen(driver).session.draft.note == "now"


def test_undo_brings_back_what_was_said(file: Path) -> None:
    with label_window(file) as driver:
        ready(driver)
        driver.press("a", "1", "escape")
        say(driver, "equal")
        say(driver, "left")
        driver.press("z")
        ready(driver, "showing")
        driver.press("z")
        driver.until(lambda: screen(driver).session.draft.reasons == ("collision",))
        assert screen(driver).session.notice == "Taken back: equally good"
        assert screen(driver).session.progress.done == 0
        say(driver, "right")
        say(driver, "right")
        driver.press(*["z"] * 3)
    with label_window(file) as driver:  # the last undo found nothing; a new session goes on
        ready(driver)
        assert screen(driver).session.progress.done <= 2


def test_tape_keys_and_mouse(file: Path) -> None:
    with label_window(file, draw=kitchen_pair) as driver:
        ready(driver)
        playback = screen(driver).session.playback
        driver.press("p", ".", ".", ",")
        assert (playback.playing, playback.frame) == (False, 1)
        driver.press("=", "=", "=", "-")
        assert playback.speed == 2.0
        driver.press("space")
        assert playback.playing
        driver.run(1.0)
        assert playback.rounds >= 1
        track = screen(driver)._track
        driver.click((track.right - 1, track.centery))
        assert (playback.playing, playback.frame) == (False, 2)
        for action in ("unsafe_right", "left"):
            (rect,) = [rect for rect, name in screen(driver)._spots if name == action]
            driver.click(rect.center)
            driver.press(*(["escape"] if action == "unsafe_right" else []))
        ready(driver)
        driver.until(lambda: screen(driver).session.progress.done == 1)
    (row,) = answers(file)
    assert row["unsafe_first"] + row["unsafe_second"] == 1
    assert row["provenance"]["replays"] == 1
    assert row["provenance"]["speed"] == 2.0


def test_an_answer_that_comes_at_once_is_questioned_once(file: Path) -> None:
    with label_window(file, min_watch_s=5.0) as driver:
        ready(driver)
        driver.press("left")
        assert screen(driver).session.notice.startswith("That was quick")
        driver.press("right")
        assert screen(driver).session.phase == "showing"
        say(driver, "right")
        assert screen(driver).session.progress.done == 1


def test_time_on_other_pages_is_not_thinking(file: Path) -> None:
    with label_window(file) as driver:
        ready(driver)
        driver.press("escape")
        assert driver.at == "Break"
        driver.run(20.0)
        driver.press("return")
        driver.run(1.0)
        say(driver, "left")
    (row,) = answers(file)
    assert 1000 <= row["response_ms"] < 3000


def test_pairs_that_cannot_be_shown_can_only_be_skipped(file: Path) -> None:
    with label_window(file, draw=missing_pair) as driver:
        ready(driver)
        driver.press("left", "a", "n", "escape")
        assert "skip" in screen(driver).session.notice
        say(driver, "skip")
        driver.press("space")  # tries once more
        ready(driver, "showing")
        assert "no such file" in screen(driver).session.clip_problem
    (row,) = answers(file)
    assert row["kind"] == "skip"
    assert "no such file" in row["provenance"]["not_shown"]


def test_it_waits_for_a_trainer_that_has_not_asked_yet(tmp_path: Path) -> None:
    file = tmp_path / "labels.sqlite"
    make_store(file, 0).close()
    (tmp_path / "config.yaml").write_text("labels: 2\nmembers: 1\n")
    with label_window(file) as driver:
        assert ready(driver) == "waiting"
        driver.press("left", "z", "a", "p", "space")
        make_store(file, 2).close()
        ready(driver, "showing")
        say(driver, "left")
        say(driver, "left")
        assert ready(driver) == "over"


def test_a_store_that_fails_meanwhile_is_said_and_tried_again(file: Path, monkeypatch) -> None:
    with label_window(file) as driver:
        ready(driver)
        monkeypatch.setattr(LabelStore, "add_answers", _disk_is_full)
        driver.press("left")
        ready(driver, "problem")
        driver.run(0.1)
        assert "disk is full" in screen(driver).session.problem
        monkeypatch.undo()
        driver.press("return")
        ready(driver, "showing")
        assert screen(driver).session.progress.done == 1


def _disk_is_full(*_, **__):
    from coord.errors import UserError

    raise UserError("cannot write: the disk is full")


def test_keys_can_be_changed_and_stay_so(file: Path) -> None:
    with label_window(file) as driver:
        ready(driver)
        driver.press("h", "down", "return", "k", "end", "up", "up")  # "Right is better" on K
        driver.press("escape")
        assert driver.app.settings.label_keys == {"right": ("k",)}
        task = screen(driver).session.task
        driver.press("k")
        driver.until(lambda: screen(driver).session.task is not task)
    with label_window(file) as driver:
        assert driver.app.settings.label_keys == {"right": ("k",)}
    (row,) = answers(file)
    assert row["target"] == float(task.left == 0)


def test_colours_follow_the_settings(file: Path) -> None:
    with label_window(file, draw=kitchen_pair) as driver:
        ready(driver)
        for name in ("light", "dark"):
            driver.app.change(theme=name)
            driver.run(0.1)
            corner = driver.app.surface.get_at((1, driver.app.ui.size[1] - 1))
            assert tuple(corner)[:3] == theme.NEUTRALS[name]["PANEL"]


# ------------------------------------------------------------------------------------------------------- noise

KEYS = [pygame.K_LEFT, pygame.K_RIGHT, pygame.K_UP, pygame.K_DOWN, pygame.K_z, pygame.K_a, pygame.K_d, pygame.K_r,
        pygame.K_n, pygame.K_p, pygame.K_SPACE, pygame.K_MINUS, pygame.K_EQUALS, pygame.K_COMMA, pygame.K_PERIOD,
        pygame.K_h, pygame.K_ESCAPE, pygame.K_RETURN, pygame.K_1, pygame.K_3, pygame.K_9, pygame.K_TAB, pygame.K_END,
        pygame.K_BACKSPACE, pygame.K_F11, pygame.K_q, 0]  # fmt: skip


def noise(file: Path, events: int) -> set[str]:
    """Random events in windows that are opened again when the noise closes them; the pages that were seen."""
    from tests.play.test_fuzz import SIZES, Noise

    source, seen, sent = Noise(7), set(), 0
    pairs = itertools.cycle([still_pair, kitchen_pair, missing_pair])
    while sent < events:
        with label_window(file, draw=next(pairs), repeat_share=0.2) as driver:
            pygame.display.set_mode(SIZES[0], pygame.RESIZABLE)
            for _ in range(200):
                if driver.app.top is None or sent >= events:
                    break
                driver.post(*(_event(source, driver.app.ui.size) for _ in range(10)))
                sent += 10
                seen.add(driver.at.rpartition(", ")[0] if driver.at.endswith("done") else driver.at)
            if driver.app.settings.fullscreen:
                driver.app.change(fullscreen=False)
    return seen


def _event(source, size: tuple[int, int]) -> pygame.event.Event:
    rng: random.Random = source.rng
    if rng.random() < 0.6:
        kind = rng.choice([pygame.KEYDOWN, pygame.KEYUP])
        return pygame.event.Event(kind, key=rng.choice(KEYS), mod=0)
    return source.event(size)


def consistent(file: Path) -> int:
    """Nothing said twice and no gap in the revisions; the number of answers that stand."""
    with closing(LabelStore(file)) as store:
        for repeat in (False, True):
            revisions: dict[tuple[str, int], list[int]] = {}
            for row in store.answers(repeat=repeat):
                revisions.setdefault((row["annotator"], row["query"]), []).append(row["revision"])
            assert all(found == list(range(len(found))) for found in revisions.values())
        return len(standing(store))


def test_random_events_raise_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_gate(monkeypatch)
    make_store(tmp_path / "labels.sqlite", 2000).close()
    seen = noise(tmp_path / "labels.sqlite", 3000)
    assert {"label, showing", "label, reasons", "Break"} <= seen
    assert consistent(tmp_path / "labels.sqlite") > 0


@pytest.mark.slow
def test_fifty_thousand_random_events_raise_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_gate(monkeypatch)
    make_store(tmp_path / "labels.sqlite", 2000).close()
    seen = noise(tmp_path / "labels.sqlite", 50_000)
    assert {"label, showing", "label, reasons", "label, note", "label, keys", "Break"} <= seen
    assert consistent(tmp_path / "labels.sqlite") > 0
