"""Clocks, seeds, crashes and lost processes of the vector environment, on a simulation that breaks on demand."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from coord.control import ControlStep, ControlVectorEnv, EpisodeRecord
from coord.errors import Diverged, UserError
from tests.fragile_simulation import KILL, NAN, RAISE, STEPS, SUCCEED, TERMINATE, FragileSimulation, brittle

ROOT = Path(__file__).parents[3]


def fragile(num_envs: int = 3, seed: Any = 5, **options: Any) -> ControlVectorEnv:
    return ControlVectorEnv("fragile", num_envs, seed, make=FragileSimulation, **options)


def plan(steps: int, rows: int, *marks: tuple[int, int, float]) -> np.ndarray:
    """Small random actions [steps, rows, 2], with `(step, row, what)` marked."""
    acts = np.random.default_rng(1).uniform(-0.4, 0.4, (steps, rows, 2)).astype(np.float32)
    for step, row, what in marks:
        acts[step, row, 0] = what
    return acts


def play(env: ControlVectorEnv, acts: np.ndarray) -> list[ControlStep]:
    env.reset()
    return [env.step(act) for act in acts]


def assert_same(first: list[ControlStep], second: list[ControlStep], rows: list[int]) -> None:
    assert len(first) == len(second) > 0
    for one, other in zip(first, second, strict=True):
        for name, values in one._asdict().items():
            assert np.array_equal(values[rows], getattr(other, name)[rows]), name


def test_a_time_limit_truncates_and_the_next_episode_begins() -> None:
    with fragile(groups=0) as env:
        steps = play(env, plan(2 * STEPS, 3))
    for number, step in enumerate(steps, 1):
        at_limit = number % STEPS == 0
        assert step.truncated.all() if at_limit else not step.truncated.any()
        assert not step.terminated.any()
        assert (step.obs[:, 1] == 0).all() == at_limit  # the first observation of the next episode
        assert (step.final_obs[:, 1] != 0).all()
        if not at_limit:
            assert np.array_equal(step.obs, step.final_obs)
    starts = {tuple(step.obs[:, 0]) for step in steps}
    assert len(starts) == 3  # an episode has one start, the next another


def test_a_task_may_end_an_episode() -> None:
    with fragile(groups=0) as env:
        steps = play(env, plan(STEPS, 3, (4, 1, TERMINATE), (STEPS - 1, 2, TERMINATE)))
    assert steps[4].terminated.tolist() == [False, True, False]
    assert not steps[4].truncated.any()
    assert steps[-1].terminated.tolist() == [False, False, True]
    assert steps[-1].truncated.tolist() == [True, False, False]  # the ended one has five steps behind it


def test_success_is_the_maximum_over_the_episode() -> None:
    with fragile(groups=0) as env:
        steps = play(env, plan(STEPS + 2, 3, (3, 1, SUCCEED)))
    seen = np.array([step.success for step in steps])
    assert not seen[:, [0, 2]].any()
    assert seen[:, 1].tolist() == [False] * 3 + [True] * (STEPS - 3) + [False] * 2


def test_an_environment_depends_on_seed_and_number_only() -> None:
    acts = plan(STEPS + 3, 6)
    with fragile(6, groups=0) as env:
        whole = play(env, acts)
    for groups in (1, 2):
        with fragile(6, groups=groups) as env:
            assert_same(whole, play(env, acts), list(range(6)))
    with fragile(2, groups=0) as env:
        assert_same([ControlStep(*(value[:2] for value in step)) for step in whole], play(env, acts[:, :2]), [0, 1])
    with fragile(3, [5, 6], groups=2) as env:  # three environments for each of two seeds
        both = play(env, acts)
    assert_same(whole, both, [0, 1, 2])
    with fragile(3, 6, groups=0) as env:
        alone = play(env, acts[:, 3:])
    assert_same([ControlStep(*(value[3:] for value in step)) for step in both], alone, [0, 1, 2])
    assert len({float(step.obs[row, 0]) for step in both[:1] for row in range(6)}) == 6


@pytest.mark.parametrize("groups", [0, 2])
def test_a_crash_is_told_and_truncated(groups: int) -> None:
    told: list[str] = []
    acts = plan(7, 4, (3, 2, RAISE))
    with fragile(4, groups=groups, on_crash="restart", report=told.append) as env:
        env.reset()
        seeds = env.episode_seeds
        steps = [env.step(act) for act in acts]
        crash = env.crashes[0]
        after = env.episode_seeds
    with fragile(4, groups=0) as env:
        whole = play(env, plan(7, 4))
    assert_same(whole, steps, [0, 1, 3])
    assert len(told) == 1
    assert crash == ("fragile", 2, seeds[2], 3, "ZeroDivisionError: the fragile one broke")
    for part in ("fragile", "environment 2", str(seeds[2]), "step 3", crash.error):
        assert part in told[0]
    assert "\n" not in told[0]
    assert steps[3].truncated.tolist() == [False, False, True, False]
    assert not steps[3].terminated.any()
    assert steps[3].rew[2] == 0
    assert np.array_equal(steps[3].final_obs[2], steps[2].obs[2])  # nothing is known of the broken step
    assert steps[3].obs[2, 0] != steps[2].obs[2, 0]  # the next episode
    assert steps[3].obs[2, 1] == 0
    assert (seeds != after).tolist() == [False, False, True, False]


def test_a_number_that_is_not_finite_is_a_crash() -> None:
    with fragile(2, groups=0, on_crash="restart", report=lambda line: None) as env:
        steps = play(env, plan(3, 2, (1, 0, NAN)))
        assert steps[1].truncated.tolist() == [True, False]
        assert "not finite" in env.crashes[0].error
    assert all(np.isfinite(values).all() for step in steps for values in step)


def test_a_killed_process_takes_one_environment_with_it() -> None:
    told: list[str] = []
    marks = (3, 2, KILL)
    with fragile(6, groups=2, on_crash="restart", report=told.append) as env:
        killed = play(env, plan(STEPS + 4, 6, marks))
    with fragile(6, groups=0, on_crash="restart", report=lambda line: None) as env:
        raised = play(env, plan(STEPS + 4, 6, (3, 2, RAISE)))
    # Environments 0 and 1 had been stepped when 2 took the process down, 3 to 5 live in the other one.
    assert_same(killed, raised, list(range(6)))
    assert len(told) == 1
    assert "environment 2" in told[0]
    assert "SIGKILL" in told[0]


def test_environments_after_the_killed_one_are_stepped_too() -> None:
    with fragile(4, groups=1, on_crash="restart", report=lambda line: None) as env:
        killed = play(env, plan(6, 4, (2, 0, KILL), (4, 3, RAISE)))
    with fragile(4, groups=0) as env:
        whole = play(env, plan(6, 4))
    assert_same(killed, whole, [1, 2])


def test_a_process_killed_while_it_waits_costs_nothing() -> None:
    told: list[str] = []
    acts = plan(8, 4)
    with fragile(4, groups=1, on_crash="restart", report=told.append) as env:
        steps = play(env, acts[:3])
        (process,) = multiprocessing.active_children()
        os.kill(process.pid or 0, signal.SIGKILL)
        process.join()
        steps += [env.step(act) for act in acts[3:]]
        assert env.crashes[0].env == -1
    with fragile(4, groups=0) as env:
        assert_same(steps, play(env, acts), [0, 1, 2, 3])
    assert len(told) == 1
    assert "SIGKILL" in told[0]


@pytest.mark.parametrize(("groups", "what", "said"), [(0, RAISE, "ZeroDivisionError"), (2, KILL, "SIGKILL")])
def test_stop_ends_with_one_clear_line(groups: int, what: float, said: str) -> None:
    env = fragile(4, groups=groups)
    env.reset()
    seed = env.episode_seeds[2]
    with pytest.raises(UserError, match=rf"^fragile: environment 2 \(episode seed {seed}, step 0\).*{said}") as caught:
        env.step(plan(1, 4, (0, 2, what))[0])
    assert "\n" not in str(caught.value)
    assert not multiprocessing.active_children()


def test_an_environment_that_only_crashes_ends_the_run() -> None:
    with fragile(2, groups=0, on_crash="restart", report=lambda line: None) as env:
        env.reset()
        acts = plan(1, 2, (0, 1, RAISE))[0]
        for _ in range(2):
            assert env.step(acts).truncated.tolist() == [False, True]
        with pytest.raises(UserError, match="3 times in a row"):
            env.step(acts)


@pytest.mark.parametrize("groups", [0, 1])
def test_an_environment_that_cannot_begin_ends_the_run(groups: int) -> None:
    env = ControlVectorEnv("brittle", 2, 0, groups=groups, on_crash="restart", make=brittle)
    with pytest.raises(UserError, match=r"environment 0 .* OSError: no model file"):
        env.reset()
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("groups", [0, 2])
def test_resuming_is_exact_also_after_a_crash(groups: int) -> None:
    acts = plan(2 * STEPS, 4, (3, 2, RAISE), (6, 1, SUCCEED))
    quiet: dict[str, Any] = {"groups": groups, "on_crash": "restart", "report": lambda line: None}
    with fragile(4, **quiet) as env:
        play(env, acts[:8])
        state = env.get_state()
        rest = [env.step(act) for act in acts[8:]]
    with fragile(4, **quiet) as env:
        env.set_state(state)
        assert_same(rest, [env.step(act) for act in acts[8:]], [0, 1, 2, 3])
    assert any(step.success[1] for step in rest)


def test_a_state_from_before_the_first_episode() -> None:
    with fragile(2, groups=0) as env:
        state = env.get_state()
        first = env.reset()
    with fragile(2, groups=0) as env:
        env.set_state(state)
        assert np.array_equal(env.reset(), first)


def test_a_state_of_another_shape_or_origin() -> None:
    told: list[str] = []
    with fragile(2, groups=0) as env:
        play(env, plan(3, 2))
        state = env.get_state()
    with fragile(3, groups=0) as env, pytest.raises(UserError, match="fragile with 3 environments"):
        env.set_state(state)
    with fragile(2, groups=0, report=told.append) as env:
        env.set_state({**state, "obs": state["obs"] + np.float32(1e-3)})
    assert len(told) == 1
    assert "differ by up to 0.001" in told[0]


def test_a_record_replays_the_episode() -> None:
    with fragile(2, groups=0) as env:
        steps = play(env, plan(STEPS + 4, 2))
        record = env.record(1)
    assert record.act.shape == (4, 2)
    simulation = FragileSimulation("fragile")
    assert np.array_equal(simulation.reset(record.seed), steps[STEPS - 1].obs[1])
    for act, step in zip(record.act, steps[STEPS:], strict=True):
        assert np.array_equal(simulation.step(act).obs, step.obs[1])
    assert isinstance(record, EpisodeRecord)


def test_actions_are_checked() -> None:
    with fragile(2, groups=0) as env:
        with pytest.raises(ValueError, match="reset"):
            env.step(np.zeros((2, 2), np.float32))
        env.reset()
        with pytest.raises(ValueError, match=r"\(2, 2\)"):
            env.step(np.zeros((2, 3), np.float32))
        with pytest.raises(Diverged, match="fragile"):
            env.step(np.full((2, 2), np.nan, np.float32))


def test_returned_arrays_are_the_callers_own() -> None:
    with fragile(2, groups=0) as env:
        first = env.reset()
        step = env.step(plan(1, 2)[0])
        copies = [first.copy(), *(value.copy() for value in step)]
        env.step(plan(2, 2)[1])
    assert all(np.array_equal(one, other) for one, other in zip(copies, [first, *step], strict=True))


def test_ctrl_c_does_not_reach_the_processes() -> None:
    with fragile(2, groups=1) as env:
        env.reset()
        (process,) = multiprocessing.active_children()
        os.kill(process.pid or 0, signal.SIGINT)
        env.step(plan(1, 2)[0])
        assert process.is_alive()


def test_processes_end_with_the_one_that_started_them() -> None:
    code = """
import multiprocessing, os, signal
from coord.control import ControlVectorEnv
from tests.fragile_simulation import FragileSimulation
if __name__ == "__main__":
    env = ControlVectorEnv("fragile", 2, 0, groups=2, make=FragileSimulation)
    env.reset()
    print(*(process.pid for process in multiprocessing.active_children()), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    children = [int(word) for word in done.stdout.split()]
    assert len(children) == 2, done.stderr
    deadline = time.monotonic() + 20
    while any(is_running(child) for child in children) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(is_running(child) for child in children)


def is_running(pid: int) -> bool:
    """Whether a process is alive (an ended one that nobody waited for is not)."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
