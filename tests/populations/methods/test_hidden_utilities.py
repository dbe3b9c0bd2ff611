"""HSP and behaviour-preferring partners: which utilities are drawn, who stays, and that utilities change behaviour."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from coord.agents.files import read_agent, refuse_held_out
from coord.algos import ppo
from coord.errors import UserError
from coord.evaluation import scoreboard
from coord.evaluation.agents import load_training_partners
from coord.evaluation.matches import Games
from coord.overcooked import EVENTS
from coord.pair_env import Utility
from coord.run.cli import main
from populations.methods import hsp
from populations.partners import utilities
from populations.training import Setup

TINY = ["algo.total_steps=4000", "algo.num_envs=4", "method.episodes=2", "threads=1"]


def test_every_utility_has_one_to_three_weights_and_appears_once() -> None:
    every = utilities.every_utility(utilities.HSP_EVENTS, utilities.HSP_TASK, 3)
    assert {len(u.weights) for u in every} == {1, 2, 3}
    # Non-zero choices per event are 3, 2, 3, 3, 1; two task weights. Sums of products of 1, 2 and 3 of them:
    choices = (3, 2, 3, 3, 1)
    count = sum(np.prod(c) for n in (1, 2, 3) for c in itertools.combinations(choices, n))
    assert len(every) == 2 * count
    assert len({(tuple(sorted(u.weights.items())), u.task) for u in every}) == len(every)


def test_more_candidates_than_utilities_are_refused() -> None:
    with pytest.raises(UserError, match=r"method\.candidates=9999"):
        utilities.draw(utilities.HSP_EVENTS, (0.0,), 9999, 3, np.random.default_rng(0))


def test_layouts_with_their_own_set_are_found_under_their_old_names() -> None:
    assert utilities.bp_events("random0") is utilities.BP_EVENTS_OF["forced_coordination"]
    assert utilities.bp_events("cramped_room") is utilities.BP_EVENTS


def test_farthest_takes_the_most_different_by_hand() -> None:
    # Shares: (1,0) (.9,0) (0,1) (0,.2). Sums of distances: 4.2 3.9... the third is farthest from all.
    behaviour = np.array([[10.0, 0.0], [9.0, 0.0], [0.0, 5.0], [0.0, 1.0]])
    assert hsp.farthest(behaviour, 1) == [2]
    assert hsp.farthest(behaviour, 2) == [2, 0]  # 2.0 away; the second is 1.9 away
    # Then the second is .1 + 1.9 = 2.0 away from both, the fourth 1.2 + .8 = 2.0: the first of equals.
    assert hsp.farthest(behaviour, 3) == [2, 0, 1]


def test_behaviour_is_that_of_the_role_whatever_its_seat() -> None:
    events = np.zeros((2, 1, 2, len(EVENTS)), np.int32)
    events[0, 0, 0, 0], events[1, 0, 1, 0] = 4, 6  # role 0 in seat 0, then in seat 1
    events[0, 0, 1, 1], events[1, 0, 0, 1] = 1, 3  # role 1
    games = Games(np.zeros((2, 1), np.float32), events, np.zeros((2, 1, 4), np.float32))
    assert hsp.behaviour_of(games, 0)[0, :2].tolist() == [5, 0]
    assert hsp.behaviour_of(games, 1)[0, :2].tolist() == [0, 2]


def test_more_members_than_candidates_are_refused_before_a_folder_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["population", "method=hsp", "members=5", "method.candidates=3", f"out={tmp_path / 'p'}"]
    assert main(words) == 2
    assert "members=5 cannot stay of method.candidates=3" in capsys.readouterr().err
    assert not (tmp_path / "p").exists()


def test_a_pool_of_hidden_utilities_says_what_each_wants(tmp_path: Path) -> None:
    out = tmp_path / "pool"
    assert main(["population", "method=hsp", "members=2", "method.candidates=3", "method.min_return=0", *TINY,
                 f"out={out}"]) == 0  # fmt: skip
    partners = load_training_partners([str(out)], "cramped_room", "classic")
    assert len(partners) == 2
    for partner in partners:
        Utility(partner.card.extra["utility"]["weights"])  # names of events
        assert partner.card.extra["pair_return"] >= 0


def test_nobody_useful_is_an_error_that_says_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["population", "method=hsp", "members=1", "method.candidates=1", "method.min_return=999", *TINY]
    assert main([*words, f"out={tmp_path / 'p'}"]) == 2
    assert "only 0 of 1 candidates earn method.min_return=999" in capsys.readouterr().err


def test_partners_for_evaluation_know_their_best_responses_and_are_never_trained_with(tmp_path: Path) -> None:
    out = tmp_path / "bp"
    assert main(["population", "method=bp", "members=2", "method.candidates=4", "method.min_return=-1", *TINY,
                 f"out={out}"]) == 0  # fmt: skip
    best = scoreboard.best_returns(str(out))
    assert len(best) == 4  # two experts, two from half-way
    assert all(len(returns) == 2 and min(returns) >= 0 for returns in best.values())
    with pytest.raises(UserError, match="evaluation only"):
        load_training_partners([str(out)], "cramped_room", "classic")
    one = read_agent(scoreboard.files_of(str(out))[0])
    with pytest.raises(UserError, match="its card says so"):
        refuse_held_out(one, "partner")


@pytest.mark.learn
def test_a_hidden_utility_changes_what_its_agent_does() -> None:
    """Paid for onions or fined for them: event counts follow, and those of the second of each pair do not."""
    algo = ppo.PPOConfig(total_steps=120_000, num_envs=16, ent_coef=0.02, ent_horizon=60_000)
    setup = Setup(algo=algo, layout="cramped_room", seed=1, name="hsp")
    wishes = [Utility({"onion_from_dispenser": 10.0}, 0.0), Utility({"onion_from_dispenser": -10.0}, 0.0)]
    state, env = utilities.pairs(setup, wishes)
    ppo.train(state, env)
    agents = [hsp.stored(setup, state, env, m) for m in range(4)]
    onions = hsp.behaviour_of(hsp.play_pairs(setup, agents, 10), role=0)[:, EVENTS.index("onion_from_dispenser")]
    assert onions[0] > 5 * max(onions[1], 1.0)
