"""What a rollout holds, tick by tick, against an env played beside it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from coord.nets.population import NUM_ACTIONS, Arch, PopulationNet, sample_actions
from coord.partner_env import Episodes
from coord.rollout import Rollout, allocate, collect
from tests.row_envs import ToyEnv, repeat_the_cue

STEPS, ROWS, HORIZON = 8, 5, 3


def network(members: int) -> PopulationNet:
    """Each cue has a value of its own."""
    arch = Arch(kind="mlp_features", inputs=NUM_ACTIONS, hidden=(8,))
    return PopulationNet.create(arch, [torch.Generator().manual_seed(10 + m) for m in range(members)])


def toy_env(members: int) -> ToyEnv:
    return ToyEnv(repeat_the_cue, members=members, rows=ROWS, cues=NUM_ACTIONS, horizon=HORIZON)


def played(members: int) -> tuple[Rollout, list[Episodes]]:
    """The second of two rollouts into the same buffers."""
    env, episodes = toy_env(members), []
    gens = [torch.Generator().manual_seed(20 + m) for m in range(members)]
    roll = allocate(env, STEPS)
    collect(network(members), env, gens, roll, lambda _: None)
    collect(network(members), env, gens, roll, episodes.append)
    return roll, episodes


def test_every_tick_is_kept_with_what_the_policy_thought() -> None:
    roll, episodes = played(2)
    net, env = network(2), toy_env(2)
    gens = [torch.Generator().manual_seed(20 + m) for m in range(2)]
    for rollout in range(2):
        uniform = torch.stack([torch.rand(STEPS, ROWS, generator=gen) for gen in gens], 1)
        for t in range(STEPS):
            obs = env.observe()
            with torch.no_grad():
                logits, val = net(obs)
            act, _ = sample_actions(logits, uniform[t])
            step = env.step(act)
            if rollout == 0:
                continue
            assert torch.equal(roll.obs[t], obs)
            assert torch.equal(roll.act[t], act)
            assert torch.equal(roll.val[t], val)
            torch.testing.assert_close(roll.logp[t], logits.log_softmax(-1).gather(-1, act[..., None])[..., 0])
            assert torch.equal(roll.rew[t], step.rew)
            assert torch.equal(roll.truncated[t], step.truncated)
            if env.ended:  # the last observation of the episode, not the first of the next
                with torch.no_grad():
                    final, first = (net(o)[1] for o in (env.final_observe(), env.observe()))
                assert torch.equal(roll.final_val[t], final)
                assert not torch.equal(final, first)
    with torch.no_grad():
        assert torch.equal(roll.last_val, net(env.observe())[1])
    # Ticks 8..15 of episodes that take three: ends at 8, 11 and 14.
    assert roll.truncated[:, 0, 0].nonzero().flatten().tolist() == [0, 3, 6]
    assert len(episodes) == 3


def test_episodes_are_reported_with_their_returns() -> None:
    roll, episodes = played(2)
    for end, found in zip((3, 6), episodes[1:], strict=True):
        assert found.member.tolist() == [0] * ROWS + [1] * ROWS
        assert np.array_equal(found.ret, roll.rew[end - 2 : end + 1].sum(0).flatten().numpy())
    assert sum(found.ret.sum() for found in episodes) > 0


@pytest.mark.parametrize("member", [0, 1, 2])
def test_a_member_draws_from_its_own_generator_alone(member: int) -> None:
    together, _ = played(3)
    fewer, _ = played(member + 1)
    assert torch.equal(together.act[:, member], fewer.act[:, member])
    assert not torch.equal(together.act[:, member], together.act[:, (member + 1) % 3])
