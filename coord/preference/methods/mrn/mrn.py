"""Meta-Reward-Net: the reward model also learns from how well the critic that it teaches orders labelled segments.

Liu et al. (NeurIPS 2022): every so many steps the critic takes a trial step on predicted rewards, the preference loss
of its values is differentiated through that step by the reward's parameters
(`coord.preference.methods.mrn.meta_gradient`), the
reward model moves, and an ordinary update on the new rewards follows.

Two forms (`FORMS`), each of whose choices can also be set on its own:

released - as the official code steps. Its deviations from the paper: the gradient goes through the Adam state of the
    supervised loss, whose moments dwarf it; the outer batch is the newest session only; time limits count as the end of
    the episode here and nowhere else; the steps end with the budget of labels.
corrected - the meta gradient is scaled to a share of the supervised gradient of the same labels and added to it; Adam
    moments of its own; labels from all sessions; scores divided by their own deviation; time limits as in every other
    update; goes on after the budget.

Both report the norms of the two gradients, their cosine, and how much of the step is owed to the meta gradient
(`compare`: the released form does not need the supervised gradient, and saves a third of the time without it).

Deviations from the official code in both forms: pairs called equal are soft targets (there they crash); fewer labels
than asked for make a smaller batch (there unwritten memory is read); the trial step and the update that follows share
one draw of next actions, which costs nothing and saves a pass through actor and target.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from coord import seeding
from coord.algos import sac
from coord.buffers import ReplayBatch
from coord.errors import UserError, unknown
from coord.limits import Count, NotNegative, Share, Steps
from coord.nets import heads
from coord.preference.labels.segments import AnsweredPairs
from coord.preference.methods.mrn import meta_gradient as mg
from coord.preference.reward import nets as rn
from coord.preference.reward.model import RewardModel
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


class LabelBatch(NamedTuple):
    """Labelled pairs of every member."""

    obs: Tensor  # [M, K, 2, L, O]
    act: Tensor  # [M, K, 2, L, A]; discrete actions as one-hot rows
    target: Tensor  # [M, K] probability that the second is better


class MRN:
    """Bilevel steps, and what they remember: Adam moments and generators of their own."""

    def __init__(self, config: MRNConfig, model: RewardModel, seeds: Sequence[int]) -> None:
        """seeds: one per member."""
        self.config = config.resolved()
        self.adam = model.adam if self.config.optimiser == "shared" else rn.AdamState.zeros(model.flat)
        self.gens = [seeding.torch_generator(seed, "mrn") for seed in seeds]

    def is_due(self, before: int, after: int, labels_remain: bool) -> bool:
        """Whether a step belongs between two counts of environment steps of a member."""
        if not (labels_remain or self.config.continue_after_budget):
            return False
        return after // self.config.every > before // self.config.every

    def draw_labels(self, labels: Sequence[AnsweredPairs], newest: int, judged: slice) -> LabelBatch | None:
        """The outer batch: up to `outer_batch` of the last `newest` labels, or of all; None if a member has none.

        labels: all of each member, oldest first; newest: answers of the last session; judged: steps of a stored
        segment that the answer is about. The member with the fewest decides K.
        """
        available = [min(newest, own.size) if self.config.outer_data == "newest" else own.size for own in labels]
        count = min(self.config.outer_batch, *available)
        if count == 0:
            return None
        drawn = []
        for own, last, gen in zip(labels, available, self.gens, strict=True):
            rows = own.size - last + torch.randperm(last, generator=gen)[:count].numpy()
            picked = own.select(rows)
            drawn.append((picked.obs[:, :, judged], picked.act[:, :, judged], picked.target))
        columns = zip(*drawn, strict=True)
        return LabelBatch(*(torch.from_numpy(np.stack(column)).to(self.adam.mean) for column in columns))

    def step(
        self,
        state: sac.SACState,
        model: RewardModel,
        batch: ReplayBatch,
        labels: LabelBatch,
        penalty: Tensor | float = 0.0,
    ) -> dict[str, Tensor]:
        """One bilevel step and the update that follows it; metrics [M].

        When: after the switch, in place of the ordinary SAC update of an environment step for which `is_due`; after a
        feedback session that falls on the same step. The caller then relabels the replay. batch: from the replay, of
        the learner's batch size, drawn with `time_limit=config.time_limit`, with the rewards that the model predicts.
        labels: as `draw_labels` gives them. With `meta_scale=0` everything happens but the meta gradient is zero:
        supervised steps (corrected) or the momentum of the last ones (released). penalty [M, B]: what the critic is
        paid less than the rewards.
        """
        seen = batch.narrowed(state.obs_dim)
        next_value = sac.bootstrap(state, seen.next_obs, sac.draw_noise(state, batch.rew.shape[1]))
        features = _features(state, batch.act)
        predicted, pull = model.pullback(batch.obs, features)
        y = sac.critic_target(predicted - penalty, batch.discount, state.cfg.gamma, next_value)
        gradient, outer = self._reward_gradient(state, seen.obs, features, y, labels)
        meta = pull(gradient)
        before = model.flat.clone()
        metrics = {"reward/outer_loss": outer} | self.move(model, rn.flatten(meta), labels)
        # A model that has not moved predicts what is stored; predicted in another batch it would be rounded otherwise.
        rew = batch.rew if torch.equal(model.flat, before) else model.reward(batch.obs, features)
        return metrics | sac.update(state, seen._replace(rew=rew - penalty), next_value)

    def _reward_gradient(
        self, state: sac.SACState, obs: Tensor, features: Tensor, y: Tensor, labels: LabelBatch
    ) -> tuple[Tensor, Tensor]:
        """Gradient of the outer loss by the predicted rewards in the targets y [M, B], and that loss [M]."""
        inner = mg.CriticInnerStep(*_rows(state, obs, features), y, state.cfg.lr)
        outer = outer_batch(state, labels, self.config.score, self._noise(state, labels))
        rule = mg.Rule(self.config.head, self.config.temperature or 0.0)
        gradient, loss = mg.reward_gradient(state.critic, inner, outer, rule, self.config.inner_steps)
        return gradient * self.config.outer_weight, loss

    def _noise(self, state: sac.SACState, labels: LabelBatch) -> Tensor | None:
        """Action noise [M, 2K, A] for the last states, where the score needs it."""
        if state.discrete or self.config.score == "first":
            return None
        shape = (2 * labels.target.shape[1], state.act_dim)
        return torch.stack([torch.randn(shape, generator=gen) for gen in self.gens]).to(labels.obs)

    def move(self, model: RewardModel, meta: Tensor, labels: LabelBatch) -> dict[str, Tensor]:
        """Steps the reward model along the flat meta gradient [M, P] and what belongs to it; metrics [M]."""
        norm, part = meta.norm(dim=1), self.config.meta_scale * meta
        if not (self.config.supervised or self.config.compare):
            self._along(model.flat, part, self.adam, model)
            return {"reward/meta_grad_norm": norm}
        grads, loss = model.grads_of_preference_loss(*labels)
        supervised = rn.flatten(grads)
        supervised_norm, base = supervised.norm(dim=1), torch.zeros_like(supervised)
        if self.config.supervised:
            base = supervised
            part = part * (self.config.meta_weight * supervised_norm / norm.clamp_min(TINY))[:, None]
        return {
            "reward/loss": loss.mean(1),
            "reward/meta_grad_norm": norm,
            "reward/supervised_grad_norm": supervised_norm,
            "reward/meta_cosine": F.cosine_similarity(meta, supervised, dim=1, eps=TINY),
            "reward/meta_step_share": self._step(model, base, part),
        }

    def _step(self, model: RewardModel, base: Tensor, part: Tensor) -> Tensor:
        """One step along base + part; how far it lands from where base alone leads, over its length, [M]."""
        before, without = model.flat.clone(), model.flat.clone()
        spare = rn.AdamState(*(tensor.clone() for tensor in self.adam.tensors().values()))
        self._along(without, base, spare, model)
        self._along(model.flat, base + part, self.adam, model)
        length = (model.flat - before).flatten(1).norm(dim=1)
        return (model.flat - without).flatten(1).norm(dim=1) / length.clamp_min(TINY)

    def _along(self, flat: Tensor, grad: Tensor, adam: rn.AdamState, model: RewardModel) -> None:
        if self.config.optimiser == "sgd":
            flat.flatten(1).sub_(grad, alpha=self.config.lr)
            return
        lr = model.config.lr if self.config.optimiser == "shared" else self.config.lr
        rn.adam_step(flat, grad, adam, lr, weight_decay=model.config.weight_decay)

    def state_dict(self) -> dict[str, Tensor]:
        """Own moments and generators (views); shared moments are the reward model's."""
        own = {} if self.config.optimiser == "shared" else self.adam.tensors()
        gens = {f"gen.{m}": gen.get_state() for m, gen in enumerate(self.gens)}
        return {f"adam.{name}": tensor for name, tensor in own.items()} | gens

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Inverse of `state_dict`; KeyError if a tensor is missing."""
        if self.config.optimiser != "shared":
            for name, tensor in self.adam.tensors().items():
                tensor.copy_(state[f"adam.{name}"])
        for m, gen in enumerate(self.gens):
            gen.set_state(state[f"gen.{m}"])


TINY = 1e-30  # keeps a norm of zero from being divided by


def outer_batch(state: sac.SACState, labels: LabelBatch, score: str, noise: Tensor | None = None) -> mg.Outer:
    """Labelled pairs as the critic reads them.

    score: first, Q(s_0, a_0); or segment, Q(s_0, a_0) - gamma^H V(s_H) with H = L - 1, an estimate of the discounted
    reward within the segment. V is the soft value of the policy: by one action drawn with noise [M, 2K, A], or in
    expectation over discrete actions.
    """
    obs = labels.obs[..., : state.obs_dim]
    first_obs, first_act = obs[:, :, :, 0].flatten(1, 2), labels.act[:, :, :, 0].flatten(1, 2)
    rows, pick = _rows(state, first_obs, first_act)
    if score == "first":
        return mg.Outer(rows, pick, torch.zeros(()), 0.0, labels.target)
    last_rows, last_pick, entropy = _last_values(state, obs[:, :, :, -1].flatten(1, 2), noise)
    entropy = entropy.unflatten(1, (-1, 2))
    discount = state.cfg.gamma ** (labels.obs.shape[3] - 1)
    return mg.Outer(torch.cat([rows, last_rows], 1), torch.cat([pick, last_pick], 1), entropy, discount, labels.target)


def _last_values(state: sac.SACState, obs: Tensor, noise: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Rows, pick and entropy bonus [M, R] of the soft value of obs [M, R, O]."""
    if noise is None:
        logp = heads.log_policy(state.actor, obs)
        return obs, logp.exp(), -state.alpha[:, None] * (logp.exp() * logp).sum(-1)
    act, logp = heads.policy(state.actor, obs, noise)
    return *_rows(state, obs, act), -state.alpha[:, None] * logp


def _features(state: sac.SACState, act: Tensor) -> Tensor:
    """Actions as the reward model reads them: discrete ones as one-hot rows."""
    return F.one_hot(act, state.act_dim).to(state.log_alpha.dtype) if state.discrete else act


def _rows(state: sac.SACState, obs: Tensor, act: Tensor) -> tuple[Tensor, Tensor]:
    """Inputs of the critic [M, B, F], and what picks the value of act (one-hot if discrete) from its outputs."""
    if state.discrete:
        return obs, act
    rows = torch.cat([obs, act], -1)
    return rows, torch.ones_like(rows[..., :1])
