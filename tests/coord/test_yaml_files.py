"""YAML of somebody else's: what would take gigabytes, or is no plain data, is one line."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from coord import yaml_files
from coord.errors import UserError
from coord.yaml_files import parse_yaml, read_yaml

LAUGHS = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12))
MERGED = "a0: &a0 {x: 1, y: 2}\n" + "".join(
    f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 9)}]}}\n" for i in range(1, 12)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (LAUGHS, "more than 100000 values, aliases written out"),
        (MERGED, "more than 100000 values, aliases written out"),
        ("a: &a [*a]", "alias within itself"),
        ("[" * 5000 + "]" * 5000, "YAML:1: nests deeper than 40 levels"),
        ("{a: " * 5000 + "}" * 5000, "nests deeper"),
        ("a: !!python/object/apply:os.system [true]", "tag .* is not allowed"),
        ("a: !mine 3", "tag !mine is not allowed"),
        ("a: !!int x", "YAML:1: "),
        ("a: !!binary x", "not allowed"),
        ("a: b\0c", "not YAML"),
        ("a: \ud800", "not YAML"),
        ("a: 1\nb: [", "YAML:.*: not YAML"),
        ("a: 1\n? [1, 2]\n: 3", "YAML:"),
        ("x" * (yaml_files.MAX_BYTES + 1), "longer than 1000000 bytes"),
    ],
)
def test_hostile_text_is_one_line_at_once(text: str, message: str) -> None:
    start = time.monotonic()
    with pytest.raises(UserError, match=message) as caught:
        parse_yaml(text)
    assert time.monotonic() - start < 2
    assert len(str(caught.value)) <= 300
    assert "\n" not in str(caught.value)


def test_text_that_looks_like_something_stays_text() -> None:
    text = "{date: 2024-13-45, day: 2024-01-02, who: 1_2, clock: 1:30, zip: 007, hex: 0x10}"
    assert parse_yaml(text) == {
        "date": "2024-13-45", "day": "2024-01-02", "who": "1_2", "clock": "1:30", "zip": "007", "hex": "0x10",
    }  # fmt: skip
    assert parse_yaml("[1, -2, 0, 1.5, 1e3, .5, true, null]") == [
        1,
        -2,
        0,
        1.5,
        1000.0,
        0.5,
        True,
        None,
    ]
    assert parse_yaml("a: &p [x, y]\nb: *p") == {"a": ["x", "y"], "b": ["x", "y"]}


def test_only_regular_files_of_a_sensible_size_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), tmp_path):
        with pytest.raises(UserError, match="no regular file"):
            read_yaml(path)
    (tmp_path / "big.yaml").write_text("# " + "x" * yaml_files.MAX_BYTES)
    (tmp_path / "latin.yaml").write_bytes(b"a: \xe4")
    (tmp_path / "bom.yaml").write_bytes(b"\xef\xbb\xbfa: 1")
    with pytest.raises(UserError, match="longer than"):
        read_yaml(tmp_path / "big.yaml")
    with pytest.raises(UserError, match="is damaged"):
        read_yaml(tmp_path / "latin.yaml")
    assert read_yaml(tmp_path / "bom.yaml") == {"a": 1}


def test_nothing_else_here_reads_yaml() -> None:
    root = Path(__file__).parents[2]
    readers = ("yaml.safe_load", "yaml.load", "yaml.compose", "SafeLoader", "OmegaConf.load")
    for folder in ("coord", "populations", "play"):
        for path in (root / folder).rglob("*.py"):
            text = path.read_text()
            assert path.name == "yaml_files.py" or not any(name in text for name in readers), path


@pytest.mark.parametrize(
    "text", ["1e3", "1.0", "1_0", "null", "yes", "~", "", " x ", "a: b", "- a", "é", "2024-01-02", "<<"]
)
def test_what_is_written_is_read(text: str) -> None:
    assert parse_yaml(yaml_files.to_yaml({"a": text, text: [1e6, 1e-7, 3]})) == {"a": text, text: [1e6, 1e-7, 3]}
