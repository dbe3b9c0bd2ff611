"""Population-based training: who meets whom, who is replaced, and how hyper-parameters move."""

from __future__ import annotations

from collections import deque

import numpy as np
import pytest
import torch

from coord.algos import ppo
from coord.errors import UserError
from coord.overcooked import OvercookedVectorEnv
from populations.methods import pbt
from populations.methods.pbt import AllPairsEnv, PBTConfig, Selection
from populations.training import Setup, Training
from tests.resuming import check_resume

TINY = {"num_envs": 4, "rollout_len": 20, "network": "mlp_features", "hidden": (8,), "num_minibatches": 2}


def training(cfg: PBTConfig, *, members: int = 3, updates: int = 8) -> Training:
    algo = ppo.PPOConfig(total_steps=updates * 80, **TINY)
    return pbt.make(cfg, Setup(algo=algo, layout="cramped_room", horizon=20, members=members, name="pbt"))


@pytest.mark.parametrize(("members", "per_member"), [(3, 6), (3, 7), (5, 5), (2, 1)])
def test_every_member_has_its_share_of_every_seat_and_of_every_partner(members: int, per_member: int) -> None:
    env = AllPairsEnv(OvercookedVectorEnv("cramped_room", members * per_member), members, "features")
    assert env.observe().shape[:2] == (members, 2 * per_member)
    pairs = np.zeros((members, members), int)
    np.add.at(pairs, tuple(env.member.T), 1)
    assert (pairs.sum(0) == per_member).all()
    assert (pairs.sum(1) == per_member).all()
    assert pairs.max() - pairs.min() <= 1


def test_rows_see_and_move_the_seat_that_is_theirs() -> None:
    kitchens = OvercookedVectorEnv("cramped_room", 6, horizon=3)
    env = AllPairsEnv(kitchens, 3, "features")
    act = torch.arange(12).view(3, 4) % 6
    seen = {}
    step = kitchens.step
    kitchens.step = lambda joint: (seen.update(joint=joint.copy()), step(joint))[1]
    for _ in range(3):
        before = env.observe()
        expected = kitchens.feature_obs().reshape(12, -1)[env._slot]
        assert np.array_equal(before.numpy(), expected)
        rows = env.step(act)
        for m in range(3):
            mine = np.argwhere(env.member.ravel()[env._slot[m]] == m)
            assert len(mine) == 4
            assert seen["joint"].ravel()[env._slot[m]].tolist() == act[m].tolist()
    assert rows.truncated.all()
    episodes = env.finished()
    assert sorted(episodes.member.tolist()) == [0] * 4 + [1] * 4 + [2] * 4
    assert (episodes.partner == env.member[:, ::-1].ravel()).all()


def test_the_worst_becomes_a_mutated_copy_of_the_best() -> None:
    made = training(PBTConfig(mutate_prob=1.0))
    state, select = made.state, made.extra
    state.returns = [deque([40.0]), deque([5.0]), deque([20.0])]
    state.hyper["gae_lambda"][:] = 0.99
    before = {name: tensor.clone() for name, tensor in state.net.tensors().items()}
    for tensor in state.optim.mean.values():
        tensor[0] = 7.0
    select.select(state)
    for name, tensor in state.net.tensors().items():
        assert torch.equal(tensor[1], before[name][0])
        assert torch.equal(tensor[[0, 2]], before[name][[0, 2]])
    assert all((tensor[1] == 7.0).all() and (tensor[2] == 0).all() for tensor in state.optim.mean.values())
    assert list(state.returns[1]) == [40.0]
    for name in pbt.MUTABLE:
        best, changed = float(state.hyper[name][0]), float(state.hyper[name][1])
        allowed = {round(best * 0.75, 6), round(min(best * 1.25, 1.0) if name == "gae_lambda" else best * 1.25, 6)}
        assert round(changed, 6) in allowed
        assert float(state.hyper[name][2]) == best
    assert select.replaced == 1


def test_mutation_leaves_two_thirds_as_they_were() -> None:
    select = Selection(PBTConfig(), np.random.default_rng(0))
    values = [select._mutated(1.0, np.inf) for _ in range(3000)]
    shares = [values.count(v) / 3000 for v in (1.0, 0.75, 1.25)]
    np.testing.assert_allclose(shares, [0.67, 0.165, 0.165], atol=0.03)


@pytest.mark.parametrize("returns", [[3.0, 3.0, 3.0], [1.0, np.nan, 2.0]])
def test_nobody_is_replaced_without_a_reason(returns: list[float]) -> None:
    made = training(PBTConfig(mutate_prob=1.0))
    made.state.returns = [deque([] if np.isnan(ret) else [ret]) for ret in returns]
    made.extra.select(made.state)
    assert made.extra.replaced == 0
    assert len(made.state.hyper["lr"].unique()) == 1


def test_hyper_parameters_move_in_training_and_a_resume_is_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Returns of so short a training are all zero: members get some of their own, so that there is a worst."""
    monkeypatch.setattr(
        ppo.PPOState, "mean_returns", lambda state: np.array([float(t.sum()) for t in state.net.tensors()["head.bias"]])
    )
    cfg = PBTConfig(interval=160, mutate_prob=1.0)
    whole = training(cfg)
    logged: list[int] = []
    whole.run(whole.state, whole.env, ppo.Hooks(on_update=lambda state, row: logged.append(row["method/replaced"])))
    assert logged == [0, 1, 1, 2, 2, 3, 3, 4]
    assert len(whole.state.hyper["lr"].unique()) > 1
    second = training(cfg)
    check_resume(training(cfg), second, at=5)
    assert second.extra.replaced == 4
    cards = [agent.card for agent in second.agents()]
    assert [card.extra["hyper"]["lr"] for card in cards] == whole.state.hyper["lr"].tolist()


def test_one_member_is_refused() -> None:
    with pytest.raises(UserError, match="members=1"):
        training(PBTConfig(), members=1)
