"""`coord crowd`: does a model of annotators find out who is who, and a report on the annotators of a label store."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge, Le

from coord.limits import Count, Seed

HELP = "annotators who disagree: an experiment on synthetic crowds, and a report on those of a label store"
EXAMPLES = (
    "coord crowd",
    "coord crowd experiment seeds=16 queries=200 out=runs/crowd-long",
    "coord crowd report store=runs/pebble",
    "coord crowd report store=runs/pebble/labels.sqlite groups=2 json=true",
)


@dataclass(frozen=True, kw_only=True)
class CrowdCommandConfig:
    """People who disagree: an experiment on synthetic crowds, or a report on the annotators of a label store."""

    what: Literal["experiment", "report"] = "experiment"  # experiment | report
    # experiment: repetitions with rewards, people and queries of their own, at least 2
    seeds: Annotated[int, Ge(2), Le(100_000)] = 8
    queries: Count = 150  # experiment: queries asked in each
    per_query: Annotated[int, Ge(1), Le(7)] = 3  # experiment: annotators that answer each, of 7
    store: str | None = None  # report: a label store, or the folder of the run that it belongs to
    run: str | None = None  # report: only this run of the store; null: all
    groups: Count = 1  # report: groups with wishes of their own; 1: all want the same, more or less reliably
    json: bool = False  # print JSON instead of a table
    threads: int = 1  # threads of torch; the networks are small, more do not help
    seed: Seed = 0  # root of all randomness
    out: str = "runs/crowd"  # experiment: folder for crowd.json, crowd.png and labels.sqlite

    def idle(self) -> dict[str, str]:
        """Fields that nothing reads as the others are set, and why."""
        report, experiment = ("store", "run", "groups"), ("seeds", "queries", "per_query", "seed", "out")
        other, unread = ("experiment", experiment) if self.what == "report" else ("report", report)
        return dict.fromkeys(unread, f"it is for coord crowd {other}")


Config = CrowdCommandConfig


def run(overrides: Sequence[str]) -> int:
    """Do what the words say; the exit code."""
    from coord.run.config import load
    from coord.threads import set_threads

    cfg = load("crowd", overrides, positional=("what",))
    set_threads(cfg.threads)
    if cfg.what == "report":
        print(report(cfg))
    else:
        print(experiment(cfg))
    return 0


def experiment(cfg: CrowdCommandConfig) -> str:
    """Runs the experiment, writes its figures and its picture; what to print."""
    from coord.checkpoint import provenance
    from coord.files import atomic_write_json, check_folder
    from coord.locks import locked_folder
    from coord.run.config import to_dict
    from coord.studies.crowd_experiment import reward_config, run_crowds
    from coord.studies.crowd_figures import draw_figure, summary

    out = Path(cfg.out)
    check_folder(out)
    with locked_folder(out):
        result = run_crowds(out, cfg.seeds, cfg.queries, cfg.per_query, cfg.seed)
    atomic_write_json(out / "crowd.json", {**result, "reward": reward_config(), "provenance": provenance(to_dict(cfg))})
    draw_figure(result, out / "crowd.png")
    written = f"written to {out / 'crowd.json'}, {out / 'crowd.png'} and {out / 'labels.sqlite'}"
    return json.dumps(result) if cfg.json else f"{summary(result)}\n{written}"


def report(cfg: CrowdCommandConfig) -> str:
    """The annotators of a label store, as a table or as JSON.

    Raises:
        UserError: no store is named, it cannot be read, or nobody has answered yet.
    """
    from coord.errors import UserError
    from coord.evaluation.report.annotator_report import annotator_report, table
    from coord.preference.labels.feedback import STORE_FILE
    from coord.preference.labels.store import LabelStore
    from coord.preference.reward.annotators import MixtureConfig, ReliabilityConfig

    if cfg.store is None:
        raise UserError("which label store? name it with store=, for example store=runs/pebble")
    if cfg.groups < 1:
        raise UserError(f"groups={cfg.groups}: must be at least 1")
    crowd = MixtureConfig(groups=cfg.groups) if cfg.groups > 1 else ReliabilityConfig()
    path = Path(cfg.store)
    store = LabelStore(path / STORE_FILE if path.is_dir() else path, create=False, writes=False)
    try:
        rows = annotator_report(store, cfg.run, crowd, seed=cfg.seed)
    finally:
        store.close()
    return json.dumps(rows) if cfg.json else table(rows)
