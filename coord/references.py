"""How an agent is named where one is asked for: `bc_train`, a file, a run folder, a pool, or `<pool>#<member>`."""

from __future__ import annotations

import os


def split_reference(ref: str) -> tuple[str, str]:
    """Path and member of a reference; the member is "" where none is named.

    What lies on the disk under the whole text is meant first: a folder may be called `exp#1`, and `exp#1#ego0` is a
    member of it.
    """
    if "#" not in ref or os.path.exists(ref):
        return ref, ""
    path, _, member = ref.rpartition("#")
    return path, member
