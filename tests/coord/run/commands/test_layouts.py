"""`coord layouts`: tables and pictures of kitchens."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from coord.overcooked import layout_names
from coord.overcooked.generator import generate_layouts
from coord.run import cli
from coord.run.media import contact_sheet


def printed(words: list[str], capsys: pytest.CaptureFixture[str]) -> list[str]:
    assert cli.main(["layouts", *words]) == 0
    return capsys.readouterr().out.splitlines()


def test_lists_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    head, *rows = printed([], capsys)
    assert [row.split()[0] for row in rows] == layout_names()
    assert head.split() == ["layout", "size", "cooks", "pots", "onions", "tomatoes", "dishes", "hatches"]
    assert next(row.split()[1:] for row in rows if row.startswith("cramped_room ")) == [
        "5x4",
        "2",
        "1",
        "2",
        "0",
        "1",
        "1",
    ]


def test_generates_and_draws(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "kitchens.png"
    rows = printed(["generate", "count=3", "seed=2", "family=ring", f"out={out}"], capsys)
    assert [row.split()[0] for row in rows[1:-1]] == [
        "generated:ring:2000000",
        "generated:ring:2000001",
        "generated:ring:2000002",
    ]
    assert rows[-1] == f"pictures written to {out}"
    with Image.open(out) as picture:
        widest = max(layout.width for layout in generate_layouts(3, 2))
        assert picture.width >= 30 * widest


def test_bad_words_end_with_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["layouts", "generate", "family=rings"]) == 2
    assert "did you mean 'ring'" in capsys.readouterr().err
    assert cli.main(["layouts", "generate", "count=0"]) == 2
    assert "count=0" in capsys.readouterr().err


def test_contact_sheet_shows_every_picture_whole() -> None:
    pictures = [np.full((10 + i, 20 - i, 3), 10 * i, np.uint8) for i in range(5)]
    sheet = contact_sheet(pictures, gap=4)
    for i, picture in enumerate(pictures):
        assert (sheet == 10 * i).all(-1).sum() == picture.shape[0] * picture.shape[1]
