"""Matches: seats, repeatability, independence of neighbours and chunks, returns that add up."""

from __future__ import annotations

import numpy as np
import pytest

from coord.agents.greedy import GreedyAgent
from coord.agents.players import RandomAgent, StayAgent
from coord.agents.policy import FrozenPolicy
from coord.agents.views import KitchenView
from coord.errors import UserError
from coord.evaluation.matches import Match, MatchRules, _game_seed, both_seats, play_matches
from coord.overcooked import EVENTS, OvercookedVectorEnv, load_layout
from tests.agent_fixtures import constant_policy

WHERE = MatchRules(layout=load_layout("cramped_room"), horizon=60)
STAYED, MOVED = EVENTS.index("stay"), EVENTS.index("movement")


def noisy(name: str, **options: bool) -> FrozenPolicy:
    return FrozenPolicy(constant_policy([0.0, 0.1, 0.2, 0.3, 0.0, 0.4]), agent_id=name, **options)


def test_ego_and_partner_sit_where_the_match_says() -> None:
    games = play_matches(WHERE, [RandomAgent(), StayAgent()], both_seats(0, [1]), episodes=5)
    assert games.returns.shape == (2, 5)
    assert games.events.shape == (2, 5, 2, len(EVENTS))
    for ego_seat in (0, 1):
        assert (games.events[ego_seat, :, 1 - ego_seat, STAYED] == WHERE.horizon).all()
        assert (games.events[ego_seat, :, ego_seat, MOVED] > 0).all()


def test_an_agent_is_asked_about_its_own_seats_only() -> None:
    asked: list[tuple[int, int]] = []

    class Recorder(StayAgent):
        agent_id = "recorder"

        def act(self, view: KitchenView, rows: np.ndarray, seats: np.ndarray) -> np.ndarray:
            asked.extend(zip(rows.tolist(), seats.tolist(), strict=True))
            return super().act(view, rows, seats)

    matches = [Match(0, 1, 1), Match(1, 0, 1), Match(0, 0, 0)]
    play_matches(MatchRules(layout=WHERE.layout, horizon=1), [Recorder(), StayAgent()], matches, episodes=1)
    assert sorted(asked) == [(0, 1), (1, 0), (2, 0), (2, 1)]


def test_three_seats_go_to_the_partner_but_one() -> None:
    home = load_layout("XXPXX\nO123O\nX   X\nXDXSX\n")
    where = MatchRules(layout=home, horizon=20)
    games = play_matches(where, [RandomAgent(), StayAgent()], both_seats(0, [1], 3), episodes=2)
    stayed = games.events[..., STAYED].mean(axis=1)  # [3 matches, 3 seats]
    assert ((stayed == 20) == ~np.eye(3, dtype=bool)).all()


def test_same_seed_same_games_another_seed_others() -> None:
    agents = [noisy("a"), noisy("b")]
    first, again, other = (play_matches(WHERE, agents, both_seats(0, [1]), episodes=8, seed=s) for s in (1, 1, 2))
    np.testing.assert_array_equal(first.events, again.events)
    assert not np.array_equal(first.events, other.events)
    assert len({game.tobytes() for game in first.events.reshape(16, -1)}) == 16  # no two games alike


@pytest.mark.parametrize("unstick", [False, True])
def test_games_do_not_depend_on_neighbours_or_chunks(unstick: bool) -> None:
    agents = [noisy(name, unstick=unstick) for name in "abc"]
    whole = play_matches(WHERE, agents, both_seats(0, [1, 2]), episodes=6)
    alone = play_matches(WHERE, agents, both_seats(0, [2]), episodes=6)
    chunked = play_matches(WHERE, agents, both_seats(0, [1, 2]), episodes=6, max_kitchens=5)
    fewer = play_matches(WHERE, agents, both_seats(0, [1, 2]), episodes=2)
    np.testing.assert_array_equal(whole.events[2:], alone.events)
    np.testing.assert_array_equal(whole.events, chunked.events)
    np.testing.assert_array_equal(whole.events[:, :2], fewer.events)


def test_argmax_games_are_all_alike() -> None:
    agents = [noisy("a", stochastic=False), noisy("b", stochastic=False)]
    games = play_matches(WHERE, agents, both_seats(0, [1]), episodes=4, seed=3)
    assert len({game.tobytes() for game in games.events[0]}) == 1
    np.testing.assert_array_equal(
        games.events, play_matches(WHERE, agents, both_seats(0, [1]), episodes=4, seed=9).events
    )


def test_returns_and_counts_are_those_of_the_env_step_by_step() -> None:
    agents = [noisy("a"), noisy("b")]
    games = play_matches(WHERE, agents, [Match(0, 1, 0)], episodes=1, seed=5)
    env = OvercookedVectorEnv(WHERE.layout, 1, horizon=WHERE.horizon)
    play = [noisy("a"), noisy("b")]
    key = np.array([_game_seed(5, agents, Match(0, 1, 0), 0)], np.uint64)
    view, earned = KitchenView(env), 0.0
    for agent in play:
        agent.start(1, 2, key)
        agent.begin_episode(np.array([0]))
    for _ in range(WHERE.horizon):
        joint = [int(play[seat].act(view, np.array([0]), np.array([seat]))[0]) for seat in (0, 1)]
        earned += float(env.step(np.array([joint])).rew[0])
        view.invalidate()
    assert games.returns[0, 0] == earned
    np.testing.assert_array_equal(games.events[0, 0], env.event_counts(final=True)[0])


def test_quarters_add_up_to_the_return() -> None:
    where = MatchRules(layout=load_layout("cramped_room"), horizon=122)  # no multiple of four
    games = play_matches(where, [GreedyAgent()], [Match(0, 0, 0)], episodes=2)
    assert games.returns.sum() > 0
    np.testing.assert_allclose(games.quarters.sum(-1), games.returns)
    assert (games.quarters[..., 0] == 0).all()  # nobody can serve a soup within 31 ticks


def test_recorded_actions_replay_to_the_same_games() -> None:
    agents = [noisy("a"), noisy("b")]
    games = play_matches(WHERE, agents, both_seats(0, [1]), episodes=3, record=True, max_kitchens=4)
    assert games.joint_acts is not None
    env = OvercookedVectorEnv(WHERE.layout, 6, horizon=WHERE.horizon)
    for joint_act in games.joint_acts.reshape(6, WHERE.horizon, 2).swapaxes(0, 1):
        env.step(joint_act)
    np.testing.assert_array_equal(games.events.reshape(6, 2, -1), env.event_counts(final=True))
    assert play_matches(WHERE, agents, both_seats(0, [1]), episodes=1).joint_acts is None


def test_nothing_to_play_and_missing_seats_are_refused() -> None:
    for matches, episodes, message in (([], 3, "nothing to play"), (both_seats(0, [0]), 0, "nothing to play")):
        with pytest.raises(UserError, match=message):
            play_matches(WHERE, [StayAgent()], matches, episodes=episodes)
    with pytest.raises(UserError, match="no seat 2"):
        play_matches(WHERE, [StayAgent()], [Match(0, 0, 2)], episodes=1)
    with pytest.raises(UserError, match="horizon"):
        play_matches(MatchRules(layout=WHERE.layout, horizon=0), [StayAgent()], [Match(0, 0, 0)], episodes=1)


class Counting(StayAgent):
    """Counts the games it was told about, and the ticks of the present one, in every kitchen."""

    agent_id = "counting"

    def start(self, num_envs: int, num_players: int, seed: object) -> None:
        self.begun = np.zeros(num_envs, np.int64)
        self.unknown: list[bool] = []

    def begin_episode(self, rows: np.ndarray) -> None:
        self.begun[rows] += 1

    def act(self, view: KitchenView, rows: np.ndarray, seats: np.ndarray) -> np.ndarray:
        self.unknown.append(bool((view.last_joint_act[rows] < 0).all()))
        return super().act(view, rows, seats)


def test_games_in_a_row_are_new_episodes_with_the_same_partner() -> None:
    ego, where = Counting(), MatchRules(layout=WHERE.layout, horizon=5)
    games = play_matches(where, [ego, StayAgent()], [Match(0, 1, 0)], episodes=6, games_in_a_row=3, record=True)
    assert ego.begun.tolist() == [3, 3]  # two series of three
    assert np.flatnonzero(ego.unknown).tolist() == [0, 5, 10]  # what was played before is not known at each start
    assert games.returns.shape == (1, 6)
    assert games.joint_acts.shape == (1, 6, 5, 2)
    assert (games.events[:, :, :, STAYED] == 5).all()  # every game is counted by itself


def test_the_first_game_in_a_row_is_the_game_that_is_played_alone() -> None:
    agents, match = [noisy("a"), noisy("b")], [Match(0, 1, 0)]
    alone = play_matches(WHERE, agents, match, episodes=2)
    rows = play_matches(WHERE, agents, match, episodes=6, games_in_a_row=3)
    np.testing.assert_array_equal(rows.events[:, ::3], alone.events)
    assert len({game.tobytes() for game in rows.events[0]}) == 6  # and the later ones are others
    chunked = play_matches(WHERE, agents, match, episodes=6, games_in_a_row=3, max_kitchens=1)
    np.testing.assert_array_equal(chunked.returns, rows.returns)
    with pytest.raises(UserError, match="episodes=5: must be a multiple of games_in_a_row=3"):
        play_matches(WHERE, agents, match, episodes=5, games_in_a_row=3)
