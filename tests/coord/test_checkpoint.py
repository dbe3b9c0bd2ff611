"""One-file checkpoints: what goes in comes out, damage is named, and a failed write changes nothing."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from coord import checkpoint
from coord.errors import UserError


def some_tensors() -> dict[str, torch.Tensor]:
    base = torch.arange(12, dtype=torch.float32).reshape(3, 4)
    return {
        "float": base,
        "transposed": base.T,  # not contiguous, and shares its memory with "float"
        "scalar": torch.tensor(3),
        "flags": torch.tensor([True, False]),
        "half": torch.ones(2, dtype=torch.bfloat16),
        "empty": torch.zeros(0, 2),
    }


def test_tensors_and_meta_come_back(tmp_path: Path) -> None:
    meta = {"step": 7, "rng": 2**127 + 1, "names": ["a", "ü"], "none": None, "nested": {"x": 0.1}}
    path = tmp_path / "deep" / "a.safetensors"
    digest = checkpoint.save(path, some_tensors() | {"array": np.arange(5, dtype=np.int16)}, meta)

    tensors, loaded = checkpoint.load(path, sha256=digest)

    assert loaded == meta
    assert digest == checkpoint.file_hash(path)
    assert torch.equal(tensors.pop("array"), torch.arange(5, dtype=torch.int16))
    assert set(tensors) == set(some_tensors())
    for name, tensor in some_tensors().items():
        assert tensors[name].dtype == tensor.dtype
        assert torch.equal(tensors[name], tensor), name


def test_same_content_gives_same_bytes(tmp_path: Path) -> None:
    first = checkpoint.save(tmp_path / "a.safetensors", some_tensors(), {"step": 1})
    second = checkpoint.save(tmp_path / "b.safetensors", some_tensors(), {"step": 1})
    assert first == second
    assert first != checkpoint.save(tmp_path / "c.safetensors", some_tensors(), {"step": 2})


def test_provenance_is_complete_and_free_of_machine_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "sys.argv", ["/usr/bin/coord", "train", f"out={tmp_path}/run", "partners=/data/a,/data/b"]
    )
    config = {
        "out": str(tmp_path / "run"),
        "lr": 0.1,
        "partners": ["/data/pool#m1"],
        "inside": str(Path.cwd() / "runs/x"),
    }
    path = tmp_path / "a.safetensors"
    checkpoint.save(path, {}, {"source": Path("/data/games.db"), "grid": "XXPXX\nO  1X"}, config=config)

    document = checkpoint.read_document(path)

    provenance = document["provenance"]
    assert provenance["command"] == "coord train out=run partners=a,b"
    assert provenance["config"] == {"out": "run", "lr": 0.1, "partners": ["pool#m1"], "inside": "runs/x"}
    assert provenance["libraries"]["torch"] == torch.__version__
    assert document["meta"] == {"source": "games.db", "grid": "XXPXX\nO  1X"}
    text = json.dumps(document)
    assert str(tmp_path) not in text
    assert str(Path.cwd()) not in text


@pytest.mark.parametrize(
    ("text", "short"),
    [
        ("north/south", "north/south"),
        ("a / b", "a / b"),
        ("https://example.org/x", "https://example.org/x"),
        ("out='/data/run 1'", "out='run 1'"),
        ("C:\\Users\\me\\run", "run"),
        ("[/a/b, /c/d]", "[b, d]"),
    ],
)
def test_only_absolute_paths_are_shortened(text: str, short: str) -> None:
    assert checkpoint.portable(text) == short


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


def cut_within_header(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:20])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def replaced_by_text(path: Path) -> None:
    path.write_text("just a text that is longer than a header would be")


def foreign(path: Path) -> None:
    safetensors.torch.save_file({"w": torch.ones(2)}, path, metadata={"format": "pt"})


def newer(path: Path) -> None:
    document = {"format_version": checkpoint.FORMAT_VERSION + 1, "meta": {}}
    safetensors.torch.save_file({"w": torch.ones(2)}, path, metadata={"coord": json.dumps(document)})


def one_bit_flipped_in_a_tensor(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def edited_header(path: Path) -> None:
    data = path.read_bytes()
    assert data.count(b'\\"step\\": 5') == 1
    path.write_bytes(data.replace(b'\\"step\\": 5', b'\\"step\\": 9'))


def removed(path: Path) -> None:
    path.unlink()


DAMAGES = {
    truncated: "cut short or damaged",
    cut_within_header: "cut short or damaged",
    emptied: "cut short or damaged",
    replaced_by_text: "cut short or damaged",
    foreign: "not a checkpoint of this project",
    newer: "please update",
    one_bit_flipped_in_a_tensor: "was altered",
    edited_header: "was altered",
    removed: "No such file",
}


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_damage_is_one_clear_line(tmp_path: Path, damage) -> None:
    path = tmp_path / "a.safetensors"
    checkpoint.save(path, {"w": torch.ones(3)}, {"step": 5})
    damage(path)
    with pytest.raises(UserError, match=DAMAGES[damage]) as caught:
        checkpoint.load(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_wrong_file_hash_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    recorded = checkpoint.save(path, {"w": torch.ones(3)}, {})
    checkpoint.save(path, {"w": torch.zeros(3)}, {})  # a valid file, but not the one that was recorded
    with pytest.raises(UserError, match="was altered"):
        checkpoint.load(path, sha256=recorded)


@pytest.mark.parametrize("broken_call", ["fsync", "replace"])
def test_full_disk_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken_call: str
) -> None:
    path = tmp_path / "a.safetensors"
    old = checkpoint.save(path, {"w": torch.ones(3)}, {})

    def no_space(*args: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, broken_call, no_space)
    with pytest.raises(UserError, match=r"cannot write .* No space left on device"):
        checkpoint.save(path, {"w": torch.zeros(3)}, {})

    assert checkpoint.file_hash(path) == old
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.safetensors"]


def test_interruption_while_writing_leaves_no_temporary_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def second_ctrl_c(handle: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", second_ctrl_c)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.save(tmp_path / "a.safetensors", {"w": torch.ones(3)}, {})
    assert list(tmp_path.iterdir()) == []
