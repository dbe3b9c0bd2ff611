"""`coord label`: people compare clips in a window; `coord label report`: how consistently they did."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from annotated_types import Ge, Le

from coord.errors import UserError
from coord.limits import Seconds, Share

if TYPE_CHECKING:
    from play.app import App
    from play.screens.ways import Screen

HELP = "compare clips of a run that learns from preferences, in a window"
EXAMPLES = (
    "coord label",
    "coord label runs/pebble annotator=ann",
    "coord label run=runs/kitchen question='Who helps the partner more?' reasons=[collision,discarded_dish]",
    "coord label report store=runs/pebble",
)
STORE_FILE = "labels.sqlite"


@dataclass(frozen=True, kw_only=True)
class LabelConfig:
    """Clips compared in a window, one key per answer, and how consistent the answers are."""

    # window, or report: agreement with oneself, side bias, shares and times of everybody, as text
    what: Literal["window", "report"] = "window"
    # folder of a preference run, or its label store; null: the newest under runs with pairs to answer
    run: str | None = None
    runs: str = "runs"  # folder in which preference runs are looked for
    store: str | None = None  # report: the label store, or its folder; null: that of run
    annotator: str | None = None  # pseudonym of who labels; null: the window asks
    question: str = "Which one is better?"  # shown above the clips
    # tags for unsafe clips, at most nine
    reasons: tuple[str, ...] = ("collision", "blocked_partner", "discarded_dish", "fall", "drowned", "other")
    repeats: Share = 0.05  # share of answers after which an earlier pair is shown once more; 0: never
    min_watch_s: Seconds = 0.5  # an answer sooner than this asks once whether it is meant
    # how long a pair is kept for whoever looks at it before others may get it
    lease_s: Annotated[float, Ge(10), Le(31_536_000)] = 300.0

    def __post_init__(self) -> None:
        if not 1 <= len(self.reasons) <= 9:
            raise UserError(f"reasons: from 1 to 9 tags, one per digit key; got {len(self.reasons)}")

    def idle(self) -> dict[str, str]:
        """Fields that nothing reads as the others are set, and why."""
        if self.what == "window":
            return {}
        window = ("annotator", "question", "reasons", "repeats", "min_watch_s", "lease_s")
        return dict.fromkeys(window, "it is for the window; the report is about all answers of a store")


Config = LabelConfig


def run(overrides: Sequence[str]) -> int:
    """Open the window, or print the report; 0 when it is closed. UserError without a display or a store."""
    from coord.run.config import load

    words = list(overrides)
    if words and "=" not in words[0] and words[0] not in ("window", "report"):
        words[0] = f"run={words[0]}"  # a folder needs no name
    cfg = load("label", words, positional=("what",))
    if cfg.what == "report":
        print(report(_file(cfg.store or cfg.run, cfg.runs)))
        return 0
    from play.app import Options, main

    file = _file(cfg.run or cfg.store, cfg.runs)
    check(file)
    return main(Options(instead=_first(cfg, file), caption="coord label", folders=(), cooks=False))


def report(file: Path) -> str:
    """How consistently people labelled, as text. UserError: no store, or nobody has answered anything."""
    from contextlib import closing

    from coord.preference.labels.store import LabelStore
    from play.labelling.report import text

    with closing(LabelStore(file, create=False, writes=False)) as store:
        return text(store)


def check(file: Path) -> None:
    """Open the store once, so that a damaged or newer one is said in the terminal and no window opens."""
    from coord.preference.labels.store import LabelStore

    LabelStore(file, create=False).close()


def newest_waiting(runs: Path) -> Path:
    """The label store under `runs` that was written last among those with pairs to answer.

    Raises:
        UserError: there is none.
    """
    from contextlib import closing

    from coord.preference.labels.store import LabelStore

    notes = []
    for file in sorted(runs.glob(f"**/{STORE_FILE}"), key=_written, reverse=True):
        try:
            with closing(LabelStore(file, create=False)) as store:
                if store.pending():
                    return file
        except UserError as error:
            notes.append(str(error))
    others = f" ({'; '.join(notes)})" if notes else ""
    raise UserError(
        f"no run under '{runs}' has pairs to compare{others}; start one with "
        "'coord prefer env=walker_walk method=pebble answerer=human', or name a folder: coord label run=<folder>"
    )


def _written(file: Path) -> float:
    """When a store was written last: new rows lie in the log beside it for a while."""
    log = file.with_name(file.name + "-wal")
    return max(path.stat().st_mtime for path in (file, log) if path.exists())


def _file(name: str | None, runs: str) -> Path:
    if name is None:
        return newest_waiting(Path(runs))
    path = Path(name)
    file = path / STORE_FILE if path.is_dir() else path
    if not path.exists():
        raise UserError(f"no run folder '{name}'")
    if not file.is_file():
        raise UserError(f"'{name}' holds no {STORE_FILE}: it is no run of coord prefer, or it has not begun yet")
    return file


def _first(cfg: LabelConfig, file: Path) -> Callable[[App], Screen]:
    """The window's first page: the clips, or the question who labels."""
    from play.labelling.clips import Studio
    from play.labelling.session import LabellingSession
    from play.labelling.store_queue import StoreQueue
    from play.labelling.tasks import QueueThread, checked_name
    from play.screens.label import LabelScreen
    from play.screens.label_pages import start_page

    title = file.parent.resolve().name

    def begin(app: App, name: str) -> Screen:
        thread = QueueThread(lambda: StoreQueue(file, name, repeat_share=cfg.repeats, lease_s=cfg.lease_s))
        session = LabellingSession(thread, Studio(file), min_watch_s=cfg.min_watch_s)
        return LabelScreen(app, session, title=title, question=cfg.question, reasons=cfg.reasons)

    if cfg.annotator is None:
        return lambda app: start_page(app, title, lambda name: begin(app, name))
    known = checked_name(cfg.annotator)
    return lambda app: begin(app, known)
