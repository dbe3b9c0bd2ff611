"""What is in the repository belongs there: no path of one machine, no large file, no leftovers."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# A home, scratch or install folder at the beginning of a path (not as a part of a longer one or of an address).
MACHINE_PATH = re.compile(r"(?<![\w.~$)}-])/(?:root|work|home|Users|tmp|opt)/\w")
TOP_LEVEL = {"coord", "populations", "play", "configs", "tests", "README.md"}
PROJECT_FILES = {"pyproject.toml", "constraints.txt", "Makefile", "LICENSE", "CHANGELOG.md"}


def tracked() -> list[Path]:
    done = subprocess.run(["git", "-C", str(ROOT), "ls-files", "-z"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]


def text_of(path: Path) -> str | None:
    """The content of a text file; None for a picture and the like."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return None


def test_no_machine_paths() -> None:
    texts = {path: text for path in tracked() if (text := text_of(path)) is not None}
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:120]}"
        for path, text in texts.items()
        for number, line in enumerate(text.splitlines(), start=1)
        if MACHINE_PATH.search(line)
    ]
    assert not found, "\n".join(found)
    assert len(texts) > 50


def test_the_pattern_finds_what_it_should() -> None:
    for text in ('"/' + "root/x", " /" + "tmp/run", "=/" + "home/me"):
        assert MACHINE_PATH.search(text), text
    for text in ("runs/tmp/x", "https://example.org/home/x", "a/opt/b", "$HOME/work/x"):
        assert not MACHINE_PATH.search(text), text


def test_top_level_is_the_agreed_one() -> None:
    names = {path.relative_to(ROOT).parts[0] for path in tracked()}
    assert {name for name in names if not name.startswith(".")} <= TOP_LEVEL | PROJECT_FILES


def test_no_large_files() -> None:
    large = {path.name: size for path in tracked() if (size := path.stat().st_size) > 2_000_000}
    assert not large
