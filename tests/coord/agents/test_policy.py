"""`FrozenPolicy` with several members: every row is played as its member alone would, with all it remembers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch

from coord.agents.context.action import ActionPredictor, PartnerAction
from coord.agents.context.base import Context
from coord.agents.context.belief import PartnerBelief
from coord.agents.context.groups import GroupEncoder, PartnerGroup
from coord.agents.policy import FrozenPolicy, SharedUniforms
from coord.agents.views import KitchenView
from coord.nets.population import Arch, PopulationNet
from coord.overcooked import IndexSpec, OvercookedVectorEnv, load_layout
from coord.seeding import torch_generator
from coord.types import NUM_ACTIONS

pytestmark = pytest.mark.usefixtures("one_thread")

KITCHENS, TICKS, MEMBERS = 9, 15, 3
SPEC = IndexSpec.for_layouts([load_layout("cramped_room")], "classic", 2)
NORTH, STAY = 0, 4


def networks(kind: str = "mlp_index", members: int = MEMBERS, **more: int) -> PopulationNet:
    """Networks with clear opinions, also about what they read beside the kitchen."""
    inputs = SPEC.vocab_size if kind == "mlp_index" else 96
    arch = Arch(kind=kind, inputs=inputs, hidden=(64,), **more)
    net = PopulationNet.create(arch, [torch_generator(m, "net") for m in range(members)])
    with torch.no_grad():
        net.head_weight.normal_(generator=torch_generator(0, "head"))
        if arch.extra:
            net.tensors()["extra.weight"].normal_(std=3.0, generator=torch_generator(0, "extra"))
    return net


def groups(member: int) -> PartnerGroup:
    encoder = GroupEncoder.create(SPEC.vocab_size, [torch_generator(member, "encoder")])
    with torch.no_grad():
        encoder.head_weight *= 100
    return PartnerGroup(encoder, SPEC, window=4, update="both")


def belief(member: int) -> PartnerBelief:
    return PartnerBelief(networks(members=2 + member), SPEC, [2] * (2 + member), share=0.01)


def action(member: int) -> PartnerAction:
    net = ActionPredictor.create(SPEC.vocab_size, 3, [torch_generator(member, "predictor")])
    with torch.no_grad():
        net.head_weight *= 100
    return PartnerAction(net, SPEC)


CONTEXTS: dict[str, Callable[[int], Context]] = {"groups": groups, "belief": belief, "action": action}


def episodes(
    players: Sequence[FrozenPolicy], begin: Callable[[FrozenPolicy], None], count: int = 3
) -> list[tuple[np.ndarray, ...]]:
    """(members [n], acts of each of the players [n], what its member alone does [n]), tick by tick.

    The first player has all members; the others are these alone, asked about all rows. Whom a kitchen gets changes
    between episodes; `begin` is told of each.
    """
    env = OvercookedVectorEnv("cramped_room", KITCHENS, horizon=TICKS)
    env.reset()
    view, gen = KitchenView(env), np.random.default_rng(0)
    rows, seats, seen = np.arange(KITCHENS), np.arange(KITCHENS) % 2, []
    for player in players:
        player.start(KITCHENS, 2, 5)
    for _ in range(count):
        member = gen.integers(0, MEMBERS, KITCHENS)
        for player in players:
            begin(player)
        for _ in range(TICKS):
            ours = players[0].act(view, rows, seats, member)
            alone = np.array([player.act(view, rows, seats) for player in players[1:]])
            seen.append((member, ours, alone[member, rows]))
            joint_act = gen.integers(0, NUM_ACTIONS, (KITCHENS, 2))
            joint_act[rows, seats] = ours
            view.stepped(joint_act, env.step(joint_act).truncated)
    return seen


def check_rows(players: Sequence[FrozenPolicy], begin: Callable[[FrozenPolicy], None], distinct: bool = True) -> None:
    seen = episodes(players, begin)
    for _, ours, alone in seen:
        np.testing.assert_array_equal(ours, alone)
    acts = np.concatenate([ours for _, ours, _ in seen])
    assert not distinct or len(np.unique(acts)) > 2


@pytest.mark.parametrize("kind", CONTEXTS)
def test_every_row_is_its_member_among_strangers(kind: str) -> None:
    """Partners in training do in every episode what a player does who was just started."""
    make = CONTEXTS[kind]
    net = networks(extra=make(0).size)
    contexts = [make(m) for m in range(MEMBERS)]
    pool = FrozenPolicy(net, SPEC, stochastic=False, contexts=contexts, strangers=True)
    alone = [FrozenPolicy(net.select([m]), SPEC, stochastic=False, contexts=[make(m)]) for m in range(MEMBERS)]

    def begin(player: FrozenPolicy) -> None:
        if player is not pool:
            player.start(KITCHENS, 2, 5)
        player.begin_episode(np.arange(KITCHENS))

    check_rows([pool, *alone], begin)


def test_what_is_known_of_a_partner_stays_unless_it_is_a_stranger() -> None:
    net = networks(members=1, extra=groups(0).size)
    kept = {}
    for strangers in (False, True):
        agent = FrozenPolicy(net, SPEC, contexts=[groups(0)], strangers=strangers)
        agent.start(1, 2, 0)
        agent.contexts[0]._evidence[:] = 1.0
        agent.begin_episode(np.array([0]))
        kept[strangers] = bool(agent.contexts[0]._evidence.any())
    assert kept == {False: True, True: False}


@pytest.mark.parametrize(
    ("kind", "memory", "options"),
    [
        ("mlp_index", 0, {}),
        ("mlp_index", 8, {}),
        ("mlp_features", 6, {"unstick": True}),
        ("mlp_features", 0, {"unstick": True, "drop_stay": True}),
    ],
)
def test_every_row_is_its_member_alone(kind: str, memory: int, options: dict[str, bool]) -> None:
    net, spec = networks(kind, memory=memory), SPEC if kind == "mlp_index" else None
    policies = [
        FrozenPolicy(one, spec, stochastic=False, **options)
        for one in (net, *(net.select([m]) for m in range(MEMBERS)))
    ]
    # What the un-stuck rule remembers of a row that somebody else played would differ: one episode, members by row.
    check_rows(policies, lambda player: player.begin_episode(np.arange(KITCHENS)))


@pytest.mark.parametrize("uniforms", ["by row", "shared"])
def test_a_saved_population_goes_on_exactly(uniforms: str) -> None:
    how = {} if uniforms == "by row" else {"uniforms": SharedUniforms}

    def fresh(seed: int) -> FrozenPolicy:
        contexts = [belief(m) for m in range(MEMBERS)]
        made = FrozenPolicy(networks(extra=contexts[0].size, memory=8), SPEC, contexts=contexts, **how)
        made.start(KITCHENS, 2, seed)
        return made

    env = OvercookedVectorEnv("cramped_room", KITCHENS, horizon=TICKS)
    env.reset()
    view, gen, whole, again = KitchenView(env), np.random.default_rng(0), fresh(1), fresh(2)
    rows, seats, member = np.arange(KITCHENS), np.arange(KITCHENS) % 2, np.arange(KITCHENS) % MEMBERS
    same = []
    for tick in range(12):
        if tick == 6:
            again.set_state({name: value.copy() for name, value in whole.get_state().items()})
        acts = whole.act(view, rows, seats, member)
        same.append(bool((acts == again.act(view, rows, seats, member)).all()))
        joint_act = gen.integers(0, NUM_ACTIONS, (KITCHENS, 2))
        joint_act[rows, seats] = acts
        view.stepped(joint_act, env.step(joint_act).truncated)
    assert not all(same[:6])
    assert all(same[6:])


def test_masks_bind_every_member() -> None:
    env = OvercookedVectorEnv("cramped_room", KITCHENS, horizon=TICKS, mask_useless_actions=True)
    env.reset()
    view, pool = KitchenView(env), FrozenPolicy(networks(), SPEC)
    pool.start(KITCHENS, 2, 0)
    rows, seats = np.arange(KITCHENS), np.zeros(KITCHENS, np.int64)
    useful = view.useful()[rows, seats]
    assert not useful.all()
    for _ in range(20):
        acts = pool.act(view, rows, seats, rows % MEMBERS)
        assert useful[rows, acts].all()


def test_what_cannot_be_played_is_refused() -> None:
    with pytest.raises(ValueError, match="2 contexts for 3 members"):
        FrozenPolicy(networks(extra=4), SPEC, contexts=[groups(0), groups(1)])
    with pytest.raises(ValueError, match="reads 4 numbers"):
        FrozenPolicy(networks(extra=4), SPEC)
    with pytest.raises(ValueError, match="reads 4 numbers"):
        FrozenPolicy(networks(extra=4), SPEC, contexts=[belief(m) for m in range(MEMBERS)])
    with pytest.raises(ValueError, match="from features"):
        FrozenPolicy(networks(), SPEC, unstick=True)
    pool = FrozenPolicy(networks(), SPEC)
    pool.start(1, 2, 0)
    env = OvercookedVectorEnv("cramped_room", 1)
    env.reset()
    with pytest.raises(ValueError, match="which of 3 members"):
        pool.act(KitchenView(env), np.array([0]), np.array([0]))
