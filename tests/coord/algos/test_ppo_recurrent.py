"""PPO through time: what is trained on is what was played; memory where it is needed; exact resume."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor

from coord.algos import ppo, ppo_recurrent
from coord.errors import UserError
from coord.nets.population import Arch
from coord.partner_env import Episodes, RowStep
from coord.rollout import Rollout, allocate
from coord.seeding import torch_generator

CUES = 6


class RecallEnv:
    """A cue of six is shown at the first tick of an episode; doing it at the last tick pays 1. A `RowEnv`.

    Rows begin one tick after each other, so that episodes end at different ticks.
    """

    def __init__(self, *, members: int = 1, rows: int = 8, horizon: int = 3) -> None:
        self.members, self.rows, self.kitchens, self.horizon = members, rows, rows, horizon
        self._gens = [torch_generator(m, "cues") for m in range(members)]
        self.clock = (torch.arange(rows) % horizon).expand(members, -1).clone()  # [M, B] ticks into the episode
        self.cue = self._draw()
        self._last = (self.clock.clone(), self.cue.clone())
        self.ended, self.rew = torch.zeros(members, rows, dtype=torch.bool), torch.zeros(members, rows)

    def _draw(self) -> Tensor:
        return torch.stack([torch.randint(CUES, (self.rows,), generator=gen) for gen in self._gens])

    def _show(self, clock: Tensor, cue: Tensor) -> Tensor:
        """[M, B, 7]: the cue at the first tick, later the last entry alone."""
        seen = torch.where(clock == 0, cue, torch.full_like(cue, CUES))
        return torch.nn.functional.one_hot(seen, CUES + 1).float()

    def observe(self) -> Tensor:
        return self._show(self.clock, self.cue)

    def final_observe(self) -> Tensor:
        return self._show(*self._last)

    def step(self, act: Tensor) -> RowStep:
        self.clock = self.clock + 1
        self.ended = self.clock == self.horizon
        self.rew = (self.ended & (act == self.cue)).float()
        self._last = (self.clock.clone(), self.cue.clone())
        fresh = self._draw()
        self.cue, self.clock = torch.where(self.ended, fresh, self.cue), torch.where(self.ended, 0, self.clock)
        return RowStep(self.rew, torch.zeros_like(self.rew), torch.zeros_like(self.ended), self.ended)

    def finished(self) -> Episodes:
        member, row = np.nonzero(self.ended.numpy())
        none = np.full(len(member), -1)
        return Episodes(member, self.rew.numpy()[member, row], none, none)

    def get_state(self) -> dict[str, np.ndarray]:
        gens = {f"gen.{m}": gen.get_state().numpy() for m, gen in enumerate(self._gens)}
        return {"clock": self.clock.numpy().copy(), "cue": self.cue.numpy().copy()} | gens

    def set_state(self, state: Mapping[str, np.ndarray]) -> None:
        self.clock, self.cue = torch.from_numpy(state["clock"].copy()), torch.from_numpy(state["cue"].copy())
        for m, gen in enumerate(self._gens):
            gen.set_state(torch.from_numpy(state[f"gen.{m}"]))


def config(**values: object) -> ppo.PPOConfig:
    fields = {"total_steps": 10**6, "num_envs": 8, "rollout_len": 20, "num_epochs": 2, "num_minibatches": 2}
    fields |= {"network": "mlp_features", "hidden": (16,), "rew_scale": 1.0, "lr": 3e-3, "gamma": 0.9}
    return ppo.PPOConfig(**{**fields, **values})


def start(
    cfg: ppo.PPOConfig, env: RecallEnv, chunk_len: int = 5, memory: int = 8
) -> tuple[ppo.PPOState, ppo_recurrent.RecurrentMemory]:
    arch = Arch(kind="mlp_features", inputs=CUES + 1, hidden=cfg.hidden, memory=memory)
    state = ppo.create(cfg, arch, list(range(env.members)))
    with torch.no_grad():  # a policy with opinions, so that a mistake shows
        state.net.head_weight.normal_(generator=torch_generator(9))
    return state, ppo_recurrent.RecurrentMemory(state, env, chunk_len)


def played(chunk_len: int, rollouts: int = 2) -> tuple[ppo.PPOState, ppo_recurrent.RecurrentMemory, Rollout]:
    """The last of some rollouts without learning in between: memories run on from one to the next."""
    cfg, env = config(), RecallEnv(members=2, rows=4, horizon=7)
    state, memory = start(cfg, env, chunk_len)
    roll = allocate(env, cfg.rollout_len)
    for _ in range(rollouts):
        ppo_recurrent.collect(memory, state.net, env, state.gens, roll, state.log_episodes)
    return state, memory, roll


@pytest.mark.parametrize("chunk_len", [1, 5, 20])
def test_training_sees_what_acting_saw(chunk_len: int) -> None:
    """Log-probabilities and values of whole chunks equal those of the ticks, with episode ends within chunks."""
    state, memory, roll = played(chunk_len)
    assert roll.truncated.any(2).any(1).sum() > 5
    batch = ppo.prepare(state, roll)
    keep = ppo_recurrent.continues(roll, chunk_len).transpose(0, 1).flatten()
    per_member = 20 // chunk_len * 4
    chunks = torch.arange(per_member) + torch.arange(2)[:, None] * per_member
    rows = ppo_recurrent.chunk_rows(chunks, 20, 4, chunk_len)
    assert sorted(rows.flatten().tolist()) == list(range(2 * 20 * 4))
    starts = memory.starts.transpose(0, 1).flatten(0, 2)[chunks]
    out, _ = state.net.remember(batch.obs[rows], starts, keep[rows])
    logp = out[..., :6].log_softmax(-1).gather(-1, batch.act[rows][..., None])[..., 0]
    torch.testing.assert_close(logp, batch.scalars[rows][..., 0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(out[..., 6], batch.scalars[rows][..., 1], atol=1e-5, rtol=1e-5)
    assert logp.std() > 0.1


def test_an_episode_begins_without_memory() -> None:
    """Values at first ticks depend on the observation alone; at later ticks they do not."""
    _, _, roll = played(5)
    first = torch.zeros_like(roll.truncated)
    first[1:] = roll.truncated[:-1]
    obs, val = roll.obs[first][:, :CUES].argmax(-1), roll.val[first]
    member = torch.arange(2)[None, :, None].expand_as(first)[first]
    for m in range(2):
        for cue in range(CUES):
            same = val[(obs == cue) & (member == m)]
            if len(same) > 1:
                assert same.max() - same.min() < 1e-5
    later = roll.val[3:][~first[3:] & ~first[2:-1]]
    assert later.unique().numel() > len(later) / 2


def test_gradients_by_finite_differences() -> None:
    state, memory, roll = played(5)
    batch = ppo.prepare(state, roll)
    state.net.double()
    memory.starts = memory.starts.double()
    exact = ppo.RolloutBatch(batch.obs.double(), batch.act, batch.scalars.double(), batch.size)
    coefs = torch.tensor([[0.2, 0.5, 0.01]] * 2, dtype=torch.float64)
    keep = ppo_recurrent.continues(roll, 5).transpose(0, 1).flatten()
    chunks = torch.tensor([[0, 5, 9, 15], [16, 17, 30, 31]])
    names = ["gru_x.weight", "gru_h.weight", "gru_h.bias", "head.weight"]

    def total() -> float:
        parts = ppo_recurrent.gradients(memory, keep, state, exact, chunks, coefs)
        return float((parts[:, 0] + 0.5 * parts[:, 1] - 0.01 * parts[:, 2]).sum())

    for name in names:
        parameter = getattr(state.net, name.replace(".", "_"))
        direction = torch.randn(parameter.shape, generator=torch_generator(3, name), dtype=torch.float64)
        state.net.zero_grad()
        total()
        slope = float((parameter.grad * direction).sum())
        shifted = []
        for sign in (1, -1):
            with torch.no_grad():
                parameter += sign * 1e-5 * direction
            shifted.append(total())
            with torch.no_grad():
                parameter -= sign * 1e-5 * direction
        assert slope == pytest.approx((shifted[0] - shifted[1]) / 2e-5, rel=1e-4, abs=1e-6), name
        assert abs(slope) > 1e-5


def test_resume_is_exact() -> None:
    def fresh() -> tuple[RecallEnv, ppo.PPOState, ppo_recurrent.RecurrentMemory]:
        env = RecallEnv(members=2, rows=4, horizon=7)
        return env, *start(config(), env)

    def run(env: RecallEnv, state: ppo.PPOState, memory: ppo_recurrent.RecurrentMemory, until: int) -> None:
        hooks = ppo.Hooks(should_stop=lambda s: s.update_step >= until)
        ppo_recurrent.train(memory, state, env, hooks)

    whole, half, rest = fresh(), fresh(), fresh()
    run(*whole, 4)
    run(*half, 2)
    rest[0].set_state(half[0].get_state())
    for ours, theirs in zip(rest[1:], half[1:], strict=True):
        ours.load_state_dict({k: v.clone() for k, v in theirs.state_dict().items()})
    run(*rest, 4)
    for name, tensor in whole[1].net.tensors().items():
        assert torch.equal(tensor, rest[1].net.tensors()[name]), name
    assert torch.equal(whole[2].hidden, rest[2].hidden)
    assert not torch.equal(whole[1].net.tensors()["head.bias"], half[1].net.tensors()["head.bias"])


def test_members_train_as_if_alone() -> None:
    both, alone = RecallEnv(members=2, rows=4, horizon=7), RecallEnv(members=1, rows=4, horizon=7)
    alone._gens = [torch_generator(1, "cues")]
    alone.cue = both.cue[1:].clone()
    alone._gens[0].set_state(both._gens[1].get_state())
    arch = Arch(kind="mlp_features", inputs=CUES + 1, hidden=(16,), memory=8)
    trained = []
    for env, seeds in ((both, [5, 6]), (alone, [6])):
        state = ppo.create(config(total_steps=160), arch, seeds)
        ppo_recurrent.train(ppo_recurrent.RecurrentMemory(state, env, 5), state, env)
        trained.append(state.net.tensors())
    for name in trained[0]:
        torch.testing.assert_close(trained[0][name][1:], trained[1][name], atol=1e-6, rtol=1e-5)


def test_chunks_must_fit() -> None:
    env = RecallEnv()
    for chunk_len in (0, 3, 40):
        with pytest.raises(UserError, match=f"chunk_len={chunk_len}: must be a divisor of rollout_len=20"):
            start(config(), env, chunk_len)


@pytest.mark.learn
def test_memory_solves_what_a_glance_cannot() -> None:
    """With the same budget: recalling pays nearly always with a memory, one time in six without."""
    reached = {}
    for memory in (16, 0):
        env = RecallEnv(rows=32, horizon=3)
        cfg = config(total_steps=32 * 20 * 120, num_envs=32, num_epochs=4, ent_coef=0.01, ent_coef_final=0.0)
        arch = Arch(kind="mlp_features", inputs=CUES + 1, hidden=(16,), memory=memory)
        state = ppo.create(cfg, arch, [0])
        loop = partial(ppo_recurrent.train, ppo_recurrent.RecurrentMemory(state, env, 10)) if memory else ppo.train
        loop(state, env)
        reached[memory] = float(state.mean_returns()[0])
    assert reached[16] > 0.9
    assert reached[0] < 0.5
