"""The classic rules against every recorded transition of the human-human games, and the reading of their old
form.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from coord.overcooked import OvercookedVectorEnv
from coord.overcooked.human_data import COOK_TIME, HUMAN_LAYOUTS, SPLITS, HumanGame, load_games
from coord.overcooked.oracle import ReferenceKitchen, isolated

ROWS = {"train": 46_729, "test": 44_373}
SOUPS = {"train": 693, "test": 670}  # deliveries; two in one tick happened once, in the test half


def summary(state: dict) -> tuple:
    """What a state says, whichever form its soups have: chefs, and the set of loose objects."""
    chefs = [(*player["position"], *player["orientation"], thing(player["held_object"])) for player in state["players"]]
    return state["timestep"], chefs, {(*loose["position"], thing(loose)) for loose in state["objects"]}


def thing(item: dict | None) -> Any:
    """An object without its place: its name, or (ingredient, amount, ticks cooked) of a soup of one
    ingredient.
    """
    if item is None or item["name"] != "soup":
        return item and item["name"]
    if "state" in item:
        kind, amount, ticks = item["state"]
        return kind, amount, min(ticks, COOK_TIME)
    (kind,) = {part["name"] for part in item["_ingredients"]}
    return kind, len(item["_ingredients"]), max(0, item["cooking_tick"])


def replay(game: HumanGame) -> int:
    """Step every recorded state of a game by its joint action, all at once; returns the number of equal
    transitions.
    """
    ticks = len(game.joint_act)
    env = OvercookedVectorEnv(game.layout, ticks, horizon=32_000, rules="classic")
    for tick in range(ticks):
        env.load_state_dict(tick, game.states[tick])
    result = env.step(game.joint_act)
    np.testing.assert_array_equal(result.rew, game.rew, f"{game.layout}, {game.pair}: reward")
    for tick in range(ticks):
        where = f"{game.split}, {game.layout}, {game.pair}, tick {tick}"
        assert summary(env.state_dict(tick)) == summary(game.states[tick + 1]), where
    return ticks


@pytest.mark.slow
@pytest.mark.parametrize("split", SPLITS)
def test_classic_rules_give_every_recorded_next_state(split):
    games = [game for layout in HUMAN_LAYOUTS for game in load_games(split, layout)]
    assert sum(map(replay, games)) == ROWS[split]
    assert sum(game.rew.sum() for game in games) == 20 * SOUPS[split]


def read_with_reference(task: tuple[str, list[dict]]) -> tuple[list[dict], list[np.ndarray]]:
    """State mappings and features of recorded states, as overcooked-ai reads them."""
    layout, states = task
    reference = ReferenceKitchen(layout)
    parsed = [reference.parse(state) for state in states]
    return [state.to_dict() for state in parsed], [reference.features(state) for state in parsed]


def test_recorded_states_are_read_as_overcooked_ai_reads_them():
    samples = {layout: load_games("train", layout)[0].states[::5] for layout in HUMAN_LAYOUTS}
    compared = 0
    for (layout, states), (expected, features) in zip(
        samples.items(), isolated(read_with_reference, samples.items()), strict=True
    ):
        env = OvercookedVectorEnv(layout, len(states), horizon=32_000, rules="overcooked-ai")
        for i, state in enumerate(states):
            env.load_state_dict(i, state)
            assert env.state_dict(i) == expected[i], f"{layout}, state {i}"
        np.testing.assert_array_equal(env.feature_obs(), features)
        compared += len(states)
    assert compared >= 5 * 240
