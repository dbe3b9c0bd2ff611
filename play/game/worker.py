"""A partner that thinks beside the window: newest state in, action out, and no way to freeze the game.

The agent lives in a process of its own (or, in tests, a thread) at the other end of a pipe. At most one state is
with the agent at any time; while it thinks, only the newest further state is kept, so neither side's pipe can fill up
and nothing queues. A worker that does not answer for `hang_s` is killed, one that dies is noticed; both leave a status
that says so, and `restart` brings a fresh one. This module imports neither torch nor numba: the child does, after it
has set its own thread counts, so that the window opens at once and keeps its cores.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import pickle
import signal
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from coord.errors import UserError
from coord.references import split_reference

if TYPE_CHECKING:
    from coord.agents.players import Agent
    from coord.overcooked import Layout


@dataclass(frozen=True)
class PartnerSpec:
    """Which agent, how it draws its actions, and from which seed."""

    ref: str  # built-in name, checkpoint path, pool#member, or <kind>:<what>
    stochastic: bool = True
    seed: int = 0


class GameSpec(NamedTuple):
    """What the worker must know of the game to rebuild its states."""

    layout: Layout
    rules: str
    ticks: int
    seat: int


class PartnerReply(NamedTuple):
    """An action for the state before tick `tick`; `latency_ms` from receiving the state to having the action."""

    tick: int
    action: int
    latency_ms: float


JointAct = tuple[int, ...] | None  # [P] what was played in a tick; None: nothing before, or not known
Loader = Callable[[PartnerSpec, GameSpec], "Agent"]


def load_partner(spec: PartnerSpec, game: GameSpec) -> Agent:
    """The agent behind `spec.ref`. UserError if it cannot be loaded or does not fit the layout."""
    from coord.evaluation.agents import load_agent

    return load_agent(spec.ref, game.layout, game.rules, stochastic=spec.stochastic)


class PartnerWorker:
    """One agent at one seat, in its own process (`mode="process"`) or thread (`mode="thread"`, for tests).

    `status` is "loading" (not ready yet), "ready", "hung" (killed after `hang_s` without an answer, or `load_s`
    without getting ready), "crashed" (ended or raised) or "closed"; `message` has one line about a hang or crash.
    No method blocks. `loader` must be a module-level function: the child imports it.
    """

    def __init__(
        self,
        spec: PartnerSpec,
        game: GameSpec,
        now_s: float,
        *,
        mode: str = "process",
        hang_s: float = 3.0,
        load_s: float = 300.0,
        loader: Loader = load_partner,
        spare: Spare | None = None,
    ) -> None:
        if mode not in _LAUNCH:
            raise ValueError(f"mode must be one of {sorted(_LAUNCH)}, got {mode!r}")
        self.spec = spec
        self.game = game
        self.agent_id = ""
        self.checkpoint_sha256 = ""
        self.latency_ms: float | None = None  # of the newest answer
        self._mode, self._hang_s, self._load_s, self._loader = mode, hang_s, load_s, loader
        self._spare = spare
        self._newest: tuple[int, Mapping[str, Any], JointAct] | None = None  # not sent yet
        self._launch(now_s)

    def _launch(self, now_s: float) -> None:
        self.status, self.message = "loading", ""
        self._busy_since_s: float | None = now_s  # a request, or the loading, is under way since then
        self._answer: PartnerReply | None = None
        self._sent_tick: int | None = None  # of the state that the agent saw last
        # The layout travels as bytes: unpacking it imports much, and must come after the child set its thread counts.
        task = (self.spec, pickle.dumps(self.game), self._loader)
        waiting = self._spare.take() if self._spare is not None else None
        self._process: BaseProcess | None
        if waiting is not None:
            self._process, self._pipe = waiting
            self._pipe.send(task)
            return
        self._pipe, far_end = multiprocessing.Pipe()
        self._process = _LAUNCH[self._mode]((far_end, *task))

    def submit(self, tick: int, state: Mapping[str, Any], joint_act: JointAct, now_s: float) -> None:
        """The newest state, and what was played in the tick before it; replaces a state that was not sent yet."""
        self._newest = (tick, state, joint_act)
        self._send(now_s)

    def poll(self, now_s: float) -> None:
        """Read what arrived, send what waits, notice a hang or an end. Call every frame."""
        if self.status not in ("loading", "ready"):
            return
        try:
            while self.status in ("loading", "ready") and self._pipe.poll():
                self._receive(self._pipe.recv())
        except (EOFError, OSError):
            self._give_up("crashed", "its process ended unexpectedly")
        limit_s = self._load_s if self.status == "loading" else self._hang_s
        if self._busy_since_s is not None and now_s - self._busy_since_s > limit_s:
            self._give_up("hung", f"no answer for {limit_s:g} s")
        self._send(now_s)

    def take(self, tick: int) -> PartnerReply | None:
        """The answer for `tick`, or None if it is not there (late answers to older ticks are dropped)."""
        answer, self._answer = self._answer, None
        return answer if answer is not None and answer.tick == tick else None

    def restart(self, now_s: float) -> None:
        """A fresh agent after a hang or crash; it continues from the newest state."""
        self._stop()
        self._launch(now_s)

    def close(self) -> None:
        """End the worker."""
        self._stop()
        self.status = "closed"

    def _send(self, now_s: float) -> None:
        if self.status != "ready" or self._busy_since_s is not None or self._newest is None:
            return
        tick, state, joint_act = self._newest
        followed = self._sent_tick == tick - 1  # else the agent missed a state, and that tick's actions tell it nothing
        try:
            self._pipe.send((tick, state, joint_act if followed else None))
        except OSError:
            self._give_up("crashed", "its process ended unexpectedly")
            return
        self._newest, self._sent_tick, self._busy_since_s = None, tick, now_s

    def _receive(self, message: tuple[Any, ...]) -> None:
        self._busy_since_s = None
        kind, *content = message
        if kind == "ready":
            self.status = "ready"
            self.agent_id, self.checkpoint_sha256 = content
        elif kind == "action":
            self._answer = PartnerReply(*content)
            self.latency_ms = self._answer.latency_ms
        else:
            self._give_up("crashed", content[0])

    def _give_up(self, status: str, reason: str) -> None:
        self._stop()
        self.status, self.message = status, f"partner '{self.agent_id or self.spec.ref}' {status}: {reason}"

    def _stop(self) -> None:
        """Close the pipe (a thread leaves when it next looks at it) and kill a process: it has nothing to save."""
        self._busy_since_s = None
        self._answer = None
        self._pipe.close()
        if self._process is not None:
            self._process.kill()
            self._process.join(timeout=1.0)
            self._process = None


class Spare:
    """A process that has loaded torch and the compiled rules ahead of time and waits for a partner to become.

    It turns the seconds that a fresh process needs into a moment. `renew` starts one unless one waits already; call
    it while nobody plays, because loading takes a core.
    """

    def __init__(self) -> None:
        self._waiting: tuple[BaseProcess, Connection] | None = None

    def renew(self) -> None:
        """Have a process at hand; returns at once."""
        if self._waiting is not None and self._waiting[0].is_alive():
            return
        self.close()
        pipe, far_end = multiprocessing.Pipe()
        self._waiting = (_launch_process((far_end,), _wait_alone), pipe)

    def take(self) -> tuple[BaseProcess, Connection] | None:
        """The waiting process and our end of its pipe, which are the caller's from now on; None if there is none."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting[0].is_alive():
            waiting[1].close()
            return None
        return waiting

    def close(self) -> None:
        """End the process if one waits."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting[1].close()
            waiting[0].kill()
            waiting[0].join(timeout=1.0)


def _launch_process(arguments: tuple[Any, ...], target: Callable[..., None] | None = None) -> BaseProcess:
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=target or _serve_alone, args=arguments, daemon=True)
    process.start()
    arguments[0].close()  # ours of the far end, so that the child's death is seen as the end of the pipe
    return process


def _launch_thread(arguments: tuple[Any, ...]) -> None:
    threading.Thread(target=_serve, args=arguments, daemon=True).start()


_LAUNCH: dict[str, Callable[[tuple[Any, ...]], BaseProcess | None]] = {
    "process": _launch_process,
    "thread": _launch_thread,
}


def _serve_alone(pipe: Connection, spec: PartnerSpec, game: bytes, loader: Loader) -> None:
    """`_serve` as the whole life of a process: one thread per library, Ctrl-C left to the window."""
    _settle()
    _serve(pipe, spec, game, loader)


def _wait_alone(pipe: Connection) -> None:
    """The life of a spare: load and compile what any partner needs, wait for a task, then serve."""
    _settle()
    from coord.overcooked import load_layout

    for rules in ("classic", "overcooked-ai"):
        game = GameSpec(load_layout("cramped_room"), rules, 10, 0)
        _Mind(PartnerSpec("greedy"), game, load_partner)
    try:
        task = pipe.recv()
    except (EOFError, OSError):
        return  # the window was closed without another game
    _serve(pipe, *task)


def _settle() -> None:
    """One thread for torch (numba's is set in `_Mind`), Ctrl-C left to the window."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"


def _serve(pipe: Connection, spec: PartnerSpec, game: bytes, loader: Loader) -> None:
    """Answer states until the other end closes; an exception is sent as ("failed", one line)."""
    try:
        mind = _Mind(spec, pickle.loads(game), loader)
        pipe.send(("ready", mind.agent.agent_id, checkpoint_hash(spec.ref, mind.agent)))
        while True:
            tick, state, joint_act = pipe.recv()
            begun_s = time.perf_counter()
            action = mind.act(state, joint_act)
            pipe.send(("action", tick, action, (time.perf_counter() - begun_s) * 1e3))
    except (EOFError, OSError):
        pass  # the game is over
    except Exception as error:  # whatever a partner does must not end the game, only its own part in it
        with suppress(OSError):  # unless nobody listens any more
            pipe.send(("failed", str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"))
    finally:
        pipe.close()


class _Mind:
    """The agent with a kitchen of its own, in which it looks at the states it is sent."""

    def __init__(self, spec: PartnerSpec, game: GameSpec, loader: Loader) -> None:
        import numba
        import numpy as np

        from coord.agents.views import KitchenView
        from coord.overcooked import OvercookedVectorEnv

        numba.set_num_threads(1)
        # This horizon, not the session's endless one: agents may see how many ticks are left.
        self.env = OvercookedVectorEnv(game.layout, 1, horizon=game.ticks, rules=game.rules, seed=spec.seed)
        self.env.reset()
        self.view = KitchenView(self.env)
        self.row, self.seat = np.array([0]), np.array([game.seat])
        self.agent = loader(spec, game)
        self._begin(spec.seed)
        self.act(self.env.state_dict(0), None)  # warm up: compile, allocate
        self._begin(spec.seed)

    def _begin(self, seed: int) -> None:
        self.agent.start(1, self.env.num_players, seed)
        self.agent.begin_episode(self.row)

    def act(self, state: Mapping[str, Any], joint_act: JointAct) -> int:
        """Action number in this state, which followed `joint_act`."""
        self.env.load_state_dict(0, state)
        self.view.invalidate()
        if joint_act is not None:
            self.view.last_joint_act[0] = joint_act
        return int(self.agent.act(self.view, self.row, self.seat)[0])


def checkpoint_hash(ref: str, agent: Agent) -> str:
    """SHA-256 of the file behind an agent reference; of its parameters for a clone made here; "" for scripts."""
    from coord import checkpoint
    from coord.agents import files
    from coord.agents.policy import FrozenPolicy
    from coord.evaluation.agents import AGENT_FILE

    folder, member = split_reference(ref)
    if member:
        return next(str(entry["sha256"]) for entry in files.read_manifest(folder) if entry["id"] == member)
    for path in (Path(ref), Path(ref) / AGENT_FILE):
        if path.is_file():
            return checkpoint.file_hash(path)
    if not isinstance(agent, FrozenPolicy):
        return getattr(agent, "sha256", "")
    digest = hashlib.sha256()
    for name, tensor in sorted(agent.net.tensors().items()):
        digest.update(name.encode() + tensor.detach().cpu().numpy().tobytes())
    return digest.hexdigest()
