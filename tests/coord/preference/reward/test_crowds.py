"""Crowds: the noisy loss, who is judged by what, memory; and small experiments that must come out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from coord.errors import UserError
from coord.evaluation.report.annotator_report import annotator_report, standing, table
from coord.preference.labels.segments import AnsweredPairs
from coord.preference.labels.store import Answer, LabelStore
from coord.preference.reward import annotators as an
from coord.preference.reward import nets as rn
from coord.preference.reward.annotators import MixtureConfig, PooledConfig, ReliabilityConfig
from coord.preference.reward.crowds import Crowd, check, features
from coord.preference.reward.model import AnswerNoise, RewardConfig, RewardModel
from coord.run import config
from coord.run.cli import main
from coord.studies import crowd_experiment as experiment
from coord.studies import crowd_figures

pytestmark = pytest.mark.usefixtures("one_thread")

TINY = RewardConfig(ensemble=2, hidden=(8,), batch_size=16, train_amount=3)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> LabelStore:
    """Two repetitions of each crowd."""
    made = LabelStore(tmp_path_factory.mktemp("crowd") / "labels.sqlite")
    for crowd in experiment.CROWDS:
        for seed in (1, 2):
            experiment.make_setting(made, crowd, 60, 3, seed)
    return made


# -------------------------------------------------------------------------------------------------- the loss


def test_the_loss_is_minus_the_log_probability_up_to_a_constant_and_its_slope_the_derivative() -> None:
    gap = torch.tensor([0.3, -2.0, 1.0, 0.5, -0.7, 0.0], dtype=torch.float64, requires_grad=True)
    target = torch.tensor([0.0, 1.0, 0.5, 0.75, 0.5, 1.0], dtype=torch.float64)
    b = torch.tensor([1.0, -0.5, 0.7, 2.0, -0.1, 1.0], dtype=torch.float64)
    c = torch.tensor([0.3, 0.2, 0.6, 1.0, 0.15, 0.4], dtype=torch.float64)
    weight = torch.tensor([1.0, 2.0, 0.5, 0.0, 3.0, 1.0], dtype=torch.float64)
    tie = target == 0.5
    loss, slope = rn.answer_loss(gap, target, tie, rn.NoiseTensors(weight, b, c))
    constant = torch.where(tie, torch.log(-torch.expm1(-2 * c)), 0.0)
    said = an.log_prob(*(x.detach().numpy() for x in (gap, target, b, c)))
    np.testing.assert_allclose((weight * constant - loss).detach().numpy(), weight.numpy() * said, atol=1e-12)
    torch.testing.assert_close(torch.autograd.grad(loss.sum(), gap)[0], slope.detach())
    plain, _ = rn.answer_loss(
        gap, target, torch.zeros_like(tie), rn.NoiseTensors(torch.ones(6), torch.ones(6), torch.zeros(6))
    )
    torch.testing.assert_close(plain, rn.preference_loss(gap, target))


def some_labels(count: int, seed: int = 0) -> AnsweredPairs:
    rng = np.random.default_rng(seed)
    obs = rng.normal(size=(count, 2, 5, 3)).astype(np.float32)
    act = rng.normal(size=(count, 2, 5, 2)).astype(np.float32)
    return AnsweredPairs(obs, act, (obs[:, 1, :, 0].sum(1) > obs[:, 0, :, 0].sum(1)).astype(np.float32))


def test_perfect_people_teach_what_pooling_teaches_and_weightless_ones_nothing() -> None:
    labels = some_labels(24)
    perfect = AnswerNoise(np.ones((24, 2), np.float32), np.ones(24, np.float32), np.zeros(24, np.float32))
    plain, noisy, silent = (RewardModel.create(TINY, 3, 2, [5]) for _ in range(3))
    fresh = silent.flat.clone()
    plain.fit([labels])
    noisy.fit([labels], noise=[perfect])
    torch.testing.assert_close(noisy.flat, plain.flat)
    one = np.ones((24, 2), np.float32) * np.array([0, 1], np.float32)
    silent.fit([labels], noise=[perfect._replace(weight=one)])
    assert torch.equal(silent.flat[:, 0], fresh[:, 0])  # the first network was kept from everything
    assert not torch.equal(silent.flat[:, 1], fresh[:, 1])


def test_who_answers_the_opposite_teaches_the_same_as_the_answers_turned_round() -> None:
    labels = some_labels(24)
    turned = labels._replace(target=1 - labels.target)
    against = AnswerNoise(np.ones((24, 2), np.float32), -np.ones(24, np.float32), np.zeros(24, np.float32))
    plain, noisy = (RewardModel.create(TINY, 3, 2, [5]) for _ in range(2))
    expected = plain.fit([labels])
    found = noisy.fit([turned], noise=[against])
    torch.testing.assert_close(noisy.flat, plain.flat)
    assert found.accuracy.item() == expected.accuracy.item() > 0


# ---------------------------------------------------------------------------------------------------- crowds


def test_annotators_are_judged_by_networks_that_have_not_learned_the_query(store: LabelStore) -> None:
    stored = store.labels("careless-1", 0)
    crowd = Crowd.create(ReliabilityConfig(), TINY, experiment.OBS, experiment.ACT, [3])
    model = RewardModel.create(TINY, experiment.OBS, experiment.ACT, [3])
    crowd.fit(model, [stored])
    noise = crowd._noise(0, stored, 0)
    gaps = model.gaps(0, stored.labels)  # [E, n]
    found = crowd.gaps(model, 0, stored)[:, 0]
    for i, number in enumerate(stored.number):
        (unseen,) = np.flatnonzero(noise.weight[i] == 0)
        assert unseen == number % 2
        assert found[i] == gaps[unseen, i]


@pytest.mark.parametrize("cfg", [PooledConfig(), ReliabilityConfig(rounds=1), MixtureConfig(rounds=1, restarts=2)])
def test_what_a_crowd_remembers(cfg: an.CrowdConfig, store: LabelStore) -> None:
    """It goes on from its state as if nothing had happened, new annotators included."""
    seen = [store.labels("opposite-1", 0, before=n) for n in (0, 20, 40)]

    def made() -> tuple[Crowd, RewardModel]:
        args = (TINY, experiment.OBS, experiment.ACT, [3])
        return Crowd.create(cfg, *args), RewardModel.create(*args)

    (crowd, model), (other, other_model) = made(), made()
    for part in seen[:2]:
        crowd.fit(model, [part])
    other.load_state_dict(crowd.state_dict())
    other.load_memory(json.loads(json.dumps(crowd.memory())))
    other_model.load_state_dict(model.state_dict())
    other_model.load_rng_state(model.rng_state())
    for one, its_model in ((crowd, model), (other, other_model)):
        one.fit(its_model, [seen[2]])
    assert torch.equal(model.flat, other_model.flat)
    assert crowd.memory() == other.memory()
    targets = [one.seen_as(0, seen[2]).target for one in (crowd, other)]
    np.testing.assert_array_equal(targets[0], targets[1])
    assert np.array_equal(targets[0], seen[2].labels.target) == isinstance(cfg, PooledConfig)


def test_features_are_differences_of_the_judged_steps() -> None:
    labels = some_labels(3)
    both = np.concatenate([labels.obs, labels.act], axis=3)[:, :, 1:-1].sum(2)
    np.testing.assert_allclose(features(labels, 1), both[:, 1] - both[:, 0], rtol=1e-5, atol=1e-6)


def test_settings_that_cannot_work_are_refused() -> None:
    with pytest.raises(UserError, match=r"crowd=mixture .* reward.ensemble of at least 2, not 1"):
        check(MixtureConfig(), RewardConfig(ensemble=1))
    with pytest.raises(UserError, match="crowd=reliability does not go with safety"):
        check(ReliabilityConfig(), RewardConfig(), warns=True)
    check(PooledConfig(), RewardConfig(ensemble=1), warns=True)
    with pytest.raises(UserError, match="groups=1"):
        config.from_dict(MixtureConfig, {"groups": 1})
    with pytest.raises(UserError, match="lapse=1"):
        config.from_dict(ReliabilityConfig, {"lapse": 1.0})


# ------------------------------------------------------------------------------------- experiment and report


def test_made_up_people_answer_as_they_are_said_to() -> None:
    rng = np.random.default_rng(0)
    gap = np.full(40_000, 1.0)
    said = experiment.say(gap, experiment.CROWDS["careless"][6], rng)
    expected = np.exp(
        [an.log_prob(np.array(1.0), np.array(t), -1.0, np.array(experiment.TIE)) for t in (1.0, 0.5, 0.0)]
    )
    found = [(said == t).mean() for t in (1.0, 0.5, 0.0)]
    np.testing.assert_allclose(found, expected, atol=0.01)


@pytest.mark.learn
def test_the_experiment_finds_who_is_who_and_gains_by_it(tmp_path: Path) -> None:
    result = experiment.run_crowds(tmp_path, seeds=3, queries=100, per_query=3)
    careless = result["crowds"]["careless"]["ways"]
    assert careless["reliability"]["rank_correlation_over_pooled"]["interval95"][0] > 0.05
    people = [figure["mean"] for figure in careless["reliability"]["reliability"]]
    assert min(people[:4]) > 0.6 > 0.5 > max(people[4:6]) > -0.5 > people[6]
    for crowd in ("opposite", "different"):
        ways = result["crowds"][crowd]["ways"]
        assert ways["mixture"]["rank_correlation_over_pooled"]["interval95"][0] > 0
        assert ways["mixture"]["who"]["mean"] > 0.95
    assert "who is who" in crowd_figures.summary(result)
    crowd_figures.draw_figure(result, tmp_path / "crowd.png")
    assert (tmp_path / "crowd.png").stat().st_size > 10_000


def test_too_small_an_experiment_and_a_used_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="seeds=1"):
        experiment.run_crowds(tmp_path, 1, 50, 3)
    (tmp_path / "labels.sqlite").touch()
    with pytest.raises(UserError, match="exists already"):
        experiment.run_crowds(tmp_path, 2, 50, 3)


def test_the_report_names_everybody(store: LabelStore) -> None:
    rows = annotator_report(store, "careless-1")
    assert {row["annotator"]: row["kind"] for row in rows}["6-adversarial"] == "adversarial"
    assert [row["answers"] + row["skipped"] for row in rows] == [
        sum(answer["annotator"] == row["annotator"] for answer in standing(store, "careless-1")) for row in rows
    ]
    by_name = {row["annotator"]: row for row in rows}
    assert by_name["6-adversarial"]["with_others"] < 0.5 < by_name["0-reliable"]["with_others"]
    low, high = by_name["0-reliable"]["reliability95"]
    assert low < by_name["0-reliable"]["reliability"] < high
    json.dumps(rows)
    text = table(rows)
    assert len(text.splitlines()) == 9
    assert "adversarial" in text


def test_the_report_counts_what_stands(tmp_path: Path) -> None:
    store = LabelStore(tmp_path / "labels.sqlite")
    ids = store.add_queries("r", 0, experiment.make_queries(6, np.random.default_rng(0)), first_number=0, session=0)
    for i, target in zip(ids, (1.0, 0.0, 0.5, float("nan"), 1.0), strict=False):
        store.add_answer(Answer(query=i, annotator="ann", target=target, response_ms=2000.0))
    store.withdraw(ids[4], "ann")
    store.add_answer(Answer(query=ids[0], annotator="ann", target=0.0, revision=1, response_ms=4000.0))
    (row,) = annotator_report(store)
    assert (row["answers"], row["equal"], row["skipped"], row["median_s"]) == (3, 1, 1, 2.0)
    assert row["with_others"] is None
    assert row["kind"] == "unclear"


def test_the_command_reports(store: LabelStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["crowd", "report", f"store={store.path}", "run=opposite-1", "groups=2"]) == 0
    assert "opposite-1:" in (text := capsys.readouterr().out)
    assert "group" in text
    assert main(["crowd", "report"]) == 2
    assert "which label store?" in capsys.readouterr().err
    assert main(["crowd", "report", f"store={tmp_path / 'none.sqlite'}"]) == 2
    assert "no label store" in capsys.readouterr().err
    assert main(["crowd", "report", f"store={store.path}", "run=opposit-1"]) == 2
    assert "did you mean 'opposite-1'" in capsys.readouterr().err
