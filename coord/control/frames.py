"""Offscreen frames of control tasks, and clips of recorded episodes.

The variable MUJOCO_GL chooses how to draw (egl, osmesa or glfw). Without it egl is tried, then osmesa, each in a
process of its own, because a driver that does not work may end the process that asks it.
"""

from __future__ import annotations

import importlib
import os
import re
import subprocess
from functools import cache
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coord.control.tasks import EpisodeRecord, Scene, View, build, quiet_import
from coord.errors import UserError
from coord.places import python_command
from coord.types import FloatArray

BACKENDS = ("egl", "osmesa", "glfw")
TRIED = ("egl", "osmesa")  # glfw needs a screen
INSTALL = (
    "on Debian or Ubuntu: apt-get install libegl1 libgl1-mesa-dri for egl, or libosmesa6 for osmesa"
    " (MUJOCO_GL chooses one)"
)
OBS_TOLERANCE = 1e-3
PROBE_S = 60.0  # a first start may compile shaders
_SAMPLE = "<mujoco><worldbody><light pos='0 0 3'/><geom size='1'/></worldbody></mujoco>"

Frame = NDArray[np.uint8]  # [H, W, 3]


@cache
def backend() -> str:
    """How frames are drawn on this machine: "egl", "osmesa" or "glfw".

    Raises:
        UserError: MUJOCO_GL names something else, or nothing works; the line says what to install.
    """
    chosen = os.environ.get("MUJOCO_GL", "").lower()
    if chosen and chosen not in BACKENDS:
        raise UserError(f"MUJOCO_GL={chosen} draws no frames; allowed: {', '.join(BACKENDS)}, or unset to try them")
    reasons = []
    for name in (chosen,) if chosen else TRIED:
        reason = _why_not(name)
        if not reason:
            return name
        reasons.append(f"{name}: {reason}")
    raise UserError(f"cannot draw frames ({'; '.join(reasons)}); {INSTALL}")


def frames_of(
    task: str,
    record: EpisodeRecord,
    start: int = 0,
    length: int | None = None,
    size: int = 240,
    *,
    expected: FloatArray | None = None,
) -> NDArray[np.uint8]:
    """Frames of a recorded episode, drawn by playing it again.

    Args:
        task: its name.
        record: the episode, or its beginning up to the last step that is wanted.
        start: first step that is shown.
        length: number of steps; the rest of the record by default.
        size: height and width in pixels.
        expected: observation [O] at step `start`, if it is known: with another version of a simulator the same actions
            may lead elsewhere.

    Returns:
        uint8 [length, size, size, 3]; frame t shows the state in which action `start + t` was chosen.

    Raises:
        UserError: the steps are not in the record, the task is unknown, no backend works, or playing the episode again
            does not lead to `expected`.
    """
    stop = len(record.act) if length is None else start + length
    if not 0 <= start < stop <= len(record.act):
        raise UserError(f"no steps {start} to {stop - 1} in an episode of {len(record.act)} recorded steps")
    drawer = backend()  # before the episode is played for nothing
    simulation = build(task)
    obs = simulation.reset(record.seed)
    for act in record.act[:start]:
        obs = simulation.step(act).obs
    if expected is not None and not np.allclose(obs, expected, rtol=OBS_TOLERANCE, atol=OBS_TOLERANCE):
        raise UserError(f"{task}: played again, the episode goes another way (by another version of the simulator?)")
    frames = []
    with Offscreen(simulation.scene(), size, drawer) as screen:
        for act in record.act[start:stop]:
            frames.append(screen.frame())
            simulation.step(act)
    return np.stack(frames)


class Offscreen:
    """Draws one simulation into memory; a context manager.

    Made anew for each clip: it copies the model's meshes and terrain when it is made, and a task may change those
    from one episode to the next. Without shadows and multisampling a processor alone draws 5 to 15 times as fast.
    """

    def __init__(self, scene: Scene, size: int, drawer: str) -> None:
        import mujoco

        self._model, self._data, camera = scene
        self._size = size
        # MuJoCo itself chooses a backend once, when it is imported, and fails where that one does not work.
        self._gl = importlib.import_module(f"mujoco.{drawer}").GLContext(size, size)
        self._gl.make_current()
        self._model.vis.global_.offwidth = self._model.vis.global_.offheight = size
        self._model.vis.quality.offsamples = 0
        self._context = mujoco.MjrContext(self._model, mujoco.mjtFontScale.mjFONTSCALE_100)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._context)
        self._scene = mujoco.MjvScene(self._model, maxgeom=10_000)
        self._scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = 0
        self._camera = _camera(camera)

    def __enter__(self) -> Offscreen:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._gl.make_current()
        self._context.free()
        self._gl.free()

    def frame(self) -> Frame:
        """The simulation as it is now, uint8 [size, size, 3]."""
        import mujoco

        self._gl.make_current()
        option, everything = mujoco.MjvOption(), mujoco.mjtCatBit.mjCAT_ALL
        mujoco.mjv_updateScene(self._model, self._data, option, None, self._camera, everything, self._scene)
        area = mujoco.MjrRect(0, 0, self._size, self._size)
        image = np.empty((self._size, self._size, 3), np.uint8)
        mujoco.mjr_render(area, self._scene, self._context)
        mujoco.mjr_readPixels(image, None, area, self._context)
        return np.ascontiguousarray(image[::-1])  # OpenGL counts rows from below


def probe(drawer: str) -> None:
    """Draws a lit ball with that backend in this process; raises if it does not appear."""
    with quiet_import():
        import mujoco
    model = mujoco.MjModel.from_xml_string(_SAMPLE)
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    with Offscreen((model, data, View((0.0, 0.0, 0.0), 5.0, 90.0, -20.0)), 32, drawer) as screen:
        if screen.frame().max() == 0:
            raise RuntimeError("it draws nothing")


def _why_not(name: str) -> str:
    """Why the backend does not work here; empty if it does."""
    code = f"from coord.control.frames import probe; probe({name!r})"
    try:
        done = subprocess.run(python_command(code), capture_output=True, text=True, timeout=PROBE_S)
    except subprocess.TimeoutExpired:
        return f"no answer in {PROBE_S:.0f} s"
    if done.returncode == 0:
        return ""
    errors = [line for line in done.stderr.splitlines() if re.match(r"[\w.]+Error\b", line)]
    return errors[0].strip() if errors else f"ended with exit code {done.returncode}"


def _camera(camera: int | View) -> Any:
    import mujoco

    view = mujoco.MjvCamera()
    if isinstance(camera, int):
        view.type, view.fixedcamid = mujoco.mjtCamera.mjCAMERA_FIXED, camera
    else:
        view.lookat[:], view.distance, view.azimuth, view.elevation = camera
    return view
