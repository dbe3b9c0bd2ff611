"""Checkpoints that survive: one safetensors file each, written atomically (see files.py).

A checkpoint holds tensors plus one JSON document in the header of the same file, so the two cannot drift
apart. Nothing is ever pickled.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
import re
import subprocess
import sys
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import safetensors
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import Tensor

from coord.errors import UserError
from coord.files import atomic_write_bytes, read_bytes

FORMAT_VERSION = 1
_HEADER_KEY = "coord"
_LIBRARIES = ("torch", "numpy", "numba", "overcooked-ai", "safetensors")
# An absolute POSIX or Windows path standing alone or after one of = , ; ( [ { or a quote or blank.
_ABSOLUTE_PATH = re.compile(r"(?:(?<=^)|(?<=[\s=,;(\[{\"']))(?:/|[A-Za-z]:[\\/])[^\s,;\]})\"']+")


class Savable(Protocol):
    """What is remembered across a kill: a learner, or what a method keeps beside it (such as snapshots of FCP)."""

    def state_dict(self) -> dict[str, Tensor]:
        """Flat mapping of tensors."""

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Inverse of `state_dict`."""


def save(
    path: str | Path,
    tensors: Mapping[str, Tensor | NDArray[Any]],
    meta: Mapping[str, Any],
    *,
    config: Mapping[str, Any] | None = None,
    origin: Mapping[str, Any] | None = None,
) -> str:
    """Write one checkpoint atomically and return the SHA-256 of the file.

    Args:
        path: target, by custom ending in `.safetensors`; missing folders are made.
        tensors: any shapes and dtypes; numpy arrays come back as tensors.
        meta: what JSON can hold (integers of any size). Absolute paths in it are shortened, see `portable`.
        config: the resolved configuration, stored with the provenance.
        origin: the provenance itself, where the usual one (command, state of the checkout) must not enter the bytes.

    Raises:
        UserError: the folder cannot be written or the disk is full; an older file at `path` is untouched.
    """
    plain = {name: _own_tensor(value) for name, value in tensors.items()}
    document = {
        "format_version": FORMAT_VERSION,
        "meta": portable(dict(meta)),
        "provenance": provenance(config) if origin is None else portable(dict(origin)),
    }
    document["sha256"] = _content_hash(plain, document)
    # One header key only: safetensors keeps them in a hash map, so several would come out in random order.
    data = safetensors.torch.save(plain, metadata={_HEADER_KEY: json.dumps(document)})
    atomic_write_bytes(path, data)
    return hashlib.sha256(data).hexdigest()


def load(path: str | Path, *, sha256: str | None = None) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a checkpoint written by `save` as `(tensors, meta)`, on the CPU.

    Args:
        path: the file.
        sha256: when given, the whole file must have this hash (pools keep it in their manifest).

    Raises:
        UserError: no such file, cut short, not one of ours, from a newer version, or altered.
    """
    data = read_bytes(path)
    if sha256 is not None and (found := hashlib.sha256(data).hexdigest()) != sha256:
        raise UserError(f"{path} was altered or cut short: expected SHA-256 {sha256}, got {found}")
    document = _document(path, data)
    tensors = safetensors.torch.load(data)
    if document.pop("sha256", None) != _content_hash(tensors, document):
        raise UserError(f"{path} was altered: its content differs from the hash in its header")
    return tensors, document["meta"]


def read_document(path: str | Path) -> dict[str, Any]:
    """Header of a checkpoint: `format_version`, `meta`, `provenance`, `sha256` (not checked here)."""
    return _document(path, read_bytes(path))


def file_hash(path: str | Path) -> str:
    """SHA-256 of a file as hexadecimal text. UserError if it cannot be read."""
    return hashlib.sha256(read_bytes(path)).hexdigest()


def refuse_non_finite(tensors: Mapping[str, Tensor], source: str) -> None:
    """Raise `UserError` if any number of what is to act or to be learned from is NaN or infinite."""
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise UserError(f"{source}: parameter '{name}' holds NaN or infinity: it is the rest of a failed training")


def provenance(config: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Where a file comes from: code version, libraries, threads, command, configuration; no path of this machine."""
    return {
        "git": git_version(),
        "libraries": library_versions(),
        "threads": torch.get_num_threads(),
        "command": portable(" ".join(["coord", *sys.argv[1:]])),
        "config": portable(dict(config or {})),
    }


@lru_cache(maxsize=1)
def git_version() -> dict[str, Any] | None:
    """`{"sha", "dirty"}` of the checkout this package runs from; None for an installed copy."""
    root = Path(__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return None
    try:
        sha = _git(root, "rev-parse", "HEAD")
        return {"sha": sha, "dirty": bool(_git(root, "status", "--porcelain", "--untracked-files=no"))}
    except (OSError, subprocess.SubprocessError):
        return None


@lru_cache(maxsize=1)
def library_versions() -> dict[str, str]:
    """Versions of Python and of the libraries that can change a result."""
    versions = {"python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "absent"
    return versions


def portable(value: Any) -> Any:
    """Copy of a JSON value in which absolute paths are relative to the working directory, or only a name."""
    if isinstance(value, Mapping):
        return {str(key): portable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [portable(item) for item in value]
    if isinstance(value, Path):
        value = str(value)
    if isinstance(value, str):
        return _ABSOLUTE_PATH.sub(lambda match: _short_path(match.group()), value)
    return value


def _short_path(text: str) -> str:
    try:
        return str(Path(text).relative_to(Path.cwd()))
    except ValueError:
        return re.split(r"[\\/]", text.rstrip("\\/"))[-1]


def _git(root: Path, *args: str) -> str:
    done = subprocess.run(["git", "-C", str(root), *args], capture_output=True, text=True, timeout=10, check=True)
    return done.stdout.strip()


def _own_tensor(value: Tensor | NDArray[Any]) -> Tensor:
    """A contiguous copy on the CPU that shares memory with nothing (safetensors refuses shared storage)."""
    tensor = torch.from_numpy(np.ascontiguousarray(value)) if isinstance(value, np.ndarray) else value
    return tensor.detach().cpu().contiguous().clone()


def _content_hash(tensors: Mapping[str, Tensor], document: Mapping[str, Any]) -> str:
    """SHA-256 over the header document and every tensor (name, dtype, shape, bytes), in order of name."""
    digest = hashlib.sha256(json.dumps(document, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        # A view as bytes also covers the dtypes that numpy lacks (bfloat16).
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _document(path: str | Path, data: bytes) -> dict[str, Any]:
    """The JSON document in the header of a checkpoint's bytes, after the checks that need no tensor."""
    size = int.from_bytes(data[:8], "little")
    try:
        safetensors.deserialize(data)  # checks that every tensor lies within the file
        document = json.loads(json.loads(data[8 : 8 + size])["__metadata__"][_HEADER_KEY])
        version = int(document["format_version"])
        if not isinstance(document["meta"], dict):
            raise TypeError("meta is no mapping")
    except safetensors.SafetensorError as error:
        raise UserError(f"{path} is cut short or damaged: {error}") from error
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise UserError(f"{path} is a safetensors file, but not a checkpoint of this project") from error
    if version > FORMAT_VERSION:
        raise UserError(f"{path} has format {version}, this version reads up to {FORMAT_VERSION}: please update")
    return document
