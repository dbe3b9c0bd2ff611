"""`coord study`: check a study file, lead a participant through it, report, and delete who withdraws."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from coord.errors import UserError

if TYPE_CHECKING:
    from play.study.run import Study

HELP = "run a study with people: consent, games with blinded partners, questions, report"
EXAMPLES = (
    "coord study check configs/study/example.yaml",
    "coord study run configs/study/example.yaml",
    "coord study report configs/study/example.yaml out=study-report",
    "coord study withdraw participant=p-1a2b3c4d",
)


@dataclass(frozen=True, kw_only=True)
class StudyConfig:
    """A study with people, from one file (configs/study/example.yaml is one that runs as it is)."""

    what: Literal["check", "run", "report", "withdraw"] = "check"  # check, run, report or withdraw
    file: str | None = None  # the study file
    data: str | None = None  # recordings file; null: $COORD_DATA, else coord/games.sqlite in the user's data folder
    participant: str | None = None  # withdraw: the id whose data are to be deleted
    out: str = "study-report"  # report: folder for report.html and the CSV tables
    allow_code: bool = False  # the file may name python: agents, whose code then runs (also: --allow-code)

    def idle(self) -> dict[str, str]:
        """Fields that nothing reads as the others are set, and why."""
        once = ("file", "allow_code")
        read = {"check": once, "run": (*once, "data"), "report": ("file", "data", "out")}
        own = ("what", *read.get(self.what, ("data", "participant")))
        return {
            field.name: f"coord study {self.what} does not read it" for field in fields(self) if field.name not in own
        }


Config = StudyConfig


def run(overrides: Sequence[str]) -> int:
    """Do what the words say; the exit code."""
    from coord.run.config import load

    cfg = load("study", overrides, positional=("what", "file"))
    return _ACTIONS[cfg.what](cfg)


def _study(cfg: StudyConfig) -> Study:
    from play.study.run import load_study

    if cfg.file is None:
        raise UserError(f"coord study {cfg.what} needs a study file, for example configs/study/example.yaml")
    return load_study(cfg.file, allow_code=cfg.allow_code or cfg.what == "report")


def _check(cfg: StudyConfig) -> int:
    """Read the file, load every partner where it is to play, and show what participants will meet."""
    from coord.evaluation.agents import load_agent
    from play.study.run import plan_games

    study = _study(cfg)
    for block in study.blocks:
        for layout, partner in dict.fromkeys(block.conditions):
            load_agent(partner, layout, block.rules)
    people = 24
    plans = [plan_games(study, f"check-{slot}", slot)[0] for slot in range(people)]
    minutes = sum(game.ticks / game.tick_hz for game in plans[0]) / 60
    print(f"{study.title}: {len(plans[0])} games, {minutes:.1f} minutes of play, consent {study.consent_hash[:12]}")
    print(f"\nhow often {people} participants meet each game, by position in its block:")
    for block in study.blocks:
        print(f"  {block.name}")
        for number, (layout, partner) in enumerate(block.conditions):
            met = [game for plan in plans for game in plan if (game.block, game.condition) == (block.name, number)]
            places = Counter(game.position for game in met)
            seats = Counter(game.seat for game in met)
            row = " ".join(f"{places[position]:>3}" for position in range(len(block.conditions)))
            print(f"    {partner:<32} {layout:<26} {row}   seats {seats[0]}/{seats[1]}")
    return 0


def _run(cfg: StudyConfig) -> int:
    _study(cfg)  # what is wrong with the file is better said before a window opens
    from play.app import Options, main
    from play.screens.ways import ToStudy

    path, data = Path(str(cfg.file)), None if cfg.data is None else Path(cfg.data)
    return main(Options(file=data, open_first=ToStudy(path, cfg.allow_code)))


def _report(cfg: StudyConfig) -> int:
    from coord.files import check_folder
    from play.commands.games import open_store
    from play.study.study_page import summary, write_report
    from play.study.study_report import make_report

    check_folder(cfg.out)
    study, store = _study(cfg), open_store(cfg.data)
    try:
        report = make_report(study, store)
    finally:
        store.close()
    paths = write_report(report, Path(cfg.out))
    print(summary(report))
    print(f"written to {paths[0]} and {len(paths) - 1} CSV tables beside it")
    return 0


def _withdraw(cfg: StudyConfig) -> int:
    from play.commands.games import open_store
    from play.study.run import withdraw

    if cfg.participant is None:
        raise UserError("coord study withdraw needs participant=<id>")
    store = open_store(cfg.data, writes=True)
    try:
        gone = withdraw(store, cfg.participant)
    finally:
        store.close()
    print(f"deleted of {cfg.participant}: " + ", ".join(f"{count} {table}" for table, count in gone.items()))
    return 0


_ACTIONS: dict[str, Callable[[StudyConfig], int]] = {
    "check": _check,
    "run": _run,
    "report": _report,
    "withdraw": _withdraw,
}
