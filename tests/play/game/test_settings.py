"""Preferences survive; damage costs only what is damaged, and is told."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from coord.errors import UserError
from play.game.inputs import PRESETS
from play.game.settings import GameChoice, PlaySettings, default_path, load, save

CHANGED = PlaySettings(
    bindings=(PRESETS["ijkl"].rebind("interact", ["u"]), PRESETS["pad0"]),
    window=(1920, 1080),
    text_scale=1.25,
    tutorial_done=True,
    last=GameChoice(layout="coordination_ring", partner="runs/pool#sp0", seat=1, ticks=200, tick_hz=5.0),
)


def test_what_is_saved_is_loaded(tmp_path):
    path = tmp_path / "deep" / "settings.json"
    save(CHANGED, path)
    assert load(path) == (CHANGED, "")
    assert [file.name for file in path.parent.iterdir()] == ["settings.json"]  # nothing half-written left


def test_no_file_means_defaults_without_a_word(tmp_path):
    assert load(tmp_path / "none.json") == (PlaySettings(), "")


@pytest.mark.parametrize("content", ["{", "[1, 2]", "\0\0\0"])
def test_an_unreadable_file_means_defaults_and_a_note(tmp_path, content):
    path = tmp_path / "settings.json"
    path.write_text(content)
    settings, note = load(path)
    assert settings == PlaySettings()
    assert "defaults are used" in note


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("window", [1280]),
        ("window", [0, 720]),
        ("window", "wide"),
        ("sound", "yes"),
        ("text_scale", 3),
        ("bindings", [{"keys": {}}, {"keys": {}}]),
        ("bindings", None),
        ("last", {"tick_hz": 0}),
        ("last", {"seat": "left"}),
        ("last", 7),
    ],
)
def test_one_damaged_field_costs_only_itself(tmp_path, name, value):
    path = tmp_path / "settings.json"
    save(CHANGED, path)
    path.write_text(json.dumps({**json.loads(path.read_text()), name: value}))
    settings, note = load(path)
    assert f"{name} damaged" in note
    assert settings == replace(CHANGED, **{name: getattr(PlaySettings(), name)})


def test_fields_of_a_newer_version_are_passed_over(tmp_path):
    path = tmp_path / "settings.json"
    path.write_text('{"hologram": true, "sound": true}')
    assert load(path) == (PlaySettings(sound=True), "")


def test_an_unwritable_place_is_one_clear_line(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="cannot write"):
        save(PlaySettings(), tmp_path / "file" / "settings.json")


def test_the_default_place(monkeypatch, tmp_path):
    monkeypatch.setenv("COORD_CONFIG", str(tmp_path / "mine.json"))
    assert default_path() == tmp_path / "mine.json"
    monkeypatch.delenv("COORD_CONFIG")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert default_path() == tmp_path / "coord" / "settings.json"
