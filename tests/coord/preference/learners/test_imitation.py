"""Imitation: the loss by hand, a policy recovered, exact resume, members on their own, and the held-out half unread."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from coord.algos import bc
from coord.algos.bc import Demonstrations
from coord.algos.ppo import Hooks
from coord.errors import UserError
from coord.nets.population import Arch
from coord.overcooked import load_layout
from coord.overcooked.human_data import load_games
from coord.preference.learners import imitation
from coord.preference.learners.imitation import HumanGames, ImitationConfig, Imitators, imitation_loss, judge, train
from coord.run import config

ARCH = Arch(kind="mlp_index", inputs=12, hidden=(64, 64))
CONFIG = ImitationConfig(epochs=4, batch_size=32)


def demos(rows: int, seed: int = 0) -> Demonstrations:
    """Two facts out of twelve hold at a time; people do what the first says, nine times out of ten."""
    rng = np.random.default_rng(seed)
    facts = np.stack([rng.integers(6, size=rows), rng.integers(6, 12, size=rows)], 1).astype(np.int16)
    acts = np.where(rng.random(rows) < 0.1, rng.integers(6, size=rows), facts[:, 0])
    return Demonstrations(facts, acts.astype(np.int64), np.arange(rows) * 10 // rows)


GAMES = HumanGames(demos(400), demos(100, seed=1))


def trained(seeds: list[int], config: ImitationConfig = CONFIG, stop: int | None = None) -> Imitators:
    state = Imitators.create(config, ARCH, seeds, len(GAMES.fit.acts))
    return train(state, GAMES, Hooks(should_stop=lambda state: state.epoch == stop))


def test_loss_by_hand() -> None:
    probs = torch.tensor([0.5, 0.3, 0.05, 0.05, 0.05, 0.05])
    logits = probs.log().expand(1, 2, 6)
    loss, cross = imitation_loss(logits, torch.tensor([[0, 1]]), ent_coef=0.1)
    expected = -(np.log(0.5) + np.log(0.3)) / 2
    assert cross.item() == pytest.approx(expected, rel=1e-5)
    assert loss.item() == pytest.approx(expected + 0.1 * float((probs * probs.log()).sum()), rel=1e-5)


def test_a_policy_is_recovered_on_fresh_rows() -> None:
    state = trained([0, 1], ImitationConfig(epochs=30, batch_size=32, ent_coef=0.0))
    found = judge(state.net, demos(1000, seed=9))
    assert found["eval/bc_accuracy"].shape == (2,)
    assert bool((found["eval/bc_accuracy"] > 0.87).all())  # the best there is: 0.9 + 0.1 / 6
    assert state.env_step == 30 * 400 == state.cfg.total_steps


def test_the_bonus_keeps_actions_possible() -> None:
    plain, bonus = (trained([0], ImitationConfig(epochs=20, batch_size=32, ent_coef=coef)) for coef in (0.0, 0.3))
    least = [
        net(torch.from_numpy(GAMES.held.features)[None])[0].softmax(-1).min().item() for net in (plain.net, bonus.net)
    ]
    assert least[1] > 2 * least[0]


def test_resume_is_exact() -> None:
    whole, half = trained([0, 1]), trained([0, 1], stop=2)
    assert half.epoch == 2
    rest = Imitators.create(CONFIG, ARCH, [5, 6], len(GAMES.fit.acts))
    rest.load_state_dict({name: tensor.clone() for name, tensor in half.state_dict().items()})
    train(rest, GAMES, Hooks())
    for name, tensor in whole.state_dict().items():
        assert torch.equal(rest.state_dict()[name], tensor), name


def test_members_depend_on_their_own_seed_only() -> None:
    both, alone = trained([3, 7]), trained([7])
    for name, tensor in alone.net.tensors().items():
        torch.testing.assert_close(both.net.tensors()[name][1:], tensor, rtol=1e-4, atol=1e-5)
    assert not torch.equal(both.net.tensors()["head.weight"][0], both.net.tensors()["head.weight"][1])


def test_only_the_train_half_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    read = []

    def watched(split: str, layout: str) -> list:
        read.append(split)
        games = load_games(split, layout)[:2]
        assert {game.split for game in games} == {"train"}
        return games

    monkeypatch.setattr(bc, "load_games", watched)
    home = load_layout("cramped_room")
    games = imitation.read_games(home, ImitationConfig(val_fraction=0.5), seed=0)
    assert read == ["train"]
    assert not set(games.fit.game) & set(games.held.game)
    assert min(len(games.fit.acts), len(games.held.acts)) > 0
    arch = imitation.arch_of(home, "classic", (64, 64))
    assert games.fit.features.dtype == np.int16
    assert games.fit.features.min() >= 0
    assert games.fit.features.max() <= arch.inputs  # the last number stands for nothing


@pytest.mark.parametrize("bad", [{"epochs": 0}, {"lr": 0.0}, {"ent_coef": -0.1}, {"val_fraction": 1.0}])
def test_bad_values_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(UserError, match=next(iter(bad))):
        config.from_dict(ImitationConfig, bad)
