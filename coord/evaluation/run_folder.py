"""What a run leaves on disk, read back for the report.

Nothing about the folder is fixed except the content of its files, so a training run, a demo with several runs and a
hand-made collection are all read alike. Anywhere at or below the folder:

    metrics.jsonl    one JSON object per line: "step" (environment steps) and numbers such as "rollout/return";
                     its folder is one run; config.yaml, command.txt and env.json beside it belong to that run
    summary.json     optional, at the top: {"title", "ego", "baseline", "labels": {reference: short name}}
                     which ego the headline is about and which one it is compared with
    *.json           told apart by their keys:
                     "rows" and "summary"     scores written by `coord evaluate`
                     "seat_returns"           a matrix written by `coord crossplay`
                     "joint_actions"          a recorded game (coord/evaluation/report/replay.py)
                     "members"                the manifest of a pool

What is missing is left out of the report; what cannot be read is named in it.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from coord.errors import UserError
from coord.files import parse_json

METRICS, SUMMARY = "metrics.jsonl", "summary.json"
CONFIG, COMMAND, ENVIRONMENT = "config.yaml", "command.txt", "env.json"
MOST_ENTRIES = 100_000  # files and folders below what is to be reported on
SKIPPED_FOLDERS = frozenset({"tb", "ckpt", "__pycache__"})
PROXY = "human_proxy"
CONTROL_SCORES = "control"  # the "kind" of scores of policies for control tasks
NO_FACTS = frozenset({"rows", "summary", "schema", "provenance", "files"})  # of a score file; shown in other ways
NORMAL_95 = 1.96  # standard errors on either side of a mean


class Interval(NamedTuple):
    """An estimate and its 95 % interval."""

    mean: float
    low: float
    high: float


class Row(NamedTuple):
    """One ego with one partner in one seat."""

    ego: str
    partner: str
    ego_seat: int
    episodes: int
    score: Interval  # return per game
    events: dict[str, tuple[Interval, ...]]  # counts per game: (ego's, then each partner's)


@dataclass(frozen=True)
class PolicyScore:
    """One policy of a control task, or all of one file together."""

    name: str
    method: str
    episodes: int
    score: Interval
    success: float | None  # share of episodes; None: the task knows none


@dataclass(frozen=True)
class PolicyScores:
    """One file of `coord evaluate` about policies of a control task."""

    source: str
    task: str
    command: str
    rows: list[PolicyScore]


@dataclass(frozen=True)
class Evaluation:
    """One file of `coord evaluate`."""

    source: str
    facts: dict[str, Any]  # layout, rules, horizon, seed and whatever else tells how the games were played
    command: str
    partner_names: list[str]  # as asked for: a pool is one name
    rows: list[Row]
    overall: Interval | None  # over all rows, as the file itself says
    iqm: Interval | None

    @property
    def with_proxy(self) -> bool:
        """Whether every partner is the held-out human proxy."""
        return all(row.partner == PROXY for row in self.rows)


@dataclass(frozen=True)
class CrossPlay:
    """One file of `coord crossplay`: `returns[i, j]` of member i in seat 0 with member j in seat 1."""

    source: str
    facts: dict[str, Any]
    members: list[str]
    returns: NDArray[np.float64]  # [M, M]
    bounds: NDArray[np.float64]  # [M, M, 2] their 95 % intervals, NaN where the file has none
    self_play: Interval | None  # mean of members with themselves
    cross_play: Interval | None  # mean of members with those of other training runs
    gap: Interval | None
    counted: list[str]  # the members that these three count


@dataclass(frozen=True)
class MetricCurve:
    """One logged quantity over a run: `values` [T] (NaN where a value was not finite) at environment steps `x` [T]."""

    x: NDArray[np.float64]
    values: NDArray[np.float64]


@dataclass(frozen=True)
class TrainingRun:
    """One folder with metrics.jsonl."""

    name: str
    path: str
    curves: dict[str, MetricCurve]
    config: str
    command: str
    environment: dict[str, Any]


@dataclass
class RunFolder:
    """All that was found below a folder, and a line for each file that could not be read."""

    path: Path
    summary: dict[str, Any] = field(default_factory=dict)
    runs: list[TrainingRun] = field(default_factory=list)
    evaluations: list[Evaluation] = field(default_factory=list)
    policies: list[PolicyScores] = field(default_factory=list)
    crossplays: list[CrossPlay] = field(default_factory=list)
    pools: list[dict[str, Any]] = field(default_factory=list)
    games: list[dict[str, Any]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def combine(scores: Sequence[Interval]) -> Interval:
    """Mean of independent estimates, with the interval that MOVER gives (Zou & Donner 2008, eq. 6).

    The distance from estimate to bound plays the part of the standard error: squares add up. For one estimate the
    interval is its own.
    """
    count = len(scores)
    mean = math.fsum(s.mean for s in scores) / count
    below = math.sqrt(math.fsum((s.mean - s.low) ** 2 for s in scores)) / count
    above = math.sqrt(math.fsum((s.high - s.mean) ** 2 for s in scores)) / count
    return Interval(mean, mean - below, mean + above)


def difference(one: Interval, other: Interval) -> Interval:
    """`one` minus `other`, independent of each other, with the MOVER interval (Zou & Donner 2008, eq. 7)."""
    mean = one.mean - other.mean
    below = math.hypot(one.mean - one.low, other.high - other.mean)
    above = math.hypot(one.high - one.mean, other.mean - other.low)
    return Interval(mean, mean - below, mean + above)


def read_folder(path: str | Path) -> RunFolder:
    """Read everything below `path`.

    Raises: UserError where there is no such folder or nothing in it to report on.
    """
    folder = RunFolder(Path(path))
    if not os.path.isdir(folder.path):
        raise UserError(f"no run folder at '{path}': coord report wants the folder of a run or of a demo")
    for file in sorted(_files(folder.path)):
        try:
            _read_file(folder, file)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            folder.problems.append(f"{file.relative_to(folder.path)}: {type(error).__name__}: {error}")
    if not (folder.runs or folder.evaluations or folder.policies or folder.crossplays or folder.games):
        hint = f" (unreadable: {'; '.join(folder.problems)})" if folder.problems else ""
        raise UserError(f"nothing to report in '{path}': no {METRICS}, scores, cross-play matrix or game there{hint}")
    return folder


def _files(folder: Path) -> Iterator[Path]:
    """Every file below that is worth reading.

    Raises: UserError after so many files and folders that this is no folder of runs.
    """
    met = 0
    for base, folders, names in os.walk(folder, onerror=_raise_unless_out_of_reach):
        folders[:] = [name for name in folders if name not in SKIPPED_FOLDERS]
        met += len(folders) + len(names)
        if met > MOST_ENTRIES:
            raise UserError(f"'{folder}' holds more than {MOST_ENTRIES} files: name the folder of a run or of a demo")
        found = (Path(base, name) for name in names)
        read = (file for file in found if file.name == METRICS or file.suffix == ".json")
        yield from (file for file in read if os.path.isfile(file))  # no pipe, no endless device


def _raise_unless_out_of_reach(error: OSError) -> None:
    if not isinstance(error, PermissionError | FileNotFoundError):  # somebody else's folder, or one that is gone by now
        raise error


def _read_file(folder: RunFolder, file: Path) -> None:
    """Read one file into the list of its kind."""
    if file.name == ENVIRONMENT:
        return  # read with its run
    if file.name == METRICS:
        folder.runs.append(read_run(file.parent, folder.path))
        return
    data = parse_json(file.read_text(encoding="utf-8"))
    source = str(file.relative_to(folder.path))
    if not isinstance(data, dict):
        return
    if source == SUMMARY:
        folder.summary = data
    elif data.get("kind") == CONTROL_SCORES:
        folder.policies.append(read_policy_scores(data, source))
    elif "rows" in data and "summary" in data:
        folder.evaluations.append(read_evaluation(data, source))
    elif "seat_returns" in data:
        folder.crossplays.append(read_crossplay(data, source))
    elif "joint_actions" in data:
        folder.games.append({**data, "source": source})
    elif "members" in data:
        folder.pools.append(read_pool(data, source))


def read_pool(data: Mapping[str, Any], source: str) -> dict[str, Any]:
    """The manifest of a pool. Raises TypeError or ValueError where a member is none."""
    if not all(isinstance(member, dict) and "id" in member for member in data["members"]):
        raise ValueError("a member without its id")
    return {**data, "source": source}


def _interval(mean: Any, bounds: Any) -> Interval | None:
    if mean is None:
        return None
    low, high = bounds if bounds is not None else (mean, mean)
    return Interval(float(mean), float(low), float(high))


def _file_hashes(data: Mapping[str, Any]) -> dict[str, str]:
    """Who played by which file, as one text; nothing for scores that do not tell."""
    named = [f"{name} {sha}" for role in (data.get("files") or {}).values() for name, sha in role.items()]
    return {"SHA-256": ", ".join(dict.fromkeys(named))} if named else {}


def read_evaluation(data: Mapping[str, Any], source: str) -> Evaluation:
    """Scores from the JSON of `coord evaluate`. Raises KeyError, TypeError or ValueError where a field is wrong."""
    origin = data.get("provenance", {})
    rows = [_read_row(row) for row in data["rows"]]
    _check_roles(rows)
    asked = origin.get("config", {}).get("partners") or dict.fromkeys(row.partner for row in rows)
    summary = data["summary"]
    return Evaluation(
        source,
        facts={key: value for key, value in data.items() if key not in NO_FACTS} | _file_hashes(data),
        command=str(origin.get("command", "")),
        partner_names=[str(name) for name in asked],
        rows=rows,
        overall=_interval(summary.get("mean_return"), summary.get("ci95")),
        iqm=_interval(summary.get("iqm"), summary.get("iqm_ci95")),
    )


def _check_roles(rows: Sequence[Row]) -> None:
    """Raise ValueError for an event that two rows count for another number of cooks."""
    for name in sorted({name for row in rows for name in row.events}):
        if len({len(row.events[name]) for row in rows if name in row.events}) > 1:
            raise ValueError(f"the event {name} is counted for other roles in other rows")


def read_policy_scores(data: Mapping[str, Any], source: str) -> PolicyScores:
    """The same for policies of a control task. Raises KeyError, TypeError or ValueError where a field is wrong."""
    summary, success = data["summary"], data["success"]
    total = PolicyScore("all", "", summary["episodes"], _score_of(summary), success and success["mean_return"])
    rows = [
        PolicyScore(str(row["ego"]), str(row["method"]), int(row["episodes"]), _score_of(row), row["success"])
        for row in data["rows"]
    ]
    command = str(data.get("provenance", {}).get("command", ""))
    return PolicyScores(source, str(data["task"]), command, [*rows, *([total] if len(rows) > 1 else [])])


def _score_of(row: Mapping[str, Any]) -> Interval:
    """Raises ValueError for a mean that is no number."""
    score = _interval(row["mean_return"], row["ci95"])
    if score is None or not math.isfinite(score.mean):
        raise ValueError(f"mean_return of {row.get('ego')} with {row.get('partner')} is not a number")
    return score


def _read_row(row: Mapping[str, Any]) -> Row:
    score = _score_of(row)
    errors = row.get("event_se", {})
    events = {name: _counts(means, errors.get(name, {})) for name, means in row.get("events", {}).items()}
    return Row(str(row["ego"]), str(row["partner"]), int(row["ego_seat"]), int(row["episodes"]), score, events)


def _counts(means: Mapping[str, float], errors: Mapping[str, float]) -> tuple[Interval, ...]:
    """Mean counts by role (the ego's first) with normal intervals; without a standard error, of width 0."""
    halves = {role: NORMAL_95 * float(errors.get(role, 0.0)) for role in means}
    return tuple(Interval(float(m), float(m) - halves[role], float(m) + halves[role]) for role, m in means.items())


def read_crossplay(data: Mapping[str, Any], source: str) -> CrossPlay:
    """A matrix from the JSON of `coord crossplay`. Raises KeyError, TypeError or ValueError where a field is wrong."""
    members = [str(member) for member in data["members"]]
    returns = np.asarray(data["seat_returns"], np.float64)
    if returns.shape != (len(members), len(members)):
        raise ValueError(f"seat_returns has shape {returns.shape}, but there are {len(members)} members")
    bounds = np.asarray(data.get("seat_ci95", np.full((*returns.shape, 2), math.nan)), np.float64)
    self_play, cross_play, gap = (
        _interval(data.get(f"{key}_mean"), data.get(f"{key}_ci95")) for key in ("sp", "xp", "gap")
    )
    facts = {key: value for key, value in data.items() if not isinstance(value, list | dict)}
    counted = [str(member) for member in data.get("gap_members", members)]
    return CrossPlay(source, facts, members, returns, bounds, self_play, cross_play, gap, counted)


def read_run(folder: Path, top: Path) -> TrainingRun:
    """Curves, config, command and machine of one run; a half-written line (a killed run leaves one) is dropped."""
    columns: dict[str, dict[float, float]] = {}  # key -> step -> value; of two rows of one step the later counts
    for row in _json_lines((folder / METRICS).read_text(encoding="utf-8", errors="replace")):
        for key, value in row.items():
            if "/" in key and (value is None or isinstance(value, int | float)):
                columns.setdefault(key, {})[float(row["step"])] = math.nan if value is None else float(value)
    relative = folder.relative_to(top)
    environment = folder / ENVIRONMENT
    machine = parse_json(environment.read_text(encoding="utf-8")) if environment.is_file() else {}
    if not isinstance(machine, dict):
        raise ValueError(f"{ENVIRONMENT} is no mapping")
    return TrainingRun(
        name=relative.name or folder.resolve().name,
        path=str(relative),
        curves={key: _curve(points) for key, points in columns.items()},
        config=_text(folder / CONFIG),
        command=_text(folder / COMMAND).strip(),
        environment=machine,
    )


def _json_lines(text: str) -> Iterator[dict[str, Any]]:
    for line in text.splitlines():
        try:
            row = parse_json(line)
        except json.JSONDecodeError:
            continue
        if isinstance(row, dict) and "step" in row:
            yield row


def _curve(points: Mapping[float, float]) -> MetricCurve:
    steps = sorted(points)
    return MetricCurve(np.asarray(steps, np.float64), np.asarray([points[step] for step in steps], np.float64))


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""
