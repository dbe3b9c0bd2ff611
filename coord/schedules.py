"""Values that change with the number of environment steps: shaping, entropy bonus, learning rate."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass


@dataclass(frozen=True)
class Schedule:
    """Straight lines between the points `(steps[i], values[i])`, flat before the first and after the last.

    `Schedule((0,), (0.01,))` is a constant, `Schedule((0, 1000), (1.0, 0.0))` anneals from 1 to 0.

    Raises:
        ValueError: no point, lengths that differ, or steps that do not increase.
    """

    steps: tuple[int, ...] = (0,)
    values: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        if not self.steps or len(self.steps) != len(self.values):
            raise ValueError(f"a schedule needs as many steps as values, got {self.steps} and {self.values}")
        if any(later <= earlier for earlier, later in zip(self.steps, self.steps[1:], strict=False)):
            raise ValueError(f"the steps of a schedule must increase, got {self.steps}")

    def __call__(self, step: float) -> float:
        """Value after `step` environment steps."""
        i = bisect_right(self.steps, step)
        if i == 0:
            return self.values[0]
        if i == len(self.steps):
            return self.values[-1]
        begin, end = self.steps[i - 1], self.steps[i]
        share = (step - begin) / (end - begin)
        return self.values[i - 1] + share * (self.values[i] - self.values[i - 1])


def linear(start: float, end: float, num_steps: int) -> Schedule:
    """From `start` at step 0 to `end` at `num_steps`, then `end`; no steps at all: `end` from the beginning."""
    return Schedule((0, num_steps), (start, end)) if num_steps > 0 else Schedule((0,), (end,))
