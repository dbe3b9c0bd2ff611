"""Replay: what comes out was put in, by the right member, recently enough."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from coord import buffers
from coord.buffers import ReplayBatch, ReplayBuffer
from coord.errors import UserError

MEMBERS, OBS, ACT = 2, 3, 2


def transitions(first: int, count: int, *, discrete: bool = False) -> tuple[Tensor, ...]:
    """Rows numbered from `first`; every number says member and row, so that a mixed-up row is seen."""
    name = torch.arange(first, first + count).float() + 100_000 * torch.arange(MEMBERS)[:, None]
    obs = name[..., None] + torch.arange(OBS) / 10
    act = (name % 5).long() if discrete else name[..., None] + torch.arange(ACT) / 100
    terminated, truncated = (name % 7 == 0), (name % 3 == 0)
    return obs, act, 2 * name, obs + 0.5, terminated, truncated


def generators(seed: int = 0) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed + m) for m in range(MEMBERS)]


def check_rows(batch: ReplayBatch, oldest: int, newest: int, *, time_limit: str = "bootstrap") -> None:
    """Every row is whole, of its own member, and among rows oldest..newest."""
    name = batch.obs[..., 0]
    row = name - 100_000 * torch.arange(MEMBERS)[:, None]
    assert ((row >= oldest) & (row <= newest)).all()
    torch.testing.assert_close(batch.obs, name[..., None] + torch.arange(OBS) / 10)
    torch.testing.assert_close(batch.act, name[..., None] + torch.arange(ACT) / 100)
    torch.testing.assert_close(batch.rew, 2 * name)
    torch.testing.assert_close(batch.next_obs, batch.obs + 0.5)
    ended = name % 7 == 0
    if time_limit == "terminate":
        ended |= name % 3 == 0
    assert torch.equal(batch.discount, 1 - ended.float())


@settings(max_examples=60, deadline=None)
@given(
    capacity=st.integers(1, 40),
    counts=st.lists(st.integers(1, 25), min_size=1, max_size=8),
    recent=st.none() | st.integers(1, 60),
    seed=st.integers(0, 1000),
)
def test_only_written_rows_come_out(capacity: int, counts: list[int], recent: int | None, seed: int) -> None:
    buffer = ReplayBuffer(MEMBERS, capacity, OBS, ACT)
    total = 0
    for count in counts:
        buffer.add(*transitions(total, count))
        total += count
        assert buffer.size == min(total, capacity)
        oldest = total - buffer.size
        batch = buffer.sample(16, generators(seed), recent)
        check_rows(batch, oldest, total - 1)
        window = total - min(recent or buffer.size, buffer.size)
        fresh = batch.obs[:, :8, 0] - 100_000 * torch.arange(MEMBERS)[:, None]
        assert (fresh >= window).all()
    stored = buffer.obs_view()[..., 0] - 100_000 * torch.arange(MEMBERS)[:, None]
    expected = torch.arange(total - buffer.size, total).float()
    assert torch.equal(stored.sort().values, expected.expand(MEMBERS, -1))


def test_sampling_is_uniform_over_all_rows() -> None:
    buffer = ReplayBuffer(MEMBERS, 10, OBS, ACT)
    buffer.add(*transitions(0, 17))
    names = buffer.sample(20_000, generators()).obs[0, :, 0].long()
    counts = torch.bincount(names, minlength=17)
    assert not counts[:7].any()
    assert (abs(counts[7:] - 2000) < 200).all()


def test_hybrid_sampling_takes_its_share_from_the_newest_rows() -> None:
    buffer = ReplayBuffer(MEMBERS, 1000, OBS, ACT)
    buffer.add(*transitions(0, 1000))
    names = buffer.sample(10_000, generators(), 10, 0.25).obs[0, :, 0]
    share = (names >= 990).float().mean().item()
    assert share == pytest.approx(0.25 + 0.75 * 0.01, abs=0.01)


@pytest.mark.parametrize("time_limit", ["bootstrap", "terminate"])
def test_what_follows_a_time_limit_is_decided_when_sampling(time_limit: str) -> None:
    buffer = ReplayBuffer(MEMBERS, 100, OBS, ACT)
    buffer.add(*transitions(0, 60))
    batch = buffer.sample(200, generators(), time_limit=time_limit)
    assert 0 < batch.discount.mean() < 1
    check_rows(batch, 0, 59, time_limit=time_limit)


def test_discrete_actions_come_back_as_whole_numbers() -> None:
    buffer = ReplayBuffer(MEMBERS, 100, OBS, 5, discrete=True)
    buffer.add(*transitions(0, 60, discrete=True))
    batch = buffer.sample(50, generators())
    assert batch.act.dtype == torch.int64
    assert torch.equal(batch.act, (batch.obs[..., 0] % 5).long())
    buffer.relabel(lambda obs, act: act.float() + obs[..., 0], chunk=7)
    batch = buffer.sample(50, generators())
    torch.testing.assert_close(batch.rew, batch.act + batch.obs[..., 0])


@pytest.mark.parametrize("added", [5, 20, 33])
def test_relabel_reaches_every_written_row_and_nothing_else(added: int) -> None:
    buffer = ReplayBuffer(MEMBERS, 20, OBS, ACT)
    buffer.add(*transitions(0, added))
    before = buffer.state_dict()["rows"].clone()
    sizes = []

    def reward(obs: Tensor, act: Tensor) -> Tensor:
        sizes.append(obs.shape[1])
        return obs.sum(-1) - act.sum(-1)

    buffer.relabel(reward, chunk=6)
    after = buffer.state_dict()["rows"]
    changed = (before != after).any(0).any(0)
    assert changed.nonzero().flatten().tolist() == [OBS + ACT]  # the reward's column alone
    torch.testing.assert_close(after[..., OBS + ACT], after[..., :OBS].sum(-1) - after[..., OBS : OBS + ACT].sum(-1))
    assert sum(sizes) == buffer.size == min(added, 20)


def test_memory_grows_with_what_is_stored() -> None:
    buffer = ReplayBuffer(MEMBERS, 1_000_000, OBS, ACT)
    assert buffer.rows_allocated == buffers.FIRST_ROWS
    for first in range(0, 5000, 500):
        buffer.add(*transitions(first, 500))
    assert buffer.rows_allocated == 8 * buffers.FIRST_ROWS
    check_rows(buffer.sample(500, generators()), 0, 4999)


def test_members_draw_from_their_own_generators() -> None:
    buffer = ReplayBuffer(MEMBERS, 100, OBS, ACT)
    buffer.add(*transitions(0, 100))
    gens = generators()
    first = buffer.sample(30, gens)
    alone = ReplayBuffer(1, 100, OBS, ACT)
    alone.add(*(part[1:] for part in transitions(0, 100)))
    assert torch.equal(alone.sample(30, generators()[1:]).obs[0], first.obs[1])
    assert not torch.equal(buffer.sample(30, gens).obs, first.obs)


@pytest.mark.parametrize("before", [3, 20, 31])
def test_resume_is_exact(before: int) -> None:
    whole, resumed = (ReplayBuffer(MEMBERS, 20, OBS, ACT) for _ in range(2))
    whole.add(*transitions(0, before))
    resumed.load_state_dict({k: v.clone() for k, v in whole.state_dict().items()})
    for buffer in (whole, resumed):
        buffer.add(*transitions(before, 9))
    for a, b in zip(whole.sample(40, generators(), 5), resumed.sample(40, generators(), 5), strict=True):
        assert torch.equal(a, b)
    assert torch.equal(whole.obs_view(), resumed.obs_view())


def test_errors_are_clear() -> None:
    buffer = ReplayBuffer(MEMBERS, 20, OBS, ACT)
    with pytest.raises(UserError, match="empty"):
        buffer.sample(4, generators())
    buffer.add(*transitions(0, 5))
    with pytest.raises(UserError, match="time_limit=never"):
        buffer.sample(4, generators(), time_limit="never")
    with pytest.raises(UserError, match="recent=0"):
        buffer.sample(4, generators(), 0)
    with pytest.raises(UserError, match="does not fit"):
        ReplayBuffer(MEMBERS, 20, OBS + 1, ACT).load_state_dict(buffer.state_dict())
    with pytest.raises(UserError, match="capacity=0"):
        ReplayBuffer(MEMBERS, 0, OBS, ACT)
