"""What labels are worth in a kitchen, as text for a terminal and as tables in a README."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from coord.errors import UserError
from coord.evaluation import efficiency
from coord.evaluation.efficiency import EfficiencyCurve, Found
from coord.evaluation.report.scoreboard_text import NOTHING, aligned, figure, rewrite_between

LEARNERS = {"ppo": "PPO", "ppo_from_imitation": "PPO from imitation", "sac": "SAC"}  # as people read them
BEGIN, END = "<!-- efficiency:begin -->", "<!-- efficiency:end -->"


def text(out: Path) -> str:
    """All tables that there are cells for.

    Raises:
        UserError: no cells in `out`, or a damaged one.
    """
    found = efficiency.read(out)
    lines = []
    for title, rows in tables(found):
        lines += [title, *aligned(rows), ""]
    return "\n".join(lines[:-1])


def tables(found: Found) -> list[tuple[str, list[list[str]]]]:
    """Title and rows (the first one heads) of every table."""
    makers = {"curves": _curves, "rlhf": _pipelines, "utilities": _wishes}
    return [maker(found) for part, maker in makers.items() if found.cells[part]]


def budgets(curves: Sequence[EfficiencyCurve]) -> list[int]:
    """Numbers of labels that any curve has, ascending."""
    return sorted({labels for curve in curves for labels in curve.points})


def _curves(found: Found) -> tuple[str, list[list[str]]]:
    curves = efficiency.curves(found)
    columns, judged = budgets(curves), shared(curves)
    share = f"share, {' / '.join(map(str, judged))}"
    heads = ["layout", "learner", "method", *(f"{labels} labels" for labels in columns), "true reward", share]
    rows = [heads]
    for curve in curves:
        figures = [figure(curve.points.get(labels)) for labels in columns]
        name = [curve.layout, LEARNERS[curve.learner], curve.method]
        rows.append([*name, *figures, figure(curve.oracle), share_text(curve, judged)])
    return "Mean return with the held-out proxies; share: of the true reward's, with so many labels", rows


def shared(curves: Sequence[EfficiencyCurve]) -> list[int]:
    """The two largest numbers of labels, for which shares of the true reward's return are given."""
    return budgets(curves)[-2:]


def share_text(curve: EfficiencyCurve, judged: Sequence[int]) -> str:
    """0.93 / 0.95: shares with these numbers of labels."""
    return " / ".join(number(curve.share(labels), 2) for labels in judged)


def _pipelines(found: Found) -> tuple[str, list[list[str]]]:
    rows = [["layout", "policy", "return", "KL, nats per decision", "reward model's accuracy"]]
    for layout, name, value, cell in efficiency.pipelines(found):
        facts = [number(cell["training"].get(key), 2) for key in ("kl", "accuracy")]
        rows.append([layout, name.replace("_", " "), figure(value), *facts])
    return "Imitation, reward model, PPO: mean return with the held-out proxies", rows


def number(value: float | None, digits: int) -> str:
    """A number, or a dash for none."""
    return NOTHING if value is None else f"{value:.{digits}f}"


def _wishes(found: Found) -> tuple[str, list[list[str]]]:
    heads = ["layout", "teacher", "learner", "labels", "its score", "score if paid", "score of return's ego"]
    rows = [[*heads, "rank correlation", "return", "events per game (return's ego)"]]
    for wish in efficiency.wishes(found):
        name = [wish.layout, wish.wants.replace("_", " "), LEARNERS[wish.learner], str(wish.labels)]
        scores = [figure(one) for one in (wish.taught, wish.paid, wish.by_return)]
        events = [f"{name.replace('_', ' ')} {number(a, 1)} ({number(b, 1)})" for name, (a, b) in wish.events.items()]
        rows.append([*name, *scores, number(wish.rank_correlation, 2), figure(wish.returns), "; ".join(events)])
    return "Teachers with a hidden utility: what the egos are worth to them", rows


# --------------------------------------------------------------------------------------------------- README


def rewrite_readme(file: Path, out: Path) -> None:
    """Replace what stands between the markers by the tables.

    Raises:
        UserError: see `rewrite_between` and `text`.
    """
    rewrite_between(file, BEGIN, END, markdown(efficiency.read(out)))


def markdown(found: Found) -> str:
    """The tables as Markdown, with how they were made below.

    Raises:
        UserError: no cells of the curves.
    """
    if not found.cells["curves"]:
        raise UserError("nothing of the curves was played: say coord efficiency run parts=curves")
    parts = []
    for title, (heads, *rows) in tables(found):
        rule = ["---"] * len(heads)
        parts.append("\n".join([f"{title}:", "", *(f"| {' | '.join(row)} |" for row in (heads, rule, *rows))]))
    return "\n\n".join([*parts, f"± half of the {caption(found)}"])


def caption(found: Found) -> str:
    """How the figures came about."""
    cell = next(cell for part in efficiency.PARTS for cell in found.cells[part].values())
    seeds, settings = len(cell["returns"]), cell["settings"]
    wants = "" if cell["wants"] == "return" else "Teachers judge by the return and the ego's shaping reward. "
    return (
        f"95 % interval over {seeds} seeds and games with {', '.join(cell['proxies'])} in both seats, "
        f"{settings['episodes']} games per seed and seat, {settings['rules']} rules, {settings['horizon']} ticks. "
        f"{wants}0 labels: a reward model that learned nothing, after pretraining on novelty; from imitation: what was "
        "imitated."
    )
