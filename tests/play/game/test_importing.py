"""Trajectory files of overcooked-demo: what is taken in is the game that was played, what is not is told.

The games come from the rules of 2019 that the tests write down on their own, played by the scripted cook.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from coord.agents.greedy import GreedyAgent
from coord.agents.players import KitchenView
from coord.algos.bc import own_games
from coord.errors import UserError
from coord.evaluation.human_games import score_recorded
from coord.overcooked import Layout, OvercookedVectorEnv, load_layout
from play.commands.games import run as games
from play.game.importing import import_file
from play.game.record import Store
from play.game.replay import verify
from tests.differential.rules_of_2019 import STEPS, Chef, Kitchen2019

QUICK = {
    "layout_name": "cramped_room",
    "num_items_for_soup": 3,
    "rew_shaping_params": None,
    "cook_time": 5,
    "start_order_list": None,
}
FILE = {"grid": "XXPXX\nO  2O\nX1  X\nXDXSX", "start_order_list": None, "cook_time": 5, "delivery_reward": 20}
FILE |= {"num_items_for_soup": 3, "rew_shaping_params": None}


def cooked(layout: Layout, ticks: int, rules: str = "classic") -> tuple[list[list[int]], list[dict], list[float]]:
    """Actions, states before them (of our own form) and rewards of two scripted cooks."""
    env = OvercookedVectorEnv(layout, 1, horizon=ticks + 1, rules=rules)
    view, cook, rows = KitchenView(env), GreedyAgent(), np.arange(1)
    cook.start(1, env.num_players, 0)
    acts, states, rewards = [], [], []
    for _ in range(ticks):
        view.invalidate()
        joint = [int(cook.act(view, rows, np.full(1, seat))[0]) for seat in range(env.num_players)]
        states.append(env.state_dict(0))
        rewards.append(float(env.step(np.array([joint])).rew[0]))
        acts.append(joint)
    return acts, states, rewards


def demo_2019(ticks: int = 60, cook_time: int = 5) -> tuple[list, list, list]:
    """States, actions and rewards as the demo of 2019 saves them, by the rules of 2019."""
    layout = load_layout(json.dumps({**FILE, "cook_time": cook_time}))
    acts, _, _ = cooked(layout, ticks)
    chefs = [Chef(spot, (0, -1)) for spot in layout.start_positions]
    kitchen = Kitchen2019(layout.terrain, chefs, cook_time)
    states, rewards = [], []
    for joint in acts:
        states.append(_state_2019(kitchen))
        rewards.append(kitchen.step(joint)[0])
    return states, [[_word(act) for act in joint] for joint in acts], rewards


def _word(act: int) -> Any:
    return "INTERACT" if act == 5 else list((*STEPS, (0, 0))[act])


def _state_2019(kitchen: Kitchen2019) -> dict[str, Any]:
    def thing(spot: tuple[int, int], what: Any) -> dict[str, Any]:
        if isinstance(what, tuple):
            return {"name": "soup", "position": list(spot), "state": list(what)}
        return {"name": what, "position": list(spot)}

    chefs = []
    for chef in kitchen.chefs:
        chefs.append({"position": list(chef.spot), "orientation": list(chef.looks)})
        if chef.holds:
            chefs[-1]["held_object"] = thing(chef.spot, chef.holds)
    objects = [thing(spot, what) for spot, what in kitchen.things.items()]
    return {"players": chefs, "objects": objects, "order_list": None}


def saved(path: Path, *played: tuple[list, list, list], params: Mapping[str, Any] = QUICK) -> Path:
    states, acts, rewards = zip(*played, strict=True)
    content = {"ep_states": states, "ep_rewards": rewards, "ep_actions": acts, "mdp_params": [params] * len(played)}
    path.write_text(json.dumps(content))
    return path


def test_a_game_with_cook_time_five_is_replayed_scored_and_cloned(tmp_path, capsys) -> None:
    path = saved(tmp_path / "demo.json", demo_2019())
    data = tmp_path / "games.sqlite"
    assert games(["import", str(path), f"data={data}", "people=[1]"]) == 0
    said = capsys.readouterr().out
    assert "game 1 of the file is game 1: 60 ticks on cramped_room, rules=classic, score " in said
    kitchen = load_layout(said.partition("text of a layout file: ")[2].splitlines()[0])
    assert kitchen.hash == load_layout(json.dumps(FILE)).hash
    assert kitchen.classic_time == 5
    store = Store(data)
    game = store.game("last")
    store.close()
    assert verify(game).ok
    assert game.human_seats == (1,)
    assert {event.name for event in game.events} >= {"delivery", "placement_in_pot"}
    assert game.header.score == sum(demo_2019()[2]) >= 40
    assert len(own_games(data, kitchen, "classic").demos.acts) == 60
    others_begin = load_layout(json.dumps({**FILE, "grid": FILE["grid"].translate(str.maketrans("12", "21"))}))
    assert others_begin.hash != kitchen.hash
    assert len(own_games(data, others_begin, "classic").demos.acts) == 60
    with pytest.raises(UserError, match=r"but on cramped_room .*\(the same grid, other times, classic_time\)"):
        own_games(data, load_layout(json.dumps({key: FILE[key] for key in FILE if key != "cook_time"})), "classic")
    assert score_recorded(data)["rows"][0]["returns"] == [game.header.score]
    assert games(["import", str(path), f"data={data}"]) == 0
    assert "is game 1 already" in capsys.readouterr().out


@pytest.mark.parametrize("cook_time", [20, 5, 9])
def test_a_cook_time_that_is_not_told_is_found(cook_time: int, tmp_path) -> None:
    params = {"layout_name": "cramped_room"}
    path = saved(tmp_path / "demo.json", demo_2019(80, cook_time), params=params)
    store = Store(tmp_path / "games.sqlite")
    (one,) = import_file(store, path)
    layout = store.game(one.game_id).header.kitchen()
    store.close()
    assert layout.classic_time == cook_time
    assert (layout.hash == load_layout("cramped_room").hash) == (cook_time == 20)


def test_the_older_key_and_a_queue_of_orders_that_was_kept_to(tmp_path) -> None:
    states, acts, rewards = demo_2019()
    path = saved(tmp_path / "demo.json", (states, acts, rewards), params={**QUICK, "start_order_list": ["any"] * 9})
    path.write_text(path.read_text().replace('"ep_states"', '"ep_observations"'))
    rewards[rewards.index(20)] = 0
    broken = saved(tmp_path / "bad.json", (states, acts, rewards), params={**QUICK, "start_order_list": ["tomato"]})
    store = Store(tmp_path / "games.sqlite")
    (good,), (bad,) = import_file(store, path), import_file(store, broken)
    store.close()
    assert good.game_id == 1
    assert bad.game_id is None
    assert "queue of orders" in bad.message


def test_what_cannot_be_imported_is_told_per_game(tmp_path, capsys) -> None:
    whole, cheat, short, odd = demo_2019(), demo_2019(), demo_2019(), demo_2019()
    cheat[0][30]["players"][0]["position"] = [1, 1] if cheat[0][30]["players"][0]["position"] != [1, 1] else [2, 1]
    short[1].pop()
    odd[1][3] = ["JUMP", [0, 0]]
    paid = demo_2019()
    paid[2][7] = 1000.0
    path = saved(tmp_path / "demo.json", whole, cheat, short, odd, paid)
    data = tmp_path / "games.sqlite"
    assert games(["import", str(path), f"data={data}"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if not line.startswith(" ")]
    assert "game 2 of the file was not imported: chef 1 has position" in lines[1]
    assert "(tick 29 of 60, kitchen cramped_room, rules=classic)" in lines[1]
    assert "59 actions stand beside 60 states" in lines[2]
    assert '"JUMP" is no action' in lines[3]
    assert "the reward is 1000, the rules pay 0 (tick 7" in lines[4]
    assert lines[5] == f"1 of 5 games of {path} are in {data}"
    for params, reason in (
        ({**QUICK, "layout_name": "nowhere"}, "unknown layout 'nowhere'"),
        ({**QUICK, "cook_time": "x"}, "a number is needed"),
        ({}, "it names no kitchen and shows none"),
        ({"terrain": ["XX"]}, ""),
        ([], "first"),
    ):
        with pytest.raises(UserError, match=f"none of the 1 games.*{reason}"):
            games(["import", str(saved(path, whole, params=params)), f"data={tmp_path / 'none.sqlite'}"])


@pytest.mark.parametrize("rules", ["classic", "overcooked-ai"])
def test_rows_of_the_later_demo(rules: str, tmp_path) -> None:
    layout = load_layout("cramped_room_tomato")
    acts, states, rewards = cooked(layout, 90, rules)
    rows = [
        {
            "state": json.dumps(state),
            "joint_action": json.dumps(["interact" if act == 5 else _word(act) for act in joint]),
            "reward": reward,
            "time_elapsed": 0.2 * tick,
            "cur_gameloop": tick,
            "layout": json.dumps([list(row) for row in layout.terrain]),
            "layout_name": "cramped_room_tomato",
            "trial_id": "1600000000.25",
            "player_0_id": "someone's socket",
            "player_1_id": "RllibCrampedRoomSP_1",
            "player_0_is_human": True,
            "player_1_is_human": False,
        }
        for tick, (joint, state, reward) in enumerate(zip(acts, states, rewards, strict=True))
    ]
    path = tmp_path / "result.json"
    path.write_text(json.dumps({"uid": "1", "trajectory": [*rows, *rows[:40]]}))
    store = Store(tmp_path / "games.sqlite")
    first, second = import_file(store, path)
    game = store.game(first.game_id)
    assert (first.number, second.number, len(store.game(second.game_id).rew)) == (1, 2, 40)
    store.close()
    assert verify(game).ok
    assert sum(rewards) > 0
    assert (game.header.rules, game.header.layout_hash) == (rules, layout.hash)
    assert [(seat["kind"], seat["name"]) for seat in game.header.seats] == [
        ("human", "human"),
        ("agent", "RllibCrampedRoomSP_1"),
    ]
    assert game.header.tick_hz == pytest.approx(5)
    assert game.header.started_utc.startswith("2020-09-13")


def test_what_is_exported_can_be_imported_again(tmp_path) -> None:
    data, again = tmp_path / "games.sqlite", tmp_path / "again.sqlite"
    games(["import", str(saved(tmp_path / "demo.json", demo_2019())), f"data={data}"])
    games(["export", f"data={data}", f"out={tmp_path / 'out.json'}"])
    kitchen = tmp_path / "quick.layout"
    kitchen.write_text(json.dumps(FILE))
    games(["import", str(tmp_path / "out.json"), f"data={again}", f"layout={kitchen}"])
    stores = [Store(path) for path in (data, again)]
    first, second = (store.game(1) for store in stores)
    for store in stores:
        store.close()
    assert first.hashes == second.hashes
    assert verify(second).ok


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "is not JSON: line 1, column 2"),
        ("[" * 100_000, "cannot read"),
        ("[]", "holds no trajectories"),
        ('{"ep_states": 3}', "no list of games"),
        ("\x80\x03}", "not JSON"),
    ],
)
def test_a_file_that_is_none_is_refused_and_nothing_is_made(text: str, reason: str, tmp_path) -> None:
    path, data = tmp_path / "demo.json", tmp_path / "games.sqlite"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=reason):
        games(["import", str(path), f"data={data}"])
    with pytest.raises(UserError, match="no such file"):
        games(["import", str(tmp_path), f"data={data}"])
    assert not data.exists()


def test_a_cook_time_that_only_soups_of_today_tell_is_found(tmp_path) -> None:
    layout = dataclasses.replace(load_layout("cramped_room"), times=(5,) * 9)
    acts, states, rewards = cooked(layout, 80, "overcooked-ai")
    content = {
        "ep_states": [states],
        "ep_actions": [[[_word(act) for act in joint] for joint in acts]],
        "ep_rewards": [rewards],
    }
    path = tmp_path / "quick.json"
    path.write_text(json.dumps({**content, "mdp_params": [{"layout_name": "cramped_room"}]}, default=int))
    store = Store(tmp_path / "games.sqlite")
    (one,) = import_file(store, path)
    kitchen = store.game(one.game_id).header.kitchen()
    store.close()
    assert set(kitchen.times) == {5}
