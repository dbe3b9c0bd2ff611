"""The recorded human games: what they are, that the halves stay apart, that nothing gets executed."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from coord.errors import UserError
from coord.overcooked import human_data, load_layout
from coord.overcooked.human_data import HUMAN_LAYOUTS, RECORDED_NAMES, SPLITS, load_games

GAMES = {  # number of games as grouped by an independent look at the data frames
    "cramped_room": {"train": 8, "test": 8},
    "asymmetric_advantages": {"train": 9, "test": 8},
    "coordination_ring": {"train": 8, "test": 8},
    "forced_coordination": {"train": 6, "test": 6},
    "counter_circuit_o_1order": {"train": 8, "test": 7},
}


@pytest.mark.parametrize("layout", HUMAN_LAYOUTS)
def test_games_are_whole_and_the_halves_share_none(layout):
    halves = {split: load_games(split, layout) for split in SPLITS}
    for split, games in halves.items():
        assert len(games) == GAMES[layout][split]
        for game in games:
            ticks = len(game.joint_act)
            assert (game.split, game.layout, len(game.states), game.rew.shape) == (split, layout, ticks + 1, (ticks,))
            assert game.joint_act.dtype == np.int8
            assert set(np.unique(game.joint_act)) <= set(range(6))
            assert [state["timestep"] for state in game.states] == list(range(ticks + 1))
            assert game.rew.sum() % 20 == 0
    pairs = [{game.pair for game in games} for games in halves.values()]
    assert not pairs[0] & pairs[1]


@pytest.mark.parametrize("layout", HUMAN_LAYOUTS)
def test_recorded_grids_are_todays(layout):
    columns = human_data._read_columns(human_data._data_folder() / SPLITS["test"])
    grids = set(columns["layout"][columns["layout_name"] == RECORDED_NAMES[layout]])
    assert len(grids) == 1
    rows = human_data._parse(grids.pop())
    assert tuple(row.replace("1", " ").replace("2", " ") for row in rows) == load_layout(layout).terrain


def test_unknown_half_and_layout_are_refused():
    with pytest.raises(UserError, match=r"'tset'.*did you mean 'test'"):
        load_games("tset", "cramped_room")
    with pytest.raises(UserError, match=r"'cramped_rom'.*did you mean 'cramped_room'"):
        load_games("train", "cramped_rom")


def test_damaged_file_is_one_clear_error(tmp_path, monkeypatch):
    whole = (human_data._data_folder() / SPLITS["train"]).read_bytes()
    (tmp_path / SPLITS["train"]).write_bytes(whole[: len(whole) // 2])
    monkeypatch.setattr(human_data, "_data_folder", lambda: tmp_path)
    with pytest.raises(UserError, match="cannot read the human games"):
        load_games("train", "cramped_room")
    with pytest.raises(UserError, match="cannot read the human games"):
        load_games("test", "cramped_room")  # not there at all


def test_a_pickle_that_calls_anything_else_is_refused(tmp_path, monkeypatch):
    class Call:
        def __reduce__(self):
            return print, ("executed",)

    (tmp_path / SPLITS["train"]).write_bytes(pickle.dumps(Call()))
    monkeypatch.setattr(human_data, "_data_folder", lambda: tmp_path)
    with pytest.raises(UserError, match=r"must not contain builtins\.print"):
        load_games("train", "cramped_room")
