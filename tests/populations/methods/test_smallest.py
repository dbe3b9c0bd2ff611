"""Every method at the smallest sizes there are: one learner, kitchen and tick. Finite, or refused before it begins."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from coord import plugins
from coord.algos.ppo import Hooks
from coord.errors import UserError
from coord.evaluation import agents
from coord.run import config
from populations.training import Setup
from tests.agent_fixtures import clone_like, index_member

GROUPS = {"population": "coord.pool_methods", "train": "coord.ego_methods"}
ALL = [(command, name) for command, group in GROUPS.items() for name in plugins.entries(group)]
# The parts of a configuration that only make a method slow.
LESS = {"episodes": 1, "games": 1, "hypotheses": 2, "candidates": 2, "partners": 1, "generation_steps": 2}
LESS |= {"chunk_len": 1, "min_return": -1.0}


def small(cfg: object) -> object:
    """The configuration of a method with fewer games and candidates, where that is allowed."""
    for name, value in LESS.items():
        try:
            cfg = dataclasses.replace(cfg, **{name: value}) if hasattr(cfg, name) else cfg
        except UserError:
            continue
    return cfg


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize(("command", "name"), ALL)
@pytest.mark.parametrize("rollout_len", [1, 3])
def test_one_learner_one_kitchen_few_ticks(
    command: str, name: str, rollout_len: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agents, "load_clone", clone_like)
    words = [f"method={name}", "algo.num_envs=1", f"algo.rollout_len={rollout_len}", "algo.num_epochs=1"]
    cfg = config.load(command, [*words, f"algo.total_steps={3 * rollout_len}", "algo.num_minibatches=8"])
    partner = index_member("p", 1)
    make = plugins.find(GROUPS[command], name, "method").make
    setup = Setup(algo=cfg.algo, layout="cramped_room", horizon=2, members=1, seed=0, name=name)
    try:
        try:
            training = make(small(cfg.method), setup)
        except UserError as refused:  # most want partners; self-play and the like refuse them
            if "partners=" not in str(refused):
                raise
            given = agents.StoredAgent(partner.card, partner.net)
            training = make(small(cfg.method), dataclasses.replace(setup, partners=(given,)))
    except UserError as refused:
        pytest.skip(f"refused: {refused}")
    rows: list[dict[str, object]] = []
    training.run(training.state, training.env, Hooks(lambda state, metrics: rows.append(metrics)))
    assert rows
    losses = [np.asarray(row[key], float) for row in rows for key in row if key.startswith("train/")]
    assert losses
    assert all(np.isfinite(loss).all() for loss in losses)
    try:
        made = training.agents()
    except UserError as refused:  # candidates that learned nothing are not fit to be chosen from
        assert "zero-size" not in str(refused)  # noqa: PT017
        made = []
    for one in made:
        assert all(bool(torch.isfinite(tensor).all()) for tensor in one.net.tensors().values())
