"""The second and third step on small kitchens: rewards as defined, resume bit for bit, the value's head start."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from coord.algos import ppo
from coord.algos.ppo import Hooks, PPOConfig
from coord.algos.sac import SACConfig
from coord.nets.population import Arch, PopulationNet
from coord.overcooked import OvercookedVectorEnv
from coord.pair_env import Utility
from coord.preference.config import PreferConfig
from coord.preference.labels.answerers import TeacherConfig
from coord.preference.labels.feedback import Feedback
from coord.preference.labels.queries import QueryConfig
from coord.preference.learners import kl, rlhf, warm_start
from coord.preference.learners.kitchen_ppo import Rows
from coord.preference.learners.kl import KLConfig
from coord.preference.learners.rlhf import RewardTraining, Tuning, TuningConfig
from coord.preference.methods.pebble import PebbleConfig
from coord.preference.reward.model import RewardConfig
from coord.preference.tasks.kitchen_env import KitchenTaskEnv
from coord.preference.tasks.kitchen_teachers import Judgement
from tests.agent_fixtures import member
from tests.coord.preference.jobs import assert_same, copied

SEEDS, ROWS, HORIZON = [1, 2], 4, 20
ALGO = PPOConfig(total_steps=400, num_envs=ROWS, rollout_len=20, num_epochs=2, num_minibatches=2)


def nobody(*step: Any) -> None:
    """Learns from no tick."""


def kitchens() -> Rows:
    env = OvercookedVectorEnv("cramped_room", len(SEEDS) * ROWS, horizon=HORIZON)
    partner = member("partner", 3)
    judged = Judgement(Utility({"movement": 1.0}))  # tells policies apart within a few ticks
    task = KitchenTaskEnv(env, [rlhf_partner(partner)], members=len(SEEDS), seed=0, judgement=judged)
    return Rows(task, "index", nobody)


def rlhf_partner(new: Any) -> Any:
    from coord.agents.files import StoredAgent

    return StoredAgent(new.card, new.net)


def feedback_of(env: Rows, folder: Path, labels: int = 12) -> Feedback:
    cfg = PreferConfig(
        method=PebbleConfig(),
        algo=SACConfig(),
        reward=RewardConfig(ensemble=2, hidden=(16,), batch_size=8, train_amount=5),
        query=QueryConfig(length=8, candidates=3),
        teacher=TeacherConfig(ties="equal"),
        env="overcooked",
        layout="cramped_room",
        horizon=HORIZON,
        members=len(SEEDS),
        labels=labels,
        session_labels=4,
        pool_episodes=6,
    )
    feedback = Feedback.create(cfg.feedback(), env.env, SEEDS)
    folder.mkdir(exist_ok=True)
    feedback.open(folder)
    return feedback


def policy(env: Rows, seed: int = 0) -> PopulationNet:
    """Stands in for what imitation leaves: not uniform, and different for each member."""
    arch = Arch(kind="mlp_index", inputs=env.env.kitchens.spec.vocab_size, hidden=(64, 64))
    net = PopulationNet.create(arch, [torch.Generator().manual_seed(seed + m) for m in range(len(SEEDS))])
    with torch.no_grad():
        net.head_weight[:, :6] *= 50
    return net


# ------------------------------------------------------------------------------------------------------- step 2


def comparison(folder: Path) -> tuple[RewardTraining, Rows]:
    env = kitchens()
    feedback = feedback_of(env, folder)
    env.on_step = feedback.record
    return RewardTraining.create(policy(env), feedback, env, SEEDS), env


def test_comparison_spends_its_budget_and_resumes_bit_for_bit(tmp_path: Path) -> None:
    whole, env = comparison(tmp_path / "whole")
    rows: list[dict[str, Any]] = []
    rlhf.compare(whole, env, Hooks(on_update=lambda state, metrics: rows.append(dict(metrics))))
    assert len(rows) == 3
    assert whole.env_step == whole.cfg.total_steps == 3 * HORIZON * ROWS
    assert whole.feedback.asked == 12
    assert rows[-1]["reward/labels"].tolist() == [12, 12]
    assert not torch.equal(whole.feedback.model.flat[0], whole.feedback.model.flat[1])

    half, half_env = comparison(tmp_path / "half")
    rlhf.compare(half, half_env, Hooks(should_stop=lambda state: state.feedback.sessions == 1))
    assert half.feedback.asked == 4
    rest, rest_env = comparison(tmp_path / "half")  # the store of the killed process
    rest_env.set_state(half_env.get_state())
    rest.load_state_dict(copied(half.state_dict()))
    rlhf.compare(rest, rest_env, Hooks())
    assert_same(whole.state_dict(), rest.state_dict())
    assert_same(whole.feedback.labels[1]._asdict(), rest.feedback.labels[1]._asdict())


def test_rewards_are_scaled_over_recent_games(tmp_path: Path) -> None:
    state, env = comparison(tmp_path / "a")
    rlhf.compare(state, env, Hooks())
    mean, std = rlhf.reward_scale(state.feedback)
    for m in range(len(SEEDS)):
        games = state.feedback.pool.episodes(m)
        obs, act = (torch.cat([torch.from_numpy(getattr(g, name)) for g in games]) for name in ("obs", "act"))
        pred = state.feedback.model.select(m).reward(obs[None], act[None])
        assert ((pred - mean[m]) / std[m]).mean().item() == pytest.approx(0, abs=1e-4)
        assert ((pred - mean[m]) / std[m]).std().item() == pytest.approx(1, rel=1e-4)


def test_a_reward_that_knows_what_is_wanted_orders_unseen_games(tmp_path: Path) -> None:
    state, env = comparison(tmp_path / "a")
    rlhf.compare(state, env, Hooks())
    unseen = kitchens()
    found = rlhf.judge_reward(state.feedback, state.policy, unseen, SEEDS)
    assert found["accuracy"].shape == found["rank_correlation"].shape == (2,)
    assert bool(((found["accuracy"] >= 0) & (found["accuracy"] <= 1)).all())
    assert state.feedback.pool.complete(0) == 6  # what it learned from is as it was


# ------------------------------------------------------------------------------------------------------- step 3


def tuning_of(env: Rows, folder: Path, *, labels: int = 4, coef: float = 0.5, warm: int = 1) -> Tuning:
    """Tuning with a reward model of one session of pi_0; what `labels` has beyond that is for the present step."""
    feedback = feedback_of(env, folder, labels)
    env.on_step = feedback.record
    rlhf.play_games(policy(env), env, [torch.Generator().manual_seed(s) for s in SEEDS])
    feedback.session(0)
    env.on_step = feedback.record if labels > 4 else nobody
    cfg = TuningConfig(kl=KLConfig(coef=coef), value_updates=warm, refresh_every=100)
    return Tuning(cfg, policy(env), feedback, rlhf.reward_scale(feedback))


def tuned(folder: Path, stop: int | None = None, **how: Any) -> tuple[Tuning, ppo.PPOState, Rows]:
    env = kitchens()
    tuning = tuning_of(env, folder, **how)
    state = warm_start.start_from(ALGO, policy(env), SEEDS)
    rlhf.tune(tuning, state, env, Hooks(should_stop=lambda state: state.update_step == stop))
    return tuning, state, env


@pytest.mark.parametrize("labels", [4, 12], ids=["frozen", "refreshed"])
def test_tuning_resumes_bit_for_bit(tmp_path: Path, labels: int) -> None:
    whole, state, _ = tuned(tmp_path / "whole", labels=labels)
    assert whole.feedback.asked == labels
    assert state.env_step == 400
    half, half_state, half_env = tuned(tmp_path / "half", stop=2, labels=labels)
    rest_env = kitchens()
    rest = Tuning(half.cfg, policy(rest_env), feedback_of(rest_env, tmp_path / "half", labels), torch.zeros(2, 2))
    rest.feedback.load_state_dict(copied(half.feedback.state_dict()))
    rest_env.on_step = rest.feedback.record if labels > 4 else nobody
    rest.is_frozen = half.is_frozen
    rest_state = warm_start.start_from(ALGO, policy(rest_env, seed=9), SEEDS)
    rest_state.load_state_dict(copied(half_state.state_dict()))
    rest_env.set_state(half_env.get_state())
    rest.load_state_dict(copied(half.state_dict()))
    rlhf.tune(rest, rest_state, rest_env, Hooks())
    assert_same(state.state_dict(), rest_state.state_dict())
    assert_same(whole.state_dict(), rest.state_dict())


def test_the_reward_of_a_rollout_is_what_the_formula_says(tmp_path: Path) -> None:
    env = kitchens()
    tuning = tuning_of(env, tmp_path / "a")
    state = warm_start.start_from(ALGO, policy(env, seed=5), SEEDS)  # not pi_0
    seen: list[Any] = []

    def look(roll: Any) -> None:
        obs = torch.stack(env.seen)
        logits, theirs = (net(roll.obs.transpose(0, 1).flatten(1, 2))[0] for net in (state.net, tuning.reference))
        beta = tuning.kl.value.clone()
        rlhf.pay(tuning, state, roll, obs)
        seen.append((obs, roll, logits.detach(), theirs, beta))

    ppo.train(state, env, Hooks(should_stop=lambda state: len(seen) > 0, on_rollout=lambda state, roll: look(roll)))
    obs, roll, logits, theirs, beta = seen[0]
    for t, m, n in ((0, 0, 0), (7, 1, 2), (19, 0, 3)):
        act, row = int(roll.act[t, m, n]), t * ROWS + n
        pred = tuning.feedback.model.select(m).reward(
            obs[t, m, n][None, None], torch.eye(6)[act][None, None]
        )  # of one step alone
        paid = (pred.item() - tuning.scale[0, m]) / tuning.scale[1, m]
        ratio = logits[m, row].log_softmax(-1)[act] - theirs[m, row].log_softmax(-1)[act]
        assert roll.rew[t, m, n].item() == pytest.approx(float(paid - beta[m] * ratio), rel=1e-3, abs=1e-4)
    measured = kl.divergence(logits, theirs).mean(1)
    assert float(measured.min()) > 0.01
    torch.testing.assert_close(tuning.found["reward/kl"], measured, rtol=1e-4, atol=1e-5)
    assert bool((roll.shaped_rew == 0).all())


def test_only_the_value_learns_at_first(tmp_path: Path) -> None:
    _, state, env = tuned(tmp_path / "warm", stop=2, warm=2)
    start = policy(env)
    for name, tensor in state.net.tensors().items():
        if not name.startswith("head"):
            assert torch.equal(tensor, start.tensors()[name]), name
    head, before = state.net.tensors()["head.weight"], start.tensors()["head.weight"]
    assert torch.equal(head[:, :6], before[:, :6])
    assert not torch.equal(head[:, 6:], before[:, 6:])
    assert state.optim.count == 0  # Adam starts afresh
    _, later, _ = tuned(tmp_path / "later", stop=3, warm=2)
    assert not torch.equal(later.net.tensors()["table"], start.tensors()["table"])


def test_a_heavy_penalty_keeps_the_policy_near_and_none_lets_it_go(tmp_path: Path) -> None:
    far, near = (tuned(tmp_path / name, coef=coef)[0].found for name, coef in (("far", 0.0), ("near", 50.0)))
    assert bool((near["reward/kl"] < 0.5 * far["reward/kl"]).all())
    assert far["reward/kl_coef"].tolist() == [0, 0]


def test_learning_is_never_by_the_task_reward(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same parameters whatever the kitchen pays: rewards are for logs alone."""
    _, state, _ = tuned(tmp_path / "a", stop=3)
    step = Rows.step

    def rich(self: Rows, act: torch.Tensor) -> Any:
        return step(self, act)._replace(rew=torch.full((len(SEEDS), ROWS), 100.0))

    monkeypatch.setattr(Rows, "step", rich)
    _, again, _ = tuned(tmp_path / "b", stop=3)
    assert_same(state.net.tensors(), again.net.tensors())


def test_partial_is_what_jobs_call(tmp_path: Path) -> None:
    env = kitchens()
    tuning = tuning_of(env, tmp_path / "a")
    rows: list[dict[str, Any]] = []
    hooks = Hooks(on_update=lambda state, metrics: rows.append(metrics), should_stop=lambda state: len(rows) == 1)
    partial(rlhf.tune, tuning)(warm_start.start_from(ALGO, policy(env), SEEDS), env, hooks)
    assert {"reward/kl", "reward/kl_coef", "reward/predicted", "rollout/return", "train/loss"} <= rows[0].keys()
