"""A simulation without physics that breaks when an action says so; a module of its own, since processes import it."""

from __future__ import annotations

import os
import signal

import numpy as np

from coord.control.tasks import StepOutcome, TaskSpec, View

RAISE, KILL, SUCCEED, TERMINATE, NAN = 0.9, 0.8, 0.7, 0.6, 0.5  # first component of an action
STEPS = 10


class FragileSimulation:
    """Observation: the start that the seed draws, and a running sum in which all actions so far leave their trace."""

    def __init__(self, name: str) -> None:
        self.spec = TaskSpec(name=name, suite="dmc", obs_dim=2, act_dim=2, max_episode_steps=STEPS, has_success=True)

    def reset(self, seed: int) -> np.ndarray:
        """A start that depends on the seed."""
        self._rng = np.random.default_rng(seed)
        self._obs = np.array([self._rng.random(), 0.0], np.float32)
        return self._obs

    def step(self, act: np.ndarray) -> StepOutcome:
        """Does what the action says."""
        if np.isclose(act[0], RAISE):
            raise ZeroDivisionError("the fragile one\nbroke")
        if np.isclose(act[0], KILL):
            os.kill(os.getpid(), signal.SIGKILL)
        noise = np.nan if np.isclose(act[0], NAN) else self._rng.random()
        self._obs = np.array([self._obs[0], np.tanh(self._obs[1] + act.sum() + noise)], np.float32)
        ended, succeeded = np.isclose(act[0], TERMINATE), np.isclose(act[0], SUCCEED)
        return StepOutcome(self._obs, float(act[1]), bool(ended), bool(succeeded))

    def scene(self) -> tuple[None, None, View]:
        """Nothing to see."""
        raise RuntimeError("nothing to draw")


def brittle(name: str) -> FragileSimulation:
    """One whose first observation never comes."""
    simulation = FragileSimulation(name)
    simulation.reset = _no_reset  # type: ignore[method-assign]
    return simulation


def _no_reset(seed: int) -> np.ndarray:
    raise OSError("no model file")
