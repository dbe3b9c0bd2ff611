"""`coord prefer`: learn a task from preferences between segments of behaviour, and the learners it is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from coord.agents.files import StoredAgent
    from coord.nets.population import PopulationNet
    from coord.overcooked import OvercookedVectorEnv
    from coord.preference.config import PreferConfig
    from coord.preference.labels.feedback import Feedback
    from coord.preference.methods.method import PreferenceMethod
    from coord.run.training import TrainingJob

HELP = "learn control tasks and kitchens from preferences: PEBBLE, SURF, RUNE, MRN, QPA, PrefPPO"
EXAMPLES = (
    "coord prefer env=walker_walk method=pebble out=runs/pebble",
    "coord prefer env=walker_walk method=mrn method.form=corrected members=5 out=runs/mrn",
    "coord prefer env=button-press method=ours labels=200 out=runs/ours",
    "coord prefer env=walker_walk method=sac out=runs/oracle",
    "coord prefer env=door-open method=surf preset=published out=runs/published",
    "coord prefer env=overcooked layout=cramped_room partners=runs/pool method=mrn out=runs/ego",
    "coord prefer env=overcooked learner=ppo partners=runs/pool method=mrn out=runs/ppo_ego",
    "coord prefer env=overcooked partners=runs/pool teacher.wants=utility teacher.utility=own_plating out=runs/own",
    "coord prefer resume=runs/pebble",
)
Config = "coord.preference.config:PreferConfig"  # by name: importing it loads torch


def idle(cfg: PreferConfig) -> dict[str, str]:
    """Fields that nothing reads as the others are set, and why."""
    from coord.preference.learners import check

    return check.idle(cfg)


def run(overrides: Sequence[str]) -> int:
    """Learn as the words say; the exit code."""
    from coord.run.config import load

    cfg = load("prefer", overrides)
    print(summary(cfg, learn(cfg)))
    return 0


def learn(cfg: PreferConfig) -> Path:
    """Train as configured, or finish a run that was interrupted; the run folder with one policy per member.

    In kitchens these are agents like every other: `agent.safetensors`, or a pool of several.

    Raises:
        UserError: unknown task, missing extra, no partners, settings that do not fit, a folder that holds another run,
            a full disk; see also `run_job`.
    """
    from coord.agents.files import check_id
    from coord.preference.learners.check import check
    from coord.preference.methods.method import name_of, named
    from coord.preference.tasks.registry import make_envs
    from coord.run.folder import check_out
    from coord.run.training import run_job
    from coord.threads import set_threads

    check_out(cfg)
    name = name_of(cfg.method)
    method = named(name)
    loop = loop_of(cfg, method)
    set_threads(cfg.threads)
    check_id(f"{name}{cfg.seed}-{cfg.members}", asked=f"seed={cfg.seed}")
    # Before the folder is made: whatever cannot be built leaves nothing behind.
    partners, begun_as = partners_of(cfg), models_of(cfg)
    with make_envs(cfg.task, *partners) as envs:
        check(cfg, envs.train, learns_reward=method.learns_reward)
        run = loop.build(cfg, method, envs, **({"start": stacked(begun_as, cfg.members)} if begun_as else {}))
        with open_folder(cfg, name, inputs_of(cfg, *partners, begun_as, run.feedback)) as folder:
            if not is_finished(folder):
                run_job(job_of(cfg, name, folder, run, envs, loop.train))
                write_results(folder, cfg, name, run, envs.train, [*partners[0], *begun_as])
    return folder


def write_results(
    folder: Path, cfg: PreferConfig, name: str, run: Any, env: Any, learned_with: list[StoredAgent]
) -> None:
    """What a run leaves: agents of kitchens, or one policy per member."""
    from coord.preference.methods.method import named
    from coord.preference.tasks.kitchen_env import KitchenTaskEnv

    method = named(name)
    loop = loop_of(cfg, method)
    if isinstance(env, KitchenTaskEnv):
        write_kitchen_egos(folder, cfg, name, loop.nets(run, env), env.kitchens, learned_with)
        return
    head = "argmax" if env.discrete else "clip" if method.on_policy else "tanh"
    write_policies(folder, cfg, name, head, loop.policies(run))


def inputs_of(
    cfg: PreferConfig,
    partners: list[StoredAgent],
    eval_partners: list[StoredAgent],
    begun_as: list[StoredAgent],
    feedback: Feedback | None,
) -> dict[str, Any]:
    """What a run folder keeps of what was read."""
    from coord.evaluation.agents import identities
    from coord.run.inputs import array_hash

    read: dict[str, Any] = {
        "partners": identities(cfg.partners, partners),
        "eval_partners": identities(cfg.eval_partners, eval_partners),
        "init_from": identities([cfg.init_from] if cfg.init_from else [], begun_as),
    }
    if feedback is not None and feedback.moments is not None:
        said = feedback.moments
        read["extra_labels"] = array_hash(*said.labels, said.unsafe)
    return read


def loop_of(cfg: PreferConfig, method: PreferenceMethod) -> Any:
    """The module that trains the learner by the method."""
    from coord.preference.learners import kitchen_ppo, prefppo, sac

    if cfg.learner == "ppo":
        return kitchen_ppo
    return prefppo if method.on_policy else sac


def is_finished(folder: Path) -> bool:
    """Whether a run wrote what it leaves behind."""
    from coord.agents.files import AGENT_FILE, MANIFEST

    return any((folder / name).exists() for name in ("agents", AGENT_FILE, MANIFEST))


def partners_of(cfg: PreferConfig) -> tuple[list[StoredAgent], list[StoredAgent]]:
    """Whom the ego of a kitchen learns with, and whom it is evaluated with (none: the same); none for other tasks.

    Raises:
        UserError: partners that do not exist or do not fit, held-out ones in training, partners of a task without.
    """
    from coord.errors import UserError
    from coord.evaluation.agents import load_networks, load_training_partners
    from coord.preference.tasks.config import KITCHENS

    if cfg.env != KITCHENS:
        if cfg.partners or cfg.eval_partners or cfg.layout:
            raise UserError(f"layout=, partners= and eval_partners= are for env={KITCHENS}, not for env={cfg.env}")
        return [], []
    where = str(cfg.layout), cfg.rules
    return load_training_partners(cfg.partners, *where), load_networks(cfg.eval_partners, *where)


def models_of(cfg: PreferConfig) -> list[StoredAgent]:
    """The agents that the egos begin as (`init_from`); none: they begin afresh.

    Raises:
        UserError: agents that do not exist, are held out, do not fit, or are neither one nor one per member.
    """
    from coord.errors import UserError
    from coord.evaluation.agents import load_training_partners

    if not cfg.init_from:
        return []
    if cfg.learner != "ppo":
        raise UserError(f"init_from={cfg.init_from} is for learner=ppo, not for learner={cfg.learner}")
    found = load_training_partners([cfg.init_from], str(cfg.layout), cfg.rules)
    if len(found) not in (1, cfg.members):
        raise UserError(f"init_from={cfg.init_from} holds {len(found)} agents: one is needed, or members={cfg.members}")
    return found


def stacked(found: list[StoredAgent], members: int) -> PopulationNet:
    """One network for each member: its own, or the only one there is."""
    from coord.nets.population import PopulationNet

    return PopulationNet.stack([found[m % len(found)].net for m in range(members)])


def job_of(cfg: PreferConfig, name: str, folder: Path, run: Any, envs: Any, train: Any) -> TrainingJob:
    """The run as a job, its label store open."""
    from coord.preference.tasks.registry import has_success
    from coord.run.training import TrainingJob

    run.open(folder)
    shown = {"return": "eval/return", f"labels (of {cfg.labels})": "reward/labels"}
    if has_success(cfg.env):
        shown["success"] = "eval/success"
    return TrainingJob(
        folder,
        f"{name}{' by PPO' if cfg.learner == 'ppo' else ''} on {cfg.layout or cfg.env} ({cfg.preset})",
        f"coord prefer resume={folder}",
        run,
        envs,
        cfg.save_every_s,
        train=train,
        shown=shown,
        phase=lambda state: state.phase,
    )


def open_folder(cfg: PreferConfig, name: str, read: dict[str, Any]) -> AbstractContextManager[Path]:
    """The folder of a run, see `coord.run.folder.open_run`."""
    from coord.preference.tasks.config import KITCHENS
    from coord.run.folder import open_run

    task, layout = (KITCHENS, str(cfg.layout)) if cfg.env == KITCHENS else ("control", cfg.env)
    return open_run(cfg, algo=name, task=task, layout=layout, read=read)


def write_policies(folder: Path, cfg: PreferConfig, name: str, head: str, policies: list[dict[str, Any]]) -> None:
    """One policy file per member under `agents/`, with what it learned from and how it did at last."""
    from coord.control.policies import PolicyCard, save_policy
    from coord.run.config import to_dict

    last = final_row(folder)
    for m, tensors in enumerate(policies):
        card = PolicyCard(
            agent_id=f"{name}{cfg.seed}-{m}",
            task=cfg.env,
            method=name,
            head=head,
            seed=cfg.seed,
            member=m,
            env_steps=int(last["step"]),
            **learned_from(cfg, name, last, m),
            eval_return=member_value(last, "eval/return", m),
            eval_success=member_value(last, "eval/success", m),
        )
        save_policy(folder / "agents" / f"{card.agent_id}.safetensors", card, tensors, config=to_dict(cfg))


def write_kitchen_egos(
    folder: Path,
    cfg: PreferConfig,
    name: str,
    nets: list[PopulationNet],
    kitchens: OvercookedVectorEnv,
    learned_with: list[StoredAgent],
) -> None:
    """One agent per member: a lone one as `agent.safetensors`, several as a pool.

    learned_with: partners, and whom the egos began as.
    """
    from coord.evaluation.agents import hashes_of
    from coord.preference.learners.kitchen_files import ego_card
    from populations.pool import NewMember
    from populations.training import write_egos

    last, origins = final_row(folder), hashes_of([cfg.init_from]) if cfg.init_from else []
    wanted: dict[str, Any] = {
        "wants": cfg.teacher.wants,
        "learner": cfg.learner,
        "trained_with": [*hashes_of(cfg.partners), *origins],
    }
    if cfg.teacher.wants == "utility":
        wanted |= {"utility": dict(cfg.teacher.weights) or cfg.teacher.utility}
    human_data = next((who.card.human_data for who in learned_with if who.card.human_data), "")
    found = []
    for m, net in enumerate(nets):
        agent_id = f"{name}{cfg.seed}" + (f"-{m}" if len(nets) > 1 else "")
        origin: dict[str, Any] = {"agent_id": agent_id, "method": name, "seed": cfg.seed, "member": m}
        origin |= {"env_steps": int(last["step"]), "mean_return": member_value(last, "eval/return", m)}
        learned = learned_from(cfg, name, last, m) | wanted
        if origins:
            learned["init_from"] = origins[m % len(origins)]
        found.append(NewMember(ego_card(net, kitchens, origin, human_data=human_data, **learned), net))
    write_egos(folder, found)


def learned_from(cfg: PreferConfig, name: str, last: dict[str, Any], m: int) -> dict[str, Any]:
    """What a card says of a member's labels: how many, who gave them, and under which preset."""
    from coord.preference.methods.method import named

    labels, skipped = (int(member_value(last, f"reward/{key}", m) or 0) for key in ("labels", "skipped"))
    teacher = "" if not named(name).learns_reward else cfg.teacher.kind if cfg.answerer == "teacher" else cfg.answerer
    return {"preset": cfg.preset, "labels": labels, "skipped": skipped, "teacher": teacher}


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
    from coord.preference.tasks.config import KITCHENS
    from coord.preference.tasks.registry import has_success
    from coord.stats import bootstrap_ci, iqm, mean

    row = final_row(folder)
    keys = ["eval/return", "eval/success"] if has_success(cfg.env) else ["eval/return"]
    preset = f"preset {cfg.preset} ({PRESETS[cfg.preset]})"
    lines = [f"{cfg.layout or cfg.env}, {preset}, {row['step']} steps, {cfg.members} seeds"]
    lines.append(f"{'':<10}{'mean':>10}{'IQM':>10}{'95 % interval':>22}   seeds")
    for key in keys:
        values = [member_value(row, key, m) or 0.0 for m in range(cfg.members)]
        low, high = bootstrap_ci([values])
        each = " ".join(f"{value:.4g}" for value in values)
        interval = f"{low:.4g} .. {high:.4g}"
        lines.append(f"{key[5:]:<10}{mean(values):>10.4g}{iqm(values):>10.4g}{interval:>22}   {each}")
    where = folder if cfg.env == KITCHENS else folder / "agents"
    return "\n".join([*lines, f"policies in {where}"])
