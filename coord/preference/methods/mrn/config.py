"""Settings of Meta-Reward-Net, and what its two forms choose (`coord.preference.methods.mrn.mrn` says why)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from coord.errors import UserError, unknown
from coord.limits import Count, NotNegative, Share, Steps
from coord.returns import TIME_LIMITS

FORMS: dict[str, dict[str, Any]] = {
    "released": {
        "optimiser": "shared",
        "supervised": False,
        "outer_data": "newest",
        "temperature": 1.0,
        "time_limit": "terminate",
        "continue_after_budget": False,
    },
    "corrected": {
        "optimiser": "adam",
        "supervised": True,
        "outer_data": "all",
        "temperature": 0.0,
        "time_limit": "bootstrap",
        "continue_after_budget": True,
    },
}
CHOICES = {
    "form": tuple(FORMS),
    "optimiser": ("shared", "adam", "sgd"),
    "outer_data": ("newest", "all"),
    "score": ("first", "segment"),
    "head": ("both", "min", "mean"),
    "time_limit": TIME_LIMITS,
}


@dataclass(frozen=True, kw_only=True)
class MRNConfig:
    """Bilevel steps; None: as the form has it, in brackets (released, corrected)."""

    # released (as the official code steps) | corrected (meta gradient scaled and added to the supervised one)
    form: str = "corrected"
    every: Steps = 1000  # env steps of a member between bilevel steps, 1000..10000
    # with supervised: norm of the meta gradient as a share of the supervised one's, .03...3
    meta_weight: NotNegative = 0.1
    outer_weight: NotNegative = 0.1  # factor of the outer loss; without effect where the meta gradient is scaled
    outer_batch: Count = 128  # labelled pairs in the outer loss, at most
    score: str = "first"  # of a segment: first, Q(s_0, a_0) | segment, Q(s_0, a_0) - gamma^H V(s_H)
    head: str = "both"  # of the critic: both (a loss each) | min | mean
    inner_steps: Count = 1  # trial steps of the critic; more than one needs the second-order graph
    meta_scale: NotNegative = 1.0  # factor of the meta gradient; 0: a control without it, everything else as it is
    # report how the meta gradient compares with the supervised one, which form=released does not need
    compare: bool = True
    lr: Share = 3e-4  # step size of the optimiser of its own
    optimiser: str | None = None  # shared (Adam of the supervised loss) | adam | sgd (of its own) (shared, adam)
    # add the supervised gradient of the same labels and scale the meta gradient to it (false, true)
    supervised: bool | None = None
    outer_data: str | None = None  # newest (labels of the last session) | all (newest, all)
    temperature: NotNegative | None = None  # the scores are divided by it; 0: by their standard deviation (1, 0)
    # what follows a time limit in a bilevel step: terminate | bootstrap (terminate, bootstrap)
    time_limit: str | None = None
    continue_after_budget: bool | None = None  # go on once all labels are asked for (false, true)

    def __post_init__(self) -> None:
        for name, allowed in CHOICES.items():
            if getattr(self, name) is not None and getattr(self, name) not in allowed:
                raise unknown(name, getattr(self, name), allowed)
        for name in ("meta_weight", "outer_weight", "meta_scale", "lr", "temperature"):
            if (getattr(self, name) or 0.0) < 0:
                raise UserError(f"{name}={getattr(self, name)}: must not be negative")

    def resolved(self) -> MRNConfig:
        """The same with every choice made that was left to the form."""
        return replace(self, **{k: v for k, v in FORMS[self.form].items() if getattr(self, k) is None})
