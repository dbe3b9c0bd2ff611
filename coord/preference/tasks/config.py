"""What a task of preference learning is made from, whoever learns it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from coord.preference.labels.answerers import TeacherConfig

KITCHENS = "overcooked"  # the task that has a layout, rules, a horizon and partners


@dataclass(frozen=True, kw_only=True)
class TaskConfig:
    """A control task by its name, or kitchens; M members, each with environments to learn in and to be evaluated in."""

    env: str
    teacher: TeacherConfig  # what it judges by in kitchens
    members: int
    seed: int = 0
    envs_per_member: int = 1
    eval_episodes: int = 5
    env_processes: int = 0
    on_crash: str = "stop"
    layout: str | None = None
    rules: str = "classic"
    horizon: int = 400
    sees_partner: bool = False  # the reward model reads what the partner did
    sees_change: bool = False  # ... and what each tick changed
    sees_moves: bool | None = None  # ... and steps of chefs; None: if the teacher minds them

    @property
    def about(self) -> dict[str, Any]:
        """What the provenance of a query says of the task."""
        if self.env != KITCHENS:
            return {"task": self.env}
        return {"task": self.env, "layout": self.layout, "rules": self.rules, "horizon": self.horizon}
