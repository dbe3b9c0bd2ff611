"""The trained ego as an agent like every other: a network on indices, and a card that says what it learned from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from coord.agents.files import AgentCard
from coord.nets import mlps
from coord.nets.population import Arch, PopulationNet
from coord.overcooked import OvercookedVectorEnv
from coord.types import HEADS


def arch_of(hidden: tuple[int, ...], kitchens: OvercookedVectorEnv) -> Arch:
    """The network that an actor on facts of these kitchens amounts to.

    Raises:
        UserError: a first layer that no agent file holds.
    """
    return Arch(kind="mlp_index", inputs=kitchens.spec.vocab_size, hidden=hidden)


def index_net(actor: Mapping[str, Tensor], kitchens: OvercookedVectorEnv) -> PopulationNet:
    """The agent's network (M = 1) for one member's actor on facts (`KitchenEnv`), a network of `coord.nets.mlps`.

    Its policy is the actor's; its value is 0.
    """
    widths = tuple(actor[f"dense{layer}.bias"].shape[0] for layer in range(mlps.depth(actor)))
    first, logits = actor["dense0.weight"].cpu(), actor["head.weight"].cpu()  # [H, F], [6, H]
    table = torch.zeros(kitchens.spec.vocab_size, widths[0])
    table[torch.from_numpy(kitchens.spec.possible(kitchens.layouts[0]))] = first.T
    tensors = {"table": table, "table.bias": actor["dense0.bias"].cpu()}
    for layer in range(1, len(widths)):
        tensors |= {f"dense{layer - 1}.{part}": actor[f"dense{layer}.{part}"].cpu() for part in ("weight", "bias")}
    no_value = torch.zeros(HEADS - len(logits), logits.shape[1])
    tensors |= {
        "head.weight": torch.cat([logits, no_value]),
        "head.bias": torch.cat([actor["head.bias"].cpu(), no_value[:, 0]]),
    }
    return PopulationNet(arch_of(widths, kitchens), {name: tensor[None] for name, tensor in tensors.items()})


def ego_card(
    net: PopulationNet, kitchens: OvercookedVectorEnv, origin: Mapping[str, Any], *, human_data: str, **learned: Any
) -> AgentCard:
    """The card of an ego; origin: `agent_id`, `method`, `seed`, `member`, `env_steps` and `mean_return` of the card.

    human_data: which human games its partners learned from, "" for none. learned: what it learned from: labels,
    teacher, preset and whatever else is worth keeping.
    """
    return AgentCard(
        layouts={layout.name: layout.hash for layout in kitchens.layouts},
        rules=kitchens.rules,
        arch=net.arch,
        spec=kitchens.spec.to_dict() if net.obs_kind == "index" else None,
        human_data=human_data,
        extra=learned,
        **origin,
    )
