"""Who answered how: one row per annotator of a label store, from their answers alone.

A reward model of its own and the annotators are fitted to all answers of a run (`coord.preference.reward.crowds`), so
a report
needs neither the training run nor its checkpoint. Reliabilities are in units of the crowd's root mean square; their
intervals are Laplace's (95 %) and take the learned reward for granted, so they are somewhat too narrow.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from coord.errors import UserError, unknown
from coord.preference.labels.segments import join_labels
from coord.preference.labels.store import LabelStore, StoredLabels
from coord.preference.reward import annotators as an
from coord.preference.reward.annotators import CrowdConfig, ReliabilityConfig
from coord.preference.reward.crowds import Crowd
from coord.preference.reward.model import RewardConfig, RewardModel

REWARD = RewardConfig(ensemble=4, hidden=(64, 64), batch_size=64, lr=1e-3, train_amount=20)
# key of a row -> heading and how the table writes it
COLUMNS: dict[str, tuple[str, str]] = {
    "annotator": ("annotator", "{}"),
    "kind": ("kind", "{}"),
    "answers": ("answers", "{:d}"),
    "equal": ("equal", "{:d}"),
    "skipped": ("skipped", "{:d}"),
    "median_s": ("median s", "{:.1f}"),
    "with_model": ("with model", "{:.2f}"),
    "with_others": ("with others", "{:.2f}"),
    "reliability": ("reliability", "{:.2f}"),
    "reliability95": ("95 %", "{0[0]:.2f} .. {0[1]:.2f}"),
    "threshold": ("threshold", "{:.2f}"),
    "threshold95": ("95 %", "{0[0]:.2f} .. {0[1]:.2f}"),
    "group": ("group", "{:d}"),
    "group_prob": ("sure", "{:.2f}"),
}
MIXTURE_ONLY = ("group", "group_prob")


def annotator_report(
    store: LabelStore,
    run: str | None = None,
    crowd: CrowdConfig | None = None,
    reward: RewardConfig = REWARD,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """One row per run and annotator, plain JSON; keys as in `COLUMNS`, and `run`.

    run: only that one; crowd: how annotators are modelled, a reliability each by default. Answers to all members of a
    run are taken together. with_model: share of unequal answers that agree with the reward of the annotator's group,
    by a network that has not learned the query; with_others: with what the others say about the same query, weighed
    by their reliability. Both are null without such a pair, and so is the median time.

    Raises:
        UserError: no such run, or nobody has answered yet.
    """
    runs = store.runs()
    if run is not None and run not in runs:
        raise unknown("run in the label store", run, runs)
    found = [row for name in ([run] if run else runs) for row in _rows(store, name, crowd, reward, seed)]
    if not found:
        raise UserError(f"{store.path} holds no answers yet")
    return found


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as aligned text, one block per run; memberships only where there are groups."""
    blocks = []
    for run in dict.fromkeys(row["run"] for row in rows):
        own = [row for row in rows if row["run"] == run]
        keys = [key for key in COLUMNS if key not in MIXTURE_ONLY or own[0]["groups"] > 1]
        lines = [[COLUMNS[key][0] for key in keys]] + [[_cell(key, row[key]) for key in keys] for row in own]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        text = ["  ".join(cell.rjust(w) for cell, w in zip(line, widths, strict=True)) for line in lines]
        blocks.append("\n".join([f"{run}:", *text]))
    return "\n\n".join(blocks)


def gathered(store: LabelStore, run: str, members: Sequence[int]) -> StoredLabels:
    """The standing labels of all members in one; numbers are made unique."""
    parts = [part for m in members if (part := store.labels(run, m)).labels.size]
    return StoredLabels(
        join_labels([part.labels for part in parts]),
        np.concatenate([part.number * len(parts) + i for i, part in enumerate(parts)]),
        [name for part in parts for name in part.annotator],
        np.concatenate([part.unsafe for part in parts]),
    )


def standing(store: LabelStore, run: str) -> list[dict[str, Any]]:
    """The answers of a run that count: of each annotator and query the newest, unless it was withdrawn."""
    newest = {(row["member"], row["number"], row["annotator"]): row for row in store.answers(run)}
    return [row for row in newest.values() if row["kind"] != "withdrawn"]


def _cell(key: str, value: Any) -> str:
    return "-" if value is None else COLUMNS[key][1].format(value)


def _rows(
    store: LabelStore, run: str, crowd: CrowdConfig | None, reward: RewardConfig, seed: int
) -> list[dict[str, Any]]:
    answers = standing(store, run)
    members = sorted({row["member"] for row in answers})
    if not any(store.counts(run, m).labelled for m in members):
        return []
    stored = gathered(store, run, members)
    obs_dim, act_dim = stored.labels.obs.shape[3], stored.labels.act.shape[3]
    fitted = Crowd.create(crowd or ReliabilityConfig(), reward, obs_dim, act_dim, [seed])
    model = RewardModel.create(reward, obs_dim, act_dim, [seed])
    fitted.fit(model, [stored])
    return [
        {"run": run, "annotator": name, **_said(answers, name), **_traits(fitted, model, stored, a)}
        for a, name in enumerate(fitted.names[0])
    ]


def _said(answers: Sequence[dict[str, Any]], name: str) -> dict[str, Any]:
    """Counts and the median time of one annotator's answers."""
    own = [row for row in answers if row["annotator"] == name]
    times = [row["response_ms"] for row in own if row["response_ms"] is not None]
    return {
        "answers": sum(row["kind"] == "label" for row in own),
        "equal": sum(row["target"] == an.EQUAL for row in own),
        "skipped": sum(row["kind"] == "skip" for row in own),
        "median_s": float(np.median(times)) / 1000 if times else None,
    }


def _traits(fitted: Crowd, model: RewardModel, stored: StoredLabels, a: int) -> dict[str, Any]:
    """What the model says about annotator a."""
    people = fitted.people[0]
    assert people is not None
    k = int(people.group[a].argmax())
    b, c, b_sd, c_sd = (float(part[a, k]) for part in people[:4])
    own = np.array(stored.annotator) == fitted.names[0][a]
    return {
        "kind": an.kind(b, b_sd),
        "reliability": b,
        "reliability95": [b - an.Z95 * b_sd, b + an.Z95 * b_sd],
        "threshold": c,
        "threshold95": [max(0.0, c - an.Z95 * c_sd), c + an.Z95 * c_sd],
        "with_model": _agreement(stored.labels.target[own] - 0.5, fitted.gaps(model, 0, stored)[own, k]),
        "with_others": _agreement(stored.labels.target[own] - 0.5, fitted.others_say(0, stored)[own] - 0.5),
        "group": k,
        "group_prob": float(people.group[a, k]),
        "groups": fitted.groups,
    }


def _agreement(ours: np.ndarray, theirs: np.ndarray) -> float | None:
    """Share of equal signs where both have one."""
    both = (ours != 0) & np.isfinite(theirs) & (np.abs(theirs) > 1e-9)
    return float((np.sign(ours[both]) == np.sign(theirs[both])).mean()) if both.any() else None
