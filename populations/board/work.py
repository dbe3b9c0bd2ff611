"""Doing a list of trainings and games: what is done stays done, and what fails is noted while the rest goes on."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from coord.errors import Diverged, UserError
from coord.files import check_folder
from coord.locks import locked_folder
from coord.run import cli
from coord.run.interrupt import Interrupted
from coord.run.progress import duration
from coord.threads import set_threads
from populations.board.recipes import TrainingStep


class WorkPlan(Protocol):
    """A list of trainings and games, and what of it is done."""

    work: PlanWorker

    def run(self) -> None:
        """Does what is missing."""


def carry_out(plan: WorkPlan, command: str, show: Callable[[], None]) -> None:
    """Does what is missing of a plan, then shows what there is.

    Raises:
        UserError: what failed, after everything else was done.
        Interrupted: Ctrl-C; all that was finished is kept. command: what goes on from there.
    """
    check_folder(plan.work.out)
    set_threads(plan.work.threads)
    try:
        plan.run()
    except (Interrupted, KeyboardInterrupt) as stopped:
        raise Interrupted(command) from stopped
    if (plan.work.out / "cells").exists():
        show()
    plan.work.check()


@dataclass
class PlanWorker:
    """What of a plan is done in this process; several may work in one folder `out`."""

    out: Path
    threads: int = 0
    say: Callable[[str], None] = print
    failures: list[str] = field(default_factory=list)  # what went wrong, one line each; the rest went on
    began: float = field(default_factory=time.monotonic)

    def tell(self, text: str) -> None:
        """One line, with the time since the start."""
        self.say(f"[{duration(time.monotonic() - self.began)}] {text}")

    def attempt(self, what: str, action: Callable[[], Any]) -> Any:
        """The action's result; None if it failed, which is noted."""
        try:
            return action()
        except (UserError, Diverged) as error:
            self.failures.append(f"{what}: {' '.join(str(error).split())}")
            self.tell(f"FAILED {self.failures[-1]}")
            return None

    def train(self, who: str, step: TrainingStep) -> None:
        """Runs one step, from where it was interrupted if it was; nothing if it is done."""
        if step.result.exists():
            return
        with locked_folder(step.folder, on_wait=lambda who: self.say(f"waiting: {who} trains {step.folder}")):
            if step.result.exists():
                return
            words: Sequence[str] = step.words
            if (step.folder / "config.yaml").exists():
                words = (f"resume={step.folder.as_posix()}",)  # with the number of threads that it began with
            self.tell(f"train for {who}: $ coord {step.command} {' '.join(words)}")
            cli.command_module(step.command).run(list(words))

    def check(self) -> None:
        """Raise UserError for what failed, after all else was done."""
        if self.failures:
            first, *others = self.failures
            more = f" (and {len(others)} more, see above)" if others else ""
            raise UserError(f"all else is done, but {first}{more}")
