"""PPO in kitchens: phases, budget, exact resume, whose rewards a rollout gets, and the bilevel step in its place."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from coord.algos.ppo import Hooks, PPOConfig
from coord.algos.sac import SACConfig
from coord.errors import UserError
from coord.nets.population import Arch, PopulationNet
from coord.overcooked import OvercookedVectorEnv
from coord.preference.config import PreferConfig
from coord.preference.labels.answerers import TeacherConfig
from coord.preference.labels.feedback import RUN_NAME
from coord.preference.labels.queries import QueryConfig
from coord.preference.learners import kitchen_ppo as kp
from coord.preference.learners.sac import evaluate
from coord.preference.methods.mrn.config import MRNConfig
from coord.preference.methods.pebble import PebbleConfig
from coord.preference.methods.rune import RuneConfig
from coord.preference.methods.surf import SurfConfig
from coord.preference.methods.true_reward import OracleConfig, TrueRewardConfig
from coord.preference.reward.model import RewardConfig
from coord.preference.tasks.task_env import TaskEnvs
from coord.run.training import TrainingJob
from tests.coord.preference.jobs import assert_same, copied, finish, kitchen_job, until

pytestmark = pytest.mark.usefixtures("one_thread")

PPO = PPOConfig(rollout_len=10, num_epochs=1, num_minibatches=2, hidden=(64, 16))
OFF = {"supervised": False, "compare": False, "meta_scale": 0.0}


def small(**changes: Any) -> PreferConfig:
    """All phases in 640 steps: pretraining until 160, sessions at 160, 240 and 320; rollouts of 40 steps."""
    parts: dict[str, Any] = {
        "method": PebbleConfig(),
        "learner": "ppo",
        "algo": PPO,
        "reward": RewardConfig(ensemble=2, hidden=(8,), batch_size=8, train_amount=5),
        "query": QueryConfig(length=6, candidates=4),
        "teacher": TeacherConfig(wants="shaped"),
        "env": "overcooked",
        "layout": "cramped_room",
        "horizon": 20,
        "members": 2,
        "envs_per_member": 4,
        "total_steps": 640,
        "seed_steps": 40,
        "unsup_steps": 120,
        "labels": 10,
        "session_labels": 4,
        "session_every": 80,
        "eval_every": 160,
        "eval_episodes": 2,
        "log_every": 40,
    }
    return PreferConfig(**{**parts, **changes})


def mrn(**changes: Any) -> MRNConfig:
    return MRNConfig(every=80, score="segment", outer_batch=8, **changes)


VARIANTS: dict[str, PreferConfig] = {
    "pebble": small(),
    "mrn": small(method=mrn()),
    "mrn released": small(method=mrn(form="released")),
    "surf": small(
        method=SurfConfig(unlabelled_per_label=2),
        reward=RewardConfig(
            ensemble=2, hidden=(8,), batch_size=8, train_amount=5, crops=1, crop_min=4, crop_max=6, crop_margin=1,
            unlabelled_ratio=1, pseudo_threshold=0.6,
        ),
    ),
    "true_reward": small(method=OracleConfig(), labels=0),
    "mrn that sees the partner": small(method=mrn(), reward_sees_partner=True),
    "mrn that begins as another": small(method=mrn(), init_from="others", value_updates=6),
    "true_reward that begins as another": small(method=OracleConfig(), labels=0, init_from="others", value_updates=6),
}  # fmt: skip


def build(cfg: PreferConfig, folder: Path) -> TrainingJob:
    return kitchen_job(kp, cfg, folder, **({"start": others()} if cfg.init_from else {}))


def others() -> PopulationNet:
    """Two policies to begin as."""
    table = OvercookedVectorEnv("cramped_room", 1, rules="classic").spec.vocab_size
    arch = Arch(kind="mlp_index", inputs=table, hidden=PPO.hidden)
    return PopulationNet.create(arch, [torch.Generator().manual_seed(seed) for seed in (5, 6)])


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, torch.Tensor]]:
    """The end of an unbroken run of each variant."""

    @cache
    def end(name: str) -> dict[str, torch.Tensor]:
        return finish(build(VARIANTS[name], tmp_path_factory.mktemp("whole")))

    return end


# ------------------------------------------------------------------------------------------------- resuming

STOPS = {"pretraining": 80, "just switched": 160, "feedback": 280, "after the budget": 480}


@pytest.mark.parametrize(
    ("name", "stop"),
    [*(("mrn", stop) for stop in STOPS.values()), *((name, 280) for name in VARIANTS if name != "mrn")],
)
def test_resumed_in_any_phase_ends_bit_for_bit_the_same(
    name: str, stop: int, whole: Callable[[str], dict[str, torch.Tensor]], tmp_path: Path
) -> None:
    first = build(VARIANTS[name], tmp_path)
    until(first, stop)
    assert stop <= first.state.env_step < first.state.cfg.total_steps
    first.save()
    second = build(VARIANTS[name], tmp_path)
    assert second.load() == first.state.env_step
    assert_same(finish(second), whole(name))


# --------------------------------------------------------------------------------------------- phases, budget


def test_phases_follow_each_other_and_the_budget_is_spent_exactly(tmp_path: Path) -> None:
    job, seen = build(VARIANTS["mrn"], tmp_path), []

    def on_update(run: kp.Run, metrics: dict[str, Any]) -> None:
        seen.append((run.env_step, run.phase, int(metrics["reward/asked"][0]), metrics))

    finish(job, Hooks(on_update))
    phases = [phase for _, phase, _, _ in seen]
    assert list(dict.fromkeys(phases)) == ["pretraining", "feedback", "after the budget"]
    assert [step for step, _, _, _ in seen] == list(range(40, 641, 40))
    asked = {step: count for step, _, count, _ in seen}
    assert (asked[120], asked[160], asked[240], asked[320], asked[640]) == (0, 4, 8, 10, 10)
    store = job.state.feedback.store
    assert [store.counts(RUN_NAME, m).asked for m in range(2)] == [10, 10]
    steps = [step for step, _, _, metrics in seen if "reward/outer_loss" in metrics]
    assert steps == [240, 320, 400, 480, 560, 640]  # every 80 steps, from the first rollout with labels on
    assert all(
        metrics["reward/meta_grad_norm"].min() > 0 for _, _, _, metrics in seen if "reward/outer_loss" in metrics
    )
    assert [step for step, _, _, metrics in seen if "eval/return" in metrics] == [160, 320, 480, 640]


def test_the_true_reward_is_the_teachers_and_asks_nothing(tmp_path: Path) -> None:
    job = build(VARIANTS["true_reward"], tmp_path)
    run, envs, paid = job.state, job.env, []
    rows = kp.Rows(envs.train, run.ppo.net.obs_kind, lambda obs, act, done: paid.append(done.judged))
    roll = kp.allocate(rows, PPO.rollout_len)
    kp.collect(run.ppo.net, rows, run.ppo.gens, roll, lambda _: None)
    before = roll.rew.clone()
    kp.pay(run, roll, torch.stack(rows.seen), 0)
    assert torch.equal(roll.rew, before)
    assert torch.equal(roll.rew, torch.stack(paid))
    assert run.feedback is None
    assert run.open(tmp_path) is None


# ---------------------------------------------------------------------------------------------------- rewards


def _rollout(run: kp.Run, envs: TaskEnvs) -> tuple[kp.Rollout, torch.Tensor]:
    rows = kp.Rows(envs.train, run.ppo.net.obs_kind, kp.watch(run))
    roll = kp.allocate(rows, PPO.rollout_len)
    kp.collect(run.ppo.net, rows, run.ppo.gens, roll, lambda _: None)
    return roll, torch.stack(rows.seen)


def test_a_rollout_is_paid_by_the_reward_model_of_its_time_without_shaping(tmp_path: Path) -> None:
    job = build(VARIANTS["pebble"], tmp_path)
    run = until(job, 160)
    roll, obs = _rollout(run, job.env)
    kp.pay(run, roll, obs, run.env_step)
    model, compared = run.feedback.model, 0
    raw = np.zeros(roll.rew.shape)
    for t, m, n in np.ndindex(*raw.shape):
        one_hot = torch.nn.functional.one_hot(roll.act[t, m, n], 6).float()
        raw[t, m, n] = model.select(m).reward(obs[t, m, n][None, None], one_hot[None, None]).item()
        compared += 1
    expected = (raw - raw.mean((0, 2), keepdims=True)) / raw.std((0, 2), keepdims=True)
    assert compared == 10 * 2 * 4
    assert np.allclose(roll.rew, expected, atol=2e-2)
    assert roll.rew.std((0, 2), correction=0).numpy() == pytest.approx(1, abs=2e-2)
    assert not roll.shaped_rew.any()


def test_before_the_first_session_novelty_pays(tmp_path: Path) -> None:
    job = build(VARIANTS["pebble"], tmp_path)
    run = job.state
    roll, obs = _rollout(run, job.env)
    kp.pay(run, roll, obs, 0)
    assert bool((roll.rew >= 0).all())
    assert roll.rew.std() > 0
    assert not roll.shaped_rew.any()
    assert run.seen.shape[:2] == (2, 40)


def test_the_first_session_empties_the_value_head_and_nothing_else(tmp_path: Path) -> None:
    run = until(build(VARIANTS["pebble"], tmp_path), 120)
    before = {name: tensor.clone() for name, tensor in run.ppo.net.tensors().items()}
    assert before["head.weight"][:, kp.VALUE].any()
    kp.reset_value(run.ppo)
    for name, tensor in run.ppo.net.tensors().items():
        if not name.startswith("head."):
            assert torch.equal(tensor, before[name])
        else:
            assert torch.equal(tensor[:, : kp.VALUE], before[name][:, : kp.VALUE])
            assert not tensor[:, kp.VALUE].any()
            assert not run.ppo.optim.mean[name.replace(".", "_")][:, kp.VALUE].any()


# ------------------------------------------------------------------------------------------- the bilevel step


def test_without_the_meta_gradient_the_run_is_pebbles_bit_for_bit(
    whole: Callable[[str], dict[str, torch.Tensor]], tmp_path: Path
) -> None:
    off = finish(build(small(method=mrn(**OFF)), tmp_path))
    own = [name for name in off if name.startswith(("extra.", "tally."))]
    assert_same({name: off[name] for name in off if name not in own}, _without(whole("pebble"), "tally."))
    assert not torch.equal(whole("mrn")["ppo.net.table"], off["ppo.net.table"])


def _without(state: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in state.items() if not name.startswith(prefix)}


def test_every_parameter_of_the_reward_model_is_moved_by_the_meta_gradient_alone(tmp_path: Path) -> None:
    job = build(small(method=mrn(supervised=False, compare=False, optimiser="sgd", lr=1.0)), tmp_path)
    run = until(job, 160)
    roll, obs = _rollout(run, job.env)
    rew = kp.predicted(run, obs, roll.act)
    run.scale.update(rew)
    before = {name: tensor.clone() for name, tensor in run.feedback.model.params.items()}
    kp.bilevel(run, run.extra, roll, obs, rew)
    moved = {name: tensor != before[name] for name, tensor in run.feedback.model.params.items()}
    # A weight can only move if its fact held in the rollout, so the first layer is judged unit by unit.
    first = moved.pop("dense0.weight").any(-1)
    assert first.all()
    assert all(bool(part.all()) for part in moved.values())


# ---------------------------------------------------------------------------------------------- beginning as others


def policy_of(net: PopulationNet) -> dict[str, torch.Tensor]:
    """Everything that the action probabilities depend on."""
    heads = {name: tensor[:, : kp.VALUE] for name, tensor in net.tensors().items() if name.startswith("head.")}
    return copied(net.tensors() | heads)


def test_who_begins_as_another_moves_when_answers_and_a_value_are_there(tmp_path: Path) -> None:
    """Sessions from step 160 on; then six rollouts of 40 steps teach the value alone."""
    job = build(VARIANTS["mrn that begins as another"], tmp_path)
    assert_same(policy_of(job.state.ppo.net), policy_of(others()))
    run = until(job, 160)
    assert (run.switched, run.ppo.update_step) == (True, 0)
    assert not run.ppo.net.tensors()["head.weight"][:, kp.VALUE].any()
    run = until(job, 400)
    assert run.ppo.update_step == 6
    assert_same(policy_of(run.ppo.net), policy_of(others()))
    assert bool(run.ppo.net.tensors()["head.weight"][:, kp.VALUE].any(-1).all())
    run = until(job, 440)
    assert all(not torch.equal(new, policy_of(others())[name]) for name, new in policy_of(run.ppo.net).items())


def test_who_begins_as_another_and_asks_nobody_stays_it(tmp_path: Path) -> None:
    end = finish(build(small(init_from="others", labels=0), tmp_path))
    net = {name.removeprefix("ppo.net."): tensor for name, tensor in end.items() if name.startswith("ppo.net.")}
    for name, tensor in policy_of(others()).items():
        assert torch.equal(net[name][:, : kp.VALUE] if name.startswith("head.") else net[name], tensor), name


def test_only_what_fits_can_be_begun_as(tmp_path: Path) -> None:
    said = "init_from=others is mlp_index of widths [64, 16], this run's network mlp_index of widths [64]"
    with pytest.raises(UserError, match=re.escape(said)):
        build(small(init_from="others", algo=dataclasses.replace(PPO, hidden=(64,))), tmp_path)


# ---------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"method": TrueRewardConfig()}, "true_reward"),
        ({"method": RuneConfig()}, "mrn, pebble, surf, true_reward"),
        ({"method": PebbleConfig(extra_every=7)}, "meta_scale=0"),
        ({"algo": dataclasses.replace(PPO, total_steps=5)}, "total_steps"),
        ({"algo": dataclasses.replace(PPO, num_envs=5)}, "envs_per_member"),
        ({"algo": SACConfig()}, "learner="),
        ({"method": mrn(), "algo": dataclasses.replace(PPO, network="mlp_features")}, "mlp_index"),
        ({"unsup_steps": 0}, "no episode"),
    ],
)
def test_settings_that_do_not_fit_are_refused_in_one_line(changes: dict[str, Any], part: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        build(small(**changes), tmp_path)
    assert part in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.learn
def test_learns_what_the_teacher_wants_and_no_reward_says(tmp_path: Path) -> None:
    """A teacher who likes onions put down and taken again: 1.4 points per game at first, 51 after 32 000 steps."""
    juggling = {"put_onion_on_counter": 1.0, "pick_onion_from_counter": 1.0}
    cfg = small(
        method=MRNConfig(every=6400, score="segment"),
        algo=PPOConfig(rollout_len=50, num_minibatches=4, ent_horizon=64_000, rew_scale=0.05),
        reward=RewardConfig(hidden=(64, 64), lr=1e-3, train_amount=40),
        query=QueryConfig(length=25),
        teacher=TeacherConfig(wants="utility", weights=juggling, task_weight=0.0, ties="equal"),
        members=1,
        horizon=100,
        envs_per_member=32,
        seed_steps=0,
        unsup_steps=3200,
        total_steps=40_000,
        labels=300,
        session_labels=50,
        session_every=6400,
        eval_every=100_000,
        eval_episodes=32,
        log_every=100_000,
    )
    job, last = build(cfg, tmp_path), {}
    test = job.env.evaluation
    before = evaluate(kp.policy(job.state, test), test)["eval/teacher_score"][0]
    finish(job, Hooks(lambda run, metrics: last.update(metrics)))
    assert before < 5
    assert last["eval/teacher_score"][0] > 20
    assert last["reward/asked"][0] <= 300
