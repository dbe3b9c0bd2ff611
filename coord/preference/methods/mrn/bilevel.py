"""When a run takes the bilevel steps of `coord.preference.methods.mrn.mrn`, and on what."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from coord.preference.methods.method import PreferenceMethod, ReplayLearner
from coord.preference.methods.mrn.config import MRNConfig
from coord.preference.methods.mrn.mrn import MRN

if TYPE_CHECKING:
    from torch import Tensor


def create(run: ReplayLearner, config: MRNConfig | None) -> MRN | None:
    """What a method that takes these bilevel steps remembers; nothing without any."""
    assert run.feedback is not None
    return None if config is None else MRN(config, run.feedback.model, run.sac.seeds)


def step(run: ReplayLearner) -> dict[str, Tensor] | None:
    """Where it is due: a bilevel step, the update that belongs to it, new rewards for the replay; metrics [M]."""
    mrn, feedback = run.extra, run.feedback
    assert feedback is not None
    if not isinstance(mrn, MRN) or not mrn.is_due(run.last_extra, run.env_step, feedback.remaining > 0):
        return None
    run.last_extra = run.env_step
    labels = mrn.draw_labels(feedback.labels, feedback.newest, feedback.judged)
    if labels is None:
        return None
    batch = run.buffer.sample(run.sac.cfg.batch_size, run.sac.gens, time_limit=str(mrn.config.time_limit))
    before = feedback.model.flat.clone()
    metrics = mrn.step(run.sac, feedback.model, batch, labels, feedback.penalty(batch.obs, batch.act))
    if not torch.equal(feedback.model.flat, before):
        run.relabel()
    return metrics


METHOD = PreferenceMethod(
    MRNConfig,
    create=lambda run: create(run, run.own),
    instead=step,
    learners=("sac", "ppo"),
    bilevel=lambda config: config,
)
