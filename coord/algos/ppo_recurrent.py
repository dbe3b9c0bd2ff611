"""PPO for policies with a memory: what a partner did earlier in the episode may decide what to do now.

"Partner modelling emerges in recurrent agents" (NeurIPS 2025) and the egos of most published pools are of this kind:
a GRU between the dense layers and the heads (`coord.kernels.gru`), trained by back-propagation through time, cut after
`chunk_len` ticks. Losses, advantages, minibatch loop and training loop are those of `coord.algos.ppo`; a minibatch
consists of whole chunks. The memory is emptied where an episode begins, in play as in training.

A chunk starts from the state that the memory had in play, for all epochs on a rollout: later epochs use one that the
parameters of now would not quite have had (as in R2D2's stored state, Kapturowski et al. 2019, without burn-in).

Deviations from the published recurrent Overcooked agents: an index network below the memory in place of convolutions,
and those of `coord.algos.ppo`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor

from coord.algos import ppo
from coord.errors import UserError
from coord.kernels.ppo_loss import fast_loss
from coord.nets.population import PopulationNet
from coord.partner_env import Episodes, RowEnv
from coord.rollout import Rollout, fill
from coord.types import NUM_ACTIONS


class RecurrentMemory:
    """What M learners remember in their B rows at the moment, and what they remembered where each chunk begins."""

    def __init__(self, state: ppo.PPOState, env: RowEnv, chunk_len: int) -> None:
        """chunk_len: ticks through which gradients flow back.

        Raises:
            UserError: `chunk_len` does not divide `rollout_len`.
        """
        ticks = state.cfg.rollout_len
        if chunk_len < 1 or ticks % chunk_len:
            raise UserError(f"chunk_len={chunk_len}: must be a divisor of rollout_len={ticks}")
        size = (env.members, env.rows, state.net.arch.memory)
        self.chunk_len, self.rows = chunk_len, env.rows
        self.hidden = torch.zeros(size)  # [M, B, H]
        self.starts = torch.zeros(ticks // chunk_len, *size)  # [T / L, M, B, H]

    def state_dict(self) -> dict[str, Tensor]:
        """Between updates, only the present state matters."""
        return {"hidden": self.hidden}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Inverse of `state_dict`."""
        self.hidden.copy_(state["hidden"])


@torch.no_grad()
def collect(
    memory: RecurrentMemory,
    net: PopulationNet,
    env: RowEnv,
    gens: list[torch.Generator],
    out: Rollout,
    on_episodes: Callable[[Episodes], None],
) -> None:
    """`coord.rollout.collect` for a network with a memory; leaves in `memory` the state at the start of each chunk."""

    def play(t: int, obs: Tensor) -> tuple[Tensor, Tensor]:
        if t % memory.chunk_len == 0:
            memory.starts[t // memory.chunk_len] = memory.hidden
        heads, memory.hidden[:] = net.tick(obs, memory.hidden)
        return heads[..., :NUM_ACTIONS], heads[..., NUM_ACTIONS]

    def value(obs: Tensor) -> Tensor:
        return net.tick(obs, memory.hidden)[0][..., NUM_ACTIONS]

    def on_ended(ended: Tensor) -> None:
        on_episodes(env.finished())
        memory.hidden[ended] = 0

    fill(out, env, gens, play, value, on_ended)


def continues(roll: Rollout, chunk_len: int) -> Tensor:
    """keep [T, M, B]: False at the first tick of an episode; a chunk's own start has been emptied where it was due."""
    ended = roll.terminated | roll.truncated
    keep = torch.ones_like(ended)
    keep[1:] = ~ended[:-1]
    keep[::chunk_len] = True
    return keep


def chunk_rows(chunks: Tensor, ticks: int, rows: int, chunk_len: int) -> Tensor:
    """Positions [M, L, n] in a batch laid out [M, T, B] of the ticks of chunks [M, n].

    A member's chunks are numbered c * B + b after those of the members before it: piece c of row b.
    """
    members = torch.arange(len(chunks))[:, None]
    own = chunks - members * (ticks // chunk_len * rows)
    first = (members * ticks + own // rows * chunk_len) * rows + own % rows  # [M, n]
    return first[:, None] + torch.arange(chunk_len)[:, None] * rows


def gradients(
    memory: RecurrentMemory, keep: Tensor, state: ppo.PPOState, batch: ppo.RolloutBatch, chunks: Tensor, coefs: Tensor
) -> Tensor:
    """As PPO's, through time: sets every `.grad` for the chunks [M, n]; returns the parts of the loss [M, 5].

    keep: `continues`, flattened to [M*T*B].
    """
    rows = chunk_rows(chunks, state.cfg.rollout_len, memory.rows, memory.chunk_len)
    starts = memory.starts.transpose(0, 1).flatten(0, 2)[chunks]  # [M, n, H]
    out, _ = state.net.remember(batch.obs[rows], starts, keep[rows])
    flat = rows.flatten(1)
    loss, parts = fast_loss(out.flatten(1, 2), batch.act[flat], batch.scalars[flat], coefs)
    loss.sum().backward()
    return parts


def update(
    memory: RecurrentMemory, state: ppo.PPOState, roll: Rollout, extra_loss: ppo.Loss | None = None
) -> dict[str, Tensor]:
    """`ppo.update` on chunks: all epochs and minibatches on one rollout; returns metrics [M]."""
    keep = continues(roll, memory.chunk_len).transpose(0, 1).flatten()
    return ppo.update(state, roll, extra_loss, partial(gradients, memory, keep), memory.chunk_len)


def train(memory: RecurrentMemory, state: ppo.PPOState, env: RowEnv, hooks: ppo.Hooks | None = None) -> ppo.PPOState:
    """`ppo.train` with a memory, which must be saved beside `state` and `env` for a resume to be exact."""
    return ppo.train(state, env, hooks, partial(collect, memory), partial(update, memory))
