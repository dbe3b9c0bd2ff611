"""The commands in our READMEs work.

Every ```bash block follows a comment that says how it is tested:

    <!-- test: run -->                              run as it stands
    <!-- test: run with episodes=2 -->              run with these words added to each `coord` line, to keep it short
    <!-- test: read, takes minutes -->              not run; commands, fields and make targets are looked up

Blocks of one file that run share one folder, in order, so that a later one may use what an earlier one wrote. Every
```python block runs as a program of its own.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from coord import plugins
from coord.run import cli
from tests.contracts.test_help import check_words
from tests.contracts.test_tracked_files import ROOT, tracked

READMES = [path for path in tracked() if path.name == "README.md"]
BLOCK = re.compile(r"(?:<!-- test: (?P<how>[^\n]*?) -->\n+)?```(?:bash|sh|shell|console)\n(?P<code>.*?)```", re.DOTALL)


@dataclass(frozen=True)
class Block:
    """One block of commands: where it stands, how it is tested, what it says."""

    file: Path
    line: int
    how: str
    code: str

    def __str__(self) -> str:
        return f"{self.file.relative_to(ROOT)}:{self.line}"


def blocks_of(path: Path) -> list[Block]:
    text = path.read_text(encoding="utf-8")
    return [
        Block(path, text.count("\n", 0, match.start("code")), match["how"] or "", match["code"])
        for match in BLOCK.finditer(text)
    ]


def commands_of(block: Block) -> list[list[str]]:
    """Words of each command line: comments dropped, continued lines joined, variables at the front left out."""
    lines = block.code.replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def lengthened(block: Block) -> str:
    """The code with the words of `run with ...` at the end of each `coord` line."""
    extra = block.how.removeprefix("run").strip().removeprefix("with").strip()
    lines = block.code.replace("\\\n", " ").splitlines()
    return "\n".join(f"{line.partition(' #')[0]} {extra}" if line.startswith("coord ") else line for line in lines)


BLOCKS = [block for path in READMES for block in blocks_of(path)]


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_block_says_how_it_is_tested_and_names_what_exists(block: Block) -> None:
    assert re.fullmatch(r"run|run with .+|read, .+", block.how), f"{block}: no comment <!-- test: ... --> before it"
    for program, *words in commands_of(block):
        if program == "coord" and words and not words[0].startswith("-"):
            assert words[0] in plugins.entries(cli.COMMANDS), f"{block}: coord {words[0]}"
            if not any(word.startswith(("resume=", "-")) for word in words):
                check_words(words[0], words[1:])
        elif program == "make":
            subprocess.run(["make", "--dry-run", *words], cwd=ROOT, check=True, capture_output=True)


@pytest.mark.slow
@pytest.mark.parametrize("readme", READMES, ids=lambda path: str(path.relative_to(ROOT)))
def test_blocks_run(readme: Path, tmp_path: Path) -> None:
    blocks = [block for block in blocks_of(readme) if block.how.startswith("run")]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for block in blocks:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", lengthened(block)],
            cwd=tmp_path,
            env={**os.environ, "PATH": path, "SDL_VIDEODRIVER": "dummy", "SDL_AUDIODRIVER": "dummy"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{block}\n{lengthened(block)}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"


@pytest.mark.slow
@pytest.mark.parametrize("readme", READMES, ids=lambda path: str(path.relative_to(ROOT)))
def test_python_blocks_run(readme: Path, tmp_path: Path) -> None:
    for code in re.findall(r"```python\n(.*?)```", readme.read_text(encoding="utf-8"), flags=re.DOTALL):
        done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{readme}\n{code}\n{done.stderr}"


def test_the_convention_itself(tmp_path: Path) -> None:
    file = tmp_path / "README.md"
    code = "# one\ncoord train \\\n  out=x  # why\necho a\n"
    file.write_text(f"<!-- test: run with seed=3 -->\n\n```bash\n{code}```\n\n```bash\nls\n```\n")
    first, second = blocks_of(file)
    assert (first.how, first.line, second.how) == ("run with seed=3", 3, "")
    assert commands_of(first) == [["coord", "train", "out=x"], ["echo", "a"]]
    assert lengthened(first).splitlines()[-2:] == ["coord train    out=x  seed=3", "echo a"]
