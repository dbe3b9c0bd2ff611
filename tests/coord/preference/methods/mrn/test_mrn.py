"""Bilevel steps: the gradient as a whole, both forms, the controls, what is drawn and what is saved."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from coord.algos import sac
from coord.buffers import ReplayBatch
from coord.errors import UserError
from coord.nets import heads
from coord.preference.labels.segments import AnsweredPairs
from coord.preference.methods.mrn.config import MRNConfig
from coord.preference.methods.mrn.mrn import MRN, scores
from coord.preference.methods.mrn.pairs import LabelBatch, outer_batch
from coord.preference.reward import nets as rn
from coord.preference.reward.model import RewardConfig, RewardModel
from coord.run import config

SEEDS, OBS, ACT, ROWS, PAIRS, LENGTH = [3, 4], 3, 2, 10, 5, 4
DOUBLE = torch.float64


class Case:
    """A small learner, reward model, batch and labels, all from fixed seeds."""

    def __init__(self, *, discrete: bool = False, dtype: torch.dtype = DOUBLE, layer_norm: bool = False) -> None:
        gen = torch.Generator().manual_seed(1)
        members = len(SEEDS)

        def draw(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=gen, dtype=DOUBLE).to(dtype)

        cfg = sac.SACConfig(hidden=(8, 7), batch_size=ROWS, lr=0.05, critic_layer_norm=layer_norm)
        self.state = sac.create(cfg, OBS, ACT, SEEDS, discrete=discrete, dtype=dtype)
        for net in (self.state.critic, self.state.target):
            for name, tensor in net.items():
                tensor += 0.2 * draw(*tensor.shape) * name.endswith("bias")
        config = RewardConfig(hidden=(6, 5), ensemble=3, lr=1e-3)
        self.model = RewardModel.create(config, OBS, ACT, SEEDS, dtype=dtype)
        act = torch.randint(ACT, (members, ROWS), generator=gen) if discrete else torch.tanh(draw(members, ROWS, ACT))
        ended = (torch.rand(members, ROWS, generator=gen) < 0.3).to(dtype)
        obs, rew, after = draw(members, ROWS, OBS), draw(members, ROWS), draw(members, ROWS, OBS)
        self.batch = ReplayBatch(obs, act, rew, after, 1 - ended)
        shape = (members, PAIRS, 2, LENGTH)
        acts = torch.tanh(draw(*shape, ACT))
        if discrete:
            acts = F.one_hot(torch.randint(ACT, shape, generator=gen), ACT).to(dtype)
        target = torch.tensor([0.0, 1.0, 0.5, 1.0, 0.75], dtype=dtype).expand(members, -1)
        self.labels = LabelBatch(draw(*shape, OBS), acts, target)

    def mrn(self, **fields: Any) -> MRN:
        return MRN(MRNConfig(**fields), self.model, SEEDS)

    def step(self, mrn: MRN) -> dict[str, Tensor]:
        return mrn.step(self.state, self.model, self.batch, self.labels)


def tensors(case: Case) -> dict[str, Tensor]:
    found = case.state.state_dict() | {f"reward.{k}": v for k, v in case.model.state_dict().items()}
    return {k: v.clone() for k, v in found.items()}


def whole_loss(case: Case, mrn: MRN, flat: Tensor, next_value: Tensor, noise: Tensor | None) -> Tensor:
    """The outer loss as a function of the reward model's parameters, by autograd alone, member by member and head by
    head; 0.1 is the weight of the outer loss."""
    state, labels, total = case.state, case.labels, torch.zeros((), dtype=DOUBLE)
    actions = F.one_hot(case.batch.act, ACT).to(DOUBLE) if state.discrete else case.batch.act
    for m in range(len(SEEDS)):
        x = torch.cat([case.batch.obs[m], actions[m]], -1)
        rewards = [reward_of(flat[m, e], x) for e in range(3)]
        y = sum(rewards) / 3 + 0.99 * case.batch.discount[m] * next_value[m]
        stepped = {}
        for head in range(2):
            theta = {k: v[m, head].clone().requires_grad_() for k, v in state.critic.items()}
            loss = F.mse_loss(q_of(theta, case.batch.obs[m], actions[m], discrete=state.discrete), y)
            slopes = torch.autograd.grad(loss, list(theta.values()), create_graph=True)
            stepped[head] = {k: v - 0.05 * s for (k, v), s in zip(theta.items(), slopes, strict=True)}
        values = [score_of(case, mrn, theta, m, noise) for theta in stepped.values()]
        joined = {"both": values, "mean": [sum(values) / 2]}[mrn.config.head]
        for said in joined:  # [K, 2]
            wanted = torch.stack([1 - labels.target[m], labels.target[m]], -1)
            total = total + 0.1 * F.cross_entropy(said, wanted)
    return total


def reward_of(flat: Tensor, x: Tensor) -> Tensor:
    at = 0
    widths = [OBS + ACT, 6, 5, 1]
    for i, (inputs, outputs) in enumerate(itertools.pairwise(widths)):
        weight = flat[at : at + inputs * outputs].view(inputs, outputs)
        bias = flat[at + inputs * outputs : at + (inputs + 1) * outputs]
        at += (inputs + 1) * outputs
        x = x @ weight + bias
        x = F.leaky_relu(x, 0.01) if i < 2 else x
    return torch.tanh(x[:, 0])


def q_of(theta: dict[str, Tensor], obs: Tensor, act: Tensor, *, discrete: bool) -> Tensor:
    """Value of act (discrete: in expectation over the weights act)."""
    x = obs if discrete else torch.cat([obs, act], -1)
    for i in range(2):
        x = F.relu(x @ theta[f"dense{i}.weight"].T + theta[f"dense{i}.bias"])
    out = x @ theta["head.weight"].T + theta["head.bias"]
    return (out * act).sum(-1) if discrete else out[..., 0]


def score_of(case: Case, mrn: MRN, theta: dict[str, Tensor], m: int, noise: Tensor | None) -> Tensor:
    """Scores [K, 2] of the pairs of member m."""
    obs, act, state = case.labels.obs[m], case.labels.act[m], case.state
    first = q_of(theta, obs[:, :, 0], act[:, :, 0], discrete=state.discrete)
    if mrn.config.score == "first":
        return first
    last = obs[:, :, -1].flatten(0, 1)
    if state.discrete:
        logp = heads.log_policy(state.actor, last.expand(2, -1, -1))[m]
        value = q_of(theta, last, logp.exp(), discrete=True) - state.alpha[m] * (logp.exp() * logp).sum(-1)
    else:
        assert noise is not None
        chosen, logp = heads.policy(state.actor, last.expand(2, -1, -1), noise)
        value = q_of(theta, last, chosen[m], discrete=False) - state.alpha[m] * logp[m]
    return first - 0.99 ** (LENGTH - 1) * value.view(-1, 2)


@pytest.mark.parametrize(
    ("discrete", "score", "head"), list(itertools.product((False, True), ("first", "segment"), ("both", "mean")))
)
def test_the_step_follows_the_second_order_gradient(discrete: bool, score: str, head: str) -> None:
    """SGD with step size 1 and no supervised part moves by the gradient itself."""
    case, plain = Case(discrete=discrete), {"optimiser": "sgd", "lr": 1.0, "supervised": False, "temperature": 1.0}
    mrn = case.mrn(score=score, head=head, **plain)
    again = case.mrn(score=score, head=head, **plain)
    state = case.state
    gens = [gen.get_state() for gen in state.gens]
    next_value = sac.bootstrap(state, case.batch.next_obs, sac.draw_noise(state, ROWS))
    for gen, before in zip(state.gens, gens, strict=True):
        gen.set_state(before)
    noise = again._noise(state, case.labels)
    flat = case.model.flat.clone().requires_grad_()
    expected = torch.autograd.grad(whole_loss(case, mrn, flat, next_value, noise), flat)[0]
    metrics = case.step(mrn)
    moved = flat.detach() - case.model.flat
    assert (moved - expected).norm() <= 1e-5 * expected.norm()
    torch.testing.assert_close(metrics["reward/meta_grad_norm"], expected.flatten(1).norm(dim=1), rtol=1e-8, atol=0)
    assert bool((expected.abs().flatten(0, 1).amax(0) > 0).all()), "some parameter of the reward model gets no gradient"


@pytest.mark.parametrize("form", ["released", "corrected"])
@pytest.mark.parametrize("discrete", [False, True])
def test_the_update_that_follows_is_sacs_on_the_new_rewards(form: str, discrete: bool) -> None:
    case, other = Case(discrete=discrete), Case(discrete=discrete)
    case.step(case.mrn(form=form))
    features = F.one_hot(case.batch.act, ACT).to(DOUBLE) if discrete else case.batch.act
    sac.update(other.state, other.batch._replace(rew=case.model.reward(case.batch.obs, features)))
    for name, tensor in other.state.state_dict().items():
        assert torch.equal(tensor, case.state.state_dict()[name]), name


def test_corrected_without_meta_gradient_is_a_supervised_step_bit_for_bit() -> None:
    case, pebble = Case(dtype=torch.float32), Case(dtype=torch.float32)
    metrics = case.step(case.mrn(meta_scale=0.0, lr=1e-3))
    grads, _ = pebble.model.grads_of_preference_loss(*pebble.labels)
    pebble.model.apply(grads)
    sac.update(pebble.state, pebble.batch._replace(rew=pebble.model.reward(pebble.batch.obs, pebble.batch.act)))
    assert torch.equal(case.model.flat, pebble.model.flat)
    theirs, ours = pebble.state.state_dict(), case.state.state_dict()
    assert all(torch.equal(theirs[name], ours[name]) for name in theirs)
    assert bool((metrics["reward/meta_step_share"] == 0).all())
    assert bool((metrics["reward/meta_grad_norm"] > 0).all()), "the gradient is reported, not applied"


def test_released_without_meta_gradient_follows_old_momentum_bit_for_bit() -> None:
    case, control = Case(dtype=torch.float32), Case(dtype=torch.float32)
    for each in (case, control):
        each.model.apply(each.model.grads_of_preference_loss(*each.labels)[0])
    before = case.model.flat.clone()
    case.step(case.mrn(form="released", meta_scale=0.0))
    zeros = {name: torch.zeros_like(tensor) for name, tensor in control.model.params.items()}
    control.model.apply(zeros)
    assert torch.equal(case.model.flat, control.model.flat)
    assert not torch.equal(case.model.flat, before), "stale momentum moves the model"


def test_released_steps_through_the_moments_of_the_supervised_loss() -> None:
    case, other = Case(), Case()
    mrn = case.mrn(form="released")
    for each in (case, other):
        each.model.apply(each.model.grads_of_preference_loss(*each.labels)[0])
    start = case.model.flat.clone()
    case.step(mrn)
    sgd = other.mrn(form="released", optimiser="sgd", lr=1.0)
    other.step(sgd)
    gradient = start - other.model.flat  # of a step of size 1
    expected, adam = start.clone(), Case().model.adam
    adam.mean, adam.var, adam.count = (t.clone() for t in other.model.adam.tensors().values())
    rn.adam_step(expected, gradient.flatten(1), adam, 1e-3)
    torch.testing.assert_close(case.model.flat, expected, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(case.model.adam.count, torch.full((2,), 2.0))


def test_corrected_scales_the_meta_gradient_to_the_supervised_one() -> None:
    case, meta, supervised = Case(), Case(), Case()
    start = case.model.flat.clone()
    metrics = case.step(case.mrn(optimiser="sgd", lr=1.0, meta_weight=0.3))
    meta.step(meta.mrn(optimiser="sgd", lr=1.0, supervised=False, temperature=0.0, outer_weight=123.0))
    supervised.step(supervised.mrn(optimiser="sgd", lr=1.0, meta_scale=0.0))
    moved, g_meta, g_sup = (start - each.model.flat for each in (case, meta, supervised))
    norms = [g.flatten(1).norm(dim=1)[:, None, None] for g in (g_sup, g_meta)]
    torch.testing.assert_close(moved, g_sup + 0.3 * g_meta * norms[0] / norms[1], rtol=1e-8, atol=1e-12)
    cosine = F.cosine_similarity(g_meta.flatten(1), g_sup.flatten(1), dim=1)
    torch.testing.assert_close(metrics["reward/meta_cosine"], cosine)
    torch.testing.assert_close(metrics["reward/supervised_grad_norm"], norms[0].flatten())
    share = (moved - g_sup).flatten(1).norm(dim=1) / moved.flatten(1).norm(dim=1)
    torch.testing.assert_close(metrics["reward/meta_step_share"], share)


def test_comparing_changes_nothing_but_the_report() -> None:
    with_report, without = Case(), Case()
    full = with_report.step(with_report.mrn(form="released"))
    short = without.step(without.mrn(form="released", compare=False))
    assert torch.equal(with_report.model.flat, without.model.flat)
    assert "reward/meta_cosine" not in short
    assert torch.equal(full["reward/meta_grad_norm"], short["reward/meta_grad_norm"])


def test_more_inner_steps_and_normalised_critics_take_the_graph() -> None:
    for case, fields in ((Case(), {"inner_steps": 3}), (Case(layer_norm=True), {})):
        before = case.model.flat.clone()
        metrics = case.step(case.mrn(**fields))
        assert bool(torch.isfinite(case.model.flat).all())
        assert bool((metrics["reward/meta_grad_norm"] > 0).all())
        assert not torch.equal(case.model.flat, before)


def test_members_do_not_mix() -> None:
    """The second member alone steps as it does beside the first."""
    both = Case()
    alone = Case()
    part = slice(1, 2)
    alone.state = sac.create(alone.state.cfg, OBS, ACT, SEEDS[1:], dtype=DOUBLE)
    for net in ("actor", "critic", "target"):
        for name, tensor in getattr(alone.state, net).items():
            tensor.copy_(getattr(both.state, net)[name][part])
    alone.model = alone.model.select(1)
    alone.batch = ReplayBatch(*(tensor[part] for tensor in both.batch))
    alone.labels = LabelBatch(*(tensor[part] for tensor in both.labels))
    both.step(both.mrn(score="segment"))
    MRN(MRNConfig(score="segment"), alone.model, SEEDS[1:]).step(alone.state, alone.model, alone.batch, alone.labels)
    torch.testing.assert_close(alone.model.flat, both.model.flat[part], rtol=1e-10, atol=1e-13)


def make_labels(count: int, first: int = 0) -> AnsweredPairs:
    """Labels whose target tells their number."""
    obs = np.zeros((count, 2, 6, OBS), np.float32)
    obs += np.arange(6, dtype=np.float32)[None, None, :, None]
    target = np.arange(first, first + count, dtype=np.float32) / 64
    return AnsweredPairs(obs, np.zeros((count, 2, 6, ACT), np.float32), target)


@pytest.mark.parametrize(("form", "lowest"), [("released", 17), ("corrected", 0)])
def test_the_outer_batch_is_the_newest_session_or_all_labels(form: str, lowest: int) -> None:
    mrn, seen = Case().mrn(form=form), set()
    for _ in range(20):
        drawn = mrn.draw_labels([make_labels(20), make_labels(20)], 3, slice(1, 5))
        assert drawn is not None
        seen |= {round(float(t) * 64) for t in drawn.target[0]}
        assert drawn.obs.shape == (2, 20 - lowest, 2, 4, OBS)
    assert drawn.obs[0, 0, 0, :, 0].tolist() == [1, 2, 3, 4]
    assert seen == set(range(lowest, 20))


def test_few_or_no_labels_make_a_small_batch_or_none() -> None:
    mrn = Case().mrn(form="released")
    drawn = mrn.draw_labels([make_labels(20), make_labels(2)], 10, slice(0, 6))
    assert drawn is not None
    assert drawn.target.shape == (2, 2)
    assert mrn.draw_labels([make_labels(20), make_labels(0)], 10, slice(0, 6)) is None


def test_when_a_step_is_due() -> None:
    released, corrected = Case().mrn(form="released", every=100), Case().mrn(every=100)
    assert [released.is_due(a, b, True) for a, b in ((98, 99), (99, 100), (100, 101), (96, 104))] == [0, 1, 0, 1]
    assert not released.is_due(99, 100, False)
    assert corrected.is_due(99, 100, False)


@pytest.mark.parametrize("form", ["released", "corrected"])
def test_a_saved_step_goes_on_bit_for_bit(form: str) -> None:
    straight, resumed = Case(dtype=torch.float32), Case(dtype=torch.float32)
    mrn = straight.mrn(form=form, score="segment")
    straight.step(mrn)
    saved = tensors(straight)
    own = {k: v.clone() for k, v in mrn.state_dict().items()}
    straight.step(mrn)
    resumed.state.load_state_dict(saved)
    resumed.model.load_state_dict({k.removeprefix("reward."): v for k, v in saved.items() if k.startswith("reward.")})
    other = resumed.mrn(form=form, score="segment")
    other.load_state_dict(own)
    resumed.step(other)
    theirs, ours = tensors(straight), tensors(resumed)
    assert all(torch.equal(theirs[name], ours[name]) for name in theirs)


def test_the_segment_score_telescopes() -> None:
    """Rows, picks and discount of both scores, for a segment of four steps."""
    case = Case()
    first = outer_batch(case.state, case.labels, "first")
    noise = torch.zeros(2, 2 * PAIRS, ACT, dtype=DOUBLE)
    whole = outer_batch(case.state, case.labels, "segment", noise)
    assert first.rows.shape == (2, 2 * PAIRS, OBS + ACT)
    torch.testing.assert_close(whole.rows[:, : 2 * PAIRS], first.rows)
    torch.testing.assert_close(whole.rows[:, 2 * PAIRS :, :OBS], case.labels.obs[:, :, :, -1].flatten(1, 2))
    assert whole.discount == pytest.approx(0.99**3)
    values = torch.arange(2 * 2 * 4 * PAIRS, dtype=DOUBLE).view(2, 2, -1)
    found = scores(values, whole)
    by_hand = values[1, 0, 3] - 0.99**3 * (values[1, 0, 2 * PAIRS + 3] + whole.entropy[1, 1, 1])
    torch.testing.assert_close(found[1, 0, 1, 1], by_hand)


def test_what_a_form_leaves_open_can_be_set() -> None:
    released = MRNConfig(form="released", time_limit="bootstrap").resolved()
    assert (released.optimiser, released.supervised, released.time_limit) == ("shared", False, "bootstrap")
    assert MRNConfig().resolved().continue_after_budget is True
    for field, value in (("form", "fixed"), ("score", "last"), ("every", 0), ("lr", -1.0), ("optimiser", "adamw")):
        with pytest.raises(UserError, match=field):
            config.from_dict(MRNConfig, {field: value})
