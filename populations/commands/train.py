"""`coord train`: train one agent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from coord import plugins
from coord.limits import Horizon, Members, Seconds, Seed

if TYPE_CHECKING:
    from coord.agents.files import StoredAgent
    from coord.algos.bc import BCConfig, CloningData
    from coord.algos.ppo import PPOConfig
    from populations.training import Setup

HELP = "train one agent: alone with itself, with a pool of partners, or from human games"
EXAMPLES = (
    "coord train layout=cramped_room out=runs/sp",
    "coord train layout=cramped_room partners=runs/pool out=runs/ego",
    "coord train layout=cramped_room partners=runs/pool members=3 out=runs/egos",
    "coord train method=mep layout=cramped_room partners=runs/pool out=runs/mep",
    "coord train method=ppo_bc layout=cramped_room members=3 out=runs/ppo_bc",
    "coord train method=e3t layout=cramped_room out=runs/e3t",
    "coord train method=belief layout=cramped_room partners=runs/pool out=runs/belief",
    "coord train method=pecan layout=cramped_room partners=runs/pool out=runs/pecan",
    "coord train method=recurrent layout=cramped_room partners=runs/pool out=runs/recurrent",
    "coord train method=cec out=runs/cec",
    "coord train algo=bc layout=cramped_room out=runs/bc",
    "coord train algo=bc layout=cramped_room data=games.sqlite out=runs/people",
    "coord train resume=runs/ego",
)


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """One agent, by reinforcement learning (algo=ppo) or from human games (algo=bc)."""

    algo: PPOConfig | BCConfig = plugins.choice(
        "ppo", {"ppo": "coord.algos.ppo:PPOConfig", "bc": "coord.algos.bc:BCConfig"}
    )
    method: Any = plugins.choice("ppo", "coord.ego_methods")
    # published: budget and hyper-parameters of the method's authors; null: ours, for two cores
    preset: str | None = None
    layout: str = "cramped_room"  # kitchen: a name of overcooked-ai, or the path of a layout file
    # classic (2019, the pot starts at the third onion) or overcooked-ai
    rules: Literal["classic", "overcooked-ai"] = "classic"
    horizon: Horizon = 400  # ticks per game
    seed: Seed = 0  # root of all randomness
    partners: tuple[str, ...] = ()  # pools or agents to train with, comma separated; empty: self-play
    members: Members = 1  # independent learners (seeds) trained side by side; several make the run folder a pool
    name: str | None = None  # prefix of the agents' ids; null: the method (for ppo: ego with partners, sp without)
    data: str | None = None  # algo=bc: file of recorded games; null: the packaged human-human games
    # threads of torch and of the kitchens, part of what a run is; 0: one per usable core, written down as that number
    threads: int = 0
    save_every_s: Seconds = 60.0  # seconds between checkpoints
    out: str | None = None  # run folder; null: runs/overcooked/<layout>/<algo>/<date>-<hash>/seed<k>
    resume: str | None = None  # run folder to go on with, with the configuration saved there
    change_threads: bool = False  # true: resume= may go on with another number of threads=, to another result

    def idle(self) -> dict[str, str]:
        """Fields that nothing reads as the others are set, and why."""
        from coord.run.config import chosen

        if chosen(self, "algo") != "bc":
            return {"data": "recorded games are for algo=bc; algo=ppo learns by playing"} if self.data else {}
        plays = ("method", "preset", "partners", "members", "name", "horizon", "save_every_s")
        idle = dict.fromkeys(plays, "algo=bc clones people from their games: one agent, without playing")
        return idle if self.data else {**idle, "rules": "the packaged human games have rules of their own"}


Config = TrainConfig


def run(overrides: Sequence[str]) -> int:
    """Train as the words say; the exit code."""
    from coord.run.config import load

    cfg = load("train", overrides)
    from coord.algos.bc import BCConfig  # these load torch, which a wrong word need not wait for
    from coord.run.folder import check_out

    check_out(cfg)
    algo = cfg.algo
    folder = train_clone(cfg, algo) if isinstance(algo, BCConfig) else train_ego(cfg, algo)
    print(f"agent written to {folder}")
    return 0


def train_ego(cfg: TrainConfig, algo: PPOConfig) -> Path:
    """Train egos by a published method; finishes a run that was interrupted. The run folder.

    It holds `agent.safetensors`, or with several members a pool of them.

    Raises:
        UserError: unknown layout or partner, held-out partners, a folder that holds another run, a full disk; see
            also `run_job`.
    """
    from coord.run.config import chosen
    from coord.run.folder import open_run
    from coord.run.training import TrainingJob, run_job
    from coord.threads import set_threads
    from populations.training import egos_file, write_egos

    method = chosen(cfg, "method")
    set_threads(cfg.threads)
    setup = ego_setup(cfg, algo, method)
    # Before the folder is made: whatever cannot be built leaves nothing behind.
    training = plugins.find("coord.ego_methods", method, "method").make(cfg.method, setup)
    alone = method == "ppo" and not setup.partners
    with open_run(cfg, algo="sp" if alone else method, layout=cfg.layout, read=partners_read(cfg, setup)) as folder:
        if egos_file(folder, setup).exists():
            return folder
        title = f"{method} on {cfg.layout}" + (f" with {len(setup.partners)} partners" if setup.partners else "")
        begun = (training.state, training.env, cfg.save_every_s)
        again = f"coord train resume={folder}"
        run_job(TrainingJob(folder, title, again, *begun, extra=training.extra, train=training.run))
        write_egos(folder, training.agents())
    return folder


def partners_read(cfg: TrainConfig, setup: Setup) -> dict[str, Any]:
    """What a run folder keeps of the partners."""
    from coord.evaluation.agents import identities

    return {"partners": identities(cfg.partners, setup.partners)}


def ego_setup(cfg: TrainConfig, algo: PPOConfig, method: str) -> Setup:
    """What the method is given; partners are loaded, held-out ones refused."""
    from coord.evaluation.agents import hashes_of, load_training_partners
    from populations.training import Setup

    partners = tuple(load_training_partners(cfg.partners, cfg.layout, cfg.rules))
    trained_with = tuple(hashes_of(cfg.partners))
    name = cfg.name or {"ppo": "ego" if partners else "sp"}.get(method, method)
    where: dict[str, Any] = {"layout": cfg.layout, "rules": cfg.rules, "horizon": cfg.horizon}
    whom: dict[str, Any] = {"partners": partners, "trained_with": trained_with}
    return Setup(algo=algo, **where, members=cfg.members, seed=cfg.seed, name=name, **whom)


def train_clone(cfg: TrainConfig, algo: BCConfig) -> Path:
    """Behaviour cloning; the run folder with `agent.safetensors`.

    Raises:
        UserError: a layout without human games, unreadable data, a folder that holds another run, a full disk.
    """
    from coord.agents.files import AGENT_FILE, save_agent
    from coord.algos import bc
    from coord.run.config import to_dict
    from coord.run.folder import open_run
    from coord.run.inputs import array_hash
    from coord.threads import set_threads

    set_threads(cfg.threads)
    if cfg.data is None:  # read, and refused, before a folder is made
        data = bc.packaged_games(cfg.layout, algo.split)
    else:
        data = bc.own_games(cfg.data, cfg.layout, cfg.rules)
    bc.check_memory(data.demos, algo)
    read = {"data": array_hash(*data.demos, *(data.unseen or ()))}
    with open_run(cfg, algo="bc", layout=cfg.layout, read=read) as folder:
        if (folder / AGENT_FILE).exists():
            return folder
        clone = clone_people(cfg, algo, data, folder)
        save_agent(folder / AGENT_FILE, clone.card, clone.net, config=to_dict(cfg))
    return folder


def clone_people(cfg: TrainConfig, algo: BCConfig, data: CloningData, folder: Path) -> StoredAgent:
    """The clone of the people in `data`, with its metrics in the run folder."""
    from coord.algos import bc
    from coord.locks import check_held
    from coord.run.logger import Logger
    from coord.run.progress import Progress

    title, epochs = f"clone people on {cfg.layout}", algo.epochs or data.epochs
    with Logger(folder) as logger, Progress(title, epochs, unit="epochs") as progress:

        def on_epoch(epoch: bc.Epoch) -> None:
            check_held()
            logger.log(epoch.metrics, epoch.decisions)
            progress.update(epoch.done, epoch.metrics)

        return bc.train_clone(data, algo, cfg.seed, on_epoch)
