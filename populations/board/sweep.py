"""`coord <command> -m seed=1,2,3 layout=a,b`: every combination, one after the other, each in a folder of its own.

The folders lie under `out=` (else `runs/multirun/<command>-<hash of the words>`) and are called by what differs, as
`layout=a,seed=1`. As on the scoreboard, what is done stays done, an interrupted training goes on, a job that fails is
noted while the others run, and several processes may share the work.
"""

from __future__ import annotations

import hashlib
import itertools
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from coord.errors import UserError
from coord.files import atomic_write_text
from coord.run import cli
from coord.run.config import resolved
from coord.run.convert import split_items
from populations.board.recipes import TrainingStep
from populations.board.work import PlanWorker, carry_out

DONE = ".done"  # in a job's folder, with its command
MAX_JOBS = 10_000
NAME_LIMIT = 120  # characters of a folder's name


def run(command: str, words: Sequence[str]) -> int:
    """Do all jobs of a sweep; the exit code.

    Raises:
        UserError: words that a job does not understand, before anything is done; or what failed, after all else was.
    """
    module = cli.command_module(command)
    sweep = Sweep(command, jobs_of(command, words), base_of(command, words))
    for job in sweep.jobs:
        resolved(module.run, job.words)
    carry_out(sweep, shlex.join(["coord", command, "-m", *words]), lambda: None)
    print(f"{len(sweep.jobs)} jobs in {sweep.work.out}")
    return 0


@dataclass
class Sweep:
    """The jobs as a plan; see `populations.board.work`."""

    command: str
    jobs: list[TrainingStep]
    out: Path
    work: PlanWorker = field(init=False)

    def __post_init__(self) -> None:
        self.work = PlanWorker(self.out)

    def run(self) -> None:
        """Does what is missing."""
        for number, job in enumerate(self.jobs, start=1):
            what = f"job {number} of {len(self.jobs)}, {job.folder.name}"
            self.work.attempt(what, partial(self._do, what, job))

    def _do(self, what: str, job: TrainingStep) -> None:
        self.work.train(what, job)
        atomic_write_text(job.result, f"{job.text}\n")


def base_of(command: str, words: Sequence[str]) -> Path:
    """The folder of a sweep."""
    out = _value("out", words)
    if out:
        return Path(out).with_suffix("")
    return Path("runs/multirun") / f"{command}-{hashlib.sha256(chr(0).join(words).encode()).hexdigest()[:8]}"


def jobs_of(command: str, words: Sequence[str]) -> list[TrainingStep]:
    """One step per combination of the values that words list.

    Raises:
        UserError: too many of them, or a sweep over what makes no sense.
    """
    fixed = [word for word in words if not word.startswith("out=")]
    if any(word.startswith("resume=") for word in words):
        raise UserError("resume= continues one run; the same -m line again goes on with a sweep")
    ranges = [list(values_of(word)) for word in fixed]
    count = 1
    for values in ranges:
        count *= len(values)
    if count > MAX_JOBS:
        raise UserError(f"a sweep over {count} combinations: at most {MAX_JOBS} are done")
    base, out = base_of(command, words), Path(_value("out", words) or "")
    steps: list[TrainingStep] = []
    for chosen in itertools.product(*ranges):
        swept = [word for word, values in zip(chosen, ranges, strict=True) if len(values) > 1]
        folder = base / (re.sub(r"[^\w.,=+-]", "_", ",".join(sorted(swept)))[:NAME_LIMIT] or "job")
        if folder in [step.folder for step in steps]:
            folder = folder.with_name(f"{folder.name[: NAME_LIMIT - 6]}-{len(steps)}")
        place = folder / out.name if out.suffix else folder
        steps.append(TrainingStep(command, (*chosen, f"out={place.as_posix()}"), folder, folder / DONE, "job"))
    return steps


def values_of(word: str) -> Iterator[str]:
    """`seed=1,2` as `seed=1` and `seed=2`, also `range(1,3)` and `choice(a,b)`; a list in brackets is one value."""
    name, mark, text = word.partition("=")
    if not mark:
        yield word
        return
    called = re.fullmatch(r"(range|choice)\((.*)\)", text)
    items = split_items(called[2] if called else text)
    if called and called[1] == "range":
        try:
            numbers = range(*map(int, items))
        except (TypeError, ValueError) as error:
            raise UserError(f"{word}: expected range(start,stop) or range(start,stop,step), whole numbers") from error
        items = [str(number) for number in itertools.islice(numbers, MAX_JOBS + 1)]
    if text.startswith("[") or (len(items) < 2 and not called):
        yield word
        return
    if not items:
        raise UserError(f"{word}: there is nothing to sweep over")
    for item in items:
        yield f"{name}={item}"


def _value(name: str, words: Sequence[str]) -> str:
    """What a word says of a field; "" if none does."""
    found = [word.partition("=")[2] for word in words if word.startswith(f"{name}=")]
    return found[-1] if found else ""
