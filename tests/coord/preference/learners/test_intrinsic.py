"""Novelty against brute force, and the running deviation against that of all values at once."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from coord.preference.learners import intrinsic
from coord.preference.learners.intrinsic import RunningStd, knn_reward


def brute_force(obs: torch.Tensor, buffer: torch.Tensor, k: int) -> torch.Tensor:
    apart = (obs.double()[:, :, None] - buffer.double()[:, None]).square().sum(3).sqrt()
    return apart.sort(2).values[:, :, min(k, buffer.shape[1] - 1)]


@pytest.mark.parametrize("offset", [0.0, 1000.0])
@pytest.mark.parametrize(("k", "states"), [(5, 400), (1, 400), (5, 7), (5, 3), (20, 400)])
def test_against_brute_force(k: int, states: int, offset: float) -> None:
    gen = torch.Generator().manual_seed(0)
    buffer = torch.randn(2, states, 6, generator=gen) * torch.tensor([1.0, 1, 1, 1, 1, 0.01]) + offset
    obs = buffer[:, torch.randperm(states, generator=gen)[: states // 2 + 1]]
    reward = knn_reward(obs, buffer, k)
    torch.testing.assert_close(reward.double(), brute_force(obs, buffer, k), rtol=2e-6, atol=1e-7)


def test_by_hand() -> None:
    buffer = torch.tensor([[[0.0], [1.0], [3.0], [10.0]]])
    assert knn_reward(buffer, buffer, k=1).tolist() == [[1.0, 1.0, 2.0, 7.0]]
    assert knn_reward(buffer, buffer, k=2).tolist() == [[3.0, 2.0, 3.0, 9.0]]


def test_in_small_pieces_it_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    buffer = torch.randn(1, 300, 4, generator=torch.Generator().manual_seed(0))
    whole = knn_reward(buffer[:, :77], buffer)
    monkeypatch.setitem(intrinsic.CHUNK_FLOATS, "cpu", 1000)
    torch.testing.assert_close(knn_reward(buffer[:, :77], buffer), whole)


def test_twins_have_distance_zero() -> None:
    buffer = torch.zeros(1, 50, 3)
    assert knn_reward(buffer[:, :5], buffer).tolist() == [[0.0] * 5]


def test_running_deviation_is_that_of_all_values() -> None:
    rng = np.random.default_rng(0)
    batches = [rng.normal(5 + i, 1 + i, (2, 10 + i)) for i in range(6)]
    running = RunningStd(2)
    for batch in batches:
        running.update(torch.from_numpy(batch))
    everything = np.concatenate(batches, axis=1)
    np.testing.assert_allclose(running.std, everything.std(axis=1), rtol=1e-5)  # it starts with a weight of 1e-4
    np.testing.assert_allclose(running.mean, everything.mean(axis=1), rtol=1e-5)
    x = torch.tensor([[2.0], [4.0]])
    torch.testing.assert_close(running.normalise(x)[:, 0], x[:, 0] / running.std.float())


def test_running_deviation_is_saved() -> None:
    first, second = RunningStd(1), RunningStd(1)
    first.update(torch.randn(1, 20))
    second.load_state_dict(first.state_dict())
    for running in (first, second):
        running.update(torch.arange(5.0)[None])
    assert first.std.tolist() == second.std.tolist()
