"""PPO that begins as policies which already cook: copies of them, whose value learns alone before they move.

The values that come with the copies belong to no reward yet; advantages of an untrained value would push a good policy
anywhere. So for the first `value_updates` rollouts only the value's row of the last layer learns, and the policy stays
exactly what it was.
"""

from __future__ import annotations

from torch import Tensor

from coord.algos import ppo
from coord.nets.optim import PopulationAdam
from coord.nets.population import PopulationNet
from coord.rollout import Rollout
from coord.types import NUM_ACTIONS


def start_from(cfg: ppo.PPOConfig, policy: PopulationNet, seeds: list[int]) -> ppo.PPOState:
    """PPO with copies of these policies, one per seed."""
    state = ppo.create(cfg, policy.arch, seeds)
    for name, tensor in state.net.tensors().items():
        tensor.copy_(policy.tensors()[name])
    return state


def value_gradients(state: ppo.PPOState, batch: ppo.RolloutBatch, rows: Tensor, coefs: Tensor) -> Tensor:
    """As `ppo.row_gradients`, but only the value's row of the last layer learns: the policy stays as it is."""
    parts = ppo.row_gradients(state, batch, rows, coefs)
    for name, param in state.net.named_parameters():
        if not name.startswith("head_"):
            param.grad = None
        elif param.grad is not None:
            param.grad[:, :NUM_ACTIONS] = 0
    return parts


def learn(
    state: ppo.PPOState, roll: Rollout, extra_loss: ppo.Loss | None = None, *, value_updates: int
) -> dict[str, Tensor]:
    """An update of PPO, metrics [M]; the first `value_updates` are about the value alone. Then Adam starts afresh."""
    if state.update_step >= value_updates:
        return ppo.update(state, roll, extra_loss)
    metrics = ppo.update(state, roll, extra_loss, gradients=value_gradients)
    if state.update_step == value_updates:
        state.optim = PopulationAdam(state.net)
    return metrics
