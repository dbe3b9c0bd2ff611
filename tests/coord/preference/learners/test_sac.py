"""The loop: phases, budget, resuming bit for bit in each of them, members that do not touch each other."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from coord.algos.ppo import Hooks
from coord.algos.ppo_gaussian import PPOContinuousConfig
from coord.algos.sac import SACConfig
from coord.errors import UserError
from coord.preference.config import PreferConfig
from coord.preference.labels import episodes
from coord.preference.labels.answerers import TeacherConfig
from coord.preference.labels.feedback import RUN_NAME, STORE_FILE, Feedback
from coord.preference.labels.queries import QueryConfig
from coord.preference.labels.store import Answer, LabelStore
from coord.preference.learners import prefppo, sac
from coord.preference.learners.check import check
from coord.preference.methods.method import name_of, named
from coord.preference.methods.mrn.config import MRNConfig
from coord.preference.methods.ours import OursConfig
from coord.preference.methods.pebble import PebbleConfig
from coord.preference.methods.qpa import QPAConfig
from coord.preference.methods.rune import RuneConfig
from coord.preference.methods.surf import SurfConfig
from coord.preference.methods.true_reward import TrueRewardConfig
from coord.preference.reward.annotators import MixtureConfig, ReliabilityConfig
from coord.preference.reward.model import RewardConfig
from coord.run.training import TrainingJob
from tests.coord.preference.fake_task import PointEnv, point_envs, small
from tests.coord.preference.jobs import assert_same, finish, until

pytestmark = pytest.mark.usefixtures("one_thread")

CROPS = RewardConfig(ensemble=2, hidden=(16,), batch_size=8, train_amount=5, crops=2, crop_min=4, crop_max=6)
OWN_UNITS = dataclasses.replace(small().reward, scale_inputs=True, normalise=True, reset=True)
ON_POLICY = QueryConfig(length=6, selector="onpolicy", last_episodes=3)
VARIANTS: dict[str, PreferConfig] = {
    "sac": small(method=TrueRewardConfig(), labels=0, unsup_steps=0),
    "pebble": small(),
    "pebble with extra steps": small(method=PebbleConfig(extra_every=7)),
    "surf": small(
        method=SurfConfig(unlabelled_per_label=3),
        reward=dataclasses.replace(CROPS, crop_margin=1, unlabelled_ratio=2, stop_accuracy=1.0),
    ),
    "rune": small(method=RuneConfig()),
    "mrn released": small(method=MRNConfig(form="released", every=7)),
    "mrn corrected": small(method=MRNConfig(form="corrected", every=7)),
    "qpa": small(method=QPAConfig(recent_episodes=2), query=ON_POLICY, reward=CROPS),
    "ours": small(
        method=OursConfig(recent_episodes=2, meta_every=9, reset_critic=True),
        query=ON_POLICY,
        reward=OWN_UNITS,
        algo=SACConfig(hidden=(16, 16), batch_size=16, critic_layer_norm=True),
        updates_per_step=0.5,
        envs_per_member=2,
    ),
    "prefppo": small(
        method=PPOContinuousConfig(rollout_len=5, batch_size=8, num_epochs=2, pretraining_epochs=3, hidden=(16,)),
        envs_per_member=2,
    ),
}


def build(cfg: PreferConfig, folder: Path) -> tuple[TrainingJob, Any]:
    """A run and its job; the loop's module."""
    method = named(name_of(cfg.method))
    loop: Any = prefppo if method.on_policy else sac
    envs = point_envs(cfg)
    check(cfg, envs.train, learns_reward=method.learns_reward)
    run = loop.build(cfg, method, envs)
    run.open(folder)
    return TrainingJob(folder, "test", "", run, envs, train=loop.train), loop


# ------------------------------------------------------------------------------------------------- resuming

# Steps in the phases: random, pretraining, just after the switch, between sessions, after the budget.
STOPS = {"random": 10, "pretraining": 31, "just switched": 41, "feedback": 55, "after the budget": 80}
EVERYWHERE = ("pebble", "mrn corrected")  # the other methods share the loop with these


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, torch.Tensor]]:
    """The end of an unbroken run of each variant."""

    @cache
    def end(name: str) -> dict[str, torch.Tensor]:
        return finish(build(VARIANTS[name], tmp_path_factory.mktemp("whole"))[0])

    return end


@pytest.mark.parametrize(
    ("name", "stop"),
    [(name, stop) for name in VARIANTS for stop in (STOPS.values() if name in EVERYWHERE else [STOPS["feedback"]])],
)
def test_resumed_in_any_phase_ends_bit_for_bit_the_same(
    name: str, stop: int, whole: Callable[[str], dict[str, torch.Tensor]], tmp_path: Path
) -> None:
    first, _ = build(VARIANTS[name], tmp_path)
    first.train(first.state, first.env, Hooks(should_stop=lambda run: run.env_step >= stop))
    assert stop <= first.state.env_step < first.state.cfg.total_steps
    first.save()
    second, _ = build(VARIANTS[name], tmp_path)
    assert second.load() == first.state.env_step
    assert_same(finish(second), whole(name))


@pytest.mark.parametrize("name", ["pebble", "mrn corrected"])
def test_killed_within_a_session_its_queries_and_answers_are_those_of_an_unbroken_run(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kill comes after the answers are stored and before anything learned from them is."""
    cfg = dataclasses.replace(VARIANTS[name], teacher=TeacherConfig(kind="mistake", eps_mistake=0.4))
    (tmp_path / "whole").mkdir()
    (tmp_path / "parts").mkdir()
    whole = finish(build(cfg, tmp_path / "whole")[0])
    first, _ = build(cfg, tmp_path / "parts")
    first.train(first.state, first.env, Hooks(should_stop=lambda run: run.env_step >= 45))
    first.save()
    with monkeypatch.context() as patch:
        patch.setattr(Feedback, "learn", lambda self: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            finish(first)
    stored = len(LabelStore(tmp_path / "parts" / STORE_FILE).answers())
    assert stored == 2 * 4 * 2  # members x queries x sessions: the second session is in the store
    second, _ = build(cfg, tmp_path / "parts")
    assert second.load() is not None
    assert second.state.feedback.asked == 4
    assert second.state.feedback.labels[0].size == 4  # not those of the session that never ended
    assert_same(finish(second), whole)
    stores = [LabelStore(tmp_path / side / STORE_FILE) for side in ("whole", "parts")]
    unbroken, resumed = ([row["target"] for row in store.answers()] for store in stores)
    assert unbroken == resumed


def test_when_checkpoints_are_taken_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    quiet, _ = build(small(), tmp_path / "a")
    saved, _ = build(small(), tmp_path / "b")
    assert_same(finish(quiet), finish(saved, Hooks(on_update=lambda run, metrics: saved.save())))


# ---------------------------------------------------------------------------------------------- the schedule


def rows_of(cfg: PreferConfig, folder: Path) -> tuple[Any, list[dict[str, Any]]]:
    """A finished run, and what it logged."""
    job, _ = build(cfg, folder)
    rows: list[dict[str, Any]] = []

    def keep(run: Any, metrics: dict[str, Any]) -> None:
        rows.append({"step": run.env_step, "phase": run.phase, **metrics})

    finish(job, Hooks(on_update=keep))
    return job.state, rows


def test_phases_follow_each_other_and_the_budget_is_spent_exactly(tmp_path: Path) -> None:
    _, rows = rows_of(small(), tmp_path)
    phases = list(dict.fromkeys(row["phase"] for row in rows))
    assert phases == ["random actions", "pretraining", "feedback", "after the budget"]
    sessions = [row["step"] for row in rows if "reward/accuracy" in row]
    assert sessions == [45, 55, 65]  # held at 40, 50, 60
    assert [row["reward/asked"].tolist() for row in rows if row["step"] in sessions] == [[4, 4], [8, 8], [10, 10]]
    store = LabelStore(tmp_path / STORE_FILE)
    for m in range(2):
        assert store.counts(RUN_NAME, m).asked == store.counts(RUN_NAME, m).labelled == 10
        assert [record.session for record in store.queries(RUN_NAME, m)] == [0] * 4 + [1] * 4 + [2] * 2
    evaluated = [row["step"] for row in rows if "eval/return" in row]
    assert evaluated == [25, 50, 75, 100]


@pytest.mark.parametrize("reward", [small().reward, OWN_UNITS])
def test_every_reward_of_the_replay_is_the_models_own_prediction(reward: RewardConfig, tmp_path: Path) -> None:
    run, _ = rows_of(small(reward=reward), tmp_path)
    batch = run.buffer.sample(64, [torch.Generator().manual_seed(m) for m in range(2)])
    assert torch.allclose(batch.rew, run.feedback.reward(batch.obs, batch.act), atol=1e-6)
    assert run.buffer.size == 100


def test_true_reward_is_learned_without_any_query(tmp_path: Path) -> None:
    run, rows = rows_of(VARIANTS["sac"], tmp_path)
    assert run.feedback is None
    assert not (tmp_path / STORE_FILE).exists()
    batch = run.buffer.sample(64, [torch.Generator().manual_seed(m) for m in range(2)])
    distance = batch.next_obs[..., :2].norm(dim=-1)
    assert torch.allclose(batch.rew, 1 - distance, atol=1e-5)
    assert not any(key.startswith("reward/") for row in rows for key in row)


def test_skipped_queries_count_and_are_reported_apart(tmp_path: Path) -> None:
    cfg = small(teacher=TeacherConfig(kind="skip", eps_skip=1.0))
    _, rows = rows_of(cfg, tmp_path)
    last = rows[-1]
    assert last["reward/asked"].tolist() == [10, 10]
    assert (last["reward/labels"] + last["reward/skipped"]).tolist() == [10, 10]
    store = LabelStore(tmp_path / STORE_FILE)
    assert [store.counts(RUN_NAME, m).skipped for m in range(2)] == last["reward/skipped"].tolist()
    assert last["reward/skipped"].sum() > 0


def test_a_member_is_the_same_alone_and_among_others(tmp_path: Path) -> None:
    """Up to the order of sums in matrix products of another batch size; queries and random actions are exact."""
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    one, _ = build(small(members=1, total_steps=60), tmp_path / "one")
    two, _ = build(small(members=2, total_steps=60), tmp_path / "two")
    alone, among = finish(one), finish(two)
    mine = {name: tensor for name, tensor in alone.items() if name.startswith("sac.actor.")}
    assert len(mine) == 6
    for name, tensor in mine.items():
        assert torch.allclose(tensor[0], among[name][0], atol=1e-4), name
        assert not torch.allclose(among[name][0], among[name][1], atol=1e-3) or "bias" in name, name
    rows, theirs = alone["buffer.rows"][0, :20], among["buffer.rows"][0, :20]
    rew = PointEnv.obs_dim + PointEnv.act_dim  # the column of predicted rewards, which come from such products
    torch.testing.assert_close(rows[:, rew], theirs[:, rew], rtol=0, atol=1e-6)
    others = torch.arange(rows.shape[1]) != rew
    assert torch.equal(rows[:, others], theirs[:, others])


@pytest.mark.parametrize(("rate", "updates"), [(0.5, 40), (0.25, 20), (2.0, 160)])
def test_updates_per_step(rate: float, updates: int, tmp_path: Path) -> None:
    run, _ = rows_of(small(updates_per_step=rate), tmp_path)
    assert run.updates == updates + run.cfg.reset_updates
    assert run.sac.update_step == run.updates


# ---------------------------------------------------------------------------------------------- the methods


def test_mrn_takes_its_steps_when_due_and_goes_on_after_the_budget_only_in_the_corrected_form(tmp_path: Path) -> None:
    found = {}
    for name in ("mrn released", "mrn corrected"):
        (tmp_path / name).mkdir()
        _, rows = rows_of(VARIANTS[name], tmp_path / name)
        found[name] = [row["step"] for row in rows if "reward/meta_grad_norm" in row]
        assert min(found[name]) > 40
    assert max(found["mrn released"]) <= 65
    assert max(found["mrn corrected"]) == 100


def test_the_control_takes_extra_supervised_steps_and_then_is_not_pebble(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    plain, _ = rows_of(small(), tmp_path / "a")
    control, _ = rows_of(VARIANTS["pebble with extra steps"], tmp_path / "b")
    extra = control.feedback.model.adam.count - plain.feedback.model.adam.count
    assert not torch.equal(plain.feedback.model.flat, control.feedback.model.flat)
    assert extra.min() > 0


def test_bonus_of_rune_is_the_deviation_of_the_ensemble(tmp_path: Path) -> None:
    run, _ = rows_of(VARIANTS["rune"], tmp_path)
    batch = run.buffer.sample(16, run.sac.gens)
    pred = run.feedback.model.predict(batch.obs, batch.act)
    by_hand = 0.05 * (1 - 1e-5) ** 100 * ((pred - pred.mean(1, keepdim=True)) ** 2).mean(1).sqrt()
    assert run.method.bonus is not None
    assert torch.allclose(run.method.bonus(run, batch), by_hand, atol=1e-6)
    assert by_hand.max() > 0


def test_episodes_of_queries_can_be_played_again(tmp_path: Path) -> None:
    rows_of(small(), tmp_path)
    checked = 0
    store = LabelStore(tmp_path / STORE_FILE)
    for record in store.queries(RUN_NAME, 1):
        kept = episodes.load(tmp_path, record.session)
        stored = store.segments([record.id])
        for side in range(2):
            played = kept[1, record.episode[side]]
            start = record.start[side]
            assert np.array_equal(played.act[start : start + 6], stored.act[0, side])
            begin = np.random.default_rng(played.seed).uniform(-1, 1, 2) + 0.1 * played.act[:start].sum(0)
            assert np.allclose(begin, stored.obs[0, side, 0, :2], atol=1e-4)
            checked += 1
    assert checked == 20


# -------------------------------------------------------------------------------------------------- people


def people(**changes: Any) -> PreferConfig:
    return small(**{"answerer": "human", "answers_every": 5, "min_answers": 2, "ask_ahead": 3, **changes})


def answer_all(folder: Path, *names: str, target: float = 1.0) -> int:
    """Everybody answers whatever waits for them; the number of answers."""
    store, said = LabelStore(folder / STORE_FILE), 0
    for name in names:
        while (record := store.claim(name, run=RUN_NAME)) is not None:
            said += store.add_answer(Answer(query=record.id, annotator=name, target=target))
    store.close()
    return said


@pytest.mark.parametrize("name", ["pebble", "prefppo"])
def test_pretraining_goes_on_until_people_have_begun_and_then_what_they_say_is_learned(
    name: str, tmp_path: Path
) -> None:
    method = VARIANTS[name].method
    job, _ = build(people(method=method, envs_per_member=VARIANTS[name].envs_per_member), tmp_path)
    until(job, 60)
    run = job.state
    fresh = run.feedback.model.flat.clone()
    assert run.phase == "pretraining, waiting for answers"
    assert run.feedback.report()["reward/labels"].tolist() == [0, 0]
    assert run.feedback.asked == 4  # those of the first session wait, so nothing was added
    assert answer_all(tmp_path, "p1") == 8
    until(job, 75)
    assert run.switched
    assert not torch.equal(run.feedback.model.flat, fresh)
    assert run.feedback.report()["reward/labels"].tolist() == [4, 4]
    store = LabelStore(tmp_path / STORE_FILE)
    assert min(store.counts(RUN_NAME, m).pending for m in range(2)) >= 3  # asked ahead
    finish(job)
    assert run.feedback.asked <= 10


def test_answers_that_come_between_sessions_are_learned_at_the_next_look(tmp_path: Path) -> None:
    job, _ = build(people(session_every=1000), tmp_path)
    until(job, 45)
    answer_all(tmp_path, "p1")
    until(job, 51)
    run, learned = job.state, job.state.feedback.learned
    assert learned == 8
    before = run.feedback.model.flat.clone()
    until(job, 60)
    assert torch.equal(run.feedback.model.flat, before)  # nothing new: nothing is learned again
    answer_all(tmp_path, "p1", target=0.0)
    until(job, 66)
    assert not torch.equal(run.feedback.model.flat, before)
    batch = run.buffer.sample(32, run.sac.gens)
    assert torch.allclose(batch.rew, run.feedback.reward(batch.obs, batch.act), atol=1e-6)
    assert run.feedback.sessions > 1  # looks ask, too


def test_each_query_goes_to_as_many_people_as_asked_and_labels_are_counted_apart(tmp_path: Path) -> None:
    job, _ = build(people(annotators_per_query=2), tmp_path)
    until(job, 45)
    assert answer_all(tmp_path, "p1", "p2", "p3") == 16
    until(job, 51)
    found = job.state.feedback.report()
    assert found["reward/labels"].tolist() == [8, 8]
    assert (found["reward/asked"] - found["reward/skipped"]).tolist() == [4, 4]


def test_a_run_with_people_that_was_killed_goes_on_with_what_they_said_meanwhile(tmp_path: Path) -> None:
    first, _ = build(people(), tmp_path)
    until(first, 45)
    first.save()
    answer_all(tmp_path, "p1")
    until(first, 60)  # asks and learns more, which no checkpoint knows
    asked = first.state.feedback.asked
    assert asked > 4
    answer_all(tmp_path, "p1")
    second, _ = build(people(), tmp_path)
    assert second.load() == 45
    assert second.state.feedback.asked == asked
    finish(second)
    assert min(second.state.feedback.report()["reward/labels"]) >= asked
    store = LabelStore(tmp_path / STORE_FILE)
    for record in store.queries(RUN_NAME, 0):  # every query can still be shown
        assert (0, record.episode[0]) in episodes.load(tmp_path, record.session)
    unborn, _ = build(people(), tmp_path)  # killed before its first checkpoint
    assert unborn.state.feedback.asked == second.state.feedback.asked


def test_a_session_waits_for_people_as_long_as_configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    naps = []
    clock = iter(range(1000))
    fake = SimpleNamespace(sleep=naps.append, monotonic=lambda: float(next(clock)))
    monkeypatch.setattr("coord.preference.labels.feedback.time", fake)
    job, _ = build(people(answer_wait_s=5.0, answers_every=1000), tmp_path)
    until(job, 45)
    assert len(naps) == 4  # looks at 1, 2, 3 and 4 s


@pytest.mark.parametrize("crowd", [ReliabilityConfig(rounds=1), MixtureConfig(rounds=1, restarts=2)])
def test_a_crowd_is_part_of_the_run_and_resumed_with_it(crowd: Any, tmp_path: Path) -> None:
    """With a scripted teacher, so that both runs are the same bit for bit."""
    cfg = small(crowd=crowd, total_steps=70)
    (tmp_path / "whole").mkdir()
    (tmp_path / "parts").mkdir()
    whole = finish(build(cfg, tmp_path / "whole")[0])
    first, _ = build(cfg, tmp_path / "parts")
    until(first, 55)
    first.save()
    second, _ = build(cfg, tmp_path / "parts")
    second.load()
    assert_same(finish(second), whole)
    assert second.state.feedback.crowd.names == [["teacher:oracle"]] * 2


# ------------------------------------------------------------------------------------------------- refusals


def prepare(changes: dict[str, Any]) -> None:
    cfg = small(**changes)
    check(cfg, point_envs(cfg).train, learns_reward=named(name_of(cfg.method)).learns_reward)


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"labels": 3}, "labels=3 is less than one session asks for (session_labels=4)"),
        ({"reward": RewardConfig(ensemble=1, hidden=(8,))}, "query selector 'disagreement'"),
        ({"total_steps": 40}, "leaves no time"),
        ({"unsup_steps": 0, "seed_steps": 9}, "no episode of walker_walk (10 steps) is complete"),
        ({"query": QueryConfig(length=11)}, "does not fit an episode"),
        ({"answerer": "cat"}, "unknown answerer 'cat'"),
        ({"updates_per_step": 0.0}, "updates_per_step=0.0"),
    ],
)
def test_settings_that_do_not_fit_are_refused_in_one_line(changes: dict[str, Any], part: str) -> None:
    with pytest.raises(UserError) as error:
        prepare(changes)
    assert part in str(error.value)
    assert "\n" not in str(error.value)


# -------------------------------------------------------------------------------------------------- learning


@pytest.mark.learn
@pytest.mark.parametrize("name", ["sac", "pebble", "mrn corrected"])
def test_learns_to_stay_near_the_origin(name: str, tmp_path: Path) -> None:
    """SAC on the true reward reaches about 7 per episode of 10 steps."""
    longer: dict[str, Any] = {"total_steps": 2500, "seed_steps": 100, "unsup_steps": 0 if name == "sac" else 200}
    longer |= {"labels": 60, "session_labels": 12, "session_every": 100, "eval_every": 2500, "eval_episodes": 20}
    cfg = dataclasses.replace(VARIANTS[name], **longer)
    algo = dataclasses.replace(cfg.algo, hidden=(32, 32), batch_size=32, lr=3e-3)
    reward = dataclasses.replace(cfg.reward, lr=3e-3, train_amount=50)
    _, rows = rows_of(dataclasses.replace(cfg, algo=algo, reward=reward), tmp_path)
    assert min(rows[-1]["eval/return"]) > 5
