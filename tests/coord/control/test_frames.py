"""Frames without a screen: the backend is chosen and named, clips show the recorded steps."""

from __future__ import annotations

import numpy as np
import pytest

from coord.control import ControlVectorEnv, EpisodeRecord, frames, frames_of, task_spec
from coord.control.tasks import build
from coord.errors import UserError


def needs_frames() -> None:
    try:
        frames.backend()
    except UserError as error:
        pytest.skip(str(error))


def recorded(task: str, steps: int) -> EpisodeRecord:
    act = np.random.default_rng(0).uniform(-1, 1, (steps, task_spec(task).act_dim)).astype(np.float32)
    return EpisodeRecord(7, act)


@pytest.mark.parametrize("task", ["walker_walk", "button-press"])
def test_a_clip_shows_what_the_environment_showed(task: str) -> None:
    needs_frames()
    acts = recorded(task, 12).act
    seen = []
    with ControlVectorEnv(task, 2, 0, groups=1) as env:
        env.reset()
        for act in acts:
            seen.append(env.render(1, size=64))
            env.step(np.stack([act, act]))
        record = env.record(1)
    clip = frames_of(task, record, start=4, length=6, size=64)
    assert clip.shape == (6, 64, 64, 3)
    assert clip.dtype == np.uint8
    assert np.array_equal(clip, np.stack(seen[4:10]))
    assert clip.std() > 10  # something is to be seen
    assert (clip[0] != clip[-1]).any()  # and it moves


def test_new_terrain_is_drawn() -> None:
    needs_frames()
    acts = recorded("quadruped_escape", 1).act
    one, other = (frames_of("quadruped_escape", EpisodeRecord(seed, acts), size=64) for seed in (1, 2))
    assert np.abs(one.astype(int) - other).mean() > 2


@pytest.mark.parametrize(("start", "length"), [(-1, 2), (0, 11), (10, 1), (3, 0)])
def test_steps_outside_the_record(start: int, length: int) -> None:
    with pytest.raises(UserError, match="10 recorded steps"):
        frames_of("walker_walk", recorded("walker_walk", 10), start, length)


def test_an_episode_that_goes_another_way_is_not_drawn() -> None:
    needs_frames()
    record = recorded("pendulum_swingup", 9)
    simulation = build("pendulum_swingup")
    simulation.reset(record.seed)
    obs = [simulation.step(act).obs for act in record.act[:5]][-1]
    assert frames_of("pendulum_swingup", record, 5, 2, 32, expected=obs).shape == (2, 32, 32, 3)
    with pytest.raises(UserError, match="the episode goes another way"):
        frames_of("pendulum_swingup", record, 5, 2, 32, expected=obs + 0.01)


@pytest.fixture
def working(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Backends that work, as far as the choice is told."""
    names: set[str] = set()
    monkeypatch.setattr(frames, "_why_not", lambda name: "" if name in names else f"no lib{name}")
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    return names


def choose() -> str:
    return frames.backend.__wrapped__()


def test_egl_is_tried_before_osmesa(working: set[str]) -> None:
    working.add("osmesa")
    assert choose() == "osmesa"
    working.add("egl")
    assert choose() == "egl"


def test_the_variable_is_honoured(working: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    working |= {"egl", "glfw"}
    monkeypatch.setenv("MUJOCO_GL", "glfw")
    assert choose() == "glfw"
    monkeypatch.setenv("MUJOCO_GL", "osmesa")
    with pytest.raises(UserError, match="cannot draw frames") as caught:
        choose()
    assert "egl: " not in str(caught.value)  # it was not asked
    monkeypatch.setenv("MUJOCO_GL", "off")
    with pytest.raises(UserError, match="MUJOCO_GL=off draws no frames; allowed: egl, osmesa, glfw"):
        choose()


def test_what_to_install_where_nothing_works(working: set[str]) -> None:
    with pytest.raises(UserError) as caught:
        choose()
    for part in ("egl: no libegl", "osmesa: no libosmesa", "apt-get install", "libegl1", "libosmesa6", "MUJOCO_GL"):
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_backend_that_does_not_work_says_why() -> None:
    assert "No module named 'mujoco.paper'" in frames._why_not("paper")


def test_an_environment_that_cannot_be_drawn() -> None:
    needs_frames()
    from tests.fragile_simulation import FragileSimulation

    with ControlVectorEnv("fragile", 2, 0, groups=1, make=FragileSimulation) as env:
        env.reset()
        with pytest.raises(UserError, match="fragile: cannot draw environment 1: RuntimeError: nothing to draw"):
            env.render(1)
        env.step(np.zeros((2, 2), np.float32))  # it goes on
