"""`coord population`: train a pool of partners and write it to a folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from coord.limits import Horizon, Members, Seconds, Seed

if TYPE_CHECKING:
    from coord.algos.ppo import PPOConfig

HELP = "train a pool of partners and write it to a folder"
EXAMPLES = (
    "coord population method=sp members=8 layout=cramped_room out=runs/pool",
    "coord population method=fcp members=8 layout=cramped_room out=runs/fcp",
    "coord population method=mep method.alpha=0.04 layout=forced_coordination out=runs/mep",
    "coord population method=pbt preset=published layout=cramped_room out=runs/pbt",
    "coord population resume=runs/fcp",
)


@dataclass(frozen=True, kw_only=True)
class PopulationConfig:
    """Fields of configs/population.yaml, which says what each means."""

    algo: PPOConfig
    method: Any = field(metadata={"plugins": "coord.pool_methods"})
    members: Members = 4
    preset: str | None = None
    layout: str = "cramped_room"
    rules: Literal["classic", "overcooked-ai"] = "classic"
    horizon: Horizon = 400
    seed: Seed = 0
    threads: int = 0
    save_every_s: Seconds = 60.0
    out: str | None = None
    resume: str | None = None
    change_threads: bool = False


Config = PopulationConfig


def run(overrides: Sequence[str]) -> int:
    """Do what the words say; the exit code."""
    from coord.run.config import load

    folder = train_pool(load("population", overrides))
    print(f"pool written to {folder}")
    return 0


def train_pool(cfg: PopulationConfig) -> Path:
    """Train the pool, or finish one that was interrupted; its folder.

    Raises:
        UserError: unknown layout, a folder that holds another run, a full disk; see also `run_job`.
    """
    from coord import plugins
    from coord.run.config import choice_of
    from coord.run.folder import check_out, open_run
    from coord.run.training import TrainingJob, run_job
    from coord.threads import set_threads
    from populations import pool
    from populations.training import Setup

    check_out(cfg)
    _, name = choice_of(cfg.method)
    set_threads(cfg.threads)
    where: dict[str, Any] = {"layout": cfg.layout, "rules": cfg.rules, "horizon": cfg.horizon}
    setup = Setup(algo=cfg.algo, **where, members=cfg.members, seed=cfg.seed, name=name)
    # Before the folder is made: whatever cannot be built leaves nothing behind.
    training = plugins.find("coord.pool_methods", name, "method").make(cfg.method, setup)
    with open_run(cfg, algo=name, layout=cfg.layout) as folder:
        if (folder / pool.MANIFEST).exists():
            return folder
        title, resume = f"{name} pool of {cfg.members} on {cfg.layout}", f"coord population resume={folder}"
        begun = (training.state, training.env, cfg.save_every_s)
        run_job(TrainingJob(folder, title, resume, *begun, extra=training.extra, train=training.run))
        pool.add_members(folder, training.agents())
    return folder
