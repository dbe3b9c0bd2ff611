"""Hazards of kitchens: violations are the ego's own events, people are told of them, and the learner pays for them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from coord.overcooked import EVENTS
from coord.preference.labels.feedback import RUN_NAME, STORE_FILE
from coord.preference.labels.store import LabelStore
from coord.preference.reward.safety import SafetyConfig
from tests.coord.preference.learners.test_kitchen_sac import build, finish, small

HAZARDS = ("collision", "discarded_dish")
COLUMNS = [EVENTS.index(name) for name in ("collision", "put_soup_on_counter", "delivery_unpaid")]


@pytest.mark.parametrize(
    "sees",
    [{}, {"reward_sees_partner": True}, {"reward_sees_partner": True, "reward_sees_change": True}],
    ids=["facts", "partner", "change"],
)
def test_collisions_are_counted_flagged_and_paid_for(tmp_path: Path, sees: dict[str, bool]) -> None:
    safety = SafetyConfig(hazards=HAZARDS, cost_hidden=(8,), cost_steps=5, implied_pairs=10)
    job = build(small(total_steps=320, safety=safety, **sees), tmp_path)
    env, happened = job.env.train, torch.zeros(2)
    step = env.step

    def watch(act: torch.Tensor) -> object:
        done = step(act)
        happened.add_(env.events[..., COLUMNS].sum((1, 2)))
        return done

    env.step = watch
    finish(job)
    feedback = job.state.feedback
    assert feedback.safety.violations.tolist() == happened.tolist()
    assert happened.min() > 0
    store = LabelStore(tmp_path / STORE_FILE)
    told = [store.labels(RUN_NAME, m) for m in range(2)]
    flags = np.concatenate([part.unsafe for part in told])
    assert 0 < flags.sum() < flags.size
    tags = [tags for part in told for tags in part.reasons]
    assert [bool(one) for one in tags] == flags.any(1).tolist()
    assert {name for one in tags for name in one} <= set(HAZARDS)
    report = feedback.report()
    assert (report["rollout/violations"] == happened.numpy()).all()
    assert np.isfinite(report["rollout/cost"]).all()
    batch = job.state.buffer.sample(8, [torch.Generator().manual_seed(m) for m in range(2)])
    assert (feedback.penalty(batch.obs, batch.act) > 0).all()
