"""The kernels for the default network: outputs and gradients against the network and PPO's loss, bits against bits."""

from __future__ import annotations

import numba
import pytest
import torch
from torch import Tensor

from coord.algos import ppo
from coord.kernels import fused
from coord.nets.population import Arch, PopulationNet, append_dense
from tests.minibatches import minibatch

pytestmark = pytest.mark.usefixtures("one_thread")


def fused_net(members: int, inputs: int = 90, extra: int = 0) -> PopulationNet:
    """Members with biases and a policy head that are no longer zero."""
    gens = [torch.Generator().manual_seed(m) for m in range(members)]
    net = PopulationNet.create(Arch(inputs=inputs, hidden=(64, 64), extra=extra), gens)
    with torch.no_grad():
        for name, tensor in net.tensors().items():
            tensor += 0.1 * torch.randn(tensor.shape, generator=gens[0]) if name != "table" else 0.0
    return net


def index_rows(rows: int, inputs: int = 90, facts: int = 9, extra: int = 0) -> Tensor:
    """[R, K + E] with padding after a random number of facts, none and all included."""
    gen = torch.Generator().manual_seed(3)
    length = torch.randint(facts + 1, (rows, 1), generator=gen)
    idx = torch.randint(inputs, (rows, facts), generator=gen)
    facts_only = torch.where(torch.arange(facts) < length, idx, inputs).to(torch.int16)
    values = torch.rand(rows, extra, generator=gen) * 2 - 1
    return torch.from_numpy(append_dense(facts_only.numpy(), values.numpy()))


# 512 rows in all decide between the serial and the parallel kernel; blocks hold 64, the last one fewer.
@pytest.mark.parametrize(
    ("members", "batch", "extra"), [(1, 1, 0), (3, 63, 2), (2, 255, 0), (2, 256, 0), (2, 256, 5), (3, 333, 8)]
)
def test_fused_forward_equals_the_network(members: int, batch: int, extra: int) -> None:
    net = fused_net(members, extra=extra)
    idx = index_rows(members * batch, extra=extra).view(members, batch, -1)
    assert net.is_fused
    slow = net.outputs(idx)
    with torch.no_grad():
        quick = net.outputs(idx)
    assert slow.requires_grad
    assert not quick.requires_grad
    torch.testing.assert_close(quick, slow, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("members", "batch", "extra"), [(1, 3, 0), (3, 170, 0), (2, 530, 0), (2, 170, 1), (1, 530, 8)])
def test_fused_gradients_equal_autograd(members: int, batch: int, extra: int) -> None:
    net, total = fused_net(members, extra=extra), 600
    idx = index_rows(members * total, extra=extra)
    act, scalars, coefs = minibatch((members, total), torch.float32)
    gen = torch.Generator().manual_seed(5)
    rows = torch.stack([torch.randperm(total, generator=gen)[:batch] + m * total for m in range(members)])

    flat_act, flat_scalars = act.flatten(), scalars.flatten(0, 1)
    out = net.outputs(idx[rows])
    expected_parts = ppo_gradients(net, out, flat_act[rows], flat_scalars[rows], coefs)
    expected = {name: param.grad for name, param in net.named_parameters()}
    parts = fused.FusedGradients(net.tensors(), net.parameters()).gradients(idx, rows, flat_act, flat_scalars, coefs)

    torch.testing.assert_close(parts, expected_parts, rtol=1e-4, atol=1e-6)
    for name, param in net.named_parameters():
        size = expected[name].abs().max().item()
        assert size > 0, name
        torch.testing.assert_close(param.grad, expected[name], rtol=1e-4, atol=2e-6 * max(size, 1), msg=name)


def ppo_gradients(net: PopulationNet, out: Tensor, act: Tensor, scalars: Tensor, coefs: Tensor) -> Tensor:
    """Autograd through the definition; the parts."""
    net.zero_grad()
    total, parts = ppo.loss(out, act, scalars, coefs)
    total.sum().backward()
    return parts.detach()


def test_fused_gradients_do_not_depend_on_threads_or_on_what_was_in_the_buffers() -> None:
    net, idx = fused_net(2), index_rows(800)
    act, scalars, coefs = minibatch((2, 400), torch.float32)
    rows = torch.arange(800).view(2, 400)
    used = fused.FusedGradients(net.tensors(), net.parameters())
    found = []
    for count in (1, min(2, numba.config.NUMBA_NUM_THREADS), 1):
        numba.set_num_threads(count)
        used.gradients(idx, rows, act.flatten(), scalars.flatten(0, 1), coefs)
        found.append([param.grad.clone() for param in net.parameters()])
    for one, two, again in zip(*found, strict=True):
        assert torch.equal(one, two)
        assert torch.equal(one, again)
