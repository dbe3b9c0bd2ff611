"""Replays move like a tape; verification finds any change; exports are what other tools read."""

from __future__ import annotations

import csv
import json
import subprocess
import sys

import pytest

from coord.overcooked.packed_row import EAST, INTERACT, NORTH, STAY, WEST
from coord.run.cli import main
from play.game.export import COLUMNS
from play.game.record import Store
from play.game.replay import Replay, verify
from play.game.session import Session
from tests.play.helpers import ScriptSeat, play_cook, run_session


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """A file with two classic games and one under the other rules."""
    path = tmp_path_factory.mktemp("data") / "games.sqlite"
    store = Store(path)
    play_cook(store, ticks=200)
    play_cook(store, ticks=60, layout="coordination_ring", participant="p-1", study_round=0)
    play_cook(store, ticks=150, rules="overcooked-ai")
    store.close()
    return path


@pytest.fixture
def store(recordings, tmp_path):
    """A copy that a test may spoil."""
    (tmp_path / "games.sqlite").write_bytes(recordings.read_bytes())
    store = Store(tmp_path / "games.sqlite")
    yield store
    store.close()


@pytest.fixture
def replay(store) -> Replay:
    return Replay(store.game(1))


def test_it_plays_at_the_recorded_speed_to_the_end(replay):
    replay.play(10.0)
    replay.update(10.95)
    assert replay.tick == 9
    assert 0.0 < replay.alpha(10.95) < 1.0
    for step in range(1000):
        replay.update(10.95 + step / 20)
    assert (replay.tick, replay.playing) == (replay.length, False) == (200, False)
    assert replay.score == replay.game.header.score > 0
    replay.play(99.0)
    assert replay.tick == 0  # from the start again


def test_step_seek_and_speed(replay):
    replay.step(5)
    replay.step(-2)
    assert (replay.tick, replay.playing) == (3, False)
    assert replay.state["timestep"] == 3
    assert replay.previous["timestep"] == 2
    replay.step(-99)
    assert replay.tick == 0
    assert replay.previous == replay.state
    replay.seek(10**6, 0.0)
    assert replay.tick == 200
    replay.seek(100, 0.0)
    replay.play(0.0)
    replay.set_speed(4.0, 0.0)
    replay.update(0.1)
    assert replay.tick == 104
    with pytest.raises(ValueError, match="speed must be one of"):
        replay.set_speed(3.0, 0.0)


def test_seeking_events_finds_deliveries_both_ways(replay):
    deliveries = [event.tick for event in replay.game.events if event.name == "delivery"]
    assert len(deliveries) >= 2
    assert replay.seek_event(+1, 0.0)
    assert replay.tick == deliveries[0]
    before = float(replay.scores[replay.tick - 1])
    assert replay.score == before + 20
    assert replay.seek_event(+1, 0.0)
    assert replay.tick == deliveries[1]
    assert replay.seek_event(-1, 0.0)
    assert replay.tick == deliveries[0]
    assert not replay.seek_event(-1, 0.0)


def test_states_are_those_of_the_kitchen(replay):
    assert [state["timestep"] for state in replay.states] == list(range(201))


def test_untouched_games_verify(store):
    found = [verify(store.game(number)) for number in (1, 2, 3)]
    assert [one.ok for one in found] == [True] * 3
    assert [one.checked for one in found] == [201, 61, 151]


@pytest.mark.parametrize(
    ("spoil", "tick"),
    [
        ("UPDATE actions SET action = (action + 1) % 4 WHERE game_id = 1 AND tick = 17 AND seat = 0", range(17, 20)),
        ("UPDATE ticks SET state_hash = '0123456789abcdef' WHERE game_id = 1 AND tick = 55", [55]),
        ("UPDATE games SET start_hash = '0123456789abcdef' WHERE id = 1", [-1]),
        ("UPDATE games SET rules = 'overcooked-ai' WHERE id = 1", range(200)),
        ("UPDATE games SET layout_json = replace(layout_json, '\"onion\"', '\"tomato\"') WHERE id = 1", [-1]),
        ("UPDATE games SET score = score + 20 WHERE id = 1", [None]),
    ],
)
def test_any_change_is_found(store, spoil, tick, capsys):
    with store.transaction() as connection:
        assert connection.execute(spoil).rowcount == 1
    verification = verify(store.game(1))
    assert not verification.ok
    assert verification.first_bad_tick in tick
    assert main(["games", "verify", f"data={store.path}"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: 1 of 3 games differ from their record; game 1: ")
    if verification.first_bad_tick and verification.first_bad_tick > 0:
        assert f"tick {verification.first_bad_tick} differs" in error


def test_a_soup_mixed_under_the_old_classic_rule_is_told_as_that(store, tmp_path, capsys):
    kitchen = tmp_path / "one_pot.layout"
    kitchen.write_text("XXPXX\nO1 2T\nXDXSX")
    onion = [WEST, INTERACT, EAST, NORTH, INTERACT, WEST, STAY, STAY, STAY]
    tomato = [EAST, INTERACT, STAY, STAY, STAY, STAY, WEST, NORTH, INTERACT]
    seats = [ScriptSeat(onion), ScriptSeat(tomato)]
    session = Session(str(kitchen), seats, rules="overcooked-ai", ticks=9, tick_hz=10, recorder=store.recorder())
    session.close(run_session(session))
    assert verify(store.game(4)).ok
    with store.transaction() as connection:  # as it stood in the file while classic pots took everything
        connection.execute("UPDATE games SET rules = 'classic' WHERE id = 4")
    found = verify(store.game(4))
    assert (found.ok, found.first_bad_tick) == (False, 8)
    assert main(["games", "verify", "4", f"data={store.path}"]) == 2
    error = capsys.readouterr().err
    assert "game 4: tick 8 differs: here a soup was mixed" in error
    assert "those of 2019 refuse it" in error
    assert "whole" in error


def test_verify_list_show_and_delete_from_the_command_line(store, capsys):
    data = f"data={store.path}"
    assert main(["games", "verify", data]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "game 1: 200 ticks verified"
    assert main(["games", data]) == 0
    listing = capsys.readouterr().out
    assert "coordination_ring" in listing
    assert "3 games in" in listing
    assert main(["games", "show", "2", data]) == 0
    shown = capsys.readouterr().out
    assert "p-1, round 0" in shown
    assert "thought 1.5 ms (median)" in shown
    assert main(["games", "delete", data]) == 2
    assert "needs one game" in capsys.readouterr().err
    assert main(["games", "delete", "2", data]) == 0
    assert main(["games", "show", "2", data]) == 2
    assert "no game 2" in capsys.readouterr().err


def test_commands_without_recordings_say_what_to_do(tmp_path, capsys):
    assert main(["games", "list", f"data={tmp_path / 'none.sqlite'}"]) == 2
    assert "coord play" in capsys.readouterr().err


def test_a_recovered_game_is_told_once(store, capsys):
    with store.transaction() as connection:
        connection.execute("UPDATE games SET outcome = NULL, owner = '999999999:' WHERE id = 3")
    assert main(["games", "list", f"data={store.path}"]) == 0
    assert "game 3 (cramped_room) was cut off: recovered 150 of 150 ticks" in capsys.readouterr().err


READ_BY_OVERCOOKED_AI = """
import sys
from coord.overcooked.oracle import _load_library
_load_library()  # with its work-arounds
from overcooked_ai_py.agents.benchmarking import AgentEvaluator
from overcooked_ai_py.mdp.overcooked_mdp import OvercookedGridworld
trajectories = AgentEvaluator.load_traj_from_json(sys.argv[1])
AgentEvaluator.check_trajectories(trajectories, from_json=True)
compared = 0
for i, params in enumerate(trajectories["mdp_params"]):
    if trajectories["metadatas"]["rules"][i] != "overcooked-ai":
        continue
    mdp = OvercookedGridworld.from_layout_name(**params)
    states, actions = trajectories["ep_states"][i], trajectories["ep_actions"][i]
    assert len(states) == len(actions) == trajectories["ep_lengths"][i]
    for state, joint_action, after, rew in zip(states, actions, states[1:], trajectories["ep_rewards"][i]):
        found, infos = mdp.get_state_transition(state, joint_action)[:2]
        assert found == after
        assert sum(infos["sparse_reward_by_agent"]) == rew
        compared += 1
print(compared, sum(trajectories["ep_returns"]))
"""


def test_overcooked_ai_reads_the_json_and_agrees(store, tmp_path):
    out = tmp_path / "games.json"
    assert main(["games", "export", f"data={store.path}", f"out={out}"]) == 0
    done = subprocess.run(
        [sys.executable, "-c", READ_BY_OVERCOOKED_AI, str(out)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    compared, returns = done.stdout.split()[-2:]
    assert int(compared) == 149
    assert int(returns) == sum(head.score for head in store.games())
    content = json.loads(out.read_text())
    assert content["ep_dones"][0] == [False] * 199 + [True]
    assert content["metadatas"]["participant"] == ["", "p-1", ""]


def test_csv_has_a_row_per_seat_and_tick(store, tmp_path):
    out = tmp_path / "games.csv"
    assert main(["games", "export", "2", f"data={store.path}", f"out={out}"]) == 0
    rows = list(csv.DictReader(out.open()))
    assert tuple(rows[0]) == COLUMNS
    assert len(rows) == 60 * 2
    assert {row["player_kind"] for row in rows} == {"human", "agent"}
    game = store.game(2)
    assert [row["state_hash"] for row in rows[::2]] == list(game.hashes)
    assert float(rows[-1]["score"]) == game.header.score


def test_parquet_is_the_same_table(store, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    out = tmp_path / "games.parquet"
    assert main(["games", "export", f"data={store.path}", f"out={out}"]) == 0
    table = parquet.read_table(out)
    assert tuple(table.column_names) == COLUMNS
    assert table.num_rows == 2 * (200 + 60 + 150)
    assert set(table.column("source").to_pylist()) == {"human", "agent"}


def test_parquet_without_pyarrow_says_how_to_get_it(store, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert main(["games", "export", f"data={store.path}", f"out={tmp_path / 'x.parquet'}"]) == 2
    assert "pip install 'coord[export]'" in capsys.readouterr().err


def test_export_needs_a_known_format_and_a_file(store, tmp_path, capsys):
    assert main(["games", "export", f"data={store.path}"]) == 2
    assert "needs out=<file>" in capsys.readouterr().err
    assert main(["games", "export", f"data={store.path}", f"out={tmp_path / 'x.cvs'}"]) == 2
    assert "did you mean 'csv'" in capsys.readouterr().err


def test_rewards_that_are_no_whole_numbers_keep_their_fraction():
    from play.game.export import _points

    assert (_points(20.0), type(_points(20.0)), _points(13.75)) == (20, int, 13.75)
