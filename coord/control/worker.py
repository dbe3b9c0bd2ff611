"""One group of simulated environments, in this process or in one of its own, over memory that both sides see.

The memory also holds what the running episodes depend on (number and actions). A process that ends takes only the
environment with it that was at work: its successor plays the others to where they were.
"""

from __future__ import annotations

import multiprocessing
import signal
import traceback
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from coord.control.frames import Frame, Offscreen
from coord.control.tasks import Simulation, TaskSpec
from coord.seeding import derive

Make = Callable[[str], Simulation]
_CONTEXT = multiprocessing.get_context("spawn")  # a fork would inherit the threads of torch and numba
_ALIGN = 64  # bytes, a cache line
_CLOSE_S = 5.0


class Slots(NamedTuple):
    """All that the two sides tell each other. N rows, O observation, A action, T steps of an episode."""

    act: NDArray[np.float32]  # [N, A]
    obs: NDArray[np.float32]  # [N, O]
    final_obs: NDArray[np.float32]  # [N, O]
    rew: NDArray[np.float32]  # [N]
    terminated: NDArray[np.bool_]  # [N]
    truncated: NDArray[np.bool_]  # [N]
    success: NDArray[np.bool_]  # [N] of the episode that this step belongs to
    episode: NDArray[np.int64]  # [N] number of the running episode, -1 before the first
    steps: NDArray[np.int64]  # [N] steps taken in it
    succeeded: NDArray[np.bool_]  # [N] whether it has succeeded
    history: NDArray[np.float32]  # [N, T, A] its actions
    busy: NDArray[np.bool_]  # [N] its simulation is at work
    done: NDArray[np.bool_]  # [N] the latest command was carried out


class Failure(NamedTuple):
    """What went wrong with a row; -1 stands for the process itself."""

    row: int
    error: str  # last line of the traceback


class Reply(NamedTuple):
    """Answer to a command."""

    failures: list[Failure]
    frame: Frame | None = None


class Lost(Exception):
    """The process of a group ended; the text says how."""


@dataclass(frozen=True)
class WorkerSpec:
    """What a group is about: picklable, so that a process can be given it."""

    task: str
    rows: range
    env_seeds: list[int]  # of all N rows
    spec: TaskSpec
    buffer: Any  # memory of the slots
    make: Make


def episode_seed(env_seed: int, episode: int) -> int:
    """Seed of an environment's episode."""
    return derive(env_seed, "episode", episode)


def buffer_for(spec: TaskSpec, rows: int, *, shared: bool) -> Any:
    """Zeroed memory for the slots. Shared memory has no name: it vanishes with the last process that uses it."""
    size = sum(_bytes(shape, kind) for shape, kind in _fields(spec, rows).values())
    return _CONTEXT.RawArray("b", size) if shared else bytearray(size)


def slots_in(buffer: Any, spec: TaskSpec, rows: int) -> Slots:
    """The slots as arrays over that memory."""
    arrays, offset = {}, 0
    for name, (shape, kind) in _fields(spec, rows).items():
        arrays[name] = np.ndarray(shape, kind, buffer, offset)
        offset += _bytes(shape, kind)
    return Slots(**arrays)


class Group:
    """Environments of this process. Commands: begin (an episode), step, restore (the running episode), render."""

    def __init__(self, job: WorkerSpec) -> None:
        self.rows = job.rows
        self._job = job
        self._slots = slots_in(job.buffer, job.spec, len(job.env_seeds))
        self._simulations: dict[int, Simulation] = {}
        self._asked: tuple[str, Iterable[int]] = ("", ())

    def send(self, command: str, rows: Iterable[int]) -> None:
        """Ask for a command on some rows."""
        self._asked = (command, rows)

    def receive(self) -> Reply:
        """Carry it out. What an environment raises becomes a failure of its row, and its simulation is dropped."""
        command, rows = self._asked
        failures: list[Failure] = []
        for row in rows:
            self._slots.busy[row] = True
            try:
                _COMMANDS[command](self, row)
                self._slots.done[row] = True
            except Exception as error:
                self._simulations.pop(row, None)
                failures.append(Failure(row, last_line(error)))
            self._slots.busy[row] = False
        return Reply(failures)

    def render(self, row: int, size: int, drawer: str) -> Reply:
        """A row's simulation as it is now."""
        try:
            with Offscreen(self._simulations[row].scene(), size, drawer) as screen:
                return Reply([], screen.frame())
        except Exception as error:
            return Reply([Failure(row, last_line(error))])

    def restart(self) -> None:
        """Drop all simulations."""
        self._simulations.clear()

    def close(self) -> None:
        """End; the same as dropping the simulations."""
        self._simulations.clear()

    def begin(self, row: int) -> None:
        """First observation of the row's running episode."""
        slots = self._slots
        slots.steps[row], slots.succeeded[row] = 0, False
        slots.obs[row] = self._reset(row)

    def step(self, row: int) -> None:
        """One step, and the first observation of the next episode where this one ended."""
        slots, step = self._slots, int(self._slots.steps[row])
        slots.history[row, step] = slots.act[row]
        result = self._simulations[row].step(slots.history[row, step])
        if not (np.isfinite(result.rew) and np.isfinite(result.obs).all()):
            raise ArithmeticError("the simulation gave a reward or an observation that is not finite")
        slots.steps[row] = step + 1
        slots.succeeded[row] |= result.success
        slots.rew[row], slots.final_obs[row], slots.success[row] = result.rew, result.obs, slots.succeeded[row]
        slots.terminated[row] = result.terminated
        slots.truncated[row] = not result.terminated and step + 1 >= self._job.spec.max_episode_steps
        if slots.terminated[row] or slots.truncated[row]:
            slots.episode[row] += 1
            self.begin(row)
        else:
            slots.obs[row] = result.obs

    def restore(self, row: int) -> None:
        """Play the recorded actions of the row's running episode again."""
        slots = self._slots
        obs, success = self._reset(row), False
        for act in slots.history[row, : slots.steps[row]]:
            result = self._simulations[row].step(act)
            obs, success = result.obs, success or result.success
        slots.obs[row], slots.succeeded[row] = obs, success

    def _reset(self, row: int) -> NDArray[np.float32]:
        if row not in self._simulations:
            self._simulations[row] = self._job.make(self._job.task)
        return self._simulations[row].reset(episode_seed(self._job.env_seeds[row], int(self._slots.episode[row])))


_COMMANDS: dict[str, Callable[[Group, int], None]] = {
    "begin": Group.begin,
    "step": Group.step,
    "restore": Group.restore,
}


class RemoteGroup:
    """A group in a process of its own, which ends with this one."""

    def __init__(self, job: WorkerSpec) -> None:
        self.rows = job.rows
        self._job = job
        self.restart()

    def send(self, command: str, rows: Iterable[int]) -> None:
        """Ask for a command on some rows; does not wait."""
        self._send((command, list(rows)))

    def receive(self) -> Reply:
        """The answer to the latest command. Raises Lost if the process ended."""
        try:
            reply: Reply = self._pipe.recv()
        except (EOFError, OSError) as error:
            self._process.join(_CLOSE_S)
            raise Lost(_ending(self._process.exitcode)) from error
        return reply

    def render(self, row: int, size: int, drawer: str) -> Reply:
        """A row's simulation as it is now."""
        self._send(("render", row, size, drawer))
        return self.receive()

    def restart(self) -> None:
        """Start the process, without simulations."""
        self._pipe, far_end = _CONTEXT.Pipe()
        self._process = _CONTEXT.Process(target=_serve, args=(far_end, self._job), daemon=True)
        self._process.start()
        far_end.close()  # else its end would not be noticed here

    def close(self) -> None:
        """End the process."""
        self._pipe.close()
        self._process.join(_CLOSE_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def _send(self, command: tuple[Any, ...]) -> None:
        with suppress(OSError):  # receive() tells that the process has ended
            self._pipe.send(command)


def last_line(error: BaseException) -> str:
    """What Python would print below the traceback, on one line."""
    return " ".join(traceback.format_exception_only(error)[-1].split())


def _serve(pipe: Connection, job: WorkerSpec) -> None:
    """Carry out commands until the other side ends or closes the pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the run ends in its own time
    group = Group(job)
    with suppress(EOFError, OSError):
        while True:
            command, *args = pipe.recv()
            if command == "render":
                pipe.send(group.render(*args))
            else:
                group.send(command, *args)
                pipe.send(group.receive())


def _ending(code: int | None) -> str:
    if code is not None and code < 0:
        return f"its process was ended by {signal.Signals(-code).name}"
    return f"its process ended with exit code {code}"


def _fields(spec: TaskSpec, rows: int) -> dict[str, tuple[tuple[int, ...], type]]:
    obs, act = (rows, spec.obs_dim), (rows, spec.act_dim)
    flag, count = ((rows,), np.bool_), ((rows,), np.int64)
    return {
        "act": (act, np.float32),
        "obs": (obs, np.float32),
        "final_obs": (obs, np.float32),
        "rew": ((rows,), np.float32),
        "terminated": flag,
        "truncated": flag,
        "success": flag,
        "episode": count,
        "steps": count,
        "succeeded": flag,
        "history": ((rows, spec.max_episode_steps, spec.act_dim), np.float32),
        "busy": flag,
        "done": flag,
    }


def _bytes(shape: tuple[int, ...], kind: type) -> int:
    """Room for such an array, rounded up so that the next one begins at a cache line."""
    size = int(np.prod(shape)) * np.dtype(kind).itemsize
    return -(-size // _ALIGN) * _ALIGN
