"""Behaviour cloning: the loss by hand, a synthetic policy recovered, splits by game, and the real human games."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from coord.agents.files import StoredAgent, read_agent
from coord.algos.bc import (
    PUBLISHED_EPOCHS,
    BCConfig,
    Demonstrations,
    accuracy,
    action_shares,
    chance,
    clone,
    cloning_loss,
    held_back,
    load_demonstrations,
    packaged_games,
    recorded_layout,
    train_clone,
)
from coord.errors import UserError
from coord.evaluation.agents import load_training_partners
from coord.overcooked import load_layout
from coord.overcooked.human_data import load_games
from coord.run import config
from coord.run.cli import main
from tests.agent_fixtures import constant_policy


def synthetic(rows: int, games: int = 10, seed: int = 0) -> Demonstrations:
    """A policy that takes action k where feature k is the largest of the first six, nine times out of ten."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(rows, 8)).astype(np.float32)
    acts = features[:, :6].argmax(axis=1)
    noisy = rng.random(rows) < 0.1
    acts[noisy] = rng.integers(0, 6, noisy.sum())
    return Demonstrations(features, acts.astype(np.int64), np.arange(rows) * games // rows)


def test_loss_accuracy_and_chance_by_hand() -> None:
    net = constant_policy(np.log([0.5, 0.1, 0.1, 0.1, 0.1, 0.1]).tolist(), inputs=3)
    demos = Demonstrations(np.zeros((4, 3), np.float32), np.array([0, 0, 0, 5]), np.zeros(4, np.int64))
    loss = cloning_loss(net, torch.zeros(1, 4, 3), torch.tensor([[0, 0, 0, 5]]))
    assert loss.item() == pytest.approx(-(3 * np.log(0.5) + np.log(0.1)) / 4, rel=1e-5)
    assert accuracy(net, demos).tolist() == [0.75]
    assert chance(net, demos) == pytest.approx([(3 * 0.5 + 0.1) / 4])
    assert action_shares(demos).tolist() == [0.75, 0, 0, 0, 0, 0.25]


def test_a_synthetic_policy_is_recovered_on_fresh_rows() -> None:
    net = clone(synthetic(6000), BCConfig(), [0, 1], epochs=15)
    scores = accuracy(net, synthetic(3000, seed=9))
    # 0.9 + 0.1 / 6 is the best any clone can do, 1 / 6 what guessing gives.
    assert scores.shape == (2,)
    assert (scores > 0.85).all()
    assert (scores <= 0.9 + 0.1 / 6 + 0.02).all()


def test_members_depend_on_their_own_seed_only() -> None:
    demos = synthetic(600)
    both, alone, again = (clone(demos, BCConfig(), seeds, epochs=2) for seeds in ([4, 7], [7], [7]))
    for name, tensor in alone.tensors().items():
        assert torch.equal(tensor, again.tensors()[name])
        torch.testing.assert_close(both.tensors()[name][1:], tensor, rtol=1e-4, atol=1e-5)
        assert name.endswith("bias") or not torch.allclose(both.tensors()[name][0], tensor[0])


def test_validation_holds_back_whole_games() -> None:
    demos = synthetic(1000, games=8)
    back = held_back(demos, 0.15, seed=0)
    assert set(demos.game[back]) & set(demos.game[~back]) == set()
    assert len(set(demos.game[back])) == 1  # 15 % of 8 games
    np.testing.assert_array_equal(back, held_back(demos, 0.15, seed=0))
    assert not held_back(demos, 0.0, seed=0).any()
    with pytest.raises(UserError, match="leaves none"):
        held_back(synthetic(10, games=1), 0.15, seed=0)


def test_bad_settings_are_refused() -> None:
    with pytest.raises(UserError, match="did you mean 'test'"):
        BCConfig(split="tests")
    with pytest.raises(UserError, match="val_fraction"):
        config.from_dict(BCConfig, {"val_fraction": 1.0})
    with pytest.raises(UserError, match="batch_size=0"):
        config.from_dict(BCConfig, {"batch_size": 0})


def test_demonstrations_are_both_seats_of_every_recorded_tick() -> None:
    games = load_games("train", "cramped_room")
    demos = load_demonstrations("cramped_room", "train")
    ticks = sum(len(game.joint_act) for game in games)
    assert demos.features.shape == (2 * ticks, 96)
    np.testing.assert_array_equal(np.bincount(demos.game), [2 * len(game.joint_act) for game in games])
    row = 2 * (len(games[0].joint_act) + 100)  # seat 0, tick 100 of the second game
    player = games[1].states[100]["players"][0]
    orientation = [(0, -1), (0, 1), (1, 0), (-1, 0)].index(tuple(player["orientation"]))
    assert demos.features[row, :4].tolist() == [float(k == orientation) for k in range(4)]
    assert demos.features[row, -2:].tolist() == list(player["position"])
    assert demos.acts[row : row + 2].tolist() == games[1].joint_act[100].tolist()


def test_halves_share_no_game() -> None:
    train, test = (load_demonstrations("forced_coordination", split) for split in ("train", "test"))
    keys = [{demos.features[demos.game == g].tobytes() for g in np.unique(demos.game)} for demos in (train, test)]
    assert all(keys)
    assert keys[0] & keys[1] == set()


def test_terrain_decides_which_games_fit() -> None:
    assert recorded_layout(load_layout("random3")) == "counter_circuit_o_1order"  # other start tiles, same kitchen
    assert recorded_layout(load_layout("simple")) == "cramped_room"
    with pytest.raises(UserError) as error:
        recorded_layout(load_layout("large_room"))
    assert all(name in str(error.value) for name in PUBLISHED_EPOCHS)


@pytest.fixture(scope="module")
def quick_clone() -> StoredAgent:
    return train_clone(packaged_games("coordination_ring", "test"), BCConfig(split="test", epochs=8), seed=0)


@pytest.mark.learn
def test_a_clone_of_real_games_predicts_people_it_never_saw(quick_clone: StoredAgent) -> None:
    facts = quick_clone.card.extra
    staying = facts["action_shares"][4]
    # Published: .48 on this layout; people stand still in about half of the ticks, so a constant guess gets close.
    assert facts["accuracy"]["unseen"] > 0.46
    assert facts["chance"]["unseen"] > staying * 0.7
    assert facts["accuracy"]["fitted"] > staying
    # Clones must follow what they see, not only the shares of the actions.
    constant = sum(share**2 for share in facts["action_shares"])
    assert facts["chance"]["unseen"] > constant + 0.05


@pytest.mark.learn
def test_the_card_of_a_clone_says_what_it_learned_from(quick_clone: StoredAgent) -> None:
    card = quick_clone.card
    assert (card.agent_id, card.human_data, card.method, card.unstick) == ("human_proxy", "test", "bc", True)
    assert card.layouts == {"coordination_ring": load_layout("coordination_ring").hash}
    assert card.rules == "classic"


@pytest.mark.learn
def test_command_trains_a_clone_with_its_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "clone"
    words = ["algo=bc", "layout=forced_coordination", "algo.split=test", "algo.epochs=2", f"out={folder}"]
    assert main(["train", *words]) == 0
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [rows[0]["step"], 2 * rows[0]["step"]]
    assert rows[1]["train/bc_loss"] < rows[0]["train/bc_loss"] < np.log(6)
    stored = read_agent(folder / "agent.safetensors")
    assert stored.card.human_data == "test"
    assert stored.card.extra["accuracy"]["unseen"] == pytest.approx(rows[1]["eval/bc_accuracy"])
    with pytest.raises(UserError, match="for evaluation only"):
        load_training_partners([str(folder)], "forced_coordination", "classic")
    assert main(["train", "algo=bc", "layout=large_room", f"out={tmp_path / 'no'}"]) == 2
    assert "human games exist for" in capsys.readouterr().err
    assert not (tmp_path / "no").exists()
