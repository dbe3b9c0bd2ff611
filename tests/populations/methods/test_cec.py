"""Cross-environment coordination: new kitchens every episode, none of the classic ones, agents for any kitchen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from coord.algos import ppo
from coord.errors import UserError
from coord.evaluation.agents import load_agent
from coord.evaluation.matches import MatchRules, both_seats, play_matches
from coord.overcooked import load_layout
from coord.overcooked.generator import HELD_OUT, shape_key
from play.game import catalogue
from populations.methods import cec
from populations.training import Setup, Training, write_egos
from tests.agent_fixtures import index_member
from tests.resuming import check_resume

TINY = ppo.PPOConfig(
    total_steps=480, num_envs=4, rollout_len=30, num_epochs=1, num_minibatches=2, network="mlp_features", hidden=(8,)
)


def training(members: int = 2, seed: int = 3, algo: ppo.PPOConfig = TINY, **fields: object) -> Training:
    setup = Setup(algo=algo, layout="cramped_room", horizon=25, members=members, seed=seed, name="cec")
    return cec.make(cec.CECConfig(**{"memory": 8, "chunk_len": 10, **fields}), setup)


def test_kitchens_change_with_every_episode() -> None:
    env = training(members=2).env
    classic = {shape_key(load_layout(name)) for name in HELD_OUT}
    met, gen = [], torch.Generator().manual_seed(0)
    for tick in range(1, 76):
        obs, layouts = env.observe(), env.env.layouts
        assert len(layouts) == 4  # the same ones for both learners
        result = env.step(torch.randint(0, 6, (2, 8), generator=gen))
        assert bool(result.truncated.all()) == (tick % 25 == 0) == (env.env.layouts != layouts)
        if tick % 25 == 0:
            met += [shape_key(layout) for layout in layouts]
            assert env.finished().member.tolist() == [0] * 4 + [1] * 4
            assert env.final_observe().shape == obs.shape
            assert not torch.equal(env.final_observe(), env.observe())
    assert env.round == 3
    assert len(set(met)) > 10
    assert not set(met) & classic


def test_a_killed_run_goes_on_with_the_same_bits() -> None:
    """Also in the middle of an episode, in the second batch of kitchens."""
    resumed = training()
    saved, found = check_resume(training(), resumed, at=1)
    assert int(saved["env.round"]) == 1 < resumed.env.round
    assert not torch.equal(found["net.head.bias"], saved["net.head.bias"])


def test_agents_play_anywhere(tmp_path: Path) -> None:
    write_egos(tmp_path, training(members=1).agents())
    for name in ("coordination_ring", "forced_coordination", "generated:9x7:7"):
        agent = load_agent(str(tmp_path), name, "classic")
        where = MatchRules(layout=load_layout(name), horizon=20)
        games = play_matches(where, [agent], both_seats(0, [0]), episodes=2, record=True)
        assert len(np.unique(games.joint_acts)) == 6
    with pytest.raises(UserError, match="rules=classic"):
        load_agent(str(tmp_path), "cramped_room", "overcooked-ai")
    entry = next(one for one in catalogue.partners([tmp_path]) if one.method == "cec")
    assert entry.fits("coordination_ring", "classic")


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(UserError, match=r"algo.network=mlp_index: cec needs .* mlp_features"):
        training(algo=replace(TINY, network="mlp_index", hidden=(64,)))
    with pytest.raises(UserError, match="did you mean 'ring'"):
        training(family="rings")
    with pytest.raises(UserError, match="memory=0"):
        training(memory=0)
    partner = index_member("i", 0)
    setup = Setup(algo=TINY, layout="cramped_room", name="cec", partners=(partner,))
    with pytest.raises(UserError, match="leave out partners="):
        cec.make(cec.CECConfig(), setup)
