"""Who sits where, who plays what and with whom, and that a saved env goes on exactly."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from coord.nets.population import NUM_ACTIONS, Arch, PopulationNet
from coord.overcooked import OvercookedVectorEnv
from coord.partner_env import LivePartners, MixedPartners, PartnerEnv, Partners, SelfPlayEnv, frozen_partners

THREE_SEATS = "XXPXX\nO 2 O\nX1 3X\nXDXSX"
NORTH, STAY = 0, 4


def kitchens(num_envs: int, layout: str = "cramped_room", horizon: int = 12) -> OvercookedVectorEnv:
    return OvercookedVectorEnv(layout, num_envs, horizon=horizon)


def sharp_pool(env: OvercookedVectorEnv, size: int, kind: str = "mlp_index") -> PopulationNet:
    """Networks that see, and whose likeliest action is all but certain."""
    inputs = env.spec.vocab_size if kind == "mlp_index" else env.feature_obs().shape[-1]
    net = PopulationNet.create(
        Arch(kind=kind, inputs=inputs, hidden=(64,)), [torch.Generator().manual_seed(s) for s in range(size)]
    )
    with torch.no_grad():
        net.head_weight *= 1e6
    return net


def constant_pool(env: OvercookedVectorEnv, actions: list[int], kind: str = "mlp_index") -> PopulationNet:
    """Member i always plays `actions[i]`."""
    net = sharp_pool(env, len(actions), kind)
    with torch.no_grad():
        net.head_weight.zero_()
        for m, act in enumerate(actions):
            net.head_bias[m, act] = 100.0
    return net


def partner_env(
    layout: str = "cramped_room", *, actions: list[int], num_envs: int = 6, members: int = 2, horizon: int = 12
) -> tuple[PartnerEnv, list[np.ndarray]]:
    """An env with constant partners, and the joint actions that its kitchens get, tick by tick."""
    env = kitchens(num_envs, layout, horizon)
    pool = frozen_partners(constant_pool(env, actions), env.spec)
    rows = PartnerEnv(env, pool, seed=0, members=members)
    return rows, record_steps(env)


def record_steps(env: OvercookedVectorEnv) -> list[np.ndarray]:
    seen: list[np.ndarray] = []
    step = env.step

    def recording(joint_act: np.ndarray):
        seen.append(np.array(joint_act))
        return step(joint_act)

    env.step = recording  # type: ignore[method-assign]
    return seen


def random_actions(rows: SelfPlayEnv | PartnerEnv, seed: int) -> torch.Tensor:
    gen = torch.Generator().manual_seed(seed)
    return torch.randint(NUM_ACTIONS, (rows.members, rows.rows), generator=gen)


# ------------------------------------------------------------------------------------------- self-play


@pytest.mark.parametrize("layout", ["cramped_room", THREE_SEATS])
def test_self_play_rows_are_the_seats_of_a_members_kitchens(layout: str) -> None:
    members, per_member = 2, 3
    rows, twin = SelfPlayEnv(kitchens(6, layout), members), kitchens(6, layout)
    seats = twin.num_players
    assert (rows.kitchens, rows.rows) == (per_member, per_member * seats)
    ended = 0
    for tick in range(30):
        act = random_actions(rows, tick)
        result, expected = rows.step(act), twin.step(act.view(6, seats).numpy())
        obs, final = rows.observe(), rows.final_observe()
        index, last = twin.index_obs(), twin.index_obs(final=True)
        for m in range(members):
            for n in range(per_member):
                for p in range(seats):
                    row, kitchen = n * seats + p, m * per_member + n
                    assert (obs[m, row].numpy() == index[kitchen, p]).all()
                    assert (final[m, row].numpy() == last[kitchen, p]).all()
                    assert result.shaped_rew[m, row] == expected.shaped_rew[kitchen, p]
                    assert result.rew[m, row] == expected.rew[kitchen]
                    assert result.truncated[m, row] == expected.truncated[kitchen]
        episodes = rows.finished()
        ended += len(episodes.ret)
        assert episodes.member.tolist() == ([0, 0, 0, 1, 1, 1] if (tick + 1) % 12 == 0 else [])
        assert (episodes.ret == twin.episode_return(final=True)[: len(episodes.ret)]).all()
        assert set(episodes.partner) | set(episodes.seat) <= {-1}
    assert ended == 12


@pytest.mark.parametrize(("kind", "method"), [("lossless", "lossless_obs"), ("features", "feature_obs")])
def test_the_other_observations(kind: str, method: str) -> None:
    rows, twin = SelfPlayEnv(kitchens(4), 2, kind), kitchens(4)
    for tick in range(12):
        act = random_actions(rows, tick)
        rows.step(act)
        twin.step(act.view(4, 2).numpy())
        expected = getattr(twin, method)()
        assert (rows.observe().flatten(0, 1).numpy() == expected.reshape(8, *expected.shape[2:])).all()
    last = getattr(twin, method)(final=True)
    assert (rows.final_observe().flatten(0, 1).numpy() == last.reshape(8, *last.shape[2:])).all()
    assert not (last == expected).all()


def test_kitchens_that_cannot_be_shared_are_refused() -> None:
    with pytest.raises(ValueError, match="7 kitchens cannot be shared equally by 2 members"):
        SelfPlayEnv(kitchens(7), 2)


# ------------------------------------------------------------------------------------- ego and partners


@pytest.mark.parametrize("layout", ["cramped_room", THREE_SEATS])
def test_ego_and_partners_sit_and_play_where_they_should(layout: str) -> None:
    pool_actions = [4, 2, 5]
    rows, joint = partner_env(layout, actions=pool_actions, num_envs=12, members=2)
    twin, seats = kitchens(12, layout), rows.env.num_players
    assert rows.rows == rows.kitchens == 6
    assert [np.bincount(rows.ego_seat[m * 6 : (m + 1) * 6]).tolist() for m in (0, 1)] == [[6 // seats] * seats] * 2
    all_kitchens, drawn = np.arange(12), set()
    for tick in range(30):
        act, partner = random_actions(rows, tick), rows.partner.copy()
        result = rows.step(act)
        assert (joint[tick][all_kitchens, rows.ego_seat] == act.flatten().numpy()).all()
        for n in all_kitchens:
            for p in set(range(seats)) - {rows.ego_seat[n]}:
                assert joint[tick][n, p] == pool_actions[partner[n, p]]
                drawn.add(int(partner[n, p]))
        expected = twin.step(joint[tick])
        ego = (all_kitchens, rows.ego_seat)
        assert (rows.observe().flatten(0, 1).numpy() == twin.index_obs()[ego]).all()
        assert (rows.final_observe().flatten(0, 1).numpy() == twin.index_obs(final=True)[ego]).all()
        assert (result.rew.flatten().numpy() == expected.rew).all()
        assert (result.shaped_rew.flatten().numpy() == expected.shaped_rew[ego]).all()
        assert (result.truncated.flatten().numpy() == expected.truncated).all()
    assert drawn == {0, 1, 2}
    assert len(joint) == 30


def test_partners_see_the_present_tick_through_their_own_eyes() -> None:
    """A mixed pool that looks: every partner action is the likeliest one of its network on its own seat's view."""
    env = kitchens(12)
    nets = [sharp_pool(env, 2), sharp_pool(env, 3, "mlp_features")]
    pool = MixedPartners([frozen_partners(nets[0], env.spec), frozen_partners(nets[1], None)])
    rows, joint = PartnerEnv(env, pool, seed=1), record_steps(env)
    assert pool.size == 5
    compared = np.zeros(5, int)
    for tick in range(26):
        index, features, partner = env.index_obs(), env.feature_obs(), rows.partner.copy()
        rows.step(random_actions(rows, tick))
        for n, p in zip(range(12), 1 - rows.ego_seat, strict=True):
            who = partner[n, p]
            net, obs = (nets[0].select([who]), index) if who < 2 else (nets[1].select([who - 2]), features)
            logits = net(torch.from_numpy(obs[n, p])[None, None])[0][0, 0]
            assert joint[tick][n, p] == logits.argmax()
            compared[who] += 1
    assert compared.sum() == 26 * 12
    assert compared.min() > 10


def test_a_mixture_of_parts_plays_as_the_whole() -> None:
    env = kitchens(8)
    net = sharp_pool(env, 4)
    parts: list[Partners] = [frozen_partners(net.select(m), env.spec) for m in ([0], [1, 2], [3])]
    played = []
    for pool in (frozen_partners(net, env.spec), MixedPartners(parts)):
        rows = PartnerEnv(kitchens(8), pool, seed=3)
        joint = record_steps(rows.env)
        for tick in range(30):
            rows.step(random_actions(rows, tick))
        played.append(np.array(joint))
    assert (played[0] == played[1]).all()
    assert len(np.unique(played[0])) > 3


def test_a_partner_stays_for_an_episode_and_is_drawn_anew_for_the_next() -> None:
    rows, _ = partner_env(actions=[4] * 5, num_envs=20, members=2, horizon=6)
    others = (np.arange(20), 1 - rows.ego_seat)
    changed, counts = 0, np.zeros(5)
    for episode in range(20):
        held = rows.partner[others].copy()
        counts += np.bincount(held, minlength=5)
        for tick in range(6):
            assert (rows.partner[others] == held).all()
            rows.step(random_actions(rows, 6 * episode + tick))
        episodes = rows.finished()
        assert (episodes.partner == held).all()  # of the episode that ended, not of the new one
        assert (episodes.seat == rows.ego_seat).all()
        changed += int((rows.partner[others] != held).sum())
    assert 0.7 < changed / 400 < 0.9  # 4 of 5 draws are another partner
    assert np.abs(counts / 400 - 0.2).max() < 0.06


def test_probabilities_of_each_member_are_respected_from_the_next_episode_on() -> None:
    rows, _ = partner_env(actions=[4, 4, 4], num_envs=40, members=2, horizon=4)
    rows.probs[:] = [[1.0, 0.0, 0.0], [0.0, 0.25, 0.75]]
    before, others = rows.partner.copy(), (np.arange(40), 1 - rows.ego_seat)
    counts = np.zeros((2, 3))
    for tick in range(4 * 21):
        rows.step(random_actions(rows, tick))
        if tick < 3:
            assert (rows.partner == before).all()
        elif tick % 4 == 3:
            for m in (0, 1):
                counts[m] += np.bincount(rows.partner[others][m * 20 : (m + 1) * 20], minlength=3)
    assert counts.sum(1).tolist() == [420, 420]
    assert counts[0].tolist() == [420, 0, 0]
    assert counts[1, 0] == 0
    assert counts[1, 2] / 420 == pytest.approx(0.75, abs=0.06)


def test_clones_of_people_get_unstuck() -> None:
    """A clone that only wants to go north stands at the wall for three ticks and then must do something else."""
    env = kitchens(2, horizon=400)
    net = constant_pool(env, [NORTH], "mlp_features")
    for unstick in (False, True):
        rows = PartnerEnv(kitchens(2, horizon=400), frozen_partners(net, None, unstick=unstick), seed=0)
        joint = record_steps(rows.env)
        for _ in range(40):
            rows.step(torch.full((1, 2), STAY))
        played = np.array(joint)[:, np.arange(2), 1 - rows.ego_seat]
        assert (played[:3] == NORTH).all()
        assert ((played[3:5] != NORTH).any(0)).all() == unstick
        assert ((played != NORTH).sum(0) >= 8).all() if unstick else (played == NORTH).all()


# ----------------------------------------------------------------------------------------------- resume


def mixed_pool(env: OvercookedVectorEnv) -> Partners:
    """Partners that draw their actions, one of them with a memory."""
    index, features = sharp_pool(env, 2), sharp_pool(env, 1, "mlp_features")
    for net in (index, features):
        net.head_weight.mul_(1e-6 * 5)
    return MixedPartners([frozen_partners(index, env.spec), frozen_partners(features, None, unstick=True)])


def self_play(seed: int) -> SelfPlayEnv:
    return SelfPlayEnv(kitchens(4), 2)


def with_partners(seed: int) -> PartnerEnv:
    env = kitchens(6)
    with torch.no_grad():
        return PartnerEnv(env, mixed_pool(env), seed=seed, members=2)


def play(rows: SelfPlayEnv | PartnerEnv, ticks: range) -> list[np.ndarray]:
    """Everything that a learner sees."""
    seen = []
    for tick in ticks:
        seen += [rows.observe().numpy().copy(), *(x.numpy().copy() for x in rows.step(random_actions(rows, tick)))]
        seen += [np.asarray(x) for x in rows.finished()]
    return seen


@pytest.mark.parametrize("make", [self_play, with_partners])
def test_a_saved_env_goes_on_exactly(make: Callable[[int], SelfPlayEnv | PartnerEnv]) -> None:
    first = make(0)
    if isinstance(first, PartnerEnv):
        first.probs[:] = [[0.5, 0.2, 0.3], [0.0, 0.5, 0.5]]
    play(first, range(17))
    state = {k: np.array(v) for k, v in first.get_state().items()}
    expected = play(first, range(17, 60))

    second = make(1)
    play(second, range(5))
    second.set_state(state)
    found = play(second, range(17, 60))
    assert len(found) == len(expected) == 43 * 9
    for ours, theirs in zip(found, expected, strict=True):
        assert np.array_equal(ours, theirs)


def test_another_seed_draws_other_partners() -> None:
    seen = [play(with_partners(seed), range(30)) for seed in (0, 0, 1)]
    same = [all(map(np.array_equal, seen[0], other)) for other in seen[1:]]
    assert same == [True, False]


def test_live_partners_are_the_learners_as_they_are_now() -> None:
    env = kitchens(6)
    learners = constant_pool(env, [0, 3])
    rows, seen = PartnerEnv(env, LivePartners(learners), seed=0, members=2), record_steps(env)
    other = np.arange(6), 1 - rows.ego_seat
    rows.step(torch.full((2, 3), STAY))
    assert seen[-1][other].tolist() == [0, 0, 0, 3, 3, 3]
    with torch.no_grad():
        learners.head_bias[1, 2] = 1000.0
    rows.step(torch.full((2, 3), STAY))
    assert seen[-1][other].tolist() == [0, 0, 0, 2, 2, 2]
    assert all(p.requires_grad for p in learners.parameters())


def test_habits_take_their_share_of_the_actions() -> None:
    env = kitchens(400, horizon=1000)
    live = LivePartners(constant_pool(env, [0]), eps=0.25)
    rows, seen = PartnerEnv(env, live, seed=0), record_steps(env)
    live.eps[:100], live.habit[100:200] = 0.0, np.eye(6)[3]
    for _ in range(50):
        rows.step(torch.full((1, 400), STAY))
    acts = np.stack([joint[np.arange(400), 1 - rows.ego_seat] for joint in seen])  # [50, 400]
    assert (acts[:, :100] == 0).all()
    shares = np.bincount(acts[:, 100:200].ravel(), minlength=6) / 5000
    np.testing.assert_allclose(shares, [0.75, 0, 0, 0.25, 0, 0], atol=0.03)
    shares = np.bincount(acts[:, 200:].ravel(), minlength=6) / 10000
    np.testing.assert_allclose(shares, [0.75 + 0.25 / 6, *[0.25 / 6] * 5], atol=0.02)
    saved = rows.get_state()
    live.eps[:], live.habit[:] = 1.0, 0.0
    rows.set_state(saved)
    assert (live.eps[:100] == 0).all()
    assert (live.habit[100:200, 3] == 1).all()
