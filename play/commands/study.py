"""`coord study`: check a study file, lead participants through it, merge computers, report, delete who withdraws."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from annotated_types import Ge, Le

from coord.errors import UserError

if TYPE_CHECKING:
    from play.study.run import Study

HELP = "run a study with people: consent, games with blinded partners, questions, report"
EXAMPLES = (
    "coord study check configs/study/example.yaml",
    "coord study run configs/study/example.yaml",
    "coord study report configs/study/example.yaml out=study-report",
    "coord study withdraw participant=p-1a2b3c4d",
    "coord study run configs/study/example.yaml station=2 stations=4 codes=true",
    "coord study merge configs/study/example.yaml sources=[pc1/games.sqlite,pc2/games.sqlite] data=all.sqlite",
)


@dataclass(frozen=True, kw_only=True)
class StudyConfig:
    """A study with people, from one file (configs/study/example.yaml is one that runs as it is)."""

    what: Literal["check", "run", "report", "withdraw", "merge"] = "check"  # check, run, report, withdraw or merge
    file: str | None = None  # the study file
    # recordings file; null: $COORD_DATA, else coord/games.sqlite in the user's data folder; merge: the new file
    data: str | None = None
    participant: str | None = None  # withdraw: the number or the code whose data are to be deleted
    out: str = "study-report"  # report: folder for report.html and the CSV tables
    fullscreen: bool = True  # run: fill the screen; in either case nothing but the study can be reached
    station: Annotated[int, Ge(1), Le(999)] = 1  # run: which of the lab's computers this is, 1..stations
    stations: Annotated[int, Ge(1), Le(999)] = 1  # run: how many take part; each hands out its share of the orders
    codes: bool = False  # run: ask each participant for the code that the lab has given them
    pin: str | None = None  # run: what the experimenter's page asks for; null: it opens at once
    sources: tuple[str, ...] = ()  # merge: recordings files of the computers
    allow_code: bool = False  # the file may name python: agents, whose code then runs (also: --allow-code)

    def idle(self) -> dict[str, str]:
        """Fields that nothing reads as the others are set, and why."""
        read = {
            "check": ("file", "allow_code"),
            "run": ("file", "data", "fullscreen", "station", "stations", "codes", "pin", "allow_code"),
            "report": ("file", "data", "out"),
            "merge": ("file", "data", "sources"),
            "withdraw": ("data", "participant"),
        }
        own = ("what", *read[self.what])
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
    return load_study(cfg.file, allow_code=cfg.allow_code or cfg.what in ("report", "merge"))


def _check(cfg: StudyConfig) -> int:
    """Read the file, load every partner where it is to play, and show what participants will meet."""
    from play.study.merging import balance_of
    from play.study.run import plan_games
    from play.study.spots import Mistakes

    try:
        study = _study(cfg)
        _load_partners(study)
    except Mistakes as error:
        print("\n".join(error.lines), file=sys.stderr)
        raise UserError(f"{cfg.file}: {len(error.lines)} mistake{'s' * (len(error.lines) > 1)}, listed above") from None
    people = 24
    plans = [plan_games(study, f"check-{slot}", slot)[0] for slot in range(people)]
    minutes = sum(game.ticks / game.tick_hz for game in plans[0]) / 60
    print(f"{study.title}: {len(plans[0])} games, {minutes:.1f} minutes of play, consent {study.consent_hash[:12]}")
    print(f"\nhow often {people} participants meet each game, by position in its block:")
    print("\n".join(balance_of(plans, study)))
    return 0


def _load_partners(study: Study) -> None:
    """Mistakes with a line for each partner that cannot play where it is to."""
    from play.study.spots import gathered

    where = [(partner, layout, block.rules) for block in study.blocks for layout, partner in block.conditions]
    gathered(partial(_load_partner, study, *one) for one in dict.fromkeys(where))


def _load_partner(study: Study, partner: str, layout: str, rules: str) -> None:
    from coord.evaluation.agents import load_agent

    try:
        load_agent(partner, layout, rules)
    except UserError as error:
        raise UserError(f"{study.path}: partner '{partner}' in '{layout}': {error}") from error


def _run(cfg: StudyConfig) -> int:
    from play.app import Options, main
    from play.screens.kiosk import Kiosk, kiosk_screen
    from play.study.run import Station

    study = _study(cfg)  # what is wrong with the file is better said before a window opens
    kiosk = Kiosk(study, Station(cfg.station, cfg.stations), cfg.codes, cfg.pin or "")
    data = None if cfg.data is None else Path(cfg.data)
    print("experimenter: Ctrl+Shift+E in the window to resume or withdraw a participant, or to close it", flush=True)
    return main(
        Options(
            file=data, instead=lambda app: kiosk_screen(app, kiosk), caption="coord study", kiosk=True,
            fullscreen=cfg.fullscreen,
        )
    )  # fmt: skip


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
        raise UserError("coord study withdraw needs participant=<the number or the code of the last page>")
    store = open_store(cfg.data, writes=True)
    try:
        gone = withdraw(store, cfg.participant)
    finally:
        store.close()
    print(f"deleted of {cfg.participant}: " + ", ".join(f"{count} {table}" for table, count in gone.items()))
    return 0


def _merge(cfg: StudyConfig) -> int:
    from play.commands.games import open_store
    from play.study.merging import balance, merge

    study = _study(cfg)
    if cfg.data is None:
        raise UserError("coord study merge needs data=<the new file>")
    merged = merge(study, [Path(source) for source in cfg.sources], Path(cfg.data))
    others = f"; {merged.others} participants of other studies or versions of the file" if merged.others else ""
    answers = f", {merged.moments} answers about moments" if merged.moments else ""
    print(f"{cfg.data}: {merged.people} participants, {merged.games} games{answers}{others}")
    store = open_store(cfg.data)
    try:
        print("\n".join(balance(study, store)))
    finally:
        store.close()
    return 0


_ACTIONS: dict[str, Callable[[StudyConfig], int]] = {
    "check": _check,
    "run": _run,
    "report": _report,
    "withdraw": _withdraw,
    "merge": _merge,
}
