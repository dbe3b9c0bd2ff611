"""How many kitchens step per second, beside overcooked-ai in the same run (`coord bench kitchen`)."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Sequence
from typing import Any

import numba
import numpy as np

from coord.bench.config import BenchConfig
from coord.overcooked.loader import load_layout
from coord.overcooked.vector_env import OvercookedVectorEnv
from coord.places import python_command

LAYOUTS = ("cramped_room", "counter_circuit_o_1order")
_ROUNDS = 3  # the reference is timed between rounds, so that both see the same machine
_REFERENCE_STEPS = 2000  # about half a second
_PLANS = 32  # random joint actions, drawn before the clock starts


def bench(_: BenchConfig) -> dict[str, Any]:
    """`coord bench kitchen`."""
    return bench_kitchen()


def bench_kitchen(num_envs: int = 4096, seconds: float = 1.0, layouts: Sequence[str] = LAYOUTS) -> dict[str, Any]:
    """Median kitchen steps per second over three rounds of random play; one step = all chefs of one kitchen act.

    `seconds` is spent on each of the three modes per round and layout: `step` alone, `step_index` with the index
    observation of every seat, `step_lossless` with the 26 planes of both. `overcooked_ai` holds the reference's own
    figures (stepping, and stepping with its lossless encoding), `ratio` ours to its: step to step, the other two to
    its stepping with the encoding.
    """
    report = {name: _bench_layout(load_layout(name).name, num_envs, seconds) for name in layouts}
    return {"bench": "kitchen", "num_envs": num_envs, "threads": numba.get_num_threads(), "layouts": report}


def _bench_layout(layout: str, num_envs: int, seconds: float) -> dict[str, Any]:
    env = OvercookedVectorEnv(layout, num_envs)
    modes = _modes(env)
    for run in modes.values():
        run(1)  # compiles
    ours: dict[str, list[float]] = {name: [] for name in modes}
    reference: dict[str, list[float]] = {"step": [], "step_lossless": []}
    for _ in range(_ROUNDS):
        for name, run in modes.items():
            ours[name].append(_speed(run, num_envs, seconds))
        for name, speed in _reference_speeds(layout).items():
            reference[name].append(speed)
    speeds = {name: round(float(np.median(values))) for name, values in ours.items()}
    peers = {name: round(float(np.median(values))) for name, values in reference.items()}
    ratio = {
        name: round(speed / peers["step" if name == "step" else "step_lossless"]) for name, speed in speeds.items()
    }
    return {**speeds, "overcooked_ai": peers, "ratio": ratio}


def _reference_speeds(layout: str) -> dict[str, float]:
    """Steps per second of overcooked-ai in a process of its own, which its process-wide recipes need."""
    code = (
        "import json, sys; from coord.overcooked.oracle import SpeedRequest, measure_speed;"
        f"print(json.dumps(measure_speed(SpeedRequest(sys.argv[1], {_REFERENCE_STEPS}))))"
    )
    done = subprocess.run(python_command(code, layout), capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def _modes(env: OvercookedVectorEnv) -> dict[str, Callable[[int], None]]:
    """Each runs that many steps of the whole batch."""
    plans = np.random.default_rng(0).integers(0, 6, (_PLANS, env.num_envs, env.num_players))
    facts, planes = env.index_obs(), env.lossless_obs()

    def run(count: int, observe: Callable[[], Any]) -> None:
        for i in range(count):
            env.step(plans[i % _PLANS])
            observe()

    return {
        "step": lambda count: run(count, lambda: None),
        "step_index": lambda count: run(count, lambda: env.index_obs(out=facts)),
        "step_lossless": lambda count: run(count, lambda: env.lossless_obs(out=planes)),
    }


def _speed(run: Callable[[int], None], num_envs: int, seconds: float) -> float:
    """Kitchen steps per second over at least `seconds`."""
    count, began = 0, time.perf_counter()
    while (spent := time.perf_counter() - began) < seconds:
        run(_PLANS)
        count += _PLANS
    return count * num_envs / spent
