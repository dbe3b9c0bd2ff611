"""`coord games`: list, show, verify, export, import and delete recorded games."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from coord.errors import UserError, unknown
from coord.limits import CountOrNone
from coord.run.terminal import one_line

if TYPE_CHECKING:
    from coord.overcooked.recorded import GameHeader, RecordedGame
    from play.game.record import Store

HELP = "list, show, verify, export and import games that people played"
EXAMPLES = (
    "coord games list",
    "coord games show last",
    "coord games verify",
    "coord games export out=games.csv",
    "coord games export 3 format=json out=game3.json",
    "coord games import trajectory.json data=games.sqlite people=0",
)


@dataclass(frozen=True, kw_only=True)
class GamesConfig:
    """What is in the recordings, and whether it is what was played."""

    # list, show, verify, export, import or delete
    what: Literal["list", "show", "verify", "export", "import", "delete"] = "list"
    game: str = "all"  # number of a game, last, or all (show and delete: one game); import: the trajectory file (JSON)
    data: str | None = None  # recordings file; null: $COORD_DATA, else coord/games.sqlite in the user's data folder
    # export: json (overcooked-ai trajectories), csv or parquet; null: by the ending of out
    format: Literal["json", "csv", "parquet"] | None = None
    out: str | None = None  # export: the file to write
    layout: str | None = None  # import: kitchen of all games of the file, by name or file; null: what the file says
    # import: seats that people held, from 0; []: as the file says, everybody where it does not
    people: tuple[CountOrNone, ...] = ()

    def idle(self) -> dict[str, str]:
        """Fields that nothing reads as the others are set, and why."""
        read = {
            "list": (),
            "export": ("game", "format", "out"),
            "import": ("game", "layout", "people"),
        }.get(self.what, ("game",))
        unread = {"game", "format", "out", "layout", "people"}.difference(read)
        return dict.fromkeys(sorted(unread), f"coord games {self.what} does not read it")


Config = GamesConfig


def run(overrides: Sequence[str]) -> int:
    """Do what the words say; exit code 2 also if a game does not verify."""
    from coord.run.config import load

    cfg = load("games", overrides, positional=("what", "game"))
    if cfg.what == "import":
        _import(cfg)
        return 0
    store = open_store(cfg.data, writes=cfg.what == "delete")
    try:
        _ACTIONS[cfg.what](store, cfg)
    finally:
        store.close()
    return 0


def open_store(data: str | None, *, writes: bool = False) -> Store:
    """The recordings, with a line on stderr for each game that a crash had left open.

    Raises:
        UserError: there are none yet, the file is damaged, or it cannot be written though `writes`.
    """
    from play.game.record import Store, default_path

    path = default_path() if data is None else Path(data)
    if not path.exists():
        raise UserError(f"no recordings at {path}; play a game first (coord play) or give data=<file>")
    store = Store(path, writes=writes)
    for line in store.recovered:
        print(line, file=sys.stderr)
    return store


def _chosen(store: Store, cfg: GamesConfig) -> list[RecordedGame]:
    """The games asked for. UserError if there is none of that number, or the file is empty."""
    if cfg.game == "all":
        games = [store.load(header) for header in store.games() if header.outcome is not None]
        if store.damaged:
            raise UserError(store.damaged[0])
        return games
    return [store.game(cfg.game)]


def _one(store: Store, cfg: GamesConfig) -> RecordedGame:
    if cfg.game == "all":
        raise UserError(f"coord games {cfg.what} needs one game: a number, or last")
    return store.game(cfg.game)


def _list(store: Store, cfg: GamesConfig) -> None:
    headers = store.games()
    print(f"{'game':>5}  {'started (UTC)':<16}  {'layout':<26}  {'score':>5}  {'ticks':>9}  {'outcome':<9}  players")
    for head in headers:
        started = head.started_utc[:16].replace("T", " ")
        ticks = f"{head.ticks_played}/{head.ticks}"
        players = one_line(" + ".join(seat["name"] for seat in head.seats))
        outcome, layout = one_line(head.outcome or "playing"), one_line(head.layout)
        print(f"{head.id:>5}  {started:<16}  {layout:<26}  {head.score:>5g}  {ticks:>9}  {outcome:<9}  {players}")
    print(f"{len(headers)} games in {store.path}")
    for line in store.damaged:
        print(line, file=sys.stderr)


def _show(store: Store, cfg: GamesConfig) -> None:
    import numpy as np

    game = _one(store, cfg)
    head = game.header
    for name, value in _header_lines(head):
        print(f"{name:<12} {one_line(value)}")
    for seat, info in enumerate(head.seats):
        sources = Counter(row[seat] for row in game.sources)
        thought = game.latency_ms[:, seat]
        waited = (game.at_ms[:, None] - game.key_ms)[:, seat]
        took = "" if np.isnan(thought).all() else f", thought {np.nanmedian(thought):.1f} ms (median)"
        keys = "" if np.isnan(waited).all() else f", key to tick {np.nanmedian(waited):.0f} ms (median)"
        print(f"seat {seat}       {one_line(info['name'])} ({info['kind']}): {dict(sources)}{took}{keys}")
    counts = Counter((event.name, event.seat) for event in game.events)
    for (name, who), count in sorted(counts.items(), key=str):
        print(f"  {name:<26} {'game' if who is None else f'seat {who}'}: {count}")


def _header_lines(head: GameHeader) -> list[tuple[str, object]]:
    return [
        ("game", f"{head.id} ({head.uid})"),
        ("started", f"{head.started_utc}, ended {head.ended_utc or 'not yet'}: {head.outcome or 'playing'}"),
        ("layout", f"{head.layout} ({head.layout_hash[:12]}), rules={head.rules}, seed={head.seed}"),
        ("length", f"{head.ticks_played} of {head.ticks} ticks at {head.tick_hz:g} Hz"),
        ("score", f"{head.score:g}"),
        ("versions", ", ".join(f"{name} {version}" for name, version in head.versions.items())),
        *((f"partner {i}", f"{seat['ref']} {str(seat['checkpoint_sha256'])[:12]} stochastic={seat['stochastic']} "
           f"seed={seat['seed']}") for i, seat in enumerate(head.seats) if seat["kind"] == "agent"),
        *([("participant", f"{head.participant}, round {head.study_round}")] if head.participant else []),
    ]  # fmt: skip


def _verify(store: Store, cfg: GamesConfig) -> None:
    from play.game.replay import verify

    if cfg.game != "all":
        checks = [partial(_one, store, cfg)]
    else:
        checks = [partial(store.load, header) for header in store.games() if header.outcome is not None]
    bad = list(store.damaged)
    for check in checks:
        try:
            verdict = verify(check())
        except UserError as error:
            bad.append(str(error))
            continue
        print(verdict.message)
        bad += [] if verdict.ok else [verdict.message]
    if bad:
        raise UserError(f"{len(bad)} of {len(checks) + len(store.damaged)} games differ from their record; {bad[0]}")


def _export(store: Store, cfg: GamesConfig) -> None:
    from coord.files import check_place
    from play.game.export import FORMATS

    if cfg.out is None:
        raise UserError("coord games export needs out=<file>")
    name = cfg.format or Path(cfg.out).suffix.removeprefix(".")
    if name not in FORMATS:
        raise unknown("export format", name, FORMATS)
    check_place(cfg.out)
    games = _chosen(store, cfg)
    FORMATS[name](games, Path(cfg.out))
    print(f"{len(games)} games written to {cfg.out}")


def _import(cfg: GamesConfig) -> None:
    """Take in a trajectory file of overcooked-demo or overcooked-ai, telling each game's fate."""
    from play.game.importing import import_file
    from play.game.record import Store, default_path
    from play.game.trajectories import read_trajectories

    if cfg.game == "all":
        raise UserError("coord games import needs a file, e.g. coord games import trajectory.json")
    read_trajectories(cfg.game)  # before a recordings file is made
    store = Store(default_path() if cfg.data is None else Path(cfg.data))
    try:
        results = import_file(store, cfg.game, cfg.layout, cfg.people)
    finally:
        store.close()
    for one in results:
        print(f"game {one.number} of the file {'was not imported: ' * (one.game_id is None)}{one_line(one.message)}")
        if one.kitchen:
            print(f"  its kitchen, as the text of a layout file: {one.kitchen}")
    taken = sum(one.game_id is not None for one in results)
    print(f"{taken} of {len(results)} games of {cfg.game} are in {store.path}")
    if not taken:
        raise UserError(f"none of the {len(results)} games of {cfg.game} was imported; the first: {results[0].message}")


def _delete(store: Store, cfg: GamesConfig) -> None:
    number = _number(store, cfg)
    store.delete(number)
    print(f"game {number} deleted")


def _number(store: Store, cfg: GamesConfig) -> int:
    """The number of the game asked for; one that cannot be read can still be deleted."""
    if cfg.game.isdecimal() and any(line.startswith(f"game {cfg.game} ") for line in _damaged(store)):
        return int(cfg.game)
    return _one(store, cfg).header.id


def _damaged(store: Store) -> list[str]:
    store.games()
    return store.damaged


_ACTIONS: dict[str, Callable[[Store, GamesConfig], None]] = {
    "list": _list,
    "show": _show,
    "verify": _verify,
    "export": _export,
    "delete": _delete,
}
