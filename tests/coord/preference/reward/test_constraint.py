"""Learned costs and their multiplier: formulas by hand and by differences, exact resume, no trace where it is off."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from coord.algos.ppo_gaussian import PPOContinuousConfig
from coord.algos.sac import SACConfig
from coord.errors import UserError
from coord.preference.config import PreferConfig
from coord.preference.labels.feedback import RUN_NAME, STORE_FILE
from coord.preference.labels.queries import QueryConfig
from coord.preference.labels.store import LabelStore
from coord.preference.learners import prefppo, sac
from coord.preference.methods.method import name_of, named
from coord.preference.methods.mrn.config import MRNConfig
from coord.preference.reward import constraint
from coord.preference.reward.model import RewardConfig
from coord.preference.reward.safety import SafetyConfig
from coord.preference.tasks.island_env import IslandEnv, island_envs
from coord.preference.tasks.task_env import TaskEnvs, TaskStep
from coord.run.training import TrainingJob
from tests.coord.preference.fake_task import PointEnv, point_envs, small
from tests.coord.preference.jobs import assert_same, finish, until

ON = SafetyConfig(hazards=("drowned",), cost_hidden=(16,), cost_steps=5, implied_pairs=10)
ISLAND = {"query": QueryConfig(length=4, candidates=4), "seed_steps": 110, "unsup_steps": 0, "total_steps": 180}


def islands(folder: Path, **changes: Any) -> TrainingJob:
    """A small run on the island, its store open."""
    cfg = small(**{**ISLAND, "env": "island", "safety": ON, "labels": 20, "session_every": 15, **changes})
    return job(cfg, island_envs(cfg.members, cfg.envs_per_member, cfg.eval_episodes), folder)


def job(cfg: PreferConfig, envs: Any, folder: Path) -> TrainingJob:
    run = sac.build(cfg, named(name_of(cfg.method)), envs)
    run.open(folder)
    return TrainingJob(folder, "test", "", run, envs, train=sac.train)


# -------------------------------------------------------------------------------------------------- formulas


def test_probability_of_unsafe_by_hand() -> None:
    """b = 4: nothing unsafe -> sigmoid(-4), one step with c = 1 -> sigmoid(4), c = 1/2 in all -> one half."""
    cost = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.25, 0.0, 0.25], [1.0, 1.0, 0.0]])
    expected = [1 / (1 + math.exp(4)), 1 / (1 + math.exp(-4)), 0.5, 1 / (1 + math.exp(-12))]
    assert torch.allclose(constraint.unsafe_probability(cost, 4.0), torch.tensor(expected), atol=1e-6)
    loss = constraint.unsafe_loss(cost[:2], torch.tensor([1.0, 1.0]), 4.0)
    assert math.isclose(float(loss), (math.log(1 + math.exp(4)) + math.log(1 + math.exp(-4))) / 2, rel_tol=1e-5)


def test_slope_of_the_loss_is_its_derivative() -> None:
    gen = torch.Generator().manual_seed(0)
    cost = torch.rand(5, 3, generator=gen, dtype=torch.float64).requires_grad_()
    unsafe = torch.tensor([1.0, 0.0, 0.0, 1.0, 1.0], dtype=torch.float64)
    (expected,) = torch.autograd.grad(constraint.unsafe_loss(cost, unsafe, 2.5), cost)
    assert torch.allclose(constraint.unsafe_loss_slope(cost.detach(), unsafe, 2.5), expected, atol=1e-12)
    assert expected.abs().min() > 1e-4


def test_gradient_of_the_cost_network_by_central_differences() -> None:
    cfg = SafetyConfig(cost_hidden=(6,))
    model = constraint.create_cost_model(cfg, 3, 4, [1], "cpu")
    model.flat = model.flat.double()
    gen = torch.Generator().manual_seed(1)
    rows = torch.randn(7, 4, 3, generator=gen, dtype=torch.float64)
    unsafe = (torch.rand(7, generator=gen) > 0.5).double()

    def loss() -> float:
        cost = model.reward(*constraint._split(rows)).view(7, 4)
        return float(constraint.unsafe_loss(cost, unsafe, cfg.offset))

    cost, pull = model.pullback(*constraint._split(rows))
    slope = constraint.unsafe_loss_slope(cost.view(7, 4), unsafe, cfg.offset)
    grads = pull(slope.reshape(1, -1))
    checked = 0
    for name, tensor in model.params.items():
        for place in list(np.ndindex(*tensor.shape))[::3]:
            before = float(tensor[place])
            tensor[place] = before + 1e-6
            up = loss()
            tensor[place] = before - 1e-6
            difference = (up - loss()) / 2e-6
            tensor[place] = before
            assert math.isclose(float(grads[name][place]), difference, rel_tol=1e-4, abs_tol=1e-7), name
            checked += 1
    assert checked > 8


def test_a_new_cost_network_is_undecided_and_learns_which_rows_are_unsafe() -> None:
    cfg = SafetyConfig(cost_hidden=(16,), cost_lr=3e-3, cost_steps=300)
    model = constraint.create_cost_model(cfg, 2, 4, [5], "cpu")
    rng = np.random.default_rng(0)
    rows = torch.from_numpy(np.stack([rng.random((80, 4)) < 0.15, rng.random((80, 4)) < 0.5], -1).astype(np.float32))
    unsafe = rows[:, :, 0].any(1).float()  # the other number says nothing
    before = constraint.unsafe_probability(model.reward(*constraint._split(rows)).view(80, 4), cfg.offset)
    assert 0.05 < float(before.mean()) < 0.95
    found = constraint.fit_cost(model, rows, unsafe, cfg, rng)
    assert found["accuracy"] > 0.95
    bad, good = (model.reward(*constraint._split(torch.tensor([[[x, 0.0]]]))) for x in (1.0, 0.0))
    assert float(bad) > 0.5 > 0.1 > float(good)  # one step decides, as in what is flagged


def test_multiplier_by_hand() -> None:
    cfg = SafetyConfig(limit=0.2, multiplier_lr=0.5, multiplier_max=3.0)
    assert math.isclose(constraint.moved(1.0, 1.2, cfg), 1.5)
    assert math.isclose(constraint.moved(1.0, 0.0, cfg), 0.9)
    assert constraint.moved(0.05, 0.0, cfg) == 0.0  # never below 0
    assert constraint.moved(2.9, 5.0, cfg) == 3.0  # nor above its ceiling


# --------------------------------------------------------------------------------------------------- the run


def test_violations_flags_and_reasons_are_what_truly_happened(tmp_path: Path) -> None:
    run = islands(tmp_path)
    finish(run)
    feedback = run.state.feedback
    safety = feedback.safety
    assert safety.violations.min() > 0
    ended = [sum(episode.rew.sum() for episode in safety.pool.episodes(m)) for m in range(2)]
    assert safety.violations.tolist() == ended  # all episodes are still in the pool
    store = LabelStore(tmp_path / STORE_FILE)
    seen = flagged = 0
    for m in range(2):
        stored = store.labels(RUN_NAME, m)
        # The end of the observation says where water is; a segment is unsafe if a step goes there.
        water = stored.labels.obs[..., 63:] * stored.labels.act
        assert np.array_equal(stored.unsafe, water.sum((2, 3)) > 0)
        assert [bool(tags) for tags in stored.reasons] == stored.unsafe.any(1).tolist()
        assert {tag for tags in stored.reasons for tag in tags} <= {"drowned"}
        seen, flagged = seen + stored.unsafe.size, flagged + stored.unsafe.sum()
    assert seen == 2 * 2 * 20
    assert 0 < flagged < seen
    learned = feedback.labels[0].target
    only_one = safety.flags[0][:, 0] ^ safety.flags[0][:, 1]
    assert set(np.unique(learned[only_one])) <= {0.0, 1.0}
    assert set(np.unique(learned[~only_one])) <= {0.25, 0.5, 0.75}


def test_the_learner_is_paid_reward_less_weighed_cost(tmp_path: Path) -> None:
    run = islands(tmp_path)
    finish(run)
    state = run.state
    gens = [torch.Generator().manual_seed(m) for m in range(2)]
    state.sac.gens = gens
    batch = sac.sample(state)
    features = state.feedback.features(batch.act)
    expected = state.feedback.model.reward(batch.obs, features)
    expected = expected - state.feedback.safety.multiplier[:, None] * state.feedback.safety.model.reward(
        batch.obs, features
    )
    assert torch.allclose(batch.rew, expected, atol=1e-5)
    assert (state.feedback.safety.penalty(batch.obs, features) > 0).any()


@pytest.mark.parametrize("gate", [1.0, 0.9])
@pytest.mark.parametrize("stop", [60, 140])
def test_resumed_with_safety_on_ends_bit_for_bit_the_same(gate: float, stop: int, tmp_path: Path) -> None:
    changes = {"safety": dataclasses.replace(ON, gate=gate)}
    (tmp_path / "whole").mkdir()
    (tmp_path / "parts").mkdir()
    whole = finish(islands(tmp_path / "whole", **changes))
    first = islands(tmp_path / "parts", **changes)
    until(first, stop)
    first.save()
    second = islands(tmp_path / "parts", **changes)
    assert second.load() == first.state.env_step
    assert_same(finish(second), whole)
    withheld = second.state.feedback.safety.withheld
    assert (withheld.sum() > 0) == (gate < 1)
    assert (second.state.feedback.report()["reward/labels"] == 20 - withheld).all()


class CountingPointEnv(PointEnv):
    """The point, which counts an event that nobody named."""

    event_names = ("far",)

    @property
    def events(self) -> np.ndarray:
        return (np.linalg.norm(self._place, axis=-1) > 1)[..., None]


def test_without_hazards_nothing_changes(tmp_path: Path) -> None:
    """A task that counts events trains bit for bit like one that does not; no key, no tensor is added."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    cfg = small()
    plain = finish(job(cfg, point_envs(cfg), tmp_path / "a"))
    envs = point_envs(cfg)
    envs.train.__class__ = CountingPointEnv
    counting = job(cfg, envs, tmp_path / "b")
    assert_same(finish(counting), plain)
    assert not any("safety" in name for name in plain)
    keys = counting.state.feedback.report()
    assert set(keys) == {"reward/asked", "reward/labels", "reward/skipped"}


def test_only_counting_leaves_learning_alone(tmp_path: Path) -> None:
    """flags=none without a constraint: the same tensors as without hazards, where the teacher judges alike."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    counted = SafetyConfig(hazards=("drowned",), flags="none", constraint=False)
    off, on = islands(tmp_path / "a", safety=SafetyConfig()), islands(tmp_path / "b", safety=counted)
    # Until the first session nothing is judged; from then on a teacher who warns may prefer otherwise.
    until(off, 110)
    until(on, 110)
    plain, watched = off.state.state_dict(), on.state.state_dict()
    assert_same({name: tensor for name, tensor in watched.items() if "safety" not in name}, plain)
    assert on.state.feedback.safety.violations.sum() > 0


def test_a_task_without_events_has_no_hazards(tmp_path: Path) -> None:
    cfg = small(safety=ON)
    with pytest.raises(UserError, match="counts no events"):
        job(cfg, point_envs(cfg), tmp_path)


# -------------------------------------------------------------------------------------- PPO, bilevel, learning


def counting_envs(cfg: PreferConfig) -> Any:
    envs = point_envs(cfg)
    envs.train.__class__ = CountingPointEnv
    return envs


def test_ppo_is_paid_reward_less_weighed_cost(tmp_path: Path) -> None:
    method = PPOContinuousConfig(rollout_len=5, batch_size=8, num_epochs=1, pretraining_epochs=1, hidden=(8,))
    hazards = dataclasses.replace(ON, hazards=("far",))
    cfg = small(method=method, envs_per_member=2, total_steps=70, safety=hazards)
    envs = counting_envs(cfg)
    run = prefppo.build(cfg, named("prefppo"), envs)
    run.open(tmp_path)
    prefppo.train(run, envs)
    safety = run.feedback.safety
    assert safety is not None
    assert safety.trained
    gen = torch.Generator().manual_seed(0)
    raw, act = torch.randn(5, 2, 2, 3, generator=gen), torch.rand(5, 2, 2, 2, generator=gen)
    for t, m, n in np.ndindex(5, 2, 2):
        row = (raw[t, m, n].expand(2, 1, 3), act[t, m, n].expand(2, 1, 2))
        expected = run.feedback.model.reward(*row)[m] - safety.multiplier[m] * safety.model.reward(*row)[m]
        assert torch.allclose(prefppo.reward(run, raw, act)[t, m, n], expected, atol=1e-5)


def test_a_bilevel_step_teaches_the_critic_reward_less_cost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paid = []
    plain = sac.sac.update

    def keep(state: Any, batch: Any, next_value: Any = None) -> Any:
        paid.append((batch, next_value is not None))
        return plain(state, batch, next_value)

    monkeypatch.setattr("coord.preference.methods.mrn.mrn.sac.update", keep)
    run = islands(tmp_path, method=MRNConfig(every=7), total_steps=150)
    finish(run)
    feedback = run.state.feedback
    steps = [batch for batch, bilevel in paid if bilevel]
    assert len(steps) > 2
    last = steps[-1]
    reward = feedback.reward(last.obs, last.act)
    assert (reward - last.rew).min() > 0  # every step costs something, since sigmoids are above 0
    assert (feedback.penalty(last.obs, last.act) > 0).all()


class TemptingEnv(IslandEnv):
    """One state, two actions, ten steps: the second action pays and is an event."""

    obs_dim, act_dim, max_episode_steps = 1, 2, 10
    event_names = ("risk",)

    def observe(self) -> torch.Tensor:
        return torch.ones(self.members, self.rows, 1)

    def step(self, act: torch.Tensor) -> TaskStep:
        self._clock += 1
        ended = torch.from_numpy(self._clock == 10)
        self._clock[ended.numpy()] = 0
        self.events = act.numpy().astype(np.float32)[..., None]
        never = torch.zeros_like(ended)
        return TaskStep(self.observe(), act.float(), never, ended, never, np.zeros(ended.shape, np.int64))


def risks(folder: Path, constraint_on: bool) -> float:
    """Share of the last 500 steps that took the risk."""
    folder.mkdir()
    hazards = SafetyConfig(
        hazards=("risk",), flags="none", constraint=constraint_on, limit=0.2, multiplier_lr=0.2, cost_lr=1e-2,
        cost_steps=40, cost_hidden=(8,),
    )  # fmt: skip
    cfg = small(
        members=1, total_steps=700, seed_steps=40, unsup_steps=0, labels=40, session_labels=10, session_every=20,
        query=QueryConfig(length=2, candidates=2, selector="uniform"), safety=hazards, eval_every=700,
        algo=SACConfig(hidden=(16,), batch_size=16, lr=3e-3, gamma=0.5, init_alpha=0.05, target_entropy_share=0.2),
        reward=RewardConfig(ensemble=1, hidden=(16,), batch_size=8, train_amount=60, lr=1e-2),
    )  # fmt: skip
    run = job(cfg, TaskEnvs(TemptingEnv(1, 1), TemptingEnv(1, 1)), folder)
    until(run, 200)
    before = float(run.state.feedback.safety.violations[0])
    finish(run)
    return (float(run.state.feedback.safety.violations[0]) - before) / 500


@pytest.mark.learn
def test_the_multiplier_keeps_a_tempted_learner_safe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody who prefers what is unsafe, and says so: only the constraint can hold the learner back."""
    monkeypatch.setattr("coord.preference.labels.feedback.safe_first", lambda target, unsafe: target)
    free, held = risks(tmp_path / "off", False), risks(tmp_path / "on", True)
    assert free > 0.8
    assert held < 0.3
