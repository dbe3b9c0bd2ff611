"""One annotator's labelling session: what is on the screen, which answer is on its way to the disk, what comes next.

No window here and no waiting: `update(now_s)` is called every frame, everything slow runs on the threads of the
queue and the studio. An answer counts as given when it is on the disk; only then does the next pair appear.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from coord.errors import UserError
from play.labelling.clips import Pair, Studio
from play.labelling.report import AnnotatorReport, of_annotator
from play.labelling.tasks import CHOICES, LabellingProgress, QueueThread, Response, Task, TaskQueue

SPEEDS = (0.25, 0.5, 1.0, 2.0, 4.0)
HOLD_S = 0.6  # a clip's last frame stands still before it starts again
AHEAD = 3  # pairs in hand: the one on the screen and the next two, whose clips are drawn meanwhile
POLL_S = 1.0  # between looks at the store while there is nothing to ask
LONGEST_FRAME_S = 0.25  # of a longer gap (another page, a suspended machine) no more counts as looking
BREAK_AFTER_S = 15 * 60.0
FALLBACK_S = 8.0  # what a pair is taken to need before anything is known
TOO_QUICK = "That was quick. The same key again confirms it."
OTHERS = "Somebody else has answered that pair meanwhile; here is the next one."


class Playback:
    """Plays both clips in step, over and over."""

    def __init__(self, length: int, hz: float, speed: float) -> None:
        self.length, self.hz, self.speed = length, hz, speed
        self.position = 0.0  # in frames; runs past the last one while that is held
        self.playing = True
        self.rounds = 0  # how often it came to its end

    @property
    def frame(self) -> int:
        """The frame to be seen, 0 .. length - 1."""
        return min(int(self.position), self.length - 1)

    @property
    def alpha(self) -> float:
        """How far the way to this frame from the one before has gone; 1 while it stands."""
        return 1.0 if not self.playing or self.position >= self.length - 1 else self.position - int(self.position)

    def run(self, seconds: float) -> None:
        """Let that much time pass."""
        if not self.playing:
            return
        self.position += seconds * self.hz * self.speed
        if self.position >= self.length - 1 + HOLD_S * self.hz * self.speed:
            self.rounds += 1
            self.position = 0.0

    def restart(self) -> None:
        """From the first frame."""
        self.position, self.playing = 0.0, True

    def seek(self, frame: int) -> None:
        """Stand at a frame."""
        self.position, self.playing = float(min(max(frame, 0), self.length - 1)), False

    def faster(self, by: int) -> None:
        """The next speed up or down."""
        place = SPEEDS.index(self.speed) + by
        self.speed = SPEEDS[min(max(place, 0), len(SPEEDS) - 1)]


@dataclass
class _Job:
    """Something the queue does, and what to do with its result."""

    kind: str  # take, save, undo, renew or report
    work: Callable[[TaskQueue], Any]
    then: Callable[[Any], None]
    future: Future[Any]


class LabellingSession:
    """One annotator at work.

    Attributes (read only): task, pair, clip_problem, playback, draft, notice, problem, progress, answered, looked_s.
    """

    def __init__(self, queue: QueueThread, studio: Studio, *, min_watch_s: float = 0.5, poll_s: float = POLL_S) -> None:
        self.queue, self.studio, self.min_watch_s, self.poll_s = queue, studio, min_watch_s, poll_s
        self.progress: LabellingProgress | None = None
        self.pair: Pair | None = None  # on the screen
        self.clip_problem = ""  # why the pair on the screen has no clips
        self.problem = ""  # why the store cannot be used; `retry` tries again
        self.notice = ""  # one line for the person
        self.draft = Response(choice="skip")  # flags, reasons and note so far
        self.answered = 0  # in this session
        self.playback = Playback(1, 1.0, 1.0)
        self._tasks: list[Task] = []  # the first one is on the screen
        self._shown: Task | None = None
        self._jobs: list[_Job] = []
        self.looked_s = 0.0  # how long the pair has been looked at, pauses left out
        self._since_break_s = 0.0
        self._replays = 0
        self._doubted = ""  # the choice that was questioned because it came so soon
        self._last_s: float | None = None
        self._next_poll_s = self._next_renewal_s = 0.0

    # -- state -----------------------------------------------------------------------------------------------------

    @property
    def task(self) -> Task | None:
        """The pair on the screen, or about to be."""
        return self._tasks[0] if self._tasks else None

    @property
    def phase(self) -> str:
        """problem, saving, showing, drawing (clips on their way), waiting (nothing to ask now), over or opening."""
        if self.problem:
            return "problem"
        if self._busy("save", "undo"):
            return "saving"
        if self.task is not None:
            return "showing" if self._shown is self.task else "drawing"
        if self.progress is None:
            return "opening"
        return "over" if self.progress.is_over and not self.progress.open else "waiting"

    def _busy(self, *kinds: str) -> bool:
        return any(job.kind in kinds for job in self._jobs)

    @property
    def left_s(self) -> float | None:
        """Estimated seconds until everything that is open is answered; None: not known."""
        if self.progress is None:
            return None
        per_pair = (self.progress.median_ms or FALLBACK_S * 1000) / 1000
        return per_pair * self.progress.open

    @property
    def wants_break(self) -> bool:
        """Whether a quarter of an hour has gone by without a break."""
        return self._since_break_s >= BREAK_AFTER_S

    # -- time ------------------------------------------------------------------------------------------------------

    def update(self, now_s: float) -> None:
        """Move on with the clock; called every frame while the pair is on the screen."""
        passed_s = 0.0 if self._last_s is None else min(now_s - self._last_s, LONGEST_FRAME_S)
        self._last_s = now_s
        self._collect()
        if self.problem:
            return
        self._fill(now_s)
        self._show()
        if self.phase == "showing":
            self.playback.run(passed_s)
            self.looked_s += passed_s
            self._since_break_s += passed_s
            self._keep(now_s)

    def took_break(self) -> None:
        """The person has paused."""
        self._since_break_s = 0.0

    def _collect(self) -> None:
        for job in [job for job in self._jobs if job.future.done()]:
            try:
                result = job.future.result()
            except UserError as error:
                self.problem = str(error)
                return  # the job stays, for `retry`
            self._jobs.remove(job)
            job.then(result)

    def _fill(self, now_s: float) -> None:
        """Have pairs in hand, and their clips drawn."""
        if len(self._tasks) < AHEAD and not self._jobs and now_s >= self._next_poll_s:
            held = tuple(self._tasks)
            self._do("take", lambda queue: (queue.take(held), queue.progress()), self._taken)
            self._next_poll_s = now_s + self.poll_s
        for task in self._tasks[:AHEAD]:
            self.studio.pair(task.record)

    def _keep(self, now_s: float) -> None:
        """Hold what is in hand while the person looks at it."""
        if now_s >= self._next_renewal_s and not self._jobs:
            held = tuple(self._tasks)
            self._do("renew", lambda queue: [task for task in held if not queue.renew(task)], self._lost)
            self._next_renewal_s = now_s + 60.0

    def _show(self) -> None:
        task = self.task
        if task is None or self._shown is task:
            return
        made = self.studio.pair(task.record)
        if not made.done():
            return
        self.pair, self.clip_problem = None, ""
        try:
            self.pair = made.result()
        except UserError as error:
            self.clip_problem = str(error)
        self._shown = task
        self.looked_s, self._replays, self._doubted = 0.0, 0, ""
        self.draft = task.taken_back or Response(choice="skip")
        if self.pair is not None:
            self.playback = Playback(self.pair.length, self.pair.hz, self.playback.speed)

    # -- what the queue gave ---------------------------------------------------------------------------------------

    def _do(self, kind: str, work: Callable[[TaskQueue], Any], then: Callable[[Any], None]) -> None:
        self._jobs.append(_Job(kind, work, then, self.queue.do(work)))

    def _taken(self, result: tuple[Task | None, LabellingProgress]) -> None:
        task, self.progress = result
        if task is not None:
            self._tasks.append(task)
            self._next_poll_s = 0.0

    def _saved(self, task: Task, result: tuple[bool, LabellingProgress]) -> None:
        is_new, self.progress = result
        self.notice = "" if is_new else OTHERS
        self.answered += is_new
        self._next_poll_s = 0.0
        self._tasks = [other for other in self._tasks if other is not task]

    def _undone(self, result: tuple[Task | None, LabellingProgress]) -> None:
        task, self.progress = result
        if task is None:
            self.notice = "There is nothing to take back."
            return
        self._tasks = [task, *(other for other in self._tasks if other.record.id != task.record.id)]
        self.notice = "Taken back: " + SAID[task.taken_back.choice if task.taken_back else "skip"]

    def _lost(self, tasks: list[Task]) -> None:
        if tasks:
            self.notice = OTHERS
        self._tasks = [task for task in self._tasks if task not in tasks]

    # -- what the person does --------------------------------------------------------------------------------------

    def answer(self, choice: str) -> None:
        """Say which is better; nothing happens while another answer is on its way to the disk."""
        if choice not in CHOICES:
            raise ValueError(f"choice must be one of {CHOICES}, got {choice!r}")
        task = self.task
        if task is None or self.phase != "showing":
            return
        if self.clip_problem and choice != "skip":
            self.notice = "There is nothing to judge here: skip this pair."
            return
        if self.looked_s < self.min_watch_s and self._doubted != choice and not self.clip_problem:
            self._doubted, self.notice = choice, TOO_QUICK
            return
        response = replace(self.draft, choice=choice, response_ms=self.looked_s * 1000, shown=self._how_shown())
        self._do("save", lambda queue: (queue.give(task, response), queue.progress()), partial(self._saved, task))

    def _how_shown(self) -> dict[str, Any]:
        shown: dict[str, Any] = {"replays": self._replays, "rounds": self.playback.rounds, "speed": self.playback.speed}
        return shown | ({"not_shown": self.clip_problem} if self.clip_problem else {})

    def undo(self) -> None:
        """Take back the newest answer; again for the one before it, back to the first session."""
        if self.phase in ("showing", "drawing", "waiting", "over"):
            self._do("undo", lambda queue: (queue.undo(), queue.progress()), self._undone)

    def flag(self, side: int) -> None:
        """Mark the left (0) or right (1) clip as unsafe, or no longer."""
        left, right = self.draft.unsafe
        self._change(unsafe=(not left, right) if side == 0 else (left, not right))
        if not any(self.draft.unsafe):
            self._change(reasons=())

    def reason(self, tag: str) -> None:
        """Add a reason, or take it away."""
        reasons = self.draft.reasons
        self._change(reasons=tuple(r for r in reasons if r != tag) if tag in reasons else (*reasons, tag))

    def note(self, text: str) -> None:
        """Keep a note with the answer."""
        self._change(note=text)

    def _change(self, **fields: Any) -> None:
        if self.phase == "showing":
            self.draft = replace(self.draft, **fields)

    def replay(self) -> None:
        """See both clips from the start; for a pair without clips, try to draw them once more."""
        if self.clip_problem and self.task is not None and self.phase == "showing":
            self.studio.forget(self.task.record)
            self._shown = None
            return
        self._replays += 1
        self.playback.restart()

    def retry(self) -> None:
        """Do again what the store refused."""
        if not self.problem:
            return
        self.problem = ""
        for job in self._jobs:
            if job.future.done() and job.future.exception() is not None:
                job.future = self.queue.do(job.work)

    def ask_report(self, then: Callable[[AnnotatorReport | None], None]) -> None:
        """Have this annotator's figures worked out; None before the first answer."""
        if not self._busy("report"):
            self._do("report", lambda queue: of_annotator(queue.store, queue.annotator), then)

    def close(self) -> None:
        """Wait for what is on its way to the disk, then stop."""
        self.studio.close()
        self.queue.close()


SAID = {
    "left": "left is better",
    "right": "right is better",
    "equal": "equally good",
    "skip": "cannot tell",
}
