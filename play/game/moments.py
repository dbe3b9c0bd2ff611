"""After a game a person may say which of two moments they liked better: what is shown, and where the answer is kept.

Moments are stretches of `length` ticks that follow one another without overlap. What happened in one is counted for
every seat (`WEIGHED`), each count divided by its largest; the two moments that differ most (sum of absolute
differences) are the first pair, the two that differ most among the others the next, up to `PAIRS`. Moments that do not
differ are not asked about. An answer and the pair that it is about go to the label store in one transaction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coord import seeding
from coord.errors import UserError
from coord.overcooked import EVENTS
from coord.overcooked.recorded import RecordedGame, open_recordings, read_game, read_headers
from coord.preference.labels import moments
from coord.preference.labels.segments import Queries
from coord.preference.labels.store import LabelStore, QueryRecord
from coord.references import split_reference
from coord.yaml_files import read_yaml
from play.game.session import Session
from play.labelling.answers import left_of, response_of, standing, stored_answer
from play.labelling.clips import Kitchen, Pair
from play.labelling.tasks import LabellingProgress, Response, Task

STORE_FILE = "labels.sqlite"
LENGTH = 50  # ticks of a moment; as query.length of coord prefer
PAIRS = 3
REASONS = ("collision", "blocked_me", "wasted_food", "idle", "other")
WEIGHED = ("delivery", "soup_pickup", "placement_in_pot", "useful_dish_pickup", "collision", "idle")


@dataclass(frozen=True)
class Place:
    """Where answers go, and how long the moments there are."""

    file: Path
    length: int = LENGTH  # ticks that are judged
    margin: int = 0  # ticks on either side that are stored beside them


def place_of(ref: str, games: Path, chosen: Path | None = None) -> Place:
    """The store for moments with the agent `ref`: that of the preference run it comes from, else one beside `games`.

    chosen: another file. Raises UserError if the run's configuration is damaged.
    """
    path = Path(split_reference(ref)[0])
    for folder in (path, *path.parents[:2]):
        if (folder / STORE_FILE).is_file() and (folder / "config.yaml").is_file():
            return Place(chosen or folder / STORE_FILE, *_sizes(folder / "config.yaml"))
    return Place(chosen or beside(games))


def beside(games: Path) -> Path:
    """The label store beside a file of recordings."""
    return games.parent / STORE_FILE


def _sizes(file: Path) -> tuple[int, int]:
    """Length and margin of the segments that a run learns from."""
    try:
        values = read_yaml(file)
        return int(values["query"]["length"]), int(values["reward"]["crop_margin"])
    except (UserError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{file} is no configuration of coord prefer: {error}") from error


def judged_seat(seats: Sequence[Mapping[str, Any]]) -> int | None:
    """The seat of the first agent of a game that a person played, too; None if there is none."""
    kinds = [seat["kind"] for seat in seats]
    return kinds.index("agent") if {"agent", "human"} <= set(kinds) else None


def is_offered(session: Session) -> bool:
    """Whether a game has moments to compare: a recorded one of a person with an agent, long enough for two."""
    seats = [seat.info.to_dict() for seat in session.seats]
    is_kept = session.game_id is not None and not session.recording_error
    return is_kept and judged_seat(seats) is not None and session.tick >= 2 * LENGTH


def pick(events: NDArray[np.int64], place: Place, count: int = PAIRS) -> list[tuple[int, int]]:
    """First judged ticks of up to `count` pairs of moments of a game with events [T, P, len(EVENTS)]."""
    starts = np.arange(place.margin, len(events) - place.margin - place.length + 1, place.length)
    if len(starts) < 2:
        return []
    columns = [EVENTS.index(name) for name in WEIGHED]
    counts = np.array([events[start : start + place.length, :, columns].sum(0).ravel() for start in starts])
    shares = counts / np.maximum(counts.max(0), 1)
    distance = np.triu(np.abs(shares[:, None] - shares[None]).sum(-1))  # [n, n], each pair once
    found: list[tuple[int, int]] = []
    while len(found) < count and distance.max() > 0:
        one, two = (int(i) for i in np.unravel_index(distance.argmax(), distance.shape))
        found.append((int(starts[one]), int(starts[two])))
        distance[[one, two]] = distance[:, [one, two]] = 0
    return found


class GameMoments:
    """The pairs of one recorded game; `load` before anything else."""

    def __init__(self, games: Path, game_id: int, chosen: Path | None = None) -> None:
        self._games, self._game_id, self._chosen = games, game_id, chosen
        self.pairs: list[tuple[int, int]] = []

    def load(self) -> None:
        """Read the game and play it again.

        Raises:
            UserError: there is no such game, or none of a person with an agent.
        """
        self.game = _read(self._games, self._game_id)
        header = self.game.header
        seat = judged_seat(header.seats)
        if seat is None:
            raise UserError(f"game {header.id} was not played by a person with an agent")
        self.seat, self.kitchen = seat, header.kitchen()
        self.place = place_of(str(header.seats[seat]["ref"]), self._games, self._chosen)
        self.trajectory = moments.follow(self.game, seat)
        self.pairs = pick(self.trajectory.events, self.place)
        self.stored_length = self.place.length + 2 * self.place.margin
        self.run = moments.run_name(self.kitchen, header.rules, self.stored_length)

    def record(self, number: int) -> QueryRecord:
        """Pair `number` as a query that is not stored yet, whence its negative id."""
        margin, header, partner = self.place.margin, self.game.header, self.game.header.seats[self.seat]
        ticks = [[start, start + self.place.length] for start in self.pairs[number]]
        origin: dict[str, Any] = {"task": moments.TASK, "layout": header.layout, "layout_hash": header.layout_hash}
        origin |= {"rules": header.rules, "game": header.uid, "game_number": header.id, "seat": self.seat}
        origin |= {"ticks": ticks, "tick_hz": header.tick_hz, "participant": header.participant}
        origin |= {"partner": partner["name"], "partner_sha256": partner["checkpoint_sha256"]}
        pair = self.pair(number)
        return QueryRecord(
            id=-1 - number, run=self.run, member=0, number=number, session=0, wanted=0, length=pair.length,
            margin=margin, obs_dim=pair.obs.shape[3], act_dim=pair.act.shape[3],
            episode=(header.id, header.id), start=(ticks[0][0] - margin, ticks[1][0] - margin), provenance=origin,
            asked_utc="",
        )  # fmt: skip

    def pair(self, number: int) -> Queries:
        """What is stored of pair `number`."""
        first, second = (start - self.place.margin for start in self.pairs[number])
        return moments.pair_of(self.trajectory, (first, second), self.stored_length, self.game.header.id)

    def draw(self, file: Path, record: QueryRecord) -> Pair:
        """Both moments of a pair for `play.labelling.clips.Studio`."""
        grid, hz = self.kitchen.grid, self.game.header.tick_hz
        cuts = [self.trajectory.states[first : last + 1] for first, last in record.provenance["ticks"]]
        one, two = (Kitchen(grid, states, self.seat, hz) for states in cuts)
        return Pair((one, two))


def _read(games: Path, game_id: int) -> RecordedGame:
    with open_recordings(games) as connection:
        for header in read_headers(connection):
            if header.id == game_id:
                return read_game(connection, header)
    raise UserError(f"no game {game_id} in {games}")


class MomentsQueue:
    """The `TaskQueue` of one game's moments."""

    def __init__(self, game: GameMoments, annotator: str) -> None:
        game.load()
        self.game, self.annotator = game, annotator
        self.store = LabelStore(game.place.file)
        self._stored: dict[int, int] = {}  # number of a pair -> its query, once it was answered
        self._given: list[tuple[int, int, Response]] = []  # (number, left, what was said), oldest first
        self._find()

    def _find(self) -> None:
        """What was said of this game before."""
        for query in self.store.queries(self.game.run, 0):
            pair = tuple(start + query.margin for start in query.start)
            if query.provenance.get("game") == self.game.game.header.uid and pair in self.game.pairs:
                self._stored[self.game.pairs.index(pair)] = query.id
        numbers = {query: number for number, query in self._stored.items()}
        mine = [row for row in standing(self.store) if row["annotator"] == self.annotator and row["query"] in numbers]
        self._given = [(numbers[row["query"]], left_of(row), response_of(row)) for row in mine]

    def close(self) -> None:
        """Close the store."""
        self.store.close()

    def take(self, held: Sequence[Task] = ()) -> Task | None:
        """The next pair beside those in hand; None: no more."""
        known = {number for number, _, _ in self._given} | {task.record.number for task in held}
        number = next((n for n in range(len(self.game.pairs)) if n not in known), None)
        return None if number is None else self._task(number, self._side(number))

    def _task(self, number: int, left: int, taken_back: Response | None = None) -> Task:
        query = self._stored.get(number)
        revision = 0 if query is None else self.store.revision(query, self.annotator)
        return Task(self.game.record(number), left, revision=revision, taken_back=taken_back)

    def _side(self, number: int) -> int:
        """The moment shown left, drawn by lot; the same one whenever this person sees the pair."""
        return int(seeding.rng(0, "moments", self.game.game.header.uid, self.annotator, number).integers(2))

    def give(self, task: Task, response: Response) -> bool:
        """Store a pair and its answer in one transaction; False if that answer was there already."""
        number = task.record.number

        def both() -> tuple[int, bool]:
            query = self._stored[number] if number in self._stored else self._add(task.record)
            answer = stored_answer(task, response, query, self.annotator, client="coord play")
            return query, self.store.add_answer(answer)

        self._stored[number], is_new = self.store.together(both)
        self._given.append((number, task.left, response))
        return is_new

    def _add(self, record: QueryRecord) -> int:
        how: dict[str, Any] = {name: getattr(record, name) for name in ("session", "wanted", "margin")}
        how |= {"first_number": self.store.counts(record.run, 0).asked, "provenance": [record.provenance]}
        (query,) = self.store.add_queries(record.run, 0, self.game.pair(record.number), **how)
        return query

    def undo(self) -> Task | None:
        """Take back the newest answer about this game; the pair to show again, None: no more."""
        if not self._given:
            return None
        number, left, response = self._given.pop()
        self.store.withdraw(self._stored[number], self.annotator)
        return self._task(number, left, response)

    def renew(self, task: Task) -> bool:
        """Nobody else is asked."""
        return True

    def progress(self) -> LabellingProgress:
        """How many pairs of this game are answered."""
        done = len(self._given)
        return LabellingProgress(done, len(self.game.pairs) - done, repeats=0, median_ms=None, is_over=True)
