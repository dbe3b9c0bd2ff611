"""Networks over the population axis: the index bag against a slow loop and the dense encoding, gradients, members."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor

from coord.errors import UserError
from coord.nets.population import (
    ARCHS,
    BLOCK,
    HEADS,
    NUM_ACTIONS,
    Arch,
    PopulationNet,
    append_dense,
    dense,
    index_bag,
    param_shapes,
    sample_actions,
)
from coord.overcooked import OvercookedVectorEnv

BUSY = [0.14, 0.14, 0.14, 0.14, 0.04, 0.4]
SMALL = {
    "mlp_index": Arch(kind="mlp_index", inputs=40, hidden=(64, 8)),
    "mlp_features": Arch(kind="mlp_features", inputs=12, hidden=(16, 8)),
    "cnn": Arch(kind="cnn", board=(5, 4), hidden=(8, 8)),
}


def generators(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def observations(arch: Arch, members: int, batch: int, seed: int = 0) -> Tensor:
    """Random input of the right kind; index rows of different length."""
    gen = torch.Generator().manual_seed(seed)
    if arch.kind == "mlp_index":
        return random_indices(members, batch, 9, arch.inputs, gen)
    if arch.kind == "mlp_features":
        return torch.randn(members, batch, arch.inputs, generator=gen)
    return torch.randint(0, 3, (members, batch, *arch.board, 26), generator=gen, dtype=torch.int16)


def random_indices(members: int, batch: int, facts: int, rows: int, gen: torch.Generator) -> Tensor:
    """[M, B, K] int16 with padding `rows` after a random number of facts."""
    idx = torch.randint(0, rows, (members, batch, facts), generator=gen)
    length = torch.randint(0, facts + 1, (members, batch, 1), generator=gen)
    return torch.where(torch.arange(facts) < length, idx, rows).to(torch.int16)


# ------------------------------------------------------------------------------------------------- index bag


def slow_bag(table: Tensor, bias: Tensor, idx: Tensor) -> Tensor:
    out = []
    for m, b in itertools.product(*map(range, idx.shape[:2])):
        rows = [row for row in idx[m, b].tolist() if row < table.shape[1]]
        out.append(bias[m] + table[m, rows].sum(0))
    return torch.stack(out).view(*idx.shape[:2], -1).relu()


def bag_inputs(members: int, batch: int, width: int, rows: int = 11) -> tuple[Tensor, Tensor, Tensor]:
    gen = torch.Generator().manual_seed(members * batch)
    table = torch.randn(members, rows, width, dtype=torch.float64, generator=gen)
    bias = torch.randn(members, width, dtype=torch.float64, generator=gen)
    return table, bias, random_indices(members, batch, 5, rows, gen)


# 128 rows are one task of the forward kernel, and 64 columns one of the backward kernel: both sides of each border.
@pytest.mark.parametrize(("members", "batch", "width"), [(1, 1, 64), (2, 127, 64), (3, 128, 128), (2, 129, 192)])
def test_bag_and_its_gradients_equal_a_slow_loop(members: int, batch: int, width: int) -> None:
    table, bias, idx = bag_inputs(members, batch, width)
    results = []
    for function in (index_bag, slow_bag):
        leaves = [table.clone().requires_grad_(), bias.clone().requires_grad_()]
        out = function(*leaves, idx)
        (out * torch.linspace(-1, 2, out.numel(), dtype=out.dtype).view_as(out)).sum().backward()
        results.append([out.detach(), *(leaf.grad for leaf in leaves)])
    for ours, slow in zip(*results, strict=True):
        torch.testing.assert_close(ours, slow)


def test_bag_gradcheck() -> None:
    table, bias, idx = bag_inputs(2, 2, BLOCK, rows=3)
    leaves = (table.requires_grad_(), bias.requires_grad_())
    # fast_mode: along random directions; entry by entry the slow loop above has compared them
    assert torch.autograd.gradcheck(lambda *leaves: index_bag(*leaves, idx), leaves, fast_mode=True)


def with_dense(idx: Tensor, extra: int) -> tuple[Tensor, Tensor]:
    """The rows with dense inputs behind their indices, the ends of the range among them; and the inputs."""
    gen = torch.Generator().manual_seed(9)
    values = torch.rand(*idx.shape[:2], extra, generator=gen) * 2.4 - 1.2  # clipped to [-1, 1]
    rows = torch.from_numpy(append_dense(idx.numpy(), values.numpy()))
    return rows, (values.clamp(-1, 1) * 32767).round().double() / 32767


@pytest.mark.parametrize(("batch", "width", "extra"), [(1, 64, 1), (129, 128, 3), (127, 64, 8)])
def test_dense_inputs_and_their_gradients_equal_a_slow_loop(batch: int, width: int, extra: int) -> None:
    table, bias, idx = bag_inputs(2, batch, width)
    rows, values = with_dense(idx, extra)
    assert rows.dtype == torch.int16
    weight = torch.randn(2, extra, width, dtype=torch.float64, generator=torch.Generator().manual_seed(4))

    def slow(table: Tensor, bias: Tensor, idx: Tensor, weight: Tensor) -> Tensor:
        sums = [[table[m, [i for i in row if i < table.shape[1]]].sum(0) for row in idx[m].tolist()] for m in range(2)]
        return (torch.stack([torch.stack(s) for s in sums]) + bias[:, None] + values @ weight).relu()

    results = []
    for function, given in ((index_bag, rows), (slow, idx)):
        leaves = [t.clone().requires_grad_() for t in (table, bias, weight)]
        out = function(leaves[0], leaves[1], given, leaves[2])
        (out * torch.linspace(-1, 2, out.numel(), dtype=out.dtype).view_as(out)).sum().backward()
        results.append([out.detach(), *(leaf.grad for leaf in leaves)])
    for ours, expected in zip(*results, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-7, atol=1e-7)
    assert bool((results[0][3].abs() > 0).any())


@pytest.mark.parametrize("hidden", [(64, 64), (128, 64)])
def test_dense_inputs_change_nothing_until_they_have_weight(hidden: tuple[int, ...]) -> None:
    """The other parameters are drawn as without them; both the fused and the general network agree."""
    plain = PopulationNet.create(Arch(inputs=40, hidden=hidden), generators(1, 2))
    wide = PopulationNet.create(Arch(inputs=40, hidden=hidden, extra=3), generators(1, 2))
    for name, tensor in plain.tensors().items():
        assert torch.equal(tensor, wide.tensors()[name]), name
    idx = observations(SMALL["mlp_index"], 2, 70)
    rows, _ = with_dense(idx, 3)
    for grad in (True, False):
        with torch.set_grad_enabled(grad):
            assert not torch.allclose(wide.outputs(rows), plain.outputs(idx))
    with torch.no_grad():
        wide.extra_weight.zero_()
        assert torch.equal(wide.outputs(rows), plain.outputs(idx))
    assert torch.equal(wide.outputs(rows), plain.outputs(idx))


def test_what_follows_the_padding_is_not_read() -> None:
    table, bias, _ = bag_inputs(1, 1, BLOCK, rows=6)
    padded, continued = (torch.tensor([[row]], dtype=torch.int16) for row in ([1, 6, 6], [1, 6, 2]))
    assert torch.equal(index_bag(table, bias, padded), index_bag(table, bias, continued))
    assert not torch.equal(index_bag(table, bias, padded), bias[:, None].relu())


@pytest.mark.parametrize("relu", [False, True])
def test_dense_gradcheck(relu: bool) -> None:
    gen = torch.Generator().manual_seed(3)
    shapes = ((2, 5, 4), (2, 3, 4), (2, 3))
    x, weight, bias = (torch.randn(s, dtype=torch.float64, generator=gen, requires_grad=True) for s in shapes)
    expected = torch.einsum("mbi,moi->mbo", x, weight) + bias[:, None]
    torch.testing.assert_close(dense(x, weight, bias, relu=relu), expected.relu() if relu else expected)
    assert torch.autograd.gradcheck(lambda *leaves: dense(*leaves, relu=relu), (x, weight, bias))


@pytest.mark.parametrize("layout", ["cramped_room", "counter_circuit_o_1order", "forced_coordination"])
def test_sparse_layer_equals_the_dense_layer_it_stands_for(layout: str) -> None:
    """A layer on lossless planes, put into a table: same output on kitchens in mid-game, one member per seat."""
    env = OvercookedVectorEnv(layout, 6, horizon=90)
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(2, BLOCK, env.width * env.height * 26))
    table = np.stack([env.spec.table_from_dense(w, env.layouts[0])[:-1] for w in weight])
    bias = rng.normal(size=(2, BLOCK))
    busy = 0
    for _ in range(80):
        env.step(rng.choice(6, (6, 2), p=BUSY))
        index, planes = env.index_obs().swapaxes(0, 1), env.lossless_obs().swapaxes(0, 1)  # seats first
        sparse = index_bag(*map(torch.from_numpy, (table, bias, np.ascontiguousarray(index))))
        full = np.einsum("mbi,moi->mbo", planes.reshape(2, 6, -1).astype(float), weight) + bias[:, None]
        np.testing.assert_allclose(sparse.numpy(), np.maximum(full, 0), rtol=0, atol=1e-10)
        busy += int((index != env.spec.pad).sum())
    assert busy > 80 * 12 * 5  # not a comparison of empty kitchens


# -------------------------------------------------------------------------------------------- whole networks


@pytest.mark.parametrize("kind", ARCHS)
def test_every_parameter_of_every_member_gets_a_gradient(kind: str) -> None:
    arch = SMALL[kind]
    net = PopulationNet.create(arch, generators(1, 2, 3))
    logits, val = net(observations(arch, 3, 32))
    (logits.log_softmax(-1)[..., 0].sum() + val.square().sum()).backward()
    for name, param in net.named_parameters():
        assert param.grad is not None, name
        assert bool((param.grad.flatten(1).abs().amax(1) > 0).all()), name
    assert len(list(net.parameters())) == len(param_shapes(arch))


@pytest.mark.parametrize("kind", ARCHS)
def test_a_member_answers_as_it_does_alone(kind: str) -> None:
    """Neither the initial parameters nor the outputs nor the gradients of a member depend on its neighbours."""
    arch = SMALL[kind]
    together = PopulationNet.create(arch, generators(1, 2, 3))
    obs = observations(arch, 3, 10)
    out = together.outputs(obs)
    out.square().sum().backward()
    for m in range(3):
        alone = PopulationNet.create(arch, generators(m + 1))
        for name, tensor in alone.tensors().items():
            assert torch.equal(tensor[0], together.tensors()[name][m]), name
        own = alone.outputs(obs[m : m + 1])
        torch.testing.assert_close(own[0], out[m])
        own.square().sum().backward()
        for ours, theirs in zip(alone.parameters(), together.parameters(), strict=True):
            torch.testing.assert_close(ours.grad[0], theirs.grad[m])


@pytest.mark.parametrize("kind", ARCHS)
def test_shapes_of_the_outputs(kind: str) -> None:
    arch = SMALL[kind]
    net = PopulationNet.create(arch, generators(1, 2))
    obs = observations(arch, 2, 5)
    logits, val = net(obs)
    assert (logits.shape, val.shape) == ((2, 5, NUM_ACTIONS), (2, 5))
    assert torch.equal(net.outputs(obs), torch.cat([logits, val[..., None]], -1))
    assert (net.members, net.outputs(obs).shape[-1]) == (2, HEADS)


def test_the_cnn_is_the_published_one() -> None:
    """Against torch's own layers: 5x5 same, 3x3 same, 3x3 valid, 25 filters, leaky ReLU, dense, two heads."""
    arch = SMALL["cnn"]
    net = PopulationNet.create(arch, generators(4))
    views = {k: v[0] for k, v in net.tensors().items()}
    convs = [torch.nn.Conv2d(c, 25, k, padding=p) for c, k, p in ((26, 5, 2), (25, 3, 1), (25, 3, 0))]
    layers: list[torch.nn.Module] = []
    for i, conv in enumerate(convs):
        conv.load_state_dict({"weight": views[f"conv{i}.weight"], "bias": views[f"conv{i}.bias"]})
        layers += [conv, torch.nn.LeakyReLU()]
    layers.append(torch.nn.Flatten())
    for name in ("dense0", "dense1", "head"):
        weight = views[f"{name}.weight"]
        layer = torch.nn.Linear(weight.shape[1], weight.shape[0])
        layer.load_state_dict({"weight": weight, "bias": views[f"{name}.bias"]})
        layers += [layer, torch.nn.LeakyReLU()]
    obs = observations(arch, 1, 7)
    expected = torch.nn.Sequential(*layers[:-1])(obs[0].float().permute(0, 3, 1, 2))
    torch.testing.assert_close(net.outputs(obs)[0], expected)


@pytest.mark.parametrize("kind", ARCHS)
def test_the_first_policy_is_nearly_uniform(kind: str) -> None:
    """The policy head starts small, so that no action is favoured by chance."""
    arch = SMALL[kind]
    logits, val = PopulationNet.create(arch, generators(0))(observations(arch, 1, 200))
    assert logits.softmax(-1).sub(1 / NUM_ACTIONS).abs().max().item() < 0.05
    assert val.std().item() > 0.05


def test_stack_and_select() -> None:
    arch = SMALL["mlp_features"]
    nets = [PopulationNet.create(arch, generators(seed)) for seed in (1, 2, 3)]
    together = PopulationNet.stack(nets)
    assert together.members == 3
    chosen = together.select([2, 0])
    for name, tensor in chosen.tensors().items():
        assert torch.equal(tensor[0], nets[2].tensors()[name][0])
        assert torch.equal(tensor[1], nets[0].tensors()[name][0])
    with torch.no_grad():
        chosen.head_bias += 1.0
    assert torch.equal(together.head_bias, torch.zeros(3, HEADS))  # a copy, not a view
    with pytest.raises(UserError, match="different architectures"):
        PopulationNet.stack([nets[0], PopulationNet.create(SMALL["cnn"], generators(0))])


# ----------------------------------------------------------------------------------------------- refusals


def test_an_unknown_kind_names_the_closest() -> None:
    with pytest.raises(UserError, match="did you mean 'mlp_index'"):
        Arch(kind="mlp_indx")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"hidden": ()}, "at least one layer"),
        ({"hidden": (64, 0)}, "width >= 1"),
        ({"kind": "mlp_index", "hidden": (65,)}, "multiple of 64"),
        ({"kind": "cnn", "extra": 2}, "extra=2: .* for mlp_index, not cnn"),
        ({"extra": -1}, "extra=-1"),
    ],
)
def test_impossible_shapes_are_refused(fields: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Arch(**fields)


@pytest.mark.parametrize("kind", ARCHS)
def test_parameters_of_the_wrong_shape_are_refused(kind: str) -> None:
    arch = SMALL[kind]
    good = PopulationNet.create(arch, generators(0)).tensors()
    for name, tensor in good.items():
        with pytest.raises(UserError, match=f"parameter '{name}'"):
            PopulationNet(arch, {**good, name: tensor[:, :-1]})
        with pytest.raises(UserError, match=f"parameter '{name}'.*nothing"):
            PopulationNet(arch, {k: v for k, v in good.items() if k != name})


@pytest.mark.parametrize("kind", ARCHS)
def test_an_architecture_survives_json(kind: str) -> None:
    assert Arch.from_dict({k: list(v) if isinstance(v, tuple) else v for k, v in SMALL[kind].to_dict().items()}) == (
        SMALL[kind]
    )
    assert "extra" not in SMALL[kind].to_dict()  # files of networks without dense inputs are what they always were


def test_dense_inputs_survive_json() -> None:
    arch = Arch(inputs=40, extra=3)
    assert Arch.from_dict(arch.to_dict()) == arch


# ------------------------------------------------------------------------------------------ action choice


def test_actions_follow_the_inverse_distribution() -> None:
    logits = torch.tensor([0.1, 0.2, 0.3, 0.2, 0.15, 0.05]).log()
    # Cumulated: .1 .3 .6 .8 .95 1
    uniform = torch.tensor([0.0, 0.09, 0.11, 0.29, 0.31, 0.59, 0.61, 0.79, 0.81, 0.94, 0.96, 0.999])
    act, logp = sample_actions(logits.expand(12, -1).contiguous(), uniform)
    assert act.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    torch.testing.assert_close(logp, logits[act])


def test_impossible_actions_are_never_chosen_and_huge_logits_do_no_harm() -> None:
    logits = torch.tensor([[-torch.inf, 800.0, 799.0, -torch.inf, -800.0, -torch.inf]]).repeat(1000, 1)
    act, logp = sample_actions(logits, torch.arange(1000) / 1000)
    assert set(act.tolist()) == {1, 2}
    assert bool(torch.isfinite(logp).all())
    assert (act == 1).float().mean().item() == pytest.approx(1 / (1 + np.exp(-1)), abs=0.002)
