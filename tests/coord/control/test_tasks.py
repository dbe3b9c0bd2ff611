"""DMControl and Meta-World tasks: names, sizes, equality with the suites themselves, returns, exact resume."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from coord import checkpoint
from coord.control import ControlStep, ControlVectorEnv, TaskSpec, task_names, task_spec, tasks
from coord.errors import UserError
from tests.contracts.test_imports import loaded_after

ROOT = Path(__file__).parents[3]
DMC = {"walker_walk": (24, 6), "cheetah_run": (17, 6), "quadruped_walk": (78, 12)}
METAWORLD = ("hammer", "door-open", "button-press", "sweep-into", "drawer-open", "window-open")
# Returns of uniformly random actions, measured over 5 to 14 episodes; one episode scatters by a factor of 2 to 3.
RANDOM = {
    "walker_walk": (25, 45),
    "cheetah_run": (2, 8),
    "quadruped_walk": (0, 600),  # 480 where it happens to lie on its feet, else below 20
    "hammer": (350, 650),
    "door-open": (190, 450),
    "button-press": (115, 300),
    "sweep-into": (12, 130),
    "drawer-open": (450, 1000),
    "window-open": (150, 320),
}
# Returns of Meta-World's scripted experts and the step by which they succeed; its expert for sweep-into never does.
EXPERT = {
    "hammer": (1900, 3300),
    "door-open": (4300, 4700),
    "button-press": (530, 610),
    "drawer-open": (3900, 4200),
    "window-open": (1200, 2500),
}


def uniform(task: str, steps: int, rows: int = 1, seed: int = 0) -> np.ndarray:
    """Random actions [steps, rows, A]."""
    rng = np.random.default_rng(seed)
    return rng.uniform(-1, 1, (steps, rows, task_spec(task).act_dim)).astype(np.float32)


def play(simulation: tasks.Simulation, seed: int, acts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Observations [T + 1, O] and rewards [T] of the beginning of an episode."""
    obs, rew = [simulation.reset(seed)], []
    for act in acts:
        result = simulation.step(act)
        obs.append(result.obs)
        rew.append(result.rew)
    return np.stack(obs), np.array(rew)


def test_names_and_sizes() -> None:
    names = task_names()
    assert len(names) == len(set(names)) > 90
    for name, (obs_dim, act_dim) in DMC.items():
        assert task_spec(name) == TaskSpec(
            name=name, suite="dmc", obs_dim=obs_dim, act_dim=act_dim, max_episode_steps=1000, has_success=False
        )
    for name in METAWORLD:
        assert task_spec(name) == TaskSpec(
            name=name, suite="metaworld", obs_dim=39, act_dim=4, max_episode_steps=500, has_success=True
        )
    assert {"ball_in_cup_catch", "humanoid_CMU_run", "pick-place", "reach"} <= set(names)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("walker_wlak", "closest: walker_walk"),
        ("button_press", "closest: button-press"),
        ("metaworld_door-open-v2", "door-open"),
        ("zzz", "for example walker_walk"),
    ],
)
def test_an_unknown_task_names_close_ones(name: str, hint: str) -> None:
    with pytest.raises(UserError, match=f"^unknown task '{name}'; .*{hint}") as caught:
        ControlVectorEnv(name, 1, 0)
    assert len(str(caught.value)) < 160


@pytest.mark.parametrize("package", ["dm_control", "metaworld"])
def test_a_missing_extra_is_one_clear_line(package: str) -> None:
    code = f"""
import sys
sys.modules[{package!r}] = None
from coord.control import task_names
from coord.errors import UserError
try:
    task_names()
except UserError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == f"control tasks need {package}, which is missing: pip install 'coord[control]'\n"
    assert done.stderr == ""


def test_importing_loads_no_simulator() -> None:
    assert not loaded_after("import coord.control") & {"mujoco", "dm_control", "metaworld", "torch", "numba"}


def test_nothing_reaches_the_terminal_or_the_folder(tmp_path: Path) -> None:
    code = """
import numpy as np
from coord.control import ControlVectorEnv
if __name__ == "__main__":
    for task in ("quadruped_walk", "button-press"):
        with ControlVectorEnv(task, 1, 0) as env:
            env.reset()
            for _ in range(3):
                env.step(np.zeros((1, env.act_dim), np.float32))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert (done.stdout, done.stderr) == ("", "")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("task", DMC)
def test_equal_to_the_control_suite(task: str) -> None:
    """Its own environment, driven by hand, gives the same numbers."""
    from dm_control import suite

    acts = uniform(task, 50)[:, 0]
    obs, rew = play(tasks.build(task), 11, acts)
    rng = np.random.RandomState(np.array([11, 0], np.uint32))
    env = suite.load(*task.split("_"), task_kwargs={"random": rng})
    bounds = env.action_spec()
    step = env.reset()
    for number, act in enumerate(acts):
        flat = np.concatenate([np.ravel(value) for value in step.observation.values()])
        assert np.array_equal(obs[number], flat.astype(np.float32))
        half = (bounds.maximum - bounds.minimum) / 2
        step = env.step(bounds.minimum + half + half * act.astype(np.float64))
        assert rew[number] == step.reward


@pytest.mark.parametrize("task", METAWORLD)
def test_equal_to_metaworld(task: str) -> None:
    """Its own environment, driven by hand, gives the same numbers; the goal is hidden."""
    from metaworld.env_dict import ALL_V3_ENVIRONMENTS

    acts = uniform(task, 50)[:, 0]
    obs, rew = play(tasks.build(task), 11, acts)
    env = ALL_V3_ENVIRONMENTS[f"{task}-v3"](reward_function_version="v2")
    env._set_task_called, env._freeze_rand_vec, env.seeded_rand_vec = True, False, True
    env.seed(11)
    assert np.array_equal(obs[0], env.reset()[0].astype(np.float32))
    for number, act in enumerate(acts):
        theirs, reward, *_ = env.step(act)
        assert np.array_equal(obs[number + 1], theirs.astype(np.float32))
        assert rew[number] == reward
    assert (obs[:, -3:] == 0).all()
    assert np.array_equal(obs[1:, 18:36], obs[:-1, :18])  # the second frame is the one before
    assert (rew >= 0).all()
    assert (rew <= 10).all()


def test_goals_differ_between_episodes() -> None:
    simulation = tasks.build("door-open")
    starts = np.stack([simulation.reset(seed) for seed in range(4)])
    assert len(np.unique(starts[:, 4:7], axis=0)) == 4  # where the handle is
    assert np.array_equal(simulation.reset(0), starts[0])


def test_actions_are_rescaled_to_the_bounds() -> None:
    simulation = tasks.build("quadruped_walk")
    simulation.reset(0)
    high = simulation._env.action_spec().maximum  # type: ignore[attr-defined]
    assert high.max() > 1  # else this would prove nothing
    for act, bound in ((1, high), (-1, simulation._env.action_spec().minimum), (7, high)):  # type: ignore[attr-defined]
        simulation.step(np.full(12, act, np.float32))
        assert simulation._env.physics.control() == pytest.approx(bound)  # type: ignore[attr-defined]


@pytest.mark.parametrize("task", ["walker_walk", "button-press"])
def test_an_unstable_simulation_raises(task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    simulation = tasks.build(task)
    simulation.reset(0)
    simulation.scene()[1].qvel[:] = 1e30
    with pytest.raises(Exception, match=r"mjWARN_BAD|unstable"):
        simulation.step(uniform(task, 1)[0, 0])
    assert not list(tmp_path.iterdir())  # MuJoCo would write MUJOCO_LOG.TXT


def assert_history_does_not_matter(task: str, steps: int) -> None:
    acts = uniform(task, 2 * steps)[:, 0]
    used = tasks.build(task)
    play(used, 1, acts)
    play(used, 2, acts[steps:])
    for one, other in zip(play(used, 9, acts[:steps]), play(tasks.build(task), 9, acts[:steps]), strict=True):
        assert np.array_equal(one, other), task


@pytest.mark.parametrize("task", [*DMC, *METAWORLD, "quadruped_escape", "lqr_lqr_2_1"])
def test_an_episode_depends_on_its_seed_and_actions_only(task: str) -> None:
    assert_history_does_not_matter(task, 20)


@pytest.mark.slow
def test_an_episode_of_any_task_depends_on_its_seed_and_actions_only() -> None:
    for task in task_names():
        assert_history_does_not_matter(task, 10)


@pytest.mark.parametrize(("task", "before"), [("walker_walk", 985), ("button-press", 485)])
@pytest.mark.parametrize("groups", [0, 1])
def test_resuming_is_exact(task: str, before: int, groups: int, tmp_path: Path) -> None:
    """Through a checkpoint, shortly before the time limit and beyond it, bit for bit."""
    acts = uniform(task, before + 30, 2)
    with ControlVectorEnv(task, 2, 3, groups=groups) as env:
        env.reset()
        for act in acts[:before]:
            env.step(act)
        checkpoint.save(tmp_path / "env.safetensors", env.get_state(), {})
        rest = [env.step(act) for act in acts[before:]]
    with ControlVectorEnv(task, 2, 3, groups=groups) as env:
        env.set_state(checkpoint.load(tmp_path / "env.safetensors")[0])
        again = [env.step(act) for act in acts[before:]]
    for one, other in zip(rest, again, strict=True):
        assert all(np.array_equal(*pair) for pair in zip(one, other, strict=True))
    ends = [number for number, step in enumerate(rest, before + 1) if step.truncated.any()]
    assert ends == [task_spec(task).max_episode_steps]
    assert not any(step.terminated.any() for step in rest)


def test_neither_number_nor_processes_matter() -> None:
    acts = uniform("walker_walk", 20, 3)
    played: list[list[ControlStep]] = []
    for rows, groups in ((3, 0), (3, 2), (1, 0)):
        with ControlVectorEnv("walker_walk", rows, 3, groups=groups) as env:
            env.reset()
            played.append([env.step(act[:rows]) for act in acts])
    for whole, shared, alone in zip(*played, strict=True):
        assert np.array_equal(whole.obs, shared.obs)
        assert np.array_equal(whole.obs[:1], alone.obs)
        assert len(np.unique(whole.obs, axis=0)) == 3


@pytest.mark.slow
@pytest.mark.parametrize("task", RANDOM)
def test_random_returns_are_in_the_measured_range(task: str) -> None:
    spec, rows = task_spec(task), 5
    ret = np.zeros(rows)
    with ControlVectorEnv(task, rows, 0, groups=0) as env:
        env.reset()
        for act in uniform(task, spec.max_episode_steps, rows):
            step = env.step(act)
            ret += step.rew
    low, high = RANDOM[task]
    assert low <= np.median(ret) <= high
    assert ret.min() >= 0
    assert not step.success.any()
    assert step.truncated.all()


@pytest.mark.slow
@pytest.mark.parametrize("task", METAWORLD)
def test_scripted_experts_succeed(task: str) -> None:
    from metaworld.policies import ENV_POLICY_MAP

    expert, simulation = ENV_POLICY_MAP[f"{task}-v3"](), tasks.build(task)
    ret, success = np.zeros(3), np.zeros((3, 500), bool)
    for episode in range(3):
        obs = simulation.reset(100 + episode)
        for number in range(500):
            act = np.clip(expert.get_action(obs.astype(np.float64)), -1, 1).astype(np.float32)
            obs, rew, _, success[episode, number] = simulation.step(act)
            ret[episode] += rew
    if task == "sweep-into":
        assert not success.any()
        return
    low, high = EXPERT[task]
    assert success[:, :120].any(axis=1).all()
    assert low <= np.median(ret) <= high
