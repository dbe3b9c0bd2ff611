"""People who disagree: the reward model and what is known of every annotator, fitted in turn.

A round trains the reward model on answers as `coord.preference.reward.annotators` explains them (each annotator's
reliability
and threshold inside the loss), then fits the annotators to the gaps that it predicts. Three choices (`crowd=`):

pooled - no model of annotators, every answer counts the same;
reliability - one reward, a reliability and a tie threshold per annotator;
mixture - as many rewards as groups, and the probability of each annotator to belong to each; answers weigh by it. The
    policy learns the reward of the first group, the largest when answers first came.

A network that has learned an answer by heart finds whoever gave it reliable. So every network of the ensemble is kept
from the answers to a part of the queries (every E-th), and annotators are judged by the network that has not seen the
query. That is why the ensemble must have at least two.

Deviations from a joint gradient: annotators are found exactly between trainings, the networks by as many steps of Adam
as the configuration gives them, so the likelihood of a round may fall where those are too few.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from coord import seeding
from coord.errors import UserError
from coord.preference.labels.segments import AnsweredPairs
from coord.preference.labels.store import StoredLabels
from coord.preference.reward import annotators as an
from coord.preference.reward.annotators import CrowdConfig, MixtureConfig, People, PooledConfig
from coord.preference.reward.model import AnswerNoise, FitResult, RewardConfig, RewardModel


def check(crowd: CrowdConfig, reward: RewardConfig, *, warns: bool = False) -> None:
    """Raise UserError where annotators could not be judged by networks that have not learned their answers.

    warns: whether labels follow from warnings, which nobody has given and no annotator's traits belong to.
    """
    if isinstance(crowd, PooledConfig):
        return
    name = "mixture" if isinstance(crowd, MixtureConfig) else "reliability"
    if warns:
        raise UserError(
            f"crowd={name} does not go with safety: labels implied by warnings are nobody's; use crowd=pooled"
        )
    if reward.ensemble < 2:
        raise UserError(
            f"crowd={name} judges annotators by networks "
            f"that have not learned their answers: it needs reward.ensemble of at least 2, not {reward.ensemble}"
        )


class Crowd:
    """The annotators of M members, and the rewards of all groups but the first."""

    def __init__(
        self, cfg: CrowdConfig, reward: RewardConfig, seeds: Sequence[int], others: RewardModel | None
    ) -> None:
        """others: the K - 1 other groups' models of member 0, then of member 1, ..."""
        self.cfg, self.seeds, self.others = cfg, list(seeds), others
        self._margin, self._ensemble = reward.crop_margin, reward.ensemble
        self.names: list[list[str]] = [[] for _ in seeds]  # of each member's annotators, as in `people`
        self.people: list[People | None] = [None for _ in seeds]
        self._spread = [1.0 for _ in seeds]  # root mean square of each member's gaps

    @staticmethod
    def create(
        cfg: CrowdConfig, reward: RewardConfig, obs_dim: int, act_dim: int, seeds: Sequence[int], **of_models: Any
    ) -> Crowd:
        """Nobody met yet; member m depends on seeds[m] only. of_models: for `RewardModel.create`."""
        groups = cfg.groups if isinstance(cfg, MixtureConfig) else 1
        of_groups = [seeding.derive(seed, "group", k) for seed in seeds for k in range(1, groups)]
        others = RewardModel.create(reward, obs_dim, act_dim, of_groups, **of_models) if of_groups else None
        return Crowd(cfg, reward, seeds, others)

    @property
    def groups(self) -> int:
        """K."""
        return self.cfg.groups if isinstance(self.cfg, MixtureConfig) else 1

    def fit(
        self, model: RewardModel, stored: Sequence[StoredLabels], unlabelled: Sequence[AnsweredPairs] | None = None
    ) -> FitResult:
        """Train the reward model, and the other groups', and learn who answers how; as `RewardModel.fit`."""
        if isinstance(self.cfg, PooledConfig):
            return model.fit([part.labels for part in stored], unlabelled)
        for m, part in enumerate(stored):
            self._meet(model, m, part)
        for _ in range(self.cfg.rounds):
            result = self._teach(model, [(m, 0) for m in range(len(stored))], stored, unlabelled)
            if self.others is not None:
                self._teach(self.others, [(m, k) for m in range(len(stored)) for k in range(1, self.groups)], stored)
            for m, part in enumerate(stored):
                self._judge(model, m, part)
        return result

    def _teach(
        self,
        model: RewardModel,
        heads: Sequence[tuple[int, int]],
        stored: Sequence[StoredLabels],
        unlabelled: Sequence[AnsweredPairs] | None = None,
    ) -> FitResult:
        """Train the members of `model` on what (member, group) learns."""
        noise = [self._noise(m, stored[m], k) for m, k in heads]
        return model.fit([stored[m].labels for m, _ in heads], unlabelled, noise)

    def seen_as(self, m: int, stored: StoredLabels) -> AnsweredPairs:
        """The labels as anything else than the reward model reads them: one soft target per query."""
        if self.people[m] is None or not stored.labels.size:
            return stored.labels
        return stored.labels._replace(target=self._consensus(m, stored).astype(np.float32))

    def others_say(self, m: int, stored: StoredLabels) -> np.ndarray:
        """[n] what all but the one who gave an answer say about its query, as a soft target; nan: nobody else did."""
        return self._consensus(m, stored, others_only=True)

    def gaps(self, model: RewardModel, m: int, stored: StoredLabels) -> np.ndarray:
        """[n, K] predicted gaps (second minus first), each by the network that has not learned the query."""
        cut = judged(stored.labels, self._margin)
        rest = range(m * (self.groups - 1), (m + 1) * (self.groups - 1))
        found = [model.gaps(m, cut)] + [self.others.gaps(i, cut) for i in rest if self.others is not None]
        fold = stored.number % self._ensemble
        return np.stack([gap[fold, np.arange(len(fold))] for gap in found], axis=1)

    def _meet(self, model: RewardModel, m: int, stored: StoredLabels) -> None:
        """First estimate of everybody who has answered by now; a mixture starts from its linear counterpart."""
        before, known = self.people[m], self.names[m]
        self.names[m], who = an.index([*known, *stored.annotator])
        if not stored.labels.size:
            return
        who = who[len(known) :]
        if before is None:
            flat = np.zeros((len(who), self.groups))
            self.people[m] = an.fit_annotators(flat, stored.labels.target, who, len(self.names[m]))
        else:
            self._judge(model, m, stored)
        if isinstance(self.cfg, MixtureConfig):
            self._regroup(m, stored, who, before)

    def _regroup(self, m: int, stored: StoredLabels, who: np.ndarray, before: People | None) -> None:
        """Memberships of the linear mixture, in the order of the groups known before."""
        assert isinstance(self.cfg, MixtureConfig)
        people, rng = self.people[m], seeding.rng(self.seeds[m], "groups", stored.labels.size)
        assert people is not None
        names = len(self.names[m])
        found = an.linear_groups(
            features(stored.labels, self._margin), stored.labels.target, who, names, self.groups, rng, self.cfg.restarts
        ).group
        if before is not None:
            found = found[:, list(an.aligned(found[: len(before.group)], before.group))]
        self.people[m] = people._replace(group=found)

    def _judge(self, model: RewardModel, m: int, stored: StoredLabels) -> None:
        """Fits the annotators of member m to what the networks predict now."""
        assert not isinstance(self.cfg, PooledConfig)
        if not stored.labels.size:
            return
        who, gap = self._who(m, stored), self.gaps(model, m, stored)
        people = an.fit_annotators(gap, stored.labels.target, who, len(self.names[m]), lapse=self.cfg.lapse)
        self.people[m], _ = an.normalised(people, who)
        self._spread[m] = float(np.sqrt((gap[:, 0] ** 2).mean()))

    def _consensus(self, m: int, stored: StoredLabels, *, others_only: bool = False) -> np.ndarray:
        people = self.people[m]
        assert people is not None
        target, who, spread = stored.labels.target, self._who(m, stored), self._spread[m]
        return an.soft_targets(people, target, who, stored.number, spread, others_only=others_only)

    def _who(self, m: int, stored: StoredLabels) -> np.ndarray:
        return an.index([*self.names[m], *stored.annotator])[1][len(self.names[m]) :]

    def _noise(self, m: int, stored: StoredLabels, k: int) -> AnswerNoise:
        """What the networks of group k know about each answer: its annotator's traits, and its weight."""
        people = self.people[m]
        if people is None or not stored.labels.size:
            return AnswerNoise(np.zeros((0, self._ensemble), np.float32), *np.zeros((2, 0), np.float32))
        who = self._who(m, stored)
        seen = stored.number[:, None] % self._ensemble != np.arange(self._ensemble)  # [n, E]
        weight = (people.weight[:, k] * people.group[who, k])[:, None] * seen
        traits = (part[who, k] for part in (people.reliability, people.threshold))
        return AnswerNoise(*(part.astype(np.float32) for part in (weight, *traits)))

    # ------------------------------------------------------------------------------------------------- saving

    def state_dict(self) -> dict[str, Tensor]:
        """The other groups' models by name."""
        return self.others.state_dict() if self.others is not None else {}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Inverse of `state_dict`, in place."""
        if self.others is not None:
            self.others.load_state_dict(state)

    def memory(self) -> dict[str, Any]:
        """Everything else that `fit` changes, as JSON can hold it; weights of answers are found anew."""
        people = [None if one is None else [part.tolist() for part in one[:6]] for one in self.people]
        gens = self.others.rng_state() if self.others is not None else []
        return {"names": self.names, "people": people, "spread": self._spread, "gens": gens}

    def load_memory(self, memory: Mapping[str, Any]) -> None:
        """Inverse of `memory`."""
        self.names, self._spread = [list(names) for names in memory["names"]], list(memory["spread"])
        self.people = [None if parts is None else self._people(parts) for parts in memory["people"]]
        if self.others is not None:
            self.others.load_rng_state(memory["gens"])

    def _people(self, parts: Sequence[Any]) -> People:
        b, c, b_sd, c_sd, group, share = (np.array(part) for part in parts)
        return People(b, c, b_sd, c_sd, group, share, 0.0, np.zeros((0, self.groups)))


def judged(labels: AnsweredPairs, margin: int) -> AnsweredPairs:
    """The steps that people were shown: all but `margin` on either side."""
    middle = slice(margin, labels.obs.shape[2] - margin)
    return AnsweredPairs(labels.obs[:, :, middle], labels.act[:, :, middle], labels.target)


def features(labels: AnsweredPairs, margin: int) -> np.ndarray:
    """[n, O + A] sums of observations and actions over the second segment minus those over the first."""
    cut = judged(labels, margin)
    total = np.concatenate([cut.obs, cut.act], axis=3).sum(2, dtype=np.float64)  # [n, 2, O + A]
    return total[:, 1] - total[:, 0]
