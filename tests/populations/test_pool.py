"""Pools on disk: written whole or not at all, opened fast, and refused when anything is wrong with a file."""

from __future__ import annotations

import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from coord import checkpoint
from coord.agents.files import AgentCard, read_agent, read_pool_member, save_agent, stack_agents
from coord.algos.ppo import PPOConfig
from coord.errors import Diverged, UserError
from coord.overcooked import load_layout
from populations.methods import fcp
from populations.methods.fcp import FCPConfig
from populations.pool import add_members, open_pool
from populations.training import Setup
from tests.agent_fixtures import card, index_member, member, network


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    add_members(tmp_path / "pool", [member("a", 1), member("b", 2, checkpoint="mid", mean_return=55.0)])
    return tmp_path / "pool"


def test_round_trip(pool: Path) -> None:
    opened = open_pool(pool)
    assert [entry["id"] for entry in opened.entries] == ["a", "b"]
    assert opened.entries[1]["return"] == 55.0
    assert opened.entries[1]["checkpoint"] == "mid"
    assert opened.entries[0]["layout"] == "cramped_room"
    assert opened.entries[0]["layout_hash"] == load_layout("cramped_room").hash
    for name, tensor in network(2).tensors().items():
        torch.testing.assert_close(opened.members[1].net.tensors()[name], tensor, rtol=0, atol=0)
    assert opened.members[1].card == read_agent(pool / "b.safetensors").card
    assert [agent.agent_id for agent in opened.agents()] == ["a", "b"]


def test_card_survives_json() -> None:
    original = member("x", 0, human_data="train", unstick=True, extra={"epochs": 3}).card
    assert AgentCard.from_dict(json.loads(json.dumps(original.to_dict())), "x") == original


def test_adding_keeps_the_old_members_and_refuses_taken_or_unsafe_ids(pool: Path) -> None:
    add_members(pool, [member("c", 3)])
    assert [entry["id"] for entry in open_pool(pool).entries] == ["a", "b", "c"]
    for bad, message in (("a", "already has"), ("../x", "letters, digits"), ("", "letters, digits")):
        with pytest.raises(UserError, match=message):
            add_members(pool, [member("d", 4), member(bad, 5)])
    with pytest.raises(UserError, match="already has"):
        add_members(pool, [member("e", 4), member("e", 5)])
    assert len(open_pool(pool)) == 3


def test_a_crash_while_adding_leaves_the_pool_as_it_was(pool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("populations.pool.atomic_write_json", killed)
    with pytest.raises(KeyboardInterrupt):
        add_members(pool, [member("c", 3)])
    monkeypatch.undo()
    assert len(open_pool(pool)) == 2
    add_members(pool, [member("c", 4)])  # the leftover file is simply replaced
    assert len(open_pool(pool)) == 3


def test_writers_wait_for_each_other(tmp_path: Path) -> None:
    # The lock belongs to the opened file, so threads of one process exclude each other just as processes do.
    with ThreadPoolExecutor(4) as writers:
        list(writers.map(lambda i: add_members(tmp_path / "pool", [member(f"m{i}", 0)]), range(8)))
    assert sorted(entry["id"] for entry in open_pool(tmp_path / "pool").entries) == [f"m{i}" for i in range(8)]


def test_tampered_file_is_named_with_both_hashes(pool: Path) -> None:
    file = pool / "b.safetensors"
    expected = checkpoint.file_hash(file)
    data = bytearray(file.read_bytes())
    data[-3] ^= 1
    file.write_bytes(data)
    with pytest.raises(UserError) as error:
        open_pool(pool)
    for part in ("b.safetensors", expected, checkpoint.file_hash(file)):
        assert part in str(error.value)
    assert read_pool_member(pool, "a").card.agent_id == "a"  # the others are still usable


def test_swapped_files_are_noticed(pool: Path) -> None:
    (pool / "b.safetensors").write_bytes((pool / "a.safetensors").read_bytes())
    with pytest.raises(UserError, match=r"b\.safetensors was altered"):
        open_pool(pool)


def test_truncated_file_is_refused(pool: Path) -> None:
    file = pool / "a.safetensors"
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(UserError, match=r"a\.safetensors was altered or cut short"):
        open_pool(pool)
    with pytest.raises(UserError, match="cut short"):
        read_agent(file)


def test_missing_file_is_refused(pool: Path) -> None:
    (pool / "a.safetensors").unlink()
    with pytest.raises(UserError, match=r"cannot read .*a\.safetensors"):
        open_pool(pool)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "manifest.json is damaged"),
        ("[]", "manifest.json is damaged"),
        ('{"schema": 1}', "manifest.json is damaged"),
        ('{"schema": 1, "members": [{"id": "a"}]}', "manifest.json is damaged"),
        ('{"schema": 99, "members": []}', "please update"),
        ('{"schema": 1, "members": []}', "no members"),
        ('{"schema": 1, "members": [{"id": "a", "file": "../../x", "sha256": ""}]}', "not inside the pool"),
    ],
)
def test_bad_manifest_is_refused(pool: Path, text: str, message: str) -> None:
    (pool / "manifest.json").write_text(text)
    with pytest.raises(UserError, match=message):
        open_pool(pool)


def test_repeated_ids_and_unknown_members_are_refused(pool: Path) -> None:
    with pytest.raises(UserError, match=r"unknown member.*did you mean 'a'|unknown member"):
        read_pool_member(pool, "aa")
    manifest = json.loads((pool / "manifest.json").read_text())
    manifest["members"].append(manifest["members"][0])
    (pool / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match="not unique"):
        open_pool(pool)
    with pytest.raises(UserError, match="is not a pool"):
        open_pool(pool.parent)


def test_other_checkpoints_are_no_agents(tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "x.safetensors", {"w": np.zeros(3)}, {"step": 3})
    with pytest.raises(UserError, match="not an agent"):
        read_agent(tmp_path / "x.safetensors")
    with pytest.raises(ValueError, match="one member"):
        save_agent(tmp_path / "y.safetensors", card(arch=index_member("z", 0).card.arch), network())


def test_groups_answer_like_the_members_one_by_one(tmp_path: Path) -> None:
    clone = member("c", 5, unstick=True)  # same architecture, but another rule
    add_members(tmp_path, [member("a", 1), index_member("i", 2), member("b", 3), index_member("j", 4), clone])
    members = open_pool(tmp_path).members
    groups = stack_agents(members)
    assert [group.indices for group in groups] == [(0, 2), (1, 3), (4,)]
    assert [group.spec is None for group in groups] == [True, False, True]
    assert [group.unstick for group in groups] == [False, False, True]
    obs = torch.randn(1, 7, 96)
    together, _ = groups[0].net(obs.expand(2, -1, -1))
    for k, i in enumerate(groups[0].indices):
        torch.testing.assert_close(together[k], members[i].net(obs)[0][0])


def test_a_pool_of_36_agents_is_small_and_opens_quickly(tmp_path: Path) -> None:
    setup = Setup(algo=PPOConfig(num_envs=1), layout="asymmetric_advantages", members=12, name="fcp")
    add_members(tmp_path / "pool", fcp.make(FCPConfig(), setup).agents())
    took = []
    for _ in range(3):  # whoever else is busy here slows some of them
        began = time.process_time()
        assert len(open_pool(tmp_path / "pool")) == 36
        took.append(time.process_time() - began)
    assert min(took) < 1.0
    assert sum(path.stat().st_size for path in (tmp_path / "pool").iterdir()) < 20e6


def edit_manifest(pool: Path, **changes: object) -> None:
    """Change the first entry."""
    manifest = json.loads((pool / "manifest.json").read_text())
    manifest["members"][0].update(changes)
    (pool / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize("value", [None, "", "null", 0, "A" * 64, ["x"]])
def test_a_member_without_a_hash_is_refused(pool: Path, value: object) -> None:
    edit_manifest(pool, sha256=value)
    with pytest.raises(UserError, match="member 'a' has no SHA-256"):
        open_pool(pool)


def test_a_manifest_that_lacks_a_hash_or_holds_no_text_is_refused(pool: Path) -> None:
    edit_manifest(pool, file=7)
    with pytest.raises(UserError, match="are not text"):
        open_pool(pool)
    (pool / "manifest.json").write_text('{"schema": 1, "members": [{"id": "a", "file": "a.safetensors"}]}')
    with pytest.raises(UserError, match="member 'a' has no SHA-256"):
        open_pool(pool)


@pytest.mark.parametrize("kind", ["device", "pipe"])
def test_a_member_that_never_ends_is_refused_at_once(pool: Path, kind: str) -> None:
    (pool / "a.safetensors").unlink()
    if kind == "device":
        (pool / "a.safetensors").symlink_to("/dev/zero")
    else:
        os.mkfifo(pool / "a.safetensors")
    with pytest.raises(UserError, match=rf"a\.safetensors: it is a {kind}, not a file"):
        open_pool(pool)


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_parameters_that_are_not_finite_are_neither_written_nor_read(tmp_path: Path, number: float) -> None:
    new = member("a", 1)
    with torch.no_grad():
        new.net.head_bias[0, 0] = number
    with pytest.raises(Diverged, match=r"agent 'a'.* holds NaN or infinity"):
        add_members(tmp_path / "pool", [new])
    assert not list(tmp_path.rglob("*.safetensors"))
    checkpoint.save(tmp_path / "x.safetensors", new.net.tensors(), new.card.to_dict())
    with pytest.raises(UserError, match=r"x\.safetensors: parameter 'head\.bias' holds NaN or infinity"):
        read_agent(tmp_path / "x.safetensors")


def test_a_file_of_two_members_is_no_agent(tmp_path: Path) -> None:
    one = member("a", 1)
    both = {name: torch.cat([tensor, tensor]) for name, tensor in one.net.tensors().items()}
    checkpoint.save(tmp_path / "x.safetensors", both, one.card.to_dict())
    with pytest.raises(UserError, match="an agent file holds one member"):
        read_agent(tmp_path / "x.safetensors")
    halves = {name: tensor.double() for name, tensor in one.net.tensors().items()}
    checkpoint.save(tmp_path / "x.safetensors", halves, one.card.to_dict())
    with pytest.raises(UserError, match=r"torch\.float64"):
        read_agent(tmp_path / "x.safetensors")
