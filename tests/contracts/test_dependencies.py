"""pyproject.toml names what is imported, and nothing else."""

from __future__ import annotations

import re
import sys
import tomllib
from importlib.metadata import packages_distributions

from tests.contracts.house import IMPORTS, PACKAGES, ROOT

# Needed without an import of ours: the ffmpeg that imageio starts, and what torch.utils.tensorboard writes with.
BEHIND_OTHERS = {"imageio-ffmpeg", "stable-baselines3", "tensorboard"}  # sb3 files are read without it
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


EXTRAS = set(PROJECT["optional-dependencies"]) - {"dev"}


def declared() -> list[str]:
    """What an installation with every extra asks for."""
    return [*PROJECT["dependencies"], *(entry for extra in EXTRAS for entry in PROJECT["optional-dependencies"][extra])]


def names(entries: list[str]) -> set[str]:
    return {normal(re.split(r"[<>=!~ \[;]", entry)[0]) for entry in entries}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def imported() -> dict[str, set[str]]:
    """Distribution -> modules of ours that import it."""
    owners = packages_distributions()
    users: dict[str, set[str]] = {}
    for importer, target, _ in IMPORTS:
        top = target.partition(".")[0]
        if top not in sys.stdlib_module_names and top not in (*PACKAGES, "configs"):
            for name in owners.get(top, [f"unknown distribution of {top}"]):
                users.setdefault(normal(name), set()).add(importer)
    return users


def test_everything_imported_is_declared() -> None:
    missing = {name: users for name, users in imported().items() if name not in names(declared())}
    assert not missing


def test_everything_declared_is_used() -> None:
    assert names(declared()) - BEHIND_OTHERS - set(imported()) == set()


def test_developers_have_every_extra() -> None:
    """So that no test is skipped for want of one."""
    entries = {entry for extra in EXTRAS for entry in PROJECT["optional-dependencies"][extra]}
    assert entries <= set(PROJECT["optional-dependencies"]["dev"])
