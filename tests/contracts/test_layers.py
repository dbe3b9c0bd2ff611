"""Imports point one way; read from the source, nothing is imported and nothing is skipped."""

from __future__ import annotations

import ast
import re

import pytest

from tests.contracts.house import IMPORTS, PACKAGES, ROOT, circles, is_within, module_name, room_of, rooms, source_files

PYGAME_PLACES = ("play.view", "play.screens", "play.app")
OURS = [entry for entry in IMPORTS if entry.target.partition(".")[0] in PACKAGES]
ROOMS = rooms()


def test_every_module_has_a_room() -> None:
    homeless = [name for name in map(module_name, source_files()) if not room_of(name, ROOMS)]
    assert not homeless, "give them a row in coord/README.md, Rooms"
    empty = [place for room in ROOMS.values() for place in room.places if not _exists(place)]
    assert not empty
    assert len(ROOMS) > 15


def _exists(place: str) -> bool:
    path = ROOT / place.replace(".", "/")
    return path.is_dir() or path.with_suffix(".py").is_file()


def test_rooms_import_only_what_the_table_allows() -> None:
    arrows: dict[tuple[str, str], str] = {}
    for importer, target, _ in OURS:
        arrows.setdefault((room_of(importer, ROOMS), room_of(target, ROOMS)), f"{importer} imports {target}")
    used = {(one, other) for one, other in arrows if one != other}
    allowed = {(room.name, other) for room in ROOMS.values() for other in room.may}
    assert not used - allowed, [arrows[arrow] for arrow in sorted(used - allowed)]


def test_the_table_points_one_way() -> None:
    assert set().union(*(room.may for room in ROOMS.values())) <= set(ROOMS)
    assert circles({room.name: set(room.may) for room in ROOMS.values()}) == []


def test_no_circle_of_modules() -> None:
    graph: dict[str, set[str]] = {}
    for importer, target, _ in OURS:
        if target != importer:
            graph.setdefault(importer, set()).add(target)
    assert circles(graph) == []
    assert len(graph) > 200


@pytest.mark.parametrize(("package", "above"), [("coord", ("populations", "play")), ("populations", ("play",))])
def test_packages_know_nothing_above_them(package: str, above: tuple[str, ...]) -> None:
    """In no import, and in no string that names a module."""
    known = {module_name(path) for path in source_files()}
    wrong = [f"{one} imports {other}" for one, other, _ in OURS if is_within(one, package) and is_in(other, above)]
    for path in (ROOT / package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                named = re.findall(r"[A-Za-z_]\w*(?:\.\w+)+", node.value)
                theirs = [name for name in named if is_in(name, above) and _named(name, known)]
                wrong += [f"{module_name(path)}: '{name}'" for name in theirs]
    assert not wrong


def is_in(name: str, packages: tuple[str, ...]) -> bool:
    return any(is_within(name, package) for package in packages)


def _named(name: str, known: set[str]) -> bool:
    """Whether a dotted name is a module of ours, or something in one."""
    return name in known or name.rpartition(".")[0] in known - set(PACKAGES)


def test_circles_are_found() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": set()}) == [["a", "b", "c"]]
    assert circles({"a": {"b", "c"}, "b": {"c"}}) == []


def test_algorithms_do_not_know_preferences() -> None:
    wrong = [entry for entry in IMPORTS if is_within(entry.importer, "coord.algos") and "preference" in entry.target]
    assert not wrong


def test_pygame_only_where_it_draws() -> None:
    users = {importer for importer, target, _ in IMPORTS if target.partition(".")[0] == "pygame"}
    # The PettingZoo environment opens a window on request only, inside the function that draws.
    at_top = {one for one, target, inside in IMPORTS if target.partition(".")[0] == "pygame" and not inside}
    lazy = users - at_top
    assert all(any(is_within(user, place) for place in PYGAME_PLACES) for user in at_top), at_top
    assert all(is_within(user, "coord.overcooked") or is_within(user, "play") for user in lazy), lazy


def test_overcooked_ai_behind_one_bridge() -> None:
    users = {importer for importer, target, _ in IMPORTS if target.partition(".")[0] in ("overcooked_ai_py", "gym")}
    assert users <= {"coord.overcooked.oracle"}, users


def test_hydra_behind_the_config_module() -> None:
    users = {importer for importer, target, _ in IMPORTS if target.partition(".")[0] in ("hydra", "omegaconf")}
    assert users == {"coord.run.config"}


def test_nothing_is_pickled() -> None:
    users = {importer for importer, target, _ in IMPORTS if target.partition(".")[0] in ("pickle", "dill", "joblib")}
    # The packaged human games are pickles of overcooked-ai, read by an unpickler that executes nothing; and a partner's
    # worker process is handed its game by its parent. Neither is a file of ours.
    assert users <= {"coord.overcooked.human_data", "play.game.worker"}, users
