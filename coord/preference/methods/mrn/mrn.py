"""Meta-Reward-Net: the reward model also learns from how well the critic that it teaches orders labelled segments.

Liu et al. (NeurIPS 2022, equations 6, 10 and 12): a reward r with parameters psi teaches a critic Q with parameters
theta, and two problems are nested. Every so many steps of the environment:

1. Inner problem: the critic takes a trial step on predicted rewards (`inner_loss`, `inner_step`; b is the rest of the
   target, gamma times the soft value of what follows; h runs over the critic's heads):

       theta_hat(psi) = theta - lr grad_theta L_in,
       L_in = sum_h mean_i (Q_h(s_i, a_i; theta) - r_psi(s_i, a_i) - b_i)^2

2. Outer problem: what the stepped critic says of labelled segments is read as a preference (`scores`, `outer_loss`):

       P(second better) = sigmoid(S(second) - S(first)),    S = Q(s_0, a_0; theta_hat)  [- gamma^H V(s_H)],
       L_out = cross-entropy of the labels under P

3. Meta step: psi moves along grad_psi L_out(theta_hat(psi)), through the trial step (`second_order_gradient` is the
   definition, `reward_gradient` takes it by hand where it can, `coord.preference.methods.mrn.meta_gradient`), with what
   the form adds to it (`MRN.move`). An ordinary update on the new rewards follows.

Two forms (`coord.preference.methods.mrn.config.FORMS`), each of whose choices can also be set on its own:

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
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from coord import seeding
from coord.algos import sac
from coord.buffers import ReplayBatch
from coord.nets import mlps
from coord.preference.labels.segments import AnsweredPairs
from coord.preference.methods.mrn import meta_gradient, pairs
from coord.preference.methods.mrn.config import MRNConfig
from coord.preference.methods.mrn.meta_gradient import CriticInnerStep
from coord.preference.methods.mrn.pairs import LabelBatch, Outer
from coord.preference.reward import nets as rn
from coord.preference.reward.model import RewardModel
from coord.returns import deviation

TINY = 1e-30  # keeps a norm of zero from being divided by

# ---------------------------------------------------------------------------------------------- inner problem


def inner_loss(values: Tensor, target: Tensor) -> Tensor:
    """L_in [M]: mean square error of the values [M, H, B], summed over heads; target [M, B]: predicted reward + b."""
    return (values - target.unsqueeze(1)).square().mean(-1).sum(-1)


def inner_step(critic: mlps.Params, inner: CriticInnerStep, target: Tensor) -> mlps.Params:
    """theta_hat: a step of plain gradient descent on L_in, as a differentiable function of target [M, B]."""
    loss = inner_loss(critic_values(critic, inner.rows, inner.pick), target)
    slopes = torch.autograd.grad(loss.sum(), list(critic.values()), create_graph=True)
    return {name: critic[name] - inner.lr * slope for name, slope in zip(critic, slopes, strict=True)}


def critic_values(critic: mlps.Params, rows: Tensor, pick: Tensor) -> Tensor:
    """Values [M, H, B] of rows [M, B, F]."""
    return (mlps.apply(critic, rows.unsqueeze(1)) * pick.unsqueeze(1)).sum(-1)


# ---------------------------------------------------------------------------------------------- outer problem


class Rule(NamedTuple):
    """How values become a loss."""

    heads: str = "both"  # both (one loss per head, summed), min or mean (one loss of the joined heads)
    temperature: float = 1.0  # the scores are divided by it; 0: by their own standard deviation, a constant


def scores(values: Tensor, outer: Outer, heads: str = "both") -> Tensor:
    """Scores [M, H, K, 2] of segments: Q(s_0, a_0), less gamma^H V(s_H) where there are rows for it.

    values [M, heads, R]: what each head says of each row. H is all of them for heads=both, else 1.
    """
    if heads != "both":
        values = (values.amin(1) if heads == "min" else values.mean(1)).unsqueeze(1)
    count = outer.target.shape[-1]
    ends = values.unflatten(-1, (-1, count, 2))  # [M, H, 1 or 2, K, 2]
    if ends.shape[2] == 1:
        return ends[:, :, 0]
    return ends[:, :, 0] - outer.discount * (ends[:, :, 1] + outer.entropy.unsqueeze(1))


def outer_loss(values: Tensor, outer: Outer, rule: Rule) -> Tensor:
    """Cross-entropy [M] of the labels under a Bradley-Terry model of the scores, summed over heads."""
    margin = scores(values, outer, rule.heads).diff(dim=-1).squeeze(-1)  # [M, H, K] second minus first
    if rule.temperature:
        margin = margin / rule.temperature
    else:
        margin = margin / deviation(margin.detach(), (-1,)).clamp_min(1e-8)
    cross_entropy = F.softplus(margin) - outer.target.unsqueeze(1) * margin
    return cross_entropy.mean(-1).sum(-1)


# -------------------------------------------------------------------------------------------- the meta gradient


def second_order_gradient(
    critic: mlps.Params, inner: CriticInnerStep, outer: Outer, rule: Rule, steps: int = 1
) -> tuple[Tensor, Tensor]:
    """dL_out/dr [M, B] through `steps` trial steps of any critic, and L_out [M]: the definition, by autograd."""
    target = inner.target.detach().requires_grad_()
    theta = {name: tensor.detach().requires_grad_() for name, tensor in critic.items()}
    for _ in range(steps):
        theta = inner_step(theta, inner, target)
    loss = outer_loss(critic_values(theta, outer.rows, outer.pick), outer, rule)
    return torch.autograd.grad(loss.sum(), target)[0], loss.detach()


def reward_gradient(
    critic: mlps.Params, inner: CriticInnerStep, outer: Outer, rule: Rule, steps: int = 1
) -> tuple[Tensor, Tensor]:
    """As `second_order_gradient`; by hand for one step of a critic of dense layers."""
    if steps > 1 or "norm0.weight" in critic:
        return second_order_gradient(critic, inner, outer, rule, steps)
    loss = partial(outer_loss, outer=outer, rule=rule)
    credit, value = meta_gradient.alignment(critic, inner, outer.rows, outer.pick, loss)
    return credit * (2.0 * inner.lr / credit.shape[-1]), value


# ----------------------------------------------------------------------------------------------- the meta step


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
        newest_only = self.config.outer_data == "newest"
        available = [min(newest, own.size) if newest_only else own.size for own in labels]
        drawn = pairs.draw_labels(labels, available, self.config.outer_batch, judged, self.gens)
        return None if drawn is None else LabelBatch(*(tensor.to(self.adam.mean) for tensor in drawn))

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
        features = pairs.action_features(state, batch.act)
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
        inner = CriticInnerStep(*pairs.critic_rows(state, obs, features), y, state.cfg.lr)
        outer = pairs.outer_batch(state, labels, self.config.score, self._noise(state, labels))
        rule = Rule(self.config.head, self.config.temperature or 0.0)
        gradient, loss = reward_gradient(state.critic, inner, outer, rule, self.config.inner_steps)
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
