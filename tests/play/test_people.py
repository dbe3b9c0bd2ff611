"""From recorded people: clones of them, and scores of the agents they played with."""

from __future__ import annotations

import json

import numpy as np
import pytest

from coord.algos import bc
from coord.errors import UserError
from coord.evaluation.human_games import score_recorded
from coord.overcooked import EVENTS, OvercookedVectorEnv
from coord.overcooked.recorded import read_games
from coord.run.cli import main
from play.game.record import Store
from play.game.session import Session
from tests.play.helpers import ScriptSeat, play_cook, run_session


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """Two people with the greedy cook, one of them twice; a game of two people; one that was broken off."""
    path = tmp_path_factory.mktemp("data") / "games.sqlite"
    store = Store(path)
    play_cook(store, ticks=100, participant="p-1", study_round=0)
    play_cook(store, ticks=100, participant="p-1", study_round=1, seat=1, late=9)
    play_cook(store, ticks=100, participant="p-2", study_round=0, late=3)
    friends = [ScriptSeat([0, 1, 2, 3, 5] * 4), ScriptSeat([5, 3, 2, 1, 0] * 4, name="human2")]
    session = Session("coordination_ring", friends, ticks=20, tick_hz=10, recorder=store.recorder())
    session.close(run_session(session))
    broken_off = Session("cramped_room", [ScriptSeat([3] * 9), ScriptSeat(kind="agent")], recorder=store.recorder())
    broken_off.close(run_session(broken_off, ticks=9))
    store.close()
    return path


def test_scores_by_hand(recordings):
    games = read_games(recordings)
    result = score_recorded(recordings)
    (row,) = result["rows"]
    assert (result["games"], result["left_out"]) == (3, 2)
    assert (row["agent"], row["layout"], row["ticks"]) == ("greedy", "cramped_room", 100)
    assert (row["episodes"], row["people"], row["agent_seats"]) == (3, 2, [1, 0, 1])
    returns = [game.header.score for game in games[:3]]
    assert row["returns"] == returns
    assert row["mean_return"] == pytest.approx(np.mean(returns))
    low, high = row["ci95"]
    assert low <= row["mean_return"] <= high
    assert sum(row["events"]["delivery"].values()) * 20 == pytest.approx(row["mean_return"])
    idle = EVENTS.index("idle")
    people_idle = [game.event_counts()[game.human_seats[0], idle] for game in games[:3]]
    assert row["idle_share"]["human"] == pytest.approx(np.mean(people_idle) / 100)
    assert row["miss_share"] == 0.0


def test_the_interval_draws_people_not_games(recordings):
    (row,) = score_recorded(recordings)["rows"]
    first, second, third = row["returns"]
    extremes = sorted([(first + second) / 2, third])  # p-1 drawn twice, or p-2 drawn twice
    assert row["ci95"] == pytest.approx(extremes)


def test_evaluate_writes_them(recordings, tmp_path, capsys):
    out = tmp_path / "people.json"
    assert main(["evaluate", f"human={recordings}", f"out={out}"]) == 0
    assert "3 games of people with agents, 2 other or unfinished games left out" in capsys.readouterr().out
    assert json.loads(out.read_text())["rows"][0]["agent"] == "greedy"
    assert main(["evaluate", f"human={tmp_path / 'none.sqlite'}"]) == 2
    assert "no recordings file" in capsys.readouterr().err


def test_own_games_are_what_the_people_saw_and_did(recordings):
    data = bc.own_games(recordings, "cramped_room", "classic")
    assert (data.agent_id, data.human_data, data.unseen) == ("bc_people", "recorded", None)
    games = [game for game in read_games(recordings) if game.header.layout == "cramped_room"]
    assert np.bincount(data.demos.game).tolist() == [100, 100, 100, 9]  # the broken-off game counts as well
    compared = 0
    for number, game in enumerate(games):
        env = OvercookedVectorEnv("cramped_room", 1)
        mine = data.demos.rows(data.demos.game == number)
        seat = game.human_seats[0]
        for tick, joint_act in enumerate(game.joint_act):
            np.testing.assert_array_equal(mine.features[tick], env.feature_obs()[0, seat])
            assert mine.acts[tick] == joint_act[seat]
            env.step(joint_act[None])
            compared += 1
    assert compared == 309


def test_both_people_of_a_game_are_learned_from(recordings):
    data = bc.own_games(recordings, "coordination_ring", "classic")
    assert len(data.demos.acts) == 40
    assert data.demos.acts[:4].tolist() == [0, 5, 1, 3]  # seat 0 and 1 of tick 0, then of tick 1


def test_a_layout_nobody_played_is_refused(recordings):
    with pytest.raises(UserError, match="holds no game of a person on forced_coordination with rules=classic"):
        bc.own_games(recordings, "forced_coordination", "classic")
    with pytest.raises(UserError, match="rules=overcooked-ai"):
        bc.own_games(recordings, "cramped_room", "overcooked-ai")


def test_a_clone_of_people_is_trained_and_plays(recordings, tmp_path, capsys):
    out = tmp_path / "people"
    words = ["train", "algo=bc", f"data={recordings}", f"out={out}", "algo.epochs=30", "threads=1"]
    assert main(words) == 0
    from coord.agents.files import read_agent

    stored = read_agent(out / "agent.safetensors")
    assert (stored.card.agent_id, stored.card.human_data) == ("bc_people", "recorded")
    facts = stored.card.extra
    assert set(facts["accuracy"]) == {"fitted", "held_back"}
    assert facts["accuracy"]["fitted"] > max(facts["action_shares"]) + 0.05  # better than one action always
    assert main(["evaluate", f"ego={out}", "partners=stay", "episodes=2", "horizon=20"]) == 0
    assert "interquartile mean" in capsys.readouterr().out
