"""Pictures of a query's segments, whatever the task: the same for reports and for those who answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coord.control import EpisodeRecord
from coord.preference.tasks.config import KITCHENS
from coord.types import FloatArray


def check(task: str) -> None:
    """Raise UserError where segments of the task cannot be drawn here."""
    if task != KITCHENS:
        from coord.control import task_spec
        from coord.control.frames import backend

        task_spec(task)
        backend()


def frames_of_segment(
    about: Mapping[str, Any],
    record: EpisodeRecord,
    start: int,
    length: int,
    size: int,
    *,
    expected: FloatArray | None = None,
) -> NDArray[np.uint8]:
    """uint8 [length, H, W, 3]: a stretch of an episode, played again.

    Args:
        about: what the query's provenance says of the task (`TaskConfig.about`).
        record: the episode, see `coord.preference.labels.episodes`.
        start: first step that is shown.
        length: number of steps.
        size: longer side in pixels.
        expected: observation [O] at step `start`: where it is not met, the clip would show something else.

    Raises:
        UserError: the steps are not in the record, the task cannot be drawn here, or `expected` is not met.
    """
    task = str(about.get("task", ""))
    if task == KITCHENS:
        from coord.overcooked.frames import frames_of_kitchen

        where = {name: about[name] for name in ("layout", "rules", "horizon")}
        return frames_of_kitchen(
            joint_acts=record.act.astype(np.int64),
            start=start,
            length=length,
            size=size,
            seat=record.seed,
            expected=expected,
            **where,
        )
    from coord.control import frames_of

    return frames_of(task, record, start, length, size, expected=expected)
