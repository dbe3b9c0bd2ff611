"""One training run from start, or from its last checkpoint, to its end: logs, progress, checkpoints, Ctrl-C.

Checkpoints are taken between updates and hold everything that training changes, so a run that was killed and resumed on
the same kind of machine ends with the same parameters, bit for bit, as one that was not: it goes on with the number of
threads that it began with (see `coord.threads`). When checkpoints are taken never influences training.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from coord import checkpoint
from coord.algos import ppo
from coord.checkpoint import Savable
from coord.files import SPARE, check_folder
from coord.locks import check_held
from coord.run.interrupt import Interrupt, Interrupted
from coord.run.logger import Logger
from coord.run.progress import Progress, compact
from coord.run.renames import saved_state

STATE_FILE = "ckpt/state.safetensors"
PER_MEMBER = re.compile(r"rollout/(return|success|violations)|(eval|reward)/.*")  # metrics also logged member by member
SAVE_SHARE = 0.05  # saving takes at most this share of the time, whatever save_every_s says


class Learner(Savable, Protocol):
    """What is trained: M members in step."""

    cfg: Any  # has total_steps
    env_step: int  # per member

    @property
    def members(self) -> int:
        """M."""


class Env(Protocol):
    """Where it is trained."""

    def get_state(self) -> dict[str, np.ndarray]:
        """Everything that changes, for exact resume."""

    def set_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Inverse of `get_state`."""


@dataclass
class TrainingJob:
    """A training run that can be resumed."""

    folder: Path  # run folder, already created
    title: str  # for the progress panel
    resume_command: str  # printed when the run is interrupted
    state: Learner
    env: Env
    save_every_s: float = 60.0
    extra: Savable | None = None
    on_update: Callable[[Any], None] = lambda state: None
    train: Callable[[Any, Any, ppo.Hooks], Any] = ppo.train  # continues from wherever state and env are
    shown: Mapping[str, str] = field(default_factory=lambda: {"return": "rollout/return", "entropy": "train/entropy"})
    phase: Callable[[Any], str] = lambda state: ""  # beside the title, such as "pretraining"
    elapsed_s: float = field(default=0.0, init=False)  # training time of earlier parts included

    def tensors(self) -> dict[str, Tensor | np.ndarray]:
        """Everything that a checkpoint holds."""
        out: dict[str, Tensor | np.ndarray] = {f"state.{k}": v for k, v in self.state.state_dict().items()}
        out |= {f"env.{k}": v for k, v in self.env.get_state().items()}
        if self.extra is not None:
            out |= {f"extra.{k}": v for k, v in self.extra.state_dict().items()}
        return out

    def check_space(self) -> None:
        """Raise UserError unless a checkpoint fits beside the one before it."""
        size = sum(value.nbytes for value in self.tensors().values())
        check_folder(self.folder, need=size * 2 + SPARE)

    def save(self) -> None:
        """Writes the checkpoint atomically, if the folder is still there."""
        check_held()
        tensors = self.tensors()
        meta = {"kind": "training", "env_step": self.state.env_step, "elapsed_s": self.elapsed_s}
        checkpoint.save(self.folder / STATE_FILE, tensors, meta)

    def load(self) -> int | None:
        """Goes to the last checkpoint, if there is one; returns its env step."""
        if not (self.folder / STATE_FILE).exists():
            return None
        saved, meta = checkpoint.load(self.folder / STATE_FILE)
        tensors = saved_state(saved)
        self.state.load_state_dict(_under(tensors, "state."))
        self.env.set_state({k: v.numpy() for k, v in _under(tensors, "env.").items()})
        if self.extra is not None:
            self.extra.load_state_dict(_under(tensors, "extra."))
        self.elapsed_s = float(meta["elapsed_s"])
        return self.state.env_step


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}


def _scalars(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Means over members, and the values of each member where they are worth a curve of their own."""
    out = {}
    for key, value in metrics.items():
        values = np.asarray(value, dtype=float).reshape(-1)
        out[key] = float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")
        if len(values) > 1 and PER_MEMBER.fullmatch(key):
            out |= {f"{key}/{m}": float(v) for m, v in enumerate(values)}
    return out


class _Watch:
    """The hooks of one run: log, show, save, stop."""

    def __init__(self, job: TrainingJob, logger: Logger, progress: Progress, interrupt: Interrupt) -> None:
        self.job, self.logger, self.progress, self.interrupt = job, logger, progress, interrupt
        self._last_save = self._last_update = time.monotonic()
        self._save_s = 0.0
        self._last_step = job.state.env_step
        self.show_phase()

    def show_phase(self) -> None:
        """Title and phase on the progress panel."""
        phase = self.job.phase(self.job.state)
        self.progress.title = f"{self.job.title}, {phase}" if phase else self.job.title

    def on_update(self, state: Learner, metrics: dict[str, Any]) -> None:
        """After every update."""
        check_held()
        now = time.monotonic()
        took, self._last_update = now - self._last_update, now
        self.job.elapsed_s += took
        played = (state.env_step - self._last_step) * state.members
        self._last_step = state.env_step
        row = _scalars(metrics) | {"time/steps_per_s": played / took, "time/elapsed_s": self.job.elapsed_s}
        self.logger.log(row, state.env_step)
        self.show_phase()
        shown = {label: row[key] for label, key in self.job.shown.items() if key in row}
        self.progress.update(state.env_step * state.members, shown)
        self.job.on_update(state)
        if now - self._last_save >= self.job.save_every_s and (now - self._last_save) * SAVE_SHARE >= self._save_s:
            self.job.save()
            self._last_save = time.monotonic()
            self._save_s = self._last_save - now

    def should_stop(self, state: Learner) -> bool:
        """After Ctrl-C."""
        return self.interrupt.requested


def run_job(job: TrainingJob) -> Learner:
    """Trains to the end of the budget and leaves a final checkpoint.

    Raises Interrupted (after saving) on Ctrl-C, Diverged on NaN (the last checkpoint stays), UserError on a damaged
    checkpoint, a folder that cannot be written or is deleted meanwhile, or a full disk.
    """
    resumed = job.load()
    job.check_space()
    members = job.state.members
    total, start = job.state.cfg.total_steps * members, job.state.env_step * members
    with (
        Logger(job.folder, resume_step=resumed) as logger,
        Progress(job.title, total, start=start) as progress,
        Interrupt() as interrupt,
    ):
        progress.note(f"{compact(total - start)} steps to go into {job.folder}; tensorboard --logdir {job.folder}")
        watch = _Watch(job, logger, progress, interrupt)
        job.train(job.state, job.env, ppo.Hooks(watch.on_update, watch.should_stop))
        job.save()
        if interrupt.requested and job.state.env_step < job.state.cfg.total_steps:
            raise Interrupted(job.resume_command)
    return job.state
