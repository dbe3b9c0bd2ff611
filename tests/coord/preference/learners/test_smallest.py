"""Every method with one learner, one label, batches of one and a network alone in its ensemble: finite to the end."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from coord.algos.ppo import Hooks
from coord.algos.ppo_gaussian import PPOContinuousConfig
from tests.coord.preference.learners.test_sac import VARIANTS, build

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("labels", [1, 3])
@pytest.mark.parametrize("name", sorted(VARIANTS))
def test_one_of_everything(name: str, labels: int, tmp_path: Path) -> None:
    cfg = VARIANTS[name]
    algo = dataclasses.replace(cfg.algo, batch_size=1)
    method = cfg.method
    if isinstance(method, PPOContinuousConfig):
        method = dataclasses.replace(method, rollout_len=1, batch_size=1)
    asked = {} if name == "sac" else {"labels": labels, "session_labels": 1}
    reward = dataclasses.replace(cfg.reward, ensemble=1, batch_size=1)
    cfg = dataclasses.replace(cfg, algo=algo, method=method, members=1, envs_per_member=1, reward=reward, **asked)
    if cfg.query.selector == "disagreement":  # refused for a network that is alone
        cfg = dataclasses.replace(cfg, query=dataclasses.replace(cfg.query, selector="uniform"))
    rows: list[dict[str, Any]] = []
    begun, _ = build(cfg, tmp_path)
    begun.train(begun.state, begun.env, Hooks(lambda state, metrics: rows.append(metrics)))
    for key, tensor in begun.state.state_dict().items():
        if torch.as_tensor(tensor).is_floating_point() and ("params" in key or "flat" in key or "model" in key):
            assert bool(torch.isfinite(torch.as_tensor(tensor)).all()), key
    losses = [np.asarray(row[key], float) for row in rows for key in row if key.startswith("train/")]
    assert losses
    assert not any(np.isinf(loss).any() for loss in losses)
