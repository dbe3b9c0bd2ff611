"""The three steps of `coord rlhf`, and what they leave in the folder of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from coord.files import parse_json, read_text, reading_kept

STEPS = ("imitation", "reward", "policy")  # in this order, each in a folder of that name
SCORE_FILE = "score.json"  # in a step's folder; that it is there says that the step is done
RESULT_FILE = "result.json"
SCHEMA = 1


def result(layout: str, proxies: Sequence[str], folders: Mapping[str, Path]) -> dict[str, Any]:
    """What the steps came to, for `result.json`; folders: where each step is."""
    steps = {}
    for name in STEPS:
        path = folders[name] / SCORE_FILE
        with reading_kept(path, "remove it and resume that run"):
            steps[name] = {key: v for key, v in parse_json(read_text(path)).items() if key != "rows"}
    return {"schema": SCHEMA, "layout": layout, "proxies": list(proxies), "steps": steps}


def summary(folder: Path) -> str:
    """The scores of the three steps as text."""
    path = folder / RESULT_FILE
    with reading_kept(path, "remove it and resume that run"):
        return "\n".join([*_summary_lines(parse_json(read_text(path))), f"agents in {folder}"])


def _summary_lines(found: Any) -> list[str]:
    lines = [f"{found['layout']} with {', '.join(found['proxies'])}"]
    for name in ("imitation", "policy"):
        mean, (low, high) = (found["steps"][name]["summary"][key] for key in ("mean_return", "ci95"))
        lines.append(f"{name:<10} return {mean:7.1f}  [{low:.1f}, {high:.1f}]")
    reward = found["steps"]["reward"]
    figures = [f"{name.replace('_', ' ')} {_mean(reward[name])}" for name in ("accuracy", "rank_correlation", "labels")]
    lines.insert(2, f"{'reward':<10} {', '.join(figures)}")
    return lines


def _mean(values: Sequence[float | None]) -> str:
    """Mean over the members that have a value."""
    numbers = [value for value in values if value is not None]
    return f"{sum(numbers) / len(numbers):.3g}" if numbers else "-"
