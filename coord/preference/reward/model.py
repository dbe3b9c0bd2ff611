"""The reward model: an ensemble per member, trained on labelled pairs of segments by the Bradley-Terry model.

B-Pref's reward model (Lee et al. 2021): three networks, (observation, action) -> 256 -> 256 -> 256 -> 1 with leaky ReLU
and tanh; the probability that the second of two segments is better is the softmax over the undiscounted sums of
predicted rewards; cross-entropy, summed over the ensemble; Adam 3e-4; every network sees the same labels in an order of
its own; training stops when the mean accuracy, measured before each step, passes 0.97. The policy's reward is the mean
of the ensemble. Options: crops (SURF: Park et al. 2022; QPA: Hu et al. 2024), pseudo-labels (SURF), label smoothing
(STAR), a fresh start before each session (PoLiCER), labels held out.

Discrete actions are given as one-hot rows. M members with equally many labels train together in one batched network;
member m depends on its own seed and labels only.

Deviations: pairs called equal do not count towards the accuracy (B-Pref counts them as "first is better"); crops are
windows over the rewards of the whole stored segment, which are predicted once; each pair draws its own crop length
(SURF: one per minibatch); unlabelled pairs are drawn with replacement.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
from annotated_types import Ge, Le
from numpy.typing import NDArray
from torch import Tensor

from coord import memory, seeding
from coord.errors import UserError, unknown
from coord.limits import (
    Count,
    CountOrNone,
    NotNegative,
    Positive,
    Share,
    ShareAboveZero,
    ShareBelowOne,
    UpToHalf,
    Widths,
)
from coord.nets import mlps
from coord.preference.labels.segments import AnsweredPairs, Queries
from coord.preference.reward import nets as rn
from coord.preference.reward import sparse_rows
from coord.preference.reward.sparse_rows import SparseRows
from coord.returns import deviation

UNITS = ("passes", "labels", "steps")
NO_COLUMNS = slice(0, 0)
UNDO_STRIDE = 8  # every so many steps are looked at for `undo_penalty`
LEAST_DEVIATION = 1e-3  # what varies less is not blown up, unless `RewardConfig.scale_limit` says how far
Steps = tuple[NDArray[np.float32], NDArray[np.float32]]  # observations [n, O] and actions [n, A] of one member


@dataclass(frozen=True, kw_only=True)
class RewardConfig:
    """The reward model and how it is trained in a session."""

    ensemble: Annotated[int, Ge(1), Le(1000)] = 3  # networks whose mean is the reward; QPA 1
    hidden: Widths = (256, 256, 256)  # widths of the dense layers
    output: str = "tanh"  # squashing of the reward: tanh | sigmoid | relu | linear
    lr: ShareAboveZero = 3e-4  # Adam step size
    weight_decay: NotNegative = 0.0  # decoupled (AdamW), 0...01
    batch_size: Count = 128  # labels per Adam step
    # unit of train_amount: passes over the labels | labels / batch_size (SURF, QPA) | steps of Adam
    train_for: str = "passes"
    train_amount: Count = 50  # per session; B-Pref 50 (DMControl) or 10 (Meta-World), SURF 1000 or 20, QPA 2000
    # a session's training ends when the accuracy of a pass is above this; 1: never (SURF)
    stop_accuracy: NotNegative = 0.97
    label_smoothing: ShareBelowOne = 0.0  # s in (1 - s) label + s / 2, 0...1; STAR .05
    crops: CountOrNone = 0  # random windows per pair and step, SURF 1, QPA 20; 0: whole segments
    crop_min: CountOrNone = 0  # shortest window, SURF 45, QPA 35
    crop_max: CountOrNone = 0  # longest window, SURF 55, QPA 45
    crop_margin: CountOrNone = 0  # steps kept on either side of what is judged, so that windows can shift; SURF 5
    unlabelled_ratio: CountOrNone = 0  # unlabelled pairs per labelled one in a step, for pseudo-labels; SURF 4
    pseudo_threshold: Share = 0.99  # how sure a network must be to label a pair itself, .95...999
    unlabelled_coef: NotNegative = 1.0  # weight of the loss on pseudo-labels
    holdout: UpToHalf = 0.0  # share of the labels kept from training, to report the accuracy on, 0...5
    reset: bool = False  # fresh networks at the start of every session (PoLiCER)
    # divide numbers of an observation by their deviation in what was seen before the first session
    scale_inputs: bool = False
    # scale_inputs: the largest factor, also of numbers that have not varied yet; null: no limit, those stay
    scale_limit: Positive | None = None
    # reward_sees_change: weight of the squared gain from doing something and undoing it, 1..100
    undo_penalty: NotNegative = 0.0
    # factor on the first weights of the last layer, 0..1; 0: what no label speaks of is worth nothing
    head_scale: Share = 1.0
    # after each session the rewards of recent episodes have mean 0 and deviation 1, so that critics stay right
    normalise: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "hidden", tuple(self.hidden))
        if self.output not in rn.OUTPUTS:
            raise unknown("output of the reward model", self.output, rn.OUTPUTS)
        if self.train_for not in UNITS:
            raise unknown("unit of training (train_for)", self.train_for, UNITS)
        if min(self.ensemble, self.batch_size, self.train_amount, *self.hidden, 1) < 1 or self.lr <= 0:
            raise UserError("a reward model needs ensemble, hidden, batch_size, train_amount >= 1 and lr > 0")
        if not 0.0 <= self.label_smoothing < 1.0 or not 0.0 <= self.holdout <= 0.5:
            raise UserError("a reward model needs 0 <= label_smoothing < 1 and 0 <= holdout <= 0.5")
        if self.crops and not 0 < self.crop_min <= self.crop_max:
            raise UserError(f"crops={self.crops} needs 0 < crop_min <= crop_max, got {self.crop_min}, {self.crop_max}")
        if self.scale_limit is not None and self.scale_limit <= 0:
            raise UserError(f"scale_limit={self.scale_limit}: must be above 0, or null for no limit")
        if not 0.0 <= self.head_scale <= 1.0:
            raise UserError(f"head_scale={self.head_scale}: allowed is 0 to 1")
        if self.undo_penalty < 0:
            raise UserError(f"undo_penalty={self.undo_penalty}: must not be negative")
        if min(self.crops, self.crop_margin, self.unlabelled_ratio) < 0 or not 0.5 <= self.pseudo_threshold <= 1.0:
            raise UserError("crops, crop_margin, unlabelled_ratio must be >= 0 and pseudo_threshold in 0.5..1")

    def stored_length(self, length: int) -> int:
        """Steps to keep of a segment of which people judge the middle `length`."""
        return length + 2 * self.crop_margin


class AnswerNoise(NamedTuple):
    """How the people who gave n answers err, see `coord.preference.reward.annotators`."""

    weight: NDArray[np.float32]  # [n, E] how much each network learns from the answer
    reliability: NDArray[np.float32]  # [n] of who gave it
    threshold: NDArray[np.float32]  # [n] of who gave it, for ties

    def columns(self) -> NDArray[np.float32]:
        """[n, 2 + E] reliability, threshold, weights."""
        return np.concatenate([self.reliability[:, None], self.threshold[:, None], self.weight], axis=1)

    def select(self, rows: NDArray[np.bool_]) -> AnswerNoise:
        """The answers `rows`."""
        return type(self)._make(array[rows] for array in self)


class FitResult(NamedTuple):
    """What a training call did, per member [M]; nan where a member has no label."""

    accuracy: Tensor  # share of unequal pairs predicted right in the last pass, before each step; ensemble's mean
    loss: Tensor  # cross-entropy of that pass in nats, mean over pairs and ensemble
    passes: Tensor  # passes over the labels, the last may be cut short
    steps: Tensor  # Adam steps
    holdout_accuracy: Tensor  # of the ensemble's mean return on the labels held out; nan without
    pseudo_share: Tensor  # share of unlabelled pairs that got a pseudo-label in the last pass; nan without
    grad_norm: Tensor  # of the last step


class RewardModel:
    """M members' ensembles, their Adam state and their generators."""

    def __init__(
        self,
        config: RewardConfig,
        table: Mapping[str, tuple[int, ...]],
        gens: list[torch.Generator],
        flat: Tensor,
        adam: rn.AdamState,
        scale: Tensor,
        units: Tensor,
        unread: int = 0,
        change: slice = NO_COLUMNS,
    ) -> None:
        """table: name -> shape of one network; flat [M, E, P]: the parameters; scale [M, O - unread + A]: of the
        inputs; units [2, M]: what the policy's reward has its zero at, and what counts as one; unread: see `create`;
        change: the columns of the inputs that say what a step changed.

        `create` makes all of it.
        """
        self.config, self.gens, self.flat, self.adam = config, gens, flat, adam
        self.scale, self.units, self.unread, self.change = scale, units, unread, change
        self._table, self._buffers = dict(table), rn.Buffers()
        self._is_scaling = config.scale_inputs or bool((scale == 0).any())

    @staticmethod
    def create(
        config: RewardConfig,
        obs_dim: int,
        act_dim: int,
        seeds: Sequence[int],
        *,
        unread: int = 0,
        change: int = 0,
        ignored: NDArray[np.bool_] | None = None,
        dtype: torch.dtype = torch.float32,
        device: str = "cpu",
    ) -> RewardModel:
        """Fresh ensembles, one per seed.

        unread: so many of an observation's obs_dim numbers, the first ones, are not looked at; change: so many, the
        last ones, say what a step changed (`RewardConfig.undo_penalty`); ignored [O - unread + A]: what is not looked
        at either.
        """
        read = obs_dim - unread + act_dim
        table = mlps.shapes(read, config.hidden, 1)
        memory.check(
            {"reward networks": len(seeds) * config.ensemble * rn.size(table) * memory.ADAM * memory.FLOAT},
            "lower members, reward.ensemble or reward.hidden",
        )
        gens = [seeding.torch_generator(seed, "reward model") for seed in seeds]
        flat = torch.zeros(len(gens), config.ensemble, rn.size(table), dtype=dtype, device=device)
        scale = flat.new_ones(len(gens), read)
        units = torch.stack([flat.new_zeros(len(gens)), flat.new_ones(len(gens))])
        columns = slice(read - act_dim - change, read - act_dim)
        if ignored is not None:
            scale *= torch.from_numpy(~ignored).to(scale)
        model = RewardModel(config, table, gens, flat, rn.AdamState.zeros(flat), scale, units, unread, columns)
        model.reset()
        return model

    @property
    def members(self) -> int:
        """M."""
        return self.flat.shape[0]

    @property
    def params(self) -> dict[str, Tensor]:
        """Name -> view [M, E, ...] of the parameters; writing to it changes the model."""
        return rn.views(self.flat, self._table)

    # ------------------------------------------------------------------------------------------- predictions

    def inputs(self, obs: Tensor, act: Tensor) -> Tensor:
        """What the networks read [M, ..., O - unread + A] of obs [M, ..., O] and act [M, ..., A]."""
        x = torch.cat([obs[..., self.unread :], act], dim=-1).to(self.flat)
        return x * self.scale.view(-1, *[1] * (x.ndim - 2), x.shape[-1]) if self._is_scaling else x

    @property
    def is_scaled(self) -> bool:
        """Whether `learn_scale` has been called."""
        return bool(((self.scale != 1) & (self.scale != 0)).any())

    def learn_scale(self, states: Sequence[NDArray[np.float32]]) -> None:
        """Numbers of an observation are divided by their deviation over `states`, [n, O] per member, from now on.

        With `scale_limit` none is multiplied by more than that, and what did not vary at all by just as much.
        """
        for own, seen in zip(self.scale, states, strict=True):
            deviation = torch.from_numpy(seen[:, self.unread :].std(0)).to(own)
            if self.config.scale_limit is None:
                factor = torch.where(deviation > LEAST_DEVIATION, 1 / deviation, 1.0)
            else:
                factor = 1 / deviation.clamp_min(1 / self.config.scale_limit)
            own[: len(factor)] = torch.where(own[: len(factor)] == 0, 0.0, factor)

    @torch.no_grad()
    def predict(self, obs: Tensor, act: Tensor) -> Tensor:
        """Rewards [M, E, B] of obs [M, B, O] and act [M, B, A]."""
        net = rn.layers(self.params)
        x = self.inputs(obs, act)
        parts = []
        for block in x.split(rn.block_rows(net), dim=1):
            rows = block.repeat_interleave(self.config.ensemble, dim=0)  # [G, R, O + A]
            parts.append(rn.forward(net, rows, self.config.output, self._buffers)[1])
        return torch.cat(parts, dim=1).unflatten(0, (self.members, -1))

    def reward(self, obs: Tensor, act: Tensor) -> Tensor:
        """The policy's reward [M, B]: the mean of the ensemble, in units of its own if there are any."""
        return self._in_units(self.predict(obs, act).mean(1))

    def _in_units(self, rew: Tensor) -> Tensor:
        """Mean predictions [M, B] as rewards."""
        return (rew - self.units[0, :, None]) / self.units[1, :, None]

    def units_over(self, recent: Sequence[Steps]) -> Tensor:
        """[2, M] mean and deviation of the rewards of these steps, one entry per member."""
        found = []
        for m, steps in enumerate(recent):
            rew = self.select(m).reward(*(torch.from_numpy(array)[None] for array in steps))[0]
            std = deviation(rew, (0,))[0]
            found += [torch.stack([rew.mean(), std if std > 1e-6 else torch.ones_like(std)])]
        return torch.stack(found, 1)

    def learn_units(self, recent: Sequence[Steps]) -> None:
        """From now on the rewards of these steps, one entry per member, have mean 0 and deviation 1."""
        self.units = torch.stack([torch.zeros_like(self.units[0]), torch.ones_like(self.units[1])])
        self.units = self.units_over(recent)

    def select(self, member: int) -> RewardModel:
        """Member `member` alone, its parameters, Adam state and generator shared with this model."""
        part = slice(member, member + 1)
        adam = rn.AdamState(*(tensor[part] for tensor in self.adam.tensors().values()))
        own = self.flat[part], adam, self.scale[part], self.units[:, part]
        return RewardModel(self.config, self._table, self.gens[part], *own, self.unread, self.change)

    def gaps(self, member: int, segments: Queries | AnsweredPairs) -> NDArray[np.float64]:
        """Predicted return of the second segment minus that of the first, by each network of one member, [E, C]."""
        obs, act = (torch.from_numpy(array) for array in (segments.obs, segments.act))
        pred = self.select(member).predict(obs.flatten(0, 2)[None], act.flatten(0, 2)[None])[0]
        ret = pred.unflatten(1, obs.shape[:3]).double().sum(3)  # [E, C, 2]
        return (ret[..., 1] - ret[..., 0]).cpu().numpy()

    def prob(self, member: int, segments: Queries | AnsweredPairs) -> NDArray[np.float64]:
        """P(second better) of C pairs by each network of one member, [E, C]; over the whole segments as given."""
        return 0.5 * (1.0 + np.tanh(0.5 * self.gaps(member, segments)))  # sigmoid without overflow

    def accuracy(self, member: int, labels: AnsweredPairs) -> float:
        """Share of unequal pairs that the ensemble's mean reward orders right, judged middle only; nan without any."""
        unequal = labels.select(labels.target != 0.5)
        if not unequal.size:
            return math.nan
        margin = self.config.crop_margin
        middle = slice(margin, unequal.obs.shape[2] - margin)
        seen = AnsweredPairs(unequal.obs[:, :, middle], unequal.act[:, :, middle], unequal.target)
        gap = self.gaps(member, seen).mean(0)
        return float(((gap > 0) == (unequal.target > 0.5)).mean())

    # --------------------------------------------------------------------------------------------- gradients

    @torch.no_grad()
    def vjp(self, obs: Tensor, act: Tensor, cotangent: Tensor) -> dict[str, Tensor]:
        """Gradient of sum_b cotangent[m, b] * reward(obs, act)[m, b]: name -> [M, E, ...]."""
        learner = _Learner(self, None)
        x = self.inputs(obs, act)
        share = self._share(cotangent)
        rows = rn.block_rows(learner.net)
        for block, part in zip(x.split(rows, dim=1), share.split(rows, dim=1), strict=True):
            learner.add_rows(*(tensor.repeat_interleave(self.config.ensemble, dim=0) for tensor in (block, part)))
        return rn.views(learner.grad, self._table)

    @torch.no_grad()
    def pullback(self, obs: Tensor, act: Tensor) -> tuple[Tensor, Callable[[Tensor], dict[str, Tensor]]]:
        """`reward(obs, act)` and the function cotangent -> `vjp(obs, act, cotangent)`, which spares a forward pass.

        Call it once, before this model predicts or learns anything else.
        """
        learner = _Learner(self, None)
        x = self.inputs(obs, act)
        if x.shape[1] > rn.block_rows(learner.net):  # what one pass leaves would be overwritten by the next block
            return self.reward(obs, act), lambda cotangent: self.vjp(obs, act, cotangent)
        rows = x.repeat_interleave(self.config.ensemble, dim=0)
        inputs, out = rn.forward(learner.net, rows, self.config.output, self._buffers)

        def pull(cotangent: Tensor) -> dict[str, Tensor]:
            learner.add_inputs(inputs, out, self._share(cotangent).repeat_interleave(self.config.ensemble, dim=0))
            return rn.views(learner.grad, self._table)

        return self._in_units(out.unflatten(0, (self.members, -1)).mean(1)), pull

    def _share(self, cotangent: Tensor) -> Tensor:
        """What one network's prediction counts where the reward counts cotangent [M, B]."""
        return (cotangent / self.units[1, :, None] / self.config.ensemble).to(self.flat)

    @torch.no_grad()
    def grads_of_preference_loss(self, obs: Tensor, act: Tensor, target: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Gradient of the loss by the parameters (name -> [M, E, ...]) and the loss itself [M, E].

        obs [M, n, 2, L, O], act [M, n, 2, L, A], target [M, n]. The loss is the mean over pairs of the cross-entropy
        with smoothed targets; networks are independent, so this is the gradient of its sum over the ensemble.
        """
        learner = _Learner(self, None)
        members, count = target.shape
        pairs = _Pairs(self.inputs(obs, act).flatten(0, 1), target.to(self.flat).flatten())
        order = torch.arange(members * count, device=self.flat.device).view(members, 1, count)
        stats = learner.add_labelled(pairs, order.expand(-1, self.config.ensemble, -1).flatten(0, 1), None)
        return rn.views(learner.grad, self._table), stats.loss.view(members, -1) / count

    def apply(self, grads: Mapping[str, Tensor], state: rn.AdamState | None = None, lr: float | None = None) -> None:
        """One Adam step along `grads` (names and shapes of `params`).

        state: moments to use and to move on, those of the supervised loss by default; lr: by default the configured.
        """
        rate = self.config.lr if lr is None else lr
        flat = rn.flatten({name: grads[name] for name in self._table})
        rn.adam_step(self.flat, flat, state or self.adam, rate, weight_decay=self.config.weight_decay)

    # ---------------------------------------------------------------------------------------------- training

    def fit(
        self,
        labels: Sequence[AnsweredPairs],
        unlabelled: Sequence[AnsweredPairs] | None = None,
        noise: Sequence[AnswerNoise] | None = None,
    ) -> FitResult:
        """Train every member on its own labels (all those so far), in place.

        labels: one per member, segments of equal stored length; unlabelled: as many, their targets are not read, for
        pseudo-labels; noise: of the labels, None where all answers are of one kind. Members without labels are left
        alone (but for `reset`).
        """
        if self.config.reset:
            self.reset()
        result = FitResult(*torch.full((len(FitResult._fields), self.members), math.nan))
        for field in (result.passes, result.steps):
            field.zero_()
        extra = unlabelled if self.config.unlabelled_ratio and unlabelled else None
        groups: dict[tuple[int, int], list[int]] = {}
        for m, part in enumerate(labels):
            groups.setdefault((part.size, extra[m].size if extra else 0), []).append(m)
        for (count, _), members in groups.items():
            if count:
                theirs = [extra[m] for m in members] if extra else None
                erring = [noise[m] for m in members] if noise else None
                _Fit(self, members, [labels[m] for m in members], theirs, erring).run(result)
        return result

    def reset(self) -> None:
        """New parameters from the members' generators, and a new Adam state."""
        self.flat.copy_(torch.stack([self._fresh(gen) for gen in self.gens]))
        for tensor in self.adam.tensors().values():
            tensor.zero_()

    # ------------------------------------------------------------------------------------------------- saving

    def state_dict(self) -> dict[str, Tensor]:
        """Parameters, Adam state, scale of the inputs and units of the reward by name."""
        adam = {f"adam.{name}": tensor for name, tensor in self.adam.tensors().items()}
        own = {"scale": self.scale, "units": self.units}
        return {f"params.{name}": tensor for name, tensor in self.params.items()} | adam | own

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Inverse of `state_dict`, in place; KeyError if a tensor is missing."""
        for name, tensor in self.state_dict().items():
            tensor.copy_(state[name])

    def rng_state(self) -> list[dict[str, Any]]:
        """States of the members' generators, as JSON can hold them."""
        return [seeding.get_state(gen) for gen in self.gens]

    def load_rng_state(self, states: Sequence[dict[str, Any]]) -> None:
        """Inverse of `rng_state`."""
        for gen, state in zip(self.gens, states, strict=True):
            seeding.set_state(gen, state)

    def _fresh(self, gen: torch.Generator) -> Tensor:
        """New parameters of one member, [E, P]."""
        flat = torch.stack([rn.init(self._table, gen) for _ in range(self.config.ensemble)])
        for name, part in rn.views(flat[None], self._table).items():
            if name.startswith("head."):
                part *= self.config.head_scale
        return flat


class _Pairs(NamedTuple):
    """Pairs of several members, one after the other."""

    data: Tensor | SparseRows  # [pairs, 2, S, O + A]
    target: Tensor  # [pairs]
    noise: Tensor | None = None  # [pairs, 2 + E] reliability and threshold of who answered, a weight per network

    def noise_of(self, rows: Tensor) -> rn.NoiseTensors | None:
        """The noise of the pairs rows [G, b]; networks of a member lie side by side."""
        if self.noise is None:
            return None
        ensemble = self.noise.shape[1] - 2
        network = 2 + torch.arange(len(rows), device=rows.device)[:, None] % ensemble
        reliability, threshold = self.noise[rows][..., :2].unbind(2)
        return rn.NoiseTensors(*(part.unsqueeze(2) for part in (self.noise[rows, network], reliability, threshold)))


class _Stats(NamedTuple):
    """Sums over the pairs of a minibatch, per network [G]."""

    loss: Tensor
    right: Tensor  # predicted right, crops averaged
    judged: Tensor  # pairs that count towards the accuracy

    def __add__(self, other: _Stats) -> _Stats:  # type: ignore[override]
        return _Stats(*(a + b for a, b in zip(self, other, strict=True)))


class _Learner:
    """Gradient buffers, parameters and Adam state of some members while they train together."""

    def __init__(self, model: RewardModel, members: list[int] | None) -> None:
        """members: None for all, whose tensors are then those of the model; otherwise copies, see `store`."""
        self._model, self.config, self._buffers = model, model.config, model._buffers
        self._members = None if members is None else torch.tensor(members, device=model.flat.device)
        self.flat = model.flat if self._members is None else model.flat[self._members]
        self.adam = model.adam if self._members is None else model.adam.select(self._members)
        self.grad = torch.zeros_like(self.flat)
        self.net, self._grads = (rn.layers(rn.views(flat, model._table)) for flat in (self.flat, self.grad))

    def store(self) -> None:
        """Write copies back to the model."""
        if self._members is not None:
            self._model.flat[self._members] = self.flat
            self._model.adam.assign(self._members, self.adam)

    def step(self) -> Tensor:
        """One Adam step along the gradient, which is then cleared; returns its norm per member."""
        norm = self.grad.flatten(1).norm(dim=1)
        rn.adam_step(self.flat, self.grad, self.adam, self.config.lr, weight_decay=self.config.weight_decay)
        self.grad.zero_()
        return norm

    def add_rows(self, x: Tensor, cotangent: Tensor) -> None:
        """Add the gradient of sum(cotangent * reward) for rows x [G, R, I], cotangent [G, R]."""
        self.add_inputs(*rn.forward(self.net, x, self.config.output, self._buffers), cotangent)

    def add_inputs(self, inputs: Sequence[rn.Rows], out: Tensor, cotangent: Tensor) -> None:
        """As `add_rows`, for what a forward pass left."""
        rn.backward(self.net, self._grads, inputs, out, cotangent, self.config.output, self._buffers)

    def add_labelled(self, pairs: _Pairs, order: Tensor, crops: rn.Crops | None) -> _Stats:
        """Add the gradient of the mean cross-entropy of the pairs order [G, b]."""
        stats = []
        for block, inputs, out, pred in self._blocks(pairs.data, order):
            target = pairs.target[order[:, block]].unsqueeze(2)  # [G, b, 1]
            windows = None if crops is None else crops.select(block)
            gap = _gap(pred, windows)
            smooth = rn.smoothed(target, self.config.label_smoothing)
            judged = (target != 0.5).expand_as(gap)
            noise = pairs.noise_of(order[:, block])
            if noise is None:
                loss, slope = rn.preference_loss(gap, smooth), gap.sigmoid() - smooth
                right = (gap > 0) == (target > 0.5)
            else:
                loss, slope = rn.answer_loss(gap, smooth, ~judged, noise)
                right = (noise.reliability * gap > 0) == (target > 0.5)
                judged = judged & (noise.weight > 0)
            right = right & judged
            self._add(inputs, out, slope / (order.shape[1] * gap.shape[2]), windows)
            self._add_undone(inputs[0], out.shape[1] / (order.shape[1] * pred.shape[3] * 2))
            stats.append(_Stats(*(part.to(gap.dtype).mean(2).sum(1) for part in (loss, right, judged))))
        return sum(stats[1:], stats[0])

    def add_pseudo_labelled(self, pairs: _Pairs, order: Tensor, crops: rn.Crops | None) -> Tensor:
        """Add SURF's unsupervised term for the pairs order [G, b]; returns how many got a pseudo-label, [G].

        Each network labels a pair by its own prediction on the judged middle where it is sure enough, and learns these
        labels on crops; the mean runs over all pairs, unsure ones included.
        """
        sure = []
        coef = self.config.unlabelled_coef / order.shape[1]
        margin = self.config.crop_margin
        for block, inputs, out, pred in self._blocks(pairs.data, order):
            prob = _gap(pred[..., margin : pred.shape[3] - margin], None).sigmoid()  # [G, b, 1]
            mask = torch.maximum(prob, 1 - prob) >= self.config.pseudo_threshold
            sure.append(mask.sum((1, 2)))
            if bool(mask.any()):
                windows = None if crops is None else crops.select(block)
                gap = _gap(pred, windows)
                signal = coef / gap.shape[2] * mask * (gap.sigmoid() - (prob > 0.5).to(gap.dtype))
                self._add(inputs, out, signal, windows)
        return torch.stack(sure).sum(0)

    def _blocks(self, data: Tensor | SparseRows, order: Tensor) -> Any:
        """(slice of the pairs, layers' inputs, rewards [G, R], rewards as [G, b, 2, S]) for blocks of pairs."""
        steps = data.shape[2]
        per_block = max(1, rn.block_rows(self.net) // (2 * steps))
        for first in range(0, order.shape[1], per_block):
            block = slice(first, min(first + per_block, order.shape[1]))
            rows = order[:, block]
            x = data.pick(rows) if isinstance(data, SparseRows) else _pick(data, rows)
            inputs, out = rn.forward(self.net, x, self.config.output, self._buffers)
            yield block, inputs, out, out.view(*rows.shape, 2, steps)

    def _add_undone(self, x: rn.Rows, share: float) -> None:
        """Add the gradient of `undo_penalty` times the mean of max(0, r(change) + r(-change))^2 over some of the rows.

        share: of the rows x [G, R, I] in the minibatch.
        """
        if not (self.config.undo_penalty and self._model.change.stop > self._model.change.start):
            return
        sign = torch.ones_like(self._model.scale[0])
        sign[self._model.change] = -1
        both = sparse_rows.with_multiple(x, UNDO_STRIDE, sign)
        inputs, out = rn.forward(self.net, both, self.config.output, self._buffers)
        gain = sum(out.chunk(2, dim=1)).clamp_min(0)
        coef = 2 * self.config.undo_penalty * share / gain.shape[1]
        self.add_inputs(inputs, out, coef * torch.cat([gain, gain], 1))

    def _add(self, inputs: Sequence[rn.Rows], out: Tensor, signal: Tensor, windows: rn.Crops | None) -> None:
        """Backward from the derivative `signal` [G, b, K] by the gaps."""
        sides = torch.stack([-signal, signal], dim=2)  # [G, b, 2, K]
        steps = out.shape[1] // (2 * signal.shape[1])
        cotangent = rn.spread(sides, windows, steps).reshape(out.shape)
        rn.backward(self.net, self._grads, inputs, out, cotangent, self.config.output, self._buffers)


def _pick(data: Tensor, rows: Tensor) -> Tensor:
    """Pairs `rows` [G, b] of data [pairs, 2, S, I] as rows [G, b * 2 * S, I]."""
    return data.flatten(1).index_select(0, rows.flatten()).view(rows.shape[0], -1, data.shape[3])


def _gap(pred: Tensor, windows: rn.Crops | None) -> Tensor:
    """Return of the second segment minus that of the first, [G, b, K]."""
    ret = rn.returns(pred, windows)
    return ret[:, :, 1] - ret[:, :, 0]


class _Fit:
    """One training call for members with equally many labels; a member that is done leaves the others."""

    def __init__(
        self,
        model: RewardModel,
        members: list[int],
        labels: list[AnsweredPairs],
        extra: list[AnsweredPairs] | None,
        noise: list[AnswerNoise] | None,
    ) -> None:
        self._model, self._config, self._members = model, model.config, members
        held = held_out(labels[0].size, model.config.holdout)
        self._held = [part.select(held) for part in labels] if held.any() else None
        kept = [part.select(~held) for part in noise] if noise else None
        self._count, self._pairs = self._pack([part.select(~held) for part in labels], kept)
        self._extra_count, self._extra = self._pack(extra) if extra else (0, None)  # type: tuple[int, _Pairs | None]

    @torch.no_grad()
    def run(self, result: FitResult) -> None:
        """Train, and fill in the rows of these members."""
        config, count = self._config, self._count
        per_pass = math.ceil(count / config.batch_size)
        amounts = {
            "passes": config.train_amount * per_pass,
            "labels": math.ceil(config.train_amount * count / config.batch_size),
            "steps": config.train_amount,
        }
        left = amounts[config.train_for]
        active = list(range(len(self._members)))
        learner = self._learner(active)
        while left and active:
            steps = min(left, per_pass)
            accuracy = self._one_pass(learner, active, steps, result)
            left -= steps
            going = [a for a, acc in zip(active, accuracy.tolist(), strict=True) if not acc > config.stop_accuracy]
            if len(going) < len(active):
                learner.store()
                active = going
                learner = self._learner(active) if active else learner
        learner.store()
        self._judge_held_out(result)

    def _learner(self, active: list[int]) -> _Learner:
        everybody = len(active) == self._model.members
        return _Learner(self._model, None if everybody else [self._members[a] for a in active])

    def _one_pass(self, learner: _Learner, active: list[int], steps: int, result: FitResult) -> Tensor:
        """`steps` minibatches of a fresh order; returns the accuracy of each active member."""
        config, device = self._config, self._model.flat.device
        order = torch.stack([torch.randperm(self._count, generator=gen) for _, gen in self._networks(active)])
        order = self._offset(order, active, self._count).to(device)
        stats, sure = [], []
        for rows in order.split(config.batch_size, dim=1)[:steps]:
            stats.append(learner.add_labelled(self._pairs, rows, self._crops(active, rows.shape[1], self._pairs)))
            if self._extra is not None:
                sure.append(self._add_unlabelled(learner, active))
            norm = learner.step()
        total = sum(stats[1:], stats[0])
        seen = min(self._count, steps * config.batch_size)
        accuracy = (total.right / total.judged).view(len(active), -1).mean(1).cpu()
        members = torch.tensor([self._members[a] for a in active])
        result.accuracy[members] = accuracy.float()
        result.loss[members] = (total.loss / seen).view(len(active), -1).mean(1).cpu().float()
        result.grad_norm[members] = norm.cpu().float()
        result.passes[members] += 1
        result.steps[members] += steps
        if sure:
            result.pseudo_share[members] = torch.stack(sure).mean(0).view(len(active), -1).mean(1).cpu().float()
        return accuracy

    def _add_unlabelled(self, learner: _Learner, active: list[int]) -> Tensor:
        """A batch of pseudo-labels; returns the share of pairs that got one, per network."""
        size = self._config.unlabelled_ratio * self._config.batch_size
        assert self._extra is not None
        drawn = [torch.randint(self._extra_count, (size,), generator=gen) for _, gen in self._networks(active)]
        rows = self._offset(torch.stack(drawn), active, self._extra_count).to(self._model.flat.device)
        return learner.add_pseudo_labelled(self._extra, rows, self._crops(active, size, self._extra)) / size

    def _crops(self, active: list[int], pairs: int, source: _Pairs) -> rn.Crops | None:
        """Windows for a minibatch: lengths uniform in crop_min..crop_max, starts wherever they fit."""
        config = self._config
        if not config.crops:
            return None
        shape = (pairs, 2, config.crops)
        drawn = [
            (torch.rand(pairs, 1, config.crops, generator=gen), torch.rand(shape, generator=gen))
            for _, gen in self._networks(active)
        ]
        share, place = (torch.stack(part) for part in zip(*drawn, strict=True))
        length = config.crop_min + (share * (config.crop_max - config.crop_min + 1)).long()
        start = (place * (source.data.shape[2] - length + 1)).long()
        return rn.Crops(start.to(source.data.device), length.to(source.data.device))

    def _networks(self, active: list[int]) -> list[tuple[int, torch.Generator]]:
        """(position among the members, generator of the member) for each of the G active networks."""
        return [(a, self._model.gens[self._members[a]]) for a in active for _ in range(self._config.ensemble)]

    def _offset(self, order: Tensor, active: list[int], count: int) -> Tensor:
        """Rows of a member's own pairs [G, b] as rows of the pairs of all members."""
        return order + count * torch.tensor([a for a, _ in self._networks(active)])[:, None]

    def _pack(self, parts: list[AnsweredPairs], noise: list[AnswerNoise] | None = None) -> tuple[int, _Pairs]:
        """Pairs per member, and those of all members on the model's device."""
        steps = parts[0].obs.shape[2]
        if self._config.crops and steps < self._config.crop_max:
            raise UserError(f"crop_max={self._config.crop_max} is longer than the stored segments of {steps} steps")
        arrays = ((torch.from_numpy(part.obs)[None], torch.from_numpy(part.act)[None]) for part in parts)
        data = [self._model.select(m).inputs(*own)[0] for m, own in zip(self._members, arrays, strict=True)]
        target = np.concatenate([part.target for part in parts])
        columns = [np.concatenate([part.columns() for part in noise])] if noise else []
        tensors = (torch.from_numpy(array).to(self._model.flat) for array in (target, *columns))
        return parts[0].size, _Pairs(sparse_rows.join(data, self._config.hidden[0]), *tensors)

    def _judge_held_out(self, result: FitResult) -> None:
        for m, held in zip(self._members, self._held or [], strict=False):
            result.holdout_accuracy[m] = self._model.accuracy(m, held)


def held_out(count: int, share: float) -> NDArray[np.bool_]:
    """[count] true for labels that are never trained on: every 1/share-th, so a label keeps its side as more come."""
    every = round(1 / share) if share else count + 1
    return np.arange(count) % every == every - 1
