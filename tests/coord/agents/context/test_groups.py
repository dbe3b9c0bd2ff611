"""Groups of partners: attention, windows and evidence, and what is known within and between episodes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from coord.agents.context import kinds
from coord.agents.context.groups import FIRST, MEMORY, PAD, UPDATES, GroupEncoder, PartnerGroup
from coord.agents.views import UNKNOWN, KitchenView
from coord.overcooked import IndexSpec, OvercookedVectorEnv, load_layout

SPEC = IndexSpec.for_layouts([load_layout("cramped_room")], "classic", 2)
WINDOW = 4


def encoder(members: int = 1) -> GroupEncoder:
    """Encoders that are sure of what they say."""
    net = GroupEncoder.create(SPEC.vocab_size, [torch.Generator().manual_seed(m) for m in range(members)])
    with torch.no_grad():
        net.head_weight *= 200
    return net


def some_windows(members: int, rows: int, seed: int = 0) -> torch.Tensor:
    gen = torch.Generator().manual_seed(seed)
    return torch.randint(SPEC.vocab_size, (members, rows, WINDOW, 9), generator=gen, dtype=torch.int16)


def context(update: str = "both", members: int = 1) -> PartnerGroup:
    return PartnerGroup(encoder(members), SPEC, window=WINDOW, update=update)


# ------------------------------------------------------------------------------------------------- encoder


def test_the_encoder_against_slow_sums() -> None:
    """Steps are rectified sums of rows, each takes from all by a softmax over keys, and a mean of them is judged."""
    net, windows = encoder(2), some_windows(2, 3)
    found, weights = net(windows), net.attention(windows)
    p = {name: tensor.double().numpy() for name, tensor in net.tensors().items()}
    compared = 0
    for m in range(2):
        for b in range(3):
            steps = np.maximum(p["table"][m][windows[m, b].long().numpy()].sum(1) + p["table.bias"][m], 0)  # [L, 64]
            query, key, value = (steps @ p[f"{name}.weight"][m].T for name in ("query", "key", "value"))
            scores = np.exp(query @ key.T / 8)
            attention = scores / scores.sum(1, keepdims=True)
            np.testing.assert_allclose(weights[m, b].detach().numpy(), attention, rtol=1e-3, atol=1e-6)
            mixed = (steps + attention @ value).mean(0)
            joint = np.maximum(p["joint.weight"][m] @ mixed + p["joint.bias"][m], 0)
            np.testing.assert_allclose(
                found[m, b].detach().numpy(), p["head.weight"][m] @ joint + p["head.bias"][m], rtol=1e-3, atol=1e-3
            )
            compared += 1
    assert compared == 6
    assert not torch.allclose(weights.sum(-2), torch.ones(2, 3, WINDOW), atol=1e-3)  # sums over queries are free


def test_every_parameter_learns_and_is_saved() -> None:
    net = encoder()
    net(some_windows(1, 30)).square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in net.parameters())
    assert {name.replace(".", "_") for name in net.tensors()} == {name for name, _ in net.named_parameters()}
    assert {"query.weight", "key.weight", "value.weight"} <= set(net.tensors())


# ------------------------------------------------------------------------------------------------- evidence


class Kitchen:
    """One kitchen in which seat 1 is watched from seat 0."""

    def __init__(self, made: PartnerGroup) -> None:
        self.made, self.rng = made, np.random.default_rng(5)
        self.env = OvercookedVectorEnv("cramped_room", 1, horizon=10_000)
        self.env.reset()
        self.view, self.row, self.seat = KitchenView(self.env), np.array([0]), np.array([0])
        made.start(1, 2, 0)
        made.begin_episode(self.row)

    def ticks(self, count: int) -> np.ndarray:
        """Contexts [count, 4]; the partner acts at random."""
        out = []
        for _ in range(count):
            out.append(self.made.observe(self.view, self.row, self.seat, self.view.last_joint_act)[0])
            joint = self.rng.integers(6, size=(1, 2))
            self.view.stepped(joint, self.env.step(joint).truncated)
        return np.array(out)

    def new_episode(self) -> None:
        self.made.observe(self.view, self.row, self.seat, self.view.last_joint_act)  # the last state of the old one
        self.made.begin_episode(self.row)
        self.view.invalidate()


def changes(values: np.ndarray) -> list[int]:
    return [int(i) + 1 for i in np.flatnonzero((np.abs(np.diff(values, axis=0)) > 1e-7).any(1))]


@pytest.mark.parametrize("update", UPDATES)
def test_when_the_context_changes(update: str) -> None:
    """Within an episode with every full window, between episodes at their start."""
    kitchen = Kitchen(context(update))
    first = kitchen.ticks(3 * WINDOW)
    np.testing.assert_allclose(first[0], FIRST, rtol=1e-5)
    assert changes(first) == ([] if update == "episode" else [WINDOW, 2 * WINDOW])
    kitchen.new_episode()
    second = kitchen.ticks(2 * WINDOW + 1)
    known = np.abs(second[0] - FIRST).max() > 0.01
    assert known == (update != "within")
    assert changes(second) == ([] if update == "episode" else [WINDOW, 2 * WINDOW])
    kitchen.made.forget(kitchen.row)
    np.testing.assert_allclose(kitchen.made.probabilities(kitchen.row, kitchen.seat)[0], FIRST, rtol=1e-5)


def test_evidence_by_hand() -> None:
    made, seen = context(), []
    made.on_windows = lambda kitchens, seats, windows: seen.append(windows.copy())
    kitchen = Kitchen(made)
    found = kitchen.ticks(2 * WINDOW + 1)[-1]
    first, second = (made.log_probs(windows, np.array([0]))[0] for windows in seen)
    weight = np.array(FIRST) * np.exp(MEMORY * first + second)
    np.testing.assert_allclose(found, weight / weight.sum(), rtol=1e-4)
    kitchen.new_episode()  # what is new comes on top of the last episode
    before = np.log(weight)
    found = kitchen.ticks(WINDOW + 1)[-1]
    weight = np.exp(before + made.log_probs(seen[2], np.array([0]))[0])
    np.testing.assert_allclose(found, weight / weight.sum(), rtol=1e-4)
    assert len(seen) == 3


def test_only_three_past_episodes_count() -> None:
    kitchen = Kitchen(context("episode"))
    kitchen.ticks(3 * WINDOW)
    for past in range(4):
        kitchen.new_episode()
        value = kitchen.made.probabilities(kitchen.row, kitchen.seat)[0]
        assert np.allclose(value, FIRST) == (past == 3)


def test_a_window_holds_what_the_partner_saw_and_did() -> None:
    made, seen, facts, acts = context(), [], [], []
    made.on_windows = lambda kitchens, seats, windows: seen.append(windows[0].copy())
    kitchen = Kitchen(made)
    for tick in range(WINDOW + 2):
        own = kitchen.view.index(SPEC)[0, 1]
        if tick == 1:
            kitchen.view.last_joint_act[:] = UNKNOWN  # what was done in the first tick is lost, with its facts
        kitchen.ticks(1)
        facts.append(np.where(own < SPEC.vocab_size, own, PAD))
        acts.append(int(kitchen.view.last_joint_act[0, 1]))
    assert len(seen) == 1
    for step, tick in enumerate(range(1, WINDOW + 1)):
        assert seen[0][step].tolist() == [SPEC.vocab_size + acts[tick], *facts[tick]]


def test_members_have_their_own_encoder() -> None:
    made, windows = context(members=2), some_windows(1, 6)[0].numpy()
    member = np.array([1, 0, 1, 1, 0, 0])
    found = made.log_probs(windows, member)
    for i in range(6):
        with torch.no_grad():
            alone = made.net(torch.from_numpy(windows[i]).expand(2, 1, -1, -1))[member[i], 0].log_softmax(-1)
        np.testing.assert_allclose(found[i], alone.numpy(), rtol=1e-4, atol=1e-4)


def test_files_hold_encoder_and_settings() -> None:
    made = context("within", members=2)
    own = {name: tensor[1:] for name, tensor in made.tensors().items()}
    built = kinds.build(own, made.settings(), SPEC)
    assert (built.window, built.update) == (WINDOW, "within")
    first, second = Kitchen(built).ticks(20), Kitchen(context("within")).ticks(20)
    assert np.abs(first - second).max() > 0.1  # the second member's encoder, not the first's
