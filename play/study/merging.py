"""Puts the recordings files of a lab's computers into one, and says how well the orders are balanced over it.

Everything of every participant is copied: row, answers, attempts, games with their ticks; and what participants said of
moments of their games (the label store beside each file). Games get new numbers, everything else stays as it was. The
new file appears whole or not at all.
"""

from __future__ import annotations

import os
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from coord.databases import insert
from coord.errors import UserError
from coord.preference.labels import merging as label_merging
from play.game.moments import beside
from play.game.record import Store
from play.study.plan import PlannedGame, plan_games
from play.study.study_file import Study

OF_PARTICIPANTS = {"participants": "id", "answers": "participant", "attempts": "participant"}
OF_GAMES = ("ticks", "actions", "events")


class Merged(NamedTuple):
    """What a merged file holds of a study."""

    people: int  # participants of this version of the study file
    games: int  # of these, finished or not
    moments: int  # answers about moments
    others: int  # participants of other studies, or of other versions of the file: copied, but not counted


def merge(study: Study, sources: Sequence[Path], target: Path) -> Merged:
    """Write all that `sources` hold of participants into the new file `target`.

    Raises:
        UserError: fewer than two files, one that is missing, no recordings file or named twice; `target` exists; a
            participant, or a code of the lab's, is in two of them.
    """
    _check(sources, target)
    part = target.with_name(f".{target.name}.part")
    labels, label_part = beside(target), beside(target).with_name(f".{target.name}.labels.part")
    try:
        with closing(Store(part)) as store:
            for source in sources:
                _take(store, source)
            _check_codes(store, study)
            merged = _counts(store, study)
            store.make_durable()
            store.connection.execute("PRAGMA journal_mode = DELETE")  # one file, nothing beside it
        answered = label_merging.merge(_label_stores(sources), label_part, participants=_people(part))
        if answered:
            os.replace(label_part, labels)
        os.replace(part, target)
    finally:
        for path in (part, label_part):
            for end in ("", "-wal", "-shm"):
                path.with_name(path.name + end).unlink(missing_ok=True)
    return merged._replace(moments=answered)


def _check(sources: Sequence[Path], target: Path) -> None:
    if len(sources) < 2:
        raise UserError("merging needs the recordings files of at least two computers: sources=[a.sqlite,b.sqlite]")
    for source in sources:
        if not source.is_file():
            raise UserError(f"no recordings file '{source}'")
    if len({source.resolve() for source in sources}) < len(sources):
        raise UserError("sources: the same file is named twice")
    for path in (target, beside(target)):
        if os.path.lexists(path):
            raise UserError(f"'{path}' exists: merged files are new ones; name another, or move it aside")


def _label_stores(sources: Sequence[Path]) -> list[Path]:
    """The label stores beside the sources, each once."""
    return list(dict.fromkeys(path.resolve() for source in sources if (path := beside(source)).is_file()))


def _people(file: Path) -> list[str]:
    with closing(Store(file, writes=False)) as store:
        return [row[0] for row in store.connection.execute("SELECT id FROM participants")]


def _take(store: Store, source: Path) -> None:
    """Copy everything of the participants of one file, in one transaction."""
    with closing(Store(source, writes=False)) as other, store.transaction() as connection:
        for table in OF_PARTICIPANTS:
            for row in _rows(other.connection, table):
                _insert(connection, table, row, source)
        for game in _rows(other.connection, "games", "participant <> ''"):
            number = game.pop("id")
            new = _insert(connection, "games", game, source)
            for table in OF_GAMES:
                for row in _rows(other.connection, table, "game_id = ?", (number,)):
                    _insert(connection, table, {**row, "game_id": new}, source)


def _rows(
    connection: sqlite3.Connection, table: str, where: str = "1", values: Sequence[object] = ()
) -> Iterator[dict[str, object]]:
    """Rows of a table as mappings; none of a table that a file of an earlier version lacks."""
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", (table,)).fetchone():
        return
    found = connection.execute(f"SELECT * FROM {table} WHERE {where}", values)
    names = [column[0] for column in found.description]
    for row in found:
        yield dict(zip(names, row, strict=True))


def _insert(connection: sqlite3.Connection, table: str, row: Mapping[str, object], source: Path) -> int:
    try:
        return insert(connection, table, row)
    except sqlite3.IntegrityError as error:
        who = row.get("id", row.get("participant", "a game"))
        raise UserError(f"{source}: '{who}' is in another of the files as well (table {table})") from error


def _check_codes(store: Store, study: Study) -> None:
    rows = store.connection.execute("SELECT code FROM participants WHERE study_hash = ?", (study.sha256,))
    times = Counter(code.casefold() for (code,) in rows if code)
    doubled = sorted(code for code, count in times.items() if count > 1)
    if doubled:
        raise UserError(f"participant codes that are in two of the files: {', '.join(doubled)}")


def _counts(store: Store, study: Study) -> Merged:
    run = store.connection.execute
    (people,) = run("SELECT count(*) FROM participants WHERE study_hash = ?", (study.sha256,)).fetchone()
    (everybody,) = run("SELECT count(*) FROM participants").fetchone()
    mine = "participant IN (SELECT id FROM participants WHERE study_hash = ?)"
    (games,) = run(f"SELECT count(*) FROM games WHERE {mine}", (study.sha256,)).fetchone()
    return Merged(people, games, 0, everybody - people)


def balance(study: Study, store: Store) -> list[str]:
    """Lines about how often consenting participants meet each game in each position and seat; uneven ones are marked.

    Positions are even when no count is more than one away from another (blocks in balanced order), seats likewise.
    """
    rows = store.connection.execute(
        "SELECT id, slot, station FROM participants WHERE study_hash = ? AND consent_utc IS NOT NULL ORDER BY slot",
        (study.sha256,),
    ).fetchall()
    shared = [slot for slot, count in Counter(slot for _, slot, _ in rows).items() if count > 1]
    stations = Counter(station for *_, station in rows)
    lines = [f"{len(rows)} participants, by station: {', '.join(f'{n}: {c}' for n, c in sorted(stations.items()))}"]
    if shared:
        lines.append(
            f"NOT BALANCED: {len(shared)} of the orders were handed out more than once (slots "
            f"{', '.join(map(str, sorted(shared)[:8]))}); give each computer its station= and all the same stations="
        )
    return [*lines, *balance_of([plan_games(study, who, slot)[0] for who, slot, _ in rows], study)]


def balance_of(plans: Sequence[Sequence[PlannedGame]], study: Study) -> list[str]:
    """The table of `balance` for the plans of several participants."""
    lines = []
    for block in study.blocks:
        lines.append(f"  {block.name}")
        for number, (layout, partner) in enumerate(block.conditions):
            met = [game for plan in plans for game in plan if (game.block, game.condition) == (block.name, number)]
            places, seats = Counter(game.position for game in met), Counter(game.seat for game in met)
            counts = [places[position] for position in range(len(block.conditions))]
            row = " ".join(f"{count:>3}" for count in counts)
            uneven = block.order == "balanced" and max(counts) - min(counts) > 1
            mark = "   uneven" if uneven else ""
            name = study.partner_name(partner)
            lines.append(f"    {name:<32} {layout:<26} {row}   seats {seats[0]}/{seats[1]}{mark}")
    return lines
