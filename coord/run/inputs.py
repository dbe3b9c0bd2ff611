"""What a run is made from, kept by hash in its folder, so that it never goes on with something else without a word.

`inputs.json` holds the configuration as it was, the hash of the kitchen, and of whatever a command read besides: its
partners, the agents it began as, people's labels and games. A resumed run compares all of it.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coord.errors import UserError
from coord.files import atomic_write_json, read_text
from coord.run import config as configs

INPUTS_FILE = "inputs.json"
_NOT_COMPARED = ("out", *configs.RESUMABLE, *configs.MENDABLE)

Inputs = Mapping[str, Any]  # field of the configuration -> JSON that differs when what was read differs


def array_hash(*arrays: NDArray[Any]) -> str:
    """SHA-256 of the dtypes, shapes and contents of arrays."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def keep(folder: Path, cfg: Any, read: Inputs) -> None:
    """Write down what a run begins with; read: what its command read."""
    atomic_write_json(folder / INPUTS_FILE, _found(cfg, read))


def compare(folder: Path, cfg: Any, read: Inputs) -> None:
    """Refuse to go on with anything else than what the run began with.

    A run of an older version, which kept nothing, gets a line on stderr, and is compared from now on.

    Raises:
        UserError: which input changed, or the file is damaged.
    """
    path = folder / INPUTS_FILE
    if not path.exists():
        print(f"{folder} does not say what it began with ({INPUTS_FILE}): inputs are not compared", file=sys.stderr)
        keep(folder, cfg, read)
        return
    try:
        before = dict(json.loads(read_text(path)))
    except (ValueError, TypeError, RecursionError) as error:
        raise UserError(f"{path} is damaged: {error}") from error
    now = json.loads(json.dumps(_found(cfg, read)))
    _compare_config(folder, before.pop("config", {}), now.pop("config"))
    for name, value in now.items():
        if before.get(name) != value:
            raise UserError(
                f"{name}={_typed(cfg, name)}: {_difference(before.get(name), value)} since {folder} began; "
                "put back what it was, or start another run with out="
            )


def _found(cfg: Any, read: Inputs) -> dict[str, Any]:
    values = {key: value for key, value in configs.to_dict(cfg).items() if key not in _NOT_COMPARED}
    return {"config": values, **_kitchen(cfg), **read}


def _kitchen(cfg: Any) -> dict[str, Any]:
    from coord.overcooked import load_layout

    layout = getattr(cfg, "layout", None)
    return {} if layout is None else {"layout": load_layout(layout).hash}


def _compare_config(folder: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Only what was known when the run began: a later version may have further fields."""
    kept, found = dict(_leaves(before)), dict(_leaves(now))
    for name, value in kept.items():
        if name in found and found[name] != value:
            text = f"{name}={_short(found[name])}, but the run began with {_short(value)}"
            raise UserError(f"{folder / 'config.yaml'} was changed: {text}; put that back, or start another run")


def _leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _typed(cfg: Any, name: str) -> str:
    value = getattr(cfg, name, "")
    return _short(",".join(value) if isinstance(value, tuple) else value)


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _difference(before: Any, now: Any) -> str:
    """What is different, in words; for agents, see `coord.evaluation.agents.identities`, which of them."""
    if not (isinstance(before, list) and isinstance(now, list)):
        return "this changed"
    if len(before) != len(now):
        return f"there were {len(before)} and now are {len(now)}"
    return next(f"'{found[0]}' changed" for was, found in zip(before, now, strict=True) if was != found)
