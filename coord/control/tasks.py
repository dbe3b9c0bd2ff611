"""Tasks by name and one simulated episode at a time, with the semantics that B-Pref gave them.

`walker_walk` (domain_task) is a task of the DeepMind Control Suite, `button-press` a Meta-World task in its v3
environment with the v2 reward. Both look alike here: float32 observations flattened in key order, actions in [-1, 1]
rescaled to the task's bounds, action repeat 1, a time limit that truncates, and success where the task knows it.

An episode is a function of its seed and its actions, whatever the simulation did before: that makes resuming, seeding
and the replay of clips exact. Meta-World's goal is hidden (three zeros at the end of the observation) and differs in
every episode, as in B-Pref (Lee et al. 2021, B-Pref: Benchmarking Preference-Based Reinforcement Learning).

Deviations from B-Pref: its Meta-World commit (mujoco-py, "-v2" names) is replaced by release 3 (mujoco bindings, "-v3"
names, same rewards); its fork of dm_control by the original, which is equal for walker, cheetah and quadruped.
"""

from __future__ import annotations

import difflib
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np

from coord.errors import UserError
from coord.types import FloatArray

DEFAULT_STEPS = 1000  # an episode of a suite task that sets no time limit (lqr)
EXAMPLES = ("walker_walk", "cheetah_run", "quadruped_walk", "button-press", "door-open")
UNSTABLE = ("mjWARN_BADQPOS", "mjWARN_BADQVEL", "mjWARN_BADQACC")  # after these MuJoCo restarts the simulation itself


@dataclass(frozen=True, kw_only=True)
class TaskSpec:
    """What a learner must know of a task."""

    name: str
    suite: Literal["dmc", "metaworld"]
    obs_dim: int
    act_dim: int
    max_episode_steps: int  # where the time limit truncates
    has_success: bool


class EpisodeRecord(NamedTuple):
    """All that an episode depends on."""

    seed: int  # of its reset
    act: FloatArray  # [T, A] as given to the environment


class StepOutcome(NamedTuple):
    """One step of one simulation. Time limits are the caller's."""

    obs: FloatArray  # [O]
    rew: float
    terminated: bool
    success: bool  # at this step


class View(NamedTuple):
    """Where a free camera stands: what it looks at, how far away, and from which angles in degrees."""

    lookat: tuple[float, float, float]
    distance: float
    azimuth: float
    elevation: float


Scene = tuple[Any, Any, int | View]  # MuJoCo's model and data, and a camera of the model or one of ours
TABLE = View((0.0, 0.7, 0.1), 1.5, 135.0, -30.0)  # Meta-World's own cameras hide the gripper or stand on their heads
DEFAULT = View((0.0, 0.0, 0.5), 4.0, 90.0, -20.0)


class Simulation(Protocol):
    """One task's simulator."""

    spec: TaskSpec

    def reset(self, seed: int) -> FloatArray:
        """First observation [O] of the episode of that seed."""
        ...

    def step(self, act: FloatArray) -> StepOutcome:
        """One step with act [A] in [-1, 1]."""
        ...

    def scene(self) -> Scene:
        """What to draw."""
        ...


class SuiteSimulation:
    """A task of the DeepMind Control Suite."""

    def __init__(self, name: str) -> None:
        # The seed here decides nothing but the system of the lqr tasks, which must be one and the same in all copies.
        self._env = _suite().load(*_suite_tasks()[name], task_kwargs={"random": 0})
        # Tasks with new terrain in every episode would open a window to upload it; ours are made for each clip.
        physics = self._env.physics
        physics.__class__ = type(type(physics).__name__, (type(physics),), {"contexts": None})
        bounds = self._env.action_spec()
        limited = bounds.maximum < 1e9  # an unlimited actuator takes the action as it is
        self._centre = np.where(limited, (bounds.maximum + bounds.minimum) / 2, 0.0)
        self._half = np.where(limited, (bounds.maximum - bounds.minimum) / 2, 1.0)
        limit = self._env._step_limit
        self.spec = TaskSpec(
            name=name,
            suite="dmc",
            obs_dim=len(_flat(self._env.reset().observation)),
            act_dim=len(self._centre),
            max_episode_steps=round(limit) if np.isfinite(limit) else DEFAULT_STEPS,
            has_success=False,
        )

    def reset(self, seed: int) -> FloatArray:
        """First observation [O] of the episode of that seed."""
        self._env.task.random.seed([seed & 0xFFFFFFFF, seed >> 32])
        return _flat(self._env.reset().observation)

    def step(self, act: FloatArray) -> StepOutcome:
        """One step with act [A] in [-1, 1]. Raises dm_control's PhysicsError where the simulation is unstable."""
        result = self._env.step(self._centre + self._half * np.clip(act.astype(np.float64), -1.0, 1.0))
        return StepOutcome(_flat(result.observation), float(result.reward), result.discount == 0.0, False)

    def scene(self) -> Scene:
        """Seen by the suite's first camera."""
        physics = self._env.physics
        return physics.model.ptr, physics.data.ptr, 0 if physics.model.ncam else DEFAULT


class MetaWorldSimulation:
    """A Meta-World task whose goal is hidden and drawn anew for every episode."""

    def __init__(self, name: str) -> None:
        self._env = _metaworld()[f"{name}-v3"](reward_function_version="v2")
        self._env._set_task_called = True
        self._env._freeze_rand_vec = False
        self._env.seeded_rand_vec = True  # otherwise it would draw from numpy's global generator
        self._bad = _warning_indices()
        self.spec = TaskSpec(
            name=name,
            suite="metaworld",
            obs_dim=int(self._env.sawyer_observation_space.shape[0]),
            act_dim=int(self._env.action_space.shape[0]),
            max_episode_steps=int(self._env.max_path_length),
            has_success=True,
        )

    def reset(self, seed: int) -> FloatArray:
        """First observation [O] of the episode of that seed."""
        import mujoco

        self._env.seed(seed)
        # Its reset moves the hand before it clears the simulation, from wherever the last episode left it.
        mujoco.mj_resetData(self._env.model, self._env.data)
        return self._env.reset()[0].astype(np.float32)

    def step(self, act: FloatArray) -> StepOutcome:
        """One step with act [4] in [-1, 1]. Raises RuntimeError where the simulation is unstable."""
        obs, rew, _, _, info = self._env.step(np.clip(act, -1.0, 1.0))
        if self._env.data.warning.number[self._bad].any():
            raise RuntimeError("the simulation is unstable (MuJoCo met a huge or undefined position, speed or force)")
        return StepOutcome(obs.astype(np.float32), float(rew), False, bool(info["success"]))

    def scene(self) -> Scene:
        """Seen over the robot's shoulder."""
        return self._env.model, self._env.data, TABLE


def build(name: str) -> Simulation:
    """A simulation of the task. Raises UserError for an unknown name or a missing extra."""
    if name not in task_names():
        raise _unknown_task(name)
    return SuiteSimulation(name) if name in _suite_tasks() else MetaWorldSimulation(name)


def task_names() -> list[str]:
    """Every task, first DMControl's, then Meta-World's. Raises UserError if the extra is missing."""
    return [*_suite_tasks(), *(name.removesuffix("-v3") for name in _metaworld())]


@cache
def task_spec(name: str) -> TaskSpec:
    """Sizes and limits of a task. Raises UserError for an unknown name or a missing extra."""
    return build(name).spec


def _unknown_task(name: str) -> UserError:
    close = difflib.get_close_matches(name, task_names(), n=3, cutoff=0.5)
    hint = f"closest: {', '.join(close)}" if close else f"for example {', '.join(EXAMPLES)}"
    return UserError(f"unknown task '{name}'; {hint}")


def _flat(observation: Any) -> FloatArray:
    """Values in the order of their keys as one float32 vector."""
    return np.concatenate([np.ravel(value) for value in observation.values()]).astype(np.float32)


@cache
def _suite_tasks() -> dict[str, tuple[str, str]]:
    return {f"{domain}_{task}": (domain, task) for domain, task in _suite().ALL_TASKS}


@cache
def _suite() -> Any:
    with quiet_import():
        from dm_control import suite
    return suite


@cache
def _metaworld() -> dict[str, Any]:
    with quiet_import():
        from metaworld.env_dict import ALL_V3_ENVIRONMENTS
    return ALL_V3_ENVIRONMENTS


@cache
def _warning_indices() -> list[int]:
    import mujoco

    return [int(getattr(mujoco.mjtWarning, name)) for name in UNSTABLE]


@contextmanager
def quiet_import() -> Iterator[None]:
    """Imports a simulator without its opening a window system or flooding the terminal later.

    Frames come from a context of our own (`coord.control.frames`), so training needs no graphics at all.
    """
    chosen = os.environ.get("MUJOCO_GL")
    os.environ["MUJOCO_GL"] = "disabled"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
        import mujoco

        mujoco.set_mju_user_warning(_ignore)  # it would write MUJOCO_LOG.TXT; what matters raises in step()
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        raise UserError(f"control tasks need {missing}, which is missing: pip install 'coord[control]'") from error
    finally:
        del os.environ["MUJOCO_GL"]
        if chosen is not None:
            os.environ["MUJOCO_GL"] = chosen


def _ignore(message: str) -> None:
    """A warning of MuJoCo."""
