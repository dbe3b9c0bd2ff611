"""What a method changes in the loop of a learner, and what it sees of that learner."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from coord import plugins
from coord.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from coord.algos.sac import SACState
    from coord.buffers import ReplayBatch, ReplayBuffer
    from coord.checkpoint import Savable
    from coord.preference.labels.feedback import Feedback
    from coord.preference.methods.mrn.config import MRNConfig

GROUP = "coord.preference_methods"  # entry points: `coord prefer method=<name>`


class ReplayLearner(Protocol):
    """What methods see of a run that learns from a replay of relabelled transitions (`learners.sac`)."""

    sac: SACState
    buffer: ReplayBuffer
    feedback: Feedback | None
    max_episode_steps: int
    extra: Savable | None  # what the method remembers
    env_step: int
    last_extra: int  # env step at which the method last did what it does from time to time

    @property
    def own(self) -> Any:
        """The method's own configuration."""

    def is_due(self, every: int) -> bool:
        """Whether a multiple of `every` steps has passed since this last said so."""

    def relabel(self) -> None:
        """Gives every transition of the replay the reward that the model predicts now."""


class PreferenceMethod(NamedTuple):
    """What a method changes in the loop; None leaves the ordinary step as it is."""

    Config: type  # its own fields
    learns_reward: bool = True  # else it is trained on the true reward, without labels
    on_policy: bool = False  # PPO's loop (`learners.prefppo`) instead of SAC's
    learners: tuple[str, ...] = ("sac",)  # who can learn by it
    create: Callable[[ReplayLearner], Savable | None] | None = None  # what it must remember
    # newest rows per member that half of each batch comes from
    recent: Callable[[ReplayLearner], int | None] | None = None
    # [M, B] added to the predicted rewards of a batch
    bonus: Callable[[ReplayLearner, ReplayBatch], Tensor] | None = None
    instead: Callable[[ReplayLearner], dict[str, Tensor] | None] | None = None  # of an update, if it returns metrics
    # whether sessions after the first start a new critic too
    renews_critic: Callable[[ReplayLearner], bool] | None = None
    # What its own configuration asks for:
    bilevel: Callable[[Any], MRNConfig | None] = lambda _: None  # bilevel steps
    unlabelled: Callable[[Any], int] = lambda _: 0  # unlabelled pairs per query
    check: Callable[[Any, str], None] = lambda config, learner: None  # raises UserError where a learner cannot


def named(name: str) -> PreferenceMethod:
    """The method of that name.

    Raises:
        UserError: there is none.
    """
    return plugins.find(GROUP, name, "method")


def name_of(config: Any) -> str:
    """The name of the method with that configuration."""
    found = plugins.loaded([GROUP], "method")
    return next(name for name, method in found if getattr(method, "Config", None) is type(config))


def check_learner(method: PreferenceMethod, config: Any, learner: str) -> None:
    """Raise UserError if the learner ("sac", "ppo") cannot learn by the method as configured."""
    if learner not in method.learners:
        found = plugins.loaded([GROUP], "method")
        known = [name for name, other in found if learner in getattr(other, "learners", ())]
        raise UserError(
            f"method={name_of(config)} is not for learner={learner}, which has {', '.join(known)} "
            "(true_reward: no labels)"
        )
    method.check(config, learner)
