"""`coord label` in a real window with real key presses (Xvfb and xdotool), clips drawn by a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from coord.preference.labels.store import LabelStore
from play.labelling.answers import standing
from tests.play.labelling.test_label_command import kitchen_store
from tests.play.test_window import Desktop, pytestmark, x_server  # noqa: F401  (the mark skips where there is no Xvfb)


@contextmanager
def desktop(folder: Path, *words: str) -> Iterator[Desktop]:
    """`coord label` in a window of its own."""
    with x_server() as display:
        env = {
            **os.environ,
            "DISPLAY": display,
            "SDL_VIDEODRIVER": "x11",
            "SDL_AUDIODRIVER": "dummy",
            "COORD_CONFIG": str(folder / "settings.json"),
        }
        process = subprocess.Popen([sys.executable, "-m", "coord", "label", *words], env=env, cwd=folder)
        try:
            yield Desktop(display, process)
        finally:
            process.kill()
            process.wait(10)


def test_a_person_labels_kitchens(tmp_path: Path) -> None:
    kitchen_store(tmp_path, 3)
    with desktop(tmp_path, f"run={tmp_path}", "min_watch_s=0") as person:
        person.await_page(tmp_path.name)
        person.xdotool("type", "ann")
        person.press("Down", "Return")
        person.await_page("label, showing, 0 done")
        person.press("a")
        person.await_page("label, reasons")
        person.press("1", "Escape")
        person.await_page("label, showing, 0 done")
        person.press("n")
        person.await_page("label, note")
        person.xdotool("type", "in the way")
        person.press("Return", "Right")
        person.await_page("label, showing, 1 done")
        person.press("Left")
        person.await_page("label, showing, 2 done")
        person.press("z")
        person.await_page("label, showing, 1 done")
        person.press("Down")
        person.await_page("label, showing, 2 done")
        person.press("Up")
        person.await_page("label, over, 3 done")
        person.press("Escape", "End", "Return")
        assert person.process.wait(30) == 0
    with closing(LabelStore(tmp_path / "labels.sqlite")) as store:
        rows = standing(store)
    assert [(row["kind"], row["target"] == 0.5) for row in rows] == [
        ("label", False), ("label", True), ("skip", False),
    ]  # fmt: skip
    assert (rows[0]["note"], rows[0]["reasons"]) == ("in the way", ["collision"])
    assert rows[0]["unsafe_first" if rows[0]["provenance"]["left"] == 0 else "unsafe_second"]
