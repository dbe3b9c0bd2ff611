"""`coord prefer`: learn a task from preferences between segments of behaviour, and the learners it is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from coord.preference.config import PreferConfig
    from coord.run.training import Job

HELP = "learn a control task from preferences: PEBBLE, SURF, RUNE, MRN, QPA, PrefPPO, and SAC on the true reward"
EXAMPLES = (
    "coord prefer env=walker_walk method=pebble out=runs/pebble",
    "coord prefer env=walker_walk method=mrn method.form=corrected members=5 out=runs/mrn",
    "coord prefer env=button-press method=ours labels=200 out=runs/ours",
    "coord prefer env=walker_walk method=sac out=runs/oracle",
    "coord prefer env=door-open method=surf preset=published out=runs/published",
    "coord prefer resume=runs/pebble",
)


def run(overrides: Sequence[str]) -> int:
    """Learn as the words say; the exit code."""
    from coord.run.config import load

    cfg = load("prefer", overrides)
    print(summary(cfg, learn(cfg)))
    return 0


def learn(cfg: PreferConfig) -> Path:
    """Train as configured, or finish a run that was interrupted; the run folder with one policy file per member.

    Raises:
        UserError: unknown task, missing extra, settings that do not fit, a folder that holds another run, a full disk;
            see also `run_job`.
    """
    from coord.preference import prefppo, training
    from coord.preference.config import check
    from coord.preference.methods import METHODS, name_of
    from coord.preference.tasks import make_envs
    from coord.run.training import run_job, set_threads

    name = name_of(cfg)
    method, loop = METHODS[name], prefppo if METHODS[name].on_policy else training
    set_threads(cfg.threads)
    # Before the folder is made: whatever cannot be built leaves nothing behind.
    with make_envs(cfg) as envs:
        check(cfg, envs.train, learns_reward=method.learns_reward)
        run = loop.build(cfg, method, envs)
        folder = open_run(cfg, name)
        if (folder / "agents").exists():  # finished before
            return folder
        run_job(job_of(cfg, name, folder, run, envs, loop.train))
        head = "argmax" if envs.train.discrete else "clip" if method.on_policy else "tanh"
        write_policies(folder, cfg, name, head, loop.policies(run))
    return folder


def job_of(cfg: PreferConfig, name: str, folder: Path, run: Any, envs: Any, train: Any) -> Job:
    """The run as a job, its label store open."""
    from coord.preference.tasks import has_success
    from coord.run.training import Job

    run.open(folder)
    shown = {"return": "eval/return", f"labels (of {cfg.labels})": "reward/labels"}
    if has_success(cfg.env):
        shown["success"] = "eval/success"
    return Job(
        folder,
        f"{name} on {cfg.env} ({cfg.preset})",
        f"coord prefer resume={folder}",
        run,
        envs,
        cfg.save_every_s,
        train=train,
        shown=shown,
        phase=lambda state: state.phase,
    )


def open_run(cfg: PreferConfig, name: str) -> Path:
    """The folder of a run, new or to be resumed.

    Raises:
        UserError: a new run is asked for in a folder that holds one, or the folder cannot be written.
    """
    from coord.run import folder

    if cfg.resume:
        return Path(cfg.resume)
    where = folder.run_folder(cfg, task="control", layout=cfg.env, algo=name, seed=cfg.seed, out=cfg.out)
    return folder.create(where, cfg)


def write_policies(folder: Path, cfg: PreferConfig, name: str, head: str, policies: list[dict[str, Any]]) -> None:
    """One policy file per member under `agents/`, with what it learned from and how it did at last."""
    from coord.preference.policy_files import PolicyCard, save_policy
    from coord.run.config import to_dict

    last = final_row(folder)
    for m, tensors in enumerate(policies):
        labels, skipped = (int(member_value(last, f"reward/{key}", m) or 0) for key in ("labels", "skipped"))
        card = PolicyCard(
            agent_id=f"{name}{cfg.seed}-{m}",
            task=cfg.env,
            method=name,
            preset=cfg.preset,
            head=head,
            seed=cfg.seed,
            member=m,
            env_steps=int(last["step"]),
            labels=labels,
            skipped=skipped,
            teacher="" if name == "sac" else cfg.teacher.kind if cfg.answerer == "teacher" else cfg.answerer,
            eval_return=member_value(last, "eval/return", m),
            eval_success=member_value(last, "eval/success", m),
        )
        save_policy(folder / "agents" / f"{card.agent_id}.safetensors", card, tensors, config=to_dict(cfg))


def final_row(folder: Path) -> dict[str, Any]:
    """The row of the last evaluation in a run folder's metrics."""
    from coord.run.logger import read_metrics

    rows = read_metrics(folder / "metrics.jsonl")
    return next(row for row in reversed(rows) if "eval/return" in row)


def member_value(row: dict[str, Any], key: str, m: int) -> float | None:
    """A metric of one member; with a lone member the mean is its own."""
    return row.get(f"{key}/{m}", row.get(key))


def summary(cfg: PreferConfig, folder: Path) -> str:
    """The final evaluation as a table: mean, interquartile mean and interval over members (seeds)."""
    from coord.preference.config import PRESETS
    from coord.preference.tasks import has_success
    from coord.stats import bootstrap_ci, iqm, mean

    row = final_row(folder)
    keys = ["eval/return", "eval/success"] if has_success(cfg.env) else ["eval/return"]
    lines = [f"{cfg.env}, preset {cfg.preset} ({PRESETS[cfg.preset]}), {row['step']} steps, {cfg.members} seeds"]
    lines.append(f"{'':<10}{'mean':>10}{'IQM':>10}{'95 % interval':>22}   seeds")
    for key in keys:
        values = [member_value(row, key, m) or 0.0 for m in range(cfg.members)]
        low, high = bootstrap_ci([values])
        each = " ".join(f"{value:.4g}" for value in values)
        interval = f"{low:.4g} .. {high:.4g}"
        lines.append(f"{key[5:]:<10}{mean(values):>10.4g}{iqm(values):>10.4g}{interval:>22}   {each}")
    return "\n".join([*lines, f"policies in {folder / 'agents'}"])
