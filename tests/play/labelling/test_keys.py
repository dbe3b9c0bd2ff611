"""Keys of labelling: none means two things, whatever is changed."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from coord.errors import UserError
from play.game import settings as settings_file
from play.game.settings import PlaySettings
from play.labelling.keys import ACTIONS, FIXED, action_of, bound, checked, rebind
from play.screens.label import ACTS, ANSWER_BUTTONS, SHORT, TOOLS


def doubles(changed: dict[str, tuple[str, ...]]) -> list[str]:
    counts = Counter(key for keys in bound(changed).values() for key in keys)
    return [key for key, count in counts.items() if count > 1]


def test_every_action_has_keys_and_something_to_do() -> None:
    assert doubles({}) == []
    assert set(ACTIONS) == {*ACTS, *ANSWER_BUTTONS, "unsafe_left", "unsafe_right"}
    assert set(TOOLS) <= set(ACTIONS)
    assert set(SHORT) == set(ANSWER_BUTTONS)


def test_a_key_is_taken_away_from_what_it_meant() -> None:
    changed = rebind({}, "equal", "s")
    assert action_of("s", changed) == "equal"
    assert bound(changed)["equal"] == ("s",)
    assert bound(changed)["skip"] == ("up", "pad0:up")
    assert action_of("down", changed) is None
    assert doubles(changed) == []
    assert rebind(changed, "equal", "s") == changed


@pytest.mark.parametrize(
    ("action", "key", "said"),
    [("equal", "n", "only key of 'Note'"), ("equal", "escape", "keeps it"), ("equal", "f11", "keeps it"),
     ("leave", "q", "keeps it"), ("eqal", "q", "did you mean 'equal'")],
)  # fmt: skip
def test_keys_that_cannot_be_given(action: str, key: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        rebind({}, action, key)
    assert "leave" in FIXED


def test_keys_are_kept_with_the_settings_and_damage_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    kept = replace(PlaySettings(), label_keys=rebind({}, "left", "j"), annotator="ann", theme="light")
    settings_file.save(kept, path)
    assert settings_file.load(path) == (kept, "")
    values = json.loads(path.read_text())
    for damage in ({"left": []}, {"lefft": ["j"]}, ["left"], {"left": "j"}):
        path.write_text(json.dumps(values | {"label_keys": damage, "theme": "pink"}))
        found, note = settings_file.load(path)
        assert (found.label_keys, found.theme, found.annotator) == ({}, "dark", "ann")
        assert "label_keys" in note
        with pytest.raises(UserError):
            checked(damage)
