"""Runs of `coord prefer` side by side: who learned what from how many answers, and how well.

Runs of one task and preset are compared with each other. Runs of one method that differ in nothing but their seeds are
one learner with all their members; where a method ran in several forms, the settings that differ tell them apart.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coord import stats
from coord.errors import UserError
from coord.evaluation.run_folder import Interval, MetricCurve, TrainingRun
from coord.preference.tasks.config import KITCHENS
from coord.yaml_files import parse_yaml

TRUE_REWARD = ("sac", "true_reward", "true_reward by PPO")  # the methods that others are measured by
FINAL_EVALUATIONS = 3  # a seed's final score is the mean of so many last evaluations
RETURN, SUCCESS, ASKED, LABELS = "eval/return", "eval/success", "reward/asked", "reward/labels"
MAX_NAMED_SETTINGS = 3  # forms that differ in more settings are called by their folders
SHORT = 14  # characters of a name beside its line in a chart

# What does not make a run another method: names, seeds, and where and how it is computed.
INCIDENTAL = frozenset(("seed", "members", "out", "resume", "threads", "change_threads", "device")) | frozenset(
    ("save_every_s", "env_processes", "on_crash", "log_every")
)
# What SAC on the true reward does not read.
OF_FEEDBACK = ("reward.", "query.", "teacher.", "session_", "label", "answer", "unsup_", "pool_", "reset_", "knn")
# What it is paid in kitchens: whatever the teacher judges by.
WANTED = ("teacher.wants", "teacher.shaped_weight", "teacher.utility", "teacher.weights", "teacher.task_weight")

Table = NDArray[np.float64]  # [T, n]: rows are steps, columns seeds


@dataclass(frozen=True)
class PreferenceRun:
    """One run folder of `coord prefer`."""

    run: TrainingRun
    config: Mapping[str, Any]

    @property
    def method(self) -> str:
        """Its name, with the learner where there are two for one task."""
        return str(self.config["method"]["name"]) + (" by PPO" if self.config.get("learner") == "ppo" else "")

    @property
    def env(self) -> str:
        return str(self.config["env"])

    @property
    def task(self) -> str:
        """What runs are compared on: the task, of kitchens the layout."""
        return str(self.config["layout"]) if self.env == KITCHENS else self.env

    @property
    def preset(self) -> str:
        return str(self.config["preset"])

    @property
    def members(self) -> int:
        return int(self.config["members"])

    @property
    def seeds(self) -> list[tuple[int, int]]:
        """What each member depends on besides the settings: (root seed, number)."""
        return [(int(self.config["seed"]), m) for m in range(self.members)]

    @property
    def minutes(self) -> float:
        """Training time of all members together, as far as logged; NaN where it is not."""
        elapsed = self.run.curves.get("time/elapsed_s")
        return float(np.nanmax(elapsed.values)) / 60 if elapsed is not None else math.nan

    @property
    def steps(self) -> float:
        """Environment steps per seed at the last evaluation."""
        return float(self.run.curves[RETURN].x[-1])

    @property
    def settings(self) -> dict[str, Any]:
        """Everything that may change what is learned, by dotted name."""
        flat = {key: value for key, value in _flat(self.config) if key not in INCIDENTAL}
        if self.method in TRUE_REWARD:
            paid_by = WANTED if self.env == KITCHENS else ()
            flat = {k: v for k, v in flat.items() if not k.startswith(OF_FEEDBACK) or k.startswith(paid_by)}
        return flat

    @property
    def changes(self) -> list[str]:
        """Settings that the command line changed, as they stand there."""
        words = [word for word in _words(self.run.command) if "=" in word]
        plain = {"env", "method", "preset", *INCIDENTAL}
        return [word for word in words if word.partition("=")[0] not in plain]

    def columns(self, key: str) -> list[MetricCurve]:
        """The curve of each member, in order; the mean over members alone where no more is logged; or nothing."""
        each = [self.run.curves.get(f"{key}/{m}") for m in range(self.members)]
        found = [curve for curve in each if curve is not None]
        if len(found) == self.members:
            return found
        return [self.run.curves[key]] if key in self.run.curves else []


@dataclass(frozen=True)
class MethodRuns:
    """One method in one form, with the seeds of all its runs."""

    method: str
    form: str  # settings in which it differs from the method's other forms; empty where there is one form
    short: str  # its name beside a line
    runs: list[PreferenceRun]  # no seed twice

    @property
    def name(self) -> str:
        return f"{self.method}: {self.form}" if self.form else self.method

    @property
    def learns_reward(self) -> bool:
        return self.method not in TRUE_REWARD

    @property
    def budget(self) -> float:
        """Environment steps per seed that were asked for."""
        return float(self.runs[0].config["total_steps"])

    @property
    def minutes(self) -> float:
        return math.fsum(run.minutes for run in self.runs)

    def table(self, key: str) -> tuple[NDArray[np.float64], Table]:
        """Steps [T] that all seeds have logged, and the values [T, n] there; n = 0 where the key is not logged."""
        curves = [curve for run in self.runs for curve in run.columns(key)]
        if not curves:
            return np.zeros(0), np.zeros((0, 0))
        steps = curves[0].x
        for curve in curves[1:]:
            steps = np.intersect1d(steps, curve.x)
        return steps, np.stack([curve.values[np.searchsorted(curve.x, steps)] for curve in curves], axis=1)

    def final(self, key: str) -> NDArray[np.float64]:
        """Final score of each seed [n]: the mean of its last evaluations, of those there are."""
        return last_mean(self.table(key)[1])

    def last(self, key: str) -> NDArray[np.float64]:
        """The last value of each seed [n]."""
        values = self.table(key)[1]
        return values[-1] if len(values) else np.zeros(0)


@dataclass(frozen=True)
class TaskComparison:
    """All learners of one task and preset."""

    task: str
    preset: str
    learners: list[MethodRuns]
    problems: list[str]

    @property
    def where(self) -> str:
        """For headings."""
        return f"{self.task}, preset {self.preset}"

    def baseline(self, learner: MethodRuns) -> MethodRuns | None:
        """SAC on the true reward with which `learner` is compared: the one most like it, if there is any."""
        candidates = [one for one in self.learners if not one.learns_reward]
        own = learner.runs[0].config

        def likeness(one: MethodRuns) -> tuple[bool, bool, float]:
            same_networks = one.runs[0].config["algo"] == own["algo"]
            return one.budget == learner.budget, same_networks, one.budget

        return max(candidates, key=likeness, default=None)

    @property
    def has_success(self) -> bool:
        """Whether the task can succeed, as Meta-World's can; DMControl's, called domain_task, and kitchens log 0."""
        env = self.learners[0].runs[0].env
        return "_" not in env and env != KITCHENS


# ------------------------------------------------------------------------------------------------------ reading


def split(runs: Iterable[TrainingRun], problems: list[str]) -> tuple[list[PreferenceRun], list[TrainingRun]]:
    """Runs of `coord prefer` that have been evaluated, and all other runs. Unusable ones are named in `problems`."""
    ours, others = [], []
    for run in runs:
        config = _config(run.config)
        if config is None:
            others.append(run)
        elif RETURN not in run.curves:
            problems.append(f"{run.path}: not compared, it has not been evaluated yet ({RETURN} is not in its metrics)")
        else:
            ours.append(PreferenceRun(run, config))
    return ours, others


def compare(runs: Iterable[PreferenceRun]) -> list[TaskComparison]:
    """Runs by task and preset, in alphabetical order; within, SAC first, then methods by name."""

    def place(run: PreferenceRun) -> tuple[str, str]:
        return run.task, run.preset

    return [_comparison(task, preset, list(group)) for (task, preset), group in groupby(sorted(runs, key=place), place)]


def _config(text: str) -> dict[str, Any] | None:
    """The configuration of a run of `coord prefer`; None for that of anything else."""
    try:
        config = parse_yaml(text)
    except UserError:
        return None
    needed = {"env", "preset", "method", "algo", "seed", "members", "labels", "session_labels", "total_steps"}
    is_ours = isinstance(config, dict) and needed <= set(config) and isinstance(config["method"], dict)
    return config if is_ours and "name" in config["method"] else None


def _comparison(task: str, preset: str, runs: Sequence[PreferenceRun]) -> TaskComparison:
    problems: list[str] = []
    learners = []
    for method in sorted({run.method for run in runs}, key=lambda name: (name not in TRUE_REWARD, name)):
        learners += _learners(method, [run for run in runs if run.method == method], problems)
    for one in learners:
        problems += [
            f"{run.run.path}: unfinished, {run.steps:.0f} of {one.budget:.0f} steps per seed"
            for run in one.runs
            if run.steps < one.budget
        ]
    return TaskComparison(task, preset, learners, problems)


def _learners(method: str, runs: Sequence[PreferenceRun], problems: list[str]) -> list[MethodRuns]:
    """The forms of one method, each with its runs."""
    forms: list[list[PreferenceRun]] = []
    for run in sorted(runs, key=lambda one: (-one.members, one.run.path)):
        same = next((form for form in forms if form[0].settings == run.settings), None)
        if same is None:
            forms.append([run])
        elif _repeats(run, same):
            problems.append(f"{run.run.path}: left out, its seeds are among those of {same[0].run.path}")
        else:
            same.append(run)
    forms.sort(key=lambda form: form[0].run.path)
    names = _form_names(forms)
    shorts = [f"{method} {' '.join(named.values())}".strip() for named in names]
    if len(set(shorts)) < len(shorts) or max(map(len, shorts)) > SHORT:
        shorts = [f"{method} {i}" for i in range(1, len(forms) + 1)]
    return [
        MethodRuns(method, ", ".join(f"{key}={value}" if key else value for key, value in named.items()), short, form)
        for named, short, form in zip(names, shorts, forms, strict=True)
    ]


def _repeats(run: PreferenceRun, known: Sequence[PreferenceRun]) -> bool:
    """Whether a seed of the run has been counted: a member depends on its settings and its seed only."""
    return bool(set(run.seeds) & {seed for one in known for seed in one.seeds})


def _form_names(forms: Sequence[Sequence[PreferenceRun]]) -> list[dict[str, str]]:
    """What each form is called: the settings that are not the same in all, or its folder where they are many."""
    if len(forms) == 1:
        return [{}]
    settings = [form[0].settings for form in forms]
    keys = list(dict.fromkeys(key for one in settings for key in one))
    differing = [key for key in keys if any(one.get(key) != settings[0].get(key) for one in settings)]
    if len(differing) > MAX_NAMED_SETTINGS:
        return [{"": form[0].run.name} for form in forms]
    return [{key.removeprefix("method."): str(one.get(key)) for key in differing} for one in settings]


def _flat(values: Mapping[str, Any], above: str = "") -> Iterable[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def _words(command: str) -> list[str]:
    try:
        return shlex.split(command)
    except ValueError:  # an unbalanced quote: the file was changed by hand
        return command.split()


# ------------------------------------------------------------------------------------------------------ scores


def last_mean(values: Table) -> NDArray[np.float64]:
    """Mean [n] of the last rows of values [T, n]; seeds without a finite value there are left out."""
    tail = values[-FINAL_EVALUATIONS:]
    kept = tail[:, np.isfinite(tail).any(axis=0)]
    return np.nanmean(kept, axis=0) if kept.size else np.zeros(0)


def estimate(values: NDArray[np.float64], statistic: stats.Statistic = stats.mean) -> Interval | None:
    """A statistic of the scores [n] of n seeds with its bootstrap interval; one seed: NaN bounds; none: None."""
    if not len(values):
        return None
    low, high = stats.bootstrap_ci([values], statistic) if len(values) > 1 else (math.nan, math.nan)
    return Interval(float(statistic(values)), low, high)


def share(values: NDArray[np.float64], baseline: NDArray[np.float64]) -> Interval | None:
    """Mean of `values` [n] over that of `baseline` [k]; the interval resamples the seeds of both.

    NaN bounds where one of them is a single seed; None where the baseline's mean is not above 0.
    """
    if not len(values) or not len(baseline) or baseline.mean() <= 0:
        return None

    def ratio(drawn: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
        ours, theirs = np.split(drawn, [len(values)], axis=axis)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(ours.mean(axis=axis) / theirs.mean(axis=axis))

    several = len(values) > 1 and len(baseline) > 1
    low, high = stats.bootstrap_ci([values, baseline], ratio) if several else (math.nan, math.nan)
    return Interval(float(values.mean() / baseline.mean()), low, high)


def by_labels(learner: MethodRuns) -> tuple[NDArray[np.float64], Table]:
    """Queries asked per seed [K], rising, and the mean return [K, n] of the last evaluations with so many asked."""
    steps, returns = learner.table(RETURN)
    asked_at, asked = learner.table(ASKED)
    both, rows, asked_rows = np.intersect1d(steps, asked_at, return_indices=True)
    if not len(both):
        return np.zeros(0), np.zeros((0, returns.shape[1]))
    count, values = asked[asked_rows].max(axis=1), returns[rows]
    counts = np.unique(count[np.isfinite(count)])
    return counts, np.stack([values[count == one][-FINAL_EVALUATIONS:].mean(axis=0) for one in counts])
