"""Screens driven by posted events: every way through the window, and every friendly word when something is wrong."""

from __future__ import annotations

import dataclasses
import itertools
import math
import subprocess
import sys

import pygame
import pytest

from play.game import film
from play.screens.preferences import BindingsScreen, settings_screen
from play.screens.setup import SetupScreen
from play.view import theme
from play.view.events import Translator, UiEvent
from play.view.form import Form
from play.view.kitchen import tile_size
from play.view.ui import Ui
from play.view.widgets import Button, Likert, Text, TextField
from tests.play.helpers import load_raises
from tests.play.window_driver import use_threads, window

TWO_PEOPLE = {"second_human": True, "ticks": 30, "tick_hz": 10.0}


@pytest.fixture
def driver(tmp_path, monkeypatch):
    use_threads(monkeypatch)
    with window(tmp_path) as one:
        yield one


def start_game(driver, **fields):
    driver.load().choose(**{**TWO_PEOPLE, **fields})
    driver.press("home", "return")
    driver.until_at("game, playing")
    return driver.app.top.stage


# -- look --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", theme.NEUTRALS)
def test_texts_have_enough_contrast(name):
    colors = theme.NEUTRALS[name]
    papers = [colors[paper] for paper in ("BACKGROUND", "PANEL", "RAISED")]
    inks = [colors[ink] for ink in ("TEXT", "MUTED", "ALERT", "GOOD")]
    pairs = [*itertools.product(inks, papers), (theme.INK, theme.ORANGE), (theme.PAPER, theme.INK)]
    pairs += [(theme.INK, color) for color in (*theme.SEAT_COLORS, theme.VERMILION)]
    assert {pair: theme.contrast(*pair) for pair in pairs if theme.contrast(*pair) < 4.5} == {}


def test_contrast_of_black_and_white():
    assert theme.contrast((0, 0, 0), (255, 255, 255)) == pytest.approx(21.0)


def test_seats_differ_without_colour(driver):
    """Grey pictures of two seats' marks and hats must differ."""
    ui = driver.app.ui
    for first, second in itertools.combinations(range(4), 2):
        assert theme.SEAT_SHAPES[first] != theme.SEAT_SHAPES[second]
        hats = [ui.sprites.at(f"SOUTH-{theme.SEAT_HATS[seat]}hat", 15) for seat in (first, second)]
        stripes = [pygame.mask.from_threshold(hat, (250, 250, 250), (6, 6, 6)) for hat in hats]
        shared = stripes[0].overlap_area(stripes[1], (0, 0))
        assert max(stripe.count() for stripe in stripes) > shared


@pytest.mark.parametrize("size", [(640, 360), (960, 540), (1280, 720), (1920, 1080)])
def test_no_text_is_below_16_px(driver, size):
    ui = Ui(size, driver.app.sprites)
    assert min(ui.font(units).size("x")[1] for units in (theme.SMALL, theme.BODY, theme.HEAD)) >= 16


def test_tiles_are_whole_multiples_of_the_sprites():
    grid = ("XXXXX",) * 4
    area = pygame.Rect(0, 0, 700, 600)
    assert tile_size(grid, area, whole_pixels=True) == 135
    assert tile_size(grid, area, whole_pixels=False) == 140


def test_wrapped_lines_fit_and_keep_every_word(driver):
    text = "one two three " * 20 + "a" * 200
    lines = driver.app.ui.wrap(text, theme.BODY, 200)
    assert max(driver.app.ui.font(theme.BODY).size(line)[0] for line in lines) <= 200
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")


# -- menu --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("downs", "name"),
    [(1, "choose a game"), (2, "tutorial"), (3, "Study"), (4, "Replays"), (5, "Settings")],
)
def test_every_entry_opens_and_is_remembered(driver, downs, name):
    driver.load().press(*["down"] * downs, "return")
    assert driver.at == name
    driver.until(lambda: driver.at != "tutorial" or driver.app.top.stage.phase == "playing")
    driver.press("escape")
    if name == "tutorial":
        driver.press("down", "return")
        driver.press("escape")
    assert driver.at == "menu"
    assert driver.app.settings.menu == {"choose a game": "choose"}.get(name, name.lower())


def test_menu_opens_on_the_entry_used_last(tmp_path, monkeypatch):
    use_threads(monkeypatch)
    with window(tmp_path) as driver:
        driver.press(*["down"] * 5, "return")
    with window(tmp_path) as driver:
        driver.press("return")
        assert driver.at == "Settings"


def test_menu_by_mouse_and_by_pad(driver):
    driver.post()
    settings = driver.app.top.form._rects[5]
    driver.click(settings.center)
    assert driver.at == "Settings"
    push = {"instance_id": 7, "joy": 0}
    driver.settle()
    driver.post(pygame.event.Event(pygame.JOYBUTTONDOWN, button=1, **push))
    assert driver.at == "menu"
    driver.post(pygame.event.Event(pygame.JOYBUTTONUP, button=1, **push))
    driver.settle()
    assert driver.app.ui.device == "pad"
    driver.post(pygame.event.Event(pygame.JOYHATMOTION, hat=0, value=(0, 1), **push))
    driver.post(pygame.event.Event(pygame.JOYHATMOTION, hat=0, value=(0, 0), **push))
    driver.load().post(pygame.event.Event(pygame.JOYBUTTONDOWN, button=0, **push))
    assert driver.at == "Replays"


def test_closing_the_window_ends_the_loop(driver):
    driver.post(pygame.event.Event(pygame.QUIT))
    assert driver.app.top is None


# -- choosing ----------------------------------------------------------------------------------------------------------


def test_setup_keeps_what_is_chosen(driver, tmp_path):
    driver.load().press("down", "return", "down", "right", "down", "down", "down", "right")
    chosen = driver.app.settings.last
    names = [entry.name for entry in driver.app.preloader.layouts]
    assert chosen.layout == names[names.index("cramped_room") + 1]
    assert chosen.blinded
    assert dataclasses.asdict(chosen) == dataclasses.asdict(reload(tmp_path).last)


def reload(folder):
    from play.game import settings

    return settings.load(folder / "settings.json")[0]


def test_picking_from_the_list_by_typing(driver):
    driver.load().press("down", "return", "down", "return")
    assert driver.at == "Kitchen"
    driver.type("forced")
    driver.press("return")
    assert driver.at == "choose a game"
    assert driver.app.settings.last.layout == "forced_coordination"


def test_partner_that_does_not_fit_is_exchanged(driver):
    driver.load().choose(partner="human_proxy")
    driver.app.push(screen := SetupScreen(driver.app))
    screen._take_layout([entry.name for entry in driver.app.preloader.layouts].index("corridor"))
    assert driver.app.settings.last.partner == "greedy"


def test_blinded_partners_show_letters_only(driver):
    driver.load().choose(blinded=True)
    driver.app.push(screen := SetupScreen(driver.app))
    titles = [screen._partner_title(entry) for entry in screen.partners(screen.choice)]
    assert titles == sorted(titles)
    assert len(set(titles)) == len(titles) > 2
    assert all(title.startswith("Partner ") for title in titles)
    assert {screen._partner_note(entry) for entry in driver.app.preloader.partners} == {""}


def test_unreadable_layout_is_shown_with_its_reason(tmp_path, monkeypatch):
    (tmp_path / "broken.layout").write_text("{'grid': 'XX?'}")
    use_threads(monkeypatch)
    with window(tmp_path) as driver:
        driver.load().choose(layout=str(tmp_path / "broken.layout"))
        driver.press("down", "return", "return")
        assert driver.at == "This kitchen cannot be read"
        driver.press("return", "escape", "up", "return")
        assert driver.at == "That did not work"


# -- the game ----------------------------------------------------------------------------------------------------------


def test_game_from_menu_to_result_and_replay(driver):
    stage = start_game(driver)
    driver.press("right")
    driver.until_at("result")
    assert stage.session.tick == 30
    assert len(stage.latencies_ms) == 1
    driver.press("down", "return")
    driver.until_at("replay")
    replay = driver.app.top.replay
    assert replay.length == 30
    driver.run(1.0)
    assert replay.tick > 5
    driver.press("space", "end", "left", "left")
    assert (replay.playing, replay.tick) == (False, 28)
    driver.press("home", "up", "escape")
    assert replay.speed == 2.0
    assert driver.at == "result"
    driver.press("end", "return")
    assert driver.at == "menu"


def test_keys_reach_both_people(driver):
    stage = start_game(driver, layout="cramped_room")
    before = [tuple(player["position"]) for player in stage.session.state["players"]]
    for _ in range(6):
        driver.press("right", "s")
        driver.run(0.2)
    after = [tuple(player["position"]) for player in stage.session.state["players"]]
    assert [after[0] != before[0], after[1] != before[1]] == [True, True]


def test_pause_freezes_and_counts_down_before_going_on(driver):
    stage = start_game(driver, ticks=400)
    driver.run(0.5)
    driver.press("escape")
    assert driver.at == "game, paused"
    tick = stage.session.tick
    driver.run(3.0)
    assert stage.session.tick == tick
    driver.press("return")
    assert driver.at == "game, countdown"
    driver.until_at("game, playing")
    driver.run(0.5)
    assert stage.session.tick > tick
    names = [event.name for event in stage.session.events]
    assert (names.count("pause"), names.count("resume")) == (1, 1)


def test_losing_the_focus_pauses_and_says_so_in_the_record(driver):
    stage = start_game(driver)
    driver.post(pygame.event.Event(pygame.WINDOWFOCUSLOST))
    assert driver.at == "game, paused"
    assert stage.session.events[-1][2:] == ("pause", "focus")


def test_leaving_keeps_what_was_played(driver):
    start_game(driver)
    driver.run(1.0)
    driver.press("escape", "end", "return")
    assert driver.at == "menu"
    header = driver.app.preloader.store().games()[-1]
    assert header.outcome == "quit"
    assert header.ticks_played >= 8


def test_a_bonus_without_bounds_is_shown_and_survived(driver):
    """tutorial_3 pays infinitely much for one order under the rules of overcooked-ai."""
    for _ in range(2):  # the second result has an earlier best to be compared with
        stage = start_game(driver, layout="tutorial_3", rules="overcooked-ai", ticks=12)
        assert max(order.value for order in stage._hud(stage.session).orders) == math.inf
        stage.session.score = math.inf
        driver.until_at("result")
        driver.press("end", "return")
    assert driver.app.preloader.store().game("last").header.layout == "tutorial_3"


def test_drawing_never_changes_the_game(driver):
    """The same keys at 10 and at 60 frames per tick give the same states."""
    hashes = []
    for frames in (1, 6):
        stage = start_game(driver, ticks=12)
        for tick in range(12):
            driver.app.handle(UiEvent("press", key := ("right", "up", "space", "left")[tick % 4]))
            driver.app.handle(UiEvent("release", key))
            for _ in range(frames):
                driver.clock.now_s += 0.1 / frames
                driver.app.frame([])
        driver.until_at("result")
        hashes.append(driver.app.preloader.store().game("last").hashes)
        assert stage.session.tick == 12
        driver.press("end", "return")
    assert hashes[0] == hashes[1]


def test_partner_that_breaks_down_never_stops_the_game(tmp_path, monkeypatch):
    use_threads(monkeypatch, load_raises)
    with window(tmp_path) as driver:
        stage = start_game(driver, second_human=False)
        driver.until(lambda: stage.broken_seats())
        assert stage.session.seats[1].message.endswith("out of onions")
        driver.until_at("result")
        assert stage.session.misses[1] >= 25
        assert "partner_crashed" in [event.name for event in stage.session.events]


def test_fresh_start_for_a_broken_partner(tmp_path, monkeypatch):
    use_threads(monkeypatch, load_raises)
    with window(tmp_path) as driver:
        stage = start_game(driver, second_human=False, ticks=300)
        driver.until(lambda: stage.broken_seats())
        driver.press("f5")
        driver.until(lambda: stage.session.seats[1].status == "ready")


def test_missing_checkpoint_is_one_clear_page(tmp_path, monkeypatch):
    from play.game.worker import load_partner

    use_threads(monkeypatch, load_partner)
    with window(tmp_path) as driver:
        driver.load().choose(partner=str(tmp_path / "gone.safetensors"))
        driver.press("return")
        driver.until_at("This game cannot be played")
        assert "gone.safetensors" in driver.app.top.form.widgets[0].text
        driver.press("return")
        assert driver.at == "menu"


def test_measurements_on_f3(driver):
    stage = start_game(driver)
    driver.press("f3", "right")
    driver.run(0.3)
    assert driver.app.show_measurements
    assert any("key to tick" in line for line in stage._measurements(stage.session))


# -- what can go wrong around it ---------------------------------------------------------------------------------------


def test_damaged_recordings_leave_the_game_playable(tmp_path, monkeypatch):
    (tmp_path / "games.sqlite").write_bytes(b"this is no database" * 100)
    use_threads(monkeypatch)
    with window(tmp_path) as driver:
        driver.load().press("down", "down", "down", "down", "return")
        assert driver.at == "The recordings cannot be opened"
        driver.press("escape")
        start_game(driver)
        driver.until_at("result")
        assert driver.app.top.game_id is None
        assert "damaged" in driver.app.preloader.problem


def test_damaged_settings_are_replaced_with_a_note(tmp_path, monkeypatch):
    (tmp_path / "settings.json").write_text("{")
    use_threads(monkeypatch)
    with window(tmp_path) as driver:
        driver.post()
        assert "settings" in driver.app.note


def test_no_sound_device_is_a_line_in_the_settings(driver, monkeypatch):
    def refuse(*_):
        raise pygame.error("no such audio device")

    pygame.mixer.quit()  # another test may have left it open
    monkeypatch.setattr(pygame.mixer, "init", refuse)
    driver.app.change(sound=True)
    assert driver.app.sound.problem == "no sound: no such audio device"
    driver.app.sound.play("deliver")


def test_sounds_play_when_switched_on(driver):
    driver.app.change(sound=True)
    assert driver.app.sound.on, driver.app.sound.problem
    driver.app.sound.play_events({"delivery"})
    pygame.mixer.quit()


def test_no_display_is_one_line_and_exit_code_2(tmp_path):
    code = "import sys; from coord.run.cli import main; sys.exit(main(['play']))"
    env = {"PATH": "/usr/bin", "SDL_VIDEODRIVER": "x11", "HOME": str(tmp_path), "COORD_CONFIG": str(tmp_path / "s")}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stderr.startswith("error: no window can be opened here")
    assert done.stderr.count("\n") == 1


# -- settings ----------------------------------------------------------------------------------------------------------


def test_rebinding_shows_conflicts_and_keeps_reserved_keys(driver, tmp_path):
    driver.app.push(BindingsScreen(driver.app))
    driver.press("return", "w")
    assert driver.app.settings.bindings[0].keys["north"] == ("w",)
    assert reload(tmp_path).bindings[0].keys["north"] == ("w",)
    notes = [row.note for row in driver.app.top.form.widgets if isinstance(row, Button)]
    assert sum("used twice" in note for note in notes) == 2
    driver.press("return", "escape")
    assert driver.app.settings.bindings[0].keys["north"] == ("w",)
    assert driver.at == "keys"
    driver.press("end", "up", "return")
    assert driver.app.settings.bindings[0].keys["north"] == ("up",)


def test_every_preference_changes_and_is_kept(driver, tmp_path):
    before = driver.app.settings
    driver.app.push(settings_screen(driver.app))
    for _ in range(11):
        driver.press("right", "down")
    after = reload(tmp_path)
    switches = ("hold_to_repeat", "sound", "text_scale", "theme", "reduced_motion", "fullscreen", "whole_pixels")
    for name in ("bindings", *switches):
        assert getattr(before, name) != getattr(after, name), name
    assert before.last.tick_hz != after.last.tick_hz
    pygame.mixer.quit()


@pytest.mark.parametrize("size", [(640, 360), (960, 540), (1920, 1080)])
@pytest.mark.parametrize("text_scale", [1.0, 1.5])
def test_every_page_draws_at_every_size(driver, size, text_scale):
    stage = start_game(driver, ticks=2000)
    driver.app.change(text_scale=text_scale, reduced_motion=text_scale > 1)
    pygame.display.set_mode(size, pygame.RESIZABLE)
    driver.post(pygame.event.Event(pygame.WINDOWSIZECHANGED, x=size[0], y=size[1]))
    assert driver.app.ui.size == size
    driver.press("f3", "escape")
    driver.press("end", "return")
    assert stage.session.closed
    for downs in range(1, 6):
        driver.press("home", *["down"] * downs, "return")
        driver.run(0.2)
        driver.until(lambda: driver.at != "tutorial" or driver.app.top.stage.phase == "playing")
        driver.press("escape", "end", "return")
        driver.app.home()


# -- widgets and events ------------------------------------------------------------------------------------------------


def test_long_text_scrolls_before_the_focus_moves_on(driver):
    pressed = []
    form = Form([Text("word " * 2000), Button("below", lambda: pressed.append(1)), Button("last", lambda: None)])
    ui, area = driver.app.ui, pygame.Rect(0, 0, 400, 300)
    form.draw(driver.app.surface, ui, area)
    assert (form.scroll, form.focus) == (0, 1)
    steps = 0
    while not form._rects[1].colliderect(area):
        form.handle(UiEvent("press", "return"))
        form.draw(driver.app.surface, ui, area)
        steps += 1
    assert steps > 5
    assert not pressed
    form.handle(UiEvent("press", "return"))
    assert pressed == [1]


def test_likert_has_no_answer_beforehand_and_takes_digits_and_arrows(driver):
    given = []
    scale = Likert("I trusted my partner.", 7, "not at all", "fully", 0, given.append)
    rect = pygame.Rect(0, 0, 600, 120)
    assert scale.value == 0
    for key in ("right", "left", "7", "8"):
        scale.handle(UiEvent("press", key), rect)
    assert given == [4, 3, 7]


def test_entry_types_deletes_and_lets_the_arrows_through(driver):
    texts = []
    field = TextField("Name", "ab", texts.append, limit=4)
    rect = pygame.Rect(0, 0, 200, 60)
    for event in (UiEvent("text", text="cde"), UiEvent("press", "backspace"), UiEvent("press", "space")):
        assert field.handle(event, rect)
    assert texts == ["abcd", "abc"]
    assert not field.handle(UiEvent("press", "down"), rect)


@pytest.mark.parametrize(
    ("printed", "place", "name"),
    [
        ("ф", pygame.KSCAN_A, "a"),  # Cyrillic and Greek: WASD lies where it always lies
        ("ω", pygame.KSCAN_V, "v"),
        ("é", pygame.KSCAN_2, "é"),  # French and German: what the key prints
        ("ö", pygame.KSCAN_SEMICOLON, "ö"),
        ("х", pygame.KSCAN_LEFTBRACKET, "х"),
        ("q", pygame.KSCAN_A, "q"),
    ],
)
def test_keys_without_a_latin_name_have_one_all_the_same(printed: str, place: int, name: str) -> None:
    translator = Translator()
    down = pygame.event.Event(pygame.KEYDOWN, key=ord(printed), scancode=place, mod=0)
    up = pygame.event.Event(pygame.KEYUP, key=ord("x"), scancode=place, mod=0)  # the layout was changed meanwhile
    said = [(one.kind, one.key) for event in (down, up) for one in translator.translate(event)]
    assert said == [("press", name), ("release", name)]


def test_stick_has_hysteresis():
    translator = Translator()

    def axis(value):
        event = pygame.event.Event(pygame.JOYAXISMOTION, instance_id=0, axis=0, value=value)
        return [(one.kind, one.key) for one in translator.translate(event)]

    assert axis(0.4) == []
    assert axis(0.6) == [("press", "pad0:right")]
    assert axis(0.4) == []
    assert axis(0.3) == [("release", "pad0:right")]
    assert axis(-1.0) == [("press", "pad0:left")]
    assert axis(1.0) == [("release", "pad0:left"), ("press", "pad0:right")]


# -- films -------------------------------------------------------------------------------------------------------------


def test_film_of_a_game(driver, tmp_path):
    from PIL import Image

    start_game(driver)
    for key in ("up", "right", "left", "down") * 4:
        driver.press(key)
        driver.run(0.1)
    driver.until_at("result")
    game = driver.app.preloader.store().game("last")
    film.save_game(game, tmp_path / "game.gif", speed=2.0)
    with Image.open(tmp_path / "game.gif") as picture:
        assert 4 < picture.n_frames <= 31  # equal pictures in a row are written as one
        assert picture.size[0] == 5 * film.TILE


def test_export_asks_for_a_name_and_refuses_other_formats(driver, tmp_path):
    start_game(driver, ticks=5)
    driver.until_at("result")
    driver.press("down", "return")
    driver.until_at("replay")
    driver.press("e", "down", "down", "backspace", "down", "return")
    assert driver.at == "This cannot be saved"
