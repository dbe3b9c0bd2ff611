"""Meta-Reward-Net's gradient where the learner is PPO: through one step of the value function towards its targets.

Inner problem: theta_hat = theta - lr grad_theta mean_i (V(s_i; theta) - G_i)^2 on a rollout, with the targets of PPO,
G = GAE(lambda) + V. They are linear in the predicted rewards, and every value within them is a constant:

    G_i = sum_{l >= i} W_il r_l + const,    W_il = prod_{i <= j < l} gamma lambda (1 - ended_j).

Outer problem: the cross-entropy L_out of preference labels under scores of segments s_0 .. s_H by V(.; theta_hat):
V(s_0) - gamma^H V(s_H), an estimate of the discounted reward on the way, or V(s_0) alone (`SCORES`). Hence

    dL_out/dpsi = (2 lr / B) sum_i c_i sum_l W_il grad_psi r_l,    c_i = <grad L_out(theta_hat), grad V(s_i; theta)>.

No second-order graph is needed: c is a tangent kernel (`coord.preference.methods.mrn.meta_gradient`, one backward pass
that meets the tangents of the batch), the sum over i is GAE's recursion run forward in time, and one vector-Jacobian
product brings it to the parameters psi. An index observation counts as the row of zeros and ones that it stands for,
which is what the reward model reads of a kitchen.

Deviations from Meta-Reward-Net (Liu et al. 2022), which steps a critic Q(s, a) of SAC: a value function that does not
see actions; its plain mean square error, not PPO's clipped one. The parameters that policy and value share are part
of theta, the policy's own head is not.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from coord.errors import UserError
from coord.nets import mlps
from coord.nets.population import Arch, PopulationNet
from coord.preference.methods.mrn import mrn
from coord.preference.methods.mrn.meta_gradient import CriticInnerStep
from coord.preference.methods.mrn.mrn import Rule
from coord.preference.methods.mrn.pairs import Outer
from coord.types import NUM_ACTIONS

SCORES = ("first", "segment")
PARTS = ("weight", "bias")


class ValueInnerStep(NamedTuple):
    """The rollout that the value function steps on."""

    obs: Tensor  # [T, M, N, F] facts, 0 or 1
    ret: Tensor  # [T, M, N] targets G
    ended: Tensor  # [T, M, N] bool: the episode ended with the step, by rules or clock
    lr: float  # step size of the descent
    decay: float  # gamma lambda


class Labelled(NamedTuple):
    """Labelled pairs as the value function sees them."""

    first: Tensor  # [M, K, 2, F] facts of each segment's first state
    last: Tensor  # [M, K, 2, F] of its last state
    steps: int  # H, from the first state to the last
    target: Tensor  # [M, K] probability that the second segment is the better one


def check(arch: Arch) -> None:
    """Raise UserError for a network whose value is no chain of dense layers on facts."""
    if arch.kind != "mlp_index" or arch.extra or arch.memory:
        raise UserError(f"algo.network={arch.kind}: the bilevel step of method=mrn needs algo.network=mlp_index")


def value_network(net: PopulationNet, facts: Tensor) -> mlps.Params:
    """The value function as dense layers [M, 1, ...] of `coord.nets.mlps` that read which of the facts [F] hold."""
    own, head = net.tensors(), slice(NUM_ACTIONS, NUM_ACTIONS + 1)
    layers = {"dense0": (own["table"][:, facts].mT, own["table.bias"])}
    for i in range(mlps.depth(own)):
        layers[f"dense{i + 1}"] = (own[f"dense{i}.weight"], own[f"dense{i}.bias"])
    layers["head"] = (own["head.weight"][:, head], own["head.bias"][:, head])
    named = {
        f"{name}.{part}": tensor for name, pair in layers.items() for part, tensor in zip(PARTS, pair, strict=True)
    }
    return {name: tensor[:, None] for name, tensor in named.items()}


def along_time(grad: Tensor, ended: Tensor, decay: float) -> Tensor:
    """The transpose of GAE: sum_{i <= l} W_il grad_i for every step l, [T, ...]; grad, ended [T, ...]."""
    out = torch.empty_like(grad)
    running = torch.zeros_like(grad[0])
    kept = decay * (~ended).to(grad.dtype)
    for t in range(len(grad)):
        running = torch.addcmul(grad[t], kept[t - 1], running) if t else grad[t]
        out[t] = running
    return out


def outer(labelled: Labelled, score: str, gamma: float) -> Outer:
    """The labelled pairs as the outer problem reads them; score: one of `SCORES`."""
    ends = (labelled.first,) if score == "first" else (labelled.first, labelled.last)
    rows = torch.cat([obs.flatten(1, 2) for obs in ends], 1)
    no_entropy = torch.zeros_like(labelled.target)[..., None].expand(-1, -1, 2)
    return Outer(rows, torch.ones_like(rows[..., :1]), no_entropy, gamma**labelled.steps, labelled.target)


def reward_gradient(
    value: mlps.Params, inner: ValueInnerStep, pairs: Outer, rule: Rule, steps: int = 1
) -> tuple[Tensor, Tensor]:
    """dL_out/dr [T, M, N] by the rewards of the rollout, and the outer loss [M] at theta_hat.

    value, pairs: as `value_network` and `outer` give them; steps: of the inner descent, of which more than one take the
    second-order graph.
    """
    rows, target = (x.transpose(0, 1).flatten(1, 2) for x in (inner.obs, inner.ret))
    batch = CriticInnerStep(rows, torch.ones_like(rows[..., :1]), target, inner.lr)
    by_target, loss = mrn.reward_gradient(value, batch, pairs, rule, steps)
    by_target = by_target.unflatten(1, (len(inner.ret), -1)).transpose(0, 1)
    return along_time(by_target, inner.ended, inner.decay), loss
