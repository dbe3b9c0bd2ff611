"""Speed of PPO end to end, collection and learning: the figures of `coord bench ppo`."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np

from coord.algos import ppo
from coord.bench.config import BenchConfig
from coord.run.config import load
from coord.threads import set_threads
from populations.training import Setup, self_play

GOALS = {"cramped_room": 200.0, "counter_circuit_o_1order": 140.0}
SPEED_CASES = (("mlp_index", 1), ("mlp_index", 8), ("cnn", 1), ("cnn", 8))


def bench(cfg: BenchConfig) -> dict[str, Any]:
    """`coord bench ppo`, with the learner that `coord train` has on each layout."""
    set_threads(cfg.threads or 0)
    return bench_ppo({layout: load("train", [f"layout={layout}"]).algo for layout in GOALS}, seed=cfg.seed)


def bench_ppo(configs: dict[str, ppo.PPOConfig], *, seconds: float = 5.0, seed: int = 0) -> dict[str, Any]:
    """Time to a return, compilation included, then steps/s of every case.

    configs: the configuration of each layout in `GOALS`, whose `total_steps` bounds the search. Returns plain JSON;
    "seconds" is None where the goal was not reached within the budget.
    """
    reached = {layout: time_to_return(layout, configs[layout], goal, seed=seed) for layout, goal in GOALS.items()}
    speed = {
        f"{network}_m{members}": steps_per_s("cramped_room", configs["cramped_room"], network, members, seconds)
        for network, members in SPEED_CASES
    }
    return {"bench": "ppo", "time_to_return": reached, "steps_per_s": speed}


def time_to_return(layout: str, cfg: ppo.PPOConfig, goal: float, *, seed: int = 0) -> dict[str, Any]:
    """Self-play of one agent until the mean return of its last 50 episodes first reaches `goal`."""
    began = time.perf_counter()
    state, env = self_play(Setup(algo=cfg, layout=layout, seed=seed))

    def is_there(state: ppo.PPOState) -> bool:
        return len(state.returns[0]) == ppo.RECENT_EPISODES and float(state.mean_returns()[0]) >= goal

    ppo.train(state, env, ppo.Hooks(should_stop=is_there))
    took = time.perf_counter() - began
    return {
        "goal": goal,
        "seconds": took if is_there(state) else None,
        "env_steps": state.env_step,
        "return": float(state.mean_returns()[0]),
        "steps_per_s": state.env_step / took,
    }


def steps_per_s(layout: str, cfg: ppo.PPOConfig, network: str, members: int, seconds: float) -> dict[str, float]:
    """Steps/s of all members together over about `seconds`, after a warm-up update."""
    cfg = replace(cfg, network=network, total_steps=10**9, hidden=(64, 64, 64) if network == "cnn" else cfg.hidden)
    state, env = self_play(Setup(algo=cfg, layout=layout, members=members))
    stamps: list[float] = []
    ppo.train(
        state,
        env,
        ppo.Hooks(
            on_update=lambda state, metrics: stamps.append(time.perf_counter()),
            should_stop=lambda state: len(stamps) > 2 and stamps[-1] - stamps[0] > seconds,
        ),
    )
    steps = (len(stamps) - 1) * cfg.rollout_len * env.kitchens * members
    returns = state.mean_returns()
    return {
        "steps_per_s": steps / (stamps[-1] - stamps[0]),
        "return": float(np.nanmean(returns)) if np.isfinite(returns).any() else 0.0,
    }
