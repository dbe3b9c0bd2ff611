"""Small agents for the tests of files, pools and matches."""

from __future__ import annotations

import hashlib

import torch

from coord.agents.files import AgentCard, StoredAgent
from coord.algos.bc import recorded_layout
from coord.nets.population import Arch, PopulationNet
from coord.overcooked import IndexSpec, Layout, load_layout
from coord.types import NUM_ACTIONS
from populations.pool import NewMember

ARCH = Arch(kind="mlp_features", inputs=96, hidden=(4,))


def network(seed: int = 0, arch: Arch = ARCH) -> PopulationNet:
    """One freshly initialised member."""
    return PopulationNet.create(arch, [torch.Generator().manual_seed(seed)])


def constant_policy(logits: list[float], inputs: int = 96) -> PopulationNet:
    """A network on features whose policy is softmax(logits) whatever it sees."""
    net = network(arch=Arch(kind="mlp_features", inputs=inputs, hidden=(4,)))
    with torch.no_grad():
        net.head_weight.zero_()
        net.head_bias[0, :NUM_ACTIONS] = torch.tensor(logits)
    return net


def card(agent_id: str = "a0", *, layout: str = "cramped_room", **fields: object) -> AgentCard:
    """A card that fits `network()`."""
    home = load_layout(layout)
    values = {"rules": "classic", "method": "sp", "arch": ARCH, **fields}
    return AgentCard(agent_id=agent_id, layouts={home.name: home.hash}, **values)


def member(agent_id: str, seed: int, **fields: object) -> NewMember:
    """A pool member with its own parameters."""
    return NewMember(card(agent_id, seed=seed, **fields), network(seed))


def index_member(agent_id: str, seed: int, layout: str = "cramped_room") -> NewMember:
    """A pool member that reads indices."""
    home = load_layout(layout)
    spec = IndexSpec.for_layouts([home], "classic", home.num_players)
    arch = Arch(kind="mlp_index", inputs=spec.vocab_size, hidden=(64,))
    return NewMember(card(agent_id, layout=layout, arch=arch, spec=spec.to_dict(), seed=seed), network(seed, arch))


def clone_like(agent_id: str, layout: Layout) -> StoredAgent:
    """Stands in for `coord.evaluation.proxies.load_clone` without training: the same refusals, another network."""
    recorded_layout(layout)
    human_data = "test" if agent_id == "human_proxy" else "train"
    mine = card(agent_id, layout=layout.name, human_data=human_data, unstick=True)
    return StoredAgent(mine, network(), sha256=hashlib.sha256(agent_id.encode()).hexdigest())
