"""One update of each kind equals that of the plain version; the figures are what they say."""

from __future__ import annotations

import json
import time

import pytest
import torch

from coord.algos import sac
from coord.bench import mrn
from coord.bench import mrn_reference as plain
from coord.bench.sac import ReferenceSAC
from coord.errors import UserError
from coord.preference.learners.intrinsic import knn_reward
from coord.preference.methods.mrn.pairs import LabelBatch

SMALL = mrn.Size(obs_dim=5, act_dim=2, hidden=(32, 24), batch=48, lr=1e-2, labels=(4, 140), seen=(60, 90))

CLOSE = {"rtol": 1e-5, "atol": 1e-8}  # Adam divides tiny gradients by their own size, which magnifies rounding


@pytest.fixture
def pair() -> mrn.Bench:
    """Both learners of one small size; float64, so that equal mathematics gives equal numbers."""
    found = mrn.Bench(SMALL, seed=7, dtype=torch.float64)
    for name in ("critic", "target"):
        for key, tensor in getattr(found.state, name).items():
            tensor += 0.1 * found.draw(*tensor.shape) * key.endswith("bias")
    found.agent = ReferenceSAC(found.state, 0)
    return found


def assert_same_agent(found: mrn.Bench) -> None:
    for name in ("actor", "critic", "target"):
        mine = getattr(found.state, name)
        nets = [found.agent.actor] if name == "actor" else list(getattr(found.agent, name))
        for head, net in enumerate(nets):
            for tensor, theirs in zip(mine.values(), net.parameters(), strict=True):
                own = tensor[0] if name == "actor" else tensor[0, head]
                torch.testing.assert_close(own, theirs.data, **CLOSE)
    torch.testing.assert_close(found.state.log_alpha[0], found.agent.log_alpha.detach(), **CLOSE)


def assert_same_reward(found: mrn.Bench) -> None:
    for e, net in enumerate(found.reward.nets):
        for tensor, theirs in zip(found.model.params.values(), net.parameters(), strict=True):
            torch.testing.assert_close(tensor[0, e], theirs.data, **CLOSE)


def sac_noise(found: mrn.Bench, draws: int) -> list[torch.Tensor]:
    """What our learner will draw, without drawing it."""
    before = found.state.gens[0].get_state()
    noise = [sac.draw_noise(found.state, SMALL.batch)[0] for _ in range(draws)]
    found.state.gens[0].set_state(before)
    return noise


def test_sac_updates_are_the_same(pair: mrn.Bench) -> None:
    for _ in range(3):
        noise = sac_noise(pair, 2)
        sac.update(pair.state, pair.batch)
        pair.agent.update(pair.single(), noise)
    assert_same_agent(pair)
    assert pair.state.update_step == pair.agent.count == 3


def test_a_pass_of_the_reward_model_is_the_same(pair: mrn.Bench) -> None:
    labels, segments = pair.make_labels(140)
    before = [gen.get_state() for gen in pair.model.gens]
    result = pair.model.fit([labels])
    for gen, state in zip(pair.model.gens, before, strict=True):
        gen.set_state(state)
    orders = [torch.randperm(140, generator=pair.model.gens[0]) for _ in range(3)]
    accuracy = pair.reward.train_pass(segments, torch.from_numpy(labels.target), orders)
    assert_same_reward(pair)
    assert float(result.accuracy[0]) == pytest.approx(accuracy, abs=1e-6)
    assert float(result.steps[0]) == 2


def test_a_released_bilevel_step_is_the_same(pair: mrn.Bench) -> None:
    """The trial step and the update share one draw of next actions, so the plain version is given it twice."""
    labels, segments = pair.make_labels(mrn.SESSION)
    target = torch.from_numpy(labels.target)
    ours = LabelBatch(*(torch.from_numpy(array)[None] for array in labels))
    for _ in range(2):
        noise = sac_noise(pair, 2)
        pair.mrn.step(pair.state, pair.model, pair.batch, ours)
        plain.bilevel_step(pair.agent, pair.reward, pair.single(), segments, target, [noise[0], *noise])
    assert_same_reward(pair)
    assert_same_agent(pair)


def test_an_unsupervised_update_is_the_same(pair: mrn.Bench) -> None:
    seen = torch.cat([pair.batch.obs, pair.draw(1, 700, SMALL.obs_dim)], 1)
    noise = sac_noise(pair, 2)
    rew = knn_reward(pair.batch.obs, seen, mrn.NEIGHBOUR)
    theirs = plain.novelty(pair.batch.obs[0], seen[0], mrn.NEIGHBOUR)
    torch.testing.assert_close(rew[0], theirs, **CLOSE)
    sac.update(pair.state, pair.batch._replace(rew=rew))
    pair.agent.update(pair.single()._replace(rew=theirs), noise)
    assert_same_agent(pair)


def test_rewards_and_probabilities_are_the_same(pair: mrn.Bench) -> None:
    obs, act = pair.draw(1, 450, SMALL.obs_dim), pair.draw(1, 450, SMALL.act_dim)
    theirs = pair.reward.relabel(torch.cat([obs, act], -1)[0])[:, 0]
    torch.testing.assert_close(pair.model.reward(obs, act)[0], theirs)
    labels, segments = pair.make_labels(9)
    prob = torch.from_numpy(pair.model.prob(0, labels))
    torch.testing.assert_close(prob, pair.reward.probabilities(segments), **CLOSE)


def test_operations_by_hand() -> None:
    """Actor 5-32-24-4: 160, 768, 96; critic 7-32-24-1: 224, 768, 24; batch 48.

    Targets 1024 + 2 * 1016; critic 2 * (3 * 1016 - 224); actor 3 * 1024 - 160; critic by action 2 * (2 * 1016 - 224
    + 2 * 32); each twice, once to multiply and once to add.
    """
    works = mrn.Works.of(SMALL, mrn.RewardConfig())
    assert (works.actor.all, works.actor.first, works.critic.all) == (1024, 160, 1016)
    assert mrn.sac_flops(SMALL, works) == 2 * 48 * (3056 + 5648 + 2912 + 3744)


def test_a_case_is_measured_in_turns_and_compared() -> None:
    case = mrn.MRNCase(lambda: time.sleep(0.01), lambda: time.sleep(0.03), flops=1e6, done=5)
    figures = mrn.measure(case, rate=1e9, repeats=3)
    assert 2 < figures["times_faster"] < 4
    assert figures["floor_ms"] == pytest.approx(1.0)
    assert figures["share_of_floor"] == pytest.approx(1.0 / figures["ms"])
    assert figures["per_s"] == pytest.approx(5e3 / figures["ms"])


def test_the_figures_are_json_with_bars_for_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mrn, "SIZES", {"metaworld": SMALL})
    monkeypatch.setattr(mrn, "BARS", {("metaworld", "meta_step"): 0.0, ("metaworld", "reward_pass_140"): 1e9})
    found = json.loads(json.dumps(mrn.bench_mrn(("metaworld",), (1, 2), repeats=1)))
    one, two = (found["threads"][count]["metaworld"] for count in ("1", "2"))
    names = {"reward_pass_4", "reward_pass_140", "meta_step", "relabel_1000", "select_queries"}
    assert set(one) == {"matrix_gflop_per_s", *names, "unsupervised_update_60", "unsupervised_update_90"}
    assert one["meta_step"]["reached"] is True
    assert one["reward_pass_140"]["reached"] is False
    assert one["meta_step"]["official_ms_elsewhere"] == 140.0
    assert "reached" not in two["meta_step"]
    with pytest.raises(UserError, match="metawrld"):
        mrn.bench_mrn(("metawrld",))
