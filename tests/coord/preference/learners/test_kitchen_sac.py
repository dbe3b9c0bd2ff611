"""SAC in kitchens: phases, budget, exact resume, Meta-Reward-Net with six actions, and the ego as an agent."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from coord.agents.policy import FrozenPolicy
from coord.agents.views import KitchenView
from coord.algos.sac import SACConfig
from coord.errors import UserError
from coord.overcooked import OvercookedVectorEnv
from coord.preference.config import PreferConfig
from coord.preference.labels import episodes
from coord.preference.labels.answerers import TeacherConfig
from coord.preference.labels.feedback import RUN_NAME, STORE_FILE, Feedback
from coord.preference.labels.queries import QueryConfig
from coord.preference.labels.store import LabelStore
from coord.preference.learners import sac
from coord.preference.methods.mrn import mrn
from coord.preference.methods.mrn.config import MRNConfig
from coord.preference.methods.pebble import PebbleConfig
from coord.preference.methods.true_reward import TrueRewardConfig
from coord.preference.reward import nets as rn
from coord.preference.reward.model import RewardConfig, RewardModel
from coord.preference.tasks.films import frames_of_segment
from coord.preference.tasks.kitchen_env import KitchenTaskEnv
from coord.run.training import TrainingJob
from tests.coord.preference.jobs import assert_same, finish, kitchen_job, until

pytestmark = pytest.mark.usefixtures("one_thread")

STOPS = {"random": 40, "pretraining": 124, "just switched": 164, "feedback": 280, "after the budget": 400}


def small(**changes: Any) -> PreferConfig:
    """All phases in 480 steps: random actions until 80, pretraining until 160, sessions at 160, 240 and 320."""
    parts: dict[str, Any] = {
        "method": PebbleConfig(),
        "algo": SACConfig(hidden=(64, 16), batch_size=16, lr=1e-3, target_entropy_share=0.5),
        "reward": RewardConfig(ensemble=2, hidden=(8,), batch_size=8, train_amount=5),
        "query": QueryConfig(length=6, candidates=4),
        "teacher": TeacherConfig(wants="utility", weights={"movement": 1.0, "collision": -2.0}, ties="equal"),
        "env": "overcooked",
        "layout": "cramped_room",
        "horizon": 20,
        "members": 2,
        "envs_per_member": 4,
        "total_steps": 480,
        "seed_steps": 80,
        "unsup_steps": 80,
        "labels": 10,
        "session_labels": 4,
        "session_every": 80,
        "updates_per_step": 0.25,
        "reset_updates": 3,
        "eval_every": 240,
        "eval_episodes": 4,
        "log_every": 40,
    }
    return PreferConfig(**{**parts, **changes})


VARIANTS: dict[str, PreferConfig] = {
    "pebble": small(),
    "mrn": small(method=MRNConfig(every=40, outer_batch=8)),
    "mrn, the partner seen": small(method=MRNConfig(every=40, score="segment"), reward_sees_partner=True),
    "sac": small(method=TrueRewardConfig(), labels=0, unsup_steps=0),
}


def build(cfg: PreferConfig, folder: Path) -> TrainingJob:
    return kitchen_job(sac, cfg, folder)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, torch.Tensor]]:
    """The end of an unbroken run of each variant."""

    @cache
    def end(name: str) -> dict[str, torch.Tensor]:
        return finish(build(VARIANTS[name], tmp_path_factory.mktemp("whole")))

    return end


def test_without_labels_the_pretraining_ends_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the replay, which nothing that is learned changes, is not relabelled at every step."""
    held: list[int] = []
    session = Feedback.session
    monkeypatch.setattr(Feedback, "session", lambda self, step: held.append(step) or session(self, step))
    job = build(small(labels=0), tmp_path)
    finish(job)
    assert held == [160]
    assert job.state.switched


@pytest.mark.parametrize(
    ("name", "stop"),
    [(n, s) for n in VARIANTS for s in (STOPS.values() if n.startswith("mrn,") else [STOPS["feedback"]])],
)
def test_resumed_in_any_phase_ends_bit_for_bit_the_same(
    name: str, stop: int, whole: Callable[[str], dict[str, torch.Tensor]], tmp_path: Path
) -> None:
    first = build(VARIANTS[name], tmp_path)
    until(first, stop)
    assert stop <= first.state.env_step < 480
    first.save()
    second = build(VARIANTS[name], tmp_path)
    assert second.load() == first.state.env_step
    assert_same(finish(second), whole(name))


def targets(folder: Path) -> dict[tuple[int, int], float]:
    """What was answered, by member and number of the query."""
    return {(row["member"], row["number"]): row["target"] for row in LabelStore(folder / STORE_FILE).answers()}


def test_the_budget_is_spent_exactly_and_a_kill_loses_no_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: Callable[[str], dict[str, torch.Tensor]]
) -> None:
    """The kill comes after the answers of the second session are stored and before anything is learned from them."""
    first = build(VARIANTS["mrn"], tmp_path)
    until(first, 200)
    first.save()
    with monkeypatch.context() as patch:
        patch.setattr(Feedback, "learn", lambda self: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            finish(first)
    answered = targets(tmp_path)
    assert len(answered) == 2 * 4 * 2  # members x queries x sessions
    second = build(VARIANTS["mrn"], tmp_path)
    second.load()
    assert_same(finish(second), whole("mrn"))
    store = LabelStore(tmp_path / STORE_FILE)
    assert [store.counts(RUN_NAME, m).asked for m in range(2)] == [10, 10]
    after = targets(tmp_path)
    assert len(after) == 20
    assert {key: after[key] for key in answered} == answered


def test_without_the_meta_gradient_it_is_pebble_bit_for_bit(
    whole: Callable[[str], dict[str, torch.Tensor]], tmp_path: Path
) -> None:
    """meta_scale=0 with a gradient that stands alone (supervised=false) and moments of its own (optimiser=adam)."""
    off = MRNConfig(every=40, outer_batch=8, meta_scale=0.0, supervised=False, optimiser="adam")
    job = build(small(method=off), tmp_path)
    ours = {k: v for k, v in finish(job).items() if not k.startswith(("extra.", "tally.", "counters"))}
    theirs = {k: v for k, v in whole("pebble").items() if not k.startswith(("tally.", "counters"))}
    assert isinstance(job.state, sac.SACRun)
    assert job.state.last_extra == 440  # its steps were taken
    assert_same(ours, theirs)


def test_with_it_every_parameter_of_the_reward_model_learns_from_it(tmp_path: Path) -> None:
    job = build(VARIANTS["mrn, the partner seen"], tmp_path)
    run = until(job, 280)
    bilevel, feedback, found = run.extra, run.feedback, []
    assert isinstance(bilevel, mrn.MRN)
    assert feedback is not None

    def keep(model: RewardModel, meta: torch.Tensor, labels: mrn.LabelBatch) -> dict[str, torch.Tensor]:
        found.append(meta.clone())
        return {}

    bilevel.move = keep  # type: ignore[method-assign]
    labels = bilevel.draw_labels(feedback.labels, feedback.newest, feedback.judged)
    assert labels is not None
    batch = run.buffer.sample(4096, run.sac.gens)
    assert batch.obs.shape[-1] == run.sac.obs_dim + 6
    bilevel.step(run.sac, feedback.model, batch, labels)
    views = rn.views(found[0].view_as(feedback.model.flat), feedback.model._table)
    ever = torch.cat([batch.obs, torch.nn.functional.one_hot(batch.act, 6)], -1).flatten(0, 1).any(0)
    for name, gradient in views.items():
        reached = gradient.abs().sum((0, 1)) > 0
        if gradient.shape[-1] == len(ever):  # the first layer learns of every fact that occurred
            reached = reached[:, ever]
        assert reached.all(), name


def test_queries_are_of_the_games_they_name(tmp_path: Path, whole: Callable[[str], dict[str, torch.Tensor]]) -> None:
    job = build(VARIANTS["pebble"], tmp_path)
    until(job, 200)
    store, recorded = LabelStore(tmp_path / STORE_FILE), episodes.load(tmp_path, 0)
    for record in store.queries(RUN_NAME, 1):
        query = store.segments([record.id])
        for side in range(2):
            played = recorded[1, record.episode[side]]
            start, obs = int(query.start[0, side]), query.obs[0, side, 0]
            film = frames_of_segment(record.provenance, played, start, record.length, 150, expected=obs)
            assert film.shape[0] == record.length
            # The ego's own action stands in the joint one.
            assert (played.act[start : start + 6, played.seed] == query.act[0, side].argmax(-1)).all()


def test_the_ego_is_an_agent_that_plays_as_its_actor(tmp_path: Path) -> None:
    job = build(VARIANTS["pebble"], tmp_path)
    run = until(job, 200)
    env = job.env.train  # type: ignore[attr-defined]
    assert isinstance(env, KitchenTaskEnv)
    nets = sac.nets(run, env)
    assert [net.members for net in nets] == [1, 1]
    logits, _ = run.sac.learners["actor"].forward(env.observe())
    for m, net in enumerate(nets):
        theirs, value = net(env.env.observe()[m : m + 1])
        assert torch.allclose(theirs[0], logits[m], atol=1e-5)
        assert (value == 0).all()
    agent = FrozenPolicy(nets[0], env.kitchens.spec, agent_id="ego")
    kitchens = OvercookedVectorEnv("cramped_room", 2)
    agent.start(2, 2, 0)
    rows = torch.arange(2).numpy()
    assert agent.act(KitchenView(kitchens), rows, rows).shape == (2,)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"algo": SACConfig(hidden=(40, 16), batch_size=16)}, "multiple of 64"),
        ({"layout": "cramped_rom"}, "cramped_room"),
        ({"rules": "clasic"}, "classic"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_made(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        build(dataclasses.replace(small(), **changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.learn
def test_what_only_the_teacher_wants_is_learned_from_its_answers(tmp_path: Path) -> None:
    """A teacher who likes cooks that stand still; a random ego stays in a sixth of 20 ticks."""
    cfg = small(
        teacher=TeacherConfig(wants="utility", weights={"stay": 1.0}, task_weight=0.0, ties="equal"),
        members=1,
        envs_per_member=8,
        total_steps=6400,
        labels=60,
        session_labels=20,
        session_every=640,
        algo=SACConfig(hidden=(64, 32), batch_size=64, lr=3e-3, alpha_lr=3e-3, target_entropy_share=0.2, gamma=0.9),
    )
    job = build(cfg, tmp_path)
    run = until(job, 6400)
    score = sac.evaluate(sac.policy(run), job.env.evaluation)["eval/teacher_score"]  # type: ignore[attr-defined]
    assert score[0] > 8
