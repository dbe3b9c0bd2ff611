"""Games that people played, in the SQLite file the game client writes: its schema, and the reading of it.

One file holds any number of games. A game is its header, its start state and its joint actions; the states follow by
replaying the rules, and the hash kept with every tick proves that the replay is the game that was played.
The game client writes these tables; cloning (`data=<file>`) and scoring (`human=<file>`) read them here.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from coord.databases import connect, explain_sqlite
from coord.errors import UserError
from coord.overcooked.layouts import Layout
from coord.overcooked.vector_env import OvercookedVectorEnv
from coord.schema import refuse_foreign_programs

APPLICATION_ID = 0x434B4F56  # marks the file as ours (SQLite's application_id)
SCHEMA_VERSION = 1  # SQLite's user_version

SCHEMA = """
CREATE TABLE games (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    uid TEXT NOT NULL UNIQUE,           -- random; tells games of merged files apart
    started_utc TEXT NOT NULL,
    ended_utc TEXT,
    owner TEXT NOT NULL,                -- process that plays it, while `outcome` is NULL
    layout TEXT NOT NULL,
    layout_hash TEXT NOT NULL,
    layout_json TEXT NOT NULL,          -- the whole Layout, so that the game outlives its layout file
    rules TEXT NOT NULL,
    ticks INTEGER NOT NULL,             -- length agreed on
    tick_hz REAL NOT NULL,
    seed INTEGER NOT NULL,
    start_state TEXT NOT NULL,          -- JSON, form of OvercookedState.to_dict
    start_hash TEXT NOT NULL,
    seats TEXT NOT NULL,                -- JSON list, kind, partner and player of each
    versions TEXT NOT NULL,             -- JSON: this package, Python, libraries
    participant TEXT NOT NULL,          -- "" outside of a study
    study_round INTEGER,
    outcome TEXT,                       -- NULL while it is played; finished, quit, recovered
    ticks_played INTEGER NOT NULL DEFAULT 0,
    score REAL NOT NULL DEFAULT 0
);
CREATE INDEX games_by_participant ON games (participant);
CREATE TABLE ticks (
    game_id INTEGER NOT NULL REFERENCES games (id) ON DELETE CASCADE,
    tick INTEGER NOT NULL,
    at_ms REAL NOT NULL,                -- monotonic, since the start of the game (pauses included)
    reward REAL NOT NULL,
    state_hash TEXT NOT NULL,           -- of the state after the tick
    PRIMARY KEY (game_id, tick)
) WITHOUT ROWID;
CREATE TABLE actions (
    game_id INTEGER NOT NULL REFERENCES games (id) ON DELETE CASCADE,
    tick INTEGER NOT NULL,
    seat INTEGER NOT NULL,
    action INTEGER NOT NULL,            -- 0 north, 1 south, 2 east, 3 west, 4 stay, 5 interact
    source TEXT NOT NULL,               -- human, agent, miss (no answer in time: stay)
    key_ms REAL,                        -- when the key was pressed, same clock as at_ms; NULL: no key
    latency_ms REAL,                    -- how long the agent thought
    PRIMARY KEY (game_id, tick, seat)
) WITHOUT ROWID;
CREATE TABLE events (
    game_id INTEGER NOT NULL REFERENCES games (id) ON DELETE CASCADE,
    tick INTEGER NOT NULL,              -- ticks played when it happened
    seat INTEGER,                       -- NULL: the game itself (pause, resume, partner trouble)
    name TEXT NOT NULL,
    detail TEXT NOT NULL DEFAULT ''
);
CREATE INDEX events_by_game ON events (game_id);
"""


@dataclass(frozen=True)
class GameHeader:
    """One row of the table `games`."""

    id: int
    uid: str
    started_utc: str
    ended_utc: str | None
    layout: str
    layout_hash: str
    layout_json: str
    rules: str
    ticks: int
    tick_hz: float
    seed: int
    start_state: Mapping[str, Any]
    start_hash: str
    seats: tuple[Mapping[str, Any], ...]  # [P]
    versions: Mapping[str, str]
    participant: str
    study_round: int | None
    outcome: str | None
    ticks_played: int
    score: float

    @property
    def recovered(self) -> bool:
        """Whether a crash cut the game off."""
        return self.outcome == "recovered"

    def kitchen(self) -> Layout:
        """The layout as it was when the game was played. UserError if what is stored is not the layout of its hash."""
        with naming_damage(self.id):
            layout = layout_from_json(self.layout_json)
        if layout.hash != self.layout_hash:
            raise UserError(f"game {self.id}: the stored layout '{self.layout}' does not have its recorded hash")
        return layout


class RecordedEvent(NamedTuple):
    """One row of the table `events`."""

    tick: int
    seat: int | None
    name: str
    detail: str


@dataclass(frozen=True)
class RecordedGame:
    """One game of T ticks and P seats."""

    header: GameHeader
    joint_act: NDArray[np.int8]  # [T, P]
    sources: tuple[tuple[str, ...], ...]  # [T][P] human, agent, miss
    key_ms: NDArray[np.float64]  # [T, P], NaN: no key
    latency_ms: NDArray[np.float64]  # [T, P], NaN: not an agent's answer
    at_ms: NDArray[np.float64]  # [T]
    rew: NDArray[np.float64]  # [T] task reward
    hashes: tuple[str, ...]  # [T] of the state after each tick
    events: tuple[RecordedEvent, ...]

    @property
    def human_seats(self) -> tuple[int, ...]:
        """Seats that people held."""
        return tuple(seat for seat, info in enumerate(self.header.seats) if info["kind"] == "human")

    def start(self) -> OvercookedVectorEnv:
        """One kitchen in the start state of the game."""
        header = self.header
        with naming_damage(header.id):
            env = OvercookedVectorEnv(header.kitchen(), 1, horizon=header.ticks, rules=header.rules, seed=header.seed)
            env.reset()
            env.load_state_dict(0, header.start_state)
        return env

    def event_counts(self) -> NDArray[np.int32]:
        """[P, len(EVENTS)] how often each seat did what, by replaying the rules."""
        env = self.start()
        for joint_act in self.joint_act:
            env.step(joint_act[None])
        return env.event_counts(final=True)[0]

    def states(self) -> list[Mapping[str, Any]]:
        """[T + 1] the states around the joint actions, by replaying the rules."""
        env = self.start()
        states: list[Mapping[str, Any]] = [env.state_dict(0)]
        for joint_act in self.joint_act:
            env.step(joint_act[None])
            states.append(env.state_dict(0, final=True))
        return states


def _described(header: GameHeader, asked: Layout) -> str:
    """A recorded game's kitchen and rules, and in what it differs where its terrain is the one that was asked for."""
    kitchen = header.kitchen()
    different = _differences(kitchen, asked)
    text = f"{kitchen.name} with rules={header.rules}"
    return text if "terrain" in different or not different else f"{text} (the same grid, other {', '.join(different)})"


def _differences(kitchen: Layout, other: Layout) -> list[str]:
    """In what two kitchens differ as what people do in them goes: not in names nor in where they start."""
    ours, theirs = asdict(kitchen), asdict(other)
    found = [name for name in ours if name not in ("name", "grid", "start_state") and ours[name] != theirs[name]]
    return found if kitchen.terrain == other.terrain else ["terrain", *found]


def state_hash(state: Mapping[str, Any]) -> str:
    """16 hexadecimal digits that name a state: SHA-256 of its JSON, objects in order of their cell."""
    objects = sorted(state["objects"], key=lambda thing: tuple(thing["position"]))
    text = json.dumps({**state, "objects": objects}, sort_keys=True, separators=(",", ":"), default=_plain)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _plain(value: Any) -> Any:
    """JSON form of NumPy scalars."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} in a state")


def layout_to_json(layout: Layout) -> str:
    """The whole layout as JSON."""
    return json.dumps(asdict(layout))


def layout_from_json(text: str) -> Layout:
    """Inverse of `layout_to_json`."""
    values = json.loads(text)
    for name in ("grid", "times", "values", "shaping"):
        values[name] = tuple(values[name])
    for name in ("all_orders", "bonus_orders"):
        values[name] = tuple(tuple(order) for order in values[name])
    return Layout(**values)


@contextmanager
def naming_damage(game_id: object) -> Iterator[None]:
    """Turn whatever a changed or damaged row of a game leads to into one clear line."""
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        reason = f"{type(error).__name__}: {str(error)[:120]}"
        raise UserError(
            f"game {game_id} is damaged ({reason}); restore a copy, or remove it by: coord games delete {game_id}"
        ) from error


@contextmanager
def clear_errors(path: str | Path) -> Iterator[None]:
    """Turn SQLite's errors about the file into one clear line."""
    try:
        yield
    except sqlite3.Error as error:
        raise UserError(explain_sqlite(path, error, "recordings file", "games finished")) from error


def check_version(connection: sqlite3.Connection, path: str | Path) -> None:
    """UserError unless the file is a recordings file this version can read."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION_ID:
        raise UserError(f"{path} is an SQLite file, but not a recordings file of this project")
    if version > SCHEMA_VERSION:
        raise UserError(f"{path} has schema {version}, this version reads up to {SCHEMA_VERSION}: please update")
    refuse_foreign_programs(connection, path)


@contextmanager
def open_recordings(path: str | Path) -> Iterator[sqlite3.Connection]:
    """The file, for reading only. UserError if it is missing, damaged, or something else."""
    if not os.path.isfile(path):
        raise UserError(f"no recordings file '{path}'")
    with clear_errors(path), closing(connect(path, writes=False)) as connection:
        check_version(connection, path)
        yield connection


def read_headers(connection: sqlite3.Connection, damaged: list[str] | None = None) -> list[GameHeader]:
    """Headers of all games, oldest first.

    damaged: gets one line for each game whose row cannot be read, and the others are returned.

    Raises:
        UserError: without `damaged`, for the first such game.
    """
    names = [field.name for field in fields(GameHeader)]
    former, connection.text_factory = connection.text_factory, _any_text
    try:
        rows = connection.execute(f"SELECT {', '.join(names)} FROM games ORDER BY id").fetchall()
    finally:
        connection.text_factory = former
    headers = []
    for row in rows:
        try:
            with naming_damage(row[0]):
                headers.append(_header(dict(zip(names, row, strict=True))))
        except UserError as error:
            if damaged is None:
                raise
            damaged.append(str(error))
    return headers


def _any_text(data: bytes) -> str:
    """One text that is no UTF-8 must not hide all other rows."""
    return data.decode("utf-8", "replace")


# Types that SQLite does not enforce; numbers must be finite too.
_TYPES: Mapping[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("uid", "started_utc", "layout", "layout_hash", "layout_json", "rules", "participant"), str),
    **dict.fromkeys(("ended_utc", "outcome"), (str, type(None))),
    **dict.fromkeys(("ticks", "seed", "ticks_played"), int),
    "study_round": (int, type(None)),
    **dict.fromkeys(("tick_hz", "score"), (int, float)),
}


def _header(values: dict[str, Any]) -> GameHeader:
    """A row as a header. TypeError, ValueError or KeyError for what no game client writes."""
    for name, kinds in _TYPES.items():
        if not isinstance(values[name], kinds):
            raise TypeError(f"{name} is {values[name]!r:.40}")
    for name in ("start_state", "seats", "versions"):
        values[name] = json.loads(values[name])
    seats = values["seats"] = tuple(values["seats"])
    if not seats or not all(isinstance(seat["kind"], str) and isinstance(seat["name"], str) for seat in seats):
        raise ValueError("seats without kind and name")
    if not isinstance(values["start_state"], Mapping) or not isinstance(values["versions"], Mapping):
        raise TypeError("start_state or versions is no mapping")
    if not (values["ticks"] > 0 and 0 < values["tick_hz"] < math.inf and math.isfinite(values["score"])):
        raise ValueError("ticks, tick_hz or score is out of range")
    datetime.fromisoformat(values["started_utc"])
    return GameHeader(**values)


def read_game(connection: sqlite3.Connection, header: GameHeader) -> RecordedGame:
    """The game that belongs to a header. UserError if ticks or actions are missing."""
    ticks = connection.execute(
        "SELECT tick, at_ms, reward, state_hash FROM ticks WHERE game_id = ? ORDER BY tick", (header.id,)
    ).fetchall()
    actions = connection.execute(
        "SELECT action, source, key_ms, latency_ms FROM actions WHERE game_id = ? ORDER BY tick, seat", (header.id,)
    ).fetchall()
    events = connection.execute(
        "SELECT tick, seat, name, detail FROM events WHERE game_id = ? ORDER BY rowid", (header.id,)
    ).fetchall()
    num_players = len(header.seats)
    if [row[0] for row in ticks] != list(range(len(ticks))) or len(actions) != len(ticks) * num_players:
        raise UserError(f"game {header.id} has gaps in its ticks: the file was changed or damaged")
    with naming_damage(header.id):
        return _game(header, ticks, actions, events)


def _game(
    header: GameHeader, ticks: Sequence[Any], actions: Sequence[Any], events: Sequence[Any]
) -> RecordedGame:
    """The rows of a game as arrays. ValueError, TypeError or OverflowError for rows that no game client writes."""
    num_players = len(header.seats)
    shape = (len(ticks), num_players)
    sources = [row[1] for row in actions]
    if unknown_actions := {row[0] for row in actions} - set(range(6)):
        raise ValueError(f"no such action: {min(map(str, unknown_actions)):.40}")
    return RecordedGame(
        header=header,
        joint_act=np.array([row[0] for row in actions], np.int8).reshape(shape),
        sources=tuple(tuple(sources[t * num_players : (t + 1) * num_players]) for t in range(len(ticks))),
        key_ms=np.array([row[2] for row in actions], np.float64).reshape(shape),
        latency_ms=np.array([row[3] for row in actions], np.float64).reshape(shape),
        at_ms=np.array([row[1] for row in ticks], np.float64),
        rew=np.array([row[2] for row in ticks], np.float64),
        hashes=tuple(row[3] for row in ticks),
        events=tuple(RecordedEvent(*row) for row in events),
    )


def games_on(path: str | Path, layout: Layout, rules: str) -> list[RecordedGame]:
    """The games of a file that people played on `layout` under `rules`, with whomever and wherever they started.

    Raises:
        UserError: the file cannot be read, or nobody played there; it says where they played instead.
    """
    played = [game for game in read_games(path) if game.human_seats and len(game.rew)]
    games = [
        game for game in played if game.header.rules == rules and not _differences(game.header.kitchen(), layout)
    ]
    if not games:
        others = ", ".join(sorted({_described(game.header, layout) for game in played})) or "no other kitchen either"
        raise UserError(f"{path} holds no game of a person on {layout.name} with rules={rules}, but on {others}")
    return games


def read_games(path: str | Path) -> list[RecordedGame]:
    """All ended games of a recordings file, oldest first. UserError if the file cannot be read."""
    with open_recordings(path) as connection:
        headers = [header for header in read_headers(connection) if header.outcome is not None]
        return [read_game(connection, header) for header in headers]
