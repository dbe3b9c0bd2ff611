"""The two clips of a pair, played again from the recorded episodes by a process of its own and kept for a while."""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coord.errors import UserError
from coord.preference.labels.store import QueryRecord

SIZE = 320  # pixels of a drawn frame
HZ = 20.0  # frames per second of a control task at speed 1
KITCHEN_HZ = 5.0  # ticks per second of a kitchen at speed 1
MAX_FRAMES = 100  # longer segments are shown in larger steps
KEPT = 12  # pairs that are kept, for undo and replay
PATIENCE_S = 120.0  # for one pair; the first one imports a simulator


@dataclass(frozen=True)
class Film:
    """Drawn frames, uint8 [T, H, W, 3]."""

    frames: NDArray[np.uint8]
    hz: float = HZ

    @property
    def length(self) -> int:
        """T."""
        return len(self.frames)


@dataclass(frozen=True)
class Kitchen:
    """States of one kitchen, which the window draws itself."""

    grid: tuple[str, ...]
    states: tuple[Mapping[str, Any], ...]  # as overcooked-ai's OvercookedState.to_dict gives them
    seat: int | None  # of the cook that is judged; None: both
    hz: float = KITCHEN_HZ

    @property
    def length(self) -> int:
        """Number of states."""
        return len(self.states)


Side = Film | Kitchen


@dataclass(frozen=True)
class Pair:
    """Both segments of a query, in stored order."""

    sides: tuple[Side, Side]

    @property
    def length(self) -> int:
        """Frames of the longer one."""
        return max(side.length for side in self.sides)

    @property
    def hz(self) -> float:
        """Frames per second at speed 1."""
        return self.sides[0].hz


Draw = Callable[[Path, QueryRecord], Pair]


class Studio:
    """Clips on request; one is drawn at a time, in a process (or, `mode="thread"`, in a thread, for tests).

    `draw` must be a module-level function: the process imports it.
    """

    def __init__(self, file: Path, draw: Draw | None = None, *, mode: str = "process") -> None:
        self._file, self._draw, self._mode = file, draw or draw_pair, mode
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="studio")
        self._made: OrderedDict[int, Future[Pair]] = OrderedDict()
        self._process: multiprocessing.process.BaseProcess | None = None
        self._pipe: Connection | None = None
        self._closing = threading.Event()

    def pair(self, record: QueryRecord) -> Future[Pair]:
        """The clips of a query, later; the future raises UserError where they cannot be shown."""
        if record.id not in self._made:
            self._made[record.id] = self._thread.submit(self._make, record)
        self._made.move_to_end(record.id)
        while len(self._made) > KEPT:
            self._made.popitem(last=False)
        return self._made[record.id]

    def forget(self, record: QueryRecord) -> None:
        """Draw this pair anew when it is asked for next."""
        self._made.pop(record.id, None)

    def close(self) -> None:
        """End the process; it has nothing to save."""
        self._closing.set()
        if self._process is not None:
            self._process.kill()
        self._thread.shutdown(wait=True, cancel_futures=True)
        self._drop()

    def _make(self, record: QueryRecord) -> Pair:
        if self._mode == "thread":
            return self._draw(self._file, record)
        try:
            pipe = self._opened()
            pipe.send(record)
            if not pipe.poll(PATIENCE_S):
                raise OSError
            kind, content = pipe.recv()
        except (EOFError, OSError):
            self._drop()
            raise UserError("the clips could not be drawn: the drawing process ended or took too long") from None
        if kind == "failed":
            raise UserError(content)
        return content

    def _opened(self) -> Connection:
        if self._closing.is_set():
            raise OSError
        if self._pipe is None:
            self._pipe, far_end = multiprocessing.Pipe()
            context = multiprocessing.get_context("spawn")
            self._process = context.Process(target=_serve, args=(far_end, self._file, self._draw), daemon=True)
            self._process.start()
            far_end.close()  # ours of the far end, so that the child's death is seen as the end of the pipe
        return self._pipe

    def _drop(self) -> None:
        process, pipe, self._process, self._pipe = self._process, self._pipe, None, None
        if pipe is not None:
            pipe.close()
        if process is not None:
            process.kill()
            process.join(timeout=1.0)


def _serve(pipe: Connection, file: Path, draw: Draw) -> None:
    """The drawing process: one pair after another until the window closes its end; Ctrl-C is left to the window."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"
    try:
        while True:
            record = pipe.recv()
            try:
                message: tuple[str, Any] = ("pair", draw(file, record))
            except Exception as error:  # whatever a clip does must not end the session, only be said
                text = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
                message = ("failed", text)
            pipe.send(message)
    except (EOFError, OSError):
        return


def draw_pair(file: Path, record: QueryRecord) -> Pair:
    """Both segments of a query, played again.

    Args:
        file: the label store; the episodes that its queries were cut from lie beside it.
        record: the query.

    Raises:
        UserError: the episodes are gone or damaged, the task cannot be simulated here, or playing an episode again
            leads elsewhere.
    """
    from contextlib import closing

    from coord.preference.labels import episodes
    from coord.preference.labels.store import LabelStore

    recorded = episodes.load(file.parent, record.session)
    gone = [number for number in record.episode if (record.member, number) not in recorded]
    if gone:
        raise UserError(f"episode {gone[0]} of member {record.member} was not kept: its clip cannot be shown")
    with closing(LabelStore(file, create=False, writes=False)) as store:
        query = store.segments([record.id])
    length = record.length - 2 * record.margin
    query = query.centre(length)
    step = math.ceil(length / MAX_FRAMES)
    first, second = (_side(record, recorded, query, side, length, step) for side in range(2))
    return Pair((first, second))


def _side(record: QueryRecord, recorded: Mapping[Any, Any], query: Any, side: int, length: int, step: int) -> Side:
    from coord.preference.tasks.config import KITCHENS
    from coord.preference.tasks.films import frames_of_segment

    played = recorded[record.member, record.episode[side]]
    start, about, obs = int(query.start[0, side]), record.provenance, query.obs[0, side, 0]
    if about.get("task") == KITCHENS:
        return _kitchen(about, played, start, length, step, obs)
    return Film(frames_of_segment(about, played, start, length, SIZE, expected=obs)[::step])


def _kitchen(about: Mapping[str, Any], played: Any, start: int, length: int, step: int, obs: Any) -> Kitchen:
    from coord.overcooked import load_layout
    from coord.overcooked.frames import states_of_kitchen

    where = {name: about[name] for name in ("layout", "rules", "horizon")}
    states = states_of_kitchen(
        joint_acts=played.act, start=start, length=length, seat=played.seed, expected=obs, **where
    )
    return Kitchen(tuple(load_layout(about["layout"]).grid), tuple(states[::step]), played.seed)
