"""Episodes that queries were cut from, as seeds and actions: enough to play a clip of each segment again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from coord import checkpoint
from coord.control import EpisodeRecord
from coord.errors import UserError
from coord.types import FloatArray

FOLDER = "episodes"  # in the run folder, one file per session


class Played(NamedTuple):
    """One complete episode of a member."""

    seed: int  # of its reset
    act: FloatArray  # [T, A]


def _file(folder: Path, session: int) -> Path:
    return folder / FOLDER / f"session{session}.safetensors"


def save(folder: Path, session: int, episodes: Mapping[tuple[int, int], Played]) -> None:
    """Writes the episodes (member, number) that the queries of a session were cut from, atomically."""
    seeds = {f"{m}.{number}": played.seed for (m, number), played in episodes.items()}
    acts = {f"{m}.{number}": np.asarray(played.act, np.float32) for (m, number), played in episodes.items()}
    checkpoint.save(_file(folder, session), acts, {"kind": "episodes", "seeds": seeds})


def load(folder: Path, session: int) -> dict[tuple[int, int], EpisodeRecord]:
    """The episodes (member, number) of a session's queries, as `coord.control.frames_of` takes them.

    Raises:
        UserError: the file is missing or damaged.
    """
    acts, meta = checkpoint.load(_file(folder, session))
    if meta.get("kind") != "episodes":
        raise UserError(f"{_file(folder, session)} holds no episodes")
    found = {}
    for name, act in acts.items():
        m, _, number = name.partition(".")
        found[int(m), int(number)] = EpisodeRecord(int(meta["seeds"][name]), act.numpy())
    return found
