"""How an agent is named where one is asked for: `bc_train`, a file, a run folder, a pool, or `<pool>#<member>`."""

from __future__ import annotations

import os
import re

_SCHEME = re.compile(r"([a-z][a-z0-9_]*):(.+)", re.DOTALL)
_OPTIONS = ("obs=", "choose=")  # what may follow a file, after a comma: `onnx:cook.onnx,obs=lossless`


def split_scheme(ref: str) -> tuple[str, str]:
    """`onnx:cook.onnx` as ("onnx", "cook.onnx"); the first is "" for a name, a file or a folder."""
    found = _SCHEME.fullmatch(ref)
    return ("", ref) if found is None or os.path.exists(ref) else (found[1], found[2])


def names_code(ref: str) -> bool:
    """Whether a reference may run code of somebody's: only who types it may say so, no file may."""
    from coord import plugins

    scheme, _ = split_scheme(ref)
    if scheme not in plugins.entries("coord.agents"):
        return False
    return bool(getattr(plugins.find("coord.agents", scheme, "kind of agent"), "RUNS_CODE", True))


def join_options(items: list[str]) -> list[str]:
    """Items of a list of references, the words that belong to one put back to it."""
    joined: list[str] = []
    for item in items:
        if joined and item.startswith(_OPTIONS) and ":" in joined[-1]:
            joined[-1] += f",{item}"
        else:
            joined.append(item)
    return joined


def split_reference(ref: str) -> tuple[str, str]:
    """Path and member of a reference; the member is "" where none is named.

    What lies on the disk under the whole text is meant first: a folder may be called `exp#1`, and `exp#1#ego0` is a
    member of it.
    """
    if "#" not in ref or os.path.exists(ref):
        return ref, ""
    path, _, member = ref.rpartition("#")
    return path, member
