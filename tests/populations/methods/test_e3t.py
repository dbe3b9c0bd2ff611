"""E3T: who the partner is, what the predictor learns, and exact resume."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from coord.algos import ppo
from coord.errors import UserError
from coord.evaluation.agents import load_agent
from coord.evaluation.matches import MatchRules, both_seats, play_matches
from coord.overcooked import load_layout
from coord.partner_env import PartnerEnv
from coord.run import config
from populations.methods import e3t
from populations.training import Setup, Training, write_egos
from tests.agent_fixtures import index_member
from tests.resuming import check_resume

TINY = ppo.PPOConfig(total_steps=600, num_envs=5, rollout_len=30, num_epochs=1, num_minibatches=2)


def training(members: int = 2, seed: int = 3, algo: ppo.PPOConfig = TINY, **fields: object) -> Training:
    setup = Setup(algo=algo, layout="cramped_room", horizon=25, members=members, seed=seed, name="e3t")
    return e3t.make(e3t.E3TConfig(**{"predictor_batch": 20, "history": 2, **fields}), setup)


def test_a_killed_run_goes_on_with_the_same_bits() -> None:
    saved, found = check_resume(training(), training(seed=8), at=2)
    assert not torch.equal(found["extra.classifier.net.table"], saved["extra.classifier.net.table"])


def test_the_copy_follows_the_ego_by_its_factor() -> None:
    made = training(copy_factor=0.25)
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    copy = made.extra.copy.tensors()["head.bias"]
    before = copy.clone()
    made.run(
        made.state,
        made.env,
        ppo.Hooks(
            on_update=lambda state, metrics: seen.append((copy.clone(), state.net.tensors()["head.bias"].clone()))
        ),
    )
    for now, ego in seen:
        torch.testing.assert_close(now, 0.75 * before + 0.25 * ego)
        before = now
    assert len(seen) == 4
    assert not torch.equal(seen[-1][0], seen[-1][1])


@pytest.mark.parametrize("eps", [0.0, 0.6, 1.0])
def test_the_partner_is_the_copy_with_noise(eps: float) -> None:
    """A copy that always goes north: what else the partner does is noise, a sixth of which goes north too."""
    made = training(members=1, algo=ppo.PPOConfig(total_steps=30, num_envs=200, rollout_len=30), eps=eps)
    with torch.no_grad():
        made.extra.copy.tensors()["head.bias"][..., 0] = 1e3
    inner, acts = made.env.inner, []
    assert isinstance(inner, PartnerEnv)
    made.env.context.on_label = lambda kitchens, seats, windows, act: acts.append(
        act[seats == inner.ego_seat[kitchens]]
    )
    for tick in range(30):
        gen = torch.Generator().manual_seed(tick)
        made.env.step(torch.randint(6, (1, 200), generator=gen))
    played = np.concatenate(acts)
    assert len(played) == 30 * 200
    assert np.mean(played == 0) == pytest.approx(1 - eps * 5 / 6, abs=0.02)


def test_it_takes_no_partners_and_only_networks_on_indices() -> None:
    partner = index_member("a", 0)
    setup = Setup(algo=TINY, layout="cramped_room", partners=(partner,))
    with pytest.raises(UserError, match="it takes no partners"):
        e3t.make(e3t.E3TConfig(), setup)
    with pytest.raises(UserError, match="for mlp_index, not cnn"):
        training(algo=ppo.PPOConfig(network="cnn"))


@pytest.mark.parametrize("field", ["eps", "copy_factor", "history", "predictor_batch"])
def test_impossible_settings_are_refused(field: str) -> None:
    with pytest.raises(UserError, match=f"{field}=-1"):
        config.from_dict(e3t.E3TConfig, {field: -1})


def test_its_agents_play_from_their_files(tmp_path) -> None:
    made = training()
    write_egos(tmp_path, made.agents())
    where = MatchRules(layout=load_layout("cramped_room"), horizon=25)
    agents = [load_agent(f"{tmp_path}#e3t3-{m}", "cramped_room", "classic") for m in range(2)]
    for m, agent in enumerate(agents):
        own = made.extra.classifier.net.tensors()
        for name, tensor in agent.contexts[0].tensors().items():
            assert torch.equal(tensor[0], own[name][m]), name
    games = play_matches(where, agents, [*both_seats(0, [1]), *both_seats(1, [0])], episodes=2)
    assert games.returns.shape == (4, 2)


@pytest.mark.learn
def test_the_predictor_foresees_partners_it_never_met() -> None:
    """Two members that share nothing: each predictor is asked about the partners of the other, noisy copies of an ego
    it never played with. It does better than knowing how often they do what."""
    algo = ppo.PPOConfig(total_steps=400_000, num_envs=64, ent_horizon=200_000)
    made = e3t.make(e3t.E3TConfig(eps=0.2), Setup(algo=algo, layout="cramped_room", members=2, seed=3))
    made.run(made.state, made.env, ppo.Hooks())
    env, context = made.env, made.env.context
    seen: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []  # whose partner, windows, actions

    def note(kitchens: np.ndarray, seats: np.ndarray, windows: np.ndarray, acts: np.ndarray) -> None:
        mine = seats == env.inner.ego_seat[kitchens]
        seen.append((kitchens[mine] // 64, windows[mine], acts[mine]))

    context.on_label = note
    gen = torch.Generator().manual_seed(0)
    for _ in range(200):
        with torch.no_grad():
            probs = made.state.net(env.observe())[0].softmax(-1)
        env.step(torch.multinomial(probs.flatten(0, 1), 1, generator=gen).view(2, 64))
    owner, windows, act = (np.concatenate(part) for part in zip(*seen, strict=True))
    prob = context.net.probs(windows, 1 - owner)
    for member in range(2):
        mine = owner == member
        share = np.bincount(act[mine], minlength=6) / mine.sum()
        # By accuracy, not by cross-entropy: about strangers it may be more sure than it should be.
        assert np.mean(prob[mine].argmax(1) == act[mine]) > share.max() + 0.05
