"""`coord efficiency run`: the trainings behind the report on labels, and the games that score them.

Every training is a command that can be typed: `coord population` for the partners, then `coord prefer env=overcooked`
or `coord rlhf`. The learner `ppo_from_imitation` is PPO that begins as what `coord rlhf` imitates (`init_from`); that
alone is what it is worth without labels. As with the scoreboard, a training is done when its folder holds its agents,
a cell when its file says that it was played by these agents under these settings. All runs on a kitchen have the same
seed and partners.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from coord import checkpoint
from coord.agents.files import AGENT_FILE, MANIFEST
from coord.algos.bc import recorded_layout
from coord.errors import unknown
from coord.evaluation import efficiency
from coord.evaluation.efficiency import ORACLE, PARTS, UNTRAINED, WANTS, Point
from coord.evaluation.scoreboard import GameSettings
from coord.files import parse_json, read_text, reading_kept
from coord.overcooked import load_layout
from coord.preference.steps import RESULT_FILE, STEPS
from coord.preference.tasks.kitchen_teachers import UTILITIES
from coord.run.logger import read_metrics
from populations.board.recipes import Budget, TrainingStep, check_same, pool_step
from populations.board.runner import LAYOUT_MARK, layout_name
from populations.board.work import PlanWorker

if TYPE_CHECKING:
    from populations.board.config import EfficiencyConfig

POOL = "fcp"  # recipe of the partners, unless others are given
LEARNERS: dict[str, str] = {"ppo": "ppo", "ppo_from_imitation": "ppo", "sac": "sac"}  # those of coord prefer
IMITATOR = "ppo_from_imitation"  # begins as what `coord rlhf` imitates
METHODS: dict[str, tuple[str, ...]] = {  # words of coord prefer
    "pebble": ("method=pebble",),
    "mrn_released": ("method=mrn", "method.form=released"),
    "mrn_corrected": ("method=mrn", "method.form=corrected"),
}
RLHF: dict[str, tuple[str, ...]] = {"with_kl": (), "without_kl": ("kl.coef=0",)}  # words of coord rlhf


class EfficiencyEntry(NamedTuple):
    """A cell before anything is trained: what is known of it, the training that it needs, and the agents it leaves."""

    point: Point
    step: TrainingStep
    refs: tuple[str, ...]
    before: tuple[TrainingStep, ...] = ()  # trainings that this one starts from


@dataclass
class Report:
    """Everything that a report asks for; `run` does what of it is missing.

    Raises:
        UserError: unknown parts, layouts, learners, methods or utilities, words that do not fit, folders that hold
            other runs; before anything is done.
    """

    cfg: EfficiencyConfig
    say: Callable[[str], None] = print
    work: PlanWorker = field(init=False)

    def __post_init__(self) -> None:
        cfg = self.cfg
        self.out = Path(cfg.out)
        self.work = PlanWorker(self.out, cfg.threads, self.say)
        self.settings = GameSettings(horizon=cfg.horizon, episodes=cfg.episodes, seed=cfg.seed)
        self.budget = Budget(
            out=self.out,
            seeds=cfg.seeds,
            seed=cfg.seed,
            horizon=cfg.horizon,
            threads=cfg.threads,
            pool_words=cfg.pool_words,
        )
        self._check_names()
        self.layouts = list(dict.fromkeys(map(layout_name, cfg.layouts)))
        for layout in self.layouts:
            recorded_layout(load_layout(layout))  # refuses one without human games
        self.pools = {} if cfg.pool else {layout: pool_step(POOL, layout, self.budget) for layout in self.layouts}
        self.entries = {layout: self._entries(layout) for layout in self.layouts}
        for step in [*self.pools.values(), *(one.step for row in self.entries.values() for one in row)]:
            check_same(step)

    def _check_names(self) -> None:
        cfg = self.cfg
        asked: tuple[tuple[str, Sequence[str], Sequence[str]], ...] = (
            ("part", cfg.parts, PARTS),
            ("learner", (*cfg.learners, cfg.utility_learner), tuple(LEARNERS)),
            ("method", (*cfg.methods, cfg.utility_method), tuple(METHODS)),
            ("utility", cfg.utilities, tuple(UTILITIES)),
            ("wish of a teacher (wants)", (cfg.wants,), WANTS),
        )
        for what, names, allowed in asked:
            for name in names:
                if name not in allowed:
                    raise unknown(what, name, allowed)

    # ------------------------------------------------------------------------------------------------ the plan

    def _entries(self, layout: str) -> list[EfficiencyEntry]:
        """All cells of a kitchen that are asked for."""
        makers = {"curves": self._curves, "rlhf": self._rlhf, "utilities": self._utilities}
        return [entry for part in PARTS if part in (self.cfg.parts or PARTS) for entry in makers[part](layout)]

    def _curves(self, layout: str) -> list[EfficiencyEntry]:
        cfg, found = self.cfg, []
        for learner in cfg.learners:
            if cfg.oracle:
                found.append(self._preferred("curves", layout, learner, ORACLE, None))
            for labels in cfg.labels:
                methods = cfg.methods if labels else (UNTRAINED,)
                found += [self._preferred("curves", layout, learner, method, labels) for method in methods]
        return found

    def _utilities(self, layout: str) -> list[EfficiencyEntry]:
        cfg, found = self.cfg, []
        for wants in cfg.utilities:
            for method, labels in ((ORACLE, None), (cfg.utility_method, cfg.utility_labels)):
                found.append(self._preferred("utilities", layout, cfg.utility_learner, method, labels, wants))
        return found

    def _preferred(
        self, part: str, layout: str, learner: str, method: str, labels: int | None, utility: str = ""
    ) -> EfficiencyEntry:
        """A run of `coord prefer`; utility: what its teacher wants instead of what those of all others want."""
        cfg = self.cfg
        own_utility, wants = [utility] if utility else [], utility or cfg.wants
        name = "-".join([*own_utility, learner, method.replace(" ", "_"), *([str(labels)] if labels else [])])
        words = {ORACLE: ("method=true_reward",), UNTRAINED: ("method=pebble", "labels=0")} | METHODS
        budget = (f"labels={labels}", f"session_labels={math.ceil(labels / cfg.sessions)}") if labels else ()
        teacher = ("teacher.wants=utility", f"teacher.utility={wants}") if own_utility else (f"teacher.wants={wants}",)
        taught_by = LEARNERS[learner]
        own = cfg.ppo_words if taught_by == "ppo" else cfg.sac_words
        start = self._imitation(layout) if learner == IMITATOR else None
        begin = () if start is None else (f"init_from={start.refs[0]}",)
        proxies = f"eval_partners={','.join(cfg.proxies)}"
        chosen = ("env=overcooked", f"learner={taught_by}", *begin, *words[method], *budget, *teacher, proxies, *own)
        point = Point(part=part, name=name, layout=layout, learner=learner, method=method, labels=labels, wants=wants)
        if start is not None and method == UNTRAINED:
            return start._replace(point=point)
        entry = self._entry(point, "prefer", chosen, MANIFEST if cfg.seeds > 1 else AGENT_FILE)
        return entry if start is None else entry._replace(before=(start.step,))

    def _rlhf(self, layout: str) -> list[EfficiencyEntry]:
        return [self._imitation(layout), *(self._pipeline(layout, name) for name in RLHF)]

    def _pipeline(self, layout: str, name: str) -> EfficiencyEntry:
        """A run of `coord rlhf`."""
        cfg = self.cfg
        proxies = (f"proxies={','.join(cfg.proxies)}", f"episodes={cfg.episodes}")
        point = Point(
            part="rlhf",
            name=name,
            layout=layout,
            learner="ppo",
            method="rlhf",
            labels=cfg.rlhf_labels,
            wants=cfg.wants,
        )
        chosen = (f"labels={cfg.rlhf_labels}", f"teacher.wants={cfg.wants}", *proxies, *RLHF[name], *cfg.rlhf_words)
        return self._entry(point, "rlhf", chosen, RESULT_FILE)

    def _imitation(self, layout: str) -> EfficiencyEntry:
        """What imitation alone leaves: the first step of the pipeline with the penalty."""
        whole = self._pipeline(layout, "with_kl")
        point = replace(whole.point, name="imitation", method="imitation", labels=None)
        return EfficiencyEntry(point, whole.step, ((whole.step.folder / STEPS[0]).as_posix(),))

    def _entry(self, point: Point, command: str, chosen: Sequence[str], result: str) -> EfficiencyEntry:
        layout, cfg = point.layout, self.cfg
        folder = self.out / "train" / layout / point.part / point.name
        where = (f"layout={layout}", f"horizon={cfg.horizon}", f"members={cfg.seeds}", f"threads={cfg.threads}")
        seed = f"seed={self.budget.seed_of('efficiency', layout)}"
        words = (*where, seed, f"partners={self._pool(layout)}", *chosen, f"out={folder.as_posix()}")
        step = TrainingStep(command, words, folder, folder / result, "egos")
        return EfficiencyEntry(point, step, (folder.as_posix(),))

    def _pool(self, layout: str) -> str:
        """Whom everybody learns with on a layout."""
        if self.cfg.pool:
            return self.cfg.pool.replace(LAYOUT_MARK, layout)
        return self.pools[layout].folder.as_posix()

    # ------------------------------------------------------------------------------------------------ doing it

    def run(self) -> None:
        """Kitchen by kitchen: the partners, then every training and its games."""
        for number, (layout, entries) in enumerate(self.entries.items(), start=1):
            self.work.tell(f"{layout}, layout {number} of {len(self.layouts)}: {len(entries)} cells")
            if layout in self.pools and not self._has_pool(layout):
                continue
            for entry in entries:
                self.work.attempt(f"{entry.point.name} on {layout}", partial(self._do, entry))

    def _has_pool(self, layout: str) -> bool:
        """Whether the partners are there, trained now if need be."""
        step = self.pools[layout]
        self.work.attempt(f"partners on {layout}", partial(self.work.train, "everybody", step))
        return step.result.exists()

    def _do(self, entry: EfficiencyEntry) -> None:
        for step in (*entry.before, entry.step):
            self.work.train(entry.point.name, step)
        facts: dict[str, Any] = checkpoint.portable(training_facts(entry.step))
        if entry.refs[0] != entry.step.folder.as_posix():
            facts["kl"] = None  # that is the policy's, after the imitation
        point = replace(entry.point, refs=entry.refs, training=facts)
        if efficiency.play(self.out, point, self.settings, self.cfg.proxies):
            cell = efficiency.read(self.out).cells[point.part][point.name, point.layout]
            value = efficiency.figure(cell["returns"])
            self.work.tell(f"{point.layout} {point.name}: {value.mean:.1f} [{value.low:.1f}, {value.high:.1f}]")


def training_facts(step: TrainingStep) -> dict[str, Any]:
    """What a finished training cost and came to: minutes, steps per learner, its command, last figures of its log."""
    logs = [read_metrics(path) for path in sorted(step.folder.rglob("metrics.jsonl"))]
    last = [rows[-1] for rows in logs if rows]
    return {
        "minutes": sum(float(row.get("time/elapsed_s") or 0.0) for row in last) / 60,
        "steps": max((int(row["step"]) for row in last), default=0),
        "command": step.text,
        "rank_correlation": last_value(logs, "reward/rank_correlation"),
        **(_steps_of_rlhf(step.folder) if step.command == "rlhf" else {}),
    }


def last_value(logs: Sequence[Sequence[Mapping[str, Any]]], key: str) -> float | None:
    """The last number that any of the logs has for a key."""
    values = [row[key] for rows in logs for row in rows if row.get(key) is not None]
    return float(values[-1]) if values else None


def _steps_of_rlhf(folder: Path) -> dict[str, Any]:
    """Divergence of the policy, and accuracy of the reward model in games with the proxies; means over the seeds."""
    path = folder / RESULT_FILE
    with reading_kept(path, "remove it and resume that run"):
        steps = parse_json(read_text(path))["steps"]
        accuracy = [value for value in steps["reward"]["accuracy"] if value is not None]
        return {
            "kl": float(np.mean(steps["policy"]["reward/kl"])),
            "accuracy": float(np.mean(accuracy)) if accuracy else None,
        }
