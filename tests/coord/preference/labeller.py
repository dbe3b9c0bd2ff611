"""A scripted annotator in a process of its own, as the labelling window uses the store: claim, think, answer, undo.

    python labeller.py <store> <name> <seed> <log>

Runs until the file <store>.stop appears; every answer that counts as given is a line of the log, and so is every error.
"""

from __future__ import annotations

import json
import random
import sys
import time
from pathlib import Path
from typing import TextIO

from coord.preference.labels.store import Answer, LabelStore


def label(path: Path, name: str, seed: int, log: Path) -> None:
    """Answers whatever is there; takes back every twentieth answer and gives it again."""
    rng, store, stop = random.Random(seed), LabelStore(path), Path(f"{path}.stop")
    with open(log, "w") as file:
        while not stop.exists():
            record = store.claim(name, lease_s=30.0)
            if record is None:
                time.sleep(0.02)
                continue
            revision = store.revision(record.id, name)
            answer(store, file, record.id, name, rng.choice((0.0, 0.5, 1.0)), revision)
            if rng.random() < 0.05:
                revision = store.withdraw(record.id, name)
                answer(store, file, record.id, name, rng.choice((0.0, 1.0)), revision)


def answer(store: LabelStore, file: TextIO, query: int, name: str, target: float, revision: int) -> None:
    """One answer, and its line."""
    new = store.add_answer(Answer(query=query, annotator=name, target=target, revision=revision, response_ms=1.0))
    print(json.dumps([query, revision, target, new]), file=file, flush=True)


if __name__ == "__main__":
    try:
        label(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]))
    except BaseException as error:
        Path(sys.argv[4]).with_suffix(".error").write_text(repr(error))
        raise
