"""`coord scoreboard plan`: every training that a scoreboard asks for, what it costs, and what of it is missing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from coord.evaluation.report.scoreboard_text import aligned
from coord.run.progress import duration
from populations.board.recipes import TrainingStep, learner_steps, training_facts

if TYPE_CHECKING:
    from populations.board.runner import BenchmarkRunner

MILLION = 1e6


class Cost(NamedTuple):
    """One training: who needs it first, how many learners it has, steps of all of them, and whether it is done."""

    who: str
    step: TrainingStep
    learners: int
    steps: int
    is_done: bool


def costs(runner: BenchmarkRunner) -> list[Cost]:
    """Each training once, in the order of `BenchmarkRunner.run`."""
    wanted = [("protocol B", step) for step in runner.bp_steps.values()]
    wanted += [(entry.name, step) for row in runner.board for entry in row for step in entry.plan.steps]
    first = {step.folder: (who, step) for who, step in reversed(wanted)}
    return [_cost(*first[folder]) for folder in dict.fromkeys(step.folder for _, step in wanted)]


def _cost(who: str, step: TrainingStep) -> Cost:
    learners, each = learner_steps(step)
    return Cost(who, step, learners, learners * each, step.result.exists())


def text(runner: BenchmarkRunner) -> str:
    """The trainings as a table, and their sum; with the time that the rest takes at the pace of those that are done."""
    found = costs(runner)
    rows = [["training", "for", "learners", "M steps each", "M steps", ""]]
    for who, step, learners, steps, is_done in found:
        figures = [str(learners), f"{steps / learners / MILLION:g}", f"{steps / MILLION:g}"]
        rows.append(["/".join(step.folder.parts[-3:]), who, *figures, "done" if is_done else ""])
    missing = [cost for cost in found if not cost.is_done]
    lines = [
        *aligned(rows),
        "",
        f"{len(found)} trainings, {_millions(found)}; missing: {len(missing)}, {_millions(missing)}",
    ]
    pace = _pace(cost for cost in found if cost.is_done)
    if pace and missing:
        left = sum(cost.steps for cost in missing) / pace
        lines.append(
            f"at the pace of those that are done ({pace / 1000:.0f} k steps/s): {duration(left)}, games not counted"
        )
    return "\n".join(lines)


def _millions(found: Iterable[Cost]) -> str:
    return f"{sum(cost.steps for cost in found) / MILLION:.0f} M environment steps of all learners"


def _pace(done: Iterable[Cost]) -> float:
    """Steps of all learners per second of training; 0 if nothing is done."""
    facts = [training_facts(cost.step) for cost in done]
    minutes = sum(fact["minutes"] for fact in facts)
    return sum(fact["env_steps"] for fact in facts) / (60 * minutes) if minutes else 0.0
