"""PEBBLE: the ordinary loop of `coord.preference.learners.sac`, with one control that MRN must be compared with.

Lee, Smith and Abbeel 2021: unsupervised pretraining, relabelling of the whole replay, an ensemble and disagreement
queries. B-Pref's code (Lee et al. 2021) is what the loop follows; departures stand there.

The control (`extra_every`, off by default): every so many steps, while labels remain to be asked for, the reward model
takes one more supervised Adam step and the replay is relabelled: what MRN's schedule does without its bilevel gradient.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from coord.errors import UserError
from coord.limits import StepsOrNone
from coord.preference.methods.method import PreferenceMethod, ReplayLearner

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class PebbleConfig:
    """PEBBLE has no settings of its own, but for one control."""

    # env steps between extra supervised steps of the reward model (a control for mrn); 0: none
    extra_every: StepsOrNone = 0


def extra_step(run: ReplayLearner) -> dict[str, Tensor] | None:
    """One more supervised step of the reward model where it is due; the ordinary update then follows."""
    assert run.feedback is not None
    if run.own.extra_every and run.feedback.remaining and run.is_due(run.own.extra_every):
        run.feedback.supervised_step()
        run.relabel()
    return None


def check(config: PebbleConfig, learner: str) -> None:
    """Raise UserError for the extra steps where there is no replay to relabel."""
    if learner == "ppo" and config.extra_every:
        raise UserError(
            "method.extra_every is for learner=sac; the same control with learner=ppo: method=mrn method.meta_scale=0"
        )


METHOD = PreferenceMethod(PebbleConfig, instead=extra_step, learners=("sac", "ppo"), check=check)
