"""When a run takes the bilevel steps of `coord.preference.methods.mrn.mrn`, and on what."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from coord.preference.methods.mrn.mrn import MRN, MRNConfig

if TYPE_CHECKING:
    from torch import Tensor

    from coord.preference.learners.sac import Run


def create(run: Run) -> MRN:
    """What method=mrn remembers."""
    assert run.feedback is not None
    return MRN(run.own, run.feedback.model, run.sac.seeds)


def create_optional(run: Run) -> MRN | None:
    """What method=ours remembers: nothing, unless it takes corrected steps."""
    assert run.feedback is not None
    if not run.own.meta_every:
        return None
    config = MRNConfig(form="corrected", every=run.own.meta_every, meta_weight=run.own.meta_weight)
    return MRN(config, run.feedback.model, run.sac.seeds)


def step(run: Run) -> dict[str, Tensor] | None:
    """Where it is due: a bilevel step, the update that belongs to it, new rewards for the replay; metrics [M]."""
    from coord.preference.learners.sac import relabel

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
        relabel(run)
    return metrics
