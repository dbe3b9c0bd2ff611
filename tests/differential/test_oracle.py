"""The bridge itself: one layout per process, results in order, mischief that really happens."""

from __future__ import annotations

from collections import Counter

import pytest

from coord.overcooked import load_layout
from coord.overcooked.oracle import (
    ReferenceKitchen,
    SpeedRequest,
    Trace,
    TraceRequest,
    isolated,
    measure_speed,
    play_traces,
)
from tests.differential.players import play_adversarially


def claim(layouts: tuple[str, ...]) -> list[str]:
    """What happens when one process asks for these layouts in turn."""
    answers = []
    for layout in layouts:
        try:
            answers.append(f"{ReferenceKitchen(layout).library.Recipe.configuration['recipe_times']}")
        except (KeyError, RuntimeError) as error:
            answers.append(f"{type(error).__name__}: {error}")
    return answers


def test_a_process_holds_one_layout_and_tasks_get_processes_of_their_own():
    tasks = [("simple_o", "simple_o", "long_cook_time"), ("long_cook_time",), ("cramped_room",)]
    first, second, third = isolated(claim, tasks)
    assert first[:2] == ["[5]", "[5]"]
    assert first[2].startswith("RuntimeError: this process holds 'simple_o'")
    assert second == ["[100, 100, 100]"]
    assert third == ["KeyError: 'recipe_times'"]


def test_failures_in_a_process_reach_the_caller():
    with pytest.raises(ValueError, match="rules must be one of"):
        next(isolated(play_traces, [[TraceRequest("cramped_room", play_adversarially, rules="new")]]))


def rarities(trace: Trace) -> Counter:
    """How many states of a trace show what ordinary play seldom leads to."""
    layout = load_layout(trace.request.layout)
    floor = {divmod(cell, layout.width)[::-1] for cell in layout.cells(" ")}
    counters = {divmod(cell, layout.width)[::-1] for cell in layout.cells("X")}
    usable = {(x, y) for x, y in counters if floor & {(x + 1, y), (x - 1, y), (x, y + 1), (x, y - 1)}}
    seen: Counter = Counter({"soup on a counter": int(trace.events["soup_drop"].sum())})
    for state in (state for states in trace.states for state in states):
        loose = {tuple(thing["position"]): thing for thing in state["objects"]}
        soups = [thing for thing in loose.values() if thing["name"] == "soup"]
        seen["soup of fewer than three"] += any(
            soup["cooking_tick"] >= 0 and len(soup["_ingredients"]) < 3 for soup in soups
        )
        seen["mixed soup"] += any(len({item["name"] for item in soup["_ingredients"]}) == 2 for soup in soups)
        seen["every counter full"] += usable <= set(loose)
        seen["all hands full"] += all(player["held_object"] for player in state["players"])
    return seen


def test_adversarial_play_meets_rare_rules():
    """Without these the comparison of rules on that play would prove little."""
    layouts = ("mdp_test", "soup_coordination")
    tasks = [[TraceRequest(layout, play_adversarially, episodes=2, ticks=400, seed=5)] for layout in layouts]
    seen = sum((rarities(trace) for (trace,) in isolated(play_traces, tasks)), Counter())
    assert len(seen) == 5
    assert min(seen.values()) >= 5, seen


def test_speed_is_measured_for_both_kinds_of_stepping():
    (speeds,) = isolated(measure_speed, [SpeedRequest("cramped_room", joint_steps=200)])
    assert speeds["step"] > speeds["step_lossless"] > 0
