"""A games file that somebody changed: one bad row hides no other game, and nothing in the file is a program."""

from __future__ import annotations

import sqlite3

import pytest

from coord.errors import UserError
from coord.overcooked import load_layout
from coord.overcooked.recorded import read_games
from coord.run.cli import main
from play.game.record import Store
from play.game.session import Session
from tests.play.helpers import ScriptSeat, run_session

BAD = [
    ("seats", "[[["),
    ("seats", "[" * 20_000),
    ("seats", "[]"),
    ("seats", '[{"kind": 1}]'),
    ("start_state", "5"),
    ("versions", b"\xff\xfe"),
    ("layout", b"\xff"),
    ("started_utc", "yesterday"),
    ("ticks", "many"),
    ("ticks", -1),
    ("tick_hz", 1e400),
    ("score", "1" * 5000),
    ("owner", "nobody"),
    ("owner", f"{10**30}:1"),
]


@pytest.fixture(scope="module")
def games(tmp_path_factory):
    """A file with two games."""
    path = tmp_path_factory.mktemp("games") / "games.sqlite"
    store = Store(path)
    for _ in range(2):
        seats = [ScriptSeat([5, 1]), ScriptSeat([2, 3])]
        run_session(Session(load_layout("cramped_room"), seats, ticks=4, recorder=store.recorder()))
    store.close()
    return path.read_bytes()


@pytest.fixture
def file(games, tmp_path):
    path = tmp_path / "games.sqlite"
    path.write_bytes(games)
    return path


def change(path, sql, *values):
    with sqlite3.connect(path) as connection:
        connection.execute(sql, values)
    connection.close()


@pytest.mark.parametrize(("column", "value"), BAD)
def test_one_bad_row_hides_no_other_game(file, capsys, column, value):
    text = value.decode("latin-1") if isinstance(value, bytes) else value
    place = "CAST(? AS TEXT)" if isinstance(value, bytes) else "?"
    change(file, f"UPDATE games SET {column} = {place}, outcome = NULL WHERE id = 1", value)
    assert main(["games", "list", f"data={file}"]) == 0, text
    out, err = capsys.readouterr()
    assert "    2  " in out
    if column in ("owner", "layout"):  # fit to be listed
        assert "    1  " in out
        return
    assert "game 1 is damaged" in err
    assert main(["games", "show", "2", f"data={file}"]) == 0
    assert main(["games", "show", "1", f"data={file}"]) == 2
    assert main(["games", "verify", f"data={file}"]) == 2
    out, err = capsys.readouterr()
    assert "game 2: 4 ticks verified" in out
    assert "error: 1 of 2 games differ" in err
    with pytest.raises(UserError, match="game 1 is damaged"):
        read_games(file)
    assert main(["games", "delete", "1", f"data={file}"]) == 0
    assert main(["games", "verify", f"data={file}"]) == 0


@pytest.mark.parametrize(
    ("sql", "values"),
    [
        ("UPDATE actions SET action = 99 WHERE game_id = 1", ()),
        ("UPDATE actions SET action = ? WHERE game_id = 1", ("north",)),
        ("UPDATE actions SET key_ms = ? WHERE game_id = 1", ("soon",)),
        ("UPDATE ticks SET reward = ? WHERE game_id = 1", (b"\0",)),
        ("UPDATE games SET layout_json = '{}' WHERE id = 1", ()),
        ("UPDATE games SET layout_json = ? WHERE id = 1", ("[" * 20_000,)),
        ("UPDATE games SET start_state = '{}' WHERE id = 1", ()),
        ("UPDATE games SET start_state = replace(start_state, 'position', 'place') WHERE id = 1", ()),
        ("UPDATE games SET rules = 'chess' WHERE id = 1", ()),
    ],
)
def test_damage_within_a_game_is_told_by_its_number(file, capsys, sql, values):
    change(file, sql, *values)
    assert main(["games", "verify", f"data={file}"]) == 2
    out, err = capsys.readouterr()
    assert "game 2: 4 ticks verified" in out
    assert "error: 1 of 2 games differ from their record; game 1" in err


def test_names_in_a_list_cannot_drive_the_terminal(file, capsys):
    change(file, "UPDATE games SET layout = ? WHERE id = 1", "a\x1b[2J\nb")
    assert main(["games", "list", f"data={file}"]) == 0
    assert "a\\x1b[2J b" in capsys.readouterr().out


ENDLESS = "CREATE VIEW games AS WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n) SELECT * FROM n"


@pytest.mark.parametrize(
    "sql",
    [
        "ALTER TABLE games RENAME TO old; " + ENDLESS,
        "CREATE TRIGGER wipe AFTER INSERT ON games BEGIN DELETE FROM ticks; END",
        "CREATE VIRTUAL TABLE words USING fts5(text)",
    ],
)
def test_a_file_that_holds_programs_is_refused_at_once(file, capsys, sql):
    connection = sqlite3.connect(file)
    connection.executescript(sql)
    connection.close()
    assert main(["games", "list", f"data={file}"]) == 2
    assert "which is not of this project" in capsys.readouterr().err
    with pytest.raises(UserError, match="not of this project"):
        read_games(file)
