"""`coord population`: train a pool of partners and write it to a folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from coord.algos.ppo import PPOConfig

HELP = "train a pool of partners and write it to a folder"
EXAMPLES = (
    "coord population method=sp members=8 layout=cramped_room out=runs/pool",
    "coord population method=fcp members=8 layout=cramped_room out=runs/fcp",
    "coord population resume=runs/fcp",
)


@dataclass(frozen=True, kw_only=True)
class PopulationConfig:
    """Fields of configs/population.yaml, which says what each means."""

    algo: PPOConfig
    method: str = "fcp"
    members: int = 4
    preset: str | None = None
    layout: str = "cramped_room"
    rules: Literal["classic", "overcooked-ai"] = "classic"
    horizon: int = 400
    seed: int = 0
    threads: int = 0
    save_every_s: float = 60.0
    out: str | None = None
    resume: str | None = None


def run(overrides: Sequence[str]) -> int:
    """Do what the words say; the exit code."""
    from coord.run.config import load

    folder = train_pool(load("population", overrides))
    print(f"pool written to {folder}")
    return 0


def train_pool(cfg: PopulationConfig) -> Path:
    """Train the pool, or finish one that was interrupted; its folder.

    Raises:
        UserError: unknown method or layout, a folder that holds another run, a full disk; see also `run_job`.
    """
    from coord.errors import UserError, unknown
    from coord.partner_env import SelfPlayEnv
    from coord.run.training import Job, open_run, run_job, set_threads
    from populations import pool, training
    from populations.methods import METHODS

    if cfg.method not in METHODS:
        raise unknown("method", cfg.method, METHODS)
    if cfg.members < 1:
        raise UserError(f"members={cfg.members}: must be at least 1")
    set_threads(cfg.threads)
    where: dict[str, Any] = {"layout": cfg.layout, "rules": cfg.rules, "horizon": cfg.horizon}
    # Before the folder is made: whatever cannot be built leaves nothing behind.
    state, env = training.build(cfg.algo, **where, members=cfg.members, seed=cfg.seed)
    folder = open_run(cfg, algo=cfg.method)
    if (folder / pool.MANIFEST).exists():
        return folder
    assert isinstance(env, SelfPlayEnv)  # no partners were given
    method = METHODS[cfg.method](cfg.members)
    method.observe(state)
    job = Job(
        folder,
        f"{cfg.method} pool of {cfg.members} on {cfg.layout}",
        f"coord population resume={folder}",
        state,
        env,
        cfg.save_every_s,
        extra=method,
        on_update=method.observe,
    )
    run_job(job)
    pool.add_members(folder, method.members(state, env, seed=cfg.seed))
    return folder
