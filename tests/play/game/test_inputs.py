"""Keys become one action per tick: newest wins, nothing queues, only directions repeat."""

from __future__ import annotations

import pytest

from coord.errors import UserError
from coord.overcooked import ACTIONS
from play.game.inputs import ACTION_NAMES, BINDABLE, PRESETS, STAY, Bindings, Intent, PlayerInput, conflicts

NORTH, SOUTH, EAST, WEST, INTERACT = (ACTION_NAMES.index(name) for name in BINDABLE)


def test_action_numbers_are_the_kitchens():
    assert tuple(ACTIONS) == ACTION_NAMES


def test_newest_key_wins_and_is_consumed_once():
    player = PlayerInput(PRESETS["arrows"], hold_to_repeat=False)
    player.press("up", 1.0)
    player.press("right", 1.1)
    assert player.take() == Intent(EAST, 1.1)
    assert player.take() == Intent(STAY, None)


def test_a_short_tap_counts_although_it_was_released_before_the_tick():
    player = PlayerInput(PRESETS["arrows"])
    player.press("space", 1.0)
    player.release("space")
    assert player.take() == Intent(INTERACT, 1.0)
    assert player.take() == Intent(STAY, None)


def test_a_held_direction_repeats_and_interact_does_not():
    player = PlayerInput(PRESETS["wasd"])
    player.press("a", 1.0)
    assert [player.take() for _ in range(3)] == [Intent(WEST, 1.0)] * 3
    player.press("e", 2.0)
    assert player.take() == Intent(INTERACT, 2.0)
    assert player.take() == Intent(WEST, 1.0)
    player.release("a")
    assert player.take() == Intent(STAY, None)


def test_the_newest_of_two_held_directions_repeats():
    player = PlayerInput(PRESETS["arrows"])
    player.press("up", 1.0)
    player.press("left", 2.0)
    player.take()
    assert player.take().action == WEST
    player.release("left")
    assert player.take().action == NORTH


def test_key_repeats_of_the_system_are_no_new_presses():
    player = PlayerInput(PRESETS["arrows"])
    for now_s in (1.0, 1.5, 1.6):
        player.press("space", now_s)
        player.take()
    assert player.take() == Intent(STAY, None)


def test_foreign_keys_are_left_to_others():
    player = PlayerInput(PRESETS["arrows"])
    assert not player.press("w", 1.0)
    assert not player.release("w")
    assert player.take() == Intent(STAY, None)


def test_clear_forgets_latched_and_held():
    player = PlayerInput(PRESETS["arrows"])
    player.press("up", 1.0)
    player.clear()
    assert player.take() == Intent(STAY, None)


def test_all_presets_can_be_used_side_by_side():
    assert conflicts(PRESETS.values(), {"escape": "pause", "f3": "measurements"}) == []
    for preset in PRESETS.values():
        assert {preset.action(keys[0]) for keys in preset.keys.values()} == {0, 1, 2, 3, 5}


def test_conflicts_name_key_players_and_reserved_keys():
    second = PRESETS["wasd"].rebind("interact", ["up"]).rebind("north", ["escape"])
    found = {conflict.key: conflict.uses for conflict in conflicts([PRESETS["arrows"], second], {"escape": "pause"})}
    assert found == {"up": ((0, "north"), (1, "interact")), "escape": ((-1, "pause"), (1, "north"))}
    assert str(conflicts([PRESETS["arrows"], second])[0]) == "'up' is north of player 1 and interact of player 2"


def test_bindings_survive_json_and_refuse_damage():
    custom = PRESETS["ijkl"].rebind("interact", ["u", "pad0:b"])
    assert custom.name == "custom"
    assert Bindings.from_dict(custom.to_dict()) == custom
    with pytest.raises(UserError, match="unknown action 'jump'"):
        custom.rebind("jump", ["u"])
    damaged = custom.to_dict()
    damaged["keys"]["north"] = []
    with pytest.raises(UserError, match="'north' needs a list of key names"):
        Bindings.from_dict(damaged)
    with pytest.raises(UserError, match="mapping 'keys'"):
        Bindings.from_dict({"name": "x"})
    with pytest.raises(UserError, match="did you mean 'north'"):
        Bindings.from_dict({"keys": {"norht": ["w"]}})
