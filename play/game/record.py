"""Every game as it happens, in one SQLite file: the writing half of `coord.overcooked.recorded`.

The file is in WAL mode. Ticks wait in memory for at most half a second and then go to the file in one short
transaction, so killing the process loses at most that, and two windows can share a file. Ending a game also forces it
to the disk itself (a checkpoint of the log), which a power cut cannot undo. A full disk stops the record with one clear
line and leaves everything written before as it was.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import coord
from coord.databases import can_write, connect
from coord.errors import UserError
from coord.overcooked.recorded import (
    APPLICATION_ID,
    SCHEMA,
    SCHEMA_VERSION,
    GameHeader,
    RecordedGame,
    check_version,
    clear_errors,
    layout_to_json,
    read_game,
    read_headers,
    state_hash,
)
from play.game.session import GameEvent, Session, TickEvent

FLUSH_S = 0.5

STUDY_SCHEMA = """
CREATE TABLE participants (
    id TEXT PRIMARY KEY,                -- random, says nothing about the person
    study TEXT NOT NULL,                -- title
    study_hash TEXT NOT NULL,           -- SHA-256 of the study file
    slot INTEGER NOT NULL,              -- which row of the balanced orders
    plan TEXT NOT NULL,                 -- JSON: the games in their order
    letters TEXT NOT NULL,              -- JSON: partner -> blinded letter
    step INTEGER NOT NULL,              -- where to go on
    enrolled_utc TEXT NOT NULL,
    consent_utc TEXT,
    consent_hash TEXT,                  -- SHA-256 of the consent text agreed to
    finished_utc TEXT,
    code TEXT NOT NULL DEFAULT '',      -- what the lab calls the participant; '': nothing
    station INTEGER NOT NULL DEFAULT 1  -- computer of the lab
);
CREATE TABLE answers (
    participant TEXT NOT NULL REFERENCES participants (id) ON DELETE CASCADE,
    step INTEGER NOT NULL,
    study_round INTEGER,                -- game the questionnaire belongs to; NULL: none
    question TEXT NOT NULL,
    value TEXT NOT NULL,                -- JSON
    answered_utc TEXT NOT NULL,
    response_ms REAL NOT NULL,          -- from showing the questionnaire to handing it in
    PRIMARY KEY (participant, step, question)
);
"""
ATTEMPTS = """
CREATE TABLE IF NOT EXISTS attempts (   -- wrong ones at comprehension checks
    participant TEXT NOT NULL REFERENCES participants (id) ON DELETE CASCADE,
    step INTEGER NOT NULL,
    attempt INTEGER NOT NULL,           -- 1, 2, ...
    question TEXT NOT NULL,
    value TEXT NOT NULL,                -- JSON
    answered_utc TEXT NOT NULL,
    PRIMARY KEY (participant, step, attempt, question)
);
"""
ADDED = {  # columns of participants that files of before lack
    "code": "ALTER TABLE participants ADD COLUMN code TEXT NOT NULL DEFAULT ''",
    "station": "ALTER TABLE participants ADD COLUMN station INTEGER NOT NULL DEFAULT 1",
}


def default_path() -> Path:
    """`$COORD_DATA` if set, else `coord/games.sqlite` in the user's data folder."""
    if path := os.environ.get("COORD_DATA"):
        return Path(path)
    base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(base) / "coord" / "games.sqlite"


def utc_now() -> str:
    """The time of day as it is written into the file."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


class Store:
    """The recordings file: opens (and creates) it, closes games a crash left open, hands out recorders.

    `recovered` holds one line for each game that a crash had left open. Without `writes` a file that cannot be written
    is read as it is (`is_read_only`): nothing in it is closed or changed.
    Every method raises UserError with one clear line if the file is damaged, no recordings file, from a newer
    version, cannot be written, or the disk is full.
    """

    def __init__(self, path: str | Path | None = None, *, writes: bool = True) -> None:
        self.path = default_path() if path is None else Path(path)
        self.is_read_only = not writes and os.path.isfile(self.path) and not can_write(self.path)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"cannot make folder {self.path.parent}: {error.strerror or error}") from error
        with clear_errors(self.path):
            self.damaged: list[str] = []
            self.connection = connect(self.path, writes=not self.is_read_only)
            try:
                self._prepare()
            except BaseException:
                self.connection.close()
                raise
        self.recovered = [] if self.is_read_only else self._recover()

    def _prepare(self) -> None:
        self.connection.execute("PRAGMA foreign_keys = ON")
        self.connection.execute("PRAGMA secure_delete = ON")  # what is deleted is overwritten
        self.connection.execute("PRAGMA temp_store = MEMORY")  # no copies of people's data in temporary files
        (tables,) = self.connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if tables == 0 and not self.is_read_only:
            self._create()
        check_version(self.connection, self.path)
        if self.is_read_only:
            return
        self.connection.execute("PRAGMA journal_mode = WAL")
        self.connection.execute("PRAGMA synchronous = NORMAL")
        self._migrate()

    def _create(self) -> None:
        pragmas = f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION};"
        try:
            self.connection.executescript(f"BEGIN IMMEDIATE; {SCHEMA} {STUDY_SCHEMA} {ATTEMPTS} {pragmas} COMMIT;")
        except sqlite3.OperationalError as error:
            self.connection.rollback()
            if "already exists" not in str(error):  # another window was faster
                raise

    def _migrate(self) -> None:
        """Give a file of an earlier version what it lacks; older versions can still read and write it."""
        if not self._lacking():
            return
        with self.transaction() as connection:
            for statement in self._lacking():  # again: another window may have been faster
                connection.execute(statement)

    def _lacking(self) -> list[str]:
        """Statements that add what the study's tables lack."""
        tables = {row[0] for row in self.connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        columns = {row[1] for row in self.connection.execute("PRAGMA table_info(participants)")}
        if "participants" not in tables:
            return []
        lacking = [statement for name, statement in ADDED.items() if name not in columns]
        return lacking if "attempts" in tables else [*lacking, ATTEMPTS]

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing; errors as one clear line."""
        with clear_errors(self.path):
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                yield self.connection
                self.connection.execute("COMMIT")
            except BaseException:
                if self.connection.in_transaction:
                    self.connection.execute("ROLLBACK")
                raise

    def make_durable(self) -> None:
        """Force everything committed to the disk itself."""
        with clear_errors(self.path):
            self.connection.execute("PRAGMA wal_checkpoint(FULL)").fetchall()

    def recorder(self, *, participant: str = "", study_round: int | None = None) -> GameRecorder:
        """A recorder for one game to come."""
        return GameRecorder(self, participant, study_round)

    def games(self) -> list[GameHeader]:
        """Headers of all games that can be read, oldest first; `damaged` then has one line for each other."""
        self.damaged = []
        with clear_errors(self.path):
            return read_headers(self.connection, self.damaged)

    def load(self, header: GameHeader) -> RecordedGame:
        """The game of a header."""
        with clear_errors(self.path):
            return read_game(self.connection, header)

    def game(self, game: int | str) -> RecordedGame:
        """One game by number, or "last". UserError if there is none."""
        headers = self.games()
        if lines := [line for line in self.damaged if line.startswith(f"game {game} ")]:
            raise UserError(lines[0])
        if not headers:
            raise UserError(f"{self.path} holds no games yet")
        for header in headers[-1:] if game == "last" else headers:
            if game == "last" or str(header.id) == str(game):
                return self.load(header)
        raise UserError(f"no game {game} in {self.path}: allowed are {headers[0].id} to {headers[-1].id}, or 'last'")

    def delete(self, game_id: int) -> None:
        """Remove one game for good."""
        with self.transaction() as connection:
            connection.execute("DELETE FROM games WHERE id = ?", (game_id,))
        self.scrub()

    def scrub(self) -> None:
        """Rewrite the file so that nothing deleted can be found in it or in its log."""
        with clear_errors(self.path):
            self.connection.execute("VACUUM")
            self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def close(self) -> None:
        """Close the file."""
        self.connection.close()

    def _recover(self) -> list[str]:
        """End the games whose process is gone, and say so."""
        lines = []
        for header in self.games():
            with self.transaction() as connection:
                row = connection.execute("SELECT owner FROM games WHERE id = ? AND outcome IS NULL", (header.id,))
                owner = row.fetchone()
                if owner is None or _is_running(owner[0]):
                    continue
                lines.append(_close_game(connection, header))
        return lines


def _close_game(connection: sqlite3.Connection, header: GameHeader) -> str:
    ticks, score, at_ms = connection.execute(
        "SELECT count(*), coalesce(sum(reward), 0), coalesce(max(at_ms), 0) FROM ticks WHERE game_id = ?", (header.id,)
    ).fetchone()
    ended = datetime.fromisoformat(header.started_utc) + timedelta(milliseconds=at_ms)
    connection.execute(
        "UPDATE games SET outcome = 'recovered', ticks_played = ?, score = ?, ended_utc = ? WHERE id = ?",
        (ticks, score, ended.isoformat(timespec="milliseconds"), header.id),
    )
    return (
        f"game {header.id} ({header.layout}) was cut off: recovered {ticks} of {header.ticks} ticks "
        f"({ticks / header.tick_hz:.1f} s), score {score:g}"
    )


def _process_token(pid: int) -> str:
    """Names a process so that a later one with the same number is told apart (where /proc tells its start)."""
    try:
        start = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        start = ""
    return f"{pid}:{start}"


def _is_running(token: str) -> bool:
    try:
        pid = int(token.partition(":")[0])
        os.kill(pid, 0)
    except (ProcessLookupError, ValueError, OverflowError, AttributeError):  # gone, or never a process
        return False
    except PermissionError:
        pass  # it runs, but belongs to somebody else
    return _process_token(pid) == token


def versions() -> dict[str, str]:
    """This package, Python, and the libraries that the rules rest on."""
    names = ("overcooked-ai", "numpy", "numba")
    return {
        "coord": coord.__version__,
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in names},
    }


class GameRecorder:
    """Writes one game; at most `FLUSH_S` of it is in memory."""

    def __init__(self, store: Store, participant: str, study_round: int | None) -> None:
        self._store = store
        self._participant, self._study_round = participant, study_round
        self.game_id: int | None = None
        self._began_s = self._flushed_s = 0.0
        self._ticks: list[tuple[object, ...]] = []
        self._actions: list[tuple[object, ...]] = []
        self._events: list[tuple[object, ...]] = []
        self._ticks_played, self._score = 0, 0.0

    def begin(self, session: Session, now_s: float) -> None:
        """Write the header."""
        self._began_s = self._flushed_s = now_s
        row = {
            "uid": secrets.token_hex(8),
            "started_utc": utc_now(),
            "owner": _process_token(os.getpid()),
            "layout": session.layout.name,
            "layout_hash": session.layout.hash,
            "layout_json": layout_to_json(session.layout),
            "rules": session.rules,
            "ticks": session.ticks,
            "tick_hz": session.clock.hz,
            "seed": session.seed,
            "start_state": json.dumps(session.state),
            "start_hash": state_hash(session.state),
            "seats": json.dumps([seat.info.to_dict() for seat in session.seats]),
            "versions": json.dumps(versions()),
            "participant": self._participant,
            "study_round": self._study_round,
        }
        with self._store.transaction() as connection:
            places = ", ".join(f":{name}" for name in row)
            self.game_id = connection.execute(
                f"INSERT INTO games ({', '.join(row)}) VALUES ({places})", row
            ).lastrowid

    def tick(self, event: TickEvent) -> None:
        """Add one tick and its events."""
        game, at_ms = self.game_id, self._ms(event.at_s)
        self._ticks.append((game, event.tick, at_ms, event.reward, event.state_hash))
        for seat, choice in enumerate(event.choices):
            key_ms = None if choice.key_s is None else self._ms(choice.key_s)
            self._actions.append((game, event.tick, seat, int(choice.action), choice.source, key_ms, choice.latency_ms))
        self._events += [(game, *happened) for happened in event.events]
        self._ticks_played, self._score = event.tick + 1, self._score + event.reward
        self.flush(event.at_s)

    def note(self, event: GameEvent, now_s: float) -> None:
        """Add an event outside of ticks (pause, partner trouble)."""
        self._events.append((self.game_id, *event))
        self.flush(now_s)

    def flush(self, now_s: float) -> None:
        """Write what waits if the last time is `FLUSH_S` ago. Called every frame."""
        if now_s - self._flushed_s >= FLUSH_S and (self._ticks or self._events):
            self._save("UPDATE games SET ticks_played = ?, score = ? WHERE id = ?", ())
            self._flushed_s = now_s

    def finish(self, outcome: str, now_s: float) -> None:
        """Write outcome and score; from here on the game is safe from power cuts too."""
        sql = "UPDATE games SET outcome = ?, ended_utc = ?, ticks_played = ?, score = ? WHERE id = ?"
        self._save(sql, (outcome, utc_now()))
        self._store.make_durable()

    def _ms(self, at_s: float) -> float:
        return round((at_s - self._began_s) * 1e3, 3)

    def _save(self, header_sql: str, values: tuple[object, ...]) -> None:
        """Write what waits, and the header by a statement that ends with the ticks played, the score and the id."""
        with self._store.transaction() as connection:
            connection.executemany("INSERT INTO ticks VALUES (?, ?, ?, ?, ?)", self._ticks)
            connection.executemany("INSERT INTO actions VALUES (?, ?, ?, ?, ?, ?, ?)", self._actions)
            connection.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?)", self._events)
            connection.execute(header_sql, (*values, self._ticks_played, self._score, self.game_id))
        for waiting in (self._ticks, self._actions, self._events):
            waiting.clear()
