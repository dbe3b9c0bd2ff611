"""An installed copy is complete: every file of the packages is in the wheel, and the command works from it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.contracts.house import PACKAGES
from tests.contracts.test_tracked_files import ROOT, tracked

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from a copy of the tracked files, so that leftovers of other builds cannot get in."""
    folder = tmp_path_factory.mktemp("wheel")
    for path in tracked():
        target = folder / "source" / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    words = ["wheel", "--quiet", "--no-deps", "--no-build-isolation", f"--wheel-dir={folder}", str(folder / "source")]
    subprocess.run([sys.executable, "-m", "pip", *words], check=True)
    return next(folder.glob("*.whl"))


def test_every_file_of_the_packages_is_inside(wheel: Path) -> None:
    inside = set(zipfile.ZipFile(wheel).namelist())
    ours = {str(path.relative_to(ROOT)) for path in tracked()}
    expected = {name for name in ours if name.split("/")[0] in (*PACKAGES, "configs")}
    missing = sorted(expected - inside)
    assert not missing
    assert not {name for name in inside if name.startswith("tests/")}
    assert len(expected) > 50


def test_commands_and_configs_work_from_it(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    code = (
        "import coord, configs; from coord.run import cli, config;"
        "print(coord.__file__); cfg = config.load('train', ['algo.lr=0.5']); print(cfg.algo.lr); cli.main(['--help'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    place, lr, *_ = done.stdout.splitlines()
    assert place.startswith(str(tmp_path))
    assert lr == "0.5"
