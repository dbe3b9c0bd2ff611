"""Importing does no work: headless modules open no window, help needs no torch."""

from __future__ import annotations

import importlib.util
import json
import resource
import subprocess
import sys

from tests.contracts.house import is_within, module_name, source_files
from tests.contracts.test_layers import PYGAME_PLACES

HEAVY = ("torch", "numpy", "numba", "hydra", "omegaconf", "pygame", "tensorboard", "matplotlib", "overcooked_ai_py")


def loaded_after(code: str) -> set[str]:
    """Top-level modules that are loaded after running `code` in a fresh interpreter."""
    code += "\nimport json, sys; print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_headless_modules_do_not_import_pygame() -> None:
    modules = [module_name(path) for path in source_files()]
    # play.bench measures the screens, so it loads them.
    drawing = {name for name in modules if any(is_within(name, place) for place in (*PYGAME_PLACES, "play.bench"))}
    headless = [name for name in modules if name not in drawing and not name.endswith("__main__")]
    assert len(headless) > 40
    assert len(headless) < len(modules)
    assert "pygame" not in loaded_after("\n".join(f"import {name}" for name in headless))


def test_help_loads_nothing_heavy() -> None:
    code = "from coord.run import cli\n" + "\n".join(
        ["cli.overview()", "for name in cli.plugins.entries(cli.COMMANDS): cli.command_module(name)"]
    )
    assert not loaded_after(code) & set(HEAVY)


def test_help_is_instant() -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "coord", "--help"], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    # Processor time, because the machine may be busy with other things.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.5


def test_the_light_layer_stays_light() -> None:
    light = ["coord", "coord.types", "coord.errors", "coord.seeding", "coord.schedules", "coord.files"]
    loaded = loaded_after("\n".join(f"import {name}" for name in light))
    assert not loaded & (set(HEAVY) - {"numpy"})


def test_every_module_has_a_place_on_disk_and_a_docstring() -> None:
    for path in source_files():
        name = module_name(path)
        assert importlib.util.find_spec(name) is not None, name
        assert path.read_text(encoding="utf-8").lstrip().startswith('"""'), f"{name} has no docstring"
