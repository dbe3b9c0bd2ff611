"""The way into a study from the menu, and what an experimenter does: new participants, resuming, withdrawing."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from coord.errors import UserError
from play.screens.base import FormScreen, message
from play.screens.host import Host
from play.screens.study import StudyScreen
from play.screens.ways import BACK, Open, Replace, Screen, ToStudy
from play.study.run import Study, StudyRun, called, load_study, unfinished, withdraw
from play.view import theme
from play.view.widgets import Button, Text, TextField, Widget


def study_menu(app: Host) -> Screen:
    """Open a study file by name."""
    wish = {"file": app.settings.study or _first_file()}

    def start() -> None:
        app.change(study=wish["file"])
        app.go(Open(ToStudy(Path(wish["file"]).expanduser())))

    def build() -> Sequence[Widget]:
        return [
            Text("A study is one file that leads a person through consent, games and questions.", color=theme.MUTED),
            TextField("Study file", wish["file"], lambda text: wish.update(file=text), on_enter=start),
            Button("Open", start),
            Button("Back", partial(app.go, BACK)),
        ]

    return FormScreen(app, "Study", build)


def _first_file() -> str:
    """A study file that lies close by, else the example that ships, as a suggestion."""
    nearby = sorted(Path.cwd().glob("*study*.y*ml"))
    shipped = importlib.util.find_spec("configs")
    folders = shipped.submodule_search_locations if shipped else None
    examples = sorted(Path(folders[0]).glob("study/*.yaml")) if folders else []
    return str(next(iter([*nearby, *examples]), ""))


def study_screen(app: Host, path: Path, *, allow_code: bool = False) -> Screen:
    """The first page of a study, or why it cannot be run."""
    store = app.preloader.store()
    if store is None:  # a study without a record is no study
        return message(app, "Nothing can be recorded", app.preloader.problem)
    try:
        study = load_study(path, allow_code=allow_code)
        waiting = unfinished(study, store)
    except UserError as err:
        return message(app, "This study cannot be opened", str(err))

    def build() -> Sequence[Widget]:
        rows: list[Widget] = [Button("New participant", lambda: _begin(app, study))]
        rows += [Button(f"Go on as {called(store, who)}", partial(_resume, app, study, who)) for who in waiting]
        return [
            *rows,
            Button("Withdraw a participant", lambda: app.go(Open(withdraw_screen(app)))),
            Button("Back", partial(app.go, BACK)),
        ]

    return FormScreen(app, study.title, build)


def _begin(app: Host, study: Study) -> None:
    _guarded(app, lambda: StudyScreen(app, StudyRun.enrol(study, app.preloader.store())))


def _resume(app: Host, study: Study, who: str) -> None:
    _guarded(app, lambda: StudyScreen(app, StudyRun.resume(study, app.preloader.store(), who)))


def _guarded(app: Host, make: Callable[[], Screen]) -> None:
    try:
        screen = make()
    except UserError as err:
        app.go(Open(message(app, "This study cannot go on", str(err))))
        return
    app.go(Replace(screen))


def withdraw_screen(app: Host) -> FormScreen:
    """Delete all that is kept of one participant."""
    wish = {"who": ""}

    def delete() -> None:
        store = app.preloader.store()
        assert store is not None
        try:
            gone = withdraw(store, wish["who"].strip())
        except UserError as err:
            app.go(Open(message(app, "Nothing was deleted", str(err))))
            return
        app.go(Replace(message(app, "Deleted", ", ".join(f"{count} {table}" for table, count in gone.items()))))

    def build() -> Sequence[Widget]:
        return [
            Text("Everything kept of this person is deleted for good: games, answers and consent.", color=theme.MUTED),
            TextField("Number or code of the last page", wish["who"], lambda text: wish.update(who=text)),
            Button("Delete it all", delete, note="cannot be undone", color=theme.ALERT),
            Button("Back", partial(app.go, BACK)),
        ]

    return FormScreen(app, "Withdraw", build)
