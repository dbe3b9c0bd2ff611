"""Imports go downwards only, and no layer knows the ones above it; read from the source, nothing is imported."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("coord", "populations", "play")

# The longest matching prefix decides. A module may import its own layer and lower ones.
LAYERS: dict[str, int] = {
    "coord": 0,  # coord/__init__.py: version and environment only
    "coord.types": 0,
    "coord.errors": 0,
    "coord.limits": 0,
    "coord.yaml_files": 0,
    "coord.references": 0,
    "coord.places": 0,
    "coord.compile_cache": 0,
    "coord.schema": 0,
    "coord.seeding": 0,
    "coord.schedules": 0,
    "coord.stats": 0,
    "coord.databases": 0,
    "coord.threads": 0,
    "coord.files": 0,
    "coord.locks": 0,
    "coord.plugins": 0,
    "coord.checkpoint": 0,
    "coord.overcooked": 1,
    "coord.control": 1,
    "coord.nets": 1,
    "coord.kernels": 1,
    "coord.returns": 1,
    "coord.buffers": 1,
    "coord.agents": 2,
    "coord.partner_env": 2,
    "coord.pair_env": 2,
    "coord.rollout": 2,
    "coord.algos": 3,
    "coord.preference": 3,
    "coord.evaluation": 4,
    "coord.studies": 4,
    "coord.bench": 4,
    "coord.single_env": 5,
    "coord.run": 5,
    "coord.__main__": 6,
    "populations": 6,
    "play": 7,
}
PYGAME_PLACES = ("play.view", "play.screens", "play.app")


def source_files() -> list[Path]:
    return sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def is_within(module: str, place: str) -> bool:
    return module == place or module.startswith(place + ".")


def layer(module: str) -> int:
    places = [place for place in LAYERS if is_within(module, place) and (place != "coord" or module == "coord")]
    if not places:
        pytest.fail(f"{module} belongs to no layer; give it a place in LAYERS")
    return LAYERS[max(places, key=len)]


def imports(tree: ast.Module, known: set[str]) -> Iterator[tuple[str, bool]]:
    """(imported module, whether it is imported inside a function); names only for annotations are left out."""
    for node, inside in _walk(tree, inside=False):
        if isinstance(node, ast.Import):
            yield from ((alias.name, inside) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide where a name comes from"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield (full if full in known else str(node.module)), inside


def _walk(node: ast.AST, *, inside: bool) -> Iterator[tuple[ast.AST, bool]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        yield child, inside
        yield from _walk(child, inside=inside or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef))


def all_imports() -> list[tuple[str, str, bool]]:
    files = source_files()
    known = {module_name(path) for path in files}
    found = []
    for path in files:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        found += [(module_name(path), target, inside) for target, inside in imports(tree, known)]
    return found


IMPORTS = all_imports()


def test_imports_go_downwards() -> None:
    ours = [entry for entry in IMPORTS if entry[1].partition(".")[0] in PACKAGES]
    wrong = [
        f"{importer} (L{layer(importer)}) imports {target} (L{layer(target)})"
        for importer, target, _ in ours
        if layer(target) > layer(importer)
    ]
    assert not wrong, "\n".join(wrong)
    assert len(ours) > 50


def test_no_cycles() -> None:
    graph: dict[str, set[str]] = {}
    for importer, target, inside in IMPORTS:
        if target.partition(".")[0] in PACKAGES and not inside and target != importer:
            graph.setdefault(importer, set()).add(target)
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, " -> ".join([*trail, module])
        if module not in done:
            for target in sorted(graph.get(module, ())):
                visit(target, (*trail, module))
            done.add(module)

    for module in sorted(graph):
        visit(module, ())
    assert len(done) > 20


def test_algorithms_do_not_know_preferences() -> None:
    wrong = [entry for entry in IMPORTS if is_within(entry[0], "coord.algos") and "preference" in entry[1]]
    assert not wrong


def test_pygame_only_where_it_draws() -> None:
    users = {importer for importer, target, _ in IMPORTS if target.partition(".")[0] == "pygame"}
    # The PettingZoo environment opens a window on request only, inside the function that draws.
    at_top = {
        importer for importer, target, inside in IMPORTS if target.partition(".")[0] == "pygame" and not inside
    }
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
