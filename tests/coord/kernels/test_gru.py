"""The recurrent unit: equal to PyTorch's own, with exact derivatives, whole sequences or tick by tick."""

from __future__ import annotations

import pytest
import torch

from coord.errors import UserError
from coord.kernels.gru import ROWS, gru, tanh
from coord.nets.population import Arch, PopulationNet, param_shapes
from coord.seeding import torch_generator


def parts(members: int, ticks: int, rows: int, width: int, *, dtype: torch.dtype = torch.float64) -> list[torch.Tensor]:
    """gx, weight, bias, start, keep with random content."""
    gen = torch_generator(1, "parts")
    shapes = (
        (members, ticks, rows, 3 * width),
        (members, 3 * width, width),
        (members, 3 * width),
        (members, rows, width),
    )
    drawn = [torch.randn(*shape, generator=gen, dtype=dtype) for shape in shapes]
    return [*drawn, torch.rand(members, ticks, rows, generator=gen) > 0.3]


def test_tanh() -> None:
    x = torch.linspace(-15, 15, 5001, dtype=torch.float64)
    ours = torch.tensor([tanh(float(v)) for v in x], dtype=torch.float64)
    assert (ours - torch.tanh(x)).abs().max() < 5e-8


def test_equals_pytorch() -> None:
    members, ticks, rows, width = 2, 9, ROWS + 7, 6  # two blocks of rows
    gx, weight, bias, start, _ = parts(members, ticks, rows, width)
    keep = torch.ones(members, ticks, rows, dtype=torch.bool)
    ours = gru(gx, weight, bias, start, keep)
    for m in range(members):
        theirs = torch.nn.GRU(3 * width, width).double()
        with torch.no_grad():
            theirs.weight_ih_l0.copy_(torch.eye(3 * width))
            theirs.bias_ih_l0.zero_()
            theirs.weight_hh_l0.copy_(weight[m])
            theirs.bias_hh_l0.copy_(bias[m])
            torch.testing.assert_close(ours[m], theirs(gx[m], start[m][None])[0], atol=1e-6, rtol=0)


def test_gradients_by_finite_differences() -> None:
    gx, weight, bias, start, keep = parts(2, 4, 3, 2)
    assert not keep.all()
    inputs = tuple(t.requires_grad_() for t in (gx, weight, bias, start))
    assert torch.autograd.gradcheck(gru, (*inputs, keep), atol=1e-5)


def test_gradients_equal_those_of_tensor_operations() -> None:
    """Every block and every gate, at the size that is used."""
    members, ticks, rows, width = 2, 5, ROWS + 3, 64
    *inputs, keep = parts(members, ticks, rows, width)
    inputs[1] = inputs[1] / 8
    weights = torch.randn(members, ticks, rows, width, generator=torch_generator(2), dtype=torch.float64)
    found = []
    for unit in (gru, by_tensors):
        leaves = [t.clone().requires_grad_() for t in inputs]
        found.append(torch.autograd.grad((unit(*leaves, keep) * weights).sum(), leaves))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def by_tensors(
    gx: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, start: torch.Tensor, keep: torch.Tensor
) -> torch.Tensor:
    """The equations as they stand in the docstring."""
    state, states = start, []
    for t in range(gx.shape[1]):
        state = state * keep[:, t, :, None]
        gh = torch.baddbmm(bias[:, None], state, weight.transpose(1, 2))
        (xr, xz, xn), (hr, hz, hn) = gx[:, t].chunk(3, -1), gh.chunk(3, -1)
        r, z = torch.sigmoid(xr + hr), torch.sigmoid(xz + hz)
        state = (1 - z) * torch.tanh(xn + r * hn) + z * state
        states.append(state)
    return torch.stack(states, 1)


@pytest.mark.parametrize("kind", ["mlp_index", "mlp_features", "cnn"])
def test_a_sequence_equals_its_ticks(kind: str) -> None:
    """Training sees chunks, acting sees ticks: the same numbers, also where an episode begins within the chunk."""
    arch = Arch(kind=kind, inputs=40, hidden=(64,), board=(5, 4), memory=8)
    net = PopulationNet.create(arch, [torch_generator(m) for m in range(2)]).double()
    obs = observations(kind, 2, 7, 5)
    keep = torch.rand(2, 7, 5, generator=torch_generator(3)) > 0.3
    start = torch.randn(2, 5, 8, generator=torch_generator(4), dtype=torch.float64)
    whole, states = net.remember(obs, start, keep)
    state = start
    for t in range(7):
        out, state = net.remember(obs[:, t : t + 1], state, keep[:, t : t + 1])
        state = state[:, 0]
        torch.testing.assert_close(out[:, 0], whole[:, t], atol=1e-12, rtol=1e-12)
        torch.testing.assert_close(state, states[:, t], atol=1e-12, rtol=1e-12)


def observations(kind: str, *shape: int) -> torch.Tensor:
    gen = torch_generator(5, kind)
    if kind == "mlp_index":
        return torch.randint(0, 41, (*shape, 6), generator=gen)
    size = (40,) if kind == "mlp_features" else (5, 4, 26)
    return torch.randint(0, 2, (*shape, *size), generator=gen).double()


def test_what_was_forgotten_does_not_matter() -> None:
    gx, weight, bias, start, keep = parts(1, 6, 4, 8)
    keep[:, 3] = False
    changed = gx.clone()
    changed[:, :3] += 1
    a, b = gru(gx, weight, bias, start, keep), gru(changed, weight, bias, start + 1, keep)
    assert not torch.equal(a[:, 2], b[:, 2])
    assert torch.equal(a[:, 3:], b[:, 3:])


def test_members_are_strangers_and_all_parameters_learn() -> None:
    arch = Arch(inputs=40, hidden=(64, 32), memory=16)
    both = PopulationNet.create(arch, [torch_generator(m) for m in range(2)])
    obs, keep, start = observations("mlp_index", 2, 5, 3), torch.ones(2, 5, 3, dtype=torch.bool), torch.zeros(2, 3, 16)
    out, _ = both.remember(obs, start, keep)
    alone, _ = both.select([1]).remember(obs[1:], start[1:], keep[1:])
    assert torch.equal(out[1:], alone)
    out.square().sum().backward()
    assert {name for name, p in both.named_parameters() if p.grad is None or not p.grad.abs().sum(0).any()} == set()


def test_archs_with_a_memory() -> None:
    arch = Arch(inputs=40, hidden=(64, 32), memory=16)
    assert Arch.from_dict(arch.to_dict()) == arch
    assert "memory" not in Arch(inputs=40).to_dict()
    assert param_shapes(arch)["gru_x.weight"] == (48, 32)
    assert param_shapes(arch)["head.weight"] == (7, 16)
    with pytest.raises(UserError, match="memory=-1"):
        Arch(inputs=40, memory=-1)
    net = PopulationNet.create(arch, [torch_generator(0)])
    assert not net.is_fused
    with pytest.raises(ValueError, match="tick after tick"):
        net(torch.zeros(1, 1, 6, dtype=torch.int16))
