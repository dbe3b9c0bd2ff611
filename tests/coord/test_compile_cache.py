"""Compiled code goes where it can be written, and a command works where it cannot."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numba
import pytest

from coord import compile_cache
from coord.errors import UserError


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that the package pretends to lie in; a folder for a home lies beside it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv(compile_cache.VARIABLE, "")
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    (tmp_path / "package").mkdir()
    return tmp_path / "package"


def block(folder: Path) -> None:
    """No folder can be made here, whoever asks (the tests may run as root)."""
    folder.write_text("")


def test_a_package_that_can_be_written_is_left_to_numba(package: Path) -> None:
    compile_cache.ensure(package)
    assert os.environ[compile_cache.VARIABLE] == ""


def test_a_read_only_installation_uses_the_home(package: Path, capsys: pytest.CaptureFixture[str]) -> None:
    block(package / "__pycache__")
    compile_cache.ensure(package)
    assert os.environ[compile_cache.VARIABLE] == str(package.parent / "home" / "coord" / "numba")
    assert os.environ[compile_cache.VARIABLE] == numba.config.CACHE_DIR
    assert capsys.readouterr().err == ""


def test_without_any_place_it_is_said_in_one_line(package: Path, capsys: pytest.CaptureFixture[str]) -> None:
    block(package / "__pycache__")
    block(package.parent / "home")
    compile_cache.ensure(package)
    compile_cache.ensure(package)
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "code is compiled anew each time" in err
    assert Path(os.environ[compile_cache.VARIABLE]).is_dir()


def test_without_temporary_files_either_it_is_refused(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    block(package / "__pycache__")
    block(package.parent / "home")
    monkeypatch.setattr("tempfile.tempdir", str(package / "gone"))
    with pytest.raises(UserError, match="compiled code needs a folder"):
        compile_cache.ensure(package)


def test_kitchens_and_networks_are_compiled_without_a_cache(tmp_path: Path) -> None:
    block(tmp_path / "file")
    code = (
        "from coord import compile_cache; compile_cache.ensure();"
        "import coord.overcooked, coord.nets.population, coord.kernels.fused; print('loaded')"
    )
    env = {**os.environ, compile_cache.VARIABLE: str(tmp_path / "file" / "below")}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=120)
    assert done.stdout == "loaded\n", done.stderr
    assert done.stderr.count("\n") == 1
