"""SQLite files where nothing can be written."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from coord import databases
from coord.errors import UserError
from coord.evaluation.human_games import score_recorded
from coord.preference.labels.store import LabelStore
from coord.run import cli
from play.game.record import Store
from tests.coord.preference.labels.test_store import ask, say
from tests.play.helpers import play_still


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a game and some labels."""
    folder = tmp_path_factory.mktemp("written")
    with closing(Store(folder / "games.sqlite")) as games:
        play_still(games, layout="cramped_room", ticks=20, participant="", study_round=0, seat=0)
    with closing(LabelStore(folder / "labels.sqlite")) as labels:
        for query in ask(labels, 2):
            labels.add_answer(say(query, 1.0))
    return folder


@pytest.fixture
def fixed(written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of it that cannot be written: mounted so where that is allowed, else as if."""
    place = tmp_path / "fixed"
    shutil.copytree(written, place)
    mounts = (["mount", "-o", "bind", place, place], ["mount", "-o", "remount,bind,ro", place])
    is_mounted = shutil.which("mount") and all(
        subprocess.run(list(map(str, words)), capture_output=True, check=False).returncode == 0 for words in mounts
    )
    if not is_mounted:
        real = os.access
        monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK and real(path, mode))
    yield place
    if is_mounted:
        subprocess.run(["umount", str(place)], check=True)


COMMANDS = (
    ("games", "list", "data=fixed/games.sqlite"),
    ("games", "show", "last", "data=fixed/games.sqlite"),
    ("games", "verify", "data=fixed/games.sqlite"),
    ("games", "export", "data=fixed/games.sqlite", "out=games.csv"),
    ("replay", "last", "data=fixed/games.sqlite", "out=game.gif"),
    ("evaluate", "human=fixed/games.sqlite", "out=human.json"),
    ("label", "report", "store=fixed/labels.sqlite"),
    ("crowd", "report", "store=fixed/labels.sqlite"),
)


def test_every_reader_reads_it_and_leaves_nothing_beside(
    fixed: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(fixed.parent)
    for words in COMMANDS:
        assert cli.main(list(words)) == 0, (words, capsys.readouterr().err)
    assert sorted(path.name for path in fixed.iterdir()) == ["games.sqlite", "labels.sqlite"]
    for words in (["games", "delete", "last", COMMANDS[0][-1]], ["label", COMMANDS[-1][-1], "annotator=x"]):
        capsys.readouterr()
        assert cli.main(words) == 2
        assert "the file or its folder is read-only" in capsys.readouterr().err


def test_what_still_waits_in_the_log_is_read_or_missed_aloud(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(Store(tmp_path / "games.sqlite")) as games:
        play_still(games, layout="cramped_room", ticks=20, participant="", study_round=0, seat=0)
        with games.transaction() as connection:
            connection.execute("UPDATE games SET participant = 'ann'")
        for ending in ("", "-wal", "-shm"):
            shutil.copy(tmp_path / f"games.sqlite{ending}", tmp_path / f"copy.sqlite{ending}")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with closing(Store(tmp_path / "copy.sqlite", writes=False)) as copy:
        assert [header.participant for header in copy.games()] == ["ann"]
    (tmp_path / "copy.sqlite-shm").unlink()
    with pytest.raises(UserError, match=r"its last changes wait in copy\.sqlite-wal"):
        score_recorded(tmp_path / "copy.sqlite")


def test_a_game_that_a_crash_left_open_stays_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(Store(tmp_path / "games.sqlite")) as games:
        play_still(games, layout="cramped_room", ticks=20, participant="", study_round=0, seat=0)
        with games.transaction() as connection:
            connection.execute("UPDATE games SET outcome = NULL, owner = '999999999:'")
    before = (tmp_path / "games.sqlite").read_bytes()
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with closing(Store(tmp_path / "games.sqlite", writes=False)) as store:
        assert store.is_read_only
        assert store.recovered == []
        assert [header.outcome for header in store.games()] == [None]
        with pytest.raises(UserError, match="read-only"), store.transaction() as connection:
            connection.execute("DELETE FROM games")
    assert (tmp_path / "games.sqlite").read_bytes() == before


def test_a_label_store_from_before_there_were_repeats(written: Path, tmp_path: Path) -> None:
    shutil.copy(written / "labels.sqlite", tmp_path / "old.sqlite")
    with closing(sqlite3.connect(tmp_path / "old.sqlite")) as connection:
        connection.executescript("DROP VIEW standing_repeats; DROP TABLE repeats; PRAGMA wal_checkpoint(TRUNCATE);")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "access", lambda path, mode: False)
        with closing(LabelStore(tmp_path / "old.sqlite", create=False, writes=False)) as store:
            assert store.answers(repeat=True) == []
            assert len(store.answers()) == 2


def test_a_pipe_is_no_database(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match="not an ordinary file"):
        databases.connect(tmp_path / "pipe")
