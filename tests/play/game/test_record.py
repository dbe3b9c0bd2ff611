"""What is recorded survives: kill -9, a full disk, damage, two windows; and what is deleted is gone."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from coord.errors import UserError
from coord.overcooked import layout_names, load_layout
from coord.overcooked.recorded import SCHEMA_VERSION, layout_from_json, layout_to_json, read_games, state_hash
from play.game.record import Store, default_path
from play.game.replay import verify
from play.game.session import Session
from tests.play.helpers import ScriptSeat, play_cook, run_session


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "games.sqlite")
    yield store
    store.close()


def test_a_game_is_kept_tick_by_tick(store):
    rng = np.random.default_rng(0)
    joint = rng.integers(0, 6, size=(60, 2))
    seats = [ScriptSeat(joint[:, 0]), ScriptSeat(joint[:, 1], kind="agent", name="script")]
    session = Session("coordination_ring", seats, ticks=60, tick_hz=10, seed=9, recorder=store.recorder())
    session.start(100.0)
    for step in range(1, 31):
        session.advance(100.0 + step / 10)
    session.pause(103.02, "escape")
    session.resume(110.0)
    now_s = 110.0
    while not session.done:
        now_s += 0.05
        session.advance(now_s)
    session.close(now_s)
    assert session.recording_error == ""
    game = store.game("last")
    head = game.header
    assert (head.layout, head.rules, head.seed) == ("coordination_ring", "classic", 9)
    assert (head.ticks, head.tick_hz) == (60, 10.0)
    assert (head.outcome, head.ticks_played, head.score, head.recovered) == ("finished", 60, session.score, False)
    assert head.layout_hash == load_layout("coordination_ring").hash == head.kitchen().hash
    assert [seat["kind"] for seat in head.seats] == ["human", "agent"]
    assert set(head.versions) == {"coord", "python", "overcooked-ai", "numpy", "numba"}
    np.testing.assert_array_equal(game.joint_act, joint)
    assert game.sources == (("human", "agent"),) * 60
    np.testing.assert_allclose(game.at_ms[:3], [100, 200, 300])
    assert game.at_ms[30] > 10_000  # the pause took time
    np.testing.assert_allclose(game.key_ms[:, 0], game.at_ms - 50)
    assert np.isnan(game.key_ms[:, 1]).all()
    assert [event.name for event in game.events if event.seat is None] == ["pause", "resume"]
    assert [tuple(e) for e in game.events] == [tuple(e) for e in session.events]
    assert game.hashes[-1] == state_hash(session.state)
    assert game.states()[-1] == session.state
    assert verify(game).ok


def test_ticks_reach_the_file_within_half_a_second(store):
    session = Session("cramped_room", [ScriptSeat(), ScriptSeat()], ticks=100, tick_hz=10, recorder=store.recorder())
    session.start(0.0)
    reader = sqlite3.connect(store.path)
    for step in range(1, 200):
        session.advance(step / 20)
        (kept,) = reader.execute("SELECT count(*) FROM ticks").fetchone()
        assert session.tick - kept <= 6
    reader.close()


KILLED = """
    import sys, time
    from play.game.record import Store
    from play.game.session import Session
    from tests.play.helpers import ScriptSeat, play_cook
    store = Store(sys.argv[1])
    play_cook(store, ticks=40)
    session = Session("cramped_room", [ScriptSeat([0, 5, 3] * 999), ScriptSeat([1, 2] * 999, kind="agent")],
                      ticks=3000, tick_hz=50, recorder=store.recorder())
    session.start(time.monotonic())
    while True:
        for event in session.advance(time.monotonic()):
            print(event.tick, flush=True)
        time.sleep(0.004)
"""


def test_kill_9_loses_at_most_a_second_and_the_next_opening_says_so(tmp_path):
    path = tmp_path / "games.sqlite"
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(KILLED), str(path)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    ticks = [int(child.stdout.readline()) for _ in range(120)]
    watcher = Store(path)  # another window: must not touch the game that is being played
    assert watcher.recovered == []
    assert [head.outcome for head in watcher.games()] == ["finished", None]
    watcher.close()
    assert len(read_games(path)) == 1  # readers see ended games only
    child.send_signal(signal.SIGKILL)
    ticks += [int(line) for line in child.stdout.read().split()]
    child.wait()
    assert ticks == list(range(len(ticks)))

    store = Store(path)
    (line,) = store.recovered
    kept = store.game(2).header.ticks_played
    assert len(ticks) - 50 <= kept <= len(ticks)
    assert line.startswith(f"game 2 (cramped_room) was cut off: recovered {kept} of 3000 ticks")
    assert store.game(2).header.recovered
    assert [verify(store.game(number)).ok for number in (1, 2)] == [True, True]
    store.close()
    again = Store(path)
    assert again.recovered == []  # said once
    again.close()


def test_a_process_with_the_same_number_is_not_mistaken_for_the_player(store):
    session = Session("cramped_room", [ScriptSeat(), ScriptSeat()], ticks=30, tick_hz=10, recorder=store.recorder())
    run_session(session, ticks=20)
    with store.transaction() as connection:
        connection.execute("UPDATE games SET owner = ?", (f"{os.getpid()}:1",))  # started in another life
    other = Store(store.path)
    assert len(other.recovered) == 1
    other.close()


def fill_disk(store: Store, pages: int = 4) -> None:
    """Let the file grow by a few pages only; SQLite reports the end of it as a full disk."""
    (now,) = store.connection.execute("PRAGMA page_count").fetchone()
    store.connection.execute(f"PRAGMA max_page_count = {now + pages}")


def test_a_full_disk_stops_the_record_and_nothing_else(store):
    play_cook(store, ticks=100)
    fill_disk(store)
    session = play_cook(store, ticks=600)
    assert session.done
    assert "the disk is full; games finished before are safe" in session.recording_error
    assert store.game(1).header.outcome == "finished"
    assert verify(store.game(1)).ok
    cut = store.game(2)
    assert 0 < len(cut.rew) < 600
    with store.transaction() as connection:
        connection.execute("UPDATE games SET owner = '999999999:' WHERE id = 2")
    other = Store(store.path)
    assert "was cut off" in other.recovered[0]
    assert verify(other.game(2)).ok
    other.close()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"not a database, but long enough to be taken for one" * 40, "damaged: move it aside"),
        (b"SQLite format 3\0" + b"\xff" * 4000, "damaged: move it aside"),
    ],
)
def test_a_damaged_file_is_one_clear_line(tmp_path, content, message):
    path = tmp_path / "games.sqlite"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        Store(path)
    assert path.read_bytes() == content  # left for whoever can mend it


def test_damage_in_the_middle_is_one_clear_line(tmp_path):
    path = tmp_path / "games.sqlite"
    store = Store(path)
    play_cook(store, ticks=300)
    store.close()
    data = bytearray(path.read_bytes())
    data[8192:-8192] = b"\xa5" * (len(data) - 16384)
    path.write_bytes(data)
    with pytest.raises(UserError, match="damaged"):
        Store(path).game(1)


def test_other_files_and_newer_versions_are_refused(tmp_path):
    path = tmp_path / "other.sqlite"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE x (y)")
    connection.close()
    with pytest.raises(UserError, match="not a recordings file"):
        Store(path)
    newer = Store(tmp_path / "newer.sqlite")
    newer.connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    newer.close()
    with pytest.raises(UserError, match="please update"):
        Store(tmp_path / "newer.sqlite")


def test_an_unusable_place_is_one_clear_line(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="cannot make folder"):
        Store(tmp_path / "file" / "games.sqlite")
    with pytest.raises(UserError, match="cannot open"):
        Store(tmp_path)  # a folder
    with pytest.raises(UserError, match="no recordings file"):
        read_games(tmp_path / "none.sqlite")


def test_gaps_are_noticed(store):
    play_cook(store, ticks=20)
    with store.transaction() as connection:
        connection.execute("DELETE FROM ticks WHERE tick = 7")
    with pytest.raises(UserError, match="has gaps"):
        store.game(1)


def test_deleted_games_leave_no_bytes(store):
    play_cook(store, ticks=50, participant="p-deadbeef")
    play_cook(store, ticks=50, participant="p-stays")
    store.delete(1)
    store.close()
    data = store.path.read_bytes()
    assert b"p-deadbeef" not in data
    assert b"p-stays" in data
    assert {file.name for file in store.path.parent.iterdir()} == {"games.sqlite"}
    with pytest.raises(UserError, match="allowed are 2 to 2"):
        Store(store.path).game(1)


def test_an_empty_store_says_so(store):
    with pytest.raises(UserError, match="no games yet"):
        store.game("last")


def test_the_default_place(monkeypatch, tmp_path):
    monkeypatch.setenv("COORD_DATA", str(tmp_path / "mine.sqlite"))
    assert default_path() == tmp_path / "mine.sqlite"
    monkeypatch.delenv("COORD_DATA")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert default_path() == tmp_path / "coord" / "games.sqlite"


def test_every_layout_survives_its_json():
    names = layout_names()
    for name in names:
        layout = load_layout(name)
        again = layout_from_json(layout_to_json(layout))
        assert (again, again.hash) == (layout, layout.hash)
    assert len(names) > 40


def test_state_hash_knows_what_matters():
    state = play_cook(ticks=40).state
    shuffled = {**state, "objects": state["objects"][::-1]}
    assert state_hash(shuffled) == state_hash(state)
    moved = {**state, "players": [{**state["players"][0], "position": (9, 9)}, *state["players"][1:]]}
    assert state_hash(moved) != state_hash(state)
    assert state_hash({**state, "timestep": 0}) != state_hash(state)
