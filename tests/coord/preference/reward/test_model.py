"""The reward model against a plain autograd reference written here: loss, gradients, whole training calls."""

from __future__ import annotations

import copy
import json
import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from coord import seeding
from coord.errors import UserError
from coord.preference.labels.segments import AnsweredPairs, Queries, join_labels
from coord.preference.reward import nets as rn
from coord.preference.reward.model import RewardConfig, RewardModel, held_out
from coord.preference.reward.sparse_rows import BLOCK

OBS, ACT, STEPS = 4, 2, 9
SMALL = {"hidden": (8, 7), "ensemble": 2, "batch_size": 4, "stop_accuracy": 1.0}
SQUASH = {"tanh": nn.Tanh(), "sigmoid": nn.Sigmoid(), "relu": nn.ReLU(), "linear": nn.Identity()}


def some_labels(count: int, seed: int = 0, steps: int = STEPS) -> AnsweredPairs:
    """Pairs with clear winners by a hidden linear reward, one tie among every seven."""
    rng = np.random.default_rng(seed)
    obs = rng.normal(size=(count, 2, steps, OBS)).astype(np.float32)
    act = rng.uniform(-1, 1, (count, 2, steps, ACT)).astype(np.float32)
    score = (obs[..., 0] + act[..., 1]).sum(2)
    target = (score[:, 1] > score[:, 0]).astype(np.float32)
    target[3::7] = 0.5
    return AnsweredPairs(obs, act, target)


def tensors(labels: list[AnsweredPairs], dtype: torch.dtype = torch.float64) -> list[Tensor]:
    """obs, act, target of several members as [M, n, ...]."""
    return [torch.from_numpy(np.stack(part)).to(dtype) for part in zip(*labels, strict=True)]


class Plain(nn.Module):
    """One member's ensemble out of torch's own layers."""

    def __init__(self, model: RewardModel, m: int) -> None:
        super().__init__()
        params = model.params
        depth = len(model.config.hidden)
        self.names = [f"dense{i}" for i in range(depth)] + ["head"]
        self.nets = nn.ModuleList()
        for e in range(model.config.ensemble):
            layers = nn.ModuleList()
            for name in self.names:
                weight, bias = params[f"{name}.weight"][m, e], params[f"{name}.bias"][m, e]
                layer = nn.Linear(weight.shape[1], weight.shape[0], dtype=weight.dtype)
                layer.weight.data, layer.bias.data = weight.clone(), bias.clone()
                layers.append(layer)
            self.nets.append(layers)
        self.squash = SQUASH[model.config.output]

    def rewards(self, e: int, x: Tensor) -> Tensor:
        for layer in self.nets[e][:-1]:
            x = F.leaky_relu(layer(x), 0.01)
        return self.squash(self.nets[e][-1](x)).squeeze(-1)

    def flat(self) -> Tensor:
        parts = [torch.cat([p.flatten() for layer in net for p in (layer.weight.T, layer.bias)]) for net in self.nets]
        return torch.stack(parts).detach()


def cross_entropy(ret: Tensor, target: Tensor) -> Tensor:
    """Per pair, of the softmax over returns [..., 2]."""
    logp = ret.log_softmax(-1)
    return -(target * logp[..., 1] + (1 - target) * logp[..., 0])


# ---------------------------------------------------------------------------------------------- the pure maths


def test_preference_loss_by_hand() -> None:
    gap = torch.tensor([0.0, math.log(3.0), -math.log(3.0), math.log(3.0), 200.0, -200.0], dtype=torch.float64)
    target = torch.tensor([1.0, 1.0, 1.0, 0.5, 1.0, 1.0], dtype=torch.float64)
    want = [math.log(2), math.log(4 / 3), math.log(4), (math.log(4 / 3) + math.log(4)) / 2, 0.0, 200.0]
    torch.testing.assert_close(rn.preference_loss(gap, target).tolist(), want)


def test_preference_loss_is_the_cross_entropy_of_a_softmax() -> None:
    ret = torch.randn(50, 2, dtype=torch.float64) * 5
    target = torch.rand(50, dtype=torch.float64)
    torch.testing.assert_close(rn.preference_loss(ret[:, 1] - ret[:, 0], target), cross_entropy(ret, target))


def test_smoothing_by_hand() -> None:
    torch.testing.assert_close(rn.smoothed(torch.tensor([0.0, 0.5, 1.0]), 0.1), torch.tensor([0.05, 0.5, 0.95]))


def test_windows_by_hand() -> None:
    pred = torch.tensor([[[[1.0, 2, 4, 8], [16, 32, 64, 128]]]])  # [1, 1, 2, 4]
    crops = rn.Crops(torch.tensor([[[[0, 1], [2, 0]]]]), torch.tensor([[[[2, 3]]]]))  # starts per side, lengths 2 and 3
    assert rn.returns(pred, crops).tolist() == [[[[3.0, 14.0], [192.0, 112.0]]]]
    assert rn.returns(pred, None).tolist() == [[[[15.0], [240.0]]]]
    cotangent = torch.tensor([[[[1.0, 10.0], [1.0, 10.0]]]])
    assert rn.spread(cotangent, crops, 4).tolist() == [[[[1.0, 11, 10, 10], [10, 10, 11, 1]]]]


def test_adam_is_torchs_with_a_step_count_per_member() -> None:
    flat, grads = torch.randn(2, 3, 5, dtype=torch.float64), torch.randn(4, 2, 3, 5, dtype=torch.float64)
    plain = [nn.Parameter(row.clone()) for row in flat]
    theirs = [torch.optim.AdamW([p], lr=0.01, weight_decay=0.1) for p in plain]
    state = rn.AdamState.zeros(flat)
    for step, grad in enumerate(grads):
        members = [0, 1] if step % 2 else [0]
        index = torch.tensor(members)
        part, moments = flat[index], state.select(index)
        rn.adam_step(part, grad[index], moments, 0.01, weight_decay=0.1)
        flat[index] = part
        state.assign(index, moments)
        for m in members:
            plain[m].grad = grad[m].clone()
            theirs[m].step()
    assert state.count.tolist() == [4.0, 2.0]
    torch.testing.assert_close(flat, torch.stack([p.data for p in plain]), rtol=1e-12, atol=1e-12)


# --------------------------------------------------------------------------------------- predictions, gradients


@pytest.mark.parametrize("output", rn.OUTPUTS)
def test_predictions_are_those_of_plain_networks(output: str) -> None:
    model = RewardModel.create(RewardConfig(output=output, **SMALL), OBS, ACT, [0, 1], dtype=torch.float64)
    obs, act, _ = tensors([some_labels(5, m) for m in (0, 1)])
    obs, act = obs.flatten(1, 3), act.flatten(1, 3)
    pred = model.predict(obs, act)
    for m in (0, 1):
        plain = Plain(model, m)
        for e in (0, 1):
            torch.testing.assert_close(pred[m, e], plain.rewards(e, torch.cat([obs[m], act[m]], 1)).detach())
    torch.testing.assert_close(model.reward(obs, act), pred.mean(1))


@pytest.mark.parametrize("output", rn.OUTPUTS)
def test_gradients_are_those_of_autograd(output: str) -> None:
    config = RewardConfig(output=output, label_smoothing=0.1, **SMALL)
    model = RewardModel.create(config, OBS, ACT, [0, 1], dtype=torch.float64)
    obs, act, target = tensors([some_labels(11, m) for m in (0, 1)])
    grads, loss = model.grads_of_preference_loss(obs, act, target)
    cotangent = torch.randn(2, 30, dtype=torch.float64)
    rows = obs.flatten(1, 3)[:, :30], act.flatten(1, 3)[:, :30]
    by_vjp = model.vjp(*rows, cotangent)
    for m in (0, 1):
        plain = Plain(model, m)
        x = torch.cat([obs[m], act[m]], -1)
        for e in (0, 1):
            mine = cross_entropy(plain.rewards(e, x).sum(-1), 0.9 * target[m] + 0.05).mean()
            torch.testing.assert_close(loss[m, e], mine.detach())
            assert_equal_gradients(mine, plain, e, {k: g[m, e] for k, g in grads.items()})
            share = (cotangent[m] * plain.rewards(e, torch.cat([r[m] for r in rows], 1))).sum() / 2
            assert_equal_gradients(share, plain, e, {k: g[m, e] for k, g in by_vjp.items()})


def assert_equal_gradients(value: Tensor, plain: Plain, e: int, grads: dict[str, Tensor]) -> None:
    params = {
        f"{n}.{k}": p for n, layer in zip(plain.names, plain.nets[e], strict=True) for k, p in layer.named_parameters()
    }
    assert set(params) == set(grads)
    for (name, _), want in zip(params.items(), torch.autograd.grad(value, params.values()), strict=True):
        torch.testing.assert_close(grads[name], want, rtol=1e-9, atol=1e-12, msg=name)
        assert name.startswith("head") or want.any() or isinstance(plain.squash, nn.ReLU)  # which may be off everywhere


def test_blocks_do_not_change_the_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    model = RewardModel.create(RewardConfig(**SMALL), OBS, ACT, [0, 1], dtype=torch.float64)
    data = tensors([some_labels(11, m) for m in (0, 1)])
    whole, loss = model.grads_of_preference_loss(*data)
    rows = data[0].flatten(1, 3), data[1].flatten(1, 3)
    cotangent = torch.randn(2, rows[0].shape[1], dtype=torch.float64)
    vjp, pred = model.vjp(*rows, cotangent), model.predict(*rows)
    monkeypatch.setitem(rn.BLOCK_FLOATS, "cpu", 1600)
    assert 2 * STEPS < rn.block_rows(rn.layers(model.params)) < 11 * 2 * STEPS
    pieces, again = model.grads_of_preference_loss(*data)
    torch.testing.assert_close(pieces, whole)
    torch.testing.assert_close(again, loss)
    torch.testing.assert_close(model.vjp(*rows, cotangent), vjp)
    torch.testing.assert_close(model.predict(*rows), pred)


@pytest.mark.parametrize("blocks", [1, 3])
def test_the_pullback_is_reward_and_vjp(blocks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model = RewardModel.create(RewardConfig(hidden=(6, 5)), 3, 2, [1, 2], dtype=torch.float64)
    obs, act, cotangent = torch.randn(2, 7, 3).double(), torch.randn(2, 7, 2).double(), torch.randn(2, 7).double()
    monkeypatch.setattr(rn, "block_rows", lambda net: -(-7 // blocks))
    reward, pull = model.pullback(obs, act)
    torch.testing.assert_close(reward, model.predict(obs, act).mean(1), rtol=1e-12, atol=1e-12)
    reward, pull = model.pullback(obs, act)
    got, want = pull(cotangent), model.vjp(obs, act, cotangent)
    for name, value in want.items():
        torch.testing.assert_close(got[name], value, rtol=1e-12, atol=1e-12)


def test_apply_is_an_adam_step_of_its_own_or_another_state() -> None:
    model = RewardModel.create(RewardConfig(**SMALL), OBS, ACT, [0, 1], dtype=torch.float64)
    before = model.flat.clone()
    grads, _ = model.grads_of_preference_loss(*tensors([some_labels(5, m) for m in (0, 1)]))
    other = rn.AdamState.zeros(model.flat)
    model.apply(grads, other, lr=0.1)
    assert (other.count.tolist(), model.adam.count.tolist()) == ([1.0, 1.0], [0.0, 0.0])
    moved = before - model.flat
    big = rn.flatten(grads).view_as(moved).abs() > 1e-6
    torch.testing.assert_close(moved[big], 0.1 * rn.flatten(grads).view_as(moved)[big].sign(), rtol=1e-2, atol=0)
    model.apply({name: torch.zeros_like(g) for name, g in grads.items()})
    assert model.adam.count.tolist() == [1.0, 1.0]
    torch.testing.assert_close(before - model.flat, moved)  # a zero gradient without momentum moves nothing


def test_flat_and_named_gradients_are_the_same_vector() -> None:
    model = RewardModel.create(RewardConfig(**SMALL), OBS, ACT, [0, 1])
    torch.testing.assert_close(rn.flatten(model.params), model.flat.flatten(1))
    model.params["head.bias"].fill_(7.0)
    assert (model.flat[..., -1] == 7.0).all()  # views


# ------------------------------------------------------------------------------------------------- training


class Draws:
    """The random numbers of one member in the order in which a training call draws them."""

    def __init__(self, model: RewardModel, m: int) -> None:
        self.config, self.gen = model.config, copy.deepcopy(model.gens[m])

    def orders(self, count: int) -> list[Tensor]:
        return [torch.randperm(count, generator=self.gen) for _ in range(self.config.ensemble)]

    def windows(self, pairs: int, steps: int) -> list[tuple[Tensor, Tensor]] | None:
        """(start [b, 2, K], length [b, 1, K]) per network."""
        c = self.config
        if not c.crops:
            return None
        found = []
        for _ in range(c.ensemble):
            length = (
                c.crop_min + (torch.rand(pairs, 1, c.crops, generator=self.gen) * (c.crop_max - c.crop_min + 1)).long()
            )
            start = (torch.rand(pairs, 2, c.crops, generator=self.gen) * (steps - length + 1)).long()
            found.append((start, length))
        return found

    def unlabelled(self, count: int) -> list[Tensor]:
        size = self.config.unlabelled_ratio * self.config.batch_size
        return [torch.randint(count, (size,), generator=self.gen) for _ in range(self.config.ensemble)]


def window_returns(pred: Tensor, window: tuple[Tensor, Tensor] | None) -> Tensor:
    """[b, 2, S] -> [b, K, 2], by slicing."""
    if window is None:
        return pred.sum(2)[:, None]
    start, length = window
    rows = []
    for i in range(pred.shape[0]):
        for k in range(start.shape[2]):
            cuts = [pred[i, s, start[i, s, k] : start[i, s, k] + length[i, 0, k]].sum() for s in (0, 1)]
            rows.append(torch.stack(cuts))
    return torch.stack(rows).view(pred.shape[0], start.shape[2], 2)


def plain_fit(
    model: RewardModel, m: int, labels: AnsweredPairs, steps: int, extra: AnsweredPairs | None = None
) -> Plain:
    """`steps` Adam steps of every network of one member, one network and one window at a time."""
    config, draws, plain = model.config, Draws(model, m), Plain(model, m)
    optimisers = [torch.optim.Adam(net.parameters(), lr=config.lr) for net in plain.nets]
    obs, act, target = (part[0] for part in tensors([labels]))
    x = torch.cat([obs, act], -1)
    more = None if extra is None else torch.cat([part[0] for part in tensors([extra])[:2]], -1)
    done = 0
    while done < steps:
        orders = [order.split(config.batch_size) for order in draws.orders(len(target))]
        for batch in range(len(orders[0])):
            if done == steps:
                break
            done += 1
            losses = []
            windows = draws.windows(len(orders[0][batch]), x.shape[2])
            for e in range(config.ensemble):
                rows = orders[e][batch]
                ret = window_returns(plain.rewards(e, x[rows]), None if windows is None else windows[e])
                smooth = (1 - config.label_smoothing) * target[rows] + config.label_smoothing / 2
                losses.append(cross_entropy(ret, smooth[:, None]).mean())
            if more is not None:
                for e, term in enumerate(pseudo_losses(plain, config, draws, more)):
                    losses[e] = losses[e] + config.unlabelled_coef * term
            for optimiser, loss in zip(optimisers, losses, strict=True):
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
    return plain


def pseudo_losses(plain: Plain, config: RewardConfig, draws: Draws, more: Tensor) -> list[Tensor]:
    chosen = draws.unlabelled(len(more))
    windows = draws.windows(len(chosen[0]), more.shape[2])
    found = []
    for e, rows in enumerate(chosen):
        pred = plain.rewards(e, more[rows])
        middle = pred.detach()[:, :, config.crop_margin : pred.shape[2] - config.crop_margin]
        prob = middle.sum(2).softmax(1)
        sure = prob.amax(1) >= config.pseudo_threshold
        ret = window_returns(pred, None if windows is None else windows[e])
        ce = cross_entropy(ret, prob.argmax(1).double()[:, None]).mean(1)
        found.append((ce * sure).mean())
    return found


VARIANTS = {
    "one minibatch": ({}, 3),
    "several minibatches, the last one smaller": ({}, 11),
    "smoothing": ({"label_smoothing": 0.1, "lr": 0.01}, 11),
    "crops (SURF)": ({"crops": 1, "crop_min": 3, "crop_max": 6, "crop_margin": 2}, 11),
    "many crops (QPA)": ({"crops": 5, "crop_min": 4, "crop_max": 8, "ensemble": 1}, 11),
    "a part of a pass": ({"train_for": "steps", "train_amount": 5}, 11),
    "by labels": ({"train_for": "labels", "train_amount": 3}, 7),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_training_is_that_of_plain_networks(variant: str) -> None:
    fields, count = VARIANTS[variant]
    config = RewardConfig(**{**SMALL, "train_amount": 2, **fields})
    model = RewardModel.create(config, OBS, ACT, [5, 6], dtype=torch.float64)
    labels = [some_labels(count, m) for m in (0, 1)]
    steps = {"steps": 5, "labels": math.ceil(3 * 7 / 4)}.get(config.train_for, 2 * math.ceil(count / 4))
    want = [plain_fit(model, m, labels[m], steps).flat() for m in (0, 1)]
    result = model.fit(labels)
    assert result.steps.tolist() == [steps] * 2
    torch.testing.assert_close(model.flat, torch.stack(want), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("threshold", [0.5, 0.52, 1.0])
def test_pseudo_labels_are_those_of_plain_networks(threshold: float) -> None:
    config = RewardConfig(
        **SMALL, train_amount=3, lr=0.01, crops=1, crop_min=3, crop_max=6, crop_margin=2,
        unlabelled_ratio=2, pseudo_threshold=threshold, unlabelled_coef=0.7,
    )  # fmt: skip
    model = RewardModel.create(config, OBS, ACT, [5, 6], dtype=torch.float64)
    labels, extra = [some_labels(6, m) for m in (0, 1)], [some_labels(40, 10 + m) for m in (0, 1)]
    want = [plain_fit(model, m, labels[m], 6, extra[m]).flat() for m in (0, 1)]
    share = model.fit(labels, extra).pseudo_share
    torch.testing.assert_close(model.flat, torch.stack(want), rtol=1e-6, atol=1e-8)
    assert ((share == {0.5: 1, 1.0: 0}[threshold]) if threshold != 0.52 else ((share > 0) & (share < 1))).all()


def test_members_do_not_depend_on_each_other() -> None:
    config = RewardConfig(**{**SMALL, "stop_accuracy": 0.8, "lr": 0.01, "train_amount": 60})
    labels = [some_labels(count, m) for m, count in enumerate((12, 5, 12, 0, 30))]
    seeds = [3, 4, 5, 6, 7]
    together = RewardModel.create(config, OBS, ACT, seeds, dtype=torch.float64)
    start = together.flat.clone()
    result = together.fit(labels)
    assert len(set(result.passes.tolist())) > 2  # they stop at different times
    for m, seed in enumerate(seeds):
        alone = RewardModel.create(config, OBS, ACT, [seed], dtype=torch.float64)
        got = alone.fit([labels[m]])
        torch.testing.assert_close(together.flat[m : m + 1], alone.flat, rtol=1e-9, atol=1e-11)
        assert together.adam.count[m] == alone.adam.count[0] == result.steps[m]
        for name, ours, theirs in zip(result._fields, result, got, strict=True):
            torch.testing.assert_close(ours[m], theirs[0], equal_nan=True, msg=name)
    assert torch.equal(together.flat[3], start[3])  # no labels, no change
    assert math.isnan(result.accuracy[3])
    assert result.steps[3] == 0


def test_training_stops_above_the_accuracy_measured_during_the_pass() -> None:
    config = RewardConfig(**{**SMALL, "batch_size": 128, "lr": 0.01, "train_amount": 500, "stop_accuracy": 0.97})
    model = RewardModel.create(config, OBS, ACT, [0])
    labels = some_labels(20)
    result = model.fit([labels])
    assert 1 < result.passes[0] < 500
    assert result.accuracy[0] > 0.97
    again = model.fit([labels])  # nothing left to learn: one pass to see it
    assert again.passes.tolist() == [1.0]


def test_a_pass_is_one_step_below_a_batch_of_labels() -> None:
    model = RewardModel.create(RewardConfig(hidden=(8,), train_amount=50, stop_accuracy=1.0), OBS, ACT, [0])
    assert model.fit([some_labels(100)]).steps.tolist() == [50.0]
    assert model.fit([some_labels(129)]).steps.tolist() == [100.0]


def test_accuracy_and_loss_of_the_first_pass_by_hand() -> None:
    config = RewardConfig(**{**SMALL, "batch_size": 128, "train_amount": 1})
    model = RewardModel.create(config, OBS, ACT, [0], dtype=torch.float64)
    labels = some_labels(25)
    gaps = model.gaps(0, labels)
    unequal = labels.target != 0.5
    want = ((gaps > 0) == (labels.target > 0.5))[:, unequal].mean()
    loss = (np.logaddexp(0, gaps) - labels.target * gaps).mean()
    result = model.fit([labels])
    assert result.accuracy.item() == pytest.approx(want)
    assert result.loss.item() == pytest.approx(loss)


def test_only_ties_train_without_an_accuracy() -> None:
    labels = some_labels(6)
    ties = AnsweredPairs(labels.obs, labels.act, np.full(6, 0.5, np.float32))
    model = RewardModel.create(RewardConfig(**{**SMALL, "stop_accuracy": 0.5, "train_amount": 3}), OBS, ACT, [0])
    result = model.fit([ties])
    assert math.isnan(result.accuracy[0])
    assert result.passes.tolist() == [3.0]


def test_held_out_labels_stay_held_out() -> None:
    assert held_out(10, 0.25).nonzero()[0].tolist() == [3, 7]
    assert not held_out(10, 0.0).any()
    np.testing.assert_array_equal(held_out(40, 0.1)[:20], held_out(20, 0.1))
    config = RewardConfig(**{**SMALL, "holdout": 0.25, "train_amount": 40, "lr": 0.01, "batch_size": 32})
    labels = some_labels(320)
    model, blind = (RewardModel.create(config, OBS, ACT, [0]) for _ in range(2))
    result = model.fit([labels])
    assert result.holdout_accuracy[0] > 0.8  # a linear hidden reward is easy
    changed = AnsweredPairs(labels.obs, labels.act, np.where(held_out(320, 0.25), 1 - labels.target, labels.target))
    flipped = blind.fit([changed]).holdout_accuracy
    assert torch.equal(blind.flat, model.flat)
    assert flipped[0] == pytest.approx(1 - result.holdout_accuracy[0].item())


def test_reset_starts_afresh_every_time() -> None:
    config = RewardConfig(**{**SMALL, "reset": True, "train_amount": 1})
    model = RewardModel.create(config, OBS, ACT, [0])
    model.fit([some_labels(4)])
    first = model.flat.clone()
    model.fit([some_labels(4)])
    assert model.adam.count.tolist() == [1.0]
    assert (model.flat - first).abs().mean() > 0.05  # other random weights, not one more small step


def test_fresh_networks_are_torchs_default() -> None:
    model = RewardModel.create(RewardConfig(ensemble=3), 24, 6, [0, 1])
    for name, fan_in in (("dense0", 30), ("dense1", 256), ("head", 256)):
        for part in ("weight", "bias"):
            values = model.params[f"{name}.{part}"]
            bound = fan_in**-0.5
            assert values.abs().max() <= bound
            if values.numel() > 500:
                assert values.std() == pytest.approx(bound / 3**0.5, rel=0.05)
    assert len({row.sum().item() for row in model.flat.flatten(0, 1)}) == 6  # all differ
    torch.testing.assert_close(RewardModel.create(RewardConfig(), 24, 6, [1]).flat[0], model.flat[1])


def test_probabilities_of_pairs() -> None:
    model = RewardModel.create(RewardConfig(output="linear", **SMALL), OBS, ACT, [0, 1])
    labels = some_labels(5)
    origin = np.zeros((5, 2), np.int64)
    queries = Queries(labels.obs, labels.act, labels.act[..., 0], origin, origin)
    prob = model.prob(1, queries)
    plain = Plain(model, 1)
    ret = plain.rewards(1, torch.cat([torch.from_numpy(a) for a in (labels.obs, labels.act)], -1)).sum(2)
    np.testing.assert_allclose(prob[1], ret.softmax(1)[:, 1].detach(), rtol=1e-4)
    swapped = Queries(labels.obs[:, ::-1], labels.act[:, ::-1], labels.act[..., 0], origin, origin)
    swapped = Queries(*(np.ascontiguousarray(array) for array in swapped))
    np.testing.assert_allclose(model.prob(1, swapped), 1 - prob, rtol=1e-4)


def test_the_judged_middle_decides_the_accuracy() -> None:
    model = RewardModel.create(RewardConfig(**SMALL, crop_margin=2), OBS, ACT, [0])
    labels = some_labels(40)
    middle = AnsweredPairs(labels.obs[:, :, 2:-2], labels.act[:, :, 2:-2], labels.target)
    right = (model.gaps(0, middle).mean(0) > 0) == (labels.target > 0.5)
    assert model.accuracy(0, labels) == pytest.approx(right[labels.target != 0.5].mean())
    assert math.isnan(model.accuracy(0, labels.select(labels.target == 0.5)))


def test_saved_and_restored_it_goes_on_the_same() -> None:
    config = RewardConfig(**{**SMALL, "train_amount": 3})
    labels = [some_labels(9, 0), some_labels(6, 1)]
    whole, other = (RewardModel.create(config, OBS, ACT, seeds) for seeds in ([0, 1], [8, 9]))
    whole.fit(labels)
    other.load_state_dict({name: tensor.clone() for name, tensor in whole.state_dict().items()})
    other.load_rng_state(json.loads(json.dumps(whole.rng_state())))
    grown = [join_labels([part, some_labels(3, 5)]) for part in labels]
    for model in (whole, other):
        model.fit(grown)
    assert torch.equal(whole.flat, other.flat)
    assert all(torch.equal(a, b) for a, b in zip(whole.state_dict().values(), other.state_dict().values(), strict=True))


def test_the_same_seed_gives_the_same_bits() -> None:
    state = torch.get_rng_state()
    runs = []
    for _ in range(2):
        model = RewardModel.create(RewardConfig(hidden=(32, 32), train_amount=5), OBS, ACT, [0, 1])
        model.fit([some_labels(50, m) for m in (0, 1)])
        runs.append(model.flat)
    assert torch.equal(*runs)
    assert torch.equal(torch.get_rng_state(), state)  # no draw from the global generator


def test_a_gradient_reaches_every_parameter() -> None:
    model = RewardModel.create(RewardConfig(hidden=(8, 8)), OBS, ACT, [seeding.derive(0, "x")])
    labels = some_labels(60)
    grads, _ = model.grads_of_preference_loss(*tensors([labels], torch.float32))
    bias_of_the_sum = grads["head.bias"].abs()
    assert all(g.ne(0).any() for g in grads.values())
    assert bias_of_the_sum.max() < grads["head.weight"].abs().max()  # a constant reward decides (almost) nothing


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"output": "tahn"}, "did you mean 'tanh'"),
        ({"train_for": "epochs"}, "passes, labels, steps"),
        ({"ensemble": 0}, "ensemble"),
        ({"hidden": (0,)}, "hidden"),
        ({"label_smoothing": 1.0}, "label_smoothing"),
        ({"crops": 1}, "crop_min <= crop_max"),
        ({"pseudo_threshold": 0.4}, "pseudo_threshold"),
        ({"holdout": 0.9}, "holdout"),
    ],
)
def test_senseless_settings_are_refused(fields: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        RewardConfig(**fields)


def test_windows_longer_than_the_segments_are_refused() -> None:
    model = RewardModel.create(RewardConfig(crops=1, crop_min=5, crop_max=STEPS + 1), OBS, ACT, [0])
    with pytest.raises(UserError, match=f"segments of {STEPS} steps"):
        model.fit([some_labels(3)])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_it_learns_the_same() -> None:
    config = RewardConfig(**{**SMALL, "train_amount": 3, "crops": 2, "crop_min": 3, "crop_max": 6})
    models = [RewardModel.create(config, OBS, ACT, [0, 1], dtype=torch.float64, device=d) for d in ("cpu", "cuda")]
    for model in models:
        model.fit([some_labels(9, m) for m in (0, 1)])
    torch.testing.assert_close(models[1].flat.cpu(), models[0].flat, rtol=1e-8, atol=1e-10)


def test_scaled_inputs_are_as_if_the_observations_had_been_divided() -> None:
    rng = np.random.default_rng(0)
    spread = np.array([10.0, 0.1, 1e-9], np.float32)
    obs = (rng.normal(size=(2, 6, 2, 4, 3)) * spread).astype(np.float32)  # [M, n, 2, L, O]
    act, target = rng.normal(size=(2, 6, 2, 4, 2)).astype(np.float32), rng.integers(0, 2, (2, 6)).astype(np.float32)
    scaled, plain = (
        RewardModel.create(RewardConfig(hidden=(8,), train_amount=3, scale_inputs=on), 3, 2, [1, 2])
        for on in (True, False)
    )
    assert not scaled.is_scaled
    scaled.learn_scale([own.reshape(-1, 3) for own in obs])
    assert scaled.is_scaled
    deviation = obs.reshape(2, -1, 3).std(1)
    deviation[:, 2] = 1.0  # what hardly varies stays as it is
    divided = obs / deviation[:, None, None, None]
    results = [
        model.fit([AnsweredPairs(x[m], act[m], target[m]) for m in range(2)])
        for model, x in ((scaled, obs), (plain, divided))
    ]
    torch.testing.assert_close(results[0].loss, results[1].loss)
    torch.testing.assert_close(scaled.flat, plain.flat)
    rows = (torch.from_numpy(array.reshape(2, -1, array.shape[-1])) for array in (obs, act))
    own = (torch.from_numpy(array.reshape(2, -1, array.shape[-1])) for array in (divided, act))
    torch.testing.assert_close(scaled.reward(*rows), plain.reward(*own))
    again = RewardModel.create(scaled.config, 3, 2, [5, 6])
    again.load_state_dict(scaled.state_dict())
    assert torch.equal(again.scale, scaled.scale)


# ---------------------------------------------------------------------------------------------- units of the reward


def _in_units() -> tuple[RewardModel, Tensor, Tensor]:
    config = RewardConfig(hidden=(8,), normalise=True)
    model = RewardModel.create(config, 3, 2, [0, 1], dtype=torch.float64)
    gen = torch.Generator().manual_seed(0)
    return model, torch.randn(2, 40, 3, generator=gen).double(), torch.randn(2, 40, 2, generator=gen).double()


def test_normalised_rewards_of_what_was_seen_have_mean_0_and_deviation_1() -> None:
    model, obs, act = _in_units()
    before = model.reward(obs, act)
    assert torch.equal(before, model.predict(obs, act).mean(1))
    model.learn_units([(obs[m].numpy(), act[m].numpy()) for m in range(2)])
    rew = model.reward(obs, act)
    torch.testing.assert_close(rew.mean(1), torch.zeros(2).double(), atol=1e-12, rtol=0)
    torch.testing.assert_close(rew.std(1), torch.ones(2).double())
    torch.testing.assert_close(rew, (before - before.mean(1, keepdim=True)) / before.std(1, keepdim=True))
    assert torch.equal(model.select(1).reward(obs[1:], act[1:]), rew[1:])


def test_the_gradient_of_normalised_rewards_is_that_of_differences() -> None:
    model, obs, act = _in_units()
    model.learn_units([(obs[m].numpy(), act[m].numpy()) for m in range(2)])
    cotangent = torch.linspace(-1, 1, 80).double().view(2, 40)
    grads = model.vjp(obs, act, cotangent)
    pulled, pull = model.pullback(obs, act)
    assert torch.equal(pulled, model.reward(obs, act))
    torch.testing.assert_close(pull(cotangent), grads)
    for name, param in model.params.items():
        at = (1,) + (0,) * (param.ndim - 1)
        value, found = param[at].item(), []
        for shift in (1e-6, -1e-6):
            param[at] = value + shift
            found.append(float((cotangent * model.reward(obs, act)).sum()))
        param[at] = value
        assert (found[0] - found[1]) / 2e-6 == pytest.approx(grads[name][at].item(), rel=1e-5, abs=1e-8)


def test_units_are_kept_with_the_parameters() -> None:
    model, obs, act = _in_units()
    model.learn_units([(obs[m].numpy(), act[m].numpy()) for m in range(2)])
    other, _, _ = _in_units()
    other.load_state_dict({name: tensor.clone() for name, tensor in model.state_dict().items()})
    assert torch.equal(other.reward(obs, act), model.reward(obs, act))


def test_what_is_unread_moves_nothing_and_is_not_scaled() -> None:
    config = RewardConfig(hidden=(8,), scale_inputs=True)
    blind = RewardModel.create(config, 5, 2, [0, 1], unread=2)
    plain = RewardModel.create(config, 3, 2, [0, 1])
    gen = torch.Generator().manual_seed(0)
    obs, act = torch.randn(2, 40, 5, generator=gen) * 3, torch.randn(2, 40, 2, generator=gen)
    blind.learn_scale([own.numpy() for own in obs])
    plain.learn_scale([own[:, 2:].numpy() for own in obs])
    assert torch.equal(blind.reward(obs, act), plain.reward(obs[..., 2:], act))
    assert torch.equal(blind.select(1).reward(obs[1:], act[1:]), blind.reward(obs, act)[1:])
    other = obs.clone()
    other[..., :2] += 7
    assert torch.equal(blind.reward(other, act), blind.reward(obs, act))
    grads = [model.vjp(rows, act, torch.ones(2, 40)) for model, rows in ((blind, obs), (plain, obs[..., 2:]))]
    assert all(torch.equal(grads[0][name], grads[1][name]) for name in grads[0])


def test_a_constant_reward_is_only_moved_to_zero() -> None:
    model, obs, act = _in_units()
    constant = (obs[0, :1].expand(5, 3).numpy(), act[0, :1].expand(5, 2).numpy())
    model.learn_units([constant, constant])
    assert model.units[1].tolist() == [1.0, 1.0]
    assert model.reward(obs[:, :1], act[:, :1])[0].item() == pytest.approx(0.0, abs=1e-12)


def test_scaled_inputs_are_multiplied_by_no_more_than_the_limit() -> None:
    seen = np.array([[-2.0, -0.5, -0.001, 3.0], [2.0, 0.5, 0.001, 3.0]], np.float32)  # deviations 2, .5, .001, 0
    model = RewardModel.create(RewardConfig(hidden=(8,), scale_inputs=True, scale_limit=4.0), 4, 2, [1])
    model.learn_scale([seen])
    torch.testing.assert_close(model.scale[0], torch.tensor([0.5, 2.0, 4.0, 4.0, 1.0, 1.0]))
    with pytest.raises(UserError, match="scale_limit=0: must be above 0"):
        RewardConfig(scale_limit=0)


def test_changes_that_are_ignored_are_not_read_and_never_scaled() -> None:
    ignored = np.array([False, True, False, True, False, True])  # of 4 numbers that are read and 2 actions
    options = {"unread": 1, "change": 3, "ignored": ignored, "dtype": torch.float64}
    for config in (RewardConfig(hidden=(64,)), RewardConfig(hidden=(64,), scale_inputs=True, scale_limit=4.0)):
        model = RewardModel.create(config, 5, 2, [1, 2], **options)
        assert not model.is_scaled
        if config.scale_inputs:
            model.learn_scale([np.random.default_rng(m).normal(size=(50, 5)).astype(np.float32) for m in range(2)])
            assert model.is_scaled
        obs, act = torch.randn(2, 7, 5, dtype=torch.float64), torch.randn(2, 7, 2, dtype=torch.float64)
        others = [obs.clone() for _ in range(2)]
        others[0][..., [2, 4]] += 3  # what is ignored: the changes are the last three of an observation
        others[1][..., 3] += 3
        act2 = act + torch.tensor([0.0, 5.0])
        assert torch.equal(model.reward(obs, act2), model.reward(obs, act))
        assert torch.equal(model.reward(others[0], act), model.reward(obs, act))
        assert not torch.equal(model.reward(others[1], act), model.reward(obs, act))
        assert torch.equal(model.select(1).reward(others[0][1:], act[1:]), model.reward(obs, act)[1:])
        weight = model.vjp(obs, act, torch.ones(2, 7, dtype=torch.float64))["dense0.weight"]
        inputs = weight.abs().sum((0, 1, 3)) if weight.shape[2] == 6 else weight.abs().sum((0, 1, 2))
        assert (inputs > 0).tolist() == (~ignored).tolist()


def test_a_head_without_weights_pays_nothing_until_labels_speak() -> None:
    model = RewardModel.create(RewardConfig(hidden=(64,), head_scale=0.0, output="linear"), 4, 2, [1, 2])
    obs, act = torch.randn(2, 7, 4), torch.randn(2, 7, 2)
    assert torch.equal(model.reward(obs, act), torch.zeros(2, 7))
    seen, done = torch.randn(6, 2, 5, 4).numpy(), torch.randn(6, 2, 5, 2).numpy()
    labels = [AnsweredPairs(seen, done, np.ones(6, np.float32))] * 2
    model.fit(labels)
    assert (model.reward(obs, act).abs() > 0).all()
    assert model.params["dense0.weight"].abs().max() > 0.1  # the layers before it are drawn as ever
    with pytest.raises(UserError, match="head_scale=2: allowed is 0 to 1"):
        RewardConfig(head_scale=2)


# ------------------------------------------------------------------------------------------- doing and undoing


def _changes(penalty: float) -> tuple[RewardModel, Tensor, Tensor, Tensor]:
    """A model of 3 numbers that it may not read, 2 that it may, a change of 3 and an action of 2; and labels."""
    config = RewardConfig(ensemble=2, hidden=(6,), output="linear", undo_penalty=penalty, lr=1e-2)
    model = RewardModel.create(config, 8, 2, [1, 2], unread=3, change=3, dtype=torch.float64)
    gen = torch.Generator().manual_seed(0)
    obs, act = 6 * torch.randn(2, 5, 2, 4, 8, generator=gen), torch.randn(2, 5, 2, 4, 2, generator=gen)
    return model, obs, act, torch.tensor([[0.0, 1.0, 0.5, 1.0, 0.0]] * 2)


def test_the_penalty_on_undoing_has_the_gradient_that_autograd_finds() -> None:
    model, obs, act, target = _changes(3.0)
    assert (model.change.start, model.change.stop) == (2, 5)
    found = rn.flatten(model.grads_of_preference_loss(obs, act, target)[0])
    flat = model.flat.clone().requires_grad_()
    weights, biases = zip(*rn.layers(rn.views(flat, model._table)), strict=True)

    def reward(x: Tensor) -> Tensor:
        hidden = F.leaky_relu(torch.einsum("gri,ghi->grh", x, weights[0]) + biases[0][:, None], rn.SLOPE)
        return torch.einsum("grh,goh->gro", hidden, weights[1])[..., 0] + biases[1]

    x = model.inputs(obs, act).flatten(1, 3).repeat_interleave(2, dim=0)  # [G, n 2 L, I]
    gap = reward(x).unflatten(1, (5, 2, 4)).sum(3).diff(dim=2)[..., 0]
    some = x[:, ::8]
    undone = some * torch.tensor([1.0, 1, -1, -1, -1, 1, 1])
    gain = (reward(some) + reward(undone)).clamp_min(0)
    assert 0 < int((gain > 0).sum()) < gain.numel()
    loss = rn.preference_loss(gap, target.repeat_interleave(2, dim=0).to(gap)).mean(1) + 3.0 * gain.square().mean(1)
    (expected,) = torch.autograd.grad(loss.sum(), flat)
    torch.testing.assert_close(found, expected.flatten(1))


def test_what_can_be_undone_is_worth_nothing_to_repeat() -> None:
    """The better segments do a thing once more and undo it more often: without the penalty, both are called good."""
    rng = np.random.default_rng(0)
    done = np.zeros((40, 2, 6, 4), np.float32)  # facts, then their change, of two facts
    for pair in done:
        for side, times in enumerate((1, 3)):
            steps = rng.permutation(6)[: 2 * times]
            pair[side, steps[::2], 2], pair[side, steps[1::2], 2] = 1.0, -1.0
    labels = AnsweredPairs(done, np.zeros((40, 2, 6, 1), np.float32), np.ones(40, np.float32))
    gains = []
    for penalty in (0.0, 10.0):
        config = RewardConfig(
            ensemble=1, hidden=(BLOCK,), output="linear", lr=1e-2, undo_penalty=penalty, stop_accuracy=1.0
        )
        model = RewardModel.create(config, 4, 1, [0], unread=2, change=2)
        model.fit([labels])
        both = torch.tensor([[[0.0, 0, 1, 0], [0.0, 0, -1, 0]]])
        gains.append(float(model.reward(both, torch.zeros(1, 2, 1)).sum()))
    assert gains[0] > 0.5
    assert gains[1] < 0.1
    with pytest.raises(UserError, match="undo_penalty=-1"):
        RewardConfig(undo_penalty=-1)
