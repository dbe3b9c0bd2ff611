"""Agents by reference; and, whatever name they go by, no held-out clone in training."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import coord.evaluation.proxies as proxies
from coord.agents.files import AgentCard, StoredAgent, save_agent
from coord.agents.players import RandomAgent
from coord.agents.policy import FrozenPolicy
from coord.errors import UserError
from coord.evaluation.agents import load_agent, load_agents, load_training_partners
from coord.evaluation.proxies import load_clone
from coord.nets.population import PopulationNet
from coord.overcooked import Layout, load_layout
from populations.pool import NewMember, add_members
from tests.agent_fixtures import card, index_member, member, network

HOME, RULES = "cramped_room", "classic"


@pytest.fixture(autouse=True)
def clones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Clones in a cache of the test's own; their training is replaced by a network drawn from the half's name."""
    trained: list[str] = []

    def untrained(home: Layout, config: proxies.bc.BCConfig, seed: int) -> StoredAgent:
        trained.append(config.split)
        fields = {"human_data": config.split, "unstick": True, "method": "bc"}
        mine = card(proxies.bc.AGENT_IDS[config.split], layout=home.name, **fields)
        return StoredAgent(mine, network(len(config.split)))

    monkeypatch.setenv("COORD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(proxies.bc, "packaged_games", lambda layout, split: load_layout(layout))
    monkeypatch.setattr(proxies.bc, "train_clone", untrained)
    return trained


def proxy_file(folder: Path, net: PopulationNet | None = None, **fields: object) -> Path:
    values = {"agent_id": "human_proxy", "human_data": "test", **fields}
    path = folder / "clone.safetensors"
    save_agent(path, card(**values), network(4) if net is None else net)
    return path


def test_built_in_names(clones: list[str]) -> None:
    assert isinstance(load_agent("random", HOME, RULES), RandomAgent)
    assert load_agent("stay", HOME, RULES).agent_id == "stay"
    assert load_agent("greedy", HOME, RULES).agent_id == "greedy"
    proxy = load_agent("human_proxy", HOME, RULES)
    assert isinstance(proxy, FrozenPolicy)
    assert proxy.agent_id == "human_proxy"
    assert proxy.unstick
    assert clones == ["test"]


def test_files_run_folders_and_pools(tmp_path: Path) -> None:
    add_members(tmp_path / "pool", [member("a", 1), index_member("i", 2)])
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "agent.safetensors").write_bytes((tmp_path / "pool" / "a.safetensors").read_bytes())
    for ref in ("pool#a", "pool/a.safetensors", "run"):
        assert load_agent(str(tmp_path / ref), HOME, RULES).agent_id == "a"
    refs = [str(tmp_path / "pool"), "stay"]
    assert [agent.agent_id for agent in load_agents(refs, HOME, RULES)] == ["a", "i", "stay"]
    assert not load_agent(str(tmp_path / "run"), HOME, RULES, stochastic=False).stochastic
    with pytest.raises(UserError, match="choose one with"):
        load_agent(str(tmp_path / "pool"), HOME, RULES)


def test_wrong_references_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="did you mean 'human_proxy'"):
        load_agent("human_proxi", HOME, RULES)
    with pytest.raises(UserError, match="no agent at"):
        load_agent(str(tmp_path / "nothing.safetensors"), HOME, RULES)
    with pytest.raises(UserError, match="is not a pool"):
        load_agent(f"{tmp_path}#a", HOME, RULES)


def test_agents_of_another_kitchen_are_refused(tmp_path: Path) -> None:
    add_members(tmp_path, [member("a", 1)])
    with pytest.raises(UserError, match="trained for layout cramped_room, not for 'coordination_ring'"):
        load_agents([str(tmp_path)], "coordination_ring", RULES)
    with pytest.raises(UserError, match="rules=classic, not rules=overcooked-ai"):
        load_agents([str(tmp_path)], HOME, "overcooked-ai")
    with pytest.raises(UserError, match=r"human games exist for cramped_room, .* - not for 'large_room'"):
        load_agent("bc_train", "large_room", RULES)


def test_clones_are_trained_once_and_kept(clones: list[str], tmp_path: Path) -> None:
    first = load_clone("bc_train", load_layout(HOME))
    assert load_clone("bc_train", load_layout("simple")).card == first.card
    assert clones == ["train"]
    for name in ("counter_circuit_o_1order", "random3"):  # one kitchen, two sets of start tiles
        assert load_clone("bc_train", load_layout(name)).card.layouts == {name: load_layout(name).hash}
    for file in (tmp_path / "cache").glob("*.safetensors"):
        file.write_bytes(file.read_bytes()[:-9])
    load_clone("bc_train", load_layout(HOME))
    assert clones == ["train"] * 3  # a damaged file is trained anew


def test_several_askers_train_a_clone_once(clones: list[str]) -> None:
    home = load_layout(HOME)
    with ThreadPoolExecutor(4) as askers:
        found = list(askers.map(lambda _: load_clone("human_proxy", home).card.agent_id, range(4)))
    assert found == ["human_proxy"] * 4
    assert clones == ["test"]


def test_an_unwritable_cache_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("COORD_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(UserError, match="cannot write"):
        load_agent("bc_train", HOME, RULES)


def test_training_may_use_the_train_half_and_pools(tmp_path: Path) -> None:
    add_members(tmp_path / "pool", [member("a", 1), index_member("i", 2)])
    partners = load_training_partners(["bc_train", str(tmp_path / "pool")], HOME, RULES)
    assert [partner.card.agent_id for partner in partners] == ["bc_train", "a", "i"]
    assert partners[0].card.unstick


def test_training_refuses_the_proxy_by_name() -> None:
    with pytest.raises(UserError, match="human_proxy is for evaluation only"):
        load_training_partners(["bc_train", "human_proxy"], HOME, RULES)


@pytest.mark.parametrize(
    ("fields", "sign"),
    [
        ({}, "held-out half of the human games"),
        ({"agent_id": "innocent"}, "held-out half of the human games"),  # renamed: the card still tells
        ({"human_data": "train"}, "it is named 'human_proxy'"),  # card edited: the name still tells
    ],
)
def test_training_refuses_files_of_the_proxy(tmp_path: Path, fields: dict[str, str], sign: str) -> None:
    path = proxy_file(tmp_path, **fields)
    assert load_agent(str(path), HOME, RULES)  # evaluation may use it
    with pytest.raises(UserError, match=sign):
        load_training_partners([str(path)], HOME, RULES)


def test_training_knows_the_proxy_by_its_parameters(tmp_path: Path) -> None:
    stolen = load_clone("human_proxy", load_layout(HOME)).net
    for disguise in ({"human_data": "train"}, {"human_data": "", "method": "sp"}):
        path = proxy_file(tmp_path, stolen, agent_id="innocent", **disguise)
        with pytest.raises(UserError, match="parameters are those of the human proxy"):
            load_training_partners([str(path)], HOME, RULES)
    honest = proxy_file(tmp_path, network(99), agent_id="innocent", human_data="train")
    assert len(load_training_partners([str(honest)], HOME, RULES)) == 1


def test_training_refuses_a_pool_that_holds_the_proxy(tmp_path: Path) -> None:
    held_out = AgentCard(**{**vars(card("hidden")), "human_data": "test"})
    add_members(tmp_path, [member("a", 1), NewMember(held_out, network(4))])
    for ref in (str(tmp_path), f"{tmp_path}#hidden", str(tmp_path / "hidden.safetensors")):
        with pytest.raises(UserError, match="for evaluation only"):
            load_training_partners([ref], HOME, RULES)
    assert len(load_training_partners([f"{tmp_path}#a"], HOME, RULES)) == 1


def test_training_refuses_scripted_partners_and_other_kitchens(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="scripted"):
        load_training_partners(["greedy"], HOME, RULES)
    add_members(tmp_path, [member("a", 1)])
    with pytest.raises(UserError, match="trained for layout"):
        load_training_partners([str(tmp_path)], "coordination_ring", RULES)
