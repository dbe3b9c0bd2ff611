"""DMControl and Meta-World tasks as seeded vector environments (extra `control`); importing this loads no simulator."""

from __future__ import annotations

from coord.control.frames import frames_of
from coord.control.tasks import EpisodeRecord, TaskSpec, task_names, task_spec
from coord.control.vector_env import ControlStep, ControlVectorEnv, Crash

__all__ = [
    "ControlStep",
    "ControlVectorEnv",
    "Crash",
    "EpisodeRecord",
    "TaskSpec",
    "frames_of",
    "task_names",
    "task_spec",
]
