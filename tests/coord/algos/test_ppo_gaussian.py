"""PPO with a Gaussian head: its arithmetic by hand and against torch, members that do not touch each other, saving."""

from __future__ import annotations

import math

import pytest
import torch

from coord.algos import ppo_gaussian as ppo
from coord.errors import UserError
from coord.rollout import Rollout
from coord.run import config

CFG = ppo.PPOContinuousConfig(rollout_len=4, batch_size=8, num_epochs=3, hidden=(8,), lr=1e-2)


def rollout(members: int, seed: int = 0, steps: int = 4, rows: int = 6) -> Rollout:
    """Random rows; member m's are the same whatever the number of members."""
    parts = []
    for m in range(members):
        gen = torch.Generator().manual_seed(seed + m)
        floats = [torch.randn(steps, rows, *shape, generator=gen) for shape in ((3,), (2,), (), (), (), ())]
        ended = torch.rand(steps, rows, generator=gen) < 0.2
        parts.append((*floats, ended, torch.randn(rows, generator=gen)))
    obs, act, logp, val, final_val, rew, truncated = (torch.stack(x, 1) for x in list(zip(*parts, strict=True))[:7])
    last_val = torch.stack([part[7] for part in parts])
    none = torch.zeros_like(truncated)
    return Rollout(obs, act, logp, val, final_val, rew, torch.zeros_like(rew), none, truncated, last_val)


def test_density_and_entropy_are_those_of_torch() -> None:
    mean, act, log_std = torch.randn(2, 5, 3), torch.randn(2, 5, 3), torch.randn(2, 3)
    normal = torch.distributions.Normal(mean, log_std.exp()[:, None])
    assert torch.allclose(ppo.log_density(mean, log_std, act), normal.log_prob(act).sum(-1), atol=1e-5)
    assert torch.allclose(ppo.entropy(log_std), normal.entropy().sum(-1)[:, 0], atol=1e-5)


def test_policy_loss_by_hand() -> None:
    """Ratios 2, 1/2, 2, 1/2 with advantages 1, 1, -1, -1 and clip .2: -(1.2 + .5 - 2 - .8) / 4."""
    logp = torch.tensor([[math.log(2), -math.log(2), math.log(2), -math.log(2)]])
    loss = ppo.policy_loss(logp, torch.zeros(1, 4), torch.tensor([[1.0, 1.0, -1.0, -1.0]]), 0.2)
    assert loss.tolist() == pytest.approx([(2 + 0.8 - 1.2 - 0.5) / 4])


def test_gradients_are_clipped_member_by_member() -> None:
    grads = {"a": torch.tensor([[3.0], [0.3]]), "b": torch.tensor([[4.0], [0.4]])}
    scaled, norm = ppo.clipped(grads, 1.0)
    assert norm.tolist() == pytest.approx([5.0, 0.5])
    assert scaled["a"].flatten().tolist() == pytest.approx([0.6, 0.3])
    assert scaled["b"].flatten().tolist() == pytest.approx([0.8, 0.4])


def test_normaliser_has_the_moments_of_all_it_saw() -> None:
    obs = torch.randn(2, 300, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 5.0, 0.1]) + 7
    norm = ppo.create(CFG, 3, 2, [0, 1]).norm
    for part in obs.split([100, 150, 50], 1):
        norm.update(part)
    assert torch.allclose(norm.mean, obs.double().mean(1), atol=1e-3)
    assert torch.allclose(norm.var, obs.double().var(1, unbiased=False), rtol=1e-2)  # it starts with 1e-4 rows
    assert torch.allclose(norm(obs).std(1, unbiased=False), torch.ones(2, 3), atol=1e-2)


def test_a_member_learns_the_same_alone_and_among_others() -> None:
    alone, among = ppo.create(CFG, 3, 2, [5]), ppo.create(CFG, 3, 2, [5, 6])
    ppo.update(alone, rollout(1), progress=0.1, epochs=3)
    ppo.update(among, rollout(2), progress=0.1, epochs=3)
    for name, tensor in alone.params.items():
        assert torch.allclose(tensor[0], among.params[name][0], atol=1e-5), name
        assert not torch.equal(among.params[name][0], among.params[name][1]), name


def test_every_parameter_learns_and_a_reset_touches_the_value_alone() -> None:
    state = ppo.create(CFG, 3, 2, [0])
    before = {name: tensor.clone() for name, tensor in state.params.items()}
    ppo.update(state, rollout(1), progress=0.0, epochs=1)
    assert all(not torch.equal(tensor, before[name]) for name, tensor in state.params.items())
    learned = {name: tensor.clone() for name, tensor in state.params.items()}
    ppo.reset_value(state)
    changed = {name for name, tensor in state.params.items() if not torch.equal(tensor, learned[name])}
    assert changed == {name for name in learned if name.startswith("critic.")}
    assert not state.optim.mean["critic.head.weight"].any()


def test_saved_and_loaded_goes_on_bit_for_bit() -> None:
    whole, first, second = (ppo.create(CFG, 3, 2, [3, 4]) for _ in range(3))
    for part in range(2):
        ppo.update(whole, rollout(2, part), progress=0.5, epochs=2)
    ppo.update(first, rollout(2, 0), progress=0.5, epochs=2)
    second.load_state_dict({name: tensor.clone() for name, tensor in first.state_dict().items()})
    ppo.update(second, rollout(2, 1), progress=0.5, epochs=2)
    ours, theirs = second.state_dict(), whole.state_dict()
    assert set(ours) == set(theirs)
    for name, tensor in ours.items():
        assert torch.equal(tensor, theirs[name]), name


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(UserError, match="time_limit=never"):
        ppo.PPOContinuousConfig(time_limit="never")
    with pytest.raises(UserError, match="batch_size=0"):
        config.from_dict(ppo.PPOContinuousConfig, {"batch_size": 0})
