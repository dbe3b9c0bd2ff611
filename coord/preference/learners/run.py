"""What a run of any learner is, whatever learns in it: its phase, its label store, its state."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from coord.preference.config import PreferConfig
from coord.preference.labels.feedback import Feedback
from coord.preference.labels.store import LabelStore
from coord.preference.learners.intrinsic import RunningStd
from coord.preference.learners.tally import EpisodeLog, Tally


class LearnerRun:
    """Base of the runs of SAC, PPO for kitchens and PPO for control: dataclasses of all that training changes."""

    PARTS: ClassVar[tuple[str, ...]]  # attributes that have a state of their own, in the order of the state

    cfg: PreferConfig
    feedback: Feedback | None  # None: the true reward is given
    rows: int  # N, environments per member
    novelty: RunningStd
    tally: Tally
    episodes: EpisodeLog
    switched: bool  # the first session is over

    @property
    def phase(self) -> str:
        """Where the run stands, in words."""
        return "true reward" if self.feedback is None else self.feedback.phase(self.switched)

    def open(self, folder: Path) -> LabelStore | None:
        """Opens the label store of the run folder, from which labels are read and to which queries go."""
        return None if self.feedback is None else self.feedback.open(folder)

    def parts(self) -> dict[str, Any]:
        """Whatever has a state of its own."""
        return {name: getattr(self, name) for name in self.PARTS if getattr(self, name) is not None}
