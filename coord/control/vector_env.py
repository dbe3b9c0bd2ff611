"""Control tasks side by side: processes that simulate, shared memory between, exact resume, and crashes that are told.

Row i of S seeds times `num_envs` environments is environment `i % num_envs` of seed `i // num_envs`. Its k-th episode
is a function of that seed, of the environment's number and of k alone, so neither the number of environments nor that
of processes changes what happens in it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from coord import memory
from coord.control.frames import Frame, backend
from coord.control.tasks import EpisodeRecord, Simulation, TaskSpec, build, task_spec
from coord.control.worker import Failure, Group, Lost, RemoteGroup, WorkerSpec, buffer_for, episode_seed, slots_in
from coord.errors import Diverged, UserError
from coord.seeding import derive
from coord.types import BoolArray, FloatArray

MAX_STREAK = 3  # crashes of one environment without a completed step between them


SIMULATION_BYTES = 2**20  # of the smallest task


class ControlStep(NamedTuple):
    """What one step of N environments gives back. An environment that ended has begun its next episode."""

    obs: FloatArray  # [N, O] where an episode ended, the first of the next one
    final_obs: FloatArray  # [N, O] where an episode ended, its last; elsewhere equal to obs
    rew: FloatArray  # [N]
    terminated: BoolArray  # [N] ended by the task
    truncated: BoolArray  # [N] ended by the time limit, or by a crash
    success: BoolArray  # [N] whether the episode (the ended one, where one ended) succeeded at any step so far


class Crash(NamedTuple):
    """An environment that raised, or whose process ended."""

    task: str
    env: int  # row, or -1 for a process that ended while none of its environments was at work
    seed: int  # of the episode
    step: int  # of the episode
    error: str  # last line of the traceback

    def line(self) -> str:
        """One line about it."""
        if self.env < 0:
            return f"{self.task}: a group of environments was lost: {self.error}"
        return f"{self.task}: environment {self.env} (episode seed {self.seed}, step {self.step}) crashed: {self.error}"


class ControlVectorEnv:
    """N environments of one task in `groups` processes.

    Args:
        task: its name, e.g. "walker_walk" or "button-press".
        num_envs: environments for each seed.
        seed: root seed, or several: then N = len(seed) * num_envs rows, those of the first seed first.
        groups: processes that share the rows; 0 simulates in this process.
        on_crash: "stop" raises UserError when an environment crashes; "restart" reports it, truncates its episode and
            goes on with its next one. The crashed step is returned with reward 0 and an unchanged observation.
        report: what is done with the line about a crash; by default it goes to standard error.
        make: how a simulation is made from the task's name; a module-level function, since processes import it.

    Raises:
        UserError: unknown task, missing extra, or an environment that cannot be made.
    """

    def __init__(
        self,
        task: str,
        num_envs: int,
        seed: int | Sequence[int],
        *,
        groups: int = 1,
        on_crash: Literal["stop", "restart"] = "stop",
        report: Callable[[str], None] | None = None,
        make: Callable[[str], Simulation] = build,
    ) -> None:
        self.spec: TaskSpec = task_spec(task) if make is build else make(task).spec
        self.task, self.num_envs = task, num_envs
        memory.check({f"{num_envs} simulations": num_envs * SIMULATION_BYTES}, "lower envs_per_member or members")
        self.obs_dim, self.act_dim = self.spec.obs_dim, self.spec.act_dim
        self.max_episode_steps = self.spec.max_episode_steps
        self.crashes: list[Crash] = []
        seeds = list(seed) if isinstance(seed, Sequence) else [seed]
        self._env_seeds = [derive(root, "env", i) for root in seeds for i in range(num_envs)]
        self.num_rows = len(self._env_seeds)
        self._on_crash, self._report = on_crash, report or _to_stderr
        self._streak = [0] * self.num_rows
        buffer = buffer_for(self.spec, self.num_rows, shared=groups > 0)
        self._slots = slots_in(buffer, self.spec, self.num_rows)
        self._slots.episode[:] = -1
        kind = RemoteGroup if groups else Group
        self._groups: Sequence[Group | RemoteGroup] = [
            kind(WorkerSpec(task, rows, self._env_seeds, self.spec, buffer, make))
            for rows in _shares(self.num_rows, max(groups, 1))
        ]

    @property
    def episode_seeds(self) -> NDArray[np.int64]:
        """Seeds [N] of the running episodes; with the actions given since, an `EpisodeRecord`."""
        return np.array([self._episode_seed(row) for row in range(self.num_rows)])

    def record(self, row: int) -> EpisodeRecord:
        """What the running episode of a row depends on so far."""
        return EpisodeRecord(self._episode_seed(row), self._slots.history[row, : self._slots.steps[row]].copy())

    def reset(self) -> FloatArray:
        """Begin a new episode in every row; its first observation [N, O]."""
        self._slots.episode[:] += 1
        self._run("begin")
        return self._slots.obs.copy()

    def step(self, act: FloatArray) -> ControlStep:
        """One step of every row with act [N, A] in [-1, 1], clipped to it.

        Raises:
            Diverged: an action is not finite.
            UserError: an environment crashed and `on_crash` is "stop", or it crashed `MAX_STREAK` times in a row.
        """
        if np.shape(act) != self._slots.act.shape or self._slots.episode.min() < 0:
            raise ValueError(f"needs reset() before, and actions {self._slots.act.shape}; got {np.shape(act)}")
        if not np.isfinite(act).all():
            raise Diverged(f"{self.task}: an action is not finite")
        slots = self._slots
        slots.act[:] = act
        slots.rew[:] = 0.0
        slots.terminated[:] = slots.truncated[:] = False
        self._end_crashed(self._run("step"))
        return ControlStep(
            slots.obs.copy(),
            slots.final_obs.copy(),
            slots.rew.copy(),
            slots.terminated.copy(),
            slots.truncated.copy(),
            slots.success.copy(),
        )

    def render(self, row: int, size: int = 240) -> Frame:
        """A row as it looks now, uint8 [size, size, 3]. Raises UserError where no frames can be drawn."""
        drawer = backend()
        group = next(group for group in self._groups if row in group.rows)
        try:
            failures, frame = group.render(row, size, drawer)
        except Lost as lost:
            raise UserError(f"{self.task}: cannot draw environment {row}: {lost}") from lost
        if frame is None:
            raise UserError(f"{self.task}: cannot draw environment {row}: {failures[0].error}")
        return frame

    def get_state(self) -> dict[str, NDArray[Any]]:
        """What the running episodes depend on: numbers [N], steps [N], act [N, T, A]; and obs [N, O] to compare."""
        slots = self._slots
        longest = int(slots.steps.max())
        return {
            "episode": slots.episode.copy(),
            "steps": slots.steps.copy(),
            "act": slots.history[:, :longest].copy(),
            "obs": slots.obs.copy(),
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Play the running episodes of a state again, up to where they were.

        On the machine that wrote it the environments then go on bit for bit; where the libraries or the processor
        give other numbers, a line says so.

        Raises:
            UserError: the state is of another number of environments or another task.
        """
        slots = self._slots
        episode, steps, act, obs = (np.asarray(state[name]) for name in ("episode", "steps", "act", "obs"))
        if obs.shape != slots.obs.shape or act.shape[::2] != slots.act.shape:
            raise UserError(
                f"{self.task} with {self.num_rows} environments has observations {slots.obs.shape}, "
                f"the saved state has {obs.shape}"
            )
        slots.episode[:], slots.steps[:] = episode, steps
        slots.history[:, : act.shape[1]] = act
        self._streak = [0] * self.num_rows
        if slots.episode.min() < 0:  # saved before the first episode
            return
        self._run("restore")
        if not np.array_equal(slots.obs, obs):
            gap = float(np.abs(slots.obs - obs).max())
            self._report(
                f"{self.task}: resumed episodes differ by up to {gap:.1g} from the saved ones; "
                "another version of MuJoCo, or another processor?"
            )

    def close(self) -> None:
        """End the processes."""
        for group in self._groups:
            group.close()

    def __enter__(self) -> ControlVectorEnv:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _episode_seed(self, row: int) -> int:
        return episode_seed(self._env_seeds[row], int(self._slots.episode[row]))

    def _run(self, command: str) -> list[Failure]:
        """A command on every row; the rows that failed, told. Raises UserError where that ends the run."""
        self._slots.done[:] = False
        for group in self._groups:
            group.send(command, group.rows)
        failures: list[Failure] = []
        for group in self._groups:
            try:
                failures += self._tell(group.receive().failures, fatal=self._is_fatal(command))
            except Lost as lost:
                failures += self._recover(group, command, str(lost))
        return failures

    def _ask(self, group: Group | RemoteGroup, command: str, rows: Iterable[int]) -> list[Failure]:
        """The same on rows of one group, whose process may not end again."""
        group.send(command, rows)
        try:
            return self._tell(group.receive().failures, fatal=self._is_fatal(command))
        except Lost as lost:
            return self._tell([Failure(-1, str(lost))], fatal=True)

    def _recover(self, group: Group | RemoteGroup, command: str, reason: str) -> list[Failure]:
        """Start a process anew; all its environments but the one at work go on as if it had never ended."""
        busy, done = self._slots.busy, self._slots.done
        guilty = [row for row in group.rows if busy[row]]
        todo = [row for row in group.rows if not busy[row] and not done[row]]
        ready = [row for row in group.rows if done[row] or (command == "step" and row in todo)]
        failures = [Failure(row, reason) for row in guilty]
        self._tell(failures or [Failure(-1, reason)], fatal=self._is_fatal(command if guilty else "step"))
        busy[guilty] = False
        group.restart()
        self._ask(group, "restore", ready)
        return failures + self._ask(group, command, todo)

    def _is_fatal(self, command: str) -> bool:
        """Whether a failure ends the run: an environment that cannot even begin would fail for ever."""
        return self._on_crash == "stop" or command != "step"

    def _tell(self, failures: list[Failure], *, fatal: bool) -> list[Failure]:
        """Remember and report failures. Raises UserError for the first one if it is fatal."""
        for row, error in failures:
            known = (self._episode_seed(row), int(self._slots.steps[row])) if row >= 0 else (0, 0)
            crash = Crash(self.task, row, *known, error)
            self.crashes.append(crash)
            if fatal:
                self.close()
                raise UserError(crash.line())
            self._report(f"{crash.line()}; going on with a new one")
        return failures

    def _end_crashed(self, failures: list[Failure]) -> None:
        """Truncate the episodes of crashed rows, unless they had just ended, and begin their next ones."""
        slots = self._slots
        failed = [failure.row for failure in failures]
        self._streak = [count + 1 if row in failed else 0 for row, count in enumerate(self._streak)]
        for row in failed:
            if self._streak[row] == MAX_STREAK:
                self._tell([Failure(row, f"{MAX_STREAK} times in a row")], fatal=True)
            if not (slots.terminated[row] or slots.truncated[row]):
                slots.truncated[row], slots.success[row] = True, slots.succeeded[row]
                slots.final_obs[row] = slots.obs[row]
            slots.episode[row] += 1
            self._ask(next(group for group in self._groups if row in group.rows), "begin", [row])


def _shares(rows: int, groups: int) -> Iterator[range]:
    """Rows in contiguous shares of nearly equal size."""
    for share in np.array_split(np.arange(rows), min(groups, rows)):
        yield range(int(share[0]), int(share[-1]) + 1)


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr)
