"""Sparse rows: layer and gradient as of dense ones, a reward model that learns the same, and when rows stay dense."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from coord.preference.labels.segments import AnsweredPairs
from coord.preference.reward import nets as rn
from coord.preference.reward import sparse_rows
from coord.preference.reward.model import RewardConfig, RewardModel
from coord.preference.reward.sparse_rows import BLOCK, SparseRows

NETWORKS, ROWS, INPUTS = 3, 50, 40


def changes(*shape: int, seed: int = 0) -> Tensor:
    """Rows of up to six numbers other than zero, some of none, some of one at the very end."""
    rng = np.random.default_rng(seed)
    rows = np.zeros((int(np.prod(shape)), INPUTS))
    for i, row in enumerate(rows):
        row[rng.choice(INPUTS, i % 7, replace=False)] = rng.normal(size=i % 7)
    rows[7, -1] = 2.0
    return torch.from_numpy(rows).view(*shape, INPUTS)


@pytest.mark.parametrize("width", [BLOCK, 2 * BLOCK])
def test_forward_and_gradient_equal_those_of_dense_rows(width: int) -> None:
    gen = torch.Generator().manual_seed(1)
    dense = changes(NETWORKS, ROWS)
    sparse = sparse_rows.join(list(dense[:, None]), width)
    assert isinstance(sparse, SparseRows)
    # Weights as a reward network has them: apart from each other by more than their size.
    memory = torch.randn(NETWORKS, INPUTS * width + 5, generator=gen, dtype=torch.float64)
    weight = memory[:, : INPUTS * width].view(NETWORKS, INPUTS, width)
    bias = torch.randn(NETWORKS, width, generator=gen, dtype=torch.float64)
    out = sparse_rows.forward(sparse, weight, bias, torch.empty(NETWORKS, ROWS, width, dtype=torch.float64))
    torch.testing.assert_close(out, torch.baddbmm(bias[:, None], dense, weight))
    grad = torch.randn(NETWORKS, ROWS, width, generator=gen, dtype=torch.float64)
    expected = weight + dense.mT @ grad
    rest = memory[:, INPUTS * width :].clone()
    sparse_rows.add_gradient(sparse, grad, weight)
    torch.testing.assert_close(weight, expected)
    assert torch.equal(memory[:, INPUTS * width :], rest)


def test_a_reward_model_learns_the_same_from_either(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    obs = changes(2, 30, 2, 5, seed=3).float().numpy()  # [M, n, 2, L, O]
    act = np.eye(6, dtype=np.float32)[rng.integers(0, 6, obs.shape[:-1])]
    target = rng.choice([0.0, 0.5, 1.0], (2, 30)).astype(np.float32)
    config = RewardConfig(
        ensemble=2, hidden=(BLOCK, 16), lr=1e-2, batch_size=8, train_amount=3, stop_accuracy=1.0,
        scale_inputs=True, scale_limit=4.0, crops=1, crop_min=2, crop_max=4,
    )  # fmt: skip
    kinds: list[type] = []

    def dense(parts: list[Tensor], width: int) -> Tensor:
        kinds.append(type(real(parts, width)))
        return torch.cat(list(parts))

    def learn() -> RewardModel:
        model = RewardModel.create(config, INPUTS, 6, [5, 6], dtype=torch.float64)
        model.learn_scale([own.reshape(-1, INPUTS) for own in obs])
        model.fit([AnsweredPairs(obs[m], act[m], target[m]) for m in range(2)])
        return model

    sparse, real = learn(), sparse_rows.join
    monkeypatch.setattr(sparse_rows, "join", dense)
    torch.testing.assert_close(learn().flat, sparse.flat, rtol=1e-9, atol=1e-10)
    assert kinds == [SparseRows]


def test_rows_stay_dense_where_little_is_gained_or_no_kernel_fits() -> None:
    few, many = changes(4, 10), torch.ones(4, 10, INPUTS)
    assert isinstance(sparse_rows.join([few, few], BLOCK), SparseRows)
    assert torch.equal(sparse_rows.join([many, many], BLOCK), torch.cat([many, many]))
    assert torch.equal(sparse_rows.join([few, few], BLOCK + 1), torch.cat([few, few]))


def test_weights_must_lie_inputs_first() -> None:
    rows = SparseRows(torch.zeros(1, 2, 1, dtype=torch.int16), torch.ones(1, 2, 1))
    weight = torch.zeros(1, BLOCK, INPUTS).mT
    with pytest.raises(ValueError, match="inputs first"):
        sparse_rows.forward(rows, weight, torch.zeros(1, BLOCK), torch.zeros(1, 2, BLOCK))


def test_what_goes_backward_through_a_network_equals_autograd() -> None:
    gen = torch.Generator().manual_seed(4)
    dense = changes(1, ROWS)
    table = {"dense0.weight": (BLOCK, INPUTS), "dense0.bias": (BLOCK,), "head.weight": (1, BLOCK), "head.bias": (1,)}
    flat = torch.randn(1, 1, rn.size(table), generator=gen, dtype=torch.float64, requires_grad=True)
    cotangent = torch.randn(1, ROWS, generator=gen, dtype=torch.float64)
    params = {name: tensor[0, 0] for name, tensor in rn.views(flat, table).items()}
    x = F.leaky_relu(F.linear(dense[0], params["dense0.weight"], params["dense0.bias"]), rn.SLOPE)
    x = F.linear(x, params["head.weight"], params["head.bias"])
    (x[:, 0] * cotangent[0]).sum().backward()
    net, grad = rn.layers(rn.views(flat.detach(), table)), torch.zeros_like(flat)
    rows = sparse_rows.join([dense], BLOCK)
    assert isinstance(rows, SparseRows)
    inputs, out = rn.forward(net, rows, "linear", rn.Buffers())
    rn.backward(net, rn.layers(rn.views(grad, table)), inputs, out, cotangent, "linear", rn.Buffers())
    assert flat.grad is not None
    torch.testing.assert_close(grad, flat.grad)
