"""`coord population`: train a pool of partners and write it to a folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from coord import plugins
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
    """Several agents trained at once, as partners for somebody else."""

    algo: PPOConfig = plugins.choice("ppo", {"ppo": "coord.algos.ppo:PPOConfig"})
    method: Any = plugins.choice("fcp", "coord.pool_methods")
    members: Members = 4  # members that train side by side
    # published: budget and hyper-parameters of the method's authors; null: ours, for two cores
    preset: str | None = None
    layout: str = "cramped_room"  # kitchen: a name of overcooked-ai, or the path of a layout file
    # classic (2019, the pot starts at the third onion) or overcooked-ai
    rules: Literal["classic", "overcooked-ai"] = "classic"
    horizon: Horizon = 400  # ticks per game
    seed: Seed = 0  # root of all randomness
    # threads of torch and of the kitchens, part of what a run is; 0: one per usable core, written down as that number
    threads: int = 0
    save_every_s: Seconds = 60.0  # seconds between checkpoints
    out: str | None = None  # pool folder; null: runs/overcooked/<layout>/<method>/<date>-<hash>/seed<k>
    resume: str | None = None  # pool folder to go on with, with the configuration saved there
    change_threads: bool = False  # true: resume= may go on with another number of threads=, to another result


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
    from coord.run.config import chosen
    from coord.run.folder import check_out, open_run
    from coord.run.training import TrainingJob, run_job
    from coord.threads import set_threads
    from populations import pool
    from populations.training import Setup

    check_out(cfg)
    name = chosen(cfg, "method")
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
